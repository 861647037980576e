//! The recall, and the departure: how a direction gets out of the ring when one of its ends can no longer use it.
//!
//! A receiver that can no longer read the ring itself (its program is about to be replaced, or its descriptor goes to a
//! stranger) *recalls*: the sender's side sends what is unread again, through TCP, before anything later. From its recall
//! on an endpoint reads and writes TCP only, in all its holders, for good. The sender's side notices it by the mark that
//! its receives and sends look at anyway. A sender that publishes at the same moment sees the mark in its look after the
//! publication (SYNC POINT recall), so nothing stays behind.
//!
//! A sender that ends, or whose program is about to be replaced, will not be there to answer. So it *departs*: with its
//! last turn it sends what is unread through TCP as well, and says how much that is. What a receiver then reads from the ring
//! it drops from TCP ([`Consumer::void`]); what it has not read when it recalls is there.
//!
//! Whoever goes back looks for the mark after its turn, and the receiver for the turn after its mark: at least one sees
//! the other. When both do, the sender's word decides, which it gives at once (`leaving`): it takes its turn back and
//! answers, or it had gone back before. Then later bytes may be on TCP already, and what is unread comes too late
//! ([`Leftover::Stranded`]), unless it was copied. The mark comes before [`Ready::Never`](crate::carrier::Ready::Never), so
//! that whoever goes back for that sees it, too.

use crate::carrier::Carrier;
use crate::layout::{COPIED, LEAVING, MARK_CLOSED, MARK_RECALL};
use crate::sync::{Ordering, Word, at, planted, total_order};
use crate::wait::{Sleep, Wake};
use crate::{Broken, Consumer, Link, Producer};

impl Link {
    /// Reads the ring no more. Under both role locks, with the own sending back on TCP.
    pub fn recall(&self) -> Wake {
        // SYNC POINT recall: Release, so that the sender that sees the mark sees the final `head`; SeqCst against its
        // publication; partner in `is_recalled`.
        self.own().state.marks.fetch_or(MARK_RECALL, at("recall/mark", Ordering::SeqCst));
        total_order("sleep/recall");
        Wake::after_publishing(self.own(), self.peer(), &[Sleep::Data, Sleep::Space, Sleep::Poll])
    }

    /// TCP is about to be closed, or shut down for reading: it would answer with a reset what comes later. What is
    /// [void](Consumer::void) from here on is still to be dropped first.
    pub fn mark_closed(&self) {
        // SYNC POINT closed: SeqCst, before the looks for a copy; partner in `Producer::leave`.
        self.own().state.marks.fetch_or(MARK_CLOSED, at("closed/mark", Ordering::SeqCst));
        total_order("closed/look");
    }

    /// Whether this side has recalled.
    #[inline]
    pub fn has_recalled(&self) -> bool {
        // Acquire: what was done before is visible to this side's other holders.
        self.own().state.marks.load(Ordering::Acquire) & MARK_RECALL != 0
    }

    /// Whether the peer has, and bytes of this side's may still be in the ring.
    #[inline]
    pub fn is_recalled(&self) -> bool {
        // SYNC POINT recall: SeqCst, after the SeqCst publication of whoever sends.
        self.peer().state.marks.load(at("recall/look", Ordering::SeqCst)) & MARK_RECALL != 0
            && self.producer().carrier() == Carrier::Ring
    }
}

/// What becomes of the bytes that a receiver had not read when it recalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// There are none, or they have been sent again.
    Nothing,
    /// The sender sends them again, if it is still there.
    Resent,
    /// The sender had departed: they are on TCP, once what is [void](Consumer::void) there has been dropped.
    Copied,
    /// The sender is just going back, or will not: look again.
    Undecided,
    /// The sender had gone back, and later bytes may be on TCP already: nobody can put them in order any more.
    Stranded,
}

impl Consumer<'_> {
    /// What becomes of what is unread. Under the lock, after [`Link::recall`].
    pub fn leftover(&self) -> Leftover {
        let (own, peer) = (self.0.own(), self.0.peer());
        // SYNC POINT recall, too late: SeqCst, after our mark; partner in `Producer::leave`.
        let turn = peer.state.turn.load(Ordering::SeqCst);
        // SYNC POINT leaving: Acquire pairs with the sender's word in `Producer::leave`: when that was given after another
        // turn, the next look shows it.
        let leaving = peer.state.leaving.load(at("leaving/look", Ordering::Acquire));
        let decided = leaving & LEAVING == 0 && peer.state.turn.load(Ordering::Relaxed) == turn;
        if !decided && !planted("recall: waits for the sender's word") {
            return Leftover::Undecided;
        }
        let tail = peer.producer.tail.load(Ordering::Acquire);
        let unread = tail.wrapping_sub(own.consumer.head.own());
        if Carrier::of(turn) == Carrier::Ring {
            return if unread == 0 { Leftover::Nothing } else { Leftover::Resent };
        }
        let follows = turn == own.state.followed.own();
        if leaving & COPIED != 0 {
            return Leftover::Copied;
        }
        // Relaxed: written before the turn of a sender that has answered.
        let answered = peer.tx.resent.load(Ordering::Relaxed) == tail && !planted("recall: sees the answer");
        if follows || unread == 0 || answered { Leftover::Nothing } else { Leftover::Stranded }
    }

    /// How much had been written to TCP when the sender last left it for the ring: what the kernel counts beyond has come
    /// since. Untrusted.
    pub fn switched_at(&self) -> u64 {
        // Relaxed: written before the turn, which the caller has seen.
        self.0.peer().state.boundary[1].load(Ordering::Relaxed)
    }

    /// Bytes that a sender that has departed left on TCP as well as in the ring; 0: it has not. Anyone, any time.
    #[inline]
    pub fn copied(&self) -> u64 {
        // Acquire: the end of the ring that it was said for is visible. Untrusted: no more than the ring is long.
        u64::from(self.0.peer().state.leaving.load(Ordering::Acquire) >> 2).min(u64::from(self.0.capacity()))
    }

    /// Of those, the ones that are next on TCP and that the ring has given already: to be dropped. Under the lock, or as a
    /// hint.
    #[inline]
    pub fn void(&self) -> u64 {
        let copied = self.copied();
        if copied == 0 {
            return 0;
        }
        // Relaxed: own word, under the lock.
        let dropped = self.0.own().rx.dropped.load(Ordering::Relaxed);
        copied.saturating_sub(u64::from(self.unread())).saturating_sub(dropped)
    }

    /// Notes that `bytes` of them were dropped.
    pub fn note_dropped(&self, bytes: u64) {
        let dropped = &self.0.own().rx.dropped;
        // Relaxed: as above.
        dropped.store(dropped.load(Ordering::Relaxed).saturating_add(bytes), Ordering::Relaxed);
    }
}

