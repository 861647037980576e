//! An endpoint: one kernel socket, as this process knows it. Every descriptor that names it leads here.

mod attach;
mod ending;
mod staying;

pub use ending::Closing;

use crate::bounce::Bounce;
use crate::counter::Counter;
use crate::family::{self, Family};
use crate::held::{self, Obligation};
use crate::kernel::{self, Errno};
use crate::kin::Census;
use crate::prefix::{self, Prefixes};
use crate::readiness::{epoll, member};
use crate::slab::{Slab, Slot};
use crate::{broker, config, descriptor, process, thread};
use attach::Mapping;
use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use slipstream_protocol::Reason;
use slipstream_ring::Link;
use slipstream_ring::role::RoleLock;
use slipstream_ring::wait::{Wake, Waker};

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
    /// The peer's outbox has come and is being mapped, by whoever reads the mail.
    Attaching = 4,
    /// Both outboxes are mapped: every call is managed.
    Linked = 5,
    /// Stays on TCP for good; nothing is counted any more.
    Settled = 6,
}

impl Phase {
    fn from_word(word: u8) -> Self {
        match word {
            1 => Self::Counting,
            2 => Self::Offered,
            3 => Self::Prepared,
            4 => Self::Attaching,
            5 => Self::Linked,
            6 => Self::Settled,
            _ => Self::Idle,
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
    /// The socket's cookie, once it was offered.
    pub cookie: AtomicU64,
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
    /// The TCP socket once the last descriptor is closed while calls are still inside; and, until it is closed, a descriptor
    /// that the table has forgotten. Else -1.
    kept: AtomicI32,
    /// Whether its sending outruns the peer's reading.
    pub bounce: Bounce,
    /// How much had been read from TCP when it was last acknowledged for the sake of what goes through the ring.
    pub acknowledged: AtomicU64,
    /// Hint: O_NONBLOCK as last seen.
    pub nonblocking: AtomicU8,
    /// 1 while TCP may have shown the connection's end: the next send asks it.
    pub ending: AtomicU8,
    /// Since when the peer's end was last looked for, CLOCK_MONOTONIC ns.
    pub looked_ns: AtomicU64,
    /// Odd while TCP may show something that readiness calls must ask the kernel for.
    pub tcp_hint: AtomicU64,
    /// The peer's marks that readiness calls have seen.
    pub marks: AtomicU32,
    /// This process' number, while the family has it by that; else 0.
    listed: AtomicU32,
    /// 1 once this process counts there no more.
    left: AtomicU8,
    /// 1 once another image, which exec is about to make of this process, counts as a holder, too.
    bequeathed: AtomicU8,
    /// 1 once SO_LINGER is as exec's close needs it, and what it was before, in the kernel's layout.
    lingers: AtomicU8,
    linger: AtomicU64,
    /// 1 once a fork has counted a holder for it.
    raised: AtomicU8,
    /// 1 in a forked child until the broker knows that it holds the endpoint, too.
    inherited: AtomicU8,
    /// Guards `members`; taken inside a set's own lock.
    pub members_lock: RoleLock,
    /// Registrations in epoll sets, see `readiness::member`.
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
            family.give_back();
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
        self.cookie.store(0, Ordering::Relaxed);
        self.since_ns.store(0, Ordering::Relaxed);
        self.last_fd.store(fd, Ordering::Relaxed);
        self.set_family(family);
        self.prefixes.store(core::ptr::null_mut(), Ordering::Relaxed);
        self.pair.store(0, Ordering::Relaxed);
        for fd in [&self.own_bell, &self.peer_bell, &self.socket, &self.kept] {
            fd.store(-1, Ordering::Relaxed);
        }
        self.bounce.reset();
        self.acknowledged.store(0, Ordering::Relaxed);
        self.nonblocking.store(0, Ordering::Relaxed);
        self.ending.store(0, Ordering::Relaxed);
        self.looked_ns.store(0, Ordering::Relaxed);
        self.tcp_hint.store(1, Ordering::Relaxed);
        self.marks.store(0, Ordering::Relaxed);
        self.listed.store(0, Ordering::Relaxed);
        for word in [&self.left, &self.bequeathed, &self.lingers, &self.inherited] {
            word.store(0, Ordering::Relaxed);
        }
        self.raised.store(0, Ordering::Relaxed);
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

    fn set_family(&self, family: &'static Family) {
        self.family.store(core::ptr::from_ref(family).cast_mut(), Ordering::Relaxed);
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
            member::bell_moved(self, from);
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

    /// Whether several descriptors of this process name it.
    pub fn is_shared_here(&self) -> bool {
        self.refs.load(Ordering::Relaxed) > 1
    }

    /// One descriptor more. `false`: the last is just being closed.
    pub fn add_ref(&self) -> bool {
        let more = |refs: u32| (refs > 0).then_some(refs + 1);
        self.refs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// In a forked child: the other threads are not there.
    pub fn after_fork(&self) {
        self.pins.start();
        // Who is listed, or leaves it to another image, is the parent.
        self.listed.store(0, Ordering::Relaxed);
        self.bequeathed.store(0, Ordering::Relaxed);
        self.kept.store(-1, Ordering::Relaxed);
        self.lingers.store(0, Ordering::Relaxed);
        self.inherited.store(u8::from(self.phase() == Phase::Linked), Ordering::Relaxed);
        // The offer is the parent's. When the parent has closed its descriptor, this process may make its own.
        self.advance(Phase::Offered, Phase::Counting);
        let prepared = self.advance(Phase::Prepared, Phase::Settled);
        if prepared || self.advance(Phase::Attaching, Phase::Settled) {
            // As in `give_up`.
            self.family().lose_count();
        }
        if prepared {
            self.put_back();
        }
    }

    /// The family knows this process by its number from here on, so that it is not counted any more once it is gone. Without
    /// a number, none of those to come is believed: they may be told by other books.
    pub fn list(&self, number: Option<u32>, census: &mut Census) {
        // Once: another thread may exit, and the family be another connection's then.
        let family = self.family();
        if self.has_left() {
            return;
        }
        match number {
            Some(number) if family.list(number, census) => {
                // SeqCst here and in `leave_family`: of two threads of which one exits, one finds what the other has stored.
                self.listed.store(number, Ordering::SeqCst);
                if self.left.load(Ordering::SeqCst) != 0 && self.listed.swap(0, Ordering::SeqCst) != 0 {
                    family.strike(number);
                }
            }
            Some(_) => {}
            None => family.close_list(),
        }
    }

    /// Counted, but not by a number any more.
    pub fn unlist(&'static self) {
        if let number @ 1.. = self.listed.swap(0, Ordering::Relaxed) {
            self.family().unlist(number);
        }
    }

    /// Whether no other process holds it.
    pub fn is_alone(&self) -> bool {
        self.family().has_one_holder(&mut Census::new())
    }

    /// TCP may show something: whoever looks for readiness is to ask the kernel.
    pub fn hint(&self) {
        // Release: its partner is the look that asks (`levels`). A value that never was, so that such a look takes down none that
        // came after its question.
        let _ = self.tcp_hint.fetch_update(Ordering::Release, Ordering::Relaxed, |hint| Some((hint | 1) + 2));
    }

    /// Whether there is such a hint.
    #[inline]
    pub fn is_hinted(&self) -> bool {
        self.tcp_hint.load(Ordering::Relaxed) & 1 != 0
    }

    /// Before a sleep: the broker is to wake the peer when this process dies, not only when its parent does.
    pub fn adopt(&self) {
        if self.inherited.load(Ordering::Relaxed) != 0
            && self.inherited.swap(0, Ordering::Relaxed) != 0
            && !broker::adopt(self)
        {
            self.inherited.store(1, Ordering::Relaxed);
        }
    }

    /// A descriptor of this endpoint, for a call of the shim's own: `fd` while it is one.
    pub fn descriptor(&'static self, fd: c_int) -> c_int {
        if descriptor::is(fd, self) {
            self.last_fd.store(fd, Ordering::Relaxed);
            return fd;
        }
        // Of `with_descriptor`.
        if fd >= 0 && thread::current().copy.get() == fd + 1 {
            return fd;
        }
        let kept = self.kept.load(Ordering::SeqCst);
        if kept >= 0 { kept } else { self.any_descriptor().unwrap_or(-1) }
    }

    /// A call on the socket that may sleep; once more when another thread has closed the number in the moment before it.
    pub fn on_socket<T>(&'static self, fd: c_int, call: impl Fn(c_int) -> kernel::Result<T>) -> kernel::Result<T> {
        loop {
            let socket = self.descriptor(fd);
            match call(socket) {
                Err(Errno(libc::EBADF)) if self.descriptor(fd) != socket => {}
                result => return result,
            }
        }
    }

    /// Runs `work` with a descriptor of this endpoint that no other thread closes meanwhile.
    pub fn with_descriptor<T>(&'static self, work: impl FnOnce(c_int) -> T) -> T {
        loop {
            let fd = self.descriptor(-1);
            // A filter may end the process for a copy.
            if fd < 0 || !process::owns_tables() || broker::is_silent() {
                return work(fd);
            }
            let copy = match descriptor::keep(fd) {
                Ok(copy) => copy,
                Err(Errno(libc::EBADF)) if !descriptor::is(fd, self) => {
                    self.has_left_table(fd);
                    continue;
                }
                Err(_) => return work(fd),
            };
            // Whoever closes one takes it out of the table first: what is there still, was there when it was copied.
            if self.kept.load(Ordering::SeqCst) == fd || descriptor::is(fd, self) {
                let cell = &thread::current().copy;
                let outer = cell.replace(copy + 1);
                let result = held::during(Obligation::Copy(copy), || work(copy));
                cell.set(outer);
                descriptor::close_own(copy);
                return result;
            }
            descriptor::close_own(copy);
        }
    }

    /// Whether its number is its socket's: a vfork child may have put something else there.
    pub fn is_in_place(&'static self) -> bool {
        process::owns_tables() || kernel::cookie(self.descriptor(-1)) == Ok(self.cookie.load(Ordering::Relaxed))
    }

    /// Any descriptor of this process that names it.
    pub fn any_descriptor(&'static self) -> Option<c_int> {
        let last = self.last_fd.load(Ordering::Relaxed);
        if descriptor::is(last, self) {
            return Some(last);
        }
        descriptor::find(self)
    }

    /// What a receive waits for, in bytes, as SO_RCVLOWAT has it; at most a full ring.
    #[inline]
    pub fn low_water(&self, link: &Link) -> u32 {
        self.family().low_water.load(Ordering::Relaxed).min(link.capacity())
    }

    /// Asks the kernel for SO_RCVLOWAT.
    pub fn learn_low_water(&self, fd: c_int) {
        let mut least: c_int = 1;
        if kernel::getsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, &mut least).is_ok() {
            self.family().low_water.store(least.max(1) as u32, Ordering::Relaxed);
        }
    }

    /// What an accepted connection has of its listener.
    pub fn inherit(&self, listener: &Self) {
        let least = listener.family().low_water.load(Ordering::Relaxed);
        self.family().low_water.store(least, Ordering::Relaxed);
        // Options are inherited; who gets signals, and who reads it, is not.
        if !matches!(listener.reason(), Reason::None | Reason::AsyncSignal | Reason::Stdio) {
            self.settle(listener.reason());
        }
    }

    /// Carries a wake out.
    #[inline]
    pub fn deliver(&self, link: &Link, wake: Wake) {
        link.deliver(wake, &Bell(self.peer_bell.load(Ordering::Relaxed)));
    }

    /// Reading goes on behind `turn`. Under the receiving role.
    pub fn follow(&self, link: &Link, turn: u32) {
        if link.consumer().follow(turn).is_ok() {
            self.wake_own(link);
        }
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

struct Bell(c_int);

impl Waker for Bell {
    fn wake_all(&self, word: &AtomicU32) {
        kernel::futex_wake_all(word);
    }

    fn ring(&self) {
        kernel::ring(self.0);
    }
}

/// In a forked child.
pub fn after_fork() {
    ENDPOINTS.after_fork();
    family::after_fork();
    prefix::after_fork();
}
