//! What passed on an endpoint before it moved: counts that decide whether it is worth moving, and digests that prove
//! which endpoint its peer is.

use crate::slab::{Slab, Slot, Spin};
use core::cell::UnsafeCell;
use core::sync::atomic::AtomicPtr;
use slipstream_protocol::{GRID, Prefix};
use xxhash_rust::xxh3::Xxh3;

/// Bytes hashed at the most.
const LIMIT: u64 = 1 << (GRID - 1);

/// One direction's digest on the grid.
struct Hash {
    state: Xxh3,
    prefix: Prefix,
}

impl Hash {
    fn new() -> Self {
        Self { state: Xxh3::new(), prefix: Prefix { bytes: 0, digest: [0; GRID] } }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        let all = bytes.len() as u64;
        let mut done = self.prefix.bytes;
        while done < LIMIT && !bytes.is_empty() {
            // The next grid point after `done`: 1, 2, 4, …
            let k = (done + 1).next_power_of_two().trailing_zeros() as usize;
            let point = 1u64 << k;
            let len = (point - done).min(bytes.len() as u64);
            let (now, later) = bytes.split_at(len as usize);
            self.state.update(now);
            done += len;
            bytes = later;
            if done == point
                && let Some(digest) = self.prefix.digest.get_mut(k)
            {
                *digest = self.state.digest();
            }
        }
        self.prefix.bytes += all;
    }
}

/// Both directions' digests, while an endpoint is Pre-opt.
pub struct Prefixes {
    /// By [`Direction`].
    halves: [Half; 2],
    next: AtomicPtr<Prefixes>,
}

struct Half {
    lock: Spin,
    /// `None` in one that nobody uses. Guarded by `lock`.
    hash: UnsafeCell<Option<Hash>>,
}

// SAFETY: `hash` is touched only under `lock`.
unsafe impl Sync for Half {}

impl Half {
    /// `None`: the lock's holder is not running, or is the caller's own thread, interrupted.
    fn locked<T>(&self, work: impl FnOnce(&mut Hash) -> T) -> Option<T> {
        // SAFETY: the lock is ours meanwhile.
        self.lock.soon(|| unsafe { (*self.hash.get()).as_mut() }.map(work)).flatten()
    }
}

impl Slot for Prefixes {
    fn next_free(&self) -> &AtomicPtr<Self> {
        &self.next
    }
}

static PREFIXES: Slab<Prefixes> = Slab::new(false);

/// A direction, as an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Tx = 0,
    Rx = 1,
}

impl Prefixes {
    /// Fresh ones.
    #[cold]
    #[inline(never)]
    pub fn take() -> Option<&'static Self> {
        let prefixes = PREFIXES.take()?;
        for half in &prefixes.halves {
            half.lock.unlock();
            // SAFETY: just taken from the slab: nobody else has it.
            unsafe { *half.hash.get() = Some(Hash::new()) };
        }
        Some(prefixes)
    }

    /// Gives them back.
    pub fn give(&'static self) {
        PREFIXES.give(self);
    }

    /// Notes bytes that passed after `before` others. The digest goes no further where bytes are missing from it: those of
    /// another process, or of calls whose order is unknown.
    pub fn note(&self, direction: Direction, pieces: &[libc::iovec], len: usize, before: Option<u64>) {
        self.halves[direction as usize].locked(|hash| {
            if before != Some(hash.prefix.bytes) {
                return;
            }
            let mut left = len;
            for piece in pieces {
                if left == 0 {
                    break;
                }
                let now = piece.iov_len.min(left);
                // SAFETY: the kernel has just read from or written to these bytes of the program's.
                hash.take(unsafe { core::slice::from_raw_parts(piece.iov_base.cast(), now) });
                left -= now;
            }
        });
    }

    /// What is known of either direction, sent and received; `None` while someone is noting.
    pub fn read(&self) -> Option<[Prefix; 2]> {
        let [tx, rx] = &self.halves;
        Some([tx.locked(|hash| hash.prefix)?, rx.locked(|hash| hash.prefix)?])
    }
}

/// In a forked child.
pub fn after_fork() {
    PREFIXES.after_fork();
}
