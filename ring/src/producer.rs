//! The sending role. One thread at a time, under [`Link::tx_lock`]; its own thread's signal handlers may interleave whole calls.
//!
//! Claim, copy, publish: three steps, so that vectored writes are one publication, and so that a signal handler that
//! sends while its thread is copying neither overwrites the copy nor is overwritten.

use crate::carrier::{Carrier, Ready};
use crate::layout::COPIED;
use crate::role::Entry;
use crate::sync::{Ordering, Word, at, planted, total_order};
use crate::wait::{Sleep, Wake};
use crate::{Broken, Link};

/// See the module.
#[derive(Clone, Copy)]
pub struct Producer<'a>(pub(crate) &'a Link);

impl<'a> Producer<'a> {
    /// The producer cursor: bytes ever published. Without the lock a snapshot.
    #[inline]
    pub fn tail(&self) -> u64 {
        // Relaxed: own word.
        self.0.own().producer.tail.load(Ordering::Relaxed)
    }

    /// The carrier of the next byte. Without the lock a snapshot.
    #[inline]
    pub fn carrier(&self) -> Carrier {
        // Relaxed: own word.
        Carrier::of(self.0.own().state.turn.load(Ordering::Relaxed))
    }

    /// Claims up to `want` bytes of the ring to copy into. The cached cursor answers when it can; a claim shorter than
    /// `want` means that the ring has no more. What was claimed is filled and published before the lock is given back.
    ///
    /// The claim of a nested call (a signal handler's) lies behind the outer one's; it leaves a [note](crate::role::RoleLock::note) and
    /// the outer call publishes both.
    #[inline]
    pub fn claim(&self, want: u32, entry: Entry) -> Result<Claim<'a>, Broken> {
        debug_assert!(!matches!(entry, Entry::Held(_)), "only the owner claims");
        let (own, capacity) = (self.0.own(), self.0.capacity());
        let owner = own.tx.lock.owner();
        loop {
            let staged = own.tx.staged.own();
            let start = self.staged_end(staged, owner);
            let mut used = start.wrapping_sub(own.tx.peer_head.own());
            if used > u64::from(capacity) || capacity - (used as u32) < want {
                // SYNC POINT space: Acquire pairs with the publication in `Consumer::consume`: the bytes there have been
                // copied out before we overwrite them.
                let head = self.0.peer().consumer.head.load(at("space/claim", Ordering::Acquire));
                used = start.wrapping_sub(head);
                // Untrusted: a consumer is never ahead of the producer, nor further behind than the ring is long.
                if used > u64::from(capacity) {
                    return Err(Broken);
                }
                own.tx.peer_head.store(head, Ordering::Relaxed);
            }
            let len = want.min(capacity - used as u32);
            let end = stage(owner, start + u64::from(len));
            // A compare-exchange, because a signal handler of this thread may have claimed. Relaxed: it is this thread.
            if own.tx.staged.compare_exchange(staged, end, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(Claim { link: self.0, start, len });
            }
        }
    }

    /// Up to where `owner` has claimed: what another one had claimed and not published when it died is void. The cursor's
    /// own line, which the peer has in its cache, is not read for it as long as the owner stays the same.
    #[inline]
    fn staged_end(&self, staged: u64, owner: u32) -> u64 {
        let own = self.0.own();
        if (staged >> 32) as u32 != owner {
            return own.producer.tail.own();
        }
        // At most the capacity ahead of where the peer said it was, so the low halves tell the distance.
        let head = own.tx.peer_head.own();
        head.wrapping_add(u64::from((staged as u32).wrapping_sub(head as u32)))
    }

    /// Publishes everything staged: the caller's own claim, and those of its signal handlers. After [`Claim`]s were
    /// filled, and again whenever the unlock finds a note.
    #[inline]
    pub fn publish(&self) -> Wake {
        let own = self.0.own();
        let end = self.staged_end(own.tx.staged.own(), own.tx.lock.owner());
        // Relaxed, a hint: only who waits for several connections at once asks when.
        if cfg!(not(loom)) && self.0.peer().sleepers.epoch[Sleep::Poll as usize].load(Ordering::Relaxed) != 0 {
            self.0.note_news();
        }
        // SYNC POINT data: Release pairs with the Acquire in `Consumer::look`. SYNC POINT sleep: SeqCst, before the
        // epochs are read; a swap rather than a store, because it is a full barrier at a quarter of a fence's price.
        own.producer.tail.swap(end, at("data/publish", Ordering::SeqCst));
        total_order("sleep/publish");
        Wake::after_publishing(own, self.0.peer(), &[Sleep::Data, Sleep::Poll])
    }

    /// Gives up what is staged: its owner is the caller's own thread, by a call that never returns. As after the death of
    /// another owner, it is void.
    pub fn void(&self) {
        // Relaxed: own word, under the lock.
        self.0.own().tx.staged.store(0, Ordering::Relaxed);
    }

    /// Whether the receiver is ready for the ring and has followed every turn so far, and this side has not
    /// [departed](Producer::try_depart) with a copy.
    #[inline]
    pub fn may_switch(&self) -> bool {
        let peer = self.0.peer();
        // SYNC POINT ready, SYNC POINT followed: Acquire pairs with `Link::set_ready` and `Consumer::follow`.
        Ready::from_word(peer.state.ready.load(at("ready/may_switch", Ordering::Acquire))) == Ready::Ready
            && (peer.state.followed.load(at("followed/may_switch", Ordering::Acquire)) == self.0.own().state.turn.own()
                || planted("may_switch: only when followed"))
            && self.0.own().state.leaving.own() & COPIED == 0
    }

    /// Whether the receiver asks that the ring be left.
    #[inline]
    pub fn must_go_back(&self) -> bool {
        Ready::from_word(self.0.peer().state.ready.load(Ordering::Acquire)) == Ready::Never
    }

    /// Leaves TCP, on which `written` bytes have been written so far, for the ring. `Err`: the receiver withdrew its word
    /// meanwhile, and TCP goes on carrying; the turn was taken and taken back and carried nothing, but the receiver may
    /// have followed it, so that the wake is due.
    ///
    /// The caller holds the lock, [`Producer::may_switch`] held, no thread is inside a TCP write and TCP holds nothing
    /// back. From before `written` was read until this returns, no signal handler of this thread may run that could send:
    /// its bytes would pass the boundary.
    pub fn switch(&self, written: u64) -> Result<(), Wake> {
        debug_assert_eq!(self.carrier(), Carrier::Tcp);
        self.take_turn(written);
        // SYNC POINT ready, taken back: our turn is SeqCst before this look, the receiver's withdrawal SeqCst before its
        // own look at the turn: at least one sees the other.
        total_order("ready/switch");
        if Ready::from_word(self.0.peer().state.ready.load(Ordering::SeqCst)) == Ready::Ready {
            return Ok(());
        }
        Err(self.go_back())
    }

    /// Leaves the ring for TCP. The caller holds the lock; signals as in [`Producer::switch`].
    pub fn go_back(&self) -> Wake {
        debug_assert_eq!(self.carrier(), Carrier::Ring);
        // What a signal handler has staged still belongs to the ring. Whom this wakes, the turn wakes.
        let _ = self.publish();
        self.take_turn(self.0.own().producer.tail.own());
        total_order("sleep/go_back");
        Wake::after_publishing(self.0.own(), self.0.peer(), &[Sleep::Data, Sleep::Poll])
    }

    pub(crate) fn take_turn(&self, boundary: u64) {
        let line = &self.0.own().state;
        let next = line.turn.own().wrapping_add(1);
        self.0.note_news();
        line.boundary[(next & 1) as usize].store(boundary, Ordering::Relaxed);
        // SYNC POINT turn: Release pairs with the Acquire in `Consumer::look`: who sees the turn sees its boundary and
        // every byte before it. SeqCst for the looks that follow a change of turn (sleepers, readiness).
        line.turn.store(next, at("turn/take", Ordering::SeqCst));
    }

    /// Bytes published and not consumed yet, as far as the peer tells the truth: a snapshot, at most the capacity.
    pub fn unread(&self) -> u64 {
        // The cursor first: the consumer's is then not ahead of it for long.
        let tail = self.tail();
        tail.saturating_sub(self.0.peer().consumer.head.load(Ordering::Acquire)).min(u64::from(self.0.capacity()))
    }
}

