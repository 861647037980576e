//! The sending role. One thread at a time, under [`Link::tx_lock`]; its own thread's signal handlers may interleave whole calls.
//!
//! Claim, copy, publish: three steps, so that vectored writes are one publication, and so that a signal handler that
//! sends while its thread is copying neither overwrites the copy nor is overwritten.

use crate::carrier::{Carrier, Ready};
use crate::role::Entry;
use crate::sync::{Ordering, total_order};
use crate::wait::{Sleep, Wake};
use crate::{Broken, Link};

/// See the module.
#[derive(Clone, Copy)]
pub struct Producer<'a>(pub(crate) &'a Link);

impl Producer<'_> {
    /// The producer cursor: bytes ever published.
    #[inline]
    pub fn tail(&self) -> u64 {
        // Relaxed: own word, changed only under the lock that the caller holds (or read as a hint).
        self.0.own().producer.tail.load(Ordering::Relaxed)
    }

    /// The carrier of the next byte.
    #[inline]
    pub fn carrier(&self) -> Carrier {
        Carrier::of(self.turn())
    }

    #[inline]
    fn turn(&self) -> u32 {
        // Relaxed: own word, as `tail`.
        self.0.own().producer.turn.load(Ordering::Relaxed)
    }

    /// Claims up to `want` bytes of the ring to copy into. The cached cursor answers when it can; a claim shorter than
    /// `want` means that the ring has no more.
    ///
    /// The claim of a nested call (a signal handler's) lies behind the outer one's; it leaves a [note](crate::role::RoleLock::note) and
    /// the outer call publishes both.
    #[inline]
    pub fn claim(&self, want: u32, entry: Entry) -> Result<Claim<'_>, Broken> {
        let (own, capacity) = (self.0.own(), self.0.capacity());
        // Relaxed: own words under the lock. Only a nested call finds the claim of a living owner; what a dead one had
        // claimed but not published is void.
        let start = match entry {
            Entry::Reentered => own.tx.staged.load(Ordering::Relaxed).max(self.tail()),
            _ => self.tail(),
        };
        let mut used = start.wrapping_sub(own.tx.peer_head.load(Ordering::Relaxed));
        if used > u64::from(capacity) || capacity - (used as u32) < want {
            // SYNC POINT space: Acquire pairs with the publication in `Consumer::consume`: the bytes there have been
            // copied out before we overwrite them.
            let head = self.0.peer().consumer.head.load(Ordering::Acquire);
            used = start.wrapping_sub(head);
            // Untrusted: a consumer is never ahead of the producer, nor further behind than the ring is long.
            if used > u64::from(capacity) {
                return Err(Broken);
            }
            own.tx.peer_head.store(head, Ordering::Relaxed);
        }
        let len = want.min(capacity - used as u32);
        own.tx.staged.store(start + u64::from(len), Ordering::Relaxed);
        Ok(Claim { link: self.0, start, len })
    }

    /// Publishes everything staged: the caller's own claim, and those of its signal handlers. After [`Claim`]s were
    /// filled, and again whenever the unlock finds a note.
    #[inline]
    pub fn publish(&self) -> Wake {
        let own = self.0.own();
        let staged = own.tx.staged.load(Ordering::Relaxed);
        // SYNC POINT data: Release pairs with the Acquire in `Consumer::look`. SYNC POINT sleep: SeqCst, before the
        // epochs are read; a swap rather than a store, because it is a full barrier at a quarter of a fence's price.
        own.producer.tail.swap(staged, Ordering::SeqCst);
        total_order();
        Wake::after_publishing(own, self.0.peer(), &[Sleep::Data, Sleep::Poll])
    }

    /// Whether the receiver is ready for the ring and has followed every turn so far.
    #[inline]
    pub fn may_switch(&self) -> bool {
        let peer = self.0.peer();
        // SYNC POINT ready, SYNC POINT followed: Acquire pairs with `Link::set_ready` and `Consumer::follow`.
        Ready::from_word(peer.consumer.ready.load(Ordering::Acquire)) == Ready::Ready
            && peer.consumer.followed.load(Ordering::Acquire) == self.turn()
    }

    /// Whether the receiver asks that the ring be left.
    #[inline]
    pub fn must_go_back(&self) -> bool {
        Ready::from_word(self.0.peer().consumer.ready.load(Ordering::Acquire)) == Ready::Never
    }

    /// Leaves TCP, on which `written` bytes have been written so far, for the ring. `false`: the receiver withdrew its
    /// word meanwhile, and TCP goes on carrying (the turn was taken and taken back; it carried nothing).
    ///
    /// The caller holds the lock, [`Producer::may_switch`] held, no thread is inside a TCP write and TCP holds nothing back.
    pub fn switch(&self, written: u64) -> bool {
        debug_assert_eq!(self.carrier(), Carrier::Tcp);
        self.take_turn(written);
        // SYNC POINT ready, taken back: our turn is SeqCst before this look, the receiver's withdrawal SeqCst before its
        // own look at the turn: at least one sees the other.
        total_order();
        if Ready::from_word(self.0.peer().consumer.ready.load(Ordering::SeqCst)) == Ready::Ready {
            return true;
        }
        self.take_turn(self.tail());
        false
    }

    /// Leaves the ring for TCP.
    pub fn go_back(&self) -> Wake {
        debug_assert_eq!(self.carrier(), Carrier::Ring);
        self.take_turn(self.tail());
        total_order();
        Wake::after_publishing(self.0.own(), self.0.peer(), &[Sleep::Data, Sleep::Poll])
    }

    fn take_turn(&self, boundary: u64) {
        let line = &self.0.own().producer;
        let next = self.turn().wrapping_add(1);
        line.boundary[(next & 1) as usize].store(boundary, Ordering::Relaxed);
        // SYNC POINT turn: Release pairs with the Acquire in `Consumer::look`: who sees the turn sees its boundary and
        // every byte before it. SeqCst for the looks that follow a change of turn (sleepers, readiness).
        line.turn.store(next, Ordering::SeqCst);
    }

    /// Bytes published and not consumed yet, as far as the peer tells the truth.
    pub fn unread(&self) -> u64 {
        self.tail().wrapping_sub(self.0.peer().consumer.head.load(Ordering::Acquire))
    }
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
