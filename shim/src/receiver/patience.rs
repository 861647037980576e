//! How long a receive waits, and for what.

use crate::endpoint::Endpoint;
use crate::held::{self, Obligation};
use crate::kernel::{self, Errno};
use crate::readiness::levels;
use crate::signals::{Delivered, Stay};
use crate::thread;
use crate::wait::{self, Bounds, Woken};
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use slipstream_ring::Link;
use slipstream_ring::wait::Sleep;

/// A wait in the ring of up to so many ns is quick to end, and no signal ends it sooner.
const NAP: u64 = 1_000_000;
/// How often somebody looks by himself for what nothing tells of.
const SOON: u64 = 20_000_000;

/// Where a call found nothing (more), and so what it waits for.
pub struct Empty {
    pub on_tcp: bool,
    /// The peer's turn before it looked there: it may wait for bytes that TCP is to bring first.
    pub turn: u32,
    pub peek: Option<Peek>,
}

/// What a peek has seen that wants more.
pub struct Peek {
    /// Everything up to this position of the ring.
    pub tail: u64,
    /// The peer's marks before that.
    pub marks: u32,
    /// So many bytes.
    pub seen: usize,
}

/// The waiting of one call: what it may wait for is asked for once, and only when it has to wait.
pub struct Patience {
    /// `None`: not asked yet.
    blocking: Option<bool>,
    /// CLOCK_MONOTONIC ns, from SO_RCVTIMEO.
    deadline: Option<u64>,
    /// How long the next doze is, in ns: the longer the longer the call lasts.
    doze: u64,
    stay: Stay,
}

impl Patience {
    pub fn new(flags: c_int) -> Self {
        let blocking = (flags & libc::MSG_DONTWAIT != 0).then_some(false);
        Self { blocking, deadline: None, doze: 50_000, stay: Stay::default() }
    }

    /// Whether the call may not wait at all.
    pub fn is_over(&mut self, endpoint: &'static Endpoint, fd: c_int) -> bool {
        if self.blocking.is_none() {
            self.ask(endpoint, endpoint.descriptor(fd));
        }
        self.blocking == Some(false)
    }

    /// Whether the call is one that waits, and has come to that.
    pub fn waits(&self) -> bool {
        self.blocking == Some(true)
    }

    /// Waits a while, or until TCP shows one of `events`. An error when the call may not wait any more, after a signal (`part`: of
    /// which a part is done) or at its deadline.
    pub fn doze(&mut self, endpoint: &'static Endpoint, fd: c_int, events: i16, part: bool) -> Result<(), Errno> {
        let left = self.deadline.map_or(u64::MAX, |deadline| deadline.saturating_sub(kernel::now_ns()));
        let mask = self.stay.begin();
        let time = left.min(self.doze);
        self.doze = SOON.min(2 * time);
        if left == 0 {
            return Err(Errno(libc::EAGAIN));
        }
        let strict = part || self.deadline.is_some();
        held::during(Obligation::Call(endpoint), || wait::doze(fd, events, time, mask, strict))
    }

    /// Lets signals through again: the call goes on by other means. Whether one has ended it; `part`: of which a part is done.
    pub fn end(&mut self, part: bool) -> bool {
        self.stay.end(part || self.deadline.is_some())
    }

    /// The same for a call that is over.
    pub fn leave(&mut self) {
        self.stay.leave();
    }