/// The word for "`owner` has claimed up to `end`".
#[inline]
fn stage(owner: u32, end: u64) -> u64 {
    u64::from(owner) << 32 | u64::from(end as u32)
}

/// Places in the ring that are the caller's to fill. Nothing of it is visible before [`Producer::publish`].
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    link: &'a Link,
    start: u64,
    len: u32,
}

impl Claim<'_> {
    /// Bytes claimed: 0 when the ring is full.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Gives back all but the first `len` bytes, for a carrier that took no more. `false`: a nested call has claimed behind
    /// them, so they must be filled.
    pub fn shorten(&self, len: u32) -> bool {
        let own = &self.link.own().tx;
        let owner = own.lock.owner();
        let end = |len: u32| stage(owner, self.start + u64::from(len));
        // Relaxed: own word; a compare-exchange only against this thread's own signal handlers.
        own.staged.compare_exchange(end(self.len), end(len), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Copies `len` bytes to `offset` within the claim.
    ///
    /// # Safety
    /// `src` is readable for `len` bytes; `offset + len` ≤ [`Claim::len`].
    #[inline]
    pub unsafe fn fill(&self, offset: u32, src: *const u8, len: u32) {
        // SAFETY: `src` by contract. Those places are ours: the consumer has passed them, the lock keeps other producers
        // out, and a nested call claims behind us.
        unsafe { self.link.own_data.put(self.start + u64::from(offset), src, len) }
    }
}
