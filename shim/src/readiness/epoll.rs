//! Registrations of moved endpoints in epoll sets: who serves them, the kernel or the shim.

use crate::endpoint::Endpoint;
use crate::kernel::{self, Errno};
pub use crate::readiness::member::Member;
pub use crate::readiness::set::Set;
use crate::readiness::{member, set};
use crate::{descriptor, recall};
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use slipstream_protocol::Reason;

/// What may be asked for together with EPOLLEXCLUSIVE.
const EXCLUSIVE_OK: u32 = EXCLUSIVE
    | (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLERR | libc::EPOLLHUP | libc::EPOLLWAKEUP | libc::EPOLLET) as u32;
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;

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
    } else if in_ring(endpoint) && linked_in(endpoint, set, epoll) == Some(false) {
        // Linked meanwhile, by another thread, and the registration could not be taken over.
        recall::detach_now(endpoint, Reason::Descriptors);
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
    let member = member::find(endpoint, set, fd);
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
            None => match member::add(endpoint, set, fd, event.events, event.u64) {
                Some(member) if member.manage_fresh(epoll) => {
                    set.refire(member);
                    Ok(())
                }
                failed => {
                    failed.inspect(|member| member::remove(member));
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
    match (op, event, member::find(endpoint, set, fd)) {
        (libc::EPOLL_CTL_ADD, Some(event), None) => {
            member::add(endpoint, set, fd, event.events, event.u64);
        }
        (libc::EPOLL_CTL_MOD, Some(event), Some(member)) => {
            member.events.store(event.events, Ordering::Relaxed);
            member.data.store(event.u64, Ordering::Relaxed);
        }
        (libc::EPOLL_CTL_DEL, _, Some(member)) => member::remove(member),
        _ => {}
    }
}

/// A set is about to be watched as a descriptor itself, or used by a second process: its members leave the ring.
pub fn estrange(set: &'static Set) {
    if set.foreign.swap(1, Ordering::SeqCst) == 0 {
        descriptor::for_each_pinned(|endpoint| {
            if member::each(endpoint, |member| core::ptr::eq(member.set(), set)).is_some() {
                recall::detach(endpoint, Reason::EpollForeign);
            }
        });
        // Who looks at it from outside sees it ready for what there is to report, not for what the hub was told.
        set.locked(|| set.harvest());
        set.leave_to_sleepers();
    }
}

/// An endpoint has been linked: all its registrations move into their sets' hubs.
pub fn linked(endpoint: &'static Endpoint) {
    if member::each(endpoint, |member| is_exclusive(member.events.load(Ordering::Relaxed))).is_some() {
        return recall::detach(endpoint, Reason::EpollExclusive);
    }
    // Its number was closed while a dup lives: what the kernel has of it stays there.
    if member::each(endpoint, |member| !descriptor::is(member.fd.load(Ordering::Relaxed), endpoint)).is_some() {
        return recall::detach(endpoint, Reason::EpollForeign);
    }
    let unmanaged = |member: &Member| !member.is_managed() && member.set().descriptor().is_some();
    while let Some(member) = member::each(endpoint, unmanaged) {
        let set = member.set();
        if set.is_foreign() {
            return recall::detach(endpoint, Reason::EpollForeign);
        }
        let Some(epoll) = set.descriptor() else { return };
        if linked_in(endpoint, set, epoll) != Some(true) {
            // No memory or no descriptor for it: TCP needs none.
            return recall::detach_now(endpoint, Reason::Descriptors);
        }
    }
}

/// Takes over an endpoint's registrations in one set; whether the shim serves them all now. `None`: see [`Set::locked`].
fn linked_in(endpoint: &'static Endpoint, set: &'static Set, epoll: c_int) -> Option<bool> {
    set.locked(|| {
        let fails = |member: &'static Member| {
            if !core::ptr::eq(member.set(), set) || member.is_managed() {
                return false;
            }
            let managed = member.manage(epoll);
            if managed {
                set.refire(member);
            }
            !managed
        };
        member::each(endpoint, fails).is_none()
    })
}

/// An endpoint has left the ring for good: its registrations go back to where the program made them.
pub fn release(endpoint: &'static Endpoint) {
    give_back(endpoint, false, |_| true);
}

/// The same in a process that is about to be another image. What a child has of its parent's set may be out of date: the
/// parent, while it has the endpoint, does that.
pub fn release_before_exec(endpoint: &'static Endpoint) {
    let alone = endpoint.is_alone();
    give_back(endpoint, true, |set| alone || set.inherited.load(Ordering::Relaxed) == 0);
}

/// Takes an endpoint's registrations from the shim, and gives the kernel those in `ours`. `execs`: whoever uses them next
/// knows nothing of what is noted here.
fn give_back(endpoint: &'static Endpoint, execs: bool, ours: impl Fn(&Set) -> bool) {
    while let Some(member) = member::each(endpoint, Member::is_managed) {
        let set = member.set();
        let released = set.locked(|| {
            let in_set = |member: &Member| member.is_managed() && core::ptr::eq(member.set(), set);
            // Another thread may have been quicker.
            let Some(member) = member::each(endpoint, in_set) else { return };
            let spent = member.spent.load(Ordering::Relaxed) != 0;
            let events = member.events.load(Ordering::Relaxed);
            let (fd, data) = (member.fd.load(Ordering::Relaxed), member.data.load(Ordering::Relaxed));
            if let (true, Some(epoll)) = (ours(set) && member.is_live(), set.descriptor()) {
                // Noted before it is taken off the list: whoever closes its number finds it there, see `number_gone`.
                member::add(endpoint, set, fd, events, data);
                if spent {
                    // It has fired, and tells nothing, not even the end. The kernel's fires once more, when that comes:
                    // filtered out like the hub's, where the shim is.
                    let data = if execs { data } else { set.token() };
                    member::give_back(member, epoll, libc::EPOLLONESHOT as u32, data);
                } else {
                    member::give_back(member, epoll, events, data);
                }
            }
            member::remove(member);
        });
        if released.is_none() {
            return;
        }
    }
}

/// The ring is ready for `news` anew, though nothing has come: an edge, for those who wait for one.
#[cold]
pub fn edge(endpoint: &'static Endpoint, news: u32) {
    let mut any = false;
    member::each(endpoint, |member| {
        any |= member.is_live();
        member.edges.fetch_or(news, Ordering::Relaxed);
        false
    });
    if any {
        kernel::ring(endpoint.own_bell());
    }
}

/// Whether all registrations of an endpoint are served by the shim, so that bytes in the ring will be noticed.
pub fn watches(endpoint: &'static Endpoint) -> bool {
    member::each(endpoint, |member| !member.is_managed()).is_none()
}

/// An endpoint's last descriptor of this process is about to be closed.
pub fn forget(endpoint: &'static Endpoint) {
    while let Some(member) = member::each(endpoint, |_| true) {
        if !member::forget(endpoint, member.set()) {
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
        self.foreign.load(Ordering::SeqCst) != 0 || self.is_shared()
    }

    /// To be called before any use: a forked child's use of its parent's set makes it a foreign one, to both.
    #[inline]
    pub fn used(&'static self) {
        if self.is_inherited() {
            self.share();
        }
        if self.is_shared() {
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
}
