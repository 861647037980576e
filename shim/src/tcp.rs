//! What the kernel knows of the TCP connection below an endpoint: the truth about offsets and ends.

use crate::broker;
use crate::kernel::{self, Errno, Result};
use core::ffi::c_int;
use core::sync::atomic::{AtomicU64, Ordering};

/// SIOCOUTQNSD of linux/sockios.h: bytes not sent yet.
const SIOCOUTQNSD: u64 = 0x894b;

/// Whether the program holds back what is no full segment.
pub fn is_corked(fd: c_int) -> bool {
    let mut corked: c_int = 0;
    kernel::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_CORK, &mut corked).is_err() || corked != 0
}

/// The start of the kernel's `struct tcp_info` as far as it is used: state first, at 24 the segments in flight, at 120
/// bytes_acked, at 128 bytes_received.
#[repr(C)]
struct Info {
    state: u8,
    skipped: [u8; 23],
    unacked: u32,
    skipped_too: [u8; 92],
    acked: u64,
    received: u64,
}

const _: () = assert!(core::mem::offset_of!(Info, unacked) == 24 && core::mem::offset_of!(Info, acked) == 120);

/// States in which the peer's FIN has been received: it counts as one byte of `received`.
const AFTER_FIN: [u8; 4] = [6, 8, 9, 11]; // TIME_WAIT, CLOSE_WAIT, LAST_ACK, CLOSING
/// States in which this side has sent its FIN.
const OWN_FIN: [u8; 5] = [4, 5, 6, 9, 11]; // FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING
const ESTABLISHED: u8 = 1;
const CLOSE_WAIT: u8 = 8;
const CLOSE: u8 = 7;

fn info(fd: c_int) -> Result<Info> {
    let mut info = Info { state: 0, skipped: [0; 23], unacked: 0, skipped_too: [0; 92], acked: 0, received: 0 };
    let len = kernel::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
    // Before Linux 4.1 the counts were not there.
    if len < size_of::<Info>() { Err(Errno(libc::ENOPROTOOPT)) } else { Ok(info) }
}

/// Bytes written to TCP so far, if the direction may leave it now: connected both ways, nothing held back (by cork, Nagle
/// or MSG_MORE) that would stay so. Exact while no one writes.
pub fn written(fd: c_int, connector: bool) -> Option<u64> {
    let unsent = kernel::ioctl_int(fd, SIOCOUTQNSD).ok()?;
    // While something is in flight, its acknowledgement sends what Nagle or MSG_MORE holds back; otherwise only the
    // program's next write to TCP would.
    if unsent != 0 {
        if info(fd).ok()?.unacked == 0 || is_corked(fd) {
            return None;
        }
        push(fd);
    }
    loop {
        // Two questions make one answer when nothing was acknowledged between.
        let before = info(fd).ok()?;
        if before.state != ESTABLISHED {
            return None;
        }
        let queued = kernel::ioctl_int(fd, libc::TIOCOUTQ).ok()?;
        if info(fd).ok()?.acked == before.acked {
            // The SYN of the side that connected was acknowledged as one byte.
            return Some((before.acked + queued as u64).wrapping_sub(u64::from(connector)));
        }
    }
}

/// Whether a close may wait.
pub fn lingers(fd: c_int) -> bool {
    let mut linger = libc::linger { l_onoff: 0, l_linger: 0 };
    kernel::getsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, &mut linger).is_ok()
        && linger.l_onoff != 0
        && linger.l_linger != 0
}

/// Whether this side has ended its sending.
pub fn has_sent_fin(fd: c_int) -> bool {
    info(fd).is_ok_and(|info| OWN_FIN.contains(&info.state))
}

/// Whether the peer has ended its sending, or the connection is over.
pub fn has_received_fin(fd: c_int) -> bool {
    info(fd).is_ok_and(|info| info.state == CLOSE || AFTER_FIN.contains(&info.state))
}

/// Whether TCP can send at all. (To try would take the error that waits.)
pub fn can_send(fd: c_int) -> bool {
    info(fd).is_ok_and(|info| matches!(info.state, ESTABLISHED | CLOSE_WAIT))
}

/// Whether TCP takes `len` bytes at once, as far as this side's buffer decides it.
pub fn has_room(fd: c_int, len: u64) -> bool {
    /// Of linux/socket.h and linux/sock_diag.h.
    const SO_MEMINFO: c_int = 55;
    const SNDBUF: usize = 3;
    const WMEM_QUEUED: usize = 5;
    let mut info = [0u32; 9];
    if kernel::getsockopt(fd, libc::SOL_SOCKET, SO_MEMINFO, &mut info).is_err() {
        return false;
    }
    // Twice, because what holds the bytes is counted too.
    u64::from(info[SNDBUF].saturating_sub(info[WMEM_QUEUED])) >= 2 * len + 4096 && len <= most_unsent(fd)
}

