//! The receiving role. One thread at a time, under [`Link::rx_lock`]; its own thread's signal handlers may interleave
//! whole calls. [`Consumer::glance`] may be made by anyone at any time.

use crate::carrier::Carrier;
use crate::sync::{Ordering, Word, at, total_order};
use crate::wait::{Sleep, Wake};
use crate::{Broken, Link, Raced};

/// Where the next byte will come from: the one predicate that serves every look, arm and wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// From TCP; `until` is the number of TCP bytes after which the ring takes over, once the sender has said so. Less
    /// than was taken already means, when a second look still says so, a peer that does not follow the protocol.
    Tcp {
        /// For [`Consumer::follow`].
        turn: u32,
        /// In bytes ever read from TCP.
        until: Option<u64>,
    },
    /// From the ring, which holds `available` bytes now.
    Ring {
        /// The consumer cursor.
        head: u64,
        /// At most the capacity.
        available: u32,
    },
    /// The ring is read up to the go-back: [`Consumer::follow`], then look again.
    Crossing {
        /// For [`Consumer::follow`].
        turn: u32,
    },
}

/// See the module.
#[derive(Clone, Copy)]
pub struct Consumer<'a>(pub(crate) &'a Link);

impl Consumer<'_> {
    /// The consumer cursor: bytes ever consumed. Without the lock a snapshot.
    #[inline]
    pub fn head(&self) -> u64 {
        // Relaxed: own word.
        self.0.own().consumer.head.load(Ordering::Relaxed)
    }

    /// The turn that reading has reached. Without the lock a snapshot.
    #[inline]
    pub fn followed(&self) -> u32 {
        // Relaxed: own word.
        self.0.own().state.followed.load(Ordering::Relaxed)
    }

    /// Looks, exactly. Under the lock: without it the cursors could move between their reads and look broken.
    #[inline]
    pub fn look(&self) -> Result<Look, Broken> {
        let own = self.0.own();
        loop {
            let (followed, head) = (own.state.followed.own(), own.consumer.head.own());
            let look = self.look_from(followed, head);
            // When a signal handler of this thread has received meanwhile, the peer may be too far ahead of what we knew.
            if look.is_ok() || (own.state.followed.own(), own.consumer.head.own()) == (followed, head) {
                return look;
            }
        }
    }

    #[inline]
    fn look_from(&self, followed: u32, head: u64) -> Result<Look, Broken> {
        let peer = self.0.peer();
        // SYNC POINT turn: Acquire pairs with `Producer::take_turn`.
        let turn = peer.state.turn.load(at("turn/look", Ordering::Acquire));
        let ahead = turn.wrapping_sub(followed);
        // Untrusted: a sender is at most two turns ahead, and that only from TCP (ring entered and left again).
        if ahead > 2 || (ahead == 2 && Carrier::of(followed) == Carrier::Ring) {
            return Err(Broken);
        }
        if Carrier::of(followed) == Carrier::Tcp {
            let until = (ahead > 0).then(|| peer.state.boundary[1].load(Ordering::Relaxed));
            return Ok(Look::Tcp { turn: followed, until });
        }
        // SYNC POINT data: Acquire pairs with `Producer::publish`: the bytes up to `tail` are there.
        let tail = peer.producer.tail.load(at("data/look", Ordering::Acquire));
        let available = tail.wrapping_sub(head);
        // Untrusted: a producer is never behind the consumer, nor further ahead than the ring is long.
        if available > u64::from(self.0.capacity()) {
            return Err(Broken);
        }
        // In the ring's last turn nothing is published after the go-back, and its boundary is the last tail, which the
        // Acquire of `turn` has made visible.
        if available == 0 && ahead == 1 {
            return if peer.state.boundary[0].load(Ordering::Relaxed) == head {
                Ok(Look::Crossing { turn: followed })
            } else {
                Err(Broken)
            };
        }
        Ok(Look::Ring { head, available: available as u32 })
    }

    /// Copies `len` bytes out of the ring, from `offset` bytes after `head` on; they stay there until [`Consumer::consume`].
    ///
    /// # Safety
    /// `dst` is writable for `len` bytes; `offset + len` is at most the `available` of the look that gave `head`.
    #[inline]
    pub unsafe fn copy_out(&self, head: u64, offset: u32, dst: *mut u8, len: u32) {
        // SAFETY: `dst` by contract; an honest producer does not touch those places before we consume them.
        unsafe { self.0.peer_data.get(head + u64::from(offset), dst, len) }
    }

    /// Where the `len` bytes from `head` on lie, at most the `available` of the look that gave `head`: until
    /// [`Consumer::consume`]. Their mapping lives as long as the link.
    #[cfg(not(loom))]
    pub fn runs(&self, head: u64, len: u32) -> [(*const u8, usize); 2] {
        self.0.peer_data.runs(head, len)
    }

    /// Hands the `len` bytes from `head` on back to the producer.
    #[inline]
    pub fn consume(&self, head: u64, len: u32) -> Result<Wake, Raced> {
        let own = self.0.own();
        // SYNC POINT space: Release pairs with the Acquire in `Producer::free`: our copies are done. SYNC POINT sleep:
        // SeqCst, before the epochs are read. A compare-exchange, because a signal handler of this thread may have consumed.
        own.consumer
            .head
            .compare_exchange(head, head + u64::from(len), at("space/consume", Ordering::SeqCst), Ordering::Relaxed)
            .map_err(|_| Raced)?;
        total_order("sleep/consume");
        Ok(Wake::after_publishing(own, self.0.peer(), &[Sleep::Space]))
    }

    /// Takes the turn after `turn`: on TCP after [`Look::Tcp`]'s `until` has been reached, in the ring at [`Look::Crossing`].
    /// The caller wakes this endpoint's other sleepers, for whom the place to look has changed.
    pub fn follow(&self, turn: u32) -> Result<(), Raced> {
        // SYNC POINT followed: Release pairs with the Acquire in `Producer::may_switch`: our reading of the old boundary
        // is done. A compare-exchange, because a signal handler of this thread may have followed.
        let followed = &self.0.own().state.followed;
        followed
            .compare_exchange(turn, turn.wrapping_add(1), at("followed/follow", Ordering::Release), Ordering::Relaxed)
            .map(|_| ())
            .map_err(|_| Raced)
    }

    /// Whether there is something to look at beside what TCP itself shows: bytes in the ring, or a turn to follow.
    /// Anyone, any time, without the lock; two cache lines of the peer's, of which one seldom changes.
    #[inline]
    pub fn glance(&self) -> bool {
        self.glance_for(1)
    }

    /// As [`Consumer::glance`], where fewer than `least` bytes in the ring, at least 1, are nothing to look at.
    #[inline]
    pub fn glance_for(&self, least: u32) -> bool {
        self.glance_since(self.followed(), least)
    }

    /// As [`Consumer::glance_for`], where the peer's `turn` is no news.
    #[inline]
    pub fn glance_since(&self, turn: u32, least: u32) -> bool {
        if self.peer_turn() != turn {
            return true;
        }
        if Carrier::of(self.followed()) == Carrier::Tcp {
            return false;
        }
        let peer = self.0.peer();
        let head = self.head();
        let found = peer.producer.tail.load(Ordering::Acquire).wrapping_sub(head) >= u64::from(least);
        if !found {
            self.0.peer_data.prefetch(head);
        }
        found
    }

    /// The peer's turn, as a mark to compare with later.
    #[inline]
    pub fn peer_turn(&self) -> u32 {
        // Acquire as in `look`; whoever acts on a glance looks again under the lock.
        self.0.peer().state.turn.load(Ordering::Acquire)
    }

    /// The peer's producer cursor, as a mark to compare with later: a hint, never used as a bound.
    #[inline]
    pub fn peer_tail(&self) -> u64 {
        self.0.peer().producer.tail.load(Ordering::Acquire)
    }

    /// Where in the ring the sender has gone back to TCP, if reading has yet to follow it there. Under the lock, or as a hint.
    pub fn goes_back_at(&self) -> Option<u64> {
        let (own, peer) = (self.followed(), self.0.peer());
        // Acquire as in `look`.
        let behind =
            Carrier::of(own) == Carrier::Ring && peer.state.turn.load(Ordering::Acquire) == own.wrapping_add(1);
        behind.then(|| peer.state.boundary[0].load(Ordering::Relaxed))
    }

    /// Whether the sender has been in the ring and left it again while reading is still on the TCP before it. Under the lock.
    pub fn is_left(&self) -> bool {
        let (own, peer) = (self.followed(), self.0.peer());
        // Acquire as in `look`: the ring holds all that it will.
        Carrier::of(own) == Carrier::Tcp && peer.state.turn.load(Ordering::Acquire) == own.wrapping_add(2)
    }

    /// Notes that `bytes` have been read from TCP in all. Under the lock.
    pub fn note_taken(&self, bytes: u64) {
        // Relaxed: own word, under the lock.
        self.0.own().rx.taken.store(bytes, Ordering::Relaxed);
    }

    /// What was last noted.
    pub fn taken(&self) -> u64 {
        // Relaxed: as above.
        self.0.own().rx.taken.load(Ordering::Relaxed)
    }

    /// Bytes that wait in the ring, for FIONREAD, whether or not reading has followed the sender there: a snapshot, at most
    /// the capacity.
    pub fn unread(&self) -> u32 {
        let tail = self.0.peer().producer.tail.load(Ordering::Acquire);
        tail.saturating_sub(self.head()).min(u64::from(self.0.capacity())) as u32
    }

    /// Whether the sender has, this very moment, taken a turn that reading has not followed.
    pub fn is_behind(&self) -> bool {
        // SeqCst: for the receiver that withdraws its readiness (SYNC POINT ready) and looks whether it was in time.
        self.0.peer().state.turn.load(Ordering::SeqCst) != self.followed()
    }
}
