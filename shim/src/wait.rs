//! Waiting inside a blocking call: spin for as long as a wake would cost, then sleep; interrupted by signals exactly
//! where the kernel's own call would be.
//!
//! TCP's recv goes to sleep within a fraction of a microsecond, so a handler that runs before it is an unlikely race
//! that programs live with. A spin makes that window a hundred times longer. So a longer spin blocks signals, looks for
//! pending ones itself, and decides by their dispositions, as the kernel would, whether the call ends with EINTR.

use crate::endpoint::Endpoint;
use crate::held::{self, Obligation};
use crate::hub::{self, Hub};
use crate::kernel::{self, Errno};
use crate::signals::{self, Delivered, deliver, handled, heed};
use crate::{config, real, thread};
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use slipstream_ring::Link;
use slipstream_ring::wait::Sleep;

/// How often a sleeper looks by itself: for what a holder published that died before it could wake anyone.
pub const TICK: u64 = 1_000_000_000;
/// The spin before any thought of signals, in ns: about what the system calls of a longer one take.
const MOMENT: u64 = 1_500;
/// `SLIPSTREAM_SPIN_US=auto`, in ns.
const AUTO: u64 = 50_000;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Look again.
    Look,
    /// Look again, and at TCP too.
    Tick,
    /// Look again, and be content with anything: a handler has run.
    Few,
    /// Look again; where nothing is found the call ends: a handler has run.
    Last,
}

/// What ends a call's wait besides what it waits for. Signals are blocked all the while, but for where they are looked for.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// CLOCK_MONOTONIC ns.
    pub deadline: Option<u64>,
    /// Every handler ends the call, SA_RESTART or not: it has a timeout, or something to return.
    pub strict: bool,
    /// The program's mask.
    pub mask: u64,
}

impl Bounds {
    fn is_past(&self) -> bool {
        self.deadline.is_some_and(|deadline| kernel::now_ns() >= deadline)
    }

    /// How a wait ended, after the handlers that ran in it and those that wait to.
    pub fn woken(&self, result: Result<Woken, Errno>, handled: Delivered) -> Result<Woken, Errno> {
        match (result, handled.or(heed(self.mask, self.strict))) {
            (Ok(Woken::Look), Delivered::Interrupt) => Ok(Woken::Last),
            (_, Delivered::Interrupt) => Err(Errno(libc::EINTR)),
            (Ok(Woken::Tick), _) if self.is_past() => Err(Errno(libc::EAGAIN)),
            (Ok(_), Delivered::Restart) => Ok(Woken::Few),
            (result, _) => result,
        }
    }
}

/// Looks for [`MOMENT`], without a system call, unless the peer is waiting for this CPU.
#[inline]
pub fn glance_for_a_moment(link: &Link, found: impl Fn() -> bool) -> bool {
    if link.peer_cpu() == Some(thread::cpu()) {
        return found();
    }
    let mut start = None;
    loop {
        for _ in 0..8 {
            if found() {
                return true;
            }
            core::hint::spin_loop();
        }
        let now = kernel::now_ns();
        if now - *start.get_or_insert(now) >= MOMENT {
            return false;
        }
    }
}

/// Whether a spin against this peer can pay: it runs on another CPU, and spinning has not been in vain lately.
fn may_spin(peer_cpu: Option<u32>) -> bool {
    let debt = &thread::current().spin_debt;
    if debt.get() > 2 && !debt.get().is_power_of_two() {
        debt.set(if debt.get() >= 63 { 33 } else { debt.get() + 1 });
        return false;
    }
    let own = thread::cpu();
    match peer_cpu {
        Some(peer) => peer != own,
        None => thread::may_use_several_cpus(),
    }
}

/// Spins until `found`, for at most as long as a wake costs, in a call that does not wait: what handlers run behind it changes
/// nothing.
pub fn spin(link: &Link, found: impl Fn() -> bool) -> bool {
    if budget() == 0 || !may_spin(link.peer_cpu()) {
        return false;
    }
    let mask = kernel::block_foreign_signals();
    let success = spin_while_masked(None, mask, found);
    deliver(mask, false);
    success
}

/// The longest spin, in ns.
fn budget() -> u64 {
    match config::spin_us() {
        config::SPIN_AUTO => AUTO,
        us => u64::from(us) * 1000,
    }
}

