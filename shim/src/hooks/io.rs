//! read, write and their kin.

use crate::hooks::{LOWEST, fail, piece, pieces, size, socket_piece};
use crate::kernel::Errno;
use crate::pieces::{Pipe, total};
use crate::stream::{self, Done};
use crate::{kernel, real, transfer};
use core::ffi::{c_int, c_uint, c_void};
use libc::{iovec, mmsghdr, msghdr, off_t, size_t, sockaddr, socklen_t, ssize_t, timespec};
use slipstream_protocol::Reason;

/// Defines hooks of one operation under several exported names.
macro_rules! hooks {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) -> $result:ty $body:block)+) => {
        $($(#[$doc])*
        ///
        /// # Safety
        /// As libc's function of this name.
        #[cfg_attr(not(test), unsafe(no_mangle))]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $result $body)+
    };
}
pub(crate) use hooks;

/// The fields that a receive from TCP leaves in a message header.
///
/// # Safety
/// `message` is the program's valid header.
unsafe fn fill_header(message: *mut msghdr, flags: c_int, done: &Done) {
    if let Done::Moved(Ok(_)) = done {
        // SAFETY: by contract.
        unsafe {
            if !(*message).msg_name.is_null() {
                (*message).msg_namelen = 0;
            }
            (*message).msg_controllen = 0;
            (*message).msg_flags = flags & libc::MSG_CMSG_CLOEXEC;
        }
    }
}

/// Whether the kernel refuses a header for the length of its address.
fn is_misnamed(header: &msghdr) -> bool {
    !header.msg_name.is_null() && (header.msg_namelen as c_int) < 0
}

/// Flags of preadv2 and pwritev2 that mean nothing to a socket, or what [`waiting`] makes of them.
const RWF_HARMLESS: c_int = libc::RWF_HIPRI | libc::RWF_DSYNC | libc::RWF_SYNC | libc::RWF_NOWAIT;

/// The flags of a send or receive for those of preadv2 or pwritev2.
fn waiting(flags: c_int) -> c_int {
    if flags & libc::RWF_NOWAIT != 0 { libc::MSG_DONTWAIT } else { 0 }
}

/// More messages than this sendmmsg leaves alone.
const MOST_MESSAGES: c_uint = 1024;

/// A receive of the read family: unlike recv, read of nothing waits for nothing.
fn read_into(fd: c_int, pieces: &[iovec], flags: c_int, real: impl Fn() -> ssize_t) -> Done {
    if pieces.iter().all(|piece| piece.iov_len == 0) {
        Done::Real(real())
    } else {
        stream::receive(fd, pieces, flags, real)
    }
}

/// recvmmsg, until `deadline` (CLOCK_MONOTONIC ns).
fn receive_many(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, deadline: Option<u64>) -> c_int {
    // An error that waits comes before all that can be received.
    let mut error: c_int = 0;
    if kernel::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, &mut error).is_ok() && error != 0 {
        return fail(Errno(error));
    }
    // SAFETY: libc's errno of this thread.
    let errno = unsafe { libc::__errno_location().read() };
    let mut flags = flags;
    for i in 0..count as usize {
        if i > 0 && stream::has_failed(fd) {
            // The error is for the next call.
            return i as c_int;
        }
        // SAFETY: the program's array of `count`.
        let message = unsafe { &mut *messages.add(i) };
        // SAFETY: a valid header of the program's.
        let received = unsafe { recvmsg(fd, &raw mut message.msg_hdr, flags & !libc::MSG_WAITFORONE) };
        if received < 0 && i > 0 {
            // Some have come: the error is for the next call.
            // SAFETY: libc's errno of this thread.
            let error = unsafe { libc::__errno_location().replace(errno) };
            if !matches!(error, libc::EAGAIN | libc::EINTR) {
                stream::hold_error(fd, Errno(error));
            }
            return i as c_int;
        } else if received < 0 {
            return -1;
        }
        message.msg_len = received as c_uint;
        // As in the kernel, the timeout is looked at only between messages.
        if deadline.is_some_and(|deadline| kernel::now_ns() >= deadline) {
            return i as c_int + 1;
        }
        if flags & libc::MSG_WAITFORONE != 0 {
            flags |= libc::MSG_DONTWAIT;
        }
    }
    count as c_int
}

