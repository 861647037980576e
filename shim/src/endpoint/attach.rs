//! How an endpoint becomes a pair's: its outboxes are mapped, its reading becomes ready for the ring.

use super::{Endpoint, Phase};
use crate::kernel;
use crate::log::{self, Level};
use crate::prefix::Prefixes;
use crate::readiness::epoll;
use crate::{foreign, recall, roles, tcp};
use core::ffi::c_int;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use slipstream_protocol::{Reason, Transport};
use slipstream_ring::Link;
use slipstream_ring::carrier::Ready;
use slipstream_ring::layout::{self, Outbox};
use slipstream_ring::verify::Verdict;

/// A mapped outbox.
pub struct Mapping {
    address: AtomicPtr<u8>,
    len: AtomicU64,
}

impl Mapping {
    pub fn set(&self, address: *mut u8, len: usize) {
        self.len.store(len as u64, Ordering::Relaxed);
        self.address.store(address, Ordering::Relaxed);
    }

    pub fn release(&self) {
        let address = self.address.swap(core::ptr::null_mut(), Ordering::Relaxed);
        if !address.is_null() {
            kernel::unmap(address, self.len.load(Ordering::Relaxed) as usize);
        }
    }
}

impl Endpoint {
    /// Maps the own outbox; the bells (and the carrier's socket) are the endpoint's from here on.
    pub fn prepare(
        &self,
        pair: u64,
        side: u8,
        transport: Transport,
        capacity: u32,
        outbox: c_int,
        fds: [c_int; 3],
    ) -> Result<(), Reason> {
        if !layout::is_capacity(capacity) || side > 1 {
            return Err(Reason::Hostile);
        }
        let address = map_outbox(outbox, pair, side, capacity, true)?;
        self.own_map.set(address, layout::size(capacity));
        self.pair.store(pair, Ordering::Relaxed);
        self.side.store(side, Ordering::Relaxed);
        self.transport.store(transport as u8, Ordering::Relaxed);
        self.own_bell.store(fds[0], Ordering::Relaxed);
        self.peer_bell.store(fds[1], Ordering::Relaxed);
        self.socket.store(fds[2], Ordering::Relaxed);
        Ok(())
    }

    /// Maps the peer's outbox and makes every call managed from here on.
    pub fn attach(&'static self, outbox: c_int, fd: c_int) -> Result<(), Reason> {
        // From here on who settles it leaves to us what was handed out.
        if !self.advance(Phase::Prepared, Phase::Attaching) {
            return Err(Reason::Peer);
        }
        let attached = self.attach_to(outbox, fd);
        if let Err(reason) = attached {
            self.give_up(reason);
            self.put_back();
        }
        attached
    }

    fn attach_to(&'static self, outbox: c_int, fd: c_int) -> Result<(), Reason> {
        let Some([tx, rx]) = self.prefixes().and_then(Prefixes::read) else {
            return Err(Reason::Unhashable);
        };
        let len = self.own_map.len.load(Ordering::Relaxed) as usize;
        let capacity = (len - layout::HEADER) as u32;
        let address = map_outbox(outbox, self.pair(), 1 - self.side(), capacity, false)?;
        self.peer_map.set(address, len);
        let own = self.own_map.address.load(Ordering::Relaxed).cast::<Outbox>();
        let (Some(own), Some(peer)) = (NonNull::new(own), NonNull::new(address.cast::<Outbox>())) else {
            return Err(Reason::Memory);
        };
        // SAFETY: both were mapped and checked with this capacity and stay mapped until `bury`; the link is written
        // before the phase says so, and nobody reads it earlier.
        let link = unsafe { (*self.link.get()).write(Link::new(own, peer, capacity)) };
        let posted =
            |p: &slipstream_protocol::Prefix| slipstream_ring::verify::Prefix { bytes: p.bytes, digest: p.digest };
        link.post(&posted(&tx), &posted(&rx));
        self.nonblocking.store(u8::from(kernel::is_nonblocking(fd)), Ordering::Relaxed);
        self.linked_ns.store(kernel::now_ns(), Ordering::Relaxed);
        if !self.advance(Phase::Attaching, Phase::Linked) {
            return Err(Reason::Peer);
        }
        if !self.is_alone() {
            // Forked by another thread since that was asked before: the child knows nothing of the ring.
            self.retire(Reason::Shared);
        }
        // Whoever finds them shut finds the link; and nothing moves before they are.
        self.family().readers.shut();
        self.family().writers.shut();
        epoll::linked(self);
        self.drop_prefixes();
        log::say(Level::Info, |line| line.text("endpoint ").number(self.id()).text(" attached to its pair"));
        Ok(())
    }

    /// What is left to do before this side's reading is ready for the ring. `true`: it is, or will never be.
    #[inline]
    pub fn is_ready(&'static self, link: &Link) -> bool {
        match link.ready() {
            Ready::Ready => true,
            Ready::NotYet => self.become_ready(link),
            Ready::Never => {
                if !link.has_recalled() && link.consumer().unread() == 0 {
                    recall::detach_now(self, Reason::None);
                }
                true
            }
        }
    }

    #[cold]
    fn become_ready(&'static self, link: &Link) -> bool {
        match link.verdict() {
            Verdict::Wait => false,
            Verdict::Differs => {
                log::say(Level::Error, |line| {
                    line.text("endpoint ").number(self.id()).text(": digests differ, pair refused")
                });
                self.retire(Reason::Mismatch);
                true
            }
            Verdict::Same
                if self.family().readers.is_shut()
                    && self.family().readers.is_empty()
                    && epoll::watches(self)
                    && foreign::is_absent_since(self.linked_ns.load(Ordering::Relaxed))
                    && self.take_stock(link) =>
            {
                let wake = link.set_ready(Ready::Ready);
                self.deliver(link, wake);
                log::say(Level::Debug, |line| {
                    line.text("endpoint ").number(self.id()).text(" reads from the ring now")
                });
                true
            }
            Verdict::Same => false,
        }
    }

    /// Notes how much was read from TCP so far, while the kernel's count is exact: no one is inside a read.
    fn take_stock(&'static self, link: &Link) -> bool {
        let entry = roles::enter(link.rx_lock());
        // Not by one that another thread closes: its number may be another's.
        let consumed = self.with_descriptor(|fd| tcp::consumed(fd, None));
        if let Some(consumed) = consumed {
            link.consumer().note_taken(consumed);
        }
        roles::leave_receiving(self, link, entry);
        consumed.is_some()
    }
}

fn map_outbox(fd: c_int, pair: u64, side: u8, capacity: u32, writable: bool) -> Result<*mut u8, Reason> {
    let len = layout::size(capacity);
    // A mapping beyond the file's end would kill the program at the first touch.
    if kernel::file_size(fd) != Ok(len as u64) {
        return Err(Reason::Hostile);
    }
    let address = kernel::map_shared(fd, len, writable).map_err(|_| Reason::Memory)?;
    // SAFETY: `len` bytes are mapped, at least a header; page-aligned; every field is atomic.
    let outbox = unsafe { &*address.cast::<Outbox>() };
    if outbox.check(pair, u32::from(side), len) != Ok(capacity) {
        kernel::unmap(address, len);
        return Err(Reason::Hostile);
    }
    Ok(address)
}
