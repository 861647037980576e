//! A count that costs no locked instruction while the process has one thread.

use crate::real;
use core::sync::atomic::{AtomicU32, Ordering};

/// Private to the process.
#[derive(Default)]
pub struct Counter(AtomicU32);

impl Counter {
    /// Counts up. Ordered before what follows.
    #[inline(always)]
    pub fn up(&self) {
        if real::single_threaded() {
            // Signal handlers of this one thread come in matched pairs.
            self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        } else {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Counts down; whether zero was reached.
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

    /// Forgets (after fork: the other threads are not there).
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
