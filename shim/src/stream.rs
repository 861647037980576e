//! Sending and receiving on any descriptor: passed through, counted, or managed.

use crate::endpoint::{Endpoint, Phase};
use crate::held::{self, Obligation};
use crate::kernel::{self, Errno};
use crate::pieces::{self, Pieces};
use crate::prefix::Direction;
use crate::readiness::epoll;
use crate::readiness::levels::{self, READABLE};
use crate::{broker, config, descriptor, real, recall, receiver, sender, tcp};
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use slipstream_protocol::Reason;

/// How a call was served.
pub enum Done {
    /// By the real call, whose result this is.
    Real(isize),
    /// By the shim.
    Moved(Result<usize, Errno>),
}

/// Calls between two tries to offer an endpoint.
const AGAIN: u32 = 32;

/// Flags of a receive that takes nothing.
const TAKES_NOTHING: c_int = libc::MSG_PEEK | libc::MSG_OOB | libc::MSG_ERRQUEUE;

/// A receive.
#[inline]
pub fn receive(fd: c_int, pieces: &[libc::iovec], flags: c_int, real: impl Fn() -> isize) -> Done {
    carry(fd, pieces, flags, real, managed_receive, counted_receive)
}

/// A send.
#[inline]
pub fn send(fd: c_int, pieces: &[libc::iovec], flags: c_int, real: impl Fn() -> isize) -> Done {
    carry(fd, pieces, flags, real, managed_send, counted_send)
}

