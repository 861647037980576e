//! The atomics façade: `core`'s in production, loom's in the models (`--cfg loom`).
//!
//! Each end of a sync point has a name, `point/end`, by which a model takes it away ([`modelled`]) to see that it is then
//! missed. In production the names cost nothing.

#[cfg(loom)]
#[allow(unsafe_code)] // loom's unsynchronised loads
pub mod modelled;

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
pub use modelled::{AtomicU32, AtomicU64, Boundary, Ordering};

/// A word that its one writer changes only while no one who follows the protocol may read it. The models check that.
#[cfg(not(loom))]
pub type Boundary = AtomicU64;

/// Two ways to read a word that need no order. The models do them in their own way.
pub(crate) trait Word {
    /// What it holds.
    type Value;
    /// Reads a word that only the holder of a role writes, as that holder. The models check that nobody else can have
    /// written it meanwhile.
    fn own(&self) -> Self::Value;
    /// Guesses what it holds: a compare-exchange will tell, or an outdated value does no harm.
    fn guess(&self) -> Self::Value;
}

#[cfg(not(loom))]
impl Word for AtomicU32 {
    type Value = u32;

    #[inline(always)]
    fn own(&self) -> u32 {
        // Relaxed: the lock orders everything that was ever written to it.
        self.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn guess(&self) -> u32 {
        self.load(Ordering::Relaxed)
    }
}

#[cfg(not(loom))]
impl Word for AtomicU64 {
    type Value = u64;

    #[inline(always)]
    fn own(&self) -> u64 {
        // Relaxed: as above.
        self.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn guess(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }
}

/// The time, in ticks of a counter that all CPUs of a machine share, or nearly: enough to put in order what one thread, or
/// one after the other, did. 0 where there is none.
#[inline(always)]
#[allow(unsafe_code)] // an instruction
pub(crate) fn ticks() -> u64 {
    #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
    // SAFETY: every x86-64 CPU has it; a process that has forbidden it to itself (PR_SET_TSC) could not use the vDSO's clock,
    // either.
    return unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(all(target_arch = "x86_64", not(any(miri, loom)))))]
    0
}

/// Whether a model has taken `name` away.
#[inline(always)]
pub(crate) fn planted(name: &'static str) -> bool {
    #[cfg(loom)]
    return modelled::planted(name);
    #[cfg(not(loom))]
    {
        let _ = name;
        false
    }
}

/// The ordering of one end of a sync point.
#[inline(always)]
pub(crate) fn at(end: &'static str, ordering: Ordering) -> Ordering {
    if planted(end) { Ordering::Relaxed } else { ordering }
}

/// A SeqCst fence.
#[inline(always)]
pub(crate) fn fence(end: &'static str) {
    if planted(end) {
        return;
    }
    #[cfg(not(loom))]
    core::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// Stands between a SeqCst write and a SeqCst load of another word where the argument uses their single total order.
///
/// The language gives that order for the accesses themselves, and on x86-64 it costs nothing beyond the locked
/// instruction that the write already is. Loom treats SeqCst *accesses* as AcqRel and only *fences* as SeqCst, so the
/// models need one here.
#[inline(always)]
pub(crate) fn total_order(end: &'static str) {
    if cfg!(loom) {
        fence(end);
    }
}
