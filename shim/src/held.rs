//! What a thread holds while it is inside a call that may never return to us: a cancelled thread leaves the call by
//! unwinding, and nothing of ours may stand in its way. So what must be given back is noted here, and given back either
//! when the call returns or when the thread ends.

use crate::endpoint::Endpoint;
use crate::readiness::set::Set;
use crate::{hub, kernel, real, thread};
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};

/// Something that must be given back.
#[derive(Clone, Copy)]
pub enum Obligation {
    /// Nothing: a place filled for the sake of its index.
    Nothing,
    /// A pinned endpoint.
    Pin(&'static Endpoint),
    /// A pinned endpoint, and a place behind its readers' gate.
    Reader(&'static Endpoint),
    /// A pinned endpoint, and a place behind its writers' gate.
    Writer(&'static Endpoint),
    /// A place among the sleepers of an epoll set.
    Sleeper(&'static Set),
}

impl Obligation {
    /// Gives it back.
    pub fn settle(self) {
        match self {
            Self::Nothing => {}
            Self::Pin(endpoint) => endpoint.unpin(),
            Self::Reader(endpoint) => {
                endpoint.family().readers.leave();
                endpoint.unpin();
            }
            Self::Writer(endpoint) => {
                endpoint.family().writers.leave();
                endpoint.unpin();
            }
            Self::Sleeper(set) => set.leave(),
        }
    }
}

/// Room for this many per thread; pages are taken as they are used.
const ROOM: usize = 1 << 16;
const BYTES: usize = ROOM * size_of::<Obligation>();

/// The calling thread's stack of obligations; `None` without memory, or when there are too many.
fn push(more: usize) -> Option<(*mut Obligation, usize)> {
    let thread = thread::current();
    if thread.held.get().is_null() {
        let base = kernel::map_anonymous(BYTES, false).ok()?;
        thread.held.set(base.cast());
        real::at_thread_end(KEY.load(Ordering::Relaxed));
    }
    let count = thread.held_count.get();
    (count + more <= ROOM).then(|| (thread.held.get(), count))
}

/// Runs `work`, holding `obligation`, which the caller gives back itself when `work` returns.
#[inline]
pub fn during<T>(obligation: Obligation, work: impl FnOnce() -> T) -> T {
    let Some((base, count)) = push(1) else { return work() };
    // SAFETY: within this thread's room.
    unsafe { base.add(count).write(obligation) };
    let thread = thread::current();
    thread.held_count.set(count + 1);
    let result = work();
    thread.held_count.set(count);
    result
}

/// Runs `work` with `len` obligations made by `make`; all are given back when it returns. `None`: too many.
pub fn with_many<T>(
    len: usize,
    mut make: impl FnMut(usize) -> Obligation,
    work: impl FnOnce(&[Obligation]) -> T,
) -> Option<T> {
    let (base, count) = push(len)?;
    let thread = thread::current();
    for i in 0..len {
        // SAFETY: within this thread's room, as `push` has seen.
        unsafe { base.add(count + i).write(make(i)) };
        thread.held_count.set(count + i + 1);
    }
    // SAFETY: written just above; signal handlers push behind them.
    let held = unsafe { core::slice::from_raw_parts(base.add(count), len) };
    let result = work(held);
    thread.held_count.set(count);
    held.iter().for_each(|obligation| obligation.settle());
    Some(result)
}

/// libc's key whose destructor runs at each thread's end.
static KEY: AtomicU32 = AtomicU32::new(u32::MAX);

/// Called once, by the constructor.
pub fn init() {
    if let Some(key) = real::thread_end_key(thread_ends) {
        KEY.store(key, Ordering::Relaxed);
    }
}

/// The calling thread ends: what it still holds, it will not give back otherwise.
extern "C" fn thread_ends(_: *mut c_void) {
    let thread = thread::current();
    hub::forget();
    let base = thread.held.replace(core::ptr::null_mut());
    if base.is_null() {
        return;
    }
    for i in (0..thread.held_count.replace(0)).rev() {
        // SAFETY: written by `during` or `with_many`; their count says so.
        unsafe { base.add(i).read() }.settle();
    }
    kernel::unmap(base.cast(), BYTES);
}
