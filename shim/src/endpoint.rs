//! An endpoint: one kernel socket, as this process knows it. Every descriptor that names it leads here.

use crate::bounce::Bounce;
use crate::counter::Counter;
use crate::family::{self, Family};
use crate::kernel::{self, Errno};
use crate::log::{self, Level};
use crate::prefix::{self, Prefixes};
use crate::readiness::{epoll, levels, set};
use crate::slab::{Slab, Slot};
use crate::{broker, config, descriptor, foreign, process, recall, roles, sender, tcp};
use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use slipstream_protocol::{Reason, Transport};
use slipstream_ring::carrier::Ready;
use slipstream_ring::layout::{self, Outbox};
use slipstream_ring::role::RoleLock;
use slipstream_ring::verify::Verdict;
use slipstream_ring::wait::{Wake, Waker};
use slipstream_ring::{Leftover, Link};

/// Where an endpoint is in its life, in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not connected (yet), or listening.
    Idle = 0,
    /// Connected; calls and bytes are counted until it has proved worth moving.
    Counting = 1,
    /// Offered to the broker.
    Offered = 2,
    /// The broker found its peer; the own outbox is mapped.
    Prepared = 3,
    /// Both outboxes are mapped: every call is managed.
    Linked = 4,
    /// Stays on TCP for good; nothing is counted any more.
    Settled = 5,
}

impl Phase {
    fn from_word(word: u8) -> Self {
        match word {
            1 => Self::Counting,
            2 => Self::Offered,
            3 => Self::Prepared,
            4 => Self::Linked,
            5 => Self::Settled,
            _ => Self::Idle,
        }
    }
}

/// How long a copy that is on its way may take to arrive, in ms.
const LAST_WORDS: u32 = 1000;

/// A mapped outbox.
struct Mapping {
    address: AtomicPtr<u8>,
    len: AtomicU64,
}

impl Mapping {
    fn set(&self, address: *mut u8, len: usize) {
        self.len.store(len as u64, Ordering::Relaxed);
        self.address.store(address, Ordering::Relaxed);
    }

    fn release(&self) {
        let address = self.address.swap(core::ptr::null_mut(), Ordering::Relaxed);
        if !address.is_null() {
            kernel::unmap(address, self.len.load(Ordering::Relaxed) as usize);
        }
    }
}

/// See the module. Zeroed memory is an endpoint that nobody uses.
#[repr(C)]
pub struct Endpoint {
    next: AtomicPtr<Endpoint>,
    /// Calls of this process that are inside, and one for its descriptors together.
    pins: Counter,
    /// Descriptors of this process that name it.
    refs: AtomicU32,
    phase: AtomicU8,
    /// A [`Reason`], once [`Phase::Settled`] or retired.
    reason: AtomicU16,
    /// 1 once the broker knows that it stays on TCP, and why.
    told: AtomicU8,
    /// 1 when this side called connect.
    pub connector: AtomicU8,
    /// Calls counted.
    pub ops: AtomicU32,
    /// Bytes counted.
    pub bytes: AtomicU64,
    /// Calls, and bytes, at which the broker is (again) to be asked.
    pub ask_at: AtomicU32,
    pub ask_at_bytes: AtomicU64,
    /// The connection to the broker that the offer went over.
    pub offered_in: AtomicU32,
    /// Names the endpoint towards the broker.
    id: AtomicU64,
    /// CLOCK_MONOTONIC ns of connect or accept.
    pub since_ns: AtomicU64,
    /// CLOCK_MONOTONIC ns at which it was linked.
    linked_ns: AtomicU64,
    /// A descriptor that names it, or did.
    last_fd: AtomicI32,
    family: AtomicPtr<Family>,
    prefixes: AtomicPtr<Prefixes>,
    /// Valid from [`Phase::Linked`] on.
    link: UnsafeCell<MaybeUninit<Link>>,
    own_map: Mapping,
    peer_map: Mapping,
    pair: AtomicU64,
    side: AtomicU8,
    transport: AtomicU8,
    /// The own and the peer's doorbell; with the uds transport the carrier's socket.
    own_bell: AtomicI32,
    peer_bell: AtomicI32,
    socket: AtomicI32,
    /// The TCP socket once the last descriptor is closed while calls are still inside.
    kept: AtomicI32,
    /// Whether its sending outruns the peer's reading.
    pub bounce: Bounce,
    /// SO_RCVLOWAT, at least 1: what a receive waits for.
    low_water: AtomicU32,
    /// 1 when that is the connection's last descriptor.
    kept_alone: AtomicU8,
    /// Hint: O_NONBLOCK as last seen.
    pub nonblocking: AtomicU8,
    /// 1 while TCP may have shown the connection's end: the next send asks it.
    pub ending: AtomicU8,
    /// Since when the peer's end was last looked for, CLOCK_MONOTONIC ns.
    pub looked_ns: AtomicU64,
    /// Not 0 while TCP may show something that readiness calls must ask the kernel for.
    pub tcp_hint: AtomicU8,
    /// The peer's marks that readiness calls have seen.
    pub marks: AtomicU32,
    /// 1 in a forked child until the broker knows that it holds the endpoint, too.
    inherited: AtomicU8,
    /// Guards `members`; taken inside a set's own lock.
    pub members_lock: RoleLock,
    /// Registrations in epoll sets, see `readiness::epoll`.
    pub members: AtomicPtr<epoll::Member>,
}

