//! Which carrier a direction's next byte is on.
//!
//! A sender counts its turns: it starts on TCP with turn 0, and every change of carrier is the next turn. Turn `n`
//! begins at a boundary on the carrier that it leaves: odd turns (TCP → ring) after so many bytes written to TCP, even
//! turns (ring → TCP) after so many bytes published in the ring. Each carrier counts only its own bytes, so a boundary
//! is one word, and the receiver, who counts what it took from each, crosses at exactly that byte.
//!
//! ```text
//! turn       0          1             2          3
//! carrier   TCP ──X──▶ ring ──Y──▶   TCP ──X'─▶ ring …
//! boundary       X bytes of TCP   Y bytes of ring
//! ```
//!
//! The boundary is written before the turn, and the turn before the first byte on the new carrier. Two boundaries are
//! kept (`n & 1`): the sender may go back before the receiver has crossed into the ring, but it takes a new odd turn only
//! when the receiver has [followed](crate::layout::StateLine) the last even one, so no boundary that may still be
//! needed is overwritten.

/// What a receiver says about the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ready {
    /// Not yet: someone may sit inside a TCP read, or the pair is not verified.
    NotYet = 0,
    /// Every read of this endpoint looks at the ring.
    Ready = 1,
    /// The ring is not to be used any more; a sender in it goes back.
    Never = 2,
}

impl Ready {
    pub(crate) fn from_word(word: u32) -> Self {
        match word {
            0 => Self::NotYet,
            1 => Self::Ready,
            // Whatever else a peer writes means that its ring is not to be used.
            _ => Self::Never,
        }
    }
}

/// What a turn's bytes are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The kernel's TCP.
    Tcp,
    /// The ring (or, with the uds transport, the socketpair).
    Ring,
}

impl Carrier {
    /// The carrier of a turn.
    #[inline]
    pub fn of(turn: u32) -> Self {
        if turn & 1 == 0 { Self::Tcp } else { Self::Ring }
    }
}
