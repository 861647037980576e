//! epoll over sets with moved members.

use crate::endpoint::Endpoint;
use crate::held::{self, Obligation};
use crate::kernel::{self, Errno};
use crate::readiness::levels::{self, READABLE, WRITABLE};
use crate::readiness::set;
pub use crate::readiness::set::{Member, Set};
use crate::{descriptor, real, recall, tcp, wait};
use core::cell::Cell;
use core::ffi::c_int;
use core::sync::atomic::{AtomicU64, Ordering};
use slipstream_protocol::Reason;
use slipstream_ring::carrier::Carrier;
use slipstream_ring::wait::Sleep;

/// Looks in vain after which a hot member is armed and left to its doorbell.
const PATIENCE: u32 = 512;
/// Looks in vain after which a sleep leaves a hot member to its doorbell.
const WARM: u32 = 8;
/// What may be asked for together with EPOLLEXCLUSIVE.
const EXCLUSIVE_OK: u32 = EXCLUSIVE
    | (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLERR | libc::EPOLLHUP | libc::EPOLLWAKEUP | libc::EPOLLET) as u32;
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;
/// The kernel's descriptors are asked whenever they were not in the last so many ns, and in every eighth call.
const FAIRNESS: u64 = 5_000;
/// So many ns after it has told of something, the kernel is asked in every call.
const LATELY: u64 = 1_000_000;

/// epoll_ctl on a descriptor that is an endpoint; `real` is the program's own call, whose result this is where the
/// kernel serves the registration.
///
/// What the kernel's set has and what is noted of it change together, under the set's lock: another thread that links
/// the endpoint, or registers it once more, finds both as they were or both as they are.
pub fn control(
    set: &'static Set,
    epoll: c_int,
    op: c_int,
    endpoint: &'static Endpoint,
    fd: c_int,
    event: Option<libc::epoll_event>,
    real: impl Fn() -> c_int,
) -> Result<c_int, Errno> {
    if set.is_foreign() && in_ring(endpoint) {
        // Bytes may be left in the ring: then the shim serves it until they are read.
        recall::detach(endpoint, Reason::EpollForeign);
    }
    if endpoint.link().is_some_and(|link| link.has_recalled()) {
        // Perhaps by another holder: the kernel is to know its registrations again.
        release(endpoint);
    }
    let mut unserved = false;
    let result = set.locked(|| {
        if in_ring(endpoint)
            && let Some(result) = serve(set, epoll, op, endpoint, fd, event, &mut unserved)
        {
            return result.map(|()| 0);
        }
        let result = real();
        if result == 0 {
            note(set, op, endpoint, fd, event);
        }
        Ok(result)
    });
    // A signal handler of the thread that is at the lists: what it registers stays unseen.
    let result = result.unwrap_or_else(|| Ok(real()));
    let stays = match () {
        () if set.is_foreign() => Some(Reason::EpollForeign),
        // No memory or no descriptor for it: TCP needs none.
        () if unserved => Some(Reason::Descriptors),
        () if result.is_ok() && event.is_some_and(|event| is_exclusive(event.events)) => Some(Reason::EpollExclusive),
        () => None,
    };
    if let Some(Reason::Descriptors) = stays {
        // Nobody would report what is left in the ring.
        recall::detach_now(endpoint, Reason::Descriptors);
    } else if let Some(reason) = stays {
        recall::detach(endpoint, reason);
    } else if in_ring(endpoint) {
        // Linked meanwhile, by another thread: take the registration over now.
        linked_in(endpoint, set, epoll);
    }
    result
}

/// The same on a descriptor that is no epoll set, or one that came by a way that the shim did not see: the kernel tells.
pub fn control_unknown(
    epoll: c_int,
    op: c_int,
    endpoint: &'static Endpoint,
    fd: c_int,
    event: Option<libc::epoll_event>,
    real: impl Fn() -> c_int,
) -> c_int {
    let result = real();
    if result == 0
        && let Some(set) = descriptor::set_or_found(epoll)
    {
        set.locked(|| note(set, op, endpoint, fd, event));
        if in_ring(endpoint) {
            linked(endpoint);
        }
    }
    result
}

/// Whom it wakes is the kernel's to choose.
fn is_exclusive(events: u32) -> bool {
    events & EXCLUSIVE != 0
}

