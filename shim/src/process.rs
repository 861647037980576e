//! Which process this is: the one that the tables were made in, a child that fork made of it, or a vfork child that
//! borrows its memory.

use crate::kin::{self, Census};
use crate::thread::{self, Thread};
use crate::{broker, descriptor, held, hub, kernel};
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

unsafe extern "C" {
    /// What pthread_atfork calls. It covers fork and libc's own uses of it (daemon, forkpty); for _Fork and clone see
    /// [`unannounced`].
    fn __register_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
        dso: *mut c_void,
    ) -> c_int;

    /// What at_quick_exit calls.
    fn __cxa_at_quick_exit(work: unsafe extern "C" fn(*mut c_void), dso: *mut c_void) -> c_int;
}

/// The process that the tables describe.
static PID: AtomicU32 = AtomicU32::new(0);
/// A page that the kernel wipes in a forked child: its first word is 1 in the process that knows itself.
static KNOWN: AtomicPtr<AtomicU32> = AtomicPtr::new(&raw const FALLBACK as *mut AtomicU32);
static FALLBACK: AtomicU32 = AtomicU32::new(1);

/// Called once, by the constructor.
pub fn init() {
    PID.store(kernel::getpid(), Ordering::Relaxed);
    if let Ok(page) = kernel::map_anonymous(4096, false) {
        if kernel::wipe_on_fork(page) {
            let word = page.cast::<AtomicU32>();
            // SAFETY: the page was just mapped and is never unmapped.
            unsafe { (*word).store(1, Ordering::Relaxed) };
            KNOWN.store(word, Ordering::Relaxed);
        } else {
            kernel::unmap(page, 4096);
        }
    }
    // SAFETY: functions of this library, which is never unloaded.
    unsafe {
        __register_atfork(Some(before_fork), Some(after_fork), Some(in_child), core::ptr::null_mut());
        // The first to be registered, so the last to run.
        __cxa_at_quick_exit(quick_exit, core::ptr::null_mut());
    }
}

/// Whether the process has not been forked since it last looked.
#[inline(always)]
pub fn is_known() -> bool {
    // SAFETY: points at a static, or at a page that is never unmapped.
    unsafe { (*KNOWN.load(Ordering::Relaxed)).load(Ordering::Relaxed) != 0 }
}

/// Notices a fork that no handler announced.
#[cold]
pub fn check() {
    if !is_known() {
        become_child(UNANNOUNCED.swap(0, Ordering::Relaxed) != 0);
    }
}

/// Whether the caller may change the tables: not so a vfork child, whose changes would be its parent's. For cold paths.
pub fn owns_tables() -> bool {
    check();
    kernel::getpid() == PID.load(Ordering::Relaxed)
}

/// Whether a thread of this process is its first.
pub fn is_leader(thread: &Thread) -> bool {
    thread.tid() == kin::tagged(PID.load(Ordering::Relaxed))
}

/// Set once the process exits: its holdings have been given up.
static EXITING: AtomicU32 = AtomicU32::new(0);

/// quick_exit runs no destructor of a library's.
unsafe extern "C" fn quick_exit(_: *mut c_void) {
    exit();
}

/// The process exits, with whatever is open.
pub fn exit() {
    if owns_tables() && EXITING.swap(1, Ordering::SeqCst) == 0 {
        let mut census = Census::new();
        // First: the last holder's family is given back.
        held::leave_gates();
        descriptor::for_each_pinned(|endpoint| endpoint.exit(&mut census));
    }
}

/// The thread that forks: one after the other, so that each child knows which of its endpoints were counted for it.
static FORKING: AtomicU32 = AtomicU32::new(0);
/// 1 once it is about to, and how many threads are at what no child is to find half done. Neither waits for the other for ever:
/// who was to come may have left by a jump.
static IMMINENT: AtomicU32 = AtomicU32::new(0);
static UNDISTURBED: AtomicU32 = AtomicU32::new(0);

/// Runs `work`, which does not sleep, while no other thread forks.
///
/// SeqCst on both sides: here the count, then a look at the announcement; in [`before_fork`] the announcement, then a look at the
/// count. One sees the other.
pub fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    let thread = thread::current();
    if thread.undisturbed.get() || FORKING.load(Ordering::SeqCst) == thread.tid() {
        return work();
    }
    let begun = wait_for(|| {
        UNDISTURBED.fetch_add(1, Ordering::SeqCst);
        let may = IMMINENT.load(Ordering::SeqCst) == 0;
        if !may {
            done_undisturbed();
        }
        may
    });
    if !begun {
        IMMINENT.store(0, Ordering::SeqCst);
        UNDISTURBED.fetch_add(1, Ordering::SeqCst);
    }
    thread.undisturbed.set(true);
    let result = work();
    thread.undisturbed.set(false);
    done_undisturbed();
    result
}

