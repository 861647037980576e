//! A registration in a program's epoll set, which the shim serves once its connection has moved.
//!
//! In the kernel a registration is one of a socket under a number. When the number is closed while a dup of the socket
//! lives, it goes on; the number, which may soon be another socket's, does not lead to it any more. So does a member: it
//! is found by endpoint and number, goes on in the hub, and whoever is about to use its number looks, under the set's lock,
//! whether that still names the endpoint. See [`number_gone`].

use crate::descriptor;
use crate::endpoint::Endpoint;
use crate::kernel::{self, Errno};
use crate::readiness::fdinfo;
use crate::readiness::levels::{READABLE, WRITABLE};
use crate::readiness::set::Set;
use crate::roles;
use crate::slab::{Slab, Slot};
use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use slipstream_ring::wait::Armed;

/// An endpoint's registration in a set.
#[repr(C)]
pub struct Member {
    next_free: AtomicPtr<Member>,
    /// How many members have been in this place: what a hub tells of an earlier one is not told of this.
    generation: AtomicU32,
    /// In the endpoint's list, under the set's lock of each.
    pub(crate) next_of_endpoint: AtomicPtr<Member>,
    /// In the set's hot list.
    pub(crate) next_hot: AtomicPtr<Member>,
    pub(crate) is_hot: AtomicU32,
    set: AtomicPtr<Set>,
    endpoint: AtomicPtr<Endpoint>,
    pub(crate) fd: AtomicI32,
    /// As the program registered it; 0 in one that has been removed.
    pub(crate) events: AtomicU32,
    pub(crate) data: AtomicU64,
    /// 1 once its descriptor stands in the hub instead of the program's set.
    pub(crate) managed: AtomicU32,
    /// 1 in a managed one that the program has removed: it waits in the hub to be added again, as some programs do for
    /// each request.
    pub(crate) dormant: AtomicU32,
    /// Bits that may be reported once, edge-triggered.
    pub(crate) edges: AtomicU32,
    /// The peer's producer cursor at the last edge-triggered report.
    pub(crate) seen_tail: AtomicU64,
    /// How much had been read from TCP then.
    pub(crate) seen_taken: AtomicU64,
    /// Looks in vain since it was last ready.
    pub(crate) idle: AtomicU32,
    /// The look in which it was last told, and when its peer had last published something then.
    pub(crate) told: AtomicU32,
    pub(crate) news: AtomicU64,
    /// The announcement of a sleep that may be taken back: under the set's lock.
    pub(crate) armed: UnsafeCell<Option<Armed>>,
    /// 1 in one that was never in the program's set.
    pub(crate) fresh: AtomicU32,
    /// 1 after a one-shot report.
    pub(crate) spent: AtomicU32,
    /// 1 once the shim has made one, and when it took the registration over: by the set's count.
    pub(crate) reported: AtomicU32,
    pub(crate) taken_at: AtomicU32,
}

// SAFETY: `armed` is touched only under the set's lock; the rest is atomic.
unsafe impl Sync for Member {}

impl Slot for Member {
    fn next_free(&self) -> &AtomicPtr<Self> {
        &self.next_free
    }
}

static MEMBERS: Slab<Member> = Slab::new(false);

