//! setsockopt and ioctl: most is the kernel's alone; some of it decides whether a stream may move.

use crate::hooks::io::hooks;
use crate::receiver::SIOCATMARK;
use crate::{descriptor, real, stream};
use core::ffi::{c_int, c_ulong, c_void};
use core::sync::atomic::Ordering;
use libc::socklen_t;
use slipstream_protocol::Reason;

const SO_TIMESTAMPING_NEW: c_int = 65;
const SO_TIMESTAMPNS_NEW: c_int = 64;
const SO_TIMESTAMP_NEW: c_int = 63;
const SO_BINDTOIFINDEX: c_int = 62;
const TCP_MD5SIG_EXT: c_int = 32;
const TCP_ZEROCOPY_RECEIVE: c_int = 35;
const TCP_INQ: c_int = 36;
/// FIOASYNC, FIOSETOWN, SIOCSPGRP: signals on readiness.
const ASYNC_REQUESTS: [c_ulong; 3] = [0x5452, 0x8901, 0x8902];

/// Why a stream with this option set must stay on TCP. SO_ZEROCOPY only allows what a send then asks for, or not.
fn objection(level: c_int, name: c_int) -> Option<Reason> {
    match (level, name) {
        (libc::SOL_SOCKET, libc::SO_TIMESTAMP | libc::SO_TIMESTAMPNS | libc::SO_TIMESTAMPING) => {
            Some(Reason::Timestamping)
        }
        (libc::SOL_SOCKET, SO_TIMESTAMP_NEW | SO_TIMESTAMPNS_NEW | SO_TIMESTAMPING_NEW) => Some(Reason::Timestamping),
        (libc::SOL_SOCKET, libc::SO_BINDTODEVICE | SO_BINDTOIFINDEX) => Some(Reason::Device),
        (libc::SOL_SOCKET, libc::SO_PEEK_OFF) => Some(Reason::Call),
        (libc::IPPROTO_TCP, libc::TCP_ULP | libc::TCP_REPAIR | libc::TCP_MD5SIG | TCP_MD5SIG_EXT | TCP_INQ) => {
            Some(Reason::TcpOption)
        }
        _ => None,
    }
}

hooks! {
    /// setsockopt(2)
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int {
        let result = real!(fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int);
        if result == 0 && descriptor::get(fd).is_some() {
            match objection(level, name) {
                // Every receive from here on tells of, or begins at, what only the kernel is to count.
                Some(reason) if name == TCP_INQ || name == libc::SO_PEEK_OFF => stream::leave_ring(fd, reason),
                Some(reason) => stream::object(fd, reason),
                None => {}
            }
            if (level, name) == (libc::SOL_SOCKET, libc::SO_RCVLOWAT) {
                stream::low_water_changed(fd);
            }
        }
        result
    }

    /// getsockopt(2): one option takes bytes from the stream, two tell of its end
    fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> c_int {
        match (level, name) {
            (libc::IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE) => stream::leave_ring(fd, Reason::Zerocopy),
            (libc::IPPROTO_TCP, libc::TCP_INFO) | (libc::SOL_SOCKET, libc::SO_ERROR) => stream::judge_end(fd),
            _ => {}
        }
        let result = real!(fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> c_int);
        if result == 0
            && (level, name) == (libc::SOL_SOCKET, libc::SO_ERROR)
            // SAFETY: the kernel has just written the length of its answer there.
            && unsafe { len.read_unaligned() } as usize == size_of::<c_int>()
            && let Some(error) = stream::take_error(fd)
        {
            // SAFETY: the kernel has just written an int there.
            unsafe { value.cast::<c_int>().write_unaligned(error.0) };
        }
        result
    }

    /// sockatmark(3), in libc an ioctl that no hook sees
    fn sockatmark(fd: c_int) -> c_int {
        let mut mark: c_int = 0;
        // SAFETY: a place for the answer.
        match unsafe { ioctl(fd, SIOCATMARK, (&raw mut mark) as c_ulong) } {
            0 => mark,
            failed => failed,
        }
    }

    /// ioctl(2). The variadic argument is passed as a word, as the ABI of the supported targets has it.
    fn ioctl(fd: c_int, request: c_ulong, argument: c_ulong) -> c_int {
        stream::follow_suit(fd);
        let result = real!(fn ioctl(fd: c_int, request: c_ulong, argument: c_ulong) -> c_int);
        let Some(descriptor::Entry::Endpoint(endpoint)) = descriptor::get(fd) else { return result };
        if result < 0 {
            return result;
        }
        let number = argument as *mut c_int;
        match request {
            libc::FIONBIO => {
                // SAFETY: the kernel has just read an int there.
                endpoint.nonblocking.store(u8::from(unsafe { number.read_unaligned() } != 0), Ordering::Relaxed);
            }
            // SIOCOUTQ is the kernel's own: what is in the ring is with the peer, like what TCP has acknowledged.
            libc::FIONREAD => {
                // SAFETY: the kernel has just written an int there.
                let known = unsafe { number.read_unaligned() } as u64;
                // SAFETY: as above.
                unsafe { number.write_unaligned(stream::unread_bytes(fd, known) as c_int) };
            }
            // Before the mark there may still be bytes in the ring.
            SIOCATMARK if stream::unread_bytes(fd, 0) > 0 => {
                // SAFETY: the kernel has just written an int there.
                unsafe { number.write_unaligned(0) };
            }
            request if ASYNC_REQUESTS.contains(&request) => stream::object(fd, Reason::AsyncSignal),
            _ => {}
        }
        result
    }

    /// prctl(2): a seccomp filter may forbid what a move needs
    fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int {
        // Without a filter it only asks whether there could be one.
        if option == libc::PR_SET_SECCOMP && (a != c_ulong::from(libc::SECCOMP_MODE_FILTER) || b != 0) {
            stream::leave_all(Reason::Seccomp);
        }
        real!(fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int)
    }
}
