//! Sending on a linked endpoint.

use crate::endpoint::Endpoint;
use crate::held::{self, Obligation};
use crate::kernel::{self, Errno};
use crate::pieces::Pieces;
use crate::readiness::epoll;
use crate::readiness::levels::WRITABLE;
use crate::signals::{self, Stay};
use crate::stream::Done;
use crate::{carrier, real, recall, roles, tcp, thread, wait};
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use slipstream_protocol::Reason;
use slipstream_ring::carrier::{Carrier, Ready};
use slipstream_ring::layout::MARK_RECALL;
use slipstream_ring::role::Entry;
use slipstream_ring::wait::Sleep;
use slipstream_ring::{Broken, Departure, Link};

/// Bytes copied before they are published, so that both sides' copies overlap.
const CHUNK: u32 = 16 * 1024;
/// How long a full ring is waited for before the direction goes back to TCP.
const PATIENCE: u64 = 10_000_000;
/// The same in a call that must not block: long enough for a reader that is reading, short for one that is not.
const SHORT_PATIENCE: u64 = 1_000_000;
/// Flags that do not change what is sent.
const HARMLESS: c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | libc::MSG_MORE | libc::MSG_EOR;

/// What one attempt came to.
enum Step {
    /// So many bytes are on their way in the ring.
    Sent(usize),
    /// The ring is full.
    Full,
    /// The program has no such memory.
    Failed(Errno),
    /// The peer has ended, and may never read what is in the ring.
    EndedUnread,
    /// TCP carries; this thread is counted in and must count itself out after the real call.
    Tcp,
}

/// Sends what `pieces` hold; `real` is the program's own call.
pub fn send(
    endpoint: &'static Endpoint,
    fd: c_int,
    link: &Link,
    pieces: &mut Pieces,
    flags: c_int,
    real: impl Fn() -> isize,
) -> Done {
    let reason = match () {
        () if flags & libc::MSG_OOB != 0 => Some(Reason::Urgent),
        () if flags & libc::MSG_ZEROCOPY != 0 => Some(Reason::Zerocopy),
        () if flags & !HARMLESS != 0 => Some(Reason::Call),
        () => None,
    };
    if let Some(reason) = reason {
        recall::detach(endpoint, reason);
        return through_tcp(endpoint, fd, link, real);
    }
    endpoint.is_ready(link);
    let mut stay = Stay::default();
    let sent = send_patiently(endpoint, fd, link, pieces, flags, &mut stay, &real);
    stay.end(pieces.done() > 0);
    sent
}

/// What a call comes to that a signal has ended.
fn interrupted(pieces: &Pieces) -> Done {
    Done::Moved(if pieces.done() > 0 { Ok(pieces.done()) } else { Err(Errno(libc::EINTR)) })
}

