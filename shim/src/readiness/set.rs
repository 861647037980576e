//! A program's epoll set. The registrations in it that the shim serves are its members (member.rs).
//!
//! The kernel's set keeps every descriptor that has not moved. A moved one is taken out of it and put, edge-triggered
//! and beside its doorbell, into the set's *hub*, a private epoll set that stands in the program's set under a token.
//! Nobody ever reads a doorbell, so no sleeper can rob another; the hub's events are the shim's alone, and the levels
//! that the program asked for are derived from the rings.

use crate::kernel;
use crate::readiness::member::{self, Member};
use crate::slab::{Slab, Slot};
use crate::{descriptor, roles};
use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use slipstream_ring::role::{Entry, RoleLock};

/// See the module.
#[repr(C)]
pub struct Set {
    next_free: AtomicPtr<Set>,
    refs: AtomicU32,
    /// Guards the lists.
    lock: RoleLock,
    /// Its hub, or -1.
    pub(crate) hub: AtomicI32,
    /// Members in the hub.
    pub(crate) managed: AtomicU32,
    /// Registrations taken over from the kernel so far.
    pub(crate) taken_over: AtomicU32,
    /// Members that are looked at on each call; the others are armed.
    pub(crate) hot: AtomicPtr<Member>,
    /// Threads inside the kernel's wait.
    pub(crate) sleepers: AtomicU32,
    /// 1 once its last descriptor is closed, 2 once it is taken apart: those who wait in it still hear of its members.
    closed: AtomicU32,
    /// Shared with the processes that have the set by fork, and what it says while one of them alone uses the set.
    tie: AtomicPtr<Tie>,
    alone: AtomicU32,
    /// 1 in a forked child: the kernel's sets are the parent's too, and their registrations the parent's to change.
    pub(crate) inherited: AtomicU32,
    /// 1 once it is watched as a descriptor itself (by another set, by poll) or used by a second process: then nobody may
    /// wait in user space for its members, and none of them moves.
    pub(crate) foreign: AtomicU32,
    /// When a forked child first left the hub's events to its parent, CLOCK_MONOTONIC ns.
    left_ns: AtomicU64,
    /// 1 while a member may have been recalled by another holder, or is to leave the ring now.
    pub(crate) recalled: AtomicU32,
    /// When the kernel last had something to tell, CLOCK_MONOTONIC ns.
    pub(crate) kernel_told_ns: AtomicU64,
    /// Looks begun.
    pub(crate) looks: AtomicU32,
    /// When the kernel was last asked, CLOCK_MONOTONIC ns.
    pub(crate) asked_ns: AtomicU64,
}

impl Slot for Set {
    fn next_free(&self) -> &AtomicPtr<Self> {
        &self.next_free
    }
}

/// How many processes use a set: in memory that fork does not copy.
#[repr(C)]
struct Tie {
    next_free: AtomicPtr<Tie>,
    /// Even while one does. Another value for each set that has had this place. Relaxed throughout: nothing else hangs on when it
    /// is seen, and whoever is late looks again in its next turn.
    uses: AtomicU32,
}

impl Slot for Tie {
    fn next_free(&self) -> &AtomicPtr<Self> {
        &self.next_free
    }
}

/// How long a forked child leaves the hub's events to its parent, in ns: who waits there is woken by them and takes them.
const LEFT_TO_PARENT: u64 = 100_000_000;

static TIES: Slab<Tie> = Slab::new(true);
static SETS: Slab<Set> = Slab::new(false);