/// Whether an endpoint is linked and has not left the ring.
fn in_ring(endpoint: &'static Endpoint) -> bool {
    endpoint.link().is_some_and(|link| !link.has_recalled())
}

/// epoll_ctl on an endpoint in the ring, under the set's lock. `None`: the kernel is to do it, or to judge.
fn serve(
    set: &'static Set,
    epoll: c_int,
    op: c_int,
    endpoint: &'static Endpoint,
    fd: c_int,
    event: Option<libc::epoll_event>,
    unserved: &mut bool,
) -> Option<Result<(), Errno>> {
    let member = set::find(endpoint, set, fd);
    Some(match (op, event) {
        // An exclusive registration asks for little, and cannot be changed.
        (libc::EPOLL_CTL_ADD, Some(event)) if is_exclusive(event.events) && event.events & !EXCLUSIVE_OK != 0 => {
            Err(Errno(libc::EINVAL))
        }
        (libc::EPOLL_CTL_MOD, Some(event))
            if is_exclusive(event.events)
                || member
                    .is_some_and(|member| member.is_live() && is_exclusive(member.events.load(Ordering::Relaxed))) =>
        {
            Err(Errno(libc::EINVAL))
        }
        (libc::EPOLL_CTL_ADD, Some(event)) => match member {
            Some(member) if member.is_managed() && !member.is_live() => {
                member.enlist(event.events, event.u64);
                set.refire(member);
                Ok(())
            }
            Some(_) => Err(Errno(libc::EEXIST)),
            None => match set::add(endpoint, set, fd, event.events, event.u64) {
                Some(member) if member.manage_fresh(epoll) => {
                    set.refire(member);
                    Ok(())
                }
                failed => {
                    failed.inspect(|member| set::remove(member));
                    *unserved = true;
                    return None;
                }
            },
        },
        (libc::EPOLL_CTL_MOD, Some(event)) => match member.filter(|member| member.is_managed())? {
            member if !member.is_live() => Err(Errno(libc::ENOENT)),
            member => {
                member.enlist(event.events, event.u64);
                set.refire(member);
                Ok(())
            }
        },
        (libc::EPOLL_CTL_DEL, _) => match member.filter(|member| member.is_managed())? {
            member if !member.is_live() => Err(Errno(libc::ENOENT)),
            member => {
                member.dormant.store(1, Ordering::Relaxed);
                Ok(())
            }
        },
        _ => return None,
    })
}

/// After the kernel's own epoll_ctl on an endpoint has succeeded, under the set's lock.
fn note(set: &'static Set, op: c_int, endpoint: &'static Endpoint, fd: c_int, event: Option<libc::epoll_event>) {
    match (op, event, set::find(endpoint, set, fd)) {
        (libc::EPOLL_CTL_ADD, Some(event), None) => {
            set::add(endpoint, set, fd, event.events, event.u64);
        }
        (libc::EPOLL_CTL_MOD, Some(event), Some(member)) => {
            member.events.store(event.events, Ordering::Relaxed);
            member.data.store(event.u64, Ordering::Relaxed);
        }
        (libc::EPOLL_CTL_DEL, _, Some(member)) => set::remove(member),
        _ => {}
    }
}

/// A set is about to be watched as a descriptor itself, or used by a second process: its members leave the ring.
pub fn estrange(set: &'static Set) {
    if set.foreign.swap(1, Ordering::SeqCst) == 0 {
        descriptor::for_each_endpoint(|endpoint| {
            if set::each(endpoint, |member| core::ptr::eq(member.set(), set)).is_some() {
                recall::detach(endpoint, Reason::EpollForeign);
            }
        });
    }
}

/// An endpoint has been linked: all its registrations move into their sets' hubs.
pub fn linked(endpoint: &'static Endpoint) {
    if set::each(endpoint, |member| is_exclusive(member.events.load(Ordering::Relaxed))).is_some() {
        return recall::detach(endpoint, Reason::EpollExclusive);
    }
    // Its number was closed while a dup lives: what the kernel has of it stays there.
    if set::each(endpoint, |member| !descriptor::is(member.fd.load(Ordering::Relaxed), endpoint)).is_some() {
        return recall::detach(endpoint, Reason::EpollForeign);
    }
    let unmanaged = |member: &Member| !member.is_managed() && member.set().descriptor().is_some();
    while let Some(member) = set::each(endpoint, unmanaged) {
        let set = member.set();
        if set.is_foreign() {
            return recall::detach(endpoint, Reason::EpollForeign);
        }
        let Some(epoll) = set.descriptor() else { return };
        linked_in(endpoint, set, epoll);
        if !member.is_managed() {
            // No memory or no descriptor for it: TCP needs none.
            return recall::detach_now(endpoint, Reason::Descriptors);
        }
    }
}