// SAFETY: everything but `link` is atomic; `link` is written once before `phase` becomes Linked (Release) and read only
// after (Acquire).
unsafe impl Sync for Endpoint {}

impl Slot for Endpoint {
    fn next_free(&self) -> &AtomicPtr<Self> {
        &self.next
    }
}

static ENDPOINTS: Slab<Endpoint> = Slab::new(false);
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Endpoint {
    /// An endpoint with one descriptor, `fd`.
    pub fn found(fd: c_int, phase: Phase) -> Option<&'static Self> {
        let family = Family::found()?;
        let Some(endpoint) = ENDPOINTS.take() else {
            family.lower();
            return None;
        };
        endpoint.reset(fd, family);
        endpoint.phase.store(phase as u8, Ordering::Release);
        Some(endpoint)
    }

    fn reset(&self, fd: c_int, family: &'static Family) {
        self.pins.start();
        self.refs.store(1, Ordering::Relaxed);
        self.reason.store(Reason::None as u16, Ordering::Relaxed);
        self.told.store(0, Ordering::Relaxed);
        self.connector.store(0, Ordering::Relaxed);
        self.ops.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.ask_at.store(config::min_ops(), Ordering::Relaxed);
        self.ask_at_bytes.store(config::min_bytes(), Ordering::Relaxed);
        // The descriptor is part of the name only to find the endpoint by it quickly.
        self.id.store(NEXT_ID.fetch_add(1, Ordering::Relaxed) << 20 | fd as u64 & 0xf_ffff, Ordering::Relaxed);
        self.since_ns.store(0, Ordering::Relaxed);
        self.last_fd.store(fd, Ordering::Relaxed);
        self.family.store(core::ptr::from_ref(family).cast_mut(), Ordering::Relaxed);
        self.prefixes.store(core::ptr::null_mut(), Ordering::Relaxed);
        self.pair.store(0, Ordering::Relaxed);
        for fd in [&self.own_bell, &self.peer_bell, &self.socket, &self.kept] {
            fd.store(-1, Ordering::Relaxed);
        }
        self.bounce.reset();
        self.low_water.store(1, Ordering::Relaxed);
        self.nonblocking.store(0, Ordering::Relaxed);
        self.ending.store(0, Ordering::Relaxed);
        self.looked_ns.store(0, Ordering::Relaxed);
        self.tcp_hint.store(1, Ordering::Relaxed);
        self.marks.store(0, Ordering::Relaxed);
        self.inherited.store(0, Ordering::Relaxed);
        self.members.store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    #[inline]
    pub fn phase(&self) -> Phase {
        // Acquire pairs with the Release in `attach`: who sees Linked sees the link.
        Phase::from_word(self.phase.load(Ordering::Acquire))
    }

    /// Moves on from one phase to another, if it is there.
    pub fn advance(&self, from: Phase, to: Phase) -> bool {
        self.phase.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    pub fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    pub fn pair(&self) -> u64 {
        self.pair.load(Ordering::Relaxed)
    }

    pub fn side(&self) -> u8 {
        self.side.load(Ordering::Relaxed)
    }

    pub fn family(&self) -> &'static Family {
        // SAFETY: set when the endpoint was made; families live in memory that is never unmapped.
        unsafe { &*self.family.load(Ordering::Relaxed) }
    }

    /// The link, while [`Phase::Linked`].
    #[inline]
    pub fn link(&self) -> Option<&Link> {
        // SAFETY: initialised before the phase became Linked, which `phase` acquires; whoever asks has the endpoint
        // pinned, so it is not taken apart meanwhile.
        (self.phase() == Phase::Linked).then(|| unsafe { (*self.link.get()).assume_init_ref() })
    }

    pub fn own_bell(&self) -> c_int {
        self.own_bell.load(Ordering::Relaxed)
    }

    /// The socket that carries the bytes with the uds transport, else -1.
    #[inline]
    pub fn socket(&self) -> c_int {
        self.socket.load(Ordering::Relaxed)
    }

    /// A descriptor of the shim's own has another number: whether it is one of this endpoint's.
    pub fn relocate(&'static self, from: c_int, to: c_int) -> bool {
        let places = [&self.own_bell, &self.peer_bell, &self.socket, &self.kept];
        let moved = |place: &&AtomicI32| place.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        let known = places.iter().any(moved);
        if known && self.own_bell() == to {
            set::bell_moved(self, from);
        }
        known
    }

    /// The prefixes, made with the first bytes.
    pub fn prefixes(&self) -> Option<&'static Prefixes> {
        let known = self.prefixes.load(Ordering::Acquire);
        if !known.is_null() {
            // SAFETY: prefixes live in memory that is never unmapped.
            return Some(unsafe { &*known });
        }
        let fresh = Prefixes::take()?;
        let pointer = core::ptr::from_ref(fresh).cast_mut();
        match self.prefixes.compare_exchange(known, pointer, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(fresh),
            Err(other) => {
                fresh.give();
                // SAFETY: as above.
                Some(unsafe { &*other })
            }
        }
    }

    fn drop_prefixes(&self) {
        let prefixes = self.prefixes.swap(core::ptr::null_mut(), Ordering::AcqRel);
        if !prefixes.is_null() {
            // SAFETY: as in `prefixes`; nobody finds them here any more.
            unsafe { &*prefixes }.give();
        }
    }

    /// Holds the endpoint's memory and mappings while a call is inside.
    #[inline(always)]
    #[must_use]
    pub fn pin(&self) -> bool {
        self.pins.up()
    }

    #[inline(always)]
    pub fn unpin(&'static self) {
        if self.pins.down() {
            self.bury();
        }
    }

    /// Whether a call is inside, beside the one that asks without a pin of its own.
    pub fn is_pinned(&self) -> bool {
        self.pins.get() > 1
    }

    pub fn add_ref(&self) {
        self.refs.fetch_add(1, Ordering::SeqCst);
    }

    /// In a forked child: the other threads are not there.
    pub fn after_fork(&self) {
        self.pins.start();
        self.inherited.store(u8::from(self.phase() == Phase::Linked), Ordering::Relaxed);
        // The offer is the parent's. When the parent has closed its descriptor, this process may make its own.
        self.advance(Phase::Offered, Phase::Counting);
        self.advance(Phase::Prepared, Phase::Settled);
    }

    /// Before a sleep: the broker is to wake the peer when this process dies, not only when its parent does.
    pub fn adopt(&self) {
        if self.inherited.load(Ordering::Relaxed) != 0 {
            self.inherited.store(0, Ordering::Relaxed);
            broker::adopt(self);
        }
    }

    /// A descriptor of this endpoint, for a call of the shim's own: `fd` while it is one.
    pub fn descriptor(&'static self, fd: c_int) -> c_int {
        if descriptor::is(fd, self) {
            self.last_fd.store(fd, Ordering::Relaxed);
            return fd;
        }
        let kept = self.kept.load(Ordering::SeqCst);
        if kept >= 0 { kept } else { self.any_descriptor().unwrap_or(-1) }
    }

    /// Any descriptor of this process that names it.
    pub fn any_descriptor(&'static self) -> Option<c_int> {
        let last = self.last_fd.load(Ordering::Relaxed);
        if descriptor::is(last, self) {
            return Some(last);
        }
        descriptor::find(self)
    }

    /// One descriptor less. Before the real close; the returned [`Closing`] is to be finished after it.
    pub fn close(&'static self, fd: c_int) -> Closing {
        let closing = Closing { endpoint: self, linger: None };
        if self.refs.fetch_sub(1, Ordering::SeqCst) != 1 {
            return closing;
        }
        let last_holder = self.family().holders() == 1;
        if let Some(link) = self.link() {
            if self.is_pinned() && self.kept.load(Ordering::SeqCst) < 0 {
                // A call is inside: over TCP it would keep the socket open until it returns, so do we.
                if let Ok(kept) = descriptor::keep(fd) {
                    self.kept_alone.store(u8::from(last_holder), Ordering::Relaxed);
                    self.kept.store(kept, Ordering::SeqCst);
                }
            } else if last_holder {
                // The table does not know it any more.
                self.kept.store(fd, Ordering::SeqCst);
                self.before_end(link);
                self.kept.store(-1, Ordering::SeqCst);
            }
        }
        Closing { linger: Some(last_holder), ..closing }
    }

    /// The process exits with this descriptor open: as much of a close as the kernel's own needs.
    pub fn exit(&'static self) {
        if self.family().holders() == 1
            && let Some(link) = self.link()
        {
            self.before_end(link);
            // The kernel tells the peer all that there is to tell: this is no death.
            let wake = link.mark_end();
            self.deliver(link, wake);
        }
        self.family().lower();
    }

    /// How many bytes that this side left in the ring are still to come again, over TCP.
    pub fn owed(&'static self, link: &Link) -> u64 {
        let consumer = link.consumer();
        if consumer.leftover() != Leftover::Resent {
            return 0;
        }
        // What has come since the sender left TCP for the ring is some of them. The sender notes it a little later.
        let again = tcp::received(self.descriptor(-1)).map_or(0, |all| all.saturating_sub(consumer.switched_at()));
        u64::from(consumer.unread()).saturating_sub(again)
    }

    /// The last descriptor is about to be closed.
    fn before_end(&'static self, link: &Link) {
        let fd = self.descriptor(-1);
        let unread = if link.has_recalled() {
            // What is on its way again may be for another image, or for who got the descriptor.
            !matches!(self.reason(), Reason::Passed | Reason::Exec) && self.owed(link) > 0
        } else {
            link.consumer().unread() > 0
        };
        if unread {
            // Bytes that nobody read: TCP answers the close with a reset. The kernel does not know of those in the ring.
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            let _ = kernel::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
        }
        if unread || link.has_recalled() {
            return;
        }
        sender::depart(self, fd, link);
        self.stop_reading(link, fd);
    }

    /// TCP is about to receive no more.
    pub fn stop_reading(&'static self, link: &Link, fd: c_int) {
        // It would answer bytes that come from now on with a reset, and those that are there, unread, too: those that the
        // ring has given, and that a sender that departs leaves there as well.
        link.mark_closed();
        for _ in 0..LAST_WORDS {
            if !levels::has_void(self, link, fd) {
                break;
            }
            kernel::poll_for(fd, libc::POLLIN, 1);
        }
    }

    /// Takes apart what the last call has left.
    #[cold]
    fn bury(&'static self) {
        let kept = self.kept.load(Ordering::SeqCst);
        if kept >= 0 {
            // Only now does the connection end.
            if self.kept_alone.load(Ordering::Relaxed) != 0 {
                self.link().inspect(|link| self.before_end(link));
            }
            self.kept.store(-1, Ordering::SeqCst);
            descriptor::close_own(kept);
            if let Some(link) = self.link() {
                let wake = link.mark_end();
                self.deliver(link, wake);
            }
        }
        self.phase.store(Phase::Settled as u8, Ordering::SeqCst);
        self.own_map.release();
        self.peer_map.release();
        for fd in [&self.own_bell, &self.peer_bell, &self.socket] {
            let fd = fd.swap(-1, Ordering::Relaxed);
            if fd >= 0 {
                descriptor::close_own(fd);
            }
        }
        self.drop_prefixes();
        ENDPOINTS.give(self);
    }

    /// Stays on TCP for good. Who offered it takes that back; of the others the broker hears once they have proved worth
    /// moving, see [`Endpoint::regret`].
    pub fn settle(&self, reason: Reason) {
        let phase = self.phase();
        if matches!(phase, Phase::Linked | Phase::Settled) {
            return;
        }
        let offered = matches!(phase, Phase::Offered | Phase::Prepared);
        if offered {
            // Before another thread's call finds it settled, and tells the broker what it knows already.
            self.told.store(1, Ordering::Relaxed);
        }
        if self.advance(phase, Phase::Settled) {
            self.reason.store(reason as u16, Ordering::Relaxed);
            log::say(Level::Info, |line| {
                line.text("endpoint ").number(self.id()).text(" stays on TCP: ").text(reason.name())
            });
            self.drop_prefixes();
            if offered {
                broker::decline(self, reason);
            }
        }
    }

    /// A call on an endpoint that stays on TCP: after as many as would have made an offer the status is to say why.
    #[inline]
    pub fn regret(&'static self, fd: c_int) {
        if self.told.load(Ordering::Relaxed) == 0 && self.phase() == Phase::Settled {
            self.regret_slowly(fd);
        }
    }

    #[cold]
    fn regret_slowly(&'static self, fd: c_int) {
        let ops = self.ops.fetch_add(1, Ordering::Relaxed) + 1;
        if ops >= config::min_ops() && broker::is_reachable() && self.told.swap(1, Ordering::Relaxed) == 0 {
            broker::tell(self, fd, self.reason());
        }
    }

    /// Why it stays on TCP, if it does.
    pub fn reason(&self) -> Reason {
        Reason::from_wire(self.reason.load(Ordering::Relaxed)).unwrap_or(Reason::None)
    }

    /// Gives up the ring for good, whatever the phase: both directions go back to TCP, or never leave it.
    pub fn retire(&'static self, reason: Reason) {
        if reason == Reason::None {
            // Retired before, for a reason that was named then.
            return;
        }
        self.settle(reason);
        if let Some(link) = self.link()
            && link.ready() != Ready::Never
        {
            self.reason.store(reason as u16, Ordering::Relaxed);
            let wake = link.set_ready(Ready::Never);
            self.deliver(link, wake);
            log::say(Level::Info, |line| {
                line.text("endpoint ").number(self.id()).text(" goes back to TCP: ").text(reason.name())
            });
            broker::retired(self, reason);
        }
    }

    /// Whether the ring was given up for good.
    pub fn is_retired(&self) -> bool {
        self.reason() != Reason::None
    }

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
        self.family().readers.shut();
        self.family().writers.shut();
        let posted =
            |p: &slipstream_protocol::Prefix| slipstream_ring::verify::Prefix { bytes: p.bytes, digest: p.digest };
        link.post(&posted(&tx), &posted(&rx));
        self.nonblocking.store(u8::from(kernel::is_nonblocking(fd)), Ordering::Relaxed);
        self.linked_ns.store(kernel::now_ns(), Ordering::Relaxed);
        self.phase.store(Phase::Linked as u8, Ordering::Release);
        epoll::linked(self);
        self.drop_prefixes();
        log::say(Level::Info, |line| line.text("endpoint ").number(self.id()).text(" attached to its pair"));
        Ok(())
    }

    /// What a receive waits for, in bytes, as SO_RCVLOWAT has it; at most a full ring.
    #[inline]
    pub fn low_water(&self, link: &Link) -> u32 {
        self.low_water.load(Ordering::Relaxed).min(link.capacity())
    }

    /// Asks the kernel for SO_RCVLOWAT.
    pub fn learn_low_water(&self, fd: c_int) {
        let mut least: c_int = 1;
        if kernel::getsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, &mut least).is_ok() {
            self.low_water.store(least.max(1) as u32, Ordering::Relaxed);
        }
    }

    /// What an accepted connection has of its listener.
    pub fn inherit(&self, listener: &Self) {
        self.low_water.store(listener.low_water.load(Ordering::Relaxed), Ordering::Relaxed);
        // Options are inherited; who gets signals is not.
        if !matches!(listener.reason(), Reason::None | Reason::AsyncSignal) {
            self.settle(listener.reason());
        }
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
                if self.family().readers.is_empty()
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
        let consumed = self.any_descriptor().and_then(|fd| tcp::consumed(fd, None));
        if let Some(consumed) = consumed {
            link.consumer().note_taken(consumed);
        }
        roles::leave_receiving(self, link, entry);
        consumed.is_some()
    }

    /// Carries a wake out.
    #[inline]
    pub fn deliver(&self, link: &Link, wake: Wake) {
        link.deliver(wake, &Bell(self.peer_bell.load(Ordering::Relaxed)));
    }

    /// Wakes this endpoint's own sleepers, in all holders: what they wait for has moved to another place.
    pub fn wake_own(&self, link: &Link) {
        link.local().fetch_add(1, Ordering::SeqCst);
        kernel::futex_wake_all(link.local());
        kernel::ring(self.own_bell());
    }

    /// The peer breaks the protocol: the connection is reset, nothing else is harmed.
    #[cold]
    pub fn fail(&'static self, fd: c_int) -> Errno {
        self.retire(Reason::Hostile);
        kernel::reset(self.descriptor(fd));
        Errno(libc::ECONNRESET)
    }
}

