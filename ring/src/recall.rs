//! The recall: a receiver that can no longer read the ring itself (its program is about to be replaced, or its descriptor
//! goes to a stranger) has the sender's side send what is unread again, through TCP, before anything later.
//!
//! From its recall on an endpoint reads and writes TCP only, in all its holders, for good. The sender's side notices it by
//! the mark that its receives and sends look at anyway. A sender that publishes at the same moment sees the mark in its
//! look after the publication (SYNC POINT recall), so nothing stays behind.
//!
//! A sender that goes back at the same moment looks for the mark after its turn, and the receiver for the turn after its
//! mark: at least one sees the other. The sender then stays in the ring until it has sent all again; the receiver learns
//! that it came too late ([`Consumer::is_stranded`](crate::Consumer::is_stranded)). The mark comes before
//! [`Ready::Never`](crate::carrier::Ready::Never), so that whoever goes back for that sees it, too.

use crate::carrier::Carrier;
use crate::layout::MARK_RECALL;
use crate::sync::{Ordering, Word, at, planted, total_order};
use crate::wait::{Sleep, Wake};
use crate::{Broken, Consumer, Link, Producer};

impl Link {
    /// Reads the ring no more. Under both role locks, with the own sending back on TCP.
    pub fn recall(&self) -> Wake {
        // SYNC POINT recall: Release, so that the sender that sees the mark sees the final `head`; SeqCst against its
        // publication; partner in `is_recalled`.
        self.own().producer.marks.fetch_or(MARK_RECALL, at("recall/mark", Ordering::SeqCst));
        total_order("sleep/recall");
        Wake::after_publishing(self.own(), self.peer(), &[Sleep::Data, Sleep::Space, Sleep::Poll])
    }

    /// Lays bytes out in the own ring for the peer to fetch them back, where another carrier than the ring held them. To be
    /// called before [`Link::recall`], under both locks, when the own sending no longer uses the ring.
    ///
    /// # Safety
    /// `src` is readable for `len` bytes, at most the capacity.
    pub unsafe fn lay_out(&self, position: u64, src: *const u8, len: u32) {
        // SAFETY: `src` by contract; nobody reads the own ring's places any more, or before the recall.
        unsafe { self.own_data.put(position, src, len) }
    }

    /// Whether this side has recalled.
    #[inline]
    pub fn has_recalled(&self) -> bool {
        // Acquire: what was done before is visible to this side's other holders.
        self.own().producer.marks.load(Ordering::Acquire) & MARK_RECALL != 0
    }

    /// Whether the peer has, and bytes of this side's may still be in the ring.
    #[inline]
    pub fn is_recalled(&self) -> bool {
        // SYNC POINT recall: SeqCst, after the SeqCst publication of whoever sends.
        self.peer().producer.marks.load(at("recall/look", Ordering::SeqCst)) & MARK_RECALL != 0
            && self.producer().carrier() == Carrier::Ring
    }
}

impl Consumer<'_> {
    /// Whether the sender had gone back before it could see this side's recall, and has left bytes in the ring that it
    /// may not send again: later ones are on TCP already. Under the lock, after [`Link::recall`].
    pub fn is_stranded(&self) -> bool {
        let (own, peer) = (&self.0.own().consumer, self.0.peer());
        // SYNC POINT recall, too late: SeqCst, after our mark; partner in `try_go_back`.
        let turn = peer.producer.turn.load(Ordering::SeqCst);
        let tail = peer.producer.tail.load(Ordering::Acquire);
        // Relaxed: written before the turn of a sender that has answered.
        let answered = peer.tx.resent.load(Ordering::Relaxed) == tail && !planted("recall: sees the answer");
        Carrier::of(turn) == Carrier::Tcp && turn != own.followed.own() && tail != own.head.own() && !answered
    }
}

impl Producer<'_> {
    /// As [`Producer::go_back`], unless the receiver has recalled. `None`: what is [`Producer::left_behind`] comes first.
    pub fn try_go_back(&self) -> Option<Wake> {
        let wake = self.go_back();
        // SYNC POINT recall, too late: SeqCst, after our turn; partner in `Consumer::is_stranded`.
        let marks = self.0.peer().producer.marks.load(at("recall/look", Ordering::SeqCst));
        if marks & MARK_RECALL == 0 || planted("go_back: looks for a recall") {
            return Some(wake);
        }
        // Nothing has been sent over TCP since, so the turn can be taken back. Its boundary is read by nobody any more:
        // the recall came after the receiver's last look. Nor does anyone sleep for it: the recall has woken them.
        self.take_turn(0);
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

    /// Copies bytes that were left behind out of the place in the peer's outbox where [`Link::lay_out`] put them. They are
    /// the peer's own and only copied.
    ///
    /// # Safety
    /// `dst` is writable for `len` bytes, which [`Producer::left_behind`] named.
    pub unsafe fn copy_from_peer(&self, position: u64, dst: *mut u8, len: u32) {
        // SAFETY: `dst` by contract; the peer's ring is mapped.
        unsafe { self.0.peer_data.get(position, dst, len) }
    }

    /// Copies bytes that were left behind out of the own ring.
    ///
    /// # Safety
    /// `dst` is writable for `len` bytes, which [`Producer::left_behind`] named.
    pub unsafe fn copy_back(&self, position: u64, dst: *mut u8, len: u32) {
        // SAFETY: `dst` by contract; the own ring is written by nobody while the caller holds the lock.
        unsafe { self.0.own_data.get(position, dst, len) }
    }

    /// Notes that the bytes before `position` have been sent again. After the last of them, [`Producer::go_back`].
    pub fn note_resent(&self, position: u64) {
        // Relaxed: own word.
        self.0.own().tx.resent.store(position, Ordering::Relaxed);
    }
}
