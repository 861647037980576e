//! poll, ppoll, select and pselect over arrays in which some descriptors are linked.
//!
//! The kernel polls every descriptor as it stands: what TCP shows (hang-ups, the end, bytes before a switch) is right for
//! a moved endpoint too. The shim adds what the rings hold, and while it sleeps one more descriptor: a hub with the
//! doorbells.

use crate::endpoint::{Endpoint, Phase};
use crate::held::{self, Obligation};
use crate::hub::Hub;
use crate::kernel::{self, Errno};
use crate::readiness::epoll;
use crate::readiness::levels::{self, READABLE};
use crate::{descriptor, real, recall, signals, stream, wait};
use core::cell::Cell;
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use slipstream_protocol::Reason;
use slipstream_ring::Link;
use slipstream_ring::wait::Sleep;

/// Arrays up to this length are served from the stack, longer ones from pages of their own.
const ON_STACK: usize = 32;

/// So many descriptors of an array may become connections while it is looked at; more are for the kernel.
const SPARE: usize = 8;

/// A sleep without the doorbells, in ns.
const NAP: u64 = 10_000_000;

/// What a place in the array is to us, for the length of one call. Not linked: counted in as a reader, so that its bytes
/// stay on TCP while the kernel is asked about them.
fn invite(place: usize, fd: c_int) -> Option<Obligation> {
    let Some(endpoint) = descriptor::pin(fd) else {
        if let Some(set) = descriptor::set(fd) {
            epoll::estrange(set);
        }
        return None;
    };
    let place = place as u32;
    match endpoint.phase() {
        Phase::Counting | Phase::Offered | Phase::Prepared | Phase::Attaching if endpoint.family().readers.enter() => {
            Some(Obligation::Reader(place, endpoint))
        }
        Phase::Idle | Phase::Settled => {
            endpoint.unpin();
            None
        }
        _ => Some(Obligation::Pin(place, endpoint)),
    }
}

/// A guest's link, if its stream has left the kernel.
fn link_of(guest: &Obligation) -> Option<(&'static Endpoint, &'static Link)> {
    match *guest {
        Obligation::Pin(_, endpoint) => {
            endpoint.link().filter(|link| !link.has_recalled()).map(|link| (endpoint, link))
        }
        _ => None,
    }
}

/// Where a guest stands in the array.
fn place_of(guest: &Obligation) -> usize {
    match *guest {
        Obligation::Pin(place, _) | Obligation::Reader(place, _) => place as usize,
        _ => usize::MAX,
    }
}

/// How a call was served.
pub enum Served {
    /// No linked endpoint in the array: by the real call.
    Plain(c_int),
    /// By the shim.
    Here(Result<usize, Errno>),
}

/// ppoll in all its forms. `timeout` in ns, `None` for ever; `mask` for the wait.
pub fn run(polls: &mut [libc::pollfd], timeout: Option<u64>, mask: Option<u64>, real: impl Fn() -> c_int) -> Served {
    stream::collect_mail();
    if !polls.iter().any(|poll| stream::is_watched(poll.fd) || descriptor::set(poll.fd).is_some()) {
        return Served::Plain(real());
    }
    // The guests are made from the array, which is then worked on.
    let array = polls.as_ptr();
    // SAFETY: within the array, which nobody changes while the guests are invited.
    let invited = (0..polls.len()).filter_map(|i| invite(i, unsafe { (*array.add(i)).fd }));
    // Most of an array may be strangers'.
    let watched = polls.iter().filter(|poll| stream::is_watched(poll.fd)).count() + SPARE;
    held::with_many(watched, invited, |guests| {
        if guests.iter().any(|guest| link_of(guest).is_some()) {
            Served::Here(wait(polls, guests, timeout, mask))
        } else {
            Served::Plain(real())
        }
    })
    .unwrap_or(Served::Here(Err(Errno(libc::ENOMEM))))
}