fn linked_in(endpoint: &'static Endpoint, set: &'static Set, epoll: c_int) {
    set.locked(|| {
        set::each(endpoint, |member| {
            if core::ptr::eq(member.set(), set) && !member.is_managed() && member.manage(epoll) {
                set.refire(member);
            }
            false
        });
    });
}

/// An endpoint has left the ring for good: its registrations go back to where the program made them.
pub fn release(endpoint: &'static Endpoint) {
    while let Some(member) = set::each(endpoint, Member::is_managed) {
        let set = member.set();
        let released = set.locked(|| {
            let in_set = |member: &Member| member.is_managed() && core::ptr::eq(member.set(), set);
            // Another thread may have been quicker.
            let Some(member) = set::each(endpoint, in_set) else { return };
            let live = member.is_live() && member.spent.load(Ordering::Relaxed) == 0;
            let events = if live { member.events.load(Ordering::Relaxed) } else { 0 };
            let enlisted = member.dormant.load(Ordering::Relaxed) == 0;
            let (fd, data) = (member.fd.load(Ordering::Relaxed), member.data.load(Ordering::Relaxed));
            if let (true, Some(epoll)) = (enlisted, set.descriptor()) {
                // Noted before it is taken off the list: whoever closes its number finds it there, see `number_gone`.
                set::add(endpoint, set, fd, events, data);
                set::give_back(member, epoll, events, data);
            }
            set::remove(member);
        });
        if released.is_none() {
            return;
        }
    }
}

/// A send was cut short in the ring, where there is always a way to write: an edge, for those who wait for one.
#[cold]
pub fn has_room(endpoint: &'static Endpoint) {
    let mut any = false;
    set::each(endpoint, |member| {
        any |= member.is_live();
        member.edges.fetch_or(WRITABLE, Ordering::Relaxed);
        false
    });
    if any {
        kernel::ring(endpoint.own_bell());
    }
}

/// Whether all registrations of an endpoint are served by the shim, so that bytes in the ring will be noticed.
pub fn watches(endpoint: &'static Endpoint) -> bool {
    set::each(endpoint, |member| !member.is_managed()).is_none()
}

/// An endpoint's last descriptor of this process is about to be closed.
pub fn forget(endpoint: &'static Endpoint) {
    while let Some(member) = set::each(endpoint, |_| true) {
        if !set::forget(endpoint, member.set()) {
            return;
        }
    }
}

/// A descriptor of a set is closed.
pub fn closed(set: &'static Set) {
    set.release();
}

/// In a forked child.
pub fn after_fork() {
    set::after_fork();
}

impl Set {
    /// Whether the shim serves any of its members.
    #[inline]
    pub fn is_managed(&self) -> bool {
        self.managed.load(Ordering::Acquire) != 0
    }

    /// Whether its members must stay on TCP.
    pub fn is_foreign(&self) -> bool {
        self.foreign.load(Ordering::SeqCst) != 0
    }

    /// To be called before any use: a forked child's use of its parent's set makes it a foreign one.
    #[inline]
    pub fn used(&'static self) {
        if self.inherited.load(Ordering::Relaxed) != 0 {
            estrange(self);
        }
    }

    /// A thread goes into the kernel's wait.
    pub fn enter(&self) {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
    }