/// A close under way.
#[must_use]
pub struct Closing {
    endpoint: &'static Endpoint,
    /// `Some(last holder)` when it was the process' last descriptor.
    linger: Option<bool>,
}

impl Closing {
    /// After the real close.
    pub fn finish(self) {
        let endpoint = self.endpoint;
        let Some(last_holder) = self.linger else { return };
        // While a call is inside, the connection lives on; `bury` ends it.
        if let Some(link) = endpoint.link()
            && last_holder
            && endpoint.kept.load(Ordering::SeqCst) < 0
        {
            let wake = link.mark_end();
            endpoint.deliver(link, wake);
        }
        epoll::forget(endpoint);
        let known = match endpoint.phase() {
            Phase::Offered | Phase::Prepared | Phase::Linked => true,
            Phase::Settled => endpoint.told.load(Ordering::Relaxed) != 0,
            Phase::Idle | Phase::Counting => false,
        };
        if known && last_holder {
            broker::withdraw(endpoint);
        }
        if !process::is_exiting() {
            endpoint.family().lower();
        }
        // The descriptors' own pin, last.
        endpoint.unpin();
    }
}

struct Bell(c_int);

impl Waker for Bell {
    fn wake_all(&self, word: &AtomicU32) {
        kernel::futex_wake_all(word);
    }

    fn ring(&self) {
        kernel::ring(self.0);
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

/// In a forked child.
pub fn after_fork() {
    ENDPOINTS.after_fork();
    family::after_fork();
    prefix::after_fork();
}
