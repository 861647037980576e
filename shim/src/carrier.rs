//! What carries a moved byte: the ring itself, or with the uds transport a socketpair beside it.
//!
//! The paper's transport keeps the ring's whole protocol (cursors, turns, sleep and wake) and only takes the bytes another
//! way: they are in the socket before the cursor that announces them moves, so a reader finds there what it was promised.

use crate::endpoint::Endpoint;
use crate::kernel::{self, Errno};
use crate::pieces::{FULL, Pieces, Pipe};
use crate::signals;
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use slipstream_ring::{Broken, Claim, Consumer, Link};

/// A socket's bytes cannot be taken back when a signal handler of this thread turns out to have been quicker, nor a pipe's,
/// so none may run meanwhile.
#[inline]
pub fn shielded<T>(endpoint: &Endpoint, pieces: &Pieces, work: impl FnOnce() -> T) -> T {
    if endpoint.socket() < 0 && pieces.pipe().is_none() {
        return work();
    }
    let mask = kernel::block_signals();
    let result = work();
    signals::restore(mask);
    result
}

/// Whether there is room for more.
#[inline]
pub fn has_space(endpoint: &Endpoint, link: &Link) -> bool {
    let in_ring = link.producer().unread() < u64::from(link.capacity());
    in_ring && (endpoint.socket() < 0 || kernel::poll_now(endpoint.socket(), libc::POLLOUT) != 0)
}

/// Puts the next bytes of `pieces` where the claim says; how many, or EFAULT where the program has none.
#[inline]
pub fn fill(endpoint: &Endpoint, claim: &Claim<'_>, pieces: &Pieces) -> Result<kernel::Result<usize>, Broken> {
    let socket = endpoint.socket();
    if socket >= 0 {
        return fill_socket(endpoint, socket, claim, pieces);
    }
    pieces.each(claim.len() as usize, |offset, address, len| {
        // SAFETY: the program gave these bytes to send; `each` stays within the claim.
        unsafe { claim.fill(offset as u32, address, len as u32) }
    });
    Ok(Ok(claim.len() as usize))
}

fn fill_socket(
    endpoint: &Endpoint,
    socket: c_int,
    claim: &Claim<'_>,
    pieces: &Pieces,
) -> Result<kernel::Result<usize>, Broken> {
    let all = claim.len() as usize;
    let mut sent = 0;
    while sent < all {
        match pieces.send_from(socket, sent, all - sent, libc::MSG_DONTWAIT) {
            Ok(n) => sent += n,
            Err(Errno(libc::EAGAIN)) if claim.shorten(sent as u32) => break,
            // The peer has closed its end. TCP tells why, when the direction goes back there.
            Err(Errno(libc::EPIPE | libc::ECONNRESET)) if claim.shorten(sent as u32) => {
                endpoint.ending.store(1, Ordering::Relaxed);
                break;
            }
            Err(Errno(libc::EAGAIN)) => {
                kernel::poll_until(socket, libc::POLLOUT);
            }
            Err(Errno(libc::EINTR)) => {}
            Err(errno @ Errno(libc::EFAULT)) if claim.shorten(sent as u32) => match sent {
                0 => return Ok(Err(errno)),
                _ => break,
            },
            Err(_) => return Err(Broken),
        }
    }
    // Here, too, so that this side can send it again when the peer can no longer take it from its end.
    pieces.each(sent, |offset, address, len| {
        // SAFETY: the program gave these bytes to send; `each` stays within what is left of the claim.
        unsafe { claim.fill(offset as u32, address, len as u32) }
    });
    Ok(Ok(sent))
}

/// Takes (or, with MSG_PEEK, copies) the first `len` bytes at `head` into `pieces`; how many, or EFAULT where the program has no
/// room for them.
#[inline]
pub fn drain(
    endpoint: &Endpoint,
    consumer: &Consumer<'_>,
    head: u64,
    len: usize,
    pieces: &Pieces,
    flags: c_int,
) -> Result<kernel::Result<usize>, Broken> {
    let socket = endpoint.socket();
    if socket >= 0 {
        return drain_socket(socket, len, pieces, flags);
    }
    if flags & libc::MSG_TRUNC == 0 {
        pieces.each(len, |offset, address, len| {
            // SAFETY: the program gave this memory to receive into; `each` stays within what the look found.
            unsafe { consumer.copy_out(head, offset as u32, address, len as u32) }
        });
    }
    Ok(Ok(len))
}

/// Has a pipe take from the first `len` bytes at `head` what it has room for; how many. Without waiting.
#[cold]
pub fn hand_on(
    endpoint: &Endpoint,
    consumer: &Consumer<'_>,
    head: u64,
    len: usize,
    pipe: Pipe,
) -> kernel::Result<usize> {
    let socket = endpoint.socket();
    let handed = if socket >= 0 {
        let splice = || kernel::splice(socket, pipe.fd, len, libc::SPLICE_F_NONBLOCK);
        // As in `drain_socket`.
        splice().or_else(|errno| if errno == Errno(libc::ECONNRESET) { splice() } else { Err(errno) })
    } else {
        let runs = consumer.runs(head, len as u32);
        kernel::write_at_once(
            pipe.fd,
            &runs.map(|(base, len)| libc::iovec { iov_base: base.cast_mut().cast(), iov_len: len }),
        )
    };
    handed.map_err(|errno| if errno == Errno(libc::EAGAIN) { FULL } else { errno })
}

fn drain_socket(socket: c_int, len: usize, pieces: &Pieces, flags: c_int) -> Result<kernel::Result<usize>, Broken> {
    let peek = flags & libc::MSG_PEEK;
    if peek != 0 && flags & libc::MSG_TRUNC != 0 {
        // Counted, neither copied nor taken: they are there, having been announced.
        return Ok(Ok(len));
    }
    let take = || {
        if flags & libc::MSG_TRUNC != 0 {
            discard(socket, len)
        } else {
            pieces.receive(socket, len, peek | libc::MSG_DONTWAIT)
        }
    };
    // A peer that closed its end with bytes unread leaves an error before our own bytes: asking takes it.
    let taken = match take() {
        Err(Errno(libc::ECONNRESET)) => take(),
        taken => taken,
    };
    match taken {
        Ok(0) if len > 0 => Err(Broken),
        Ok(_) | Err(Errno(libc::EFAULT)) => Ok(taken),
        // They were put there before they were announced.
        Err(_) => Err(Broken),
    }
}

/// Takes up to `len` bytes to nowhere; some.
#[cold]
#[inline(never)]
fn discard(socket: c_int, len: usize) -> kernel::Result<usize> {
    let mut nowhere = [0u8; 1024];
    kernel::recv(socket, nowhere.as_mut_ptr(), len.min(nowhere.len()), libc::MSG_DONTWAIT)
}
