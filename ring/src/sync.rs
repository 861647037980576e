//! The atomics façade: `core`'s in production, loom's in the models (`--cfg loom`).

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Stands between a SeqCst write and a SeqCst load of another word where the argument uses their single total order.
///
/// The language gives that order for the accesses themselves, and on x86-64 it costs nothing beyond the locked
/// instruction that the write already is. Loom treats SeqCst *accesses* as AcqRel and only *fences* as SeqCst, so the
/// models need one here.
#[inline(always)]
pub fn total_order() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}