/// The same with signals blocked already, and not past `deadline`; it ends when one of those that `mask` lets through is pending.
pub fn spin_masked(peer_cpu: Option<u32>, deadline: Option<u64>, mask: u64, found: impl Fn() -> bool) -> bool {
    budget() > 0 && may_spin(peer_cpu) && spin_while_masked(deadline, mask, found)
}

fn spin_while_masked(deadline: Option<u64>, mask: u64, found: impl Fn() -> bool) -> bool {
    let start = kernel::now_ns();
    let end = deadline.map_or(start + budget(), |deadline| deadline.min(start + budget()));
    let (mut last, mut next_signal_look) = (start, start + 5_000);
    let success = loop {
        if (0..16).any(|_| {
            core::hint::spin_loop();
            found()
        }) {
            break true;
        }
        let now = kernel::now_ns();
        // A gap means that we were not running: someone else wants this CPU.
        if now >= end || now - last > 25_000 {
            break false;
        }
        last = now;
        if now >= next_signal_look {
            next_signal_look = now + 5_000;
            if kernel::pending_signals() & !mask != 0 {
                break false;
            }
        }
    };
    let debt = &thread::current().spin_debt;
    debt.set(if success { 0 } else { debt.get() + 1 });
    success
}

/// A sleep under way. One that a spin would have spared makes the next wait spin again.
pub struct Asleep(u64);

impl Asleep {
    pub fn now() -> Self {
        Self(kernel::now_ns())
    }

    pub fn until_now(self) {
        if kernel::now_ns() - self.0 < budget() {
            thread::current().spin_debt.set(0);
        }
    }
}

/// The place of the thread's signalfd, for [`poll_heeding`].
const NOBODY: libc::pollfd = libc::pollfd { fd: -1, events: 0, revents: 0 };

fn on(fd: c_int, events: i16) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

/// Polls `all`, the last of which is [`NOBODY`], with signals blocked; those that `mask` lets through end the wait. What those
/// that were delivered in it mean for the call; who finds others pending afterwards [delivers](deliver) them.
///
/// Alone, a thread is told of them by its signalfd. With other threads in the process they must be let through, so that the kernel
/// sees who would take them: those of one meaning, for nothing else tells which one it was.
fn poll_heeding<const N: usize>(
    all: &mut [libc::pollfd; N],
    time: Option<u64>,
    mask: u64,
    strict: bool,
) -> (kernel::Result<usize>, Delivered) {
    let time = time.map(kernel::timespec);
    let (through, watched, meaning) = if real::single_threaded() {
        (u64::MAX, !mask, Delivered::Nothing)
    } else {
        signals::leave_to_leader(mask);
        let handled = handled(mask, strict);
        let left = handled.left_to_signalfd();
        (mask | left, left, handled.meaning())
    };
    if watched != 0 {
        match (hub::signals(watched), all.last_mut()) {
            (Ok(signals), Some(last)) => *last = on(signals, libc::POLLIN),
            (Err(errno), _) => return (Err(errno), Delivered::Nothing),
            _ => {}
        }
    }
    let all = all.get_mut(..if watched != 0 { N } else { N - 1 }).unwrap_or_default();
    // Where its signal is blocked, too, a thread that was cancelled dies below.
    match real::cancellable(|| kernel::ppoll(all, time.as_ref(), &raw const through)) {
        Err(Errno(libc::EINTR)) if meaning == Delivered::Interrupt => (Ok(1), meaning),
        // It may have been installed meanwhile.
        Err(Errno(libc::EINTR)) => (Ok(1), handled(mask, strict).meaning()),
        slept => (slept, Delivered::Nothing),
    }
}

/// Sleeps until the peer's publication, a local event, or `until`: not for long, since no signal that is blocked ends it. `found` is
/// the last look.
pub fn sleep(link: &Link, kind: Sleep, until: u64, found: impl Fn() -> bool) -> Woken {
    let (word, local) = (link.futex(kind), link.local());
    // SYNC POINT futex: the words before the epoch and the last look; a publication after the look changes the word.
    let (value, local_value) = (word.load(Ordering::Acquire), local.load(Ordering::Acquire));
    link.arm(kind);
    if found() {
        return Woken::Look;
    }
    let until = kernel::timespec(until);
    let asleep = Asleep::now();
    let result = real::cancellable(|| match kernel::futex_wait_two([(word, value), (local, local_value)], &until) {
        // Before Linux 5.16, or forbidden.
        Err(Errno(libc::ENOSYS | libc::EPERM)) => kernel::futex_wait(word, value, &until),
        slept => slept,
    });
    asleep.until_now();
    match result {
        Err(Errno(libc::ETIMEDOUT)) => {
            if found() {
                link.note_late(kind);
            }
            Woken::Tick
        }
        _ => Woken::Look,
    }
}

