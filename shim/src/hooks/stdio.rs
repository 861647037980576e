//! What libc itself reads, writes or closes, by calls that no hook sees: stdio, asynchronous I/O, a few helpers. The
//! endpoint leaves the ring first.

use crate::descriptor::Ending;
use crate::hooks::exec::variadic;
use crate::hooks::io::{self, hooks};
use crate::kernel::Errno;
use crate::real::Real;
use crate::{descriptor, hooks as common, real, stream};
use core::ffi::{c_char, c_int, c_void};
use slipstream_protocol::Reason;

/// A file of libc's.
type File = *mut c_void;
/// Calls libc's function at `real`, whose result is a pointer; null with ENOSYS when there is none.
macro_rules! pointer {
    ($name:literal, ($($arg:ident: $type:ty),*)) => {{
        static REAL: Real = Real::new($name);
        match REAL.address() {
            0 => {
                common::fail(Errno(libc::ENOSYS));
                core::ptr::null_mut()
            }
            // SAFETY: libc's function of this name has this signature, and the arguments are the program's own.
            address => unsafe {
                let function: unsafe extern "C" fn($($type),*) -> *mut c_void = core::mem::transmute(address);
                function($($arg),*)
            },
        }
    }};
}

/// The descriptor of a file is about to be closed by libc.
fn closing(file: File) -> Option<Ending> {
    if file.is_null() {
        return None;
    }
    // SAFETY: libc's errno of this thread.
    let errno = unsafe { libc::__errno_location().read() };
    // SAFETY: the program's file, which it gives to be closed.
    let fd = unsafe { libc::fileno(file.cast()) };
    // SAFETY: as above; a file of memory has no descriptor, which is no error of the program's.
    unsafe { libc::__errno_location().write(errno) };
    descriptor::closing(fd)
}

/// The work of a control block is about to be done by a thread of libc's.
///
/// # Safety
/// `block` is null or the program's block.
unsafe fn entrust(block: *const libc::aiocb) {
    // SAFETY: by contract.
    if let Some(block) = unsafe { block.as_ref() } {
        stream::leave_ring(block.aio_fildes, Reason::Stdio);
    }
}

/// As [`entrust`], for a list of `count`.
///
/// # Safety
/// As lio_listio.
unsafe fn entrust_all(blocks: *const *const libc::aiocb, count: c_int) {
    for i in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: by contract.
        unsafe { entrust(blocks.add(i).read()) };
    }
}

