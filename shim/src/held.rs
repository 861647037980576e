//! What a thread holds while it is inside a call that may never return to us: a cancelled thread leaves the call by
//! unwinding, a signal handler by longjmp, and nothing of ours may stand in its way. So what must be given back is noted
//! here, and given back when the call returns, when it is jumped out of, or when the thread ends.

use crate::endpoint::Endpoint;
use crate::hub::{self, Hub};
use crate::readiness::set::Set;
use crate::{descriptor, foreign, kernel, real, roles, thread};
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use slipstream_ring::gate::Gate;

/// Something that must be given back.
#[derive(Clone, Copy)]
pub enum Obligation {
    Nothing,
    /// Where on the stack the call is that holds what follows.
    Frame(usize),
    /// A pinned endpoint, which stands at this place of an array.
    Pin(u32, &'static Endpoint),
    /// The same, and a place behind its readers' gate.
    Reader(u32, &'static Endpoint),
    /// The endpoint of the [`call`] around.
    Call(&'static Endpoint),
    /// As `Call`, and a place behind its readers' gate.
    CallReader(&'static Endpoint),
    /// As `Call`, and a place behind its writers' gate.
    CallWriter(&'static Endpoint),
    /// A place among the sleepers of an epoll set.
    Sleeper(&'static Set),
    /// The thread's hub.
    Hub(c_int),
    /// A copy of a descriptor.
    Copy(c_int),
    /// A word about an epoll set that is being made, copied or closed.
    Renaming,
    /// A descriptor that gets another meaning.
    Changing(c_int),
    /// So many, in pages of their own.
    Many(*const Self, u32),
}

const _: () = assert!(size_of::<Obligation>() == 16);

impl Obligation {
    /// Gives it back.
    pub fn settle(self) {
        self.settle_in_call();
        if let Self::Call(endpoint) | Self::CallReader(endpoint) | Self::CallWriter(endpoint) = self {
            endpoint.unpin();
        }
    }

    /// Calls `work` for the gate that it has a place behind.
    fn with_gate(&self, work: fn(&Gate)) {
        match *self {
            Self::Reader(_, endpoint) | Self::CallReader(endpoint) => work(&endpoint.family().readers),
            Self::CallWriter(endpoint) => work(&endpoint.family().writers),
            Self::Many(first, len) => {
                // SAFETY: `apart` has written so many there.
                let all = unsafe { core::slice::from_raw_parts(first, len as usize) };
                all.iter().for_each(|obligation| obligation.with_gate(work));
            }
            _ => {}
        }
    }

    /// Counts it once more, for a forked child; but for gates, and the pin of the call around.
    fn count_again(&self) {
        match *self {
            Self::Pin(_, endpoint) | Self::Reader(_, endpoint) => _ = endpoint.pin(),
            Self::Sleeper(set) => set.enter(),
            Self::Renaming => foreign::renames(),
            Self::Many(first, len) => {
                // SAFETY: `apart` has written so many there.
                let all = unsafe { core::slice::from_raw_parts(first, len as usize) };
                all.iter().for_each(Self::count_again);
            }
            _ => {}
        }
    }

    /// As [`Obligation::settle`], where the pin of the call around is given back otherwise.
    fn settle_in_call(self) {
        match self {
            Self::Nothing | Self::Frame(_) | Self::Call(_) => {}
            Self::Pin(_, endpoint) => endpoint.unpin(),
            Self::Reader(_, endpoint) => {
                endpoint.family().readers.leave();
                endpoint.unpin();
            }
            Self::CallReader(endpoint) => endpoint.family().readers.leave(),
            Self::CallWriter(endpoint) => endpoint.family().writers.leave(),
            Self::Sleeper(set) => {
                set.leave();
                set.take_apart();
            }
            Self::Hub(fd) => Hub::taken(fd).give(),
            Self::Copy(fd) => {
                thread::current().copy.set(0);
                descriptor::close_own(fd);
            }
            Self::Renaming => foreign::renamed(),
            Self::Many(first, len) => {
                // SAFETY: `apart` has written so many there.
                let all = unsafe { core::slice::from_raw_parts(first, len as usize) };
                all.iter().for_each(|obligation| obligation.settle());
            }
            Self::Changing(fd) => descriptor::changed(fd),
        }
    }
}

/// In a forked child, where everything is counted anew: a signal handler that forks returns into the calls that its thread
/// was in, and they give back what they hold.
pub fn after_fork() {
    let thread = thread::current();
    let mut at = thread.call.get();
    // SAFETY: on the stack of a call that has not returned.
    while let Some(call) = unsafe { at.as_ref() } {
        let _ = call.endpoint.pin();
        at = call.outer;
    }
    held(thread).iter().for_each(Obligation::count_again);
    enter_gates();
    COUNTED_AGAIN.store(thread.held_count.get() > 0, Ordering::Relaxed);
}

/// Whether the process was forked by a signal handler, inside calls.
static COUNTED_AGAIN: AtomicBool = AtomicBool::new(false);

/// The same: connections of the parent's would wait for this one's gates in vain, once another image takes its place.
pub fn counted_again() -> bool {
    COUNTED_AGAIN.load(Ordering::Relaxed)
}

/// The calling thread's process comes to its end inside calls: other processes do not wait for it at their connections' gates.
pub fn leave_gates() {
    held(thread::current()).iter().for_each(|obligation| obligation.with_gate(Gate::leave));
}

/// It does not, or is a forked one.
pub fn enter_gates() {
    held(thread::current()).iter().for_each(|obligation| obligation.with_gate(Gate::force));
}

/// Room for this many per thread; pages are taken as they are used.
const ROOM: usize = 1 << 14;
const BYTES: usize = ROOM * size_of::<Obligation>();
const _: () = assert!(size_of::<Obligation>() == 16);

/// A place on the caller's stack.
#[inline(always)]
pub fn here() -> usize {
    let place = 0u8;
    core::ptr::from_ref(core::hint::black_box(&place)).addr()
}

/// What a thread holds.
fn held(thread: &thread::Thread) -> &[Obligation] {
    match thread.held_count.get() {
        0 => &[],
        // SAFETY: written by `push` and its callers; the count says so.
        count => unsafe { core::slice::from_raw_parts(thread.held.get(), count) },
    }
}

/// Room for `more` behind what the calling thread holds already, and a frame pushed; `None` without memory, when there are
/// too many, or when the thread is at its end: nothing would give the room back.
fn push(frame: usize, more: usize) -> Option<(*mut Obligation, usize)> {
    let thread = thread::current();
    if thread.held.get().is_null() {
        make_room()?;
    }
    let (base, count) = (thread.held.get(), thread.held_count.get());
    if count + 1 + more > ROOM {
        return None;
    }
    // SAFETY: within this thread's room.
    unsafe { base.add(count).write(Obligation::Frame(frame)) };
    thread.held_count.set(count + 1);
    Some((base, count + 1))
}

/// Makes the calling thread's room, if it has none: to be called before the kernel may refuse it.
pub fn make_room() -> Option<()> {
    let thread = thread::current();
    if thread.ending.get() {
        return None;
    }
    if thread.held.get().is_null() {
        thread.held.set(kernel::map_anonymous(BYTES, false).ok()?.cast());
        real::at_thread_end(KEY.load(Ordering::Relaxed));
    }
    Some(())
}

/// Runs `work`, holding `obligation`, which the caller gives back itself when `work` returns.
#[inline]
pub fn during<T>(obligation: Obligation, work: impl FnOnce() -> T) -> T {
    let Some((base, count)) = push(here(), 1) else { return work() };
    // SAFETY: within this thread's room.
    unsafe { base.add(count).write(obligation) };
    let thread = thread::current();
    thread.held_count.set(count + 1);
    let result = work();
    thread.held_count.set(count - 1);
    result
}

/// Runs `work` with the obligations that `made` makes, at most `most`; all are given back when it returns. `None` without
/// memory.
pub fn with_many<T>(
    most: usize,
    made: impl Iterator<Item = Obligation>,
    work: impl FnOnce(&[Obligation]) -> T,
) -> Option<T> {
    let Some((base, count)) = push(here(), most) else { return apart(most, made, work) };
    let thread = thread::current();
    let mut len = 0;
    for obligation in made.take(most) {
        // SAFETY: within this thread's room, as `push` has seen.
        unsafe { base.add(count + len).write(obligation) };
        len += 1;
        thread.held_count.set(count + len);
    }
    // SAFETY: written just above; signal handlers push behind them.
    let held = unsafe { core::slice::from_raw_parts(base.add(count), len) };
    let result = work(held);
    thread.held_count.set(count - 1);
    held.iter().for_each(|obligation| obligation.settle());
    Some(result)
}

/// As [`with_many`], in pages of their own: for long arrays, and threads at their end.
#[cold]
fn apart<T>(most: usize, made: impl Iterator<Item = Obligation>, work: impl FnOnce(&[Obligation]) -> T) -> Option<T> {
    let bytes = most.max(1) * size_of::<Obligation>();
    let base = kernel::map_anonymous(bytes, false).ok()?.cast::<Obligation>();
    let mut len = 0;
    for obligation in made.take(most) {
        // SAFETY: within the pages just mapped.
        unsafe { base.add(len).write(obligation) };
        len += 1;
    }
    let many = Obligation::Many(base, len as u32);
    // SAFETY: written just above, and there until `many` is settled.
    let result = during(many, || work(unsafe { core::slice::from_raw_parts(base, len) }));
    many.settle();
    kernel::unmap(base.cast(), bytes);
    Some(result)
}

/// A call on an endpoint, on the stack: the innermost one of a thread leads to those around it.
pub struct Call {
    endpoint: &'static Endpoint,
    outer: *const Call,
}

/// Runs a call on a pinned endpoint, and unpins it.
#[inline(always)]
pub fn call<T>(endpoint: &'static Endpoint, work: impl FnOnce() -> T) -> T {
    let innermost = &thread::current().call;
    let call = Call { endpoint, outer: innermost.get() };
    innermost.set(&raw const call);
    let result = work();
    innermost.set(call.outer);
    endpoint.unpin();
    result
}

/// The thread is about to go on at `target`, by longjmp from `from`: the calls between them never return.
///
/// On one stack that is a matter of addresses. A handler on a signal stack jumps back to where the thread was: whatever it
/// holds on the signal stack it leaves, too.
pub fn jumps(from: usize, target: usize) {
    let thread = thread::current();
    let count = thread.held_count.get();
    if count == 0 && thread.roles.get() == 0 && thread.call.get().is_null() {
        return;
    }
    let signal_stack = kernel::signal_stack();
    let leaves_it = signal_stack.contains(&from) && !signal_stack.contains(&target);
    let is_left = |frame: usize| {
        if leaves_it { frame < target || signal_stack.contains(&frame) } else { from < frame && frame < target }
    };
    if thread.roles.get() > 0 && is_left(thread.role_frame.get()) {
        thread.roles.set(0);
        descriptor::for_each_pinned(roles::inherit_both);
    }
    let held = held(thread);
    // From the innermost call outwards, up to the first that goes on.
    let mut kept = count;
    for (i, obligation) in held.iter().enumerate().rev() {
        match *obligation {
            Obligation::Frame(frame) if is_left(frame) => kept = i,
            Obligation::Frame(_) => break,
            _ => {}
        }
    }
    thread.held_count.set(kept);
    held.iter().skip(kept).rev().for_each(|obligation| obligation.settle_in_call());
    let mut at = thread.call.get();
    while !at.is_null() && is_left(at.addr()) {
        // SAFETY: on the stack of a call that has not returned, and is not overwritten before the jump.
        let left = unsafe { &*at };
        at = left.outer;
        left.endpoint.unpin();
    }
    thread.call.set(at);
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
    // What was on the stack is not there any more.
    thread.call.set(core::ptr::null());
    let base = thread.held.replace(core::ptr::null_mut());
    // What the destructors of the program do from now on is given back as it ends.
    thread.ending.set(true);
    for i in (0..thread.held_count.replace(0)).rev() {
        // SAFETY: written by `during` or `with_many`; their count says so, and is 0 without room.
        unsafe { base.add(i).read() }.settle();
    }
    if !base.is_null() {
        kernel::unmap(base.cast(), BYTES);
    }
    hub::forget();
}