/// A timeout of SO_RCVTIMEO's or SO_SNDTIMEO's.
pub fn ns(timeout: libc::timeval) -> u64 {
    (timeout.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(timeout.tv_usec as u64 * 1000)
}

/// Waits until TCP takes more bytes, at most SO_SNDTIMEO; interrupted as a send is.
pub fn room_on_tcp(fd: c_int) -> Result<(), Errno> {
    let mut timeout = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let _ = kernel::getsockopt(fd, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &mut timeout);
    room(fd, ns(timeout))
}

/// Waits until there is room to write, at most `limit` ns, where 0 is for ever; interrupted as a send is.
pub fn room(fd: c_int, limit: u64) -> Result<(), Errno> {
    let mask = kernel::block_signals();
    let mut all = [on(fd, libc::POLLOUT), NOBODY];
    let (result, handled) = poll_heeding(&mut all, (limit > 0).then_some(limit), mask, limit > 0);
    let delivered = handled.or(deliver(mask, limit > 0));
    real::test_cancel();
    match result {
        _ if delivered == Delivered::Interrupt => Err(Errno(libc::EINTR)),
        Ok(0) => Err(Errno(libc::EAGAIN)),
        result => result.map(drop),
    }
}

/// Waits `time` ns, or until TCP shows one of `events`, with signals blocked; `mask` is the program's. One that ends a call is
/// taken in, and ends it.
pub fn doze(fd: c_int, events: i16, time: u64, mask: u64, strict: bool) -> Result<(), Errno> {
    let mut all = [on(fd, events), NOBODY];
    let (slept, handled) = poll_heeding(&mut all, Some(time), mask, strict);
    if handled.or(heed(mask, strict)) == Delivered::Interrupt {
        return Err(Errno(libc::EINTR));
    }
    slept.map(drop)
}

/// Sleeps until TCP shows one of `events` or the doorbell rings, for as long as that takes: while TCP carries, but may hand over at
/// any moment; and where a sleep has become a long one. With signals blocked; those that come are heeded.
pub fn sleep_on_tcp(
    endpoint: &'static Endpoint,
    fd: c_int,
    link: &Link,
    events: i16,
    bounds: Bounds,
    tick: u64,
    found: impl Fn() -> bool,
) -> Result<Woken, Errno> {
    let hub = Hub::take()?;
    let mut handled = Delivered::Nothing;
    let sleep = || {
        hub.listen(endpoint.own_bell());
        hub.clear();
        let _ = link.arm(Sleep::Poll);
        if found() {
            return Ok(Woken::Look);
        }
        loop {
            // Its number may be another's by now.
            let socket = on(endpoint.descriptor(fd), events);
            let mut all = [socket, on(hub.fd(), libc::POLLIN), NOBODY];
            let wait = bounds.deadline.map_or(tick, |deadline| deadline.saturating_sub(kernel::now_ns()).min(tick));
            let slept;
            (slept, handled) = poll_heeding(&mut all, Some(wait), bounds.mask, bounds.strict);
            match slept {
                Ok(0) if bounds.is_past() => return Ok(Woken::Tick),
                Ok(0) if found() => {
                    link.note_late(Sleep::Poll);
                    return Ok(Woken::Tick);
                }
                Ok(0) if tick == TICK => {}
                Ok(0) => return Ok(Woken::Tick),
                // A signal alone is no reason to look: what its handler means for the call is decided below.
                Ok(n) if n > 0 && all[0].revents == 0 && all[1].revents == 0 => return Ok(Woken::Tick),
                Ok(_) => return Ok(Woken::Look),
                // RLIMIT_NOFILE is below three.
                Err(Errno(libc::EINVAL)) => {
                    kernel::poll_for(-1, 0, 1);
                    return Ok(Woken::Look);
                }
                Err(errno) => return Err(errno),
            }
        }
    };
    let result = held::during(Obligation::Hub(hub.fd()), sleep);
    hub.leave(endpoint.own_bell());
    hub.give();
    bounds.woken(result, handled)
}