hooks! {
    /// fdopen(3)
    fn fdopen(fd: c_int, mode: *const c_char) -> File {
        stream::leave_ring(fd, Reason::Stdio);
        pointer!(c"fdopen", (fd: c_int, mode: *const c_char))
    }

    /// fdopen(3), glibc's alias
    #[allow(non_snake_case)] // C's name
    fn _IO_fdopen(fd: c_int, mode: *const c_char) -> File {
        // SAFETY: the same contract.
        unsafe { fdopen(fd, mode) }
    }

    /// fclose(3)
    fn fclose(file: File) -> c_int {
        let ending = closing(file);
        let result = Ending::during(ending.as_ref(), || real!(fn fclose(file: File) -> c_int));
        ending.into_iter().for_each(Ending::finish);
        result
    }

    /// fclose(3), glibc's alias
    #[allow(non_snake_case)] // C's name
    fn _IO_fclose(file: File) -> c_int {
        // SAFETY: the same contract.
        unsafe { fclose(file) }
    }

    /// freopen(3): another file takes the descriptor's place
    fn freopen(path: *const c_char, mode: *const c_char, file: File) -> File {
        let ending = closing(file);
        let reopen = || pointer!(c"freopen", (path: *const c_char, mode: *const c_char, file: File));
        let result = Ending::during(ending.as_ref(), reopen);
        ending.into_iter().for_each(Ending::finish);
        result
    }

    /// freopen(3), LFS
    fn freopen64(path: *const c_char, mode: *const c_char, file: File) -> File {
        // SAFETY: the same contract; with 64-bit offsets the two are one.
        unsafe { freopen(path, mode, file) }
    }

    /// popen(3)
    fn popen(command: *const c_char, mode: *const c_char) -> File {
        common::exec::before_spawn();
        pointer!(c"popen", (command: *const c_char, mode: *const c_char))
    }

    /// popen(3), glibc's alias
    #[allow(non_snake_case)] // C's name
    fn _IO_popen(command: *const c_char, mode: *const c_char) -> File {
        // SAFETY: the same contract.
        unsafe { popen(command, mode) }
    }

    /// vdprintf(3)
    fn vdprintf(fd: c_int, format: *const c_char, arguments: *mut c_void) -> c_int {
        stream::leave_ring(fd, Reason::Stdio);
        real!(fn vdprintf(fd: c_int, format: *const c_char, arguments: *mut c_void) -> c_int)
    }

    /// vdprintf(3), fortified
    fn __vdprintf_chk(fd: c_int, flag: c_int, format: *const c_char, arguments: *mut c_void) -> c_int {
        stream::leave_ring(fd, Reason::Stdio);
        real!(fn __vdprintf_chk(fd: c_int, flag: c_int, format: *const c_char, arguments: *mut c_void) -> c_int)
    }

    /// backtrace_symbols_fd(3)
    fn backtrace_symbols_fd(frames: *const *mut c_void, count: c_int, fd: c_int) -> () {
        stream::leave_ring(fd, Reason::Stdio);
        real!(fn backtrace_symbols_fd(frames: *const *mut c_void, count: c_int, fd: c_int) -> c_int);
    }

    /// backtrace_symbols_fd(3), glibc's alias
    fn __backtrace_symbols_fd(frames: *const *mut c_void, count: c_int, fd: c_int) -> () {
        // SAFETY: the same contract.
        unsafe { backtrace_symbols_fd(frames, count, fd) };
    }

    /// eventfd_read(3): a read of eight bytes, of whatever it is given
    fn eventfd_read(fd: c_int, value: *mut u64) -> c_int {
        // SAFETY: the same contract.
        if unsafe { io::read(fd, value.cast(), 8) } == 8 { 0 } else { -1 }
    }

    /// eventfd_write(3)
    fn eventfd_write(fd: c_int, value: u64) -> c_int {
        // SAFETY: eight bytes.
        if unsafe { io::write(fd, (&raw const value).cast(), 8) } == 8 { 0 } else { -1 }
    }

    /// aio_read(3)
    fn aio_read(block: *mut libc::aiocb) -> c_int {
        // SAFETY: the same contract.
        unsafe { entrust(block) };
        real!(fn aio_read(block: *mut libc::aiocb) -> c_int)
    }

    /// aio_read(3), LFS
    fn aio_read64(block: *mut libc::aiocb) -> c_int {
        // SAFETY: the same contract; with 64-bit offsets the two are one.
        unsafe { aio_read(block) }
    }

    /// aio_write(3)
    fn aio_write(block: *mut libc::aiocb) -> c_int {
        // SAFETY: the same contract.
        unsafe { entrust(block) };
        real!(fn aio_write(block: *mut libc::aiocb) -> c_int)
    }

    /// aio_write(3), LFS
    fn aio_write64(block: *mut libc::aiocb) -> c_int {
        // SAFETY: the same contract; with 64-bit offsets the two are one.
        unsafe { aio_write(block) }
    }

    /// lio_listio(3)
    fn lio_listio(mode: c_int, blocks: *const *mut libc::aiocb, count: c_int, event: *mut c_void) -> c_int {
        // SAFETY: the same contract.
        unsafe { entrust_all(blocks.cast(), count) };
        real!(fn lio_listio(mode: c_int, blocks: *const *mut libc::aiocb, count: c_int, event: *mut c_void) -> c_int)
    }

    /// lio_listio(3), LFS
    fn lio_listio64(mode: c_int, blocks: *const *mut libc::aiocb, count: c_int, event: *mut c_void) -> c_int {
        // SAFETY: the same contract; with 64-bit offsets the two are one.
        unsafe { lio_listio(mode, blocks, count, event) }
    }
}

/// What dprintf does first; the address to go on at.
extern "C" fn before_dprintf(real: &'static Real, fd: c_int) -> usize {
    stream::leave_ring(fd, Reason::Stdio);
    real.address()
}

variadic!(
    /// dprintf(3)
    dprintf, c"dprintf", before_dprintf
);
variadic!(
    /// dprintf(3), fortified
    __dprintf_chk, c"__dprintf_chk", before_dprintf
);