/// With so many bytes that it cannot send yet TCP takes no more: TCP_NOTSENT_LOWAT, or what net.ipv4.tcp_notsent_lowat has in
/// place of it.
fn most_unsent(fd: c_int) -> u64 {
    static USUAL: AtomicU64 = AtomicU64::new(0);
    const TCP_NOTSENT_LOWAT: c_int = 25;
    let mut most = 0u32;
    if kernel::getsockopt(fd, libc::IPPROTO_TCP, TCP_NOTSENT_LOWAT, &mut most).is_ok() && most != 0 {
        return u64::from(most);
    }
    match USUAL.load(Ordering::Relaxed) {
        // A filter may end the process for a look.
        0 if broker::is_silent() => u64::MAX,
        0 => {
            let mut text = [0u8; 16];
            let usual = match kernel::read_file(b"/proc/sys/net/ipv4/tcp_notsent_lowat\0", &mut text) {
                Ok(len) if len > 0 => kernel::decimal(text.get(..len).unwrap_or_default()).max(1),
                _ => u64::MAX,
            };
            USUAL.store(usual, Ordering::Relaxed);
            usual
        }
        usual => usual,
    }
}

/// Lets TCP hold `len` bytes more than SO_SNDBUF has it, as far as the kernel's usual limit goes; what [`narrow`] needs to
/// take that back, where there was need for it.
pub fn widen(fd: c_int, len: u64) -> Option<c_int> {
    /// net.core.wmem_max, where nobody has changed it.
    const MOST: u64 = 212_992;
    let mut buffer: c_int = 0;
    kernel::getsockopt(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &mut buffer).ok()?;
    // The kernel tells, and takes, twice what it is asked for.
    let (now, wanted) = (buffer as u64 / 2, buffer as u64 / 2 + len + 4096);
    if now >= MOST || has_room(fd, len) {
        return None;
    }
    kernel::setsockopt(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &(wanted.min(MOST) as c_int)).ok()?;
    Some(buffer / 2)
}

/// SO_SNDBUF as it was. What is queued stays.
pub fn narrow(fd: c_int, buffer: c_int) {
    let _ = kernel::setsockopt(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &buffer);
}

/// Sends what Nagle or MSG_MORE holds back, as the next write would: setting TCP_NODELAY does, even where it is set.
pub fn push(fd: c_int) {
    let mut delay: c_int = 1;
    if kernel::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &mut delay).is_ok() {
        let _ = kernel::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1i32);
        if delay == 0 {
            let _ = kernel::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &0i32);
        }
    }
}

/// Sends the acknowledgement that waits for data to go with, and lets the next ones wait as after data.
pub fn acknowledge(fd: c_int) {
    // An even value: now, and delayed again afterwards.
    let _ = kernel::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, &2i32);
}

/// Bytes read from TCP so far. Exact while no one reads. `counted` is the caller's own count, for a connection that has
/// ended both ways: the kernel does not tell then whether a FIN is among what it received. And with urgent data there, what
/// lies behind the mark is not among what FIONREAD tells.
pub fn consumed(fd: c_int, counted: Option<u64>) -> Option<u64> {
    loop {
        let before = info(fd).ok()?;
        let queued = kernel::ioctl_int(fd, libc::FIONREAD).ok()?;
        let after = info(fd).ok()?;
        if after.received == before.received && after.state == before.state {
            if before.state == CLOSE {
                return counted;
            }
            let fin = u64::from(AFTER_FIN.contains(&before.state));
            return Some(
                before.received.wrapping_sub(fin).wrapping_sub(queued as u64).min(counted.unwrap_or(u64::MAX)),
            );
        }
    }
}

/// Bytes that TCP has received so far, read or not; `None` when the kernel does not tell any more.
pub fn received(fd: c_int) -> Option<u64> {
    let info = info(fd).ok()?;
    let fin = u64::from(AFTER_FIN.contains(&info.state));
    (info.state != CLOSE).then(|| info.received.wrapping_sub(fin))
}

/// What TCP shows of its receiving end, without taking anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Open, and nothing there.
    Open,
    /// Up to so many bytes wait (as many as were asked for, at the most).
    Bytes(usize),
    /// The peer sends no more, or this side receives no more.
    Fin,
    /// The connection's error; asking has taken it.
    Error(Errno),
}

/// Looks for up to `want` (at least 1) bytes.
pub fn look(fd: c_int, want: usize) -> End {
    match kernel::recv_nothing(fd, want.max(1), libc::MSG_PEEK | libc::MSG_DONTWAIT) {
        Ok(0) => End::Fin,
        Ok(n) => End::Bytes(n),
        Err(Errno(libc::EAGAIN | libc::EINTR)) => End::Open,
        Err(errno) => End::Error(errno),
    }
}

/// Whether the connection has ended and no bytes are left; without taking the error that may wait.
pub fn has_only_ended(fd: c_int) -> bool {
    // In this order: what came before the end is there when the end is.
    is_ending(fd) && kernel::ioctl_int(fd, libc::FIONREAD) == Ok(0)
}

/// Whether the kernel shows that the peer has ended its sending, or that the connection is broken.
pub fn is_ending(fd: c_int) -> bool {
    kernel::poll_now(fd, libc::POLLRDHUP) & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
}