fn done_undisturbed() {
    // None are left when a signal handler has forked, and this is the child.
    let less = |count: u32| count.checked_sub(1);
    let _ = UNDISTURBED.fetch_update(Ordering::SeqCst, Ordering::Relaxed, less);
}

fn wait_for(mut done: impl FnMut() -> bool) -> bool {
    const LIMIT: u64 = 1_000_000_000;
    let begun = kernel::now_ns();
    while !done() {
        if kernel::now_ns() - begun > LIMIT {
            return false;
        }
        kernel::yield_now();
    }
    true
}

/// Every endpoint gets one more holder before the child exists, so that none is moved in between.
pub unsafe extern "C" fn before_fork() {
    if owns_tables() {
        let me = thread::current().tid();
        let take = || FORKING.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst);
        if !wait_for(|| take().is_ok() || FORKING.load(Ordering::SeqCst) == me) {
            FORKING.store(me, Ordering::SeqCst);
        }
        let mut census = Census::new();
        let mut number = None;
        descriptor::for_each_pinned(|endpoint| {
            // Asked for once, and not without an endpoint.
            let number = *number.get_or_insert_with(kin::number);
            endpoint.list(number, &mut census);
            endpoint.raise();
        });
        // SeqCst: its partner is in `undisturbed`.
        IMMINENT.store(1, Ordering::SeqCst);
        // In a signal handler of its own the thread may be at it itself.
        let own = u32::from(thread::current().undisturbed.get());
        if !wait_for(|| UNDISTURBED.load(Ordering::SeqCst) <= own) {
            UNDISTURBED.store(0, Ordering::SeqCst);
        }
    }
}

/// In the parent.
unsafe extern "C" fn after_fork() {
    if FORKING.load(Ordering::SeqCst) == thread::current().tid() {
        IMMINENT.store(0, Ordering::SeqCst);
        FORKING.store(0, Ordering::SeqCst);
    }
}

/// Forks under way that run no handler, in the memory that their children copy: the holders are counted already.
static UNANNOUNCED: AtomicU32 = AtomicU32::new(0);

/// Runs a fork whose handlers call ours. One that fails has made no holder.
pub fn announced(fork: impl FnOnce() -> c_int) -> c_int {
    let child = fork();
    if child < 0 {
        not_forked();
    }
    child
}

/// Runs a fork that calls no handler.
pub fn unannounced(fork: impl FnOnce() -> c_int) -> c_int {
    if !owns_tables() {
        return fork();
    }
    // SAFETY: any thread may call it at any time.
    unsafe { before_fork() };
    UNANNOUNCED.fetch_add(1, Ordering::Relaxed);
    let child = fork();
    if child == 0 {
        check();
    } else {
        // SAFETY: as above.
        unsafe { after_fork() };
        UNANNOUNCED.fetch_sub(1, Ordering::Relaxed);
        if child < 0 {
            not_forked();
        }
    }
    child
}

fn not_forked() {
    if owns_tables() {
        descriptor::for_each_pinned(|endpoint| {
            if endpoint.was_raised() {
                endpoint.family().lower();
            }
        });
    }
}

/// In the child.
pub unsafe extern "C" fn in_child() {
    become_child(true);
}

fn become_child(announced: bool) {
    // SAFETY: as in `is_known`.
    let was_known = unsafe { (*KNOWN.load(Ordering::Relaxed)).swap(1, Ordering::Relaxed) } != 0;
    let pid = kernel::getpid();
    let parent = PID.swap(pid, Ordering::Relaxed);
    // The first process of a PID namespace may be the child of another's.
    if parent == pid && was_known {
        return;
    }
    let comparable = kin::after_fork(parent);
    hub::forget();
    for word in [&EXITING, &FORKING, &IMMINENT, &UNDISTURBED] {
        word.store(0, Ordering::Relaxed);
    }
    thread::current().forget();
    broker::after_fork();
    descriptor::after_fork(announced, comparable);
}