impl Set {
    /// A set with one descriptor.
    pub fn found() -> Option<&'static Self> {
        let tie = TIES.take()?;
        let Some(set) = SETS.take() else {
            TIES.give(tie);
            return None;
        };
        // A child of the former set's process finds its own value gone.
        let alone = (tie.uses.load(Ordering::Relaxed) | 1).wrapping_add(1);
        tie.uses.store(alone, Ordering::Relaxed);
        set.alone.store(alone, Ordering::Relaxed);
        set.tie.store(core::ptr::from_ref(tie).cast_mut(), Ordering::Relaxed);
        set.refs.store(1, Ordering::Relaxed);
        set.hub.store(-1, Ordering::Relaxed);
        set.managed.store(0, Ordering::Relaxed);
        set.hot.store(core::ptr::null_mut(), Ordering::Relaxed);
        for word in [&set.sleepers, &set.closed, &set.inherited, &set.foreign, &set.recalled] {
            word.store(0, Ordering::Relaxed);
        }
        Some(set)
    }

    fn tie(&self) -> &'static Tie {
        // SAFETY: set when the set was made; ties live in memory that keeps its type.
        unsafe { &*self.tie.load(Ordering::Relaxed) }
    }

    /// Whether this process has it by fork.
    pub fn is_inherited(&self) -> bool {
        self.inherited.load(Ordering::Relaxed) != 0
    }

    /// Whether a forked child has used it.
    pub fn is_shared(&self) -> bool {
        self.tie().uses.load(Ordering::Relaxed) != self.alone.load(Ordering::Relaxed)
    }

    /// A forked child uses it.
    pub fn share(&self) {
        let alone = self.alone.load(Ordering::Relaxed);
        let _ = self.tie().uses.compare_exchange(alone, alone.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the hub's events are another process's: a forked child's parent may be asleep in the set, and is woken by them.
    pub fn is_left_to_parent(&self) -> bool {
        let since = || self.left_ns.load(Ordering::Relaxed);
        self.is_inherited() && (since() == 0 || kernel::now_ns().wrapping_sub(since()) < LEFT_TO_PARENT)
    }

    /// The hub has something. From the first time on, a parent that does not take it does not wait for it.
    pub fn hub_has_told(&self) {
        if self.is_inherited() {
            let _ = self.left_ns.compare_exchange(0, kernel::now_ns(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub fn add_ref(&self) {
        self.refs.fetch_add(1, Ordering::SeqCst);
    }

    /// One descriptor less.
    pub fn release(&'static self) {
        if self.refs.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.closed.store(1, Ordering::SeqCst);
            self.take_apart();
        }
    }

    /// Whether it has no descriptor any more, and those who wait in it no number.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) != 0
    }

    /// The end of a closed set, unless there is a sleeper left to do this: to be called after a wait, when its outcome is
    /// known.
    pub fn take_apart(&'static self) {
        if self.closed.load(Ordering::SeqCst) != 1
            || self.sleepers.load(Ordering::SeqCst) != 0
            || self.closed.swap(2, Ordering::SeqCst) != 1
        {
            return;
        }
        descriptor::for_each_endpoint(|endpoint| {
            member::forget(endpoint, self);
        });
        let hub = self.hub.swap(-1, Ordering::SeqCst);
        if hub >= 0 {
            descriptor::close_own(hub);
        }
        if !self.is_inherited() {
            TIES.give(self.tie());
        }
        SETS.give(self);
    }

    /// Runs `work` with the lists to itself. `None`: a signal handler of the thread that is at it.
    pub fn locked<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let entry = roles::enter(&self.lock);
        if entry == Entry::Reentered {
            return None;
        }
        let result = work();
        roles::leave(&self.lock, entry, || ());
        Some(result)
    }

    /// The hub, made when the first member moves.
    pub fn hub(&'static self, epoll: c_int) -> Option<c_int> {
        let hub = self.hub.load(Ordering::Relaxed);
        if hub >= 0 {
            return Some(hub);
        }
        let hub = descriptor::own_set().ok()?;
        // Before it can report anything: whoever sees its event knows it for what it is.
        self.hub.store(hub, Ordering::SeqCst);
        if kernel::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, hub, libc::EPOLLIN as u32, self.token()).is_err() {
            self.hub.store(-1, Ordering::SeqCst);
            descriptor::close_own(hub);
            return None;
        }
        Some(hub)
    }

    /// Whether a hub stands in the program's set.
    pub fn has_hub(&self) -> bool {
        self.hub.load(Ordering::SeqCst) >= 0
    }

    /// What the hub's events in the program's set carry: an address of the shim's own, which no program uses.
    pub fn token(&self) -> u64 {
        core::ptr::from_ref(self) as u64
    }

    /// The member is looked at on each call from now on. Under the lock.
    pub fn heat(&self, member: &'static Member) {
        member.idle.store(0, Ordering::Relaxed);
        if member.is_hot.swap(1, Ordering::Relaxed) == 0 {
            member.next_hot.store(self.hot.load(Ordering::Relaxed), Ordering::Relaxed);
            self.hot.store(core::ptr::from_ref(member).cast_mut(), Ordering::Relaxed);
        }
    }

    /// Puts the members from `member` on before those that come first now. Under the lock.
    pub fn rotate_hot(&self, member: &'static Member) {
        let first = self.hot.load(Ordering::Relaxed);
        let wanted = core::ptr::from_ref(member).cast_mut();
        let mut last_before = None;
        let mut last = None;
        self.each_hot(|other| {
            if core::ptr::eq(other, member) {
                last_before = last;
            }
            last = Some(other);
            true
        });
        if let (Some(last_before), Some(last)) = (last_before, last) {
            last_before.next_hot.store(core::ptr::null_mut(), Ordering::Relaxed);
            last.next_hot.store(first, Ordering::Relaxed);
            self.hot.store(wanted, Ordering::Relaxed);
        }
    }

    /// Walks the hot members; `keep` says which stay hot. Under the lock.
    pub fn each_hot(&self, mut keep: impl FnMut(&'static Member) -> bool) {
        let mut place = &self.hot;
        loop {
            let pointer = place.load(Ordering::Relaxed);
            if pointer.is_null() {
                return;
            }
            // SAFETY: members live in memory that keeps its type; a removed one is taken out of the list first.
            let member: &'static Member = unsafe { &*pointer };
            if member.is_live() && keep(member) {
                place = &member.next_hot;
            } else {
                place.store(member.next_hot.load(Ordering::Relaxed), Ordering::Relaxed);
                member.is_hot.store(0, Ordering::Relaxed);
            }
        }
    }
}

/// A descriptor of the shim's own has another number: whether it is this set's hub. `epoll` is the set.
pub fn relocate(set: &'static Set, epoll: c_int, from: c_int, to: c_int) -> bool {
    if set.hub.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_err() {
        return false;
    }
    if set.inherited.load(Ordering::Relaxed) == 0 {
        // At no moment is it in there under neither.
        let _ = kernel::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, to, libc::EPOLLIN as u32, set.token());
        let _ = kernel::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, from, 0, 0);
    }
    true
}

/// In a forked child.
pub fn after_fork() {
    descriptor::for_each(|_, entry| {
        if let descriptor::Entry::Set(set) = entry {
            set.inherited.store(1, Ordering::Relaxed);
            set.left_ns.store(0, Ordering::Relaxed);
            set.sleepers.store(0, Ordering::Relaxed);
            // A thread that is not here may have been at the list.
            set.lock.reset();
            set.hot.store(core::ptr::null_mut(), Ordering::Relaxed);
        }
    });
    member::after_fork();
    SETS.after_fork();
    TIES.after_fork();
}