/// What the hub is to be told of a TCP socket whose registration asks for `wanted`: every edge of what the shim must know. Not of
/// bytes that nobody asks for: the kernel shows an edge with all that is ready, so they would look like one of room.
fn hub_events(wanted: u32) -> u32 {
    let bytes = (libc::EPOLLIN | libc::EPOLLPRI) as u32;
    let always = (libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
    if wanted & (READABLE | bytes) != 0 { always | bytes } else { always }
}

/// In the hub's events: the lowest bit of a member's address marks its doorbell.
pub const BELL: u64 = 1;
/// So many bits are an address of the program's memory.
const ADDRESS: u32 = 48;

impl Member {
    pub fn endpoint(&self) -> &'static Endpoint {
        // SAFETY: set when the member was made; endpoints live in memory that keeps its type.
        unsafe { &*self.endpoint.load(Ordering::Relaxed) }
    }

    pub fn set(&self) -> &'static Set {
        // SAFETY: as above, sets.
        unsafe { &*self.set.load(Ordering::Relaxed) }
    }

    /// What the hub's events for it carry: its address, and above that which of the members in this place it is. What
    /// cannot be taken out of a hub, for want of a number, so names nobody.
    pub fn token(&self) -> u64 {
        core::ptr::from_ref(self) as u64 | u64::from(self.generation.load(Ordering::Relaxed)) << ADDRESS
    }

    /// The member that an event of the hub's names.
    pub fn of_event(data: u64) -> Option<&'static Self> {
        // SAFETY: only members' tokens are registered in a hub, and members live in memory that keeps its type.
        let member: &'static Self = unsafe { &*((data & !BELL & ((1 << ADDRESS) - 1)) as *const Self) };
        (member.token() == data & !BELL && member.is_managed()).then_some(member)
    }

    /// Whether its number still names its endpoint. Under the set's lock that stays so until the lock is given back.
    fn has_number(&self) -> bool {
        descriptor::is(self.fd.load(Ordering::Relaxed), self.endpoint())
    }

    /// Whether its descriptor stands in the hub.
    pub fn is_managed(&self) -> bool {
        self.managed.load(Ordering::Relaxed) != 0
    }

    /// Whether the shim reports its readiness.
    pub fn is_live(&self) -> bool {
        self.is_managed() && self.dormant.load(Ordering::Relaxed) == 0
    }

    /// Registers it (anew, or otherwise) with the shim: whatever is ready then is to be reported.
    pub fn enlist(&'static self, events: u32, data: u64) {
        let before = hub_events(self.events.swap(events, Ordering::Relaxed));
        if hub_events(events) != before {
            let (hub, fd) = (self.set().hub.load(Ordering::Relaxed), self.fd.load(Ordering::Relaxed));
            let _ = kernel::epoll_ctl(hub, libc::EPOLL_CTL_MOD, fd, hub_events(events), self.token());
        }
        self.data.store(data, Ordering::Relaxed);
        self.dormant.store(0, Ordering::Relaxed);
        self.spent.store(0, Ordering::Relaxed);
        self.seen_tail.store(u64::MAX, Ordering::Relaxed);
        self.edges.store(u32::MAX, Ordering::Relaxed);
        self.set().heat(self);
        self.ask_first();
    }

    /// The first report, of room in the ring, brings with it what TCP has: a one-shot registration is told no more, an edge not
    /// twice.
    fn ask_first(&self) {
        let events = self.events.load(Ordering::Relaxed);
        if events & WRITABLE != 0 && events & (libc::EPOLLONESHOT | libc::EPOLLET) as u32 != 0 {
            self.endpoint().hint();
        }
    }

    /// As [`Member::manage`], for a registration that has not been in the program's set.
    pub fn manage_fresh(&'static self, epoll: c_int) -> bool {
        self.fresh.store(1, Ordering::Relaxed);
        self.manage(epoll)
    }

    /// Whether the shim serves another registration of the set that has the same data. Under the lock.
    fn has_double(&self) -> bool {
        let data = self.data.load(Ordering::Relaxed);
        let is_double = |other: &Member| {
            core::ptr::eq(other.set(), self.set())
                && !core::ptr::eq(other, self)
                && other.is_managed()
                && other.is_live()
                && other.has_number()
                && other.data.load(Ordering::Relaxed) == data
        };
        let mut found = false;
        descriptor::for_each_endpoint(|endpoint| found |= each(endpoint, is_double).is_some());
        found
    }

    /// Takes the registration over into the hub.
    pub fn manage(&'static self, epoll: c_int) -> bool {
        let (set, endpoint) = (self.set(), self.endpoint());
        if !self.has_number() {
            // Nothing takes the registration out of the program's set any more.
            return false;
        }
        let Some(hub) = set.hub(epoll) else { return false };
        let fd = self.fd.load(Ordering::Relaxed);
        // A one-shot registration that has fired in the kernel stays silent here; without /proc we could not know.
        if self.events.load(Ordering::Relaxed) & libc::EPOLLONESHOT as u32 != 0
            && self.fresh.load(Ordering::Relaxed) == 0
        {
            // The kernel may tell of it just now, and would be known by its data.
            if self.has_double() {
                return false;
            }
            let Some(spent) = fdinfo::is_spent(epoll, fd, self.data.load(Ordering::Relaxed)) else { return false };
            self.spent.store(u32::from(spent), Ordering::Relaxed);
        }
        let token = self.token();
        let edge = (libc::EPOLLIN | libc::EPOLLET) as u32;
        if kernel::epoll_ctl(hub, libc::EPOLL_CTL_ADD, endpoint.own_bell(), edge, token | BELL).is_err() {
            // Another descriptor of the same endpoint has its bell there: one is enough, it makes all of them hot.
        }
        let events = hub_events(self.events.load(Ordering::Relaxed));
        if kernel::epoll_ctl(hub, libc::EPOLL_CTL_ADD, fd, events, token).is_err() {
            return false;
        }
        self.managed.store(1, Ordering::Relaxed);
        set.managed.fetch_add(1, Ordering::SeqCst);
        self.edges.store(READABLE | WRITABLE, Ordering::Relaxed);
        set.heat(self);
        self.ask_first();
        // Out of the program's set only now, so that at no moment nobody watches.
        let _ = kernel::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, 0, 0);
        // Whoever finds this unchanged after a wait was told of no registration by the kernel that is the shim's now.
        self.reported.store(0, Ordering::Relaxed);
        self.taken_at.store(set.taken_over.fetch_add(1, Ordering::SeqCst).wrapping_add(1), Ordering::Relaxed);
        true
    }
}