fn wait(
    polls: &mut [libc::pollfd],
    guests: &[Obligation],
    timeout: Option<u64>,
    mask: Option<u64>,
) -> Result<usize, Errno> {
    let found = look(polls, guests)?;
    if found > 0 || (timeout == Some(0) && mask.is_none()) {
        return Ok(found);
    }
    let deadline = timeout.map(|timeout| kernel::now_ns().saturating_add(timeout));
    let former = kernel::block_signals();
    let result = wait_blocked(polls, guests, deadline, mask.unwrap_or(former));
    signals::restore(former);
    result
}

/// With every signal blocked; `mask` is the one to sleep with.
fn wait_blocked(
    polls: &mut [libc::pollfd],
    guests: &[Obligation],
    deadline: Option<u64>,
    mask: u64,
) -> Result<usize, Errno> {
    let peer_cpu = guests.iter().find_map(|guest| link_of(guest)?.1.peer_cpu());
    let looks = Cell::new(0u32);
    let spun = wait::spin_masked(peer_cpu, deadline, mask, || {
        looks.set(looks.get().wrapping_add(1));
        guests.iter().any(|guest| link_of(guest).is_some_and(|(endpoint, link)| levels::glance(endpoint, link)))
            || looks.get().is_multiple_of(128)
    });
    if spun {
        let found = look(polls, guests)?;
        if found > 0 {
            return Ok(found);
        }
    }
    let hub = Hub::take();
    match &hub {
        Ok(hub) => bells(guests).for_each(|bell| hub.listen(bell)),
        // Without descriptors to wait with: TCP needs none.
        Err(_) => {
            guests.iter().filter_map(link_of).for_each(|(endpoint, _)| recall::detach(endpoint, Reason::Descriptors))
        }
    }
    let obligation = hub.as_ref().map_or(Obligation::Nothing, |hub| Obligation::Hub(hub.fd()));
    let result = held::during(obligation, || sleep(polls, guests, deadline, mask, hub.as_ref().ok()));
    if let Ok(hub) = hub {
        bells(guests).for_each(|bell| hub.leave(bell));
        hub.give();
    }
    result
}

fn bells(guests: &[Obligation]) -> impl Iterator<Item = c_int> {
    guests.iter().filter_map(link_of).map(|(endpoint, _)| endpoint.own_bell())
}

fn sleep(
    polls: &mut [libc::pollfd],
    guests: &[Obligation],
    deadline: Option<u64>,
    mask: u64,
    hub: Option<&Hub>,
) -> Result<usize, Errno> {
    loop {
        if let Some(hub) = hub {
            hub.clear();
        }
        for (endpoint, link) in guests.iter().filter_map(link_of) {
            endpoint.adopt();
            let _ = link.arm(Sleep::Poll);
        }
        let found = look(polls, guests)?;
        if found > 0 {
            return Ok(found);
        }
        signals::leave_to_leader(mask);
        let mut left = deadline.map(|deadline| deadline.saturating_sub(kernel::now_ns()));
        if guests.iter().filter_map(link_of).any(|(_, link)| link.is_recalled()) {
            // TCP has not taken all that is to be sent again, and tells of its room only those who ask for that.
            left = Some(left.map_or(NAP, |left| left.min(NAP)));
        }
        let left = left.map(kernel::timespec);
        kernel_poll(polls, hub.map_or(-1, Hub::fd), left.as_ref(), mask)?;
        let found = look(polls, guests)?;
        if found > 0 || deadline.is_some_and(|deadline| kernel::now_ns() >= deadline) {
            return Ok(found);
        }
    }
}

/// Runs `work` with an array of `len` empty places.
pub fn with_room<T>(len: usize, work: impl FnOnce(&mut [libc::pollfd]) -> T) -> Result<T, Errno> {
    let mut few = [libc::pollfd { fd: -1, events: 0, revents: 0 }; ON_STACK];
    if let Some(room) = few.get_mut(..len) {
        return Ok(work(room));
    }
    let bytes = len * size_of::<libc::pollfd>();
    let pages = kernel::map_anonymous(bytes, false)?;
    // SAFETY: just mapped, zeroed, aligned, of this length.
    let result = work(unsafe { core::slice::from_raw_parts_mut(pages.cast::<libc::pollfd>(), len) });
    kernel::unmap(pages, bytes);
    Ok(result)
}

