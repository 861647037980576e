//! What a linked endpoint is ready for, now: the ring's part by a glance, TCP's part by asking the kernel when there is
//! reason to.

use crate::endpoint::Endpoint;
use crate::{kernel, recall, receiver, roles, tcp};
use core::ffi::{c_int, c_short};
use core::sync::atomic::Ordering;
use slipstream_ring::carrier::Carrier;
use slipstream_ring::layout::MARK_END;
use slipstream_ring::{Link, Look};

/// Bits that mean "readable".
pub const READABLE: u32 = (libc::EPOLLIN | libc::EPOLLRDNORM) as u32;
/// Bits that mean "writable". (TCP knows no band.)
pub const WRITABLE: u32 = (libc::EPOLLOUT | libc::EPOLLWRNORM) as u32;
/// Bits that are reported whether or not they were asked for.
pub const ALWAYS: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;

/// Bits that show the connection's end, or may.
const ENDING: u32 = READABLE | ALWAYS | libc::EPOLLRDHUP as u32;

/// Whether there is anything beside TCP to look at.
#[inline]
pub fn glance(endpoint: &'static Endpoint, link: &Link) -> bool {
    // Acquire: whoever has noted the marks has hinted before (`levels`).
    link.peer_marks() != endpoint.marks.load(Ordering::Acquire)
        || endpoint.is_hinted()
        || link.consumer().glance_for(endpoint.low_water(link))
}

/// The ready bits, of those in `wanted` and those that are always reported.
pub fn levels(endpoint: &'static Endpoint, link: &Link, fd: c_int, wanted: u32) -> u32 {
    let mut ready = 0;
    if has_bytes(endpoint, link, fd) {
        ready |= READABLE;
    }
    let marks = link.peer_marks();
    // Acquire: as in `glance`.
    if marks != endpoint.marks.load(Ordering::Acquire) {
        // First the hint: another set's look is to find the one or the other. Release: its partner is `glance`.
        endpoint.hint();
        endpoint.marks.store(marks, Ordering::Release);
    }
    if link.is_recalled() && !recall::answer(endpoint, fd, link).unwrap_or(true) {
        endpoint.marks.store(0, Ordering::Relaxed);
    }
    // What the peer has recalled goes there first.
    let tx_on_tcp = link.producer().carrier() == Carrier::Tcp || link.is_recalled();
    // In the ring there is always a way to write: space, or the way back to TCP.
    if !tx_on_tcp {
        ready |= WRITABLE;
    }
    has_void(endpoint, link, fd);
    // Acquire: what was hinted at, in whichever thread, is there when the kernel is asked (`hint`).
    let hint = endpoint.tcp_hint.load(Ordering::Acquire);
    if hint & 1 != 0 || (tx_on_tcp && wanted & WRITABLE != 0) {
        let ask = libc::POLLIN | libc::POLLRDHUP | libc::POLLPRI | libc::POLLRDNORM | libc::POLLOUT | libc::POLLWRNORM;
        let socket = endpoint.descriptor(fd);
        let mut shown = whole(link, socket, ask, kernel::poll_now(socket, ask)) as u16 as u32;
        endpoint.ending.store(u8::from(shown & ENDING != 0), Ordering::Relaxed);
        if shown & ENDING != 0 && recall::ended_with_unread(endpoint, fd, link) {
            recall::let_the_kernel_tell(endpoint, fd, link);
            shown = kernel::poll_now(socket, ask) as u16 as u32;
        }
        if shown & !WRITABLE != 0 || link.peer_marks() & MARK_END != 0 {
            // Also between the mark and the FIN, which comes after it.
            endpoint.hint();
        } else {
            // Only now: another set's look is to ask, too, meanwhile. And not what was hinted at since. Relaxed: it publishes nothing.
            let _ = endpoint.tcp_hint.compare_exchange(hint, hint & !1, Ordering::Relaxed, Ordering::Relaxed);
        }
        if endpoint.family().has_error() {
            // Taken from the kernel, which does not show it any more.
            shown |= libc::EPOLLERR as u32;
        }
        // In the ring, TCP shows only its end (or a writer that we cannot see): readable, too.
        ready |= if tx_on_tcp { shown } else { shown & !WRITABLE };
    }
    ready & (wanted | ALWAYS)
}

