//! What all holders of an endpoint share before it has an outbox: memory that fork does not copy.

use crate::slab::{Slab, Slot};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
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
        family.holders.store(1, Ordering::Relaxed);
        Some(family)
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
