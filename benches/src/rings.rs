//! Two outboxes in plain memory and the links of their owners: what the microbenchmarks push bytes through.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use slipstream_ring::Link;
use slipstream_ring::layout::{Outbox, size};
use slipstream_ring::sync::AtomicU32;
use slipstream_ring::wait::Waker;

/// A pair whose two ends are in one process.
pub struct Rings {
    outboxes: [NonNull<Outbox>; 2],
    layout: Layout,
    links: [Link; 2],
}

impl Rings {
    /// Both rings have `capacity` bytes; both directions are on the ring already.
    pub fn new(capacity: u32) -> Rings {
        let layout = Layout::from_size_align(size(capacity), 4096).expect("a page-aligned layout");
        let outboxes = [0, 1].map(|side| {
            // SAFETY: the layout has a size above zero.
            let memory = unsafe { alloc_zeroed(layout) };
            let outbox = NonNull::new(memory.cast::<Outbox>()).unwrap_or_else(|| handle_alloc_error(layout));
            // SAFETY: zeroed memory, aligned and large enough, is an outbox before its initialisation.
            unsafe { outbox.as_ref() }.init(1, side, capacity);
            outbox
        });
        let [one, other] = outboxes;
        // SAFETY: both have `size(capacity)` bytes and live until this is dropped; the links do not outlive it.
        let links = unsafe { [Link::new(one, other, capacity), Link::new(other, one, capacity)] };
        let rings = Rings { outboxes, layout, links };
        rings.switch();
        rings
    }

    fn switch(&self) {
        use slipstream_ring::carrier::Ready;
        for (sender, receiver) in [(0, 1), (1, 0)] {
            let receiver = &self.links[receiver];
            receiver.deliver(receiver.set_ready(Ready::Ready), &Nobody);
            self.links[sender].producer().switch(0).expect("the receiver is ready");
            receiver.consumer().follow(0).expect("nobody else follows");
        }
    }

    /// One end, 0 or 1.
    pub fn end(&self, side: usize) -> &Link {
        &self.links[side]
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        for outbox in self.outboxes {
            // SAFETY: allocated in `new` with this layout, and no link outlives `self`.
            unsafe { dealloc(outbox.as_ptr().cast(), self.layout) };
        }
    }
}

// SAFETY: the outboxes are atomics, and each role of each link is one thread's, as the benchmarks arrange.
unsafe impl Sync for Rings {}

/// In these benchmarks nobody sleeps.
pub struct Nobody;

impl Waker for Nobody {
    fn wake_all(&self, _word: &AtomicU32) {
        unreachable!("nobody sleeps")
    }

    fn ring(&self) {
        unreachable!("nobody sleeps")
    }
}
