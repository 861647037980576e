//! Sleep and wake: no wakeup is ever lost, and no one is woken who did not say that he sleeps.
//!
//! A sleeper raises its epoch, then looks once more, then sleeps. A waker publishes, then reads the epoch; when it is
//! not the one it last served, it wakes. The two are ordered by SeqCst (SYNC POINT sleep), so either the sleeper sees
//! the publication or the waker sees the epoch. A wake wakes all sleepers of its sort; whoever sleeps again raises the
//! epoch first. Spurious wakes are allowed, and happen when a sleeper finds its data in its last look.

use crate::layout::Outbox;
use crate::sync::{AtomicU32, Ordering, fence};

/// What a thread sleeps for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Sleep {
    /// For data, on the futex word of the peer's publications.
    Data = 0,
    /// For space, on the futex word of the peer's consumptions.
    Space = 1,
    /// For data, in poll, select or epoll, with the doorbell.
    Poll = 2,
}

/// The system calls that a wake needs.
pub trait Waker {
    /// FUTEX_WAKE of every sleeper on a word (shared, not private).
    fn wake_all(&self, word: &AtomicU32);
    /// Rings the peer's doorbell.
    fn ring(&self);
}

/// Whom a publication must wake: nobody, most of the time. Made by the publishing operations, carried out by [`Wake::deliver`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a wake that is not delivered is a wakeup lost"]
pub struct Wake {
    /// The epoch to answer, per [`Sleep`].
    sleepers: [Option<u32>; 3],
}

impl Wake {
    /// Reads who of the peer's sleeps for one of `kinds`. To be called after the publication.
    #[inline]
    pub(crate) fn after_publishing(own: &Outbox, peer: &Outbox, kinds: &[Sleep]) -> Self {
        let mut wake = Self::default();
        for &kind in kinds {
            // SYNC POINT sleep: SeqCst, after the SeqCst publication; partner in `arm`.
            let epoch = peer.sleepers.epoch[kind as usize].load(Ordering::SeqCst);
            // Relaxed: an outdated value costs a spurious wake.
            if epoch != own.tx.served[kind as usize].load(Ordering::Relaxed) {
                wake.sleepers[kind as usize] = Some(epoch);
            }
        }
        wake
    }

    /// Whether nobody is to be woken.
    #[inline]
    pub fn is_none(&self) -> bool {
        self.sleepers == [None; 3]
    }

    /// Wakes, then notes which epochs were served. In this order: a waker that dies between leaves a spurious wake, not a lost one.
    pub(crate) fn deliver(self, own: &Outbox, waker: &impl Waker) {
        if let Some(epoch) = self.sleepers[Sleep::Data as usize] {
            // SYNC POINT futex: the word changes after the publication; a sleeper that read it before fails its wait.
            own.wakes.data.fetch_add(1, Ordering::Release);
            waker.wake_all(&own.wakes.data);
            own.tx.served[Sleep::Data as usize].store(epoch, Ordering::Relaxed);
        }
        if let Some(epoch) = self.sleepers[Sleep::Space as usize] {
            own.wakes.space.fetch_add(1, Ordering::Release);
            waker.wake_all(&own.wakes.space);
            own.tx.served[Sleep::Space as usize].store(epoch, Ordering::Relaxed);
        }
        if let Some(epoch) = self.sleepers[Sleep::Poll as usize] {
            waker.ring();
            own.tx.served[Sleep::Poll as usize].store(epoch, Ordering::Relaxed);
        }
    }
}

/// Announces a sleep. The caller looks once more after this and only then sleeps.
pub(crate) fn arm(own: &Outbox, kind: Sleep) {
    own.sleepers.epoch[kind as usize].fetch_add(1, Ordering::Relaxed);
    // SYNC POINT sleep: between our epoch and our last look; partner in `Wake::after_publishing`, whose SeqCst
    // publication and SeqCst read of the epoch are ordered by the same total order.
    fence(Ordering::SeqCst);
}
