//! Budgets and rates: what one client, and one user, may take. Pure.
//!
//! A budget that is used up is a No-opt with [`Reason::Budget`](crate::protocol::Reason::Budget) for the endpoint that
//! asked; a rate that is exceeded makes the client wait (its messages stay in its own socket), and nobody else.

use crate::matching::Rules;
use std::time::{Duration, Instant};

/// The least and the most bytes of one ring, and what it has unless a client asks.
pub const RING: RingSizes = RingSizes { least: 4 << 10, usual: 256 << 10, most: 1 << 20 };

/// See [`RING`].
#[derive(Clone, Copy, Debug)]
pub struct RingSizes {
    /// Bytes; a power of two.
    pub least: u32,
    /// Bytes; a power of two.
    pub usual: u32,
    /// Bytes; a power of two.
    pub most: u32,
}

impl RingSizes {
    /// The capacity in bytes for two clients that ask for so many KiB (0: no wish): the larger of what they ask for,
    /// rounded up to a power of two, within bounds.
    pub fn capacity(self, a_kib: u32, b_kib: u32) -> u32 {
        match a_kib.max(b_kib) {
            0 => self.usual,
            kib => kib.saturating_mul(1024).min(self.most).next_power_of_two().clamp(self.least, self.most),
        }
    }
}

/// What may be taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Which endpoints may be paired at all.
    pub rules: Rules,
    /// Connected processes of one user.
    pub clients_per_user: usize,
    /// Endpoints that one client may have in the books.
    pub endpoints_per_client: usize,
    /// Endpoints that one user may have in the books.
    pub endpoints_per_user: usize,
    /// Refused endpoints that are remembered (for the status) per client; the oldest go first.
    pub refused_per_client: usize,
    /// Pairs that one user may take part in, counted once per side (each costs the broker a doorbell and a mapping).
    pub sides_per_user: usize,
    /// Bytes of outboxes of one user.
    pub memory_per_user: u64,
    /// Packets with descriptors that one user's clients may leave unanswered.
    pub unanswered_per_user: usize,
    /// Small packets that wait for a client to read.
    pub notices_per_client: usize,
    /// Messages per second of one user, and how many may come at once.
    pub messages: Rate,
    /// How many messages of one client are handled before the next one's turn.
    pub turn: usize,
}

impl Limits {
    /// Limits for a machine of `memory` bytes on which this process may have `descriptors` open files and `mappings`
    /// mappings. `shared`: other users than the broker's own are served.
    pub fn for_machine(descriptors: u64, mappings: u64, memory: u64, shared: bool) -> Self {
        // A side holds a doorbell and a mapping for good, and up to four more descriptors while it is made. One of many
        // users gets an eighth of everything, a single one about half.
        let share = if shared { 8 } else { 2 };
        let sides = (descriptors / 2).min(mappings) / share;
        Self {
            rules: Rules::default(),
            // Three descriptors per client.
            clients_per_user: ((descriptors / 4 / share) as usize).clamp(16, 1 << 16),
            endpoints_per_client: 1 << 16,
            endpoints_per_user: 1 << 17,
            refused_per_client: 1 << 10,
            sides_per_user: (sides as usize).clamp(16, 1 << 17),
            memory_per_user: memory / share,
            unanswered_per_user: 256,
            notices_per_client: 1 << 12,
            messages: Rate { per_second: 50_000, burst: 50_000 },
            turn: 32,
        }
    }
}

/// So many per second.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// What flows in.
    pub per_second: u32,
    /// What may be saved up.
    pub burst: u32,
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: Rate,
    /// Billionths of a token, so that no time is lost to rounding.
    level: u64,
    filled: Instant,
}

/// One token.
const TOKEN: u64 = 1_000_000_000;

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, level: u64::from(rate.burst) * TOKEN, filled: now }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        let flow = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX).saturating_mul(u64::from(self.rate.per_second));
        self.level = self.level.saturating_add(flow).min(u64::from(self.rate.burst) * TOKEN);
        self.filled = self.filled.max(now);
    }

    /// Takes `tokens`, or what is left of them when there is at least one; `Err` tells how long until there is one.
    pub fn take(&mut self, tokens: u32, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.level < TOKEN {
            let missing = TOKEN - self.level;
            return Err(Duration::from_nanos(missing.div_ceil(u64::from(self.rate.per_second.max(1)))));
        }
        self.level = self.level.saturating_sub(u64::from(tokens) * TOKEN);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ring_sizes_follow_the_larger_wish() {
        assert_eq!(RING.capacity(0, 0), 256 << 10);
        assert_eq!(RING.capacity(0, 16), 16 << 10);
        assert_eq!(RING.capacity(100, 16), 128 << 10);
        assert_eq!(RING.capacity(1, 1), 4 << 10);
        assert_eq!(RING.capacity(u32::MAX, 0), 1 << 20);
    }

    #[test]
    fn a_bucket_lets_through_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Rate { per_second: 10, burst: 3 }, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(1, start), Ok(()));
        }
        assert_eq!(bucket.take(1, start), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(1, start + Duration::from_millis(99)), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(1, start + Duration::from_millis(100)), Ok(()));
        assert!(bucket.take(1, start + Duration::from_millis(100)).is_err());
        // A day later there is no more than the burst.
        let later = start + Duration::from_secs(86_400);
        assert_eq!((0..10).filter(|_| bucket.take(1, later).is_ok()).count(), 3);
    }

    proptest! {
        #[test]
        fn whoever_waits_as_told_gets_one(per_second in 1u32..1_000_000, burst in 1u32..100, cost in 1u32..50) {
            let mut now = Instant::now();
            let mut bucket = Bucket::new(Rate { per_second, burst }, now);
            for _ in 0..200 {
                if let Err(wait) = bucket.take(cost, now) {
                    now += wait;
                    prop_assert_eq!(bucket.take(cost, now), Ok(()));
                }
            }
        }

        #[test]
        fn capacities_are_powers_of_two_within_bounds(a: u32, b: u32) {
            let capacity = RING.capacity(a, b);
            prop_assert!(capacity.is_power_of_two() && (RING.least..=RING.most).contains(&capacity));
        }
    }
}
