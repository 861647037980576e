//! One packet of the broker protocol, with its descriptors, over the socket. Never waits.

use crate::kernel::{self, Errno};
use core::ffi::c_int;
use slipstream_protocol::MAX_FDS;

/// Room for a control message with [`MAX_FDS`] descriptors, aligned as one.
#[repr(C, align(8))]
struct Control([u8; 48]);

/// Sends one packet, with at most [`MAX_FDS`] descriptors.
pub fn send(socket: c_int, bytes: &[u8], fds: &[c_int]) -> kernel::Result<usize> {
    let mut control = Control([0; 48]);
    let mut piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: zeroes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: the control buffer has room for MAX_FDS descriptors and `fds` is no longer.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size_of_val(fds) as u32) as usize;
            let header = &mut *libc::CMSG_FIRSTHDR(&raw const message);
            header.cmsg_level = libc::SOL_SOCKET;
            header.cmsg_type = libc::SCM_RIGHTS;
            header.cmsg_len = libc::CMSG_LEN(size_of_val(fds) as u32) as usize;
            core::ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(header).cast::<c_int>(), fds.len());
        }
    }
    kernel::sendmsg(socket, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
}

/// One packet and its descriptors (-1 where there is none). An end of the connection is ECONNRESET.
pub fn receive(socket: c_int, bytes: &mut [u8]) -> kernel::Result<(usize, [c_int; MAX_FDS])> {
    let mut control = Control([0; 48]);
    let mut piece = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: zeroes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    let len = kernel::recvmsg(socket, &mut message, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC)?;
    let mut fds = [-1; MAX_FDS];
    // SAFETY: the kernel filled the control buffer; the macros walk it within its length.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if !header.is_null() && (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
            let count = ((*header).cmsg_len - libc::CMSG_LEN(0) as usize) / size_of::<c_int>();
            for (i, fd) in fds.iter_mut().enumerate().take(count) {
                *fd = libc::CMSG_DATA(header).cast::<c_int>().add(i).read_unaligned();
            }
        }
    }
    if len == 0 {
        return Err(Errno(libc::ECONNRESET));
    }
    Ok((len, fds))
}