fn send_patiently(
    endpoint: &'static Endpoint,
    fd: c_int,
    link: &Link,
    pieces: &mut Pieces,
    flags: c_int,
    stay: &mut Stay,
    real: impl Fn() -> isize,
) -> Done {
    let mut full_since = 0u64;
    // Whether nothing has been sent or waited for: then the program's own call may serve. After a wait its descriptor may
    // name something else.
    let mut fresh = true;
    // Asked once, when it first has to wait: an O_NONBLOCK that is set meanwhile is for calls to come.
    let mut waits = (flags & libc::MSG_DONTWAIT != 0).then_some(false);
    let is_blocking = || !kernel::is_nonblocking(endpoint.descriptor(fd));
    loop {
        match carrier::shielded(endpoint, pieces, || step(endpoint, fd, link, pieces, flags)) {
            Err(Broken) => return Done::Moved(Err(endpoint.fail(fd))),
            Ok(Step::Sent(n)) => {
                (fresh, full_since) = (false, 0);
                pieces.advance(n);
                if pieces.is_empty() {
                    return Done::Moved(Ok(pieces.done()));
                }
            }
            Ok(Step::Tcp) => {
                let sent = held::during(Obligation::CallWriter(endpoint), || {
                    if stay.end(pieces.done() > 0) {
                        interrupted(pieces)
                    } else if !fresh {
                        Done::Moved(rest_through_tcp(endpoint, fd, pieces, flags, waits == Some(true)))
                    } else if let Some(errno) = endpoint.family().take_error() {
                        Done::Moved(Err(errno))
                    } else {
                        Done::Real(real())
                    }
                });
                endpoint.family().writers.leave();
                return sent;
            }
            Ok(Step::Failed(errno)) => {
                return Done::Moved(if pieces.done() > 0 { Ok(pieces.done()) } else { Err(errno) });
            }
            // First, so that this send meets the reset.
            Ok(Step::EndedUnread) => recall::let_the_kernel_tell(endpoint, fd, link),
            Ok(Step::Full) if link.is_recalled() => {
                fresh = false;
                if stay.end(pieces.done() > 0) {
                    return interrupted(pieces);
                }
                // TCP is full, and what was left in the ring comes first.
                if let Err(errno) = await_room(endpoint, fd, *waits.get_or_insert_with(is_blocking)) {
                    return Done::Moved(if pieces.done() > 0 { Ok(pieces.done()) } else { Err(errno) });
                }
            }
            Ok(Step::Full) => {
                fresh = false;
                if stay.is_due() && stay.end(pieces.done() > 0) {
                    return interrupted(pieces);
                }
                let space = || carrier::has_space(endpoint, link) || link.producer().must_go_back();
                if wait::glance_for_a_moment(link, space) {
                    continue;
                }
                let nonblocking = !*waits.get_or_insert_with(is_blocking);
                if !nonblocking {
                    stay.begin();
                }
                if wait::spin(link, space) {
                    continue;
                }
                if stay.is_due() && stay.end(pieces.done() > 0) {
                    return interrupted(pieces);
                }
                let now = kernel::now_ns();
                if full_since == 0 {
                    full_since = now;
                }
                if nonblocking && pieces.done() > 0 {
                    // A program that waits for an edge now is to have one: there is a way to write, here or over TCP.
                    epoll::edge(endpoint, WRITABLE);
                    return Done::Moved(Ok(pieces.done()));
                }
                let patience = if nonblocking { SHORT_PATIENCE } else { PATIENCE };
                if now - full_since >= patience && roles::is_mine(link.tx_lock()) {
                    // A handler inside its own thread's send: only that one can make room.
                    return Done::Moved(if pieces.done() > 0 { Ok(pieces.done()) } else { Err(Errno(libc::EAGAIN)) });
                }
                if now - full_since >= patience {
                    endpoint.bounce.outran(link.producer().tail(), link.capacity());
                    go_back(endpoint, fd, link);
                    continue;
                }
                if !nonblocking {
                    stay.begin();
                }
                let until = kernel::now_ns() + patience;
                held::during(Obligation::Call(endpoint), || wait::sleep(link, Sleep::Space, until, space));
            }
        }
    }
}

/// One attempt under the lock.
#[inline]
fn step(endpoint: &'static Endpoint, fd: c_int, link: &Link, pieces: &Pieces, flags: c_int) -> Result<Step, Broken> {
    let lock = link.tx_lock();
    let entry = roles::enter(lock);
    let result = if link.producer().carrier() == Carrier::Ring || try_switch(endpoint, fd, link, flags, entry) {
        in_ring(endpoint, fd, link, pieces, entry)
    } else {
        endpoint.family().writers.force();
        Ok(Step::Tcp)
    };
    roles::leave(lock, entry, || publish(endpoint, link));
    result
}

/// All that the ring takes now, under one hold of the role: two sends do not mix where there is room for both, as the
/// kernel's do not.
#[inline]
fn in_ring(endpoint: &'static Endpoint, fd: c_int, link: &Link, pieces: &Pieces, entry: Entry) -> Result<Step, Broken> {
    let producer = link.producer();
    let mut done = 0;
    loop {
        let marks = link.peer_marks();
        let hint = marks != 0 || endpoint.ending.load(Ordering::Relaxed) != 0;
        let over = || hint && (marks & MARK_RECALL != 0 || tcp::is_ending(endpoint.descriptor(fd)));
        // A handler inside its own thread's send only stages: the carrier is the outer call's to change.
        if entry != Entry::Reentered && (producer.must_go_back() || over()) {
            return match done {
                0 if over() && recall::ended_with_unread(endpoint, fd, link) => Ok(Step::EndedUnread),
                0 => leave_locked(endpoint, fd, link),
                done => Ok(Step::Sent(done)),
            };
        }
        let rest = pieces.behind(done);
        let claim = producer.claim(rest.left().min(CHUNK as usize) as u32, entry)?;
        let sent = if claim.len() == 0 { Ok(0) } else { carrier::fill(endpoint, &claim, &rest)? };
        let sent = match sent {
            Ok(sent) if sent > 0 => sent,
            _ if done > 0 => return Ok(Step::Sent(done)),
            Ok(_) => return Ok(Step::Full),
            Err(errno) => return Ok(Step::Failed(errno)),
        };
        done += sent;
        if entry == Entry::Reentered {
            link.tx_lock().note();
        } else {
            link.set_cpu(thread::cpu());
            let wake = producer.publish();
            endpoint.deliver(link, wake);
            if Carrier::of(link.consumer().followed()) == Carrier::Tcp {
                acknowledge(endpoint, fd, link);
            }
            if link.is_recalled() {
                recall::answer_locked(endpoint, fd, link)?;
                return Ok(Step::Sent(done));
            }
        }
        if done == pieces.left() {
            return Ok(Step::Sent(done));
        }
    }
}