/// The kernel's wait, on the array and the hub.
fn kernel_poll(polls: &[libc::pollfd], hub: c_int, timeout: Option<&libc::timespec>, mask: u64) -> Result<(), Errno> {
    with_room(polls.len() + 1, |room| {
        if let Some((last, others)) = room.split_last_mut() {
            others.copy_from_slice(polls);
            *last = libc::pollfd { fd: hub, events: libc::POLLIN, revents: 0 };
        }
        real::cancellable(|| match kernel::ppoll(room, timeout, &raw const mask) {
            // More than RLIMIT_NOFILE, while the program's own are not (or the look before would have failed): naps without
            // the hub.
            Err(Errno(libc::EINVAL)) => {
                let nap = kernel::timespec(NAP);
                let shorter = timeout.filter(|timeout| timeout.tv_sec == 0 && timeout.tv_nsec < nap.tv_nsec);
                kernel::ppoll(room.get_mut(..polls.len()).unwrap_or_default(), shorter.or(Some(&nap)), &raw const mask)
            }
            slept => slept,
        })
        .map(drop)
    })?
}

/// One look at everything, written into the array.
fn look(polls: &mut [libc::pollfd], guests: &[Obligation]) -> Result<usize, Errno> {
    if look_at_all(polls, guests)? {
        // What came between the looks at two dups of one socket is told of both.
        look_at_all(polls, guests)?;
    }
    Ok(polls.iter().filter(|poll| poll.revents != 0).count())
}

/// Whether there is something to tell of a socket that may stand in the array more than once.
fn look_at_all(polls: &mut [libc::pollfd], guests: &[Obligation]) -> Result<bool, Errno> {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    kernel::ppoll(polls, Some(&now), core::ptr::null())?;
    let mut ready_dups = false;
    for guest in guests {
        let ready = look_at(polls, guest);
        ready_dups |= ready && matches!(guest, Obligation::Pin(_, endpoint) if endpoint.is_shared_here());
    }
    Ok(ready_dups)
}

/// One look at a guest. Whether there is something to tell of it.
fn look_at(polls: &mut [libc::pollfd], guest: &Obligation) -> bool {
    let (Some((endpoint, link)), Some(poll)) = (link_of(guest), polls.get_mut(place_of(guest))) else { return false };
    let asked = poll.events as u16 as u32 & (READABLE | libc::EPOLLRDHUP as u32);
    if poll.revents & libc::POLLNVAL != 0 {
        // Closed by another thread meanwhile.
        return false;
    }
    endpoint.is_ready(link);
    recall::follow_suit(endpoint, poll.fd, link);
    if link.consumer().copied() > 0 && !levels::has_bytes(endpoint, link, poll.fd) {
        // TCP may have shown what the ring has given.
        levels::has_void(endpoint, link, poll.fd);
        poll.revents = kernel::poll_now(poll.fd, poll.events);
    }
    poll.revents = levels::whole(link, poll.fd, poll.events, poll.revents);
    if poll.revents & (libc::POLLIN | libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0 {
        endpoint.ending.store(1, Ordering::Relaxed);
        if recall::ended_with_unread(endpoint, poll.fd, link) {
            recall::let_the_kernel_tell(endpoint, poll.fd, link);
            poll.revents = kernel::poll_now(poll.fd, poll.events);
        }
    }
    if endpoint.family().has_error() {
        poll.revents |= libc::POLLERR;
    }
    if link.is_recalled() || (asked & READABLE != 0 && link.consumer().glance_for(endpoint.low_water(link))) {
        poll.revents |= levels::levels(endpoint, link, poll.fd, asked) as i16;
    }
    poll.revents != 0
}
