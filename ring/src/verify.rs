//! The verification: both sides post what they saw of each direction before the move and compare.

use crate::Link;
use crate::layout::GRID;
use crate::sync::{AtomicU64, Ordering, at};

/// What one side saw of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Bytes that passed, at most those that were hashed count.
    pub bytes: u64,
    /// `digest[k]` is the digest of the first 2^k bytes, valid while 2^k ≤ `bytes`.
    pub digest: [u64; GRID],
}

impl Prefix {
    /// Whether two sides' views of one direction agree at their largest common grid point. A direction that one of
    /// them has seen nothing of agrees.
    pub fn agrees(&self, other: &Self) -> bool {
        let common = self.bytes.min(other.bytes);
        match common.checked_ilog2() {
            None => true,
            Some(k) => {
                let k = (k as usize).min(GRID - 1);
                self.digest[k] == other.digest[k]
            }
        }
    }
}

/// What the comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The peer has not posted yet.
    Wait,
    /// One connection.
    Same,
    /// Not one connection: nothing may move.
    Differs,
}

fn store(bytes: &AtomicU64, digests: &[AtomicU64; GRID], prefix: &Prefix) {
    bytes.store(prefix.bytes, Ordering::Relaxed);
    for (word, digest) in digests.iter().zip(prefix.digest) {
        word.store(digest, Ordering::Relaxed);
    }
}

fn load(bytes: &AtomicU64, digests: &[AtomicU64; GRID]) -> Prefix {
    Prefix {
        bytes: bytes.load(Ordering::Relaxed),
        digest: core::array::from_fn(|k| digests[k].load(Ordering::Relaxed)),
    }
}

impl Link {
    /// Posts this side's view. Once.
    pub fn post(&self, tx: &Prefix, rx: &Prefix) {
        let own = &self.own().prefixes;
        store(&own.tx_bytes, &own.tx, tx);
        store(&own.rx_bytes, &own.rx, rx);
        // SYNC POINT posted: Release pairs with the Acquire in `verdict`.
        own.posted.store(1, at("posted/post", Ordering::Release));
    }

    /// Compares what this side posted with what the peer did. Both sides come to the same verdict.
    pub fn verdict(&self) -> Verdict {
        let (own, peer) = (&self.own().prefixes, &self.peer().prefixes);
        // SYNC POINT posted: Acquire pairs with the Release in `post`.
        if peer.posted.load(at("posted/verdict", Ordering::Acquire)) == 0 {
            return Verdict::Wait;
        }
        let (tx, rx) = (load(&own.tx_bytes, &own.tx), load(&own.rx_bytes, &own.rx));
        let (their_tx, their_rx) = (load(&peer.tx_bytes, &peer.tx), load(&peer.rx_bytes, &peer.rx));
        if tx.agrees(&their_rx) && rx.agrees(&their_tx) { Verdict::Same } else { Verdict::Differs }
    }
}