/// The peer still sends over TCP, where these bytes would have carried the acknowledgement of what was read from there. Its
/// Nagle algorithm may wait for that.
fn acknowledge(endpoint: &'static Endpoint, fd: c_int, link: &Link) {
    let taken = link.consumer().taken();
    if endpoint.acknowledged.load(Ordering::Relaxed) != taken {
        endpoint.acknowledged.store(taken, Ordering::Relaxed);
        tcp::acknowledge(endpoint.descriptor(fd));
    }
}

/// The receiver, or the end of the connection, wants the direction back on TCP. Under the lock.
#[cold]
fn leave_locked(endpoint: &'static Endpoint, fd: c_int, link: &Link) -> Result<Step, Broken> {
    // A signal handler's bytes would pass the boundary.
    let mask = kernel::block_signals();
    let left = leave(endpoint, endpoint.descriptor(fd), link, false);
    if left == Ok(true) {
        endpoint.family().writers.force();
    }
    kernel::restore_signals(mask);
    left.map(|left| if left { Step::Tcp } else { Step::Full })
}

/// Moves the direction into the ring if everything allows it now.
#[cold]
fn try_switch(endpoint: &'static Endpoint, fd: c_int, link: &Link, flags: c_int, entry: Entry) -> bool {
    let producer = link.producer();
    if entry == Entry::Reentered
        || flags & libc::MSG_MORE != 0
        || endpoint.is_retired()
        || !producer.may_switch()
        || !endpoint.family().writers.is_shut()
        || !endpoint.family().writers.is_empty()
        || link.has_ended()
        || link.ready() != Ready::Ready
        || link.has_recalled()
        || link.peer_marks() != 0
        || !endpoint.bounce.may_switch()
        || (endpoint.ending.load(Ordering::Relaxed) != 0 && tcp::is_ending(endpoint.descriptor(fd)))
    {
        return false;
    }
    // No handler of this thread may write to TCP between the count and the turn.
    let mask = kernel::block_signals();
    let connector = endpoint.connector.load(Ordering::Relaxed) != 0;
    let switched =
        tcp::written(endpoint.descriptor(fd), connector).is_some_and(|written| match producer.switch(written) {
            Ok(()) => {
                endpoint.bounce.switched(producer.tail());
                true
            }
            Err(wake) => {
                endpoint.deliver(link, wake);
                false
            }
        });
    kernel::restore_signals(mask);
    switched
}

/// Publishes what nested calls have staged.
pub fn publish(endpoint: &Endpoint, link: &Link) {
    let wake = link.producer().publish();
    endpoint.deliver(link, wake);
}

/// Waits for TCP's room, for a call that may wait, as the kernel's own send would.
#[cold]
fn await_room(endpoint: &'static Endpoint, fd: c_int, may_wait: bool) -> Result<(), Errno> {
    if !may_wait {
        return Err(Errno(libc::EAGAIN));
    }
    let socket = endpoint.descriptor(fd);
    held::during(Obligation::Call(endpoint), || wait::room_on_tcp(socket))
}

/// Leaves the ring; what comes next goes through TCP. `false`: TCP is full, and what the peer has recalled comes first.
#[cold]
pub fn go_back(endpoint: &'static Endpoint, fd: c_int, link: &Link) -> bool {
    leave_and(endpoint, fd, link, false, || ())
}

/// [`go_back`] for good: the sending has ended, or goes on by ways that the shim does not see. What the peer has not read
/// goes through TCP as well, so that it needs this side no more. `false`: for a while TCP took no more of what the peer has
/// recalled, which is lost.
#[cold]
pub fn depart(endpoint: &'static Endpoint, fd: c_int, link: &Link) -> bool {
    let socket = endpoint.descriptor(fd);
    let in_ring = link.producer().carrier() == Carrier::Ring;
    // What the ring held, the program takes for sent: it does not count against what TCP may hold.
    let buffer = if in_ring { tcp::widen(socket, link.producer().unread()) } else { None };
    let begun = kernel::now_ns();
    let left = loop {
        let left = leave_and(endpoint, fd, link, true, || ());
        if left || kernel::now_ns() - begun > u64::from(recall::LAST_WORDS) * 1_000_000 {
            break left;
        }
        kernel::poll_for(socket, libc::POLLOUT, 10);
    };
    buffer.inspect(|buffer| tcp::narrow(socket, *buffer));
    left
}