    pub fn wait(
        &mut self,
        endpoint: &'static Endpoint,
        fd: c_int,
        link: &Link,
        empty: &Empty,
        seen_marks: u32,
        (done, goal): (usize, usize),
    ) -> Result<Woken, Errno> {
        // With part of it done any signal ends the call, whatever its handler says of restarting.
        let strict = done > 0 || empty.peek.is_some();
        // Nobody is woken for less than SO_RCVLOWAT, however little is asked for. A part that was taken before (the carrier
        // changed) counts.
        let low_water = endpoint.low_water(link);
        let least = if done > 0 { low_water.min((goal - done) as u32) } else { low_water };
        let part_of_few = done > 0 && low_water > 1;
        let found = || {
            let (more, marks) = match &empty.peek {
                None => (link.consumer().glance_since(empty.turn, least), seen_marks),
                Some(peek) => {
                    let consumer = link.consumer();
                    (consumer.peer_tail() != peek.tail || consumer.peer_turn() != empty.turn, peek.marks)
                }
            };
            more || link.peer_marks() != marks
        };
        let hint = endpoint.nonblocking.load(Ordering::Relaxed) != 0;
        if self.blocking.is_none() && !hint && !empty.on_tcp && wait::glance_for_a_moment(link, found) {
            return Ok(Woken::Look);
        }
        if self.is_over(endpoint, fd) {
            return Err(Errno(libc::EAGAIN));
        }
        link.set_cpu(thread::cpu());
        let deadline = self.deadline;
        let again = self.stay.has_begun();
        let bounds = Bounds { deadline, strict: strict || deadline.is_some(), mask: self.stay.begin() };
        // A signal that has come is not put off by what comes for the call. But nobody knows which was first: a handler that lets it
        // begin anew has run before the bytes.
        let heeded = || match bounds.woken(Ok(Woken::Look), Delivered::Nothing) {
            Ok(Woken::Few) if low_water == 1 => Ok(Woken::Look),
            woken => woken,
        };
        if wait::spin_masked(link.peer_cpu(), deadline, bounds.mask, found) {
            return if again { held::during(Obligation::Call(endpoint), heeded) } else { Ok(Woken::Look) };
        }
        endpoint.adopt();
        let too_few = || {
            least > 1
                && empty.peek.is_none()
                && !link.is_recalled()
                && !levels::has_bytes(endpoint, link, fd)
                && kernel::poll_now(endpoint.descriptor(fd), libc::POLLIN | libc::POLLRDHUP) == 0
        };
        // There may be something new that is not enough: not to be slept on again at once.
        let enough = || found() && !too_few();
        // What a peek has seen there is there still.
        let events = if empty.peek.is_some() { libc::POLLRDHUP } else { libc::POLLIN | libc::POLLRDHUP };
        // What TCP tells does not end a nap. Without descriptors for more they must do.
        let mut nap = (!empty.on_tcp && low_water == 1).then_some(NAP);
        held::during(Obligation::Call(endpoint), || {
            loop {
                let mut woken = Woken::Tick;
                if let Some(nap) = nap {
                    let until = deadline.unwrap_or(u64::MAX).min(kernel::now_ns() + nap);
                    woken = wait::sleep(link, Sleep::Data, until, enough);
                    if woken == Woken::Look {
                        woken = heeded()?;
                    }
                }
                // Nothing tells of room for what TCP did not take; nor of the rest, with a part of them in the ring, or taken.
                let looks = link.is_recalled() || part_of_few || (least > 1 && link.consumer().glance());
                if woken == Woken::Tick {
                    let tick = if looks { SOON } else { wait::TICK };
                    woken = match wait::sleep_on_tcp(endpoint, fd, link, events, bounds, tick, enough) {
                        Err(Errno(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) if !empty.on_tcp => {
                            nap = Some(SOON);
                            bounds.woken(Ok(Woken::Tick), Delivered::Nothing)?
                        }
                        slept => slept?,
                    };
                }
                if matches!(woken, Woken::Few | Woken::Last) || part_of_few || !too_few() {
                    return Ok(woken);
                }
            }
        })
    }

    #[cold]
    fn ask(&mut self, endpoint: &Endpoint, fd: c_int) {
        let nonblocking = kernel::is_nonblocking(fd);
        endpoint.nonblocking.store(u8::from(nonblocking), Ordering::Relaxed);
        self.blocking = Some(!nonblocking);
        let mut timeout = libc::timeval { tv_sec: 0, tv_usec: 0 };
        if !nonblocking
            && kernel::getsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &mut timeout).is_ok()
            && (timeout.tv_sec, timeout.tv_usec) != (0, 0)
        {
            self.deadline = Some(kernel::now_ns().saturating_add(wait::ns(timeout)));
        }
    }
}
