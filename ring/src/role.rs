//! The role lock: at most one thread at a time sends, and one receives, on an endpoint, over all its holders.
//!
//! The lock names its owner, so it survives the owner's death: whoever finds that the owner is gone takes it over. That
//! is sound because everything it protects changes by single atomic steps: a vanished owner leaves either the old state
//! or the new one.
//!
//! It may be entered again by its own thread: a signal handler that uses the socket its thread is inside. The handler
//! runs to its end before the outer call goes on, so there is no race, only an interleaving: a nested receiver moves
//! the cursor, which the outer one notices ([`crate::Raced`]); a nested sender appends behind what the outer one stages
//! and leaves a note ([`RoleLock::note`]), and the outer one publishes it before it unlocks.

use crate::sync::{AtomicU32, Ordering, Word, at, planted};

/// Set while someone sleeps on the lock word.
const WAITERS: u32 = 1 << 31;
/// Set by a nested entry that left work for the outer one.
const NOTE: u32 = 1 << 30;
const FLAGS: u32 = WAITERS | NOTE;

/// What [`RoleLock::try_lock`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Ours; [`RoleLock::unlock`] ends it.
    Locked,
    /// Ours already, by an outer call of this very thread; it will unlock. (Or by a dead thread that had the same id: a
    /// caller that knows of no outer call takes over from itself.)
    Reentered,
    /// Held by that thread.
    Held(u32),
}

/// What became of an [`RoleLock::unlock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Free.
    Unlocked,
    /// Free, and some sleep on [`RoleLock::futex`]: all of them must be woken, for the lock forgets them here.
    WakeWaiters,
    /// Still ours: a nested call left work to finish first.
    Noted,
}

/// Lives in shared memory; the word is the owner's thread id, 0 when free.
#[repr(transparent)]
pub struct RoleLock {
    word: AtomicU32,
}

impl RoleLock {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(0) }
    }

    /// Tries once. `me` is the caller's thread id, 0 < `me` < 2^30 (the kernel stops at 2^22).
    #[inline]
    pub fn try_lock(&self, me: u32) -> Entry {
        // SYNC POINT role: Acquire pairs with the Release in `unlock` (or with the death of the owner, which the
        // kernel's answer orders): what the previous owner did under the lock is visible.
        match self.word.compare_exchange(0, me, at("role/lock", Ordering::Acquire), Ordering::Relaxed) {
            Ok(_) => Entry::Locked,
            Err(word) if word & !FLAGS == me => Entry::Reentered,
            Err(word) => Entry::Held(word & !FLAGS),
        }
    }

    /// Who has it, for whoever knows that it is not free.
    #[inline]
    pub(crate) fn owner(&self) -> u32 {
        // Relaxed: the owner asks, and only flags change beside it.
        self.word.load(Ordering::Relaxed) & !FLAGS
    }

    /// Leaves a note for whoever gives the lock back: a nested call to its outer one, an heir to itself. Only as the owner.
    pub fn note(&self) {
        // Relaxed: read by the same thread.
        self.word.fetch_or(NOTE, Ordering::Relaxed);
    }

    /// Gives the lock back, unless a nested call left a note.
    #[inline]
    #[must_use]
    pub fn unlock(&self) -> Exit {
        let mut word = self.word.guess();
        while word & NOTE == 0 {
            // SYNC POINT role: Release pairs with the Acquire in `try_lock` and `take_over`.
            match self.word.compare_exchange(word, 0, at("role/unlock", Ordering::Release), Ordering::Relaxed) {
                Ok(_) => return if word & WAITERS == 0 { Exit::Unlocked } else { Exit::WakeWaiters },
                Err(now) => word = now,
            }
        }
        self.word.fetch_and(!NOTE, Ordering::Relaxed);
        Exit::Noted
    }

    /// Announces a sleep until the lock changes hands. The value to give the futex wait, or `None` when it is free now.
    pub fn announce_sleep(&self) -> Option<u32> {
        let mut word = self.word.guess();
        while word != 0 {
            // Relaxed: the futex wait compares the word itself; nothing else is read on the strength of it.
            match self.word.compare_exchange(word, word | WAITERS, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(word | WAITERS),
                Err(now) => word = now,
            }
        }
        None
    }

    /// Takes the lock from `owner`, which the caller knows to be dead. `false`: look again, it may have changed hands.
    ///
    /// The heir first repeats the last publication of its role (for a sender [`publish`](crate::Producer::publish), for a
    /// receiver [`consume`](crate::Consumer::consume) of nothing) and delivers the wake: the dead may have left someone
    /// asleep. The heir of a sender in the ring also looks at [`must_go_back`](crate::Producer::must_go_back) before it
    /// claims: the dead may have switched too late.
    pub fn take_over(&self, owner: u32, me: u32) -> bool {
        let word = self.word.guess();
        // The waiters' bit stays: the new owner wakes them when it unlocks. A note dies with its thread. Acquire as in `try_lock`.
        let waiters = if planted("take_over: keeps the waiters") { 0 } else { word & WAITERS };
        word & !FLAGS == owner
            && self.word.compare_exchange(word, me | waiters, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Makes it free, in a forked child's copy of private memory: whoever held it is not there.
    pub fn reset(&self) {
        self.word.store(0, Ordering::Relaxed);
    }

    /// The word to sleep on.
    pub fn futex(&self) -> &AtomicU32 {
        &self.word
    }
}
