//! libc's own functions, for calls that pass through: they are cancellation points and what the program asked for.
//!
//! Resolved once, by the constructor, before the program can have threads. A call that comes earlier (another
//! library's constructor) goes to the kernel directly.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Finds the next definition of a symbol after the shim's own.
fn next(name: &CStr) -> *mut c_void {
    // SAFETY: a C string and a valid pseudo-handle.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}

/// A function of libc that the shim stands in front of.
pub struct Real {
    name: &'static CStr,
    address: AtomicUsize,
}

impl Real {
    pub const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicUsize::new(0) }
    }

    /// Its address; 0 when libc has no such function.
    #[inline(always)]
    pub fn address(&self) -> usize {
        // Relaxed: the constructor has filled it, or any thread finds the same value.
        match self.address.load(Ordering::Relaxed) {
            0 => self.resolve(),
            address => address,
        }
    }

    #[cold]
    pub fn resolve(&self) -> usize {
        let address = next(self.name) as usize;
        self.address.store(address, Ordering::Relaxed);
        address
    }
}

/// Declares a hook's way to the function behind it: `real!(fn read(fd: c_int, …) -> ssize_t)` defines a function of the
/// hook's signature that calls it. Without one (an older libc) the call fails with ENOSYS.
#[macro_export]
macro_rules! real {
    (fn $name:ident($($arg:ident: $type:ty),* $(,)?) -> $result:ty) => {{
        static REAL: $crate::real::Real = $crate::real::Real::new(
            // SAFETY: the literal ends with its only NUL.
            unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) }
        );
        let address = REAL.address();
        if address == 0 {
            $crate::hooks::fail($crate::kernel::Errno(libc::ENOSYS)) as $result
        } else {
            // SAFETY: libc's function of this name has this C signature, and the arguments are the program's own.
            unsafe {
                let function: unsafe extern "C" fn($($type),*) -> $result = core::mem::transmute(address);
                function($($arg),*)
            }
        }
    }};
}

static SINGLE_THREADED: AtomicPtr<c_char> = AtomicPtr::new(core::ptr::null_mut());
static SET_CANCEL_TYPE: AtomicUsize = AtomicUsize::new(0);
static SET_CANCEL_STATE: AtomicUsize = AtomicUsize::new(0);
static TEST_CANCEL: AtomicUsize = AtomicUsize::new(0);

/// Finds what is found once.
pub fn init() {
    SINGLE_THREADED.store(next(c"__libc_single_threaded").cast(), Ordering::Relaxed);
    TEST_CANCEL.store(next(c"pthread_testcancel") as usize, Ordering::Relaxed);
    SET_CANCEL_TYPE.store(next(c"pthread_setcanceltype") as usize, Ordering::Relaxed);
    SET_CANCEL_STATE.store(next(c"pthread_setcancelstate") as usize, Ordering::Relaxed);
}

/// Whether libc knows that the process has one thread. Signal handlers may still interrupt it.
#[inline(always)]
pub fn single_threaded() -> bool {
    let flag = SINGLE_THREADED.load(Ordering::Relaxed);
    // SAFETY: null, or libc's own variable of one byte, which lives as long as the process.
    !flag.is_null() && unsafe { flag.read_volatile() } != 0
}

/// PTHREAD_CANCEL_ASYNCHRONOUS of pthread.h.
const CANCEL_ASYNCHRONOUS: c_int = 1;

/// Lets a cancellation strike at any instruction (1) or not (0); the former type. No destructor may be alive and no role
/// held while it is 1.
fn set_cancel_type(kind: c_int) -> c_int {
    set(&SET_CANCEL_TYPE, kind)
}

fn set(function: &AtomicUsize, value: c_int) -> c_int {
    let address = function.load(Ordering::Relaxed);
    let mut former = 0;
    if address != 0 {
        // SAFETY: pthread_setcanceltype or pthread_setcancelstate of this process' libc, which have this signature.
        unsafe {
            let function: unsafe extern "C" fn(c_int, *mut c_int) -> c_int = core::mem::transmute(address);
            function(value, &raw mut former);
        }
    }
    former
}

/// Runs `call`, a cancellation point otherwise, so that no cancellation strikes in it.
pub fn uncancelled<T>(call: impl FnOnce() -> T) -> T {
    const DISABLE: c_int = 1;
    let former = set(&SET_CANCEL_STATE, DISABLE);
    let result = call();
    set(&SET_CANCEL_STATE, former);
    result
}

/// Where libc's rseq area lies relative to the thread pointer, if it registers one (glibc from 2.35 on).
pub fn rseq_offset() -> Option<isize> {
    let (offset, size) = (next(c"__rseq_offset").cast::<isize>(), next(c"__rseq_size").cast::<u32>());
    if offset.is_null() || size.is_null() {
        return None;
    }
    // SAFETY: libc's own constants.
    unsafe { (size.read() != 0).then(|| offset.read()) }
}

/// Runs a call of the kernel's that may block, as a cancellation point. What the thread holds is noted in `held`.
pub fn cancellable<T>(call: impl FnOnce() -> T) -> T {
    let former = set_cancel_type(CANCEL_ASYNCHRONOUS);
    let result = call();
    set_cancel_type(former);
    result
}

/// Dies here if the thread has been cancelled. No destructor may be alive and no role held.
pub fn test_cancel() {
    let address = TEST_CANCEL.load(Ordering::Relaxed);
    if address != 0 {
        // SAFETY: pthread_testcancel of this process' libc, which has this signature.
        unsafe {
            let function: unsafe extern "C" fn() = core::mem::transmute(address);
            function();
        }
    }
}

/// A cancellation point even where there is no need to wait, for calls that the shim may serve.
#[inline]
pub fn heed_cancel(may_serve: impl FnOnce() -> bool) {
    if !single_threaded() && may_serve() {
        test_cancel();
    }
}

/// A key whose `destructor` runs when a thread that [`at_thread_end`] was called in ends.
pub fn thread_end_key(destructor: extern "C" fn(*mut c_void)) -> Option<u32> {
    let mut key = 0;
    // SAFETY: a place for the key, and a function of this library, which is never unloaded.
    (unsafe { libc::pthread_key_create(&raw mut key, Some(destructor)) } == 0).then_some(key)
}

/// Has the key's destructor run at the calling thread's end.
pub fn at_thread_end(key: u32) {
    if key != u32::MAX {
        // SAFETY: a key of ours; the value only has to differ from null.
        unsafe { libc::pthread_setspecific(key, core::ptr::without_provenance(1)) };
    }
}
