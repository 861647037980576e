//! The bytes of a ring: positions are counted for ever, their place is the position modulo the capacity.

#[cfg(not(loom))]
pub use mapped::Data;
#[cfg(loom)]
pub use modelled::Data;

#[cfg(not(loom))]
mod mapped {
    /// The ring behind a mapped outbox. Whoever makes one keeps the mapping alive for as long as it is used.
    #[derive(Clone, Copy)]
    pub struct Data {
        base: *mut u8,
        mask: u32,
    }

    impl Data {
        /// # Safety
        /// `base` is the start of `capacity` (a power of two) mapped bytes that stay mapped while the value is used.
        pub unsafe fn new(base: *mut u8, capacity: u32) -> Self {
            Self { base, mask: capacity - 1 }
        }

        /// Bytes of the ring.
        pub fn capacity(&self) -> u32 {
            self.mask + 1
        }

        /// Copies `len` bytes from `src` to the places of the positions from `position` on.
        ///
        /// # Safety
        /// `src` is readable for `len` ≤ capacity bytes, the ring is mapped writable, and no one whom this side
        /// answers for reads or writes those places meanwhile.
        pub unsafe fn put(&self, position: u64, src: *const u8, len: u32) {
            let at = position as u32 & self.mask;
            let first = len.min(self.capacity() - at);
            // SAFETY: `at + first ≤ capacity` and `len - first ≤ at`, so both pieces lie in the mapped ring; `src` by contract.
            unsafe {
                core::ptr::copy_nonoverlapping(src, self.base.add(at as usize), first as usize);
                if len > first {
                    core::ptr::copy_nonoverlapping(src.add(first as usize), self.base, (len - first) as usize);
                }
            }
        }

        /// Copies `len` bytes of the positions from `position` on to `dst`.
        ///
        /// # Safety
        /// `dst` is writable for `len` ≤ capacity bytes. A peer that breaks the protocol may change the bytes while
        /// they are copied: they are only copied, never interpreted.
        pub unsafe fn get(&self, position: u64, dst: *mut u8, len: u32) {
            let at = position as u32 & self.mask;
            let first = len.min(self.capacity() - at);
            // SAFETY: both pieces lie in the mapped ring, as in `put`; `dst` by contract.
            unsafe {
                core::ptr::copy_nonoverlapping(self.base.add(at as usize), dst, first as usize);
                if len > first {
                    core::ptr::copy_nonoverlapping(self.base, dst.add(first as usize), (len - first) as usize);
                }
            }
        }

        /// Where the `len` ≤ capacity bytes of the positions from `position` on lie, in one or two runs, the second perhaps
        /// empty: for a system call to copy them. The warning of [`Data::get`] holds.
        pub fn runs(&self, position: u64, len: u32) -> [(*const u8, usize); 2] {
            let at = position as u32 & self.mask;
            let first = len.min(self.capacity() - at);
            [(self.base.wrapping_add(at as usize), first as usize), (self.base, (len - first) as usize)]
        }

        /// A hint to this CPU's cache: the byte at `position` is to be read as soon as its producer has written it. Its line
        /// then comes together with that of the cursor, not after it.
        #[inline(always)]
        pub fn prefetch(&self, position: u64) {
            #[cfg(target_arch = "x86_64")]
            {
                use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                let place = self.base.wrapping_add((position as u32 & self.mask) as usize);
                // SAFETY: a prefetch reads nothing into the program and faults at no address; SSE is part of the architecture.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast::<i8>()) };
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = position;
        }
    }
}

#[cfg(loom)]
mod modelled {
    use crate::sync::modelled::access;
    use loom::cell::UnsafeCell;
    use std::rc::Rc;

    /// A ring whose every byte loom watches for races.
    #[derive(Clone)]
    pub struct Data {
        bytes: Rc<[UnsafeCell<u8>]>,
    }

    impl Data {
        /// A zeroed ring.
        pub fn new(capacity: u32) -> Self {
            Self { bytes: (0..capacity).map(|_| UnsafeCell::new(0)).collect() }
        }

        /// Bytes of the ring.
        pub fn capacity(&self) -> u32 {
            self.bytes.len() as u32
        }

        /// As in production.
        ///
        /// # Safety
        /// As in production.
        pub unsafe fn put(&self, position: u64, src: *const u8, len: u32) {
            for i in 0..len {
                let at = ((position + u64::from(i)) % self.bytes.len() as u64) as usize;
                access();
                // SAFETY: `src` is readable for `len` bytes by contract; loom checks that the cell is ours.
                self.bytes[at].with_mut(|cell| unsafe { *cell = *src.add(i as usize) });
            }
        }

        /// As in production.
        ///
        /// # Safety
        /// As in production.
        pub unsafe fn get(&self, position: u64, dst: *mut u8, len: u32) {
            for i in 0..len {
                let at = ((position + u64::from(i)) % self.bytes.len() as u64) as usize;
                access();
                // SAFETY: `dst` is writable for `len` bytes by contract; loom checks that the cell is ours.
                self.bytes[at].with(|cell| unsafe { *dst.add(i as usize) = *cell });
            }
        }

        /// Caches are no part of a model.
        pub fn prefetch(&self, _position: u64) {}
    }
}
