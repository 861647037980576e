//! New processes. fork itself tells the shim through its handlers; here are those that do not, and what libc does to the
//! standard descriptors on the way.

use crate::hooks::io::hooks;
use crate::{descriptor, process, real};
use core::ffi::{c_char, c_int, c_void};

/// libc has put other files behind the standard descriptors.
fn standard_replaced(done: bool) {
    if done && process::owns_tables() {
        (0..=2).for_each(descriptor::forget_stale);
    }
}

hooks! {
    /// fork(2)
    fn fork() -> c_int {
        process::announced(|| real!(fn fork() -> c_int))
    }

    /// fork(2), glibc's alias
    fn __fork() -> c_int {
        process::announced(|| real!(fn __fork() -> c_int))
    }

    /// _Fork(3): no handler runs
    #[allow(non_snake_case)] // C's name
    fn _Fork() -> c_int {
        process::unannounced(|| real!(fn _Fork() -> c_int))
    }

    /// clone(2). The variadic arguments are passed as words, as the ABI of the supported targets has it.
    fn clone(body: *mut c_void, stack: *mut c_void, flags: c_int, argument: *mut c_void, parent: *mut c_void, tls: *mut c_void, child: *mut c_void) -> c_int {
        let real = || real!(fn clone(body: *mut c_void, stack: *mut c_void, flags: c_int, argument: *mut c_void, parent: *mut c_void, tls: *mut c_void, child: *mut c_void) -> c_int);
        // A child in the same memory is a thread, or as good as a vfork child.
        if flags & libc::CLONE_VM != 0 { real() } else { process::unannounced(real) }
    }

    /// clone(2), glibc's alias
    fn __clone(body: *mut c_void, stack: *mut c_void, flags: c_int, argument: *mut c_void, parent: *mut c_void, tls: *mut c_void, child: *mut c_void) -> c_int {
        // SAFETY: the same contract.
        unsafe { clone(body, stack, flags, argument, parent, tls, child) }
    }

    /// daemon(3)
    fn daemon(stay: c_int, keep: c_int) -> c_int {
        let result = real!(fn daemon(stay: c_int, keep: c_int) -> c_int);
        standard_replaced(result == 0 && keep == 0);
        result
    }

    /// forkpty(3)
    fn forkpty(master: *mut c_int, name: *mut c_char, terminal: *const c_void, size: *const c_void) -> c_int {
        let result = real!(fn forkpty(master: *mut c_int, name: *mut c_char, terminal: *const c_void, size: *const c_void) -> c_int);
        standard_replaced(result == 0);
        result
    }

    /// login_tty(3)
    fn login_tty(terminal: c_int) -> c_int {
        let result = real!(fn login_tty(terminal: c_int) -> c_int);
        standard_replaced(result == 0);
        result
    }
}