/// What a sender that departs has left.
#[derive(Clone, Copy, Debug)]
#[must_use = "the copy is to be sent, and whoever sleeps is to be woken"]
pub struct Departure {
    /// The first position that the receiver may not have read.
    pub position: u64,
    /// So many bytes from there on are to be sent through TCP, before anything else.
    pub copy: u32,
    /// Whom the turn wakes.
    pub wake: Wake,
}

impl Producer<'_> {
    /// As [`Producer::go_back`], unless the receiver has recalled. `None`: what is [`Producer::left_behind`] comes first.
    pub fn try_go_back(&self) -> Option<Wake> {
        self.leave(0).map(|(wake, _)| wake)
    }

    /// As [`Producer::try_go_back`], for good: the caller sends what is unread through TCP as well, whole, and nothing
    /// enters this ring any more. Signals as in [`Producer::switch`].
    pub fn try_depart(&self) -> Result<Option<Departure>, Broken> {
        // What a signal handler has staged is to be copied, too. Whom this wakes, the turn wakes.
        let _ = self.publish();
        let (position, copy) = self.left_behind()?;
        Ok(self.leave(copy).map(|(wake, copy)| Departure { position, copy, wake }))
    }

    /// The wake, and how much is to be copied after all.
    fn leave(&self, copy: u32) -> Option<(Wake, u32)> {
        let line = &self.0.own().state;
        // Relaxed: the turn publishes it.
        line.leaving.store(LEAVING | copy << 2, Ordering::Relaxed);
        let wake = self.go_back();
        // SYNC POINT recall, too late: SeqCst, after our last publication and our turn; partner in `Consumer::leftover`.
        let marks = self.0.peer().state.marks.load(at("recall/look", Ordering::SeqCst));
        // SYNC POINT leaving: Release, so that who sees the word sees the turn that it was given after.
        let word = at("leaving/decide", Ordering::Release);
        // SYNC POINT closed: a receiver that has closed would answer a copy with a reset; one whose mark is not seen here
        // sees `leaving`, and drops it.
        let copy = if marks & MARK_CLOSED == 0 || planted("depart: looks for a close") { copy } else { 0 };
        if marks & MARK_RECALL == 0 || planted("go_back: looks for a recall") {
            line.leaving.store(if copy > 0 { COPIED | copy << 2 } else { 0 }, word);
            return Some((wake, copy));
        }
        // Nothing has been sent over TCP since, so the turn can be taken back. Its boundary is read by nobody any more:
        // the recall came after the receiver's last look. Nor does anyone sleep for it: the recall has woken them.
        self.take_turn(0);
        line.leaving.store(0, word);
        None
    }

    /// The bytes that are to be sent again: their first position and their number, 0 when all have been. Under the lock.
    pub fn left_behind(&self) -> Result<(u64, u32), Broken> {
        let own = self.0.own();
        let tail = own.producer.tail.own();
        // Acquire: pairs with the recall, which came after the last consumption.
        let head = self.0.peer().consumer.head.load(Ordering::Acquire);
        // Untrusted, as in `claim`.
        if tail.wrapping_sub(head) > u64::from(self.0.capacity()) {
            return Err(Broken);
        }
        let start = head.max(own.tx.resent.own());
        Ok((start, tail.saturating_sub(start) as u32))
    }

    /// Copies bytes that were left behind out of the own ring, in a model: elsewhere a system call does, from
    /// where they [lie](Producer::runs).
    ///
    /// # Safety
    /// `dst` is writable for `len` bytes, which [`Producer::left_behind`] named.
    #[cfg(loom)]
    pub unsafe fn copy_back(&self, position: u64, dst: *mut u8, len: u32) {
        // SAFETY: `dst` by contract; the own ring is written by nobody while the caller holds the lock.
        unsafe { self.0.own_data.get(position, dst, len) }
    }

    /// Where the `len` bytes from `position` on lie, which [`Producer::left_behind`] or [`Producer::try_depart`] named: as long
    /// as the caller holds the lock. Their mapping lives as long as the link.
    #[cfg(not(loom))]
    pub fn runs(&self, position: u64, len: u32) -> [(*const u8, usize); 2] {
        self.0.own_data.runs(position, len)
    }

    /// Notes that the bytes before `position` have been sent again. After the last of them, [`Producer::go_back`].
    pub fn note_resent(&self, position: u64) {
        // Relaxed: own word.
        self.0.own().tx.resent.store(position, Ordering::Relaxed);
    }
}
