//! What all holders of an endpoint share before it has an outbox: memory that fork does not copy.

use crate::kernel::Errno;
use crate::prefix::Direction;
use crate::slab::{Slab, Slot};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use slipstream_ring::gate::Gate;

/// See the module. All zero is a family of nobody.
#[repr(C)]
pub struct Family {
    /// Processes that (may) have a descriptor. Raised before fork, lowered by close, never by a kill.
    holders: AtomicU32,
    /// Threads of all holders inside a TCP read, or inside a wait for one.
    pub readers: Gate,
    /// Threads of all holders inside a TCP write.
    pub writers: Gate,
    /// Bytes that all holders have counted, by [`Direction`].
    passed: [AtomicU64; 2],
    /// 1 once two calls of one direction overlapped, so that the order of their bytes is unknown; by [`Direction`].
    mixed: [AtomicU32; 2],
    /// 1 once a holder has shut down the receiving side: TCP is looked at each time.
    pub shut: AtomicU32,
    /// SO_RCVLOWAT, at least 1: what a receive waits for.
    pub low_water: AtomicU32,
    /// An error of TCP's that was taken while the ring still had bytes; told after them, to whoever asks next.
    held_error: AtomicI32,
    next: AtomicPtr<Family>,
}

impl Slot for Family {
    fn next_free(&self) -> &AtomicPtr<Self> {
        &self.next
    }
}

static FAMILIES: Slab<Family> = Slab::new(true);

impl Family {
    /// A family with one holder.
    pub fn found() -> Option<&'static Self> {
        let family = FAMILIES.take()?;
        family.readers.reset();
        family.writers.reset();
        family.passed.iter().for_each(|passed| passed.store(0, Ordering::Relaxed));
        family.mixed.iter().for_each(|mixed| mixed.store(0, Ordering::Relaxed));
        family.shut.store(0, Ordering::Relaxed);
        family.low_water.store(1, Ordering::Relaxed);
        family.held_error.store(0, Ordering::Relaxed);
        family.holders.store(1, Ordering::Relaxed);
        Some(family)
    }

    /// The gate of a direction.
    #[inline]
    pub fn gate(&self, direction: Direction) -> &Gate {
        match direction {
            Direction::Tx => &self.writers,
            Direction::Rx => &self.readers,
        }
    }

    /// Goes through a direction's gate, unless it is shut.
    #[inline]
    pub fn enter(&self, direction: Direction) -> bool {
        let gate = self.gate(direction);
        let entered = gate.enter();
        if entered && gate.is_crowded() {
            self.mixed[direction as usize].store(1, Ordering::Relaxed);
        }
        entered
    }

    /// Counts bytes, still inside the gate. How many had passed before; `None`: their order is unknown.
    pub fn pass(&self, direction: Direction, bytes: u64) -> Option<u64> {
        // Relaxed: whoever comes next through the gate alone comes after this one's leaving it.
        let before = self.passed[direction as usize].fetch_add(bytes, Ordering::Relaxed);
        (self.mixed[direction as usize].load(Ordering::Relaxed) == 0).then_some(before)
    }

    /// Keeps an error for whoever asks next.
    pub fn hold_error(&self, errno: Errno) {
        self.held_error.store(errno.0, Ordering::Relaxed);
    }

    /// Takes the error that is to be told.
    pub fn take_error(&self) -> Option<Errno> {
        match self.held_error.load(Ordering::Relaxed) {
            0 => None,
            _ => Some(Errno(self.held_error.swap(0, Ordering::Relaxed))).filter(|errno| errno.0 != 0),
        }
    }

    /// One holder more: a child is about to be forked.
    pub fn raise(&self) {
        self.holders.fetch_add(1, Ordering::SeqCst);
    }

    /// One holder less: a process has closed its last descriptor. Whether it was the last holder.
    pub fn lower(&'static self) -> bool {
        let last = self.holders.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            FAMILIES.give(self);
        }
        last
    }

    /// How many processes may hold the endpoint.
    pub fn holders(&self) -> u32 {
        self.holders.load(Ordering::SeqCst)
    }
}

/// In a forked child.
pub fn after_fork() {
    FAMILIES.after_fork();
}