    /// It comes out.
    pub fn leave(&self) {
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// To be asked before the kernel's wait, for [`Set::filter`].
    pub fn taken_over(&self) -> u32 {
        self.taken_over.load(Ordering::SeqCst)
    }

    /// Takes out of what the kernel has reported what is not the program's; how many events are left. `before`: how many
    /// registrations had been taken over before the wait.
    pub fn filter(&self, events: &mut [libc::epoll_event], count: usize, before: u32) -> usize {
        self.locked(|| {
            let count = self.without_token(events, count);
            self.without_second_shots(events, count, before)
        })
        .unwrap_or(count)
    }

    /// One-shot registrations that fired in the kernel and were taken over before that was told. Who took them over could
    /// not see it: the kernel's shot is the one, unless the shim's was quicker. Known by their data, which tells the
    /// program what to arm again. Under the lock.
    fn without_second_shots(&self, events: &mut [libc::epoll_event], count: usize, before: u32) -> usize {
        let mut count = count;
        if count == 0 || self.taken_over() == before {
            return count;
        }
        descriptor::for_each_endpoint(|endpoint| {
            set::each(endpoint, |member| {
                let since = member.taken_at.load(Ordering::Relaxed).wrapping_sub(before) as i32;
                let data = member.data.load(Ordering::Relaxed);
                if core::ptr::eq(member.set(), self)
                    && member.is_managed()
                    && member.events.load(Ordering::Relaxed) & libc::EPOLLONESHOT as u32 != 0
                    && since > 0
                    && let Some(place) = events.iter().take(count).position(|event| event.u64 == data)
                {
                    if member.reported.load(Ordering::Relaxed) == 0 {
                        member.spent.store(1, Ordering::Relaxed);
                    } else {
                        events.copy_within(place + 1..count, place);
                        count -= 1;
                    }
                }
                false
            });
        });
        count
    }

    /// A descriptor of the set.
    fn descriptor(&'static self) -> Option<c_int> {
        descriptor::find_set(self)
    }

    /// Something may be reportable that arose here: sleepers of this set must look.
    fn refire(&self, member: &Member) {
        if self.sleepers.load(Ordering::SeqCst) != 0 {
            kernel::ring(member.endpoint().own_bell());
        }
    }

    /// Begins a look, in which nothing is told twice; its number.
    fn begin(&self) -> u32 {
        self.looks.fetch_add(1, Ordering::Relaxed)
    }

    /// Reports what is ready among the hot members, and was not yet told in this look, into `events`: first what happened
    /// first, as the kernel does. Under the lock.
    fn collect(&self, events: &mut [libc::epoll_event], look: u32) -> usize {
        let mut count = self.sweep(events, look, true);
        // What was published before something that was found, in a place that the sweep had passed already, comes with it.
        let mut more = count;
        while more > 0 && count < events.len() {
            let (_, rest) = events.split_at_mut(count);
            more = self.sweep(rest, look, false);
            count += more;
        }
        let found = events.get_mut(..count).unwrap_or_default();
        let word = |event: &libc::epoll_event, of: fn(&Member) -> &AtomicU64| {
            Member::of_event(event.u64).map_or(0, |member| of(member).load(Ordering::Relaxed))
        };
        if count > 1 {
            found.sort_unstable_by_key(|event| word(event, |member| &member.news));
        }
        for event in found {
            event.u64 = word(event, |member| &member.data);
        }
        count
    }

    /// Goes through the hot members once; the events carry members. `first`: who is not ready has been looked at in vain.
    fn sweep(&self, events: &mut [libc::epoll_event], look: u32, first: bool) -> usize {
        let mut count = 0;
        let mut next = None;
        self.each_hot(|member| {
            if member.told.load(Ordering::Relaxed) == look {
                return true;
            }
            let Some(slot) = events.get_mut(count) else {
                next = next.or(Some(member));
                return true;
            };
            let ready = member.report();
            if ready == 0 {
                let idle = member.idle.load(Ordering::Relaxed) + u32::from(first);
                member.idle.store(idle, Ordering::Relaxed);
                return idle < PATIENCE || !member.arm();
            }
            member.idle.store(0, Ordering::Relaxed);
            member.told.store(look, Ordering::Relaxed);
            let news = member.endpoint().link().map_or(0, |link| link.peer_news());
            member.news.store(news, Ordering::Relaxed);
            *slot = libc::epoll_event { events: ready, u64: member.token() };
            count += 1;
            true
        });
        // Those that found no room come first next time.
        if let Some(next) = next.filter(|_| count > 0) {
            self.rotate_hot(next);
        }
        count
    }

    /// Whether one of the hot members may be ready. Without the lock it would race with removals, so: under it.
    fn glance(&self) -> bool {
        let mut found = false;
        self.each_hot(|member| {
            found |= member.glance();
            true
        });
        found
    }

    /// Takes the hub's events: their members are looked at from now on. Under the lock.
    fn harvest(&self) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        loop {
            let count = kernel::epoll_harvest(self.hub.load(Ordering::Relaxed), &mut events).unwrap_or(0);
            for event in events.iter().take(count) {
                let (bits, data) = (event.events, event.u64);
                let Some(member) = Member::of_event(data) else { continue };
                if data & set::BELL == 0 {
                    // Also for a dormant one: it will not be told again.
                    member.endpoint().tcp_hint.store(1, Ordering::SeqCst);
                    if member.is_live() {
                        member.edges.fetch_or(member.news(bits), Ordering::Relaxed);
                        self.heat(member);
                    }
                } else {
                    // One bell in the hub for all registrations of its endpoint here.
                    set::each(member.endpoint(), |other| {
                        if other.is_live() && core::ptr::eq(other.set(), self) {
                            self.heat(other);
                        }
                        false
                    });
                }
            }
            if count < events.len() {
                return;
            }
        }
    }