/// The registration of an endpoint's descriptor in a set.
pub fn find(endpoint: &'static Endpoint, set: &'static Set, fd: c_int) -> Option<&'static Member> {
    each(endpoint, |member| core::ptr::eq(member.set(), set) && member.fd.load(Ordering::Relaxed) == fd)
}

/// The first of an endpoint's registrations that `wanted` takes.
pub fn each(endpoint: &'static Endpoint, mut wanted: impl FnMut(&'static Member) -> bool) -> Option<&'static Member> {
    // Most endpoints are in no set.
    if endpoint.members.load(Ordering::Acquire).is_null() {
        return None;
    }
    with_members(endpoint, || {
        let mut pointer = endpoint.members.load(Ordering::Relaxed);
        while !pointer.is_null() {
            // SAFETY: as in `Set::each_hot`.
            let member: &'static Member = unsafe { &*pointer };
            if wanted(member) {
                return Some(member);
            }
            pointer = member.next_of_endpoint.load(Ordering::Relaxed);
        }
        None
    })
}

/// Runs `work` with an endpoint's list to itself. Lock order: a set's, then an endpoint's. May be entered again by the
/// thread that is in it.
fn with_members<T>(endpoint: &'static Endpoint, work: impl FnOnce() -> T) -> T {
    let entry = roles::enter(&endpoint.members_lock);
    let result = work();
    roles::leave(&endpoint.members_lock, entry, || ());
    result
}

/// Notes a registration. Under the set's lock.
pub fn add(
    endpoint: &'static Endpoint,
    set: &'static Set,
    fd: c_int,
    events: u32,
    data: u64,
) -> Option<&'static Member> {
    let member = MEMBERS.take()?;
    member.generation.store((member.generation.load(Ordering::Relaxed) + 1) & 0xffff, Ordering::Relaxed);
    member.set.store(core::ptr::from_ref(set).cast_mut(), Ordering::Relaxed);
    member.endpoint.store(core::ptr::from_ref(endpoint).cast_mut(), Ordering::Relaxed);
    member.fd.store(fd, Ordering::Relaxed);
    member.events.store(events, Ordering::Relaxed);
    member.data.store(data, Ordering::Relaxed);
    for word in
        [&member.managed, &member.dormant, &member.edges, &member.idle, &member.spent, &member.fresh, &member.is_hot]
    {
        word.store(0, Ordering::Relaxed);
    }
    // SAFETY: just taken from the slab: nobody else has it.
    unsafe { *member.armed.get() = None };
    member.seen_tail.store(u64::MAX, Ordering::Relaxed);
    member.seen_taken.store(endpoint.link().map_or(0, |link| link.consumer().taken()), Ordering::Relaxed);
    member.told.store(set.looks.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
    with_members(endpoint, || {
        member.next_of_endpoint.store(endpoint.members.load(Ordering::Relaxed), Ordering::Relaxed);
        endpoint.members.store(core::ptr::from_ref(member).cast_mut(), Ordering::Release);
    });
    Some(member)
}

/// An endpoint's doorbell has another number: the hubs know it by that.
pub fn bell_moved(endpoint: &'static Endpoint, from: c_int) {
    let edge = (libc::EPOLLIN | libc::EPOLLET) as u32;
    each(endpoint, |member| {
        let set = member.set();
        if member.is_managed() && set.inherited.load(Ordering::Relaxed) == 0 {
            let hub = set.hub.load(Ordering::Relaxed);
            if kernel::epoll_ctl(hub, libc::EPOLL_CTL_DEL, from, 0, 0).is_ok() {
                let _ = kernel::epoll_ctl(hub, libc::EPOLL_CTL_ADD, endpoint.own_bell(), edge, member.token() | BELL);
            }
        }
        false
    });
}

