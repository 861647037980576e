//! What a set's members have to report: the ring's news by a glance at those that are hot, TCP's and the doorbells' by the
//! set's hub. Everything here is under the set's lock.

use crate::kernel;
use crate::readiness::levels::{self, READABLE, WRITABLE};
use crate::readiness::member::{self, Member};
use crate::readiness::set::Set;
use crate::{descriptor, foreign, tcp};
use core::ffi::c_int;
use core::sync::atomic::{AtomicU64, Ordering};
use slipstream_ring::carrier::{Carrier, Ready};
use slipstream_ring::wait::Sleep;

/// Looks in vain after which a hot member is armed and left to its doorbell.
const PATIENCE: u32 = 512;
/// Looks in vain after which a sleep leaves a hot member to its doorbell.
const WARM: u32 = 8;

impl Set {
    /// Takes out of what the kernel has reported what is not the program's; how many events are left. `before`: how many
    /// registrations had been taken over before the wait.
    pub fn filter(&self, events: &mut [libc::epoll_event], count: usize, before: u32) -> usize {
        self.locked(|| {
            let count = self.without_token(events, count);
            self.without_second_shots(events, count, before)
        })
        .unwrap_or_else(|| self.strip(events, count))
    }

    /// One-shot registrations that fired in the kernel and were taken over before that was told. Who took them over could
    /// not see it: the kernel's shot is the one, unless the shim's was quicker. Known by their data, which tells the
    /// program what to arm again. Under the lock.
    pub(super) fn without_second_shots(&self, events: &mut [libc::epoll_event], count: usize, before: u32) -> usize {
        let mut count = count;
        if count == 0 || self.taken_over() == before {
            return count;
        }
        descriptor::for_each_endpoint(|endpoint| {
            member::each(endpoint, |member| {
                let since = member.taken_at.load(Ordering::Relaxed).wrapping_sub(before) as i32;
                let data = member.data.load(Ordering::Relaxed);
                if core::ptr::eq(member.set(), self)
                    && member.is_managed()
                    && member.fresh.load(Ordering::Relaxed) == 0
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

    /// Begins a look, in which nothing is told twice; its number.
    pub(super) fn begin(&self) -> u32 {
        self.looks.fetch_add(1, Ordering::Relaxed)
    }

    /// Reports what is ready among the hot members, and was not yet told in this look, into `events`: first what happened
    /// first, as the kernel does. Under the lock.
    pub(super) fn collect(&self, events: &mut [libc::epoll_event], look: u32) -> usize {
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
    pub(super) fn glance(&self) -> bool {
        let mut found = false;
        self.each_hot(|member| {
            found |= member.glance();
            true
        });
        found
    }

    /// Takes the hub's events: their members are looked at from now on. Under the lock.
    pub(super) fn harvest(&self) {
        if self.is_left_to_parent() {
            return;
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        loop {
            let count = kernel::epoll_harvest(self.hub.load(Ordering::Relaxed), &mut events).unwrap_or(0);
            for event in events.iter().take(count) {
                let (bits, data) = (event.events, event.u64);
                let Some(member) = Member::of_event(data) else { continue };
                if data & member::BELL == 0 {
                    // Also for a dormant one: it will not be told again.
                    member.endpoint().hint();
                    if member.is_live() {
                        member.edges.fetch_or(member.news(bits), Ordering::Relaxed);
                        self.heat(member);
                    }
                } else {
                    // One bell in the hub for all registrations of its endpoint here.
                    member::each(member.endpoint(), |other| {
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
    pub(super) fn ask_kernel(&self, epoll: c_int, events: &mut [libc::epoll_event], now: u64) -> usize {
        if events.is_empty() {
            return 0;
        }
        if self.is_closed() {
            // Its number may be another's.
            self.harvest();
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

    /// Removes the hub's event, harvesting the hub when it was there, and those of registrations that had fired before.
    pub(super) fn without_token(&self, events: &mut [libc::epoll_event], count: usize) -> usize {
        let left = self.strip(events, count);
        if left < count {
            self.hub_has_told();
            self.harvest();
        }
        left
    }

    /// The same without a look into the hub.
    pub(super) fn strip(&self, events: &mut [libc::epoll_event], count: usize) -> usize {
        let mut left = count;
        while let Some(found) = events.iter().take(left).position(|event| event.u64 == self.token()) {
            events.copy_within(found + 1..left, found);
            left -= 1;
        }
        left
    }

    /// Announces the sleep on every hot member; from here on their doorbells ring. Those that have been quiet for a while
    /// are left to them; the others stay hot. Under the lock.
    pub(super) fn arm_all(&self) {
        self.each_hot(|member| !member.arm() || member.idle.load(Ordering::Relaxed) < WARM);
    }

    /// Takes the announcements of the hot ones back, when nobody sleeps on them any more: they are looked at again, and
    /// their peers need not ring. Under the lock.
    pub(super) fn disarm_all(&self) {
        if self.sleepers.load(Ordering::SeqCst) == 0 {
            self.each_hot(|member| {
                member.disarm();
                true
            });
        }
    }
}

impl Member {
    pub(super) fn glance(&self) -> bool {
        let endpoint = self.endpoint();
        endpoint.link().is_some_and(|link| levels::glance(endpoint, link))
            || self.events.load(Ordering::Relaxed) & WRITABLE != 0
    }

    /// Announces a sleep. `false`: there is something to report, so it stays hot.
    pub(super) fn arm(&self) -> bool {
        let endpoint = self.endpoint();
        let Some(link) = endpoint.link() else { return true };
        let armed = link.arm(Sleep::Poll);
        // SAFETY: under the set's lock.
        unsafe { *self.armed.get() = Some(armed) };
        // Level-triggered and ready, or an edge not reported yet: not to be slept on.
        let fresh = !self.is_edge_triggered()
            || self.edges.load(Ordering::Relaxed) != 0
            || link.consumer().peer_tail() != self.seen_tail.load(Ordering::Relaxed);
        // In the ring there is always room.
        let room = match self.is_edge_triggered() {
            true => self.edges.load(Ordering::Relaxed),
            false if link.producer().carrier() == Carrier::Ring && !link.is_recalled() => WRITABLE,
            false => 0,
        };
        let room = room & self.events.load(Ordering::Relaxed) & WRITABLE != 0;
        self.spent.load(Ordering::Relaxed) != 0 || !(room || (fresh && levels::glance(endpoint, link)))
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
        let Some(link) =
            endpoint.link().filter(|link| link.producer().carrier() == Carrier::Ring && !link.is_recalled())
        else {
            return bits;
        };
        if bits & READABLE == 0 && link.consumer().taken() != self.seen_taken.load(Ordering::Relaxed) {
            // Bytes came, and have been read: an edge that brings what else is ready.
            return bits | READABLE;
        }
        // In the ring, TCP's room is no news, unless it comes alone: a send before the switch had found none.
        if bits & !WRITABLE == 0 { bits } else { bits & !WRITABLE }
    }

    fn is_edge_triggered(&self) -> bool {
        self.events.load(Ordering::Relaxed) & libc::EPOLLET as u32 != 0
    }

    /// What is to be reported now; taken note of.
    fn report(&'static self) -> u32 {
        let endpoint = self.endpoint();
        let wanted = self.events.load(Ordering::Relaxed);
        let Some(link) = endpoint.link() else { return 0 };
        let readiness = link.ready();
        if link.has_recalled() || (readiness == Ready::Never && link.consumer().unread() == 0) {
            self.set().recalled.store(1, Ordering::Relaxed);
            return 0;
        }
        if self.spent.load(Ordering::Relaxed) != 0 {
            return 0;
        }
        if readiness == Ready::NotYet && !endpoint.is_ready(link) && foreign::take_found() {
            self.set().recalled.store(1, Ordering::Relaxed);
        }
        if !levels::glance(endpoint, link) && wanted & WRITABLE == 0 {
            return 0;
        }
        let tail = link.consumer().peer_tail();
        let asks = endpoint.is_hinted();
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
            if asks {
                // TCP was asked: its own event of what is told with this is no second edge.
                self.set().harvest();
                self.edges.fetch_and(!ready, Ordering::Relaxed);
            }
        }
        if ready != 0 && wanted & libc::EPOLLONESHOT as u32 != 0 {
            self.spent.store(1, Ordering::Relaxed);
            self.reported.store(1, Ordering::Relaxed);
        }
        ready
    }
}