    /// Asks the kernel, without waiting, and takes the hub's token out of its answer. Under the lock.
    fn ask_kernel(&self, epoll: c_int, events: &mut [libc::epoll_event], now: u64) -> usize {
        if events.is_empty() {
            return 0;
        }
        self.asked_ns.store(now, Ordering::Relaxed);
        let reported = kernel::epoll_harvest(epoll, events).unwrap_or(0);
        let mut count = self.without_token(events, reported);
        if count == 0 && reported == events.len() {
            // The hub's event took the only place. Where there were others the kernel may not be asked twice: it would
            // tell of what is still ready once more.
            count = kernel::epoll_harvest(epoll, events).unwrap_or(0);
            count = self.without_token(events, count);
        }
        if count > 0 {
            self.kernel_told_ns.store(now, Ordering::Relaxed);
        }
        count
    }

    /// Removes the hub's event, harvesting the hub when it was there.
    fn without_token(&self, events: &mut [libc::epoll_event], count: usize) -> usize {
        let Some(found) = events.iter().take(count).position(|event| event.u64 == self.token()) else { return count };
        events.copy_within(found + 1..count, found);
        self.harvest();
        count - 1
    }

    /// Announces the sleep on every hot member; from here on their doorbells ring. Those that have been quiet for a while
    /// are left to them; the others stay hot. Under the lock.
    fn arm_all(&self) {
        self.each_hot(|member| !member.arm() || member.idle.load(Ordering::Relaxed) < WARM);
    }

    /// Takes the announcements of the hot ones back, when nobody sleeps on them any more: they are looked at again, and
    /// their peers need not ring. Under the lock.
    fn disarm_all(&self) {
        if self.sleepers.load(Ordering::SeqCst) == 0 {
            self.each_hot(|member| {
                member.disarm();
                true
            });
        }
    }
}

impl Member {
    fn glance(&self) -> bool {
        let endpoint = self.endpoint();
        endpoint.link().is_some_and(|link| levels::glance(endpoint, link))
            || self.events.load(Ordering::Relaxed) & WRITABLE != 0
    }

    /// Announces a sleep. `false`: there is something to report, so it stays hot.
    fn arm(&self) -> bool {
        let endpoint = self.endpoint();
        let Some(link) = endpoint.link() else { return true };
        let armed = link.arm(Sleep::Poll);
        // SAFETY: under the set's lock.
        unsafe { *self.armed.get() = Some(armed) };
        // Level-triggered and ready, or an edge not reported yet: not to be slept on.
        let fresh = !self.is_edge_triggered()
            || self.edges.load(Ordering::Relaxed) != 0
            || link.consumer().peer_tail() != self.seen_tail.load(Ordering::Relaxed);
        self.spent.load(Ordering::Relaxed) != 0 || !(fresh && levels::glance(endpoint, link))
    }

    /// Takes the announcement back. Under the lock.
    fn disarm(&self) {
        // SAFETY: under the set's lock.
        let armed = unsafe { (*self.armed.get()).take() };
        if let (Some(armed), Some(link)) = (armed, self.endpoint().link()) {
            link.disarm(Sleep::Poll, armed);
        }
    }

