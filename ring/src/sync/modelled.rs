//! Loom's atomics, with what the models need beyond them: planted bugs, and interruptions between any two accesses.
//!
//! Loom runs all threads of a model on one thread of the system, so plain thread-locals are per model.

use super::Word;
use core::cell::{Cell, RefCell};
use loom::cell::UnsafeCell;
use loom::sync::atomic;
pub use loom::sync::atomic::Ordering;
use loom::thread::{self, ThreadId};
use std::boxed::Box;

std::thread_local! {
    static PLANTED: Cell<&'static str> = const { Cell::new("") };
    static REACHED: Cell<bool> = const { Cell::new(false) };
    static INTERRUPTION: RefCell<Option<Interruption>> = const { RefCell::new(None) };
    static BLOCKED: Cell<bool> = const { Cell::new(false) };
}

/// Takes the named ends of sync points (or named steps of an argument) away, ` + ` between two; `""` gives all back.
pub fn plant(names: &'static str) {
    PLANTED.set(names);
    REACHED.set(false);
    BLOCKED.set(false);
    INTERRUPTION.set(None);
}

/// Whether the planted name has come up at all.
pub fn reached() -> bool {
    REACHED.get()
}

/// Whether `name` was planted. Models have names of their own, too.
pub fn planted(name: &'static str) -> bool {
    let hit = PLANTED.get().split(" + ").any(|planted| planted == name);
    if hit {
        REACHED.set(true);
    }
    hit
}

struct Interruption {
    thread: ThreadId,
    accesses_left: usize,
    handler: Box<dyn FnOnce()>,
}

/// Runs `handler` in this thread, as a signal handler, before its `accesses + 1`-th access to shared memory from now on.
pub fn interrupt_after(accesses: usize, handler: impl FnOnce() + 'static) {
    let interruption =
        Interruption { thread: thread::current().id(), accesses_left: accesses, handler: Box::new(handler) };
    INTERRUPTION.set(Some(interruption));
}

/// Calls an interruption off that has not come yet; whether there was one.
pub fn call_off() -> bool {
    INTERRUPTION.take().is_some()
}

/// Runs `body` with signals blocked: an interruption that falls into it comes before the next access after it.
pub fn with_signals_blocked<R>(body: impl FnOnce() -> R) -> R {
    BLOCKED.set(true);
    let result = body();
    BLOCKED.set(false);
    result
}

/// Before each access.
pub(crate) fn access() {
    let due = INTERRUPTION.with_borrow_mut(|pending| {
        let interruption = pending.as_mut()?;
        if interruption.thread != thread::current().id() {
            return None;
        }
        if interruption.accesses_left > 0 {
            interruption.accesses_left -= 1;
            return None;
        }
        if BLOCKED.get() { None } else { pending.take() }
    });
    if let Some(interruption) = due {
        (interruption.handler)();
    }
}

macro_rules! atomic {
    ($name:ident, $word:ty) => {
        /// As in `core`.
        #[derive(Debug)]
        pub struct $name(atomic::$name);

        #[allow(missing_docs)] // as in `core`
        impl $name {
            pub fn new(value: $word) -> Self {
                Self(atomic::$name::new(value))
            }

            /// A load by the kernel, which no handler interrupts.
            pub fn load_in_kernel(&self) -> $word {
                self.0.load(Ordering::Relaxed)
            }

            pub fn load(&self, ordering: Ordering) -> $word {
                access();
                self.0.load(ordering)
            }

            pub fn store(&self, value: $word, ordering: Ordering) {
                access();
                self.0.store(value, ordering);
            }

            pub fn swap(&self, value: $word, ordering: Ordering) -> $word {
                access();
                self.0.swap(value, ordering)
            }

            pub fn compare_exchange(
                &self,
                current: $word,
                new: $word,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$word, $word> {
                access();
                self.0.compare_exchange(current, new, success, failure)
            }

            pub fn fetch_add(&self, value: $word, ordering: Ordering) -> $word {
                access();
                self.0.fetch_add(value, ordering)
            }

            pub fn fetch_sub(&self, value: $word, ordering: Ordering) -> $word {
                access();
                self.0.fetch_sub(value, ordering)
            }

            pub fn fetch_or(&self, value: $word, ordering: Ordering) -> $word {
                access();
                self.0.fetch_or(value, ordering)
            }

            pub fn fetch_and(&self, value: $word, ordering: Ordering) -> $word {
                access();
                self.0.fetch_and(value, ordering)
            }

            pub fn fetch_max(&self, value: $word, ordering: Ordering) -> $word {
                access();
                self.0.fetch_max(value, ordering)
            }
        }

        // After a load, loom forgets which *other* threads' loads the next store of the same thread must be tried before.
        // So neither of these is a load to it.
        impl Word for $name {
            type Value = $word;

            fn own(&self) -> $word {
                access();
                // SAFETY: nothing is referred to; loom checks that no store is concurrent.
                unsafe { self.0.unsync_load() }
            }

            fn guess(&self) -> $word {
                access();
                self.0.fetch_or(0, Ordering::Relaxed)
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);

/// A word with a witness: loom finds every write to it that no order keeps apart from a read.
#[derive(Debug)]
pub struct Boundary {
    word: AtomicU64,
    witness: UnsafeCell<()>,
}

#[allow(missing_docs)] // as in `core`
impl Boundary {
    pub fn new(value: u64) -> Self {
        Self { word: AtomicU64::new(value), witness: UnsafeCell::new(()) }
    }

    pub fn load(&self, ordering: Ordering) -> u64 {
        self.witness.with(|_| ());
        self.word.load(ordering)
    }

    pub fn store(&self, value: u64, ordering: Ordering) {
        self.witness.with_mut(|_| ());
        self.word.store(value, ordering);
    }
}
