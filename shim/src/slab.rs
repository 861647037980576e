//! Memory of the shim's own: pages from the kernel, never the program's heap. What a slab gave out once stays of its type
//! for ever, so a stale pointer finds at worst another value of the same type, which its user then recognises.

use crate::{kernel, roles};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use slipstream_ring::role::{Entry, RoleLock};

/// A lock for a few instructions, tried and never waited for long; reset in a forked child.
pub struct Spin(AtomicBool);

impl Spin {
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Tries once.
    #[inline]
    pub fn try_lock(&self) -> bool {
        // Acquire pairs with the Release in `unlock`.
        !self.0.swap(true, Ordering::Acquire)
    }

    #[inline]
    pub fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Runs `work` alone, if the lock can be had soon. `None`: another thread was not running while it held it, or the
    /// caller is a signal handler of the thread that does.
    pub fn soon<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        for turn in 0..200 {
            if self.try_lock() {
                let result = work();
                self.unlock();
                return Some(result);
            }
            if turn < 100 { core::hint::spin_loop() } else { kernel::yield_now() }
        }
        None
    }
}

/// What a slab needs of its values: a place for the free list's link, used only while the value is free.
pub trait Slot: Sized {
    fn next_free(&self) -> &AtomicPtr<Self>;
}

/// A growing set of zero-initialised values of one type.
pub struct Slab<T> {
    /// Waited for, unlike a [`Spin`]: whoever went away without a value would leave its connection unwatched.
    lock: RoleLock,
    free: AtomicPtr<T>,
    shared: bool,
    marker: PhantomData<T>,
}

/// Bytes taken from the kernel at a time, at least.
const CHUNK: usize = 64 * 1024;

impl<T: Slot> Slab<T> {
    /// `shared`: children after fork share the values (those made before), instead of getting copies.
    pub const fn new(shared: bool) -> Self {
        // SAFETY: a role lock is a word, and free when it is zero.
        let lock = unsafe { core::mem::zeroed() };
        Self { lock, free: AtomicPtr::new(core::ptr::null_mut()), shared, marker: PhantomData }
    }

    /// A value: zeroed memory the first time, later as its last user left it. `None` without memory, or in a signal handler
    /// of a thread that is in here: whoever asked does without.
    pub fn take(&self) -> Option<&'static T> {
        self.locked(|| {
            if self.free.load(Ordering::Relaxed).is_null() {
                self.grow()?;
            }
            let first = self.free.load(Ordering::Relaxed);
            // SAFETY: a value on the free list lies in a chunk that is never unmapped.
            let value = unsafe { &*first };
            self.free.store(value.next_free().load(Ordering::Relaxed), Ordering::Relaxed);
            Some(value)
        })?
    }

    /// Gives a value back; in such a handler it is lost.
    pub fn give(&self, value: &'static T) {
        self.locked(|| {
            value.next_free().store(self.free.load(Ordering::Relaxed), Ordering::Relaxed);
            self.free.store(core::ptr::from_ref(value).cast_mut(), Ordering::Relaxed);
        });
    }

    fn locked<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let entry = roles::enter(&self.lock);
        if entry == Entry::Reentered {
            return None;
        }
        let result = work();
        roles::leave(&self.lock, entry, || ());
        Some(result)
    }

    fn grow(&self) -> Option<()> {
        let len = CHUNK.max(size_of::<T>().next_multiple_of(4096));
        let chunk = kernel::map_anonymous(len, self.shared).ok()?.cast::<T>();
        for i in 0..len / size_of::<T>() {
            // SAFETY: zeroed memory of the chunk, aligned (pages); `T` is made of atomics and cells for which zero is valid.
            let value = unsafe { &*chunk.add(i) };
            value.next_free().store(self.free.load(Ordering::Relaxed), Ordering::Relaxed);
            self.free.store(core::ptr::from_ref(value).cast_mut(), Ordering::Relaxed);
        }
        Some(())
    }

    /// In a forked child: nobody holds the lock. A `shared` slab starts anew, because its free list is the parent's too.
    pub fn after_fork(&self) {
        self.lock.reset();
        if self.shared {
            self.free.store(core::ptr::null_mut(), Ordering::Relaxed);
        }
    }
}
