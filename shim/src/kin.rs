//! Processes that fork made of one another: which of them still live in the image that forked, as the kernel tells it.
//!
//! Each has a number, never used twice, and keeps the byte of that number locked in a file that all of them have. The lock
//! (POSIX's, which belongs to one process and is not inherited) goes with the process, whatever ends it, and with the
//! descriptor, which exec closes. It means the same in every PID namespace. It stands before the number is told to anyone,
//! so a number without a lock is that of one who is gone.

use crate::endpoint::Endpoint;
use crate::slab::Spin;
use crate::{broker, descriptor, kernel};
use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// What all of them share.
#[repr(C)]
struct Shared {
    /// The last number that was given out.
    last: AtomicU32,
    /// The last tag of a PID namespace, see [`tagged`].
    namespaces: AtomicU32,
}

/// The file, or -1.
static FILE: AtomicI32 = AtomicI32::new(-1);
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(core::ptr::null_mut());
/// This process' number, 0: none yet.
static NUMBER: AtomicU32 = AtomicU32::new(0);
/// Held while one is taken.
static LOCK: Spin = Spin::new();
/// The PID namespace of this process, as the kernel names it, 0: unknown. Valid with a number.
static NAMESPACE: AtomicU64 = AtomicU64::new(0);
/// Its tag, in place.
static TAG: AtomicU32 = AtomicU32::new(0);

/// The kernel's thread ids stop at 2^22.
const TID_BITS: u32 = 22;
/// What is left of a role lock's word takes tags up to here. This one is that of all namespaces from there on.
const LAST_TAG: u32 = 255;

/// This process' number, taken now if need be. `None`: it cannot have one.
pub fn number() -> Option<u32> {
    match known_number() {
        0 => LOCK.soon(take).flatten(),
        number => Some(number),
    }
}

/// The same if it has one, else 0.
pub fn known_number() -> u32 {
    NUMBER.load(Ordering::Acquire)
}

fn take() -> Option<u32> {
    if known_number() != 0 {
        return Some(known_number());
    }
    if broker::is_silent() {
        return None;
    }
    let file = file()?;
    // SAFETY: set by `file`, to a page that is never unmapped.
    let shared = unsafe { &*SHARED.load(Ordering::Relaxed) };
    let next = |last: u32| last.checked_add(1);
    let number = shared.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()? + 1;
    kernel::lock_byte(file, number).ok()?;
    NAMESPACE.store(kernel::pid_namespace().unwrap_or(0), Ordering::Relaxed);
    NUMBER.store(number, Ordering::Release);
    Some(number)
}

fn file() -> Option<c_int> {
    let known = FILE.load(Ordering::Relaxed);
    if known >= 0 {
        // The program may have taken its number.
        return descriptor::is_own(known).then_some(known);
    }
    if SHARED.load(Ordering::Relaxed).is_null() {
        SHARED.store(kernel::map_anonymous(4096, true).ok()?.cast(), Ordering::Relaxed);
    }
    let file = descriptor::raise(kernel::memory_file(c"slipstream-kin").ok()?).ok()?;
    FILE.store(file, Ordering::Relaxed);
    Some(file)
}

/// A descriptor of the shim's own is about to get another number: whether it is the one here. The kernel takes the lock away
/// with the old one, so this process has no number any more.
pub fn relocate(from: c_int, to: c_int) -> bool {
    if FILE.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return false;
    }
    // Those that are listed under it while others are not: this process takes its own number for that of one who lives.
    descriptor::for_each_pinned(Endpoint::unlist);
    NUMBER.store(0, Ordering::Relaxed);
    descriptor::for_each_pinned(Endpoint::unlist);
    true
}

/// In a forked child, before anything else: the number is the parent's. Whether that had one, so that this process can
/// have one that means the same to both.
pub fn after_fork(parent: u32) -> bool {
    LOCK.unlock();
    let comparable = NUMBER.swap(0, Ordering::Relaxed) != 0;
    let shared = SHARED.load(Ordering::Relaxed);
    if shared.is_null() || broker::is_silent() {
        return comparable;
    }
    let same = match (kernel::pid_namespace(), NAMESPACE.load(Ordering::Relaxed)) {
        (Some(ours), theirs) if theirs != 0 => ours == theirs,
        // Without /proc: the parent, while it lives, has the number here that it had for itself.
        _ => kernel::getppid() == parent,
    };
    if !same {
        // SAFETY: a page that is never unmapped.
        let namespaces = unsafe { &(*shared).namespaces };
        let next = |last: u32| (last < LAST_TAG).then_some(last + 1);
        let tag = namespaces.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_or(LAST_TAG, |last| last + 1);
        TAG.store(tag << TID_BITS, Ordering::Relaxed);
    }
    comparable
}

/// What a thread is called in words that all of them share: its id, and a tag for the PID namespace.
pub fn tagged(tid: u32) -> u32 {
    tid | TAG.load(Ordering::Relaxed)
}

/// Whether the thread of that name is no more. `false` for one of another PID namespace: ids mean nothing there.
pub fn is_gone(thread: u32) -> bool {
    let tid = thread & ((1 << TID_BITS) - 1);
    let is_ours = tagged(tid) == thread && thread >> TID_BITS != LAST_TAG;
    is_ours && kernel::is_gone(tid)
}

/// Answers about kin, each asked for once.
pub struct Census {
    known: [(u32, bool); 16],
    count: usize,
}

impl Census {
    pub const fn new() -> Self {
        Self { known: [(0, false); 16], count: 0 }
    }

    /// Whether a process lives, and has not executed another image.
    pub fn lives(&mut self, number: u32) -> bool {
        if number == known_number() {
            return true;
        }
        if let Some((_, lives)) = self.known.iter().find(|(known, _)| *known == number) {
            return *lives;
        }
        let file = FILE.load(Ordering::Relaxed);
        // Where there is no telling, it does.
        let lives = !descriptor::is_own(file) || broker::is_silent() || kernel::is_byte_locked(file, number);
        if let Some(place) = self.known.get_mut(self.count % 16) {
            *place = (number, lives);
            self.count += 1;
        }
        lives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_of_another_namespace_is_not_taken_for_gone() {
        // Above the kernel's limit: nobody has it.
        let nobody = (1 << TID_BITS) - 1;
        assert!(is_gone(nobody));
        assert!(!is_gone(kernel::gettid()));
        assert!(!is_gone(nobody | 7 << TID_BITS));
        TAG.store(7 << TID_BITS, Ordering::Relaxed);
        assert!(is_gone(tagged(nobody)));
        assert!(!is_gone(nobody));
        TAG.store(LAST_TAG << TID_BITS, Ordering::Relaxed);
        assert!(!is_gone(tagged(nobody)), "of whichever namespace came last");
        TAG.store(0, Ordering::Relaxed);
    }
}