    /// What an event of its TCP socket's is an edge for.
    fn news(&self, bits: u32) -> u32 {
        const OVER: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
        let endpoint = self.endpoint();
        let fd = endpoint.descriptor(self.fd.load(Ordering::Relaxed));
        if bits & OVER != 0 || (bits & WRITABLE != 0 && tcp::has_sent_fin(fd)) {
            // A change of the socket's state (an end, a shutdown) is one for everything.
            return bits | READABLE | WRITABLE;
        }
        let Some(link) = endpoint.link().filter(|link| link.producer().carrier() == Carrier::Ring) else { return bits };
        if bits & READABLE == 0 && link.consumer().taken() != self.seen_taken.load(Ordering::Relaxed) {
            // Bytes came, and have been read: an edge that brings what else is ready.
            return bits | READABLE;
        }
        // In the ring, TCP's room is no news.
        bits & !WRITABLE
    }

    fn is_edge_triggered(&self) -> bool {
        self.events.load(Ordering::Relaxed) & libc::EPOLLET as u32 != 0
    }

    /// What is to be reported now; taken note of.
    fn report(&'static self) -> u32 {
        let endpoint = self.endpoint();
        let wanted = self.events.load(Ordering::Relaxed);
        let Some(link) = endpoint.link() else { return 0 };
        if link.has_recalled() {
            self.set().recalled.store(1, Ordering::Relaxed);
            return 0;
        }
        if self.spent.load(Ordering::Relaxed) != 0 {
            return 0;
        }
        endpoint.is_ready(link);
        if !levels::glance(endpoint, link) && wanted & WRITABLE == 0 {
            return 0;
        }
        let tail = link.consumer().peer_tail();
        let ready = levels::levels(endpoint, link, self.fd.load(Ordering::Relaxed), wanted);
        if self.is_edge_triggered() {
            let mut edges = self.edges.swap(0, Ordering::Relaxed);
            if tail != self.seen_tail.swap(tail, Ordering::Relaxed) {
                edges |= READABLE;
            }
            self.seen_taken.store(link.consumer().taken(), Ordering::Relaxed);
            // An edge brings what is ready with it, as the kernel's report does.
            if ready == 0 || edges & (wanted | levels::ALWAYS) == 0 {
                return 0;
            }
            if ready & !(READABLE | WRITABLE) != 0 {
                // TCP was asked: its own event of the same change is told with this.
                self.set().harvest();
                self.edges.store(0, Ordering::Relaxed);
            }
        }
        if ready != 0 && wanted & libc::EPOLLONESHOT as u32 != 0 {
            self.spent.store(1, Ordering::Relaxed);
            self.reported.store(1, Ordering::Relaxed);
        }
        ready
    }
}

/// epoll_wait and its like on a set with managed members. `timeout` in ns, `None` for ever; `mask` for the wait.
pub fn wait(
    set: &'static Set,
    epoll: c_int,
    events: &mut [libc::epoll_event],
    timeout: Option<u64>,
    mask: Option<u64>,
) -> Result<usize, Errno> {
    let mut look = set.locked(|| set.look(epoll, events));
    if look == Some(0) && set.release_recalled() {
        look = set.locked(|| set.look(epoll, events));
    }
    if let Some(found) = look
        && (found > 0 || (timeout == Some(0) && mask.is_none()))
    {
        set.leave_to_sleepers();
        return Ok(found);
    }
    let deadline = timeout.map(|timeout| kernel::now_ns().saturating_add(timeout));
    let former = kernel::block_signals();
    let mask = mask.unwrap_or(former);
    let result = wait_blocked(set, epoll, events, deadline, mask);
    kernel::restore_signals(former);
    result
}