/// What the kernel has told of a socket, asked again where that may have been in the middle of an end, of which it does not
/// show all bits at once: over TCP its waiters are woken when it has, but ours look while they spin, and their peers wake them.
pub fn whole(link: &Link, socket: c_int, ask: c_short, mut told: c_short) -> c_short {
    let is_half = |told: c_short| {
        let readable = told & libc::POLLIN != 0 && ask & libc::POLLRDHUP != 0 && told & libc::POLLRDHUP == 0;
        let over = told & libc::POLLHUP != 0;
        // The mark comes before the end. Behind a reset there is always something to read: the end.
        (readable && link.peer_marks() & MARK_END != 0)
            || (told & libc::POLLERR != 0 && !over)
            || (over && ask & libc::POLLIN != 0 && told & libc::POLLIN == 0)
            || (over && ask & libc::POLLRDHUP != 0 && told & libc::POLLRDHUP == 0)
    };
    if !is_half(told) {
        return told;
    }
    // Half a microsecond each; whatever shows no more then is no end. Behind bytes it may be on its way for long.
    let rounds = if kernel::ioctl_int(socket, libc::FIONREAD) == Ok(0) { 100 } else { 3 };
    for _ in 0..rounds {
        if !is_half(told) {
            break;
        }
        kernel::yield_now();
        told = kernel::poll_now(socket, ask);
    }
    told
}

/// Whether TCP still holds, or is about to get, bytes that the ring has given already; drops those that are there.
pub fn has_void(endpoint: &'static Endpoint, link: &Link, fd: c_int) -> bool {
    if link.consumer().void() == 0 {
        return false;
    }
    let mask = kernel::block_signals();
    let lock = link.rx_lock();
    let entry = roles::enter(lock);
    let left = receiver::drop_void(endpoint, endpoint.descriptor(fd), link) == Ok(false);
    roles::leave_receiving(endpoint, link, entry);
    // Not `signals::restore`: there may be a set's lock around.
    kernel::restore_signals(mask);
    left
}

/// Whether the ring holds bytes, as many as make a socket readable, following the sender's turns on the way.
pub fn has_bytes(endpoint: &'static Endpoint, link: &Link, fd: c_int) -> bool {
    let least = endpoint.low_water(link);
    loop {
        if !link.consumer().glance_for(least) {
            return false;
        }
        let lock = link.rx_lock();
        let entry = roles::enter(lock);
        let answer = match link.consumer().look() {
            // The reader is to find out.
            Err(_) => Some(true),
            // After fewer the sender may have gone back to TCP, which has others.
            Ok(Look::Ring { available, .. }) => Some(
                available >= least
                    || (available > 0 && link.consumer().is_behind() && {
                        let in_tcp = kernel::ioctl_int(endpoint.descriptor(fd), libc::FIONREAD).unwrap_or(0);
                        unread(endpoint, link, fd, in_tcp as u64) >= u64::from(least)
                    }),
            ),
            Ok(Look::Crossing { turn }) => {
                endpoint.follow(link, turn);
                endpoint.hint();
                None
            }
            Ok(Look::Tcp { until: None, .. }) => Some(false),
            Ok(Look::Tcp { turn, until: Some(until) }) => {
                match tcp::consumed(endpoint.descriptor(fd), Some(link.consumer().taken())) {
                    Some(consumed) if consumed >= until => {
                        endpoint.follow(link, turn);
                        None
                    }
                    // TCP's own bytes come first; the kernel tells of them, where it need not know of those behind them.
                    consumed => {
                        endpoint.hint();
                        let first = until.saturating_sub(consumed.unwrap_or(until));
                        Some(least > 1 && first + u64::from(link.consumer().unread()) >= u64::from(least))
                    }
                }
            }
        };
        roles::leave_receiving(endpoint, link, entry);
        if let Some(answer) = answer {
            return answer;
        }
    }
}

/// Bytes received and not read, where TCP has `known`.
pub fn unread(endpoint: &'static Endpoint, link: &Link, fd: c_int, known: u64) -> u64 {
    let consumer = link.consumer();
    let in_ring = u64::from(consumer.unread());
    if link.has_recalled() {
        return known + endpoint.owed(link);
    }
    if consumer.copied() > 0 {
        // What a sender that departed has left is there twice, unless a reset took what was on its way; behind what TCP had
        // before the ring.
        let first = if consumer.is_left() {
            let consumed = tcp::consumed(endpoint.descriptor(fd), Some(consumer.taken()));
            consumed.map_or(0, |consumed| consumer.switched_at().saturating_sub(consumed)).min(known)
        } else {
            0
        };
        return (first + in_ring).max(known.saturating_sub(consumer.void()));
    }
    // Behind bytes of TCP's that are still on their way, those in the ring cannot be read.
    let readable = known > 0 || Carrier::of(consumer.followed()) == Carrier::Ring || has_bytes(endpoint, link, fd);
    if readable { known + in_ring } else { known }
}
