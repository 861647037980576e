//! Sleep and wake: no wakeup is ever lost, and no one is woken who did not say that he sleeps.
//!
//! A sleeper raises its epoch, then looks once more, then sleeps. A waker publishes, then reads the epoch; when it is
//! not the one it last served, it wakes. The two are ordered by SeqCst (SYNC POINT sleep), so either the sleeper sees
//! the publication or the waker sees the epoch. A wake wakes all sleepers of its sort; whoever sleeps again raises the
//! epoch first. An odd epoch says that someone sleeps; a sleeper that was woken by something else may make it even. Spurious wakes are allowed, and happen when a sleeper finds its data in its last look.

use crate::layout::Outbox;
use crate::sync::{AtomicU32, Ordering, Word, fence, planted};

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

const KINDS: [Sleep; 3] = [Sleep::Data, Sleep::Space, Sleep::Poll];

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
            // SYNC POINT sleep: SeqCst, after the SeqCst publication; partner in `arm`, also for its Release.
            let epoch = peer.sleepers.epoch[kind as usize].load(Ordering::SeqCst);
            // An outdated value costs a spurious wake.
            if epoch & 1 == 1 && epoch != own.tx.served[kind as usize].guess() {
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

    /// Whether only those that wait for space are to be woken, as by a reader.
    pub(crate) fn is_for_writers(&self) -> bool {
        matches!(self.sleepers, [None, Some(_), None])
    }

    /// Wakes, then notes which epochs were served. In this order: a waker that dies between leaves a spurious wake, not a lost one.
    pub(crate) fn deliver(self, own: &Outbox, waker: &impl Waker) {
        for (kind, epoch) in self.sleepers.into_iter().enumerate() {
            let Some(epoch) = epoch else { continue };
            let note_served = || own.tx.served[kind].store(epoch, Ordering::Relaxed);
            if planted("deliver: served last") {
                note_served();
            }
            // A sleeper of this epoch that read the word before fails its wait; one that reads the new value has raised
            // the epoch after our look, so its own look shows it the publication.
            let wake = |word: &AtomicU32| {
                word.fetch_add(1, Ordering::Release);
                waker.wake_all(word);
            };
            match KINDS[kind] {
                Sleep::Data => wake(&own.wakes.data),
                Sleep::Space => wake(&own.wakes.space),
                Sleep::Poll => waker.ring(),
            }
            note_served();
        }
    }
}

/// A sleep that was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Armed {
    epoch: u32,
    /// No earlier sleeper of this sort may still be asleep unwoken.
    alone: bool,
}

/// Takes an announcement back after a sleep that something else has ended, so that the peer need not ring for nothing. Left
/// alone when others may sleep on the strength of the same word.
pub(crate) fn disarm(own: &Outbox, kind: Sleep, armed: Armed) {
    if armed.alone || planted("disarm: only when alone") {
        // Relaxed: whoever still reads the odd epoch makes a spurious wake. Another sleeper has raised it further, and
        // the exchange fails.
        let word = &own.sleepers.epoch[kind as usize];
        let from = if planted("disarm: only its own epoch") { word.guess() } else { armed.epoch };
        let _ = word.compare_exchange(from, from.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Announces a sleep. The caller looks once more after this and only then sleeps.
pub(crate) fn arm(own: &Outbox, peer: &Outbox, kind: Sleep) -> Armed {
    // Release: the caller has read the futex word, or emptied its hub, before this, and pairs with the waker's read of the
    // epoch: a word changed for this epoch is not the one that was read. (Loom cannot show it: it runs no load late.)
    let word = &own.sleepers.epoch[kind as usize];
    let mut before = word.guess();
    // To the next odd number: an even epoch says that nobody sleeps.
    let next = |epoch: u32| epoch.wrapping_add(1 + (epoch & 1));
    while let Err(now) = word.compare_exchange(before, next(before), Ordering::Release, Ordering::Relaxed) {
        before = now;
    }
    // SYNC POINT sleep: between our epoch and our last look; partner in `Wake::after_publishing`, whose SeqCst
    // publication and SeqCst read of the epoch are ordered by the same total order.
    fence("sleep/arm");
    // What the peer says it served: a lie costs only wakeups of this side's own.
    let alone = before & 1 == 0 || peer.tx.served[kind as usize].load(Ordering::Relaxed) == before;
    Armed { epoch: next(before), alone }
}
