//! poll, ppoll, select and pselect over arrays in which some descriptors are linked.
//!
//! The kernel polls every descriptor as it stands: what TCP shows (hang-ups, the end, bytes before a switch) is right for
//! a moved endpoint too. The shim adds what the rings hold, and while it sleeps one more descriptor: a hub with the
//! doorbells.

use crate::endpoint::{Endpoint, Phase};
use crate::kernel::{self, Errno};
use crate::readiness::levels::{self, READABLE};
use crate::{descriptor, real, stream, wait};
use core::ffi::c_int;
use slipstream_ring::wait::Sleep;

/// Arrays up to this length are copied to the stack, longer ones to pages of their own.
const ON_STACK: usize = 64;

/// Whether an array holds a linked endpoint. Those that may become linked while we are in the kernel are counted in;
/// [`leave`] counts them out.
pub enum Company {
    /// None: the real call, then [`leave`].
    Plain,
    /// At least one.
    Linked,
}

fn endpoint_of(poll: &libc::pollfd) -> Option<&'static Endpoint> {
    match descriptor::get(poll.fd) {
        Some(descriptor::Entry::Endpoint(endpoint)) => Some(endpoint),
        _ => None,
    }
}

fn counts(endpoint: &Endpoint) -> bool {
    matches!(endpoint.phase(), Phase::Counting | Phase::Offered | Phase::Prepared)
}

/// Looks who is there.
pub fn enter(polls: &[libc::pollfd]) -> Company {
    stream::collect_mail();
    for (i, poll) in polls.iter().enumerate() {
        let Some(endpoint) = endpoint_of(poll) else { continue };
        if endpoint.phase() == Phase::Linked || (counts(endpoint) && !endpoint.family().readers.enter()) {
            leave(polls.get(..i).unwrap_or_default());
            return Company::Linked;
        }
    }
    Company::Plain
}

/// Counts out whom [`enter`] has counted in.
pub fn leave(polls: &[libc::pollfd]) {
    for poll in polls {
        if let Some(endpoint) = endpoint_of(poll)
            && (counts(endpoint) || endpoint.phase() == Phase::Linked)
        {
            endpoint.family().readers.leave();
        }
    }
}

/// ppoll with linked endpoints. `timeout` in ns, `None` for ever; `mask` for the wait.
pub fn wait(polls: &mut [libc::pollfd], timeout: Option<u64>, mask: Option<u64>) -> Result<usize, Errno> {
    let mut few = [libc::pollfd { fd: -1, events: 0, revents: 0 }; ON_STACK];
    let bytes = (polls.len() + 1) * size_of::<libc::pollfd>();
    if polls.len() < ON_STACK {
        return wait_in(polls, few.get_mut(..=polls.len()).unwrap_or_default(), timeout, mask);
    }
    let pages = kernel::map_anonymous(bytes, false)?;
    // SAFETY: just mapped, zeroed, page-aligned, of this length.
    let many = unsafe { core::slice::from_raw_parts_mut(pages.cast::<libc::pollfd>(), polls.len() + 1) };
    let result = wait_in(polls, many, timeout, mask);
    kernel::unmap(pages, bytes);
    result
}

/// `room` is one longer than `polls`: for the hub.
fn wait_in(
    polls: &mut [libc::pollfd],
    room: &mut [libc::pollfd],
    timeout: Option<u64>,
    mask: Option<u64>,
) -> Result<usize, Errno> {
    let found = look(polls)?;
    if found > 0 || timeout == Some(0) {
        return Ok(found);
    }
    let deadline = timeout.map(|timeout| kernel::now_ns().saturating_add(timeout));
    let former = kernel::block_signals();
    let result = wait_blocked(polls, room, deadline, mask.unwrap_or(former));
    kernel::restore_signals(former);
    result
}

fn wait_blocked(
    polls: &mut [libc::pollfd],
    room: &mut [libc::pollfd],
    deadline: Option<u64>,
    mask: u64,
) -> Result<usize, Errno> {
    let peer_cpu = polls.iter().find_map(|poll| endpoint_of(poll)?.link()?.peer_cpu());
    let looks = core::cell::Cell::new(0u32);
    let spun = wait::spin_masked(peer_cpu, deadline, mask, || {
        looks.set(looks.get() + 1);
        glance(polls) || looks.get().is_multiple_of(128)
    });
    if spun {
        let found = look(polls)?;
        if found > 0 {
            return Ok(found);
        }
    }
    let hub = kernel::epoll_create()?;
    let result = sleep(polls, room, deadline, mask, hub);
    kernel::close(hub);
    result
}

fn sleep(
    polls: &mut [libc::pollfd],
    room: &mut [libc::pollfd],
    deadline: Option<u64>,
    mask: u64,
    hub: c_int,
) -> Result<usize, Errno> {
    for (i, poll) in polls.iter().enumerate() {
        if let Some(endpoint) = endpoint_of(poll)
            && endpoint.link().is_some()
        {
            // The same bell twice is refused, and is there once.
            let _ = kernel::epoll_ctl(
                hub,
                libc::EPOLL_CTL_ADD,
                endpoint.own_bell(),
                (libc::EPOLLIN | libc::EPOLLET) as u32,
                i as u64,
            );
        }
    }
    loop {
        // What was rung until now is in the look that follows the arming.
        let mut rung = [libc::epoll_event { events: 0, u64: 0 }; 64];
        while kernel::epoll_harvest(hub, &mut rung) == Ok(rung.len()) {}
        for poll in polls.iter() {
            if let Some(link) = endpoint_of(poll).and_then(Endpoint::link) {
                link.arm(Sleep::Poll);
            }
        }
        let found = look(polls)?;
        if found > 0 {
            return Ok(found);
        }
        let Some((last, others)) = room.split_last_mut() else { return Err(Errno(libc::EINVAL)) };
        others.copy_from_slice(polls);
        *last = libc::pollfd { fd: hub, events: libc::POLLIN, revents: 0 };
        let left = deadline.map(|deadline| kernel::timespec(deadline.saturating_sub(kernel::now_ns())));
        let kind = real::set_cancel_type(real::CANCEL_ASYNCHRONOUS);
        let slept = kernel::ppoll(room, left.as_ref(), &raw const mask);
        real::set_cancel_type(kind);
        slept?;
        let found = look(polls)?;
        if found > 0 || deadline.is_some_and(|deadline| kernel::now_ns() >= deadline) {
            return Ok(found);
        }
    }
}

/// Whether a ring may have something. No system call.
fn glance(polls: &[libc::pollfd]) -> bool {
    polls.iter().any(|poll| {
        endpoint_of(poll).is_some_and(|endpoint| endpoint.link().is_some_and(|link| link.consumer().glance()))
    })
}

/// One look at everything, written into the array.
fn look(polls: &mut [libc::pollfd]) -> Result<usize, Errno> {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    kernel::ppoll(polls, Some(&now), core::ptr::null())?;
    for poll in polls.iter_mut() {
        let wanted = poll.events as u16 as u32;
        let Some(endpoint) = endpoint_of(poll) else { continue };
        let Some(link) = endpoint.link() else { continue };
        endpoint.is_ready(link);
        if wanted & READABLE != 0 && link.consumer().glance() {
            let ready = levels::levels(endpoint, link, poll.fd, wanted & READABLE);
            poll.revents |= ready as i16;
        }
    }
    Ok(polls.iter().filter(|poll| poll.revents != 0).count())
}
