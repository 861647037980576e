//! The interposed symbols. Each calls one operation; what is not the shim's business goes to libc's own function.

pub mod exec;
pub mod fd;
pub mod fork;
pub mod io;
pub mod jump;
pub mod library;
pub mod option;
pub mod poll;
pub mod raw;
pub mod socket;
pub mod stdio;

use crate::kernel::Errno;
use crate::stream::Done;
use core::ffi::c_int;

/// Sets errno and gives what a failed call returns.
#[cold]
pub fn fail(errno: Errno) -> c_int {
    // SAFETY: libc's errno of this thread.
    unsafe { *libc::__errno_location() = errno.0 };
    -1
}

/// A kernel's or the shim's result as a C function returns it.
pub fn int(result: Result<usize, Errno>) -> c_int {
    match result {
        Ok(value) => value as c_int,
        Err(errno) => fail(errno),
    }
}

/// As [`int`], for calls that count bytes.
pub fn size(done: Done) -> isize {
    match done {
        Done::Real(value) => value,
        Done::Moved(Ok(value)) => value as isize,
        Done::Moved(Err(errno)) => fail(errno) as isize,
    }
}

pub use crate::kernel::LOWEST;

/// One buffer as the pieces of a call.
pub fn piece(buffer: *const core::ffi::c_void, len: usize) -> [libc::iovec; 1] {
    [libc::iovec { iov_base: buffer.cast_mut(), iov_len: len }]
}

/// As [`piece`], for the calls of sockets: they cut a length before they look at it.
pub fn socket_piece(buffer: *const core::ffi::c_void, len: usize) -> [libc::iovec; 1] {
    piece(buffer, len.min(crate::pieces::MOST_BYTES))
}

/// The pieces of a vectored call; none when the kernel would refuse them.
///
/// # Safety
/// `pieces` points to `count` pieces, as the call that it comes from requires.
pub unsafe fn pieces<'a>(pieces: *const libc::iovec, count: usize) -> Option<&'a [libc::iovec]> {
    if count > crate::pieces::MOST || ((pieces as usize) < LOWEST && count > 0) {
        return None;
    }
    if count == 0 {
        return Some(&[]);
    }
    // SAFETY: by contract.
    let pieces = unsafe { core::slice::from_raw_parts(pieces, count) };
    pieces.iter().all(|piece| isize::try_from(piece.iov_len).is_ok()).then_some(pieces)
}