/// Registers an endpoint's socket in the program's set: under the member's own number, or, where that names something
/// else now, under one that the program does not know; then only the socket's end ends it. Under the set's lock.
pub fn give_back(member: &'static Member, epoll: c_int, events: u32, data: u64) {
    let endpoint = member.endpoint();
    let add = |fd| kernel::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, events, data);
    if member.has_number() {
        let _ = add(member.fd.load(Ordering::Relaxed));
        return;
    }
    // In a forked child the number is the parent's to know.
    if member.set().inherited.load(Ordering::Relaxed) != 0 {
        return;
    }
    let mut least = 0;
    while let Some(other) = endpoint.any_descriptor() {
        let Ok(copy) = descriptor::keep_from(other, least) else {
            // No room: rather under a number that the program may want to register than not at all.
            let _ = add(other);
            return;
        };
        // Else it may have been closed first, and be a copy of what has come there since.
        let added = descriptor::is(other, endpoint).then(|| add(copy));
        descriptor::close_own(copy);
        match added {
            None => {}
            // Another of its registrations has been given back so.
            Some(Err(Errno(libc::EEXIST))) => least = copy + 1,
            Some(_) => return,
        }
    }
}

/// A number has ceased to name an endpoint, and is about to be closed: whoever has seen it before, and acts on it under a
/// set's lock, does so before the kernel gives it away.
pub fn number_gone(endpoint: &'static Endpoint, fd: c_int) {
    let mut seen = 0;
    loop {
        let mut place = 0;
        let next = each(endpoint, |member| {
            place += 1;
            place > seen && member.fd.load(Ordering::Relaxed) == fd
        });
        let Some(member) = next else { return };
        seen = place;
        member.set().locked(|| ());
    }
}

/// Forgets an endpoint's registrations in a set. `false`: not now, see [`Set::locked`].
pub fn forget(endpoint: &'static Endpoint, set: &'static Set) -> bool {
    set.locked(|| {
        while let Some(member) = each(endpoint, |member| core::ptr::eq(member.set(), set)) {
            remove(member);
        }
    })
    .is_some()
}

/// Forgets a registration, and takes it out of the hub. Under the set's lock.
pub fn remove(member: &'static Member) {
    let (set, endpoint) = (member.set(), member.endpoint());
    if member.managed.swap(0, Ordering::Relaxed) != 0 {
        set.managed.fetch_sub(1, Ordering::SeqCst);
        let hub = if set.inherited.load(Ordering::Relaxed) == 0 { set.hub.load(Ordering::Relaxed) } else { -1 };
        // Without a number it stays there, unheard, as long as the socket lives.
        if member.has_number() {
            let _ = kernel::epoll_ctl(hub, libc::EPOLL_CTL_DEL, member.fd.load(Ordering::Relaxed), 0, 0);
        }
        // The endpoint's bell is there once, for all its registrations in this set.
        let heir = each(endpoint, |other| other.is_managed() && core::ptr::eq(other.set(), set));
        let (op, events, token) = match heir {
            Some(heir) => (libc::EPOLL_CTL_MOD, (libc::EPOLLIN | libc::EPOLLET) as u32, heir.token() | BELL),
            None => (libc::EPOLL_CTL_DEL, 0, 0),
        };
        let _ = kernel::epoll_ctl(hub, op, endpoint.own_bell(), events, token);
    }
    set.each_hot(|other| !core::ptr::eq(other, member));
    let found = with_members(endpoint, || {
        let mut place = &endpoint.members;
        loop {
            let pointer = place.load(Ordering::Relaxed);
            if pointer.is_null() {
                return false;
            }
            // SAFETY: as in `Set::each_hot`.
            let other: &'static Member = unsafe { &*pointer };
            if core::ptr::eq(other, member) {
                place.store(other.next_of_endpoint.load(Ordering::Relaxed), Ordering::Release);
                return true;
            }
            place = &other.next_of_endpoint;
        }
    });
    if found {
        MEMBERS.give(member);
    }
}

/// In a forked child.
pub fn after_fork() {
    descriptor::for_each_endpoint(|endpoint| {
        endpoint.members_lock.reset();
        each(endpoint, |member| {
            member.is_hot.store(0, Ordering::Relaxed);
            if member.is_live() {
                member.set().heat(member);
            }
            false
        });
    });
    MEMBERS.after_fork();
}
