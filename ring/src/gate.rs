//! The gate before the kernel's own calls: who goes through while the endpoint is not managed yet, and how the endpoint
//! becomes managed without ever making a call wait.
//!
//! A thread that is about to read from (or write to) TCP without further care counts itself in and then looks whether
//! the gate is shut. Whoever wants to manage the direction shuts the gate and then looks whether the count is zero.
//! Either the thread sees the gate shut and takes the managed way, or the other sees the thread inside and waits with
//! the move. The count lives in memory that all holders of the endpoint share.

use crate::sync::{AtomicU32, Ordering, at, total_order};

/// All zero is an open gate with no one inside.
#[repr(C)]
pub struct Gate {
    inside: AtomicU32,
    shut: AtomicU32,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// An open gate.
    pub fn new() -> Self {
        Self { inside: AtomicU32::new(0), shut: AtomicU32::new(0) }
    }

    /// Goes in, unless the gate is shut. After `true`, [`Gate::leave`] is due.
    #[inline]
    pub fn enter(&self) -> bool {
        // SYNC POINT gate: count, then look (here) against shut, then look (in `shut`): of two SeqCst pairs at least
        // one side sees the other.
        self.inside.fetch_add(1, Ordering::SeqCst);
        total_order("gate/enter");
        if self.shut.load(at("gate/look", Ordering::SeqCst)) == 0 {
            return true;
        }
        self.leave();
        false
    }

    /// Whether others are inside, too. For one who is: of two that overlap, the later one to go in sees the earlier one.
    #[inline]
    pub fn is_crowded(&self) -> bool {
        // Relaxed: all is said by the one word, whose changes have one order.
        self.inside.load(Ordering::Relaxed) > 1
    }

    /// Goes in whether or not the gate is shut: for managed calls, whose caller holds the role lock so that nothing
    /// is decided meanwhile.
    #[inline]
    pub fn force(&self) {
        // Relaxed: the role lock orders this against the next decision.
        self.inside.fetch_add(1, Ordering::Relaxed);
    }

    /// Comes out.
    #[inline]
    pub fn leave(&self) {
        // Release: what the thread took from or gave to TCP comes before whoever sees the count at zero (`is_empty`).
        self.inside.fetch_sub(1, at("gate/leave", Ordering::Release));
    }

    /// Shuts the gate: from here on everyone takes the managed way, and once [`Gate::is_empty`] no one is inside.
    pub fn shut(&self) {
        // SYNC POINT gate: see `enter`.
        self.shut.store(1, Ordering::SeqCst);
        total_order("gate/shut");
    }

    /// Opens it again (the endpoint stays on TCP for good).
    pub fn open(&self) {
        // Release: what the managed way did comes before the calls that go through from now on.
        self.shut.store(0, at("gate/open", Ordering::Release));
    }

    /// Makes it as new, for memory that is used again.
    pub fn reset(&self) {
        // Relaxed: whoever gets the memory next gets it by a message or a lock.
        self.inside.store(0, Ordering::Relaxed);
        self.shut.store(0, Ordering::Relaxed);
    }

    /// Whether it is shut.
    #[inline]
    pub fn is_shut(&self) -> bool {
        // Acquire pairs with `open`.
        self.shut.load(Ordering::Acquire) != 0
    }

    /// Whether no one is inside.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // SYNC POINT gate: SeqCst for the pair in `shut`; its Acquire pairs with `leave`.
        self.inside.load(at("gate/is_empty", Ordering::SeqCst)) == 0
    }
}