/// Leaves, and under the same lock `then`: nobody switches in between. `false` as in [`go_back`].
fn leave_and(endpoint: &'static Endpoint, fd: c_int, link: &Link, for_good: bool, then: impl FnOnce()) -> bool {
    let lock = link.tx_lock();
    // A signal handler's bytes would pass the boundary.
    let mask = kernel::block_signals();
    let entry = roles::enter(lock);
    // A handler inside its own thread's send leaves the carrier to that one.
    let mut left = entry != Entry::Locked || link.producer().carrier() == Carrier::Tcp;
    if !left {
        left = leave(endpoint, endpoint.descriptor(fd), link, for_good).unwrap_or_else(|Broken| {
            endpoint.fail(fd);
            true
        });
    }
    if left {
        then();
    }
    roles::leave(lock, entry, || publish(endpoint, link));
    signals::restore(mask);
    left
}

/// One try, under the lock. `false`: TCP is full, and what the peer has recalled comes first.
fn leave(endpoint: &'static Endpoint, fd: c_int, link: &Link, for_good: bool) -> Result<bool, Broken> {
    let producer = link.producer();
    // Without room for the copy the peer must do with the ring.
    if for_good && tcp::can_send(fd) && tcp::has_room(fd, producer.unread()) {
        if let Some(Departure { position, copy, wake }) = producer.try_depart()? {
            // Who has marked its end wakes them once that is there to see. (Should there be none TCP wakes them, or what comes
            // next on it.)
            if !link.has_ended() {
                endpoint.deliver(link, wake);
            }
            return if recall::send_copy(fd, link, position, copy) { Ok(true) } else { Err(Broken) };
        }
    } else if let Some(wake) = producer.try_go_back() {
        endpoint.deliver(link, wake);
        return Ok(true);
    }
    recall::answer_locked(endpoint, fd, link)
}

/// Runs a call that only TCP can serve, after everything that is in the ring.
pub fn through_tcp(endpoint: &'static Endpoint, fd: c_int, link: &Link, real: impl Fn() -> isize) -> Done {
    while !leave_and(endpoint, fd, link, false, || endpoint.family().writers.force()) {
        if let Err(errno) = await_room(endpoint, fd, !kernel::is_nonblocking(endpoint.descriptor(fd))) {
            return Done::Moved(Err(errno));
        }
    }
    let sent = real_or_held(endpoint, real);
    endpoint.family().writers.leave();
    sent
}

/// A call that only TCP can serve. Where it would have met the error that was taken from the kernel it meets the end instead,
/// and with that SIGPIPE, which is not meant for the program then.
fn real_or_held(endpoint: &'static Endpoint, real: impl Fn() -> isize) -> Done {
    let call = || held::during(Obligation::CallWriter(endpoint), &real);
    if !endpoint.family().has_error() {
        return Done::Real(call());
    }
    let (mask, before) = (kernel::block_sigpipe(), kernel::pending_signals());
    let sent = call();
    // SAFETY: libc's errno of this thread.
    let errno = unsafe { libc::__errno_location().read() };
    let ended = sent < 0 && matches!(errno, libc::EPIPE | libc::ECONNRESET);
    let held = if ended { endpoint.family().take_error() } else { None };
    if held.is_some() && before & kernel::SIGPIPE == 0 {
        kernel::take_sigpipe();
    }
    signals::restore(mask);
    held.map_or(Done::Real(sent), |errno| Done::Moved(Err(errno)))
}

/// What the ring did not take goes through TCP, in the same call.
fn rest_through_tcp(
    endpoint: &'static Endpoint,
    fd: c_int,
    pieces: &mut Pieces,
    flags: c_int,
    waits: bool,
) -> Result<usize, Errno> {
    // An O_NONBLOCK that was set while the call waited.
    let stops_short = || waits && kernel::is_nonblocking(endpoint.descriptor(fd));
    while !pieces.is_empty() {
        // A short count is the kernel's word to stop (full and non-blocking, a signal, a timeout), unless it comes of our
        // taking a few pieces at a time.
        match endpoint.on_socket(fd, |socket| real::cancellable(|| pieces.send(socket, flags))) {
            Ok((sent, asked)) => {
                pieces.advance(sent);
                if sent < asked && !stops_short() {
                    break;
                }
            }
            Err(Errno(libc::EAGAIN)) if stops_short() => {
                if let Err(errno) = wait::room_on_tcp(endpoint.descriptor(fd)) {
                    return if pieces.done() > 0 { Ok(pieces.done()) } else { Err(errno) };
                }
            }
            Err(errno) if pieces.done() == 0 => return Err(errno),
            // The connection broke between the ring and here. The kernel would have taken all of a send for which there is
            // room before it heard of that, and tells the next call.
            Err(errno @ Errno(libc::EPIPE | libc::ECONNRESET))
                if tcp::has_room(endpoint.descriptor(fd), pieces.left() as u64) =>
            {
                if errno == Errno(libc::ECONNRESET) {
                    endpoint.family().hold_error(errno);
                }
                pieces.advance(pieces.left());
            }
            // Where part of the call has succeeded, an error is for the next one.
            Err(_) => break,
        }
    }
    Ok(pieces.done())
}
