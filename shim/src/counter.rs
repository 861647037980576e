//! The count of those who use something and must not lose it meanwhile. It costs no locked instruction while the process
//! has one thread.

use crate::real;
use core::sync::atomic::{AtomicU32, Ordering};

/// Private to the process.
#[derive(Default)]
pub struct Counter(AtomicU32);

impl Counter {
    /// Starts a life: the owner's own count.
    pub fn start(&self) {
        self.0.store(1, Ordering::SeqCst);
    }

    /// Counts up, unless the life is over. Ordered before what follows.
    #[inline(always)]
    #[must_use]
    pub fn up(&self) -> bool {
        let mut count = self.0.load(Ordering::Relaxed);
        if real::single_threaded() {
            // Signal handlers of this one thread come in matched pairs.
            if count != 0 {
                self.0.store(count + 1, Ordering::Relaxed);
            }
            return count != 0;
        }
        while count != 0 {
            match self.0.compare_exchange_weak(count, count + 1, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }
        false
    }

    /// Counts down; whether the life is over with it.
    #[inline(always)]
    pub fn down(&self) -> bool {
        if real::single_threaded() {
            let left = self.0.load(Ordering::Relaxed).wrapping_sub(1);
            self.0.store(left, Ordering::Relaxed);
            left == 0
        } else {
            self.0.fetch_sub(1, Ordering::SeqCst) == 1
        }
    }

    /// The count.
    #[inline(always)]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}