/// sendfile: to an endpoint, or (from Linux 5.12 on) from one into a pipe.
fn send_file(out: c_int, input: c_int, offset: *const off_t, len: size_t, real: impl Fn() -> ssize_t) -> ssize_t {
    if offset.is_null() && stream::is_watched(input) && kernel::is_pipe(out) {
        return size(transfer::splice_from(input, Pipe { fd: out, flags: 0 }, len, real));
    }
    size(stream::through_tcp(out, real))
}

hooks! {
    /// read(2)
    fn read(fd: c_int, buffer: *mut c_void, len: size_t) -> ssize_t {
        let real = || real!(fn read(fd: c_int, buffer: *mut c_void, len: size_t) -> ssize_t);
        size(read_into(fd, &piece(buffer, len), 0, real))
    }

    /// read(2), glibc's alias
    fn __read(fd: c_int, buffer: *mut c_void, len: size_t) -> ssize_t {
        size(read_into(fd, &piece(buffer, len), 0, || real!(fn __read(fd: c_int, buffer: *mut c_void, len: size_t) -> ssize_t)))
    }

    /// read(2), fortified
    fn __read_chk(fd: c_int, buffer: *mut c_void, len: size_t, room: size_t) -> ssize_t {
        let real = || real!(fn __read_chk(fd: c_int, buffer: *mut c_void, len: size_t, room: size_t) -> ssize_t);
        // It ends the program.
        if len > room { real() } else { size(read_into(fd, &piece(buffer, len), 0, real)) }
    }

    /// readv(2)
    fn readv(fd: c_int, iov: *const iovec, count: c_int) -> ssize_t {
        // SAFETY: the program's array.
        let Some(pieces) = (unsafe { pieces(iov, count as u32 as usize) }) else {
            return real!(fn readv(fd: c_int, iov: *const iovec, count: c_int) -> ssize_t);
        };
        size(read_into(fd, pieces, 0, || real!(fn readv(fd: c_int, iov: *const iovec, count: c_int) -> ssize_t)))
    }

    /// preadv2(2): the one positioned read that a socket may serve (offset -1)
    fn preadv2(fd: c_int, iov: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t {
        let real = || real!(fn preadv2(fd: c_int, iov: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t);
        // SAFETY: the program's array.
        match unsafe { pieces(iov, count as u32 as usize) } {
            Some(_) if offset == -1 && flags & !RWF_HARMLESS != 0 => {
                // The kernel judges; what it does not refuse it serves.
                stream::leave_ring(fd, Reason::Call);
                real()
            }
            Some(pieces) if offset == -1 => size(read_into(fd, pieces, waiting(flags), real)),
            _ => real(),
        }
    }

    /// preadv2(2), LFS
    fn preadv64v2(fd: c_int, iov: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t {
        // SAFETY: the same contract.
        unsafe { preadv2(fd, iov, count, offset, flags) }
    }

    /// recv(2)
    fn recv(fd: c_int, buffer: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
        size(stream::receive(fd, &socket_piece(buffer, len), flags, || {
            real!(fn recv(fd: c_int, buffer: *mut c_void, len: size_t, flags: c_int) -> ssize_t)
        }))
    }

    /// recv(2), fortified
    fn __recv_chk(fd: c_int, buffer: *mut c_void, len: size_t, room: size_t, flags: c_int) -> ssize_t {
        let real = || real!(fn __recv_chk(fd: c_int, buffer: *mut c_void, len: size_t, room: size_t, flags: c_int) -> ssize_t);
        if len > room { real() } else { size(stream::receive(fd, &socket_piece(buffer, len), flags, real)) }
    }

    /// recvfrom(2)
    fn recvfrom(fd: c_int, buffer: *mut c_void, len: size_t, flags: c_int, from: *mut sockaddr, from_len: *mut socklen_t) -> ssize_t {
        let done = stream::receive(fd, &socket_piece(buffer, len), flags, || {
            real!(fn recvfrom(fd: c_int, buffer: *mut c_void, len: size_t, flags: c_int, from: *mut sockaddr, from_len: *mut socklen_t) -> ssize_t)
        });
        if let Done::Moved(Ok(_)) = done && !from.is_null() && !from_len.is_null() {
            // SAFETY: the program's own; TCP gives no address with its bytes.
            if (unsafe { from_len.replace(0) } as c_int) < 0 {
                return size(Done::Moved(Err(Errno(libc::EINVAL))));
            }
        }
        size(done)
    }

    /// recvfrom(2), fortified
    fn __recvfrom_chk(fd: c_int, buffer: *mut c_void, len: size_t, room: size_t, flags: c_int, from: *mut sockaddr, from_len: *mut socklen_t) -> ssize_t {
        if len > room {
            return real!(fn __recvfrom_chk(fd: c_int, buffer: *mut c_void, len: size_t, room: size_t, flags: c_int, from: *mut sockaddr, from_len: *mut socklen_t) -> ssize_t);
        }
        // SAFETY: the same contract.
        unsafe { recvfrom(fd, buffer, len, flags, from, from_len) }
    }

    /// recvmsg(2)
    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
        let real = || real!(fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t);
        if (message as usize) < LOWEST {
            return real();
        }
        // SAFETY: the program's header.
        if is_misnamed(unsafe { &*message }) {
            return real();
        }
        // SAFETY: the program's header and its array.
        match unsafe { pieces((*message).msg_iov, (*message).msg_iovlen) } {
            Some(pieces) => {
                let done = stream::receive(fd, pieces, flags & !libc::MSG_CMSG_CLOEXEC, real);
                // SAFETY: checked above.
                unsafe { fill_header(message, flags, &done) };
                size(done)
            }
            None => real(),
        }
    }

    /// recvmmsg(2)
    fn recvmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, timeout: *mut timespec) -> c_int {
        if !stream::is_watched(fd) {
            return real!(fn recvmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, timeout: *mut timespec) -> c_int);
        }
        if !timeout.is_null() && (timeout as usize) < LOWEST {
            return fail(Errno(libc::EFAULT));
        }
        // SAFETY: null, or the program's timeout.
        let limit = unsafe { timeout.as_ref() }.copied();
        if limit.is_some_and(|limit| limit.tv_sec < 0 || !(0..1_000_000_000).contains(&limit.tv_nsec)) {
            return fail(Errno(libc::EINVAL));
        }
        let deadline = limit.map(|limit| kernel::now_ns().saturating_add(kernel::nanoseconds(&limit)));
        let received = receive_many(fd, messages, count, flags, deadline);
        if let Some(deadline) = deadline && received > 0 {
            // SAFETY: as above; it is there, or the kernel's own call would fail.
            unsafe { *timeout = kernel::timespec(deadline.saturating_sub(kernel::now_ns())) };
        }
        received
    }

    /// write(2)
    fn write(fd: c_int, buffer: *const c_void, len: size_t) -> ssize_t {
        size(stream::send(fd, &piece(buffer, len), 0, || real!(fn write(fd: c_int, buffer: *const c_void, len: size_t) -> ssize_t)))
    }

    /// write(2), glibc's alias
    fn __write(fd: c_int, buffer: *const c_void, len: size_t) -> ssize_t {
        size(stream::send(fd, &piece(buffer, len), 0, || real!(fn __write(fd: c_int, buffer: *const c_void, len: size_t) -> ssize_t)))
    }

    /// writev(2)
    fn writev(fd: c_int, iov: *const iovec, count: c_int) -> ssize_t {
        // SAFETY: the program's array.
        let Some(pieces) = (unsafe { pieces(iov, count as u32 as usize) }) else {
            return real!(fn writev(fd: c_int, iov: *const iovec, count: c_int) -> ssize_t);
        };
        size(stream::send(fd, pieces, 0, || real!(fn writev(fd: c_int, iov: *const iovec, count: c_int) -> ssize_t)))
    }

    /// pwritev2(2): the one positioned write that a socket may serve (offset -1)
    fn pwritev2(fd: c_int, iov: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t {
        let real = || real!(fn pwritev2(fd: c_int, iov: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t);
        // SAFETY: the program's array.
        match unsafe { pieces(iov, count as u32 as usize) } {
            // The kernel judges.
            Some(_) if offset == -1 && flags & !RWF_HARMLESS != 0 => size(stream::through_tcp(fd, real)),
            Some(pieces) if offset == -1 => size(stream::send(fd, pieces, waiting(flags), real)),
            _ => real(),
        }
    }

    /// pwritev2(2), LFS
    fn pwritev64v2(fd: c_int, iov: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t {
        // SAFETY: the same contract.
        unsafe { pwritev2(fd, iov, count, offset, flags) }
    }

    /// send(2)
    fn send(fd: c_int, buffer: *const c_void, len: size_t, flags: c_int) -> ssize_t {
        size(stream::send(fd, &piece(buffer, len), flags, || {
            real!(fn send(fd: c_int, buffer: *const c_void, len: size_t, flags: c_int) -> ssize_t)
        }))
    }

    /// send(2), glibc's alias
    fn __send(fd: c_int, buffer: *const c_void, len: size_t, flags: c_int) -> ssize_t {
        size(stream::send(fd, &piece(buffer, len), flags, || {
            real!(fn __send(fd: c_int, buffer: *const c_void, len: size_t, flags: c_int) -> ssize_t)
        }))
    }

    /// sendto(2): on a connected socket the address does not matter
    fn sendto(fd: c_int, buffer: *const c_void, len: size_t, flags: c_int, to: *const sockaddr, to_len: socklen_t) -> ssize_t {
        let real = || real!(fn sendto(fd: c_int, buffer: *const c_void, len: size_t, flags: c_int, to: *const sockaddr, to_len: socklen_t) -> ssize_t);
        // It refuses such an address, which TCP has no use for.
        if !to.is_null() && to_len as usize > size_of::<libc::sockaddr_storage>() {
            return real();
        }
        size(stream::send(fd, &piece(buffer, len), flags, real))
    }

    /// sendmsg(2)
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
        let real = || real!(fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t);
        if (message as usize) < LOWEST {
            return real();
        }
        // SAFETY: the program's header.
        let header = unsafe { &*message };
        if is_misnamed(header) {
            return real();
        }
        if header.msg_controllen > 0 {
            transfer::sending_control(header);
            return size(stream::through_tcp(fd, real));
        }
        // SAFETY: the program's array.
        match unsafe { pieces(header.msg_iov, header.msg_iovlen) } {
            Some(pieces) => size(stream::send(fd, pieces, flags, real)),
            None => real(),
        }
    }

    /// sendmmsg(2)
    fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
        if !stream::is_watched(fd) {
            if messages as usize >= LOWEST {
                // SAFETY: the program's array of `count`.
                let all = (0..count.min(MOST_MESSAGES) as usize).map(|i| unsafe { &(*messages.add(i)).msg_hdr });
                all.filter(|header| header.msg_controllen > 0).for_each(transfer::sending_control);
            }
            return real!(fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int);
        }
        // SAFETY: libc's errno of this thread.
        let errno = unsafe { libc::__errno_location().read() };
        let count = count.min(MOST_MESSAGES);
        for i in 0..count as usize {
            // SAFETY: the program's array of `count`.
            let message = unsafe { &mut *messages.add(i) };
            // SAFETY: a valid header of the program's.
            let sent = unsafe { sendmsg(fd, &raw const message.msg_hdr, flags) };
            if sent < 0 && i > 0 {
                // SAFETY: libc's errno of this thread.
                unsafe { libc::__errno_location().write(errno) };
                return i as c_int;
            } else if sent < 0 {
                return -1;
            }
            message.msg_len = sent as c_uint;
            // SAFETY: as above; the array of a header that was sent from.
            let given = unsafe { pieces(message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) }.map_or(0, total);
            if (sent as usize) < given {
                // What follows would not follow.
                return i as c_int + 1;
            }
        }
        count as c_int
    }

    /// sendfile(2)
    fn sendfile(out: c_int, input: c_int, offset: *mut off_t, len: size_t) -> ssize_t {
        send_file(out, input, offset, len, || real!(fn sendfile(out: c_int, input: c_int, offset: *mut off_t, len: size_t) -> ssize_t))
    }

    /// sendfile(2), LFS
    fn sendfile64(out: c_int, input: c_int, offset: *mut off_t, len: size_t) -> ssize_t {
        send_file(out, input, offset, len, || real!(fn sendfile64(out: c_int, input: c_int, offset: *mut off_t, len: size_t) -> ssize_t))
    }

    /// splice(2)
    fn splice(input: c_int, in_offset: *mut i64, out: c_int, out_offset: *mut i64, len: size_t, flags: c_uint) -> ssize_t {
        let real = || real!(fn splice(input: c_int, in_offset: *mut i64, out: c_int, out_offset: *mut i64, len: size_t, flags: c_uint) -> ssize_t);
        if in_offset.is_null() && out_offset.is_null() && stream::is_watched(input) {
            return size(transfer::splice_from(input, Pipe { fd: out, flags }, len, real));
        }
        size(stream::through_tcp(out, real))
    }
}
