//! Leaving the ring for good and at once, for a program that is about to read or write the socket by ways that the shim
//! does not see: exec, a descriptor sent to a stranger, libc's own stdio.

use crate::endpoint::{Endpoint, Phase};
use crate::kernel::{self, Errno};
use crate::pieces::Pieces;
use crate::readiness::{epoll, levels};
use crate::tcp::{self, End};
use crate::{receiver, roles, sender, signals};
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use slipstream_protocol::Reason;
use slipstream_ring::carrier::Carrier;
use slipstream_ring::layout::{MARK_END, MARK_GONE, MARK_RECALL, MARK_SHARED};
use slipstream_ring::role::Entry;
use slipstream_ring::{Broken, Leftover, Link};

/// How long the peer's last words may take, in ms: on their way in the kernel, or held up by a peer that does not run.
pub const LAST_WORDS: u32 = 1000;

/// The endpoint is to leave the ring, as soon as this side has read what is there: it goes back to TCP for good now, and
/// is the kernel's alone once nothing is left. For a program that still reads through the shim.
pub fn detach(endpoint: &'static Endpoint, reason: Reason) {
    match endpoint.link() {
        Some(link) if link.consumer().unread() > 0 => {
            endpoint.retire(reason);
            endpoint.with_descriptor(|fd| {
                if !sender::depart(endpoint, fd, link) {
                    endpoint.fail(fd);
                }
            });
            // Whoever sleeps on it is to find it ready.
            endpoint.wake_own(link);
        }
        _ => detach_now(endpoint, reason),
    }
}

/// From here on the endpoint is the kernel's alone, in all its holders; the peer sends again what is unread.
pub fn detach_now(endpoint: &'static Endpoint, reason: Reason) {
    if endpoint.phase() != Phase::Idle {
        // What another thread is just attaching is linked in the end, or settled.
        endpoint.settle(reason);
    }
    let Some(link) = endpoint.link().filter(|_| endpoint.is_in_place()) else { return };
    endpoint.stay_out(reason);
    endpoint.with_descriptor(|fd| {
        let mut lost = !sender::depart(endpoint, fd, link);
        if !link.has_recalled() {
            lost |= !recall(endpoint, fd, link);
        }
        endpoint.retire(reason);
        match reason {
            Reason::Exec => epoll::release_before_exec(endpoint),
            _ => epoll::release(endpoint),
        }
        if lost {
            // The sender went back a moment earlier, or is no more: what it left in the ring came before what is on TCP
            // already, and can no longer be put in order for a reader that is not us. Better no stream than a wrong one.
            endpoint.fail(fd);
        }
    });
}

/// `false`: what is unread in the ring will not come.
fn recall(endpoint: &'static Endpoint, fd: c_int, link: &Link) -> bool {
    let mask = kernel::block_signals();
    let (tx, rx) = (roles::enter(link.tx_lock()), roles::enter(link.rx_lock()));
    // The mark before the word that the ring is not to be used: who goes back for that sees it, too.
    let wake = link.recall();
    endpoint.deliver(link, wake);
    endpoint.wake_own(link);
    let done = make_way(endpoint, fd, link);
    roles::leave_receiving(endpoint, link, rx);
    roles::leave(link.tx_lock(), tx, || sender::publish(endpoint, link));
    signals::restore(mask);
    done
}

/// Puts TCP in order for a reader that is not us: what the sender left there for us, and we have read from the ring, is
/// dropped. `false`: what is unread in the ring will not come. Under both locks, after the recall.
fn make_way(endpoint: &'static Endpoint, fd: c_int, link: &Link) -> bool {
    let consumer = link.consumer();
    for _ in 0..LAST_WORDS {
        match consumer.leftover() {
            Leftover::Nothing => return true,
            Leftover::Copied if receiver::drop_void(endpoint, fd, link) == Ok(true) => return true,
            Leftover::Stranded => return false,
            Leftover::Resent if matches!(tcp::look(fd, 1), End::Open | End::Bytes(_)) => return true,
            // Who has ended without a copy (for want of room, or killed) sends nothing again; an answer came before the end.
            Leftover::Resent if consumer.leftover() == Leftover::Resent => return false,
            Leftover::Resent | Leftover::Copied | Leftover::Undecided => {}
        }
        // On its way in the kernel, or a few instructions of the sender's away.
        kernel::poll_for(-1, 0, 1);
    }
    false
}

/// Sends what is unread in the ring through TCP, as a copy. `false`: not all of it. Under the lock.
pub fn send_copy(fd: c_int, link: &Link, first: u64, len: u32) -> bool {
    let (mut position, end) = (first, first + u64::from(len));
    let mut patience = LAST_WORDS;
    while position < end {
        if position != first && kernel::poll_now(fd, 0) & libc::POLLERR != 0 {
            // The connection is over: a send would take the error that the program is to be told.
            return true;
        }
        match send_left_behind(fd, link, position, (end - position) as u32) {
            Ok(sent) => position += sent as u64,
            Err(Errno(libc::EINTR)) => {}
            Err(Errno(libc::EAGAIN)) if patience > 0 => {
                patience -= 1;
                kernel::poll_for(fd, libc::POLLOUT, 1);
            }
            Err(Errno(libc::EAGAIN)) => return false,
            // The connection is over: the kernel tells whoever asks.
            Err(_) => return true,
        }
    }
    true
}