/// With every signal blocked; `mask` is the one to sleep with.
fn wait_blocked(
    set: &'static Set,
    epoll: c_int,
    events: &mut [libc::epoll_event],
    deadline: Option<u64>,
    mask: u64,
) -> Result<usize, Errno> {
    loop {
        set.release_recalled();
        if spin(set, epoll, deadline, mask) {
            let found = set.locked(|| set.look(epoll, events)).unwrap_or(0);
            if found > 0 {
                return Ok(found);
            }
        }
        set.enter();
        let ready = set.locked(|| {
            set.arm_all();
            set.collect(events, set.begin())
        });
        let result = match ready {
            Some(count) if count > 0 => {
                set.leave();
                set.locked(|| set.disarm_all());
                Ok(count)
            }
            _ => {
                let left = deadline.map(|deadline| kernel::timespec(deadline.saturating_sub(kernel::now_ns())));
                let taken_over = set.taken_over();
                let asleep = wait::Asleep::now();
                let slept = held::during(Obligation::Sleeper(set), || {
                    real::cancellable(|| kernel::epoll_wait(epoll, events, left.as_ref(), mask))
                });
                asleep.until_now();
                set.leave();
                slept.map(|count| {
                    set.locked(|| {
                        set.disarm_all();
                        let kept = set.without_token(events, count);
                        let kept = set.without_second_shots(events, kept, taken_over);
                        if kept > 0 && set.taken_over() != taken_over {
                            // What moved meanwhile may be among what the kernel has told: nothing is told twice at once.
                            return kept;
                        }
                        let (_, rest) = events.split_at_mut(kept);
                        kept + set.collect(rest, set.begin())
                    })
                    .unwrap_or(0)
                })
            }
        };
        match result {
            Ok(0) if deadline.is_none_or(|deadline| kernel::now_ns() < deadline) => {}
            result => {
                set.leave_to_sleepers();
                set.take_apart();
                return result;
            }
        }
    }
}

impl Set {
    /// Gives back the registrations of members that another holder has recalled; whether there were any.
    fn release_recalled(&self) -> bool {
        let any = self.recalled.swap(0, Ordering::Relaxed) != 0;
        if any {
            descriptor::for_each_endpoint(|endpoint| {
                if endpoint.link().is_some_and(|link| link.has_recalled()) {
                    release(endpoint);
                }
            });
        }
        any
    }

    /// One look at everything. Under the lock.
    fn look(&self, epoll: c_int, events: &mut [libc::epoll_event]) -> usize {
        let now = kernel::now_ns();
        let look = self.begin();
        // A busy ring must not starve the kernel's descriptors, nor they the rings: when both are busy they take turns at
        // the first places. While the kernel has had something lately, it is asked each time, so that what happens there is
        // not told behind what happened later in a ring.
        let busy = now.wrapping_sub(self.kernel_told_ns.load(Ordering::Relaxed)) < LATELY;
        let due = busy || look.is_multiple_of(8) || now.wrapping_sub(self.asked_ns.load(Ordering::Relaxed)) >= FAIRNESS;
        let kernel_first = due && look.is_multiple_of(2);
        let mut count = if kernel_first { self.ask_kernel(epoll, events, now) } else { 0 };
        let (_, rest) = events.split_at_mut(count);
        count += self.collect(rest, look);
        if count == 0 || (due && !kernel_first) {
            let (_, rest) = events.split_at_mut(count);
            count += self.ask_kernel(epoll, rest, now);
            // The hub may have told of something.
            let (_, rest) = events.split_at_mut(count);
            count += self.collect(rest, look);
        }
        count
    }

    /// A thread that leaves with events while others sleep arms what it leaves behind, so that they wake for it.
    fn leave_to_sleepers(&self) {
        if self.sleepers.load(Ordering::SeqCst) != 0 || self.is_foreign() {
            self.locked(|| {
                let mut left = None;
                self.each_hot(|member| {
                    let keep = !member.arm();
                    if keep {
                        left = Some(member);
                    }
                    keep
                });
                if let Some(member) = left {
                    kernel::ring(member.endpoint().own_bell());
                }
            });
        }
    }
}

/// Spins over the hot members, asking the kernel now and then; whether there may be something to report.
fn spin(set: &'static Set, epoll: c_int, deadline: Option<u64>, mask: u64) -> bool {
    // Where the peer of any of them runs tells whether spinning can pay.
    let mut warmest: Option<Option<u32>> = None;
    set.locked(|| {
        set.each_hot(|member| {
            warmest = warmest.or(member.endpoint().link().map(|link| link.peer_cpu()));
            true
        });
    });
    let Some(peer_cpu) = warmest else { return false };
    let looks = Cell::new(0u32);
    wait::spin_masked(peer_cpu, deadline, mask, || {
        looks.set(looks.get().wrapping_add(1));
        set.locked(|| set.glance()).unwrap_or(false)
            || (looks.get().is_multiple_of(64) && kernel::poll_now(epoll, libc::POLLIN) != 0)
    })
}
