//! What the machine itself asks for a round trip: no carrier over shared memory is quicker.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::host::{Cores, pin};

/// 64 bytes and the cursor that announces them, on lines of their own.
#[repr(align(128))]
#[derive(Default)]
struct Line([AtomicU64; 8]);

/// One direction.
#[derive(Default)]
struct Way {
    data: Line,
    cursor: Line,
}

impl Way {
    fn send(&self, trip: u64) {
        self.data.0.iter().for_each(|word| word.store(trip, Ordering::Relaxed));
        // Release: pairs with the Acquire in `receive`.
        self.cursor.0[0].store(trip, Ordering::Release);
    }

    fn receive(&self, trip: u64) {
        while self.cursor.0[0].load(Ordering::Acquire) != trip {
            // So that both lines come at once, not one after the other.
            black_box(self.data.0[0].load(Ordering::Relaxed));
            spin_loop();
        }
        assert!(self.data.0.iter().all(|word| word.load(Ordering::Relaxed) == trip));
    }
}

/// A round trip of 64 bytes between two spinning threads, in ns; `None` where there are not two processors. Where pinning is
/// refused the figure is what it is.
pub fn round_trip_ns(cores: Cores) -> Option<f64> {
    const TRIPS: u64 = 200_000;
    if !cores.are_two() {
        return None;
    }
    let ways = [Way::default(), Way::default()];
    let [there, back] = &ways;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = pin(cores.server);
            (1..=TRIPS).for_each(|trip| {
                there.receive(trip);
                back.send(trip);
            });
        });
        let client = scope.spawn(|| {
            let _ = pin(cores.client);
            let begun = Instant::now();
            (1..=TRIPS).for_each(|trip| {
                there.send(trip);
                back.receive(trip);
            });
            begun.elapsed().as_nanos() as f64 / TRIPS as f64
        });
        client.join().ok()
    })
}
