//! A sender that outruns its reader: its ring fills, it goes back to TCP, its reader catches up, it switches, its ring
//! fills. Each round costs both sides system calls and the sender a wait, so where a stay in the ring was short the next
//! one is put off for longer and longer.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A stay of so many rings' length was worth its switch.
const WORTH: u64 = 16;
/// At the most 2 to the power of this many sends are left to TCP.
const MOST: u32 = 14;

/// See the module. All zero: it has not happened yet. Hints, of one process.
pub struct Bounce {
    /// Short stays in a row.
    level: AtomicU32,
    /// Sends that are still left to TCP.
    left: AtomicU32,
    /// The producer cursor at the last switch.
    since: AtomicU64,
}

impl Bounce {
    /// As new.
    pub fn reset(&self) {
        self.level.store(0, Ordering::Relaxed);
        self.left.store(0, Ordering::Relaxed);
    }

    /// Whether a send may switch, as far as it goes for this.
    pub fn may_switch(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
        }
        left == 0
    }

    /// The direction has switched.
    pub fn switched(&self, tail: u64) {
        self.since.store(tail, Ordering::Relaxed);
    }

    /// It goes back because a ring of `capacity` bytes stayed full.
    pub fn outran(&self, tail: u64, capacity: u32) {
        let stayed = tail.wrapping_sub(self.since.load(Ordering::Relaxed));
        let long = stayed >= WORTH * u64::from(capacity);
        let level = if long { 0 } else { (self.level.load(Ordering::Relaxed) + 1).min(MOST) };
        self.level.store(level, Ordering::Relaxed);
        self.left.store((1 << level) - 1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_stays_are_followed_by_longer_absences() {
        let bounce = Bounce { level: AtomicU32::new(0), left: AtomicU32::new(0), since: AtomicU64::new(0) };
        let absence = || (0..).take_while(|_| !bounce.may_switch()).count();
        assert_eq!(absence(), 0);
        for expected in [1, 3, 7] {
            bounce.switched(1000);
            bounce.outran(1000 + 4096, 4096);
            assert_eq!(absence(), expected);
        }
        bounce.switched(0);
        bounce.outran(WORTH * 4096, 4096);
        assert_eq!(absence(), 0);
    }
}
