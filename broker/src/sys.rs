//! The few system calls that rustix does not wrap.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Reads a socket option that is one plain value.
fn socket_option<T: bytemuck::Pod>(socket: impl AsFd, name: libc::c_int) -> io::Result<T> {
    let mut value = T::zeroed();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` and `length` live across the call and `length` says how much of `value` may be written; every
    // bit pattern is a `T`, so whatever the kernel writes leaves a valid value.
    let done = unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut length)
    };
    match done {
        0 if length as usize == size_of::<T>() => Ok(value),
        0 => Err(io::ErrorKind::InvalidData.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The cookie of a socket's network namespace: unique on this host until it reboots. Since Linux 5.14.
pub fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    socket_option(socket, libc::SO_NETNS_COOKIE)
}

/// The process id (0 when it cannot be seen from here) and the user id of who connected a Unix socket.
pub fn peer_credentials(socket: impl AsFd) -> io::Result<(u32, u32)> {
    // `struct ucred`: pid, uid, gid. Not rustix's, whose process id must not be 0.
    let [pid, uid, _gid]: [u32; 3] = socket_option(socket, libc::SO_PEERCRED)?;
    Ok((pid, uid))
}

/// A descriptor of the process that connected a Unix socket. Since Linux 6.5.
pub fn peer_pidfd(socket: impl AsFd) -> io::Result<OwnedFd> {
    /// Missing from the libc crate on some targets; the number is the same on every architecture that Rust supports
    /// but parisc and sparc.
    const SO_PEERPIDFD: libc::c_int = 77;
    let fd: libc::c_int = socket_option(socket, SO_PEERPIDFD)?;
    // SAFETY: the kernel has just installed this descriptor for us and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets nobody send descriptors to this Unix socket any more. Since Linux 6.16; before that nothing changes.
///
/// Whoever closes the last descriptor of a file waits for as long as that file likes (a TCP socket with SO_LINGER, a
/// file system of the sender's own), so descriptors are best not received at all.
pub fn refuse_descriptors(socket: impl AsFd) {
    const SO_PASSRIGHTS: libc::c_int = 83;
    let no: libc::c_int = 0;
    // SAFETY: `no` lives across the call, which reads one int.
    unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const no).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

/// `SIOCOUTQ` of a Unix socket: 0 when the other end has read everything.
pub fn unsent(socket: impl AsFd) -> io::Result<libc::c_int> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (= SIOCOUTQ) writes one int, and `bytes` lives across the call.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}
