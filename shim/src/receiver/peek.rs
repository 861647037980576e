//! A peek that goes on where the carrier changes.

use crate::carrier;
use crate::endpoint::Endpoint;
use crate::kernel;
use crate::pieces::Pieces;
use crate::readiness::levels;
use core::ffi::c_int;
use slipstream_ring::{Broken, Link};

/// A peek that has seen the `seen` last bytes of the ring goes on in TCP, where the sender has gone back to.
pub fn behind(
    endpoint: &'static Endpoint,
    fd: c_int,
    link: &Link,
    pieces: &Pieces,
    seen: usize,
    flags: c_int,
) -> usize {
    let consumer = link.consumer();
    let socket = endpoint.descriptor(fd);
    if seen == pieces.left()
        || consumer.goes_back_at() != Some(consumer.head() + seen as u64)
        // Where there is nothing a peek would take the error that waits.
        || kernel::ioctl_int(socket, libc::FIONREAD) == Ok(0)
    {
        return 0;
    }
    if consumer.copied() == 0 {
        on_tcp(socket, &pieces.behind(seen), flags)
    } else if levels::has_void(endpoint, link, fd) {
        0
    } else {
        // TCP has what the ring has, too.
        on_tcp(socket, pieces, flags).saturating_sub(seen)
    }
}

/// How many bytes of TCP's a peek sees now.
fn on_tcp(socket: c_int, pieces: &Pieces, flags: c_int) -> usize {
    pieces.receive(socket, usize::MAX, libc::MSG_PEEK | libc::MSG_DONTWAIT | flags & libc::MSG_TRUNC).unwrap_or(0)
}

/// A peek that has seen the `before` bytes of TCP up to the ring goes on there, and behind it; how far. Under the lock.
pub fn beyond(
    endpoint: &'static Endpoint,
    fd: c_int,
    link: &Link,
    pieces: &Pieces,
    before: usize,
    flags: c_int,
) -> Result<usize, Broken> {
    let consumer = link.consumer();
    // In this order: a sender that has left the ring puts nothing more into it.
    let left = consumer.is_left();
    let in_ring = consumer.unread() as usize;
    let rest = pieces.behind(before);
    let len = rest.left().min(in_ring);
    let seen = if len == 0 {
        0
    } else {
        carrier::drain(endpoint, &consumer, consumer.head(), len, &rest, flags)?.unwrap_or(0)
    };
    if !left || seen != in_ring || seen == rest.left() {
        return Ok(seen);
    }
    Ok(match consumer.copied() {
        0 => seen + pieces.peek_around(fd, before, seen, flags),
        // TCP has what the ring has, too.
        _ => seen.max(on_tcp(fd, pieces, flags).saturating_sub(before)),
    })
}
