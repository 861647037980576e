//! Two outboxes in memory, as two processes would have them: the own one mapped writable, the peer's read-only, and
//! behind each an unmapped page. Whoever writes to its peer's outbox, or past an end, dies of it.
#![allow(dead_code)] // each test uses its part

use core::ptr::NonNull;
use slipstream_ring::carrier::Ready;
use slipstream_ring::layout::{self, Outbox};
use slipstream_ring::sync::AtomicU32;
use slipstream_ring::wait::Waker;
use slipstream_ring::{Link, Producer, wait};

/// The pair that all outboxes here are of.
pub const PAIR: u64 = 7;

const PAGE: usize = 4096;

/// Where a word of the header lies.
pub fn offset(word: &str) -> usize {
    layout::offset(word).expect("a word of the header")
}

/// A mapping of an outbox.
pub struct Mapping {
    base: *mut u8,
    /// Bytes of the outbox.
    len: usize,
}

// SAFETY: memory that any thread may use; what is in it is atomic or guarded by the ring's rules.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

#[cfg(not(miri))]
pub mod memory {
    use super::{Mapping, PAGE};
    use std::fs::File;
    use std::os::fd::{AsRawFd, FromRawFd};

    /// Memory for one outbox of `len` bytes.
    pub fn file(len: usize) -> File {
        // SAFETY: makes a descriptor, which is ours then.
        let file = unsafe {
            let fd = libc::memfd_create(c"outbox".as_ptr(), libc::MFD_CLOEXEC);
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            File::from_raw_fd(fd)
        };
        file.set_len(len as u64).unwrap();
        file
    }

    impl Mapping {
        /// Maps `len` bytes of `file`, with nothing behind them.
        pub fn new(file: &File, len: usize, writable: bool) -> Self {
            let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
            // SAFETY: reserves fresh addresses and maps the file over their first part.
            let base = unsafe {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                let base = libc::mmap(core::ptr::null_mut(), len + PAGE, libc::PROT_NONE, flags, -1, 0);
                assert_ne!(base, libc::MAP_FAILED);
                let mapped = libc::mmap(base, len, protection, libc::MAP_SHARED | libc::MAP_FIXED, file.as_raw_fd(), 0);
                assert_eq!(mapped, base, "{}", std::io::Error::last_os_error());
                base.cast::<u8>()
            };
            Self { base, len }
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: ours, and every link over it has ended: it borrows nothing that outlives the test.
            unsafe { libc::munmap(self.base.cast(), self.len + PAGE) };
        }
    }

    /// The own mapping and the peer's of one outbox.
    pub fn both(len: usize) -> [Mapping; 2] {
        let file = file(len);
        [Mapping::new(&file, len, true), Mapping::new(&file, len, false)]
    }
}

/// Miri watches every access itself, and knows no shared mappings.
#[cfg(miri)]
mod memory {
    use super::{Mapping, PAGE};
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len, PAGE).unwrap()
    }

    /// The own mapping and the peer's of one outbox: the same memory.
    pub fn both(len: usize) -> [Mapping; 2] {
        // SAFETY: `len` is not 0.
        let base = unsafe { alloc_zeroed(layout(len)) };
        [Mapping { base, len }, Mapping { base, len: 0 }]
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            if self.len > 0 {
                // SAFETY: allocated above with this layout.
                unsafe { dealloc(self.base, layout(self.len)) };
            }
        }
    }
}

/// The bytes that a sender left behind, as a system call would take them.
pub fn left_behind(tx: Producer<'_>, position: u64, len: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (base, len) in tx.runs(position, len) {
        // SAFETY: within the own ring, which nobody writes to meanwhile: the caller has the lock.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(base, len) });
    }
    bytes
}

impl Mapping {
    /// Where the outbox is.
    pub fn outbox(&self) -> NonNull<Outbox> {
        NonNull::new(self.base.cast()).unwrap()
    }

    /// The address of a word of the header, by its offset.
    pub fn word(&self, offset: usize) -> *mut u8 {
        assert!(offset < layout::HEADER);
        self.base.wrapping_add(offset)
    }
}

/// The two endpoints of a connection.
pub struct Pair {
    /// Of each side: its own mapping of its outbox, and its peer's.
    pub maps: [[Mapping; 2]; 2],
    /// What each side works with.
    pub links: [Link; 2],
}

/// Where cursors and turns start, for wraps that would take years to come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// Both cursors of each ring.
    pub position: u64,
    /// The turns of each sender, and of each receiver: even.
    pub turn: u32,
}

impl Pair {
    /// A pair with rings of `capacity` bytes.
    pub fn new(capacity: u32, start: Start) -> Self {
        let len = layout::size(capacity);
        let maps = [memory::both(len), memory::both(len)];
        for (side, [own, _]) in maps.iter().enumerate() {
            // SAFETY: mapped, zeroed, nobody else's yet, and these words are there.
            unsafe {
                own.outbox().as_ref().init(PAIR, side as u32, capacity);
                own.word(offset("producer.tail")).cast::<u64>().write(start.position);
                own.word(offset("state.turn")).cast::<u32>().write(start.turn);
                own.word(offset("consumer.head")).cast::<u64>().write(start.position);
                own.word(offset("state.followed")).cast::<u32>().write(start.turn);
            }
        }
        let link = |side: usize| {
            // SAFETY: both mappings live in the pair beside the link, and are checked here.
            unsafe {
                let (own, peer) = (maps[side][0].outbox(), maps[1 - side][1].outbox());
                assert_eq!(own.as_ref().check(PAIR, side as u32, len), Ok(capacity));
                assert_eq!(peer.as_ref().check(PAIR, 1 - side as u32, len), Ok(capacity));
                Link::new(own, peer, capacity)
            }
        };
        let links = [link(0), link(1)];
        Self { maps, links }
    }

    /// A pair whose directions are both in the rings.
    pub fn moved(capacity: u32) -> Self {
        let pair = Self::new(capacity, Start::default());
        for link in &pair.links {
            link.deliver(link.set_ready(Ready::Ready), &Nobody);
        }
        for (side, link) in pair.links.iter().enumerate() {
            assert!(link.producer().may_switch());
            link.producer().switch(0).unwrap();
            pair.links[1 - side].consumer().follow(0).unwrap();
        }
        pair
    }
}

/// Nobody sleeps.
pub struct Nobody;

impl Waker for Nobody {
    fn wake_all(&self, _: &AtomicU32) {}
    fn ring(&self) {}
}

/// The byte at a position of a stream: no two places within a few rings look alike.
pub fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// Every sort of sleep.
pub const SLEEPS: [wait::Sleep; 3] = [wait::Sleep::Data, wait::Sleep::Space, wait::Sleep::Poll];