/// Either, by what the descriptor is.
#[inline(always)]
fn carry<R: Fn() -> isize>(
    fd: c_int,
    pieces: &[libc::iovec],
    flags: c_int,
    real: R,
    managed: impl Fn(&'static Endpoint, c_int, &[libc::iovec], c_int, R) -> Done,
    counted: impl Fn(&'static Endpoint, c_int, &[libc::iovec], c_int, R) -> Done,
) -> Done {
    real::heed_cancel(|| is_watched(fd));
    let Some(endpoint) = descriptor::pin(fd) else { return Done::Real(real()) };
    held::call(endpoint, || match endpoint.phase() {
        Phase::Linked => managed(endpoint, fd, pieces, flags, real),
        Phase::Idle | Phase::Settled => unmoved(endpoint, fd, real),
        _ => counted(endpoint, fd, pieces, flags, real),
    })
}

/// A call on an endpoint that is not connected, or stays on TCP.
#[inline]
fn unmoved(endpoint: &'static Endpoint, fd: c_int, real: impl Fn() -> isize) -> Done {
    endpoint.regret(fd);
    Done::Real(held::during(Obligation::Call(endpoint), real))
}

fn managed_receive(
    endpoint: &'static Endpoint,
    fd: c_int,
    pieces: &[libc::iovec],
    flags: c_int,
    real: impl Fn() -> isize,
) -> Done {
    let Some(link) = endpoint.link() else { return Done::Real(real()) };
    let pieces = match pieces.iter().all(pieces::is_plain) {
        true => Ok(pieces),
        false => pieces::receivable(pieces, flags),
    };
    match pieces {
        Ok(pieces) => receiver::receive(endpoint, fd, link, &mut Pieces::new(pieces), flags, real),
        Err(errno) => Done::Moved(Err(errno)),
    }
}

fn managed_send(
    endpoint: &'static Endpoint,
    fd: c_int,
    pieces: &[libc::iovec],
    flags: c_int,
    real: impl Fn() -> isize,
) -> Done {
    let plain = pieces.iter().all(pieces::is_plain);
    let mut pieces = Pieces::new(pieces);
    match endpoint.link() {
        // The kernel judges, and sends what is there.
        Some(link) if !plain => sender::through_tcp(endpoint, fd, link, real),
        Some(link) if !pieces.is_empty() => sender::send(endpoint, fd, link, &mut pieces, flags, real),
        // Nothing to send may still be an error to report.
        _ => endpoint.family().take_error().map_or_else(|| Done::Real(real()), |errno| Done::Moved(Err(errno))),
    }
}

fn counted_receive(
    endpoint: &'static Endpoint,
    fd: c_int,
    pieces: &[libc::iovec],
    flags: c_int,
    real: impl Fn() -> isize,
) -> Done {
    collect_mail();
    offer_unseen(endpoint, fd);
    if !endpoint.family().enter(Direction::Rx) {
        return managed_receive(endpoint, fd, pieces, flags, real);
    }
    let received = held::during(Obligation::CallReader(endpoint), &real);
    let taken = if flags & TAKES_NOTHING == 0 { received } else { 0 };
    // Cut off, the bytes are nowhere to be read.
    count(endpoint, fd, Direction::Rx, if flags & libc::MSG_TRUNC == 0 { pieces } else { &[] }, taken);
    Done::Real(received)
}

fn counted_send(
    endpoint: &'static Endpoint,
    fd: c_int,
    pieces: &[libc::iovec],
    flags: c_int,
    real: impl Fn() -> isize,
) -> Done {
    collect_mail();
    if flags & (libc::MSG_OOB | libc::MSG_ZEROCOPY | libc::MSG_FASTOPEN) != 0 {
        endpoint.settle(if flags & libc::MSG_OOB != 0 { Reason::Urgent } else { Reason::Zerocopy });
    }
    offer_unseen(endpoint, fd);
    if !endpoint.family().enter(Direction::Tx) {
        return managed_send(endpoint, fd, pieces, flags, real);
    }
    let sent = held::during(Obligation::CallWriter(endpoint), &real);
    count(endpoint, fd, Direction::Tx, pieces, sent);
    Done::Real(sent)
}

/// Reads mail, if there is any: one load when there is none.
#[inline]
pub fn collect_mail() {
    if broker::may_have_mail() {
        broker::read_mail();
    }
}

/// Notes what has passed, leaves the direction's gate, and offers the endpoint when that has become worth while.
fn count(endpoint: &'static Endpoint, fd: c_int, direction: Direction, pieces: &[libc::iovec], result: isize) {
    let family = endpoint.family();
    let len = usize::try_from(result).unwrap_or(0);
    // Attached while this call was inside: what it carried is no part of what was posted.
    let counts = len > 0 && endpoint.phase() != Phase::Linked;
    let prefixes = if counts { endpoint.prefixes() } else { None };
    if let Some(prefixes) = prefixes {
        let before = family.pass(direction, len as u64);
        let noted = if pieces.is_empty() { None } else { before };
        prefixes.note(direction, pieces, len, noted);
    }
    family.gate(direction).leave();
    if !counts {
        return;
    }
    if prefixes.is_none() {
        return endpoint.settle(Reason::Memory);
    }
    let ops = endpoint.ops.fetch_add(1, Ordering::Relaxed) + 1;
    let bytes = endpoint.bytes.fetch_add(len as u64, Ordering::Relaxed) + len as u64;
    match endpoint.phase() {
        Phase::Counting
            if ops >= endpoint.ask_at.load(Ordering::Relaxed)
                || bytes >= endpoint.ask_at_bytes.load(Ordering::Relaxed) =>
        {
            ask(endpoint, fd, ops, bytes);
        }
        Phase::Offered if broker::has_forgotten(endpoint.offered_in.load(Ordering::Relaxed)) => {
            endpoint.advance(Phase::Offered, Phase::Counting);
        }
        _ => {}
    }
    collect_mail();
}

/// Before a call: with `SLIPSTREAM_MIN_OPS=0` a connection need not prove itself.
fn offer_unseen(endpoint: &'static Endpoint, fd: c_int) {
    if endpoint.ask_at.load(Ordering::Relaxed) == 0 && endpoint.phase() == Phase::Counting {
        ask(endpoint, fd, 0, 0);
        collect_mail();
    }
}

/// Offers an endpoint that has done so much, or sees to it that this is tried again after some more.
fn ask(endpoint: &'static Endpoint, fd: c_int, ops: u32, bytes: u64) {
    if broker::is_reachable() {
        broker::offer(endpoint, fd);
    }
    endpoint.ask_at.store(ops.saturating_add(config::min_ops().max(AGAIN)), Ordering::Relaxed);
    endpoint.ask_at_bytes.store(bytes.saturating_add(config::min_bytes()), Ordering::Relaxed);
}

/// Whether a descriptor is an endpoint that is, or may become, moved.
#[inline]
pub fn is_watched(fd: c_int) -> bool {
    match descriptor::get(fd) {
        Some(descriptor::Entry::Endpoint(endpoint)) => !matches!(endpoint.phase(), Phase::Idle | Phase::Settled),
        Some(descriptor::Entry::Set(_)) => false,
        // Perhaps: who goes on is to wait for what it becomes.
        None => descriptor::is_changing(fd),
    }
}

/// A sending call whose bytes only TCP can carry.
pub fn through_tcp(fd: c_int, real: impl Fn() -> isize) -> Done {
    let Some(endpoint) = descriptor::pin(fd) else { return Done::Real(real()) };
    held::call(endpoint, || match endpoint.link_or_settle() {
        Some(link) => sender::through_tcp(endpoint, fd, link, real),
        None => unmoved(endpoint, fd, real),
    })
}

/// The endpoint of a descriptor, if it is one, is to stay on TCP from now on.
pub fn leave_ring(fd: c_int, reason: Reason) {
    let Some(endpoint) = descriptor::pin(fd) else { return };
    held::call(endpoint, || {
        // Not connected yet: stdio keeps it, once it is.
        if reason == Reason::Stdio && endpoint.phase() == Phase::Idle {
            endpoint.settle(reason);
        }
        if reason == Reason::Passed {
            // Whoever gets it is a holder of whom nothing more is heard.
            endpoint.family().raise();
        }
        recall::detach_now(endpoint, reason);
    });
}

/// Every endpoint is to stay on TCP from now on, and those to come.
pub fn leave_all(reason: Reason) {
    if config::disable(reason) {
        descriptor::for_each_pinned(|endpoint| recall::detach(endpoint, reason));
    }
    if reason == Reason::Seccomp {
        held::make_room();
        broker::fall_silent();
    }
}

/// Something was done to a socket that keeps its stream on TCP, or takes it back there.
pub fn object(fd: c_int, reason: Reason) {
    let Some(endpoint) = descriptor::pin(fd) else { return };
    held::call(endpoint, || {
        // Not connected yet, or a listener, whose connections inherit it.
        if endpoint.phase() == Phase::Idle {
            endpoint.settle(reason);
        }
        recall::detach(endpoint, reason);
    });
}

/// SO_RCVLOWAT was set: a receive waits for as many bytes, wherever they are, and those that are there are news.
pub fn low_water_changed(fd: c_int) {
    if let Some(endpoint) = descriptor::pin(fd) {
        endpoint.learn_low_water(fd);
        if let Some(link) = endpoint.link()
            && levels::has_bytes(endpoint, link, fd)
        {
            // As the kernel does for its own bytes.
            epoll::edge(endpoint, READABLE);
        }
        endpoint.unpin();
    }
}

/// Leaves the ring if the peer has left it for good.
pub fn follow_suit(fd: c_int) {
    let Some(endpoint) = descriptor::pin(fd) else { return };
    held::call(endpoint, || {
        if let Some(link) = endpoint.link() {
            recall::follow_suit(endpoint, fd, link);
        }
    });
}

/// The program asks the kernel how its connection is: what a dead peer has not read is answered first.
pub fn judge_end(fd: c_int) {
    let Some(endpoint) = descriptor::pin(fd) else { return };
    held::call(endpoint, || {
        if let Some(link) = endpoint.link()
            && tcp::is_ending(fd)
        {
            // What TCP has shown once, it shows to every call from then on.
            endpoint.ending.store(1, Ordering::Relaxed);
            if recall::ended_with_unread(endpoint, fd, link) {
                recall::let_the_kernel_tell(endpoint, fd, link);
            }
        }
    });
}

/// Takes the error that the kernel does not know, or by another name.
pub fn take_error(fd: c_int) -> Option<Errno> {
    let endpoint = descriptor::pin(fd)?;
    let error = endpoint.family().take_error();
    endpoint.unpin();
    error
}

/// Whether nothing is left but an error, which waits. (SO_ERROR would take it.)
pub fn has_failed(fd: c_int) -> bool {
    let in_tcp = || kernel::ioctl_int(fd, libc::FIONREAD).map_or(0, |bytes| bytes as u64);
    kernel::poll_now(fd, 0) & libc::POLLERR != 0 && unread_bytes(fd, in_tcp()) == 0
}

/// An error that was taken from a moved connection is for its next call.
pub fn hold_error(fd: c_int, errno: Errno) {
    if let Some(endpoint) = descriptor::pin(fd) {
        if endpoint.link().is_some() {
            endpoint.family().hold_error(errno);
        }
        endpoint.unpin();
    }
}

/// Bytes received and not read, where the kernel knows of `known`.
pub fn unread_bytes(fd: c_int, known: u64) -> u64 {
    let Some(endpoint) = descriptor::pin(fd) else { return known };
    let bytes = endpoint.link().map_or(known, |link| levels::unread(endpoint, link, fd, known));
    endpoint.unpin();
    bytes
}