/// Sends what TCP takes now of the own ring's `len` bytes from `position` on. In one call: the fewer segments, the sooner
/// they, and the FIN behind them, may leave. Under the lock.
fn send_left_behind(fd: c_int, link: &Link, position: u64, len: u32) -> kernel::Result<usize> {
    let runs = link.producer().runs(position, len);
    let runs = runs.map(|(base, len)| libc::iovec { iov_base: base.cast_mut().cast(), iov_len: len });
    Pieces::new(&runs).send_from(fd, 0, len as usize, libc::MSG_DONTWAIT)
}

/// Whether TCP shows a FIN, and bytes of ours are in the ring of which nobody may ever tell that they stay unread: the FIN is
/// that of dead processes, or was sent by one of several holders, of whom the last may die. Every end that the shim sees is
/// marked before its FIN, so one without a mark is a death, or a close with bytes unread by holders that all took another for
/// the last.
pub fn ended_with_unread(endpoint: &'static Endpoint, fd: c_int, link: &Link) -> bool {
    let socket = endpoint.descriptor(fd);
    link.producer().carrier() == Carrier::Ring
        && link.producer().unread() > 0
        && tcp::has_received_fin(socket)
        // After the FIN was seen. Who has recalled is answered, and its FIN may be another image's.
        && matches!(link.peer_marks() & (MARK_END | MARK_SHARED | MARK_RECALL), 0 | MARK_SHARED_END)
        && !tcp::is_corked(socket)
}

const MARK_SHARED_END: u32 = MARK_END | MARK_SHARED;

/// Sends what is unread through TCP after all, whose answer is the right one: now, or when the last holder goes. As a copy, for
/// who lives reads on in the ring.
pub fn let_the_kernel_tell(endpoint: &'static Endpoint, fd: c_int, link: &Link) {
    // With this nothing enters the ring any more: the FIN stays.
    endpoint.ending.store(1, Ordering::Relaxed);
    sender::depart(endpoint, fd, link);
    let socket = endpoint.descriptor(fd);
    tcp::push(socket);
    if link.peer_marks() & MARK_END != 0 {
        return;
    }
    // The answer to the copy is there at once, unless the machine is busy.
    kernel::poll_for(socket, 0, 5);
    if link.peer_marks() & MARK_GONE != 0 || !tcp::can_send(socket) {
        // The reset comes after a FIN now, where it would have come instead: the kernel has another error for it, and a
        // receive's end.
        let _ = kernel::getsockopt(socket, libc::SOL_SOCKET, libc::SO_ERROR, &mut 0i32);
        endpoint.family().hold_error(Errno(libc::ECONNRESET));
    }
}

/// The peer has recalled, so it sends through TCP for good: once everything is read that came otherwise, and nothing more
/// is to be sent again, this side may leave the ring as well. Whether it has.
pub fn follow_suit(endpoint: &'static Endpoint, fd: c_int, link: &Link) -> bool {
    if link.peer_marks() & MARK_RECALL == 0 || link.has_recalled() {
        return link.has_recalled();
    }
    if levels::has_bytes(endpoint, link, fd)
        || levels::has_void(endpoint, link, fd)
        || link.is_recalled()
        || Carrier::of(link.consumer().followed()) == Carrier::Ring
    {
        return false;
    }
    if link.consumer().glance() {
        // A turn is to be followed first.
        return false;
    }
    detach(endpoint, Reason::Peer);
    true
}

/// The peer has recalled: what it left unread goes through TCP. `false`: TCP is full; more is to be done later.
#[cold]
pub fn answer(endpoint: &'static Endpoint, fd: c_int, link: &Link) -> Result<bool, Broken> {
    let lock = link.tx_lock();
    let entry = roles::enter(lock);
    // A signal handler inside its own thread's send leaves it to that one.
    let done = if entry == Entry::Reentered { Ok(true) } else { answer_locked(endpoint, fd, link) };
    roles::leave(lock, entry, || sender::publish(endpoint, link));
    done
}

/// [`answer`], as far as TCP takes it within a moment; for a caller that comes again. `false`: the peer's memory is broken.
pub fn answer_soon(endpoint: &'static Endpoint, fd: c_int, link: &Link) -> bool {
    match answer(endpoint, fd, link) {
        Ok(true) => true,
        Ok(false) => {
            kernel::poll_for(endpoint.descriptor(fd), libc::POLLOUT, 10);
            true
        }
        Err(Broken) => false,
    }
}

/// [`answer`], under the lock.
pub fn answer_locked(endpoint: &'static Endpoint, fd: c_int, link: &Link) -> Result<bool, Broken> {
    let producer = link.producer();
    while producer.carrier() == Carrier::Ring {
        let (position, left) = producer.left_behind()?;
        if left == 0 {
            let wake = producer.go_back();
            endpoint.deliver(link, wake);
            break;
        }
        if kernel::poll_now(endpoint.descriptor(fd), 0) & libc::POLLERR != 0 {
            // The connection is over: a send would take the error that the program is to be told.
            producer.note_resent(position + u64::from(left));
            continue;
        }
        match send_left_behind(endpoint.descriptor(fd), link, position, left) {
            Ok(sent) => producer.note_resent(position + sent as u64),
            Err(Errno(libc::EAGAIN | libc::EINTR)) => return Ok(false),
            // The connection is over: the kernel tells whoever asks.
            Err(_) => producer.note_resent(position + u64::from(left)),
        }
    }
    Ok(true)
}
