//! poll, select, epoll.

use crate::held::{self, Obligation};
use crate::hooks::io::hooks;
use crate::hooks::{LOWEST, fail, int};
use crate::kernel::Errno;
use crate::readiness::poll::Served;
use crate::readiness::{epoll, epoll_wait, poll as polling, select as selecting};
use crate::{descriptor, kernel, real, stream};
use core::ffi::{c_int, c_void};
use libc::{epoll_event, fd_set, nfds_t, pollfd, sigset_t, timespec, timeval};

const MS: u64 = 1_000_000;
/// What the kernel takes for an array of events.
const MOST_EVENTS: c_int = c_int::MAX / size_of::<epoll_event>() as c_int;

/// The program's array, if it can be one.
///
/// # Safety
/// `fds` points to `count` entries, as poll requires.
unsafe fn array<'a>(fds: *mut pollfd, count: nfds_t) -> Option<&'a mut [pollfd]> {
    if (fds as usize) < LOWEST || count > 1 << 20 {
        return None;
    }
    // SAFETY: by contract.
    Some(unsafe { core::slice::from_raw_parts_mut(fds, count as usize) })
}

/// The first word of a signal mask: all that the kernel has.
///
/// # Safety
/// `mask` is null or points to a mask.
unsafe fn mask_word(mask: *const c_void) -> Option<u64> {
    // SAFETY: by contract.
    (!mask.is_null()).then(|| unsafe { mask.cast::<u64>().read_unaligned() })
}

/// A timeout in ns. `Err`: the kernel would refuse it.
///
/// # Safety
/// `timeout` is null or points to one.
unsafe fn duration(timeout: *const timespec) -> Result<Option<u64>, Errno> {
    if timeout.is_null() {
        return Ok(None);
    }
    // SAFETY: by contract.
    let timeout = unsafe { timeout.read_unaligned() };
    if timeout.tv_sec < 0 || !(0..1_000_000_000).contains(&timeout.tv_nsec) {
        return Err(Errno(libc::EINVAL));
    }
    Ok(Some((timeout.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(timeout.tv_nsec as u64)))
}

/// poll in all its forms.
///
/// # Safety
/// As poll.
unsafe fn poll_with(
    fds: *mut pollfd,
    count: nfds_t,
    timeout: Result<Option<u64>, Errno>,
    mask: Option<u64>,
    real: impl Fn() -> c_int,
) -> c_int {
    // SAFETY: by contract.
    let (Some(polls), Ok(timeout)) = (unsafe { array(fds, count) }, timeout) else { return real() };
    real::heed_cancel(|| true);
    match polling::run(polls, timeout, mask, real) {
        Served::Plain(result) => result,
        Served::Here(result) => int(result),
    }
}

/// A set's waits in all their forms.
///
/// # Safety
/// As epoll_wait.
unsafe fn epoll_with(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: Result<Option<u64>, Errno>,
    mask: Option<u64>,
    real: impl Fn() -> c_int,
) -> c_int {
    stream::collect_mail();
    let judged = (1..=MOST_EVENTS).contains(&most) && events as usize >= LOWEST;
    let (Some(set), Ok(timeout), true) = (descriptor::set(epoll), timeout, judged) else { return real() };
    set.used();
    // SAFETY: by contract.
    let found = unsafe { core::slice::from_raw_parts_mut(events, most as usize) };
    if set.is_managed() {
        real::heed_cancel(|| true);
        return int(epoll_wait::wait(set, epoll, found, timeout, mask));
    }
    let deadline = timeout.filter(|ns| *ns > 0).map(|ns| kernel::now_ns().saturating_add(ns));
    let taken_over = set.taken_over();
    set.enter();
    let count = held::during(Obligation::Sleeper(set), real);
    set.leave();
    // A member has moved while we slept, or a parent's, whose hub we do not know: its event is not the program's.
    let moved = count > 0 && (set.has_hub() || set.is_inherited());
    let kept = if moved { set.filter(found, count as usize, taken_over) as c_int } else { count };
    if moved && kept == 0 {
        let left = deadline.map_or(timeout, |deadline| Some(deadline.saturating_sub(kernel::now_ns())));
        return int(epoll_wait::wait(set, epoll, found, left, mask));
    }
    set.take_apart();
    kept
}

fn milliseconds(timeout: c_int) -> Option<u64> {
    u64::try_from(timeout).ok().map(|ms| ms * MS)
}

hooks! {
    /// poll(2)
    fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
        let real = || real!(fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int);
        // SAFETY: the same contract.
        unsafe { poll_with(fds, count, Ok(milliseconds(timeout)), None, real) }
    }

    /// poll(2), glibc's alias
    fn __poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
        // SAFETY: the same contract.
        unsafe { poll(fds, count, timeout) }
    }

    /// poll(2), fortified
    fn __poll_chk(fds: *mut pollfd, count: nfds_t, timeout: c_int, room: usize) -> c_int {
        if (count as usize).saturating_mul(size_of::<pollfd>()) > room {
            return real!(fn __poll_chk(fds: *mut pollfd, count: nfds_t, timeout: c_int, room: usize) -> c_int);
        }
        // SAFETY: the same contract.
        unsafe { poll(fds, count, timeout) }
    }

    /// ppoll(2)
    fn ppoll(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int {
        let real = || real!(fn ppoll(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int);
        // SAFETY: the same contract.
        unsafe { poll_with(fds, count, duration(timeout), mask_word(mask.cast()), real) }
    }

    /// ppoll(2), fortified
    fn __ppoll_chk(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t, room: usize) -> c_int {
        if (count as usize).saturating_mul(size_of::<pollfd>()) > room {
            return real!(fn __ppoll_chk(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t, room: usize) -> c_int);
        }
        // SAFETY: the same contract.
        unsafe { ppoll(fds, count, timeout, mask) }
    }

    /// select(2)
    fn select(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *mut timeval) -> c_int {
        let count = selecting::within_table(count);
        let real = || real!(fn select(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *mut timeval) -> c_int);
        // SAFETY: the program's sets.
        unsafe { selecting::select(count, [read, write, except], selecting::Timeout::of_timeval(timeout), None, real) }
    }

    /// select(2), glibc's alias
    fn __select(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *mut timeval) -> c_int {
        // SAFETY: the same contract.
        unsafe { select(count, read, write, except, timeout) }
    }

    /// pselect(2)
    fn pselect(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *const timespec, mask: *const sigset_t) -> c_int {
        let count = selecting::within_table(count);
        let real = || real!(fn pselect(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *const timespec, mask: *const sigset_t) -> c_int);
        // SAFETY: the program's sets, timeout and mask.
        unsafe { selecting::select(count, [read, write, except], selecting::Timeout::of_timespec(duration(timeout)), mask_word(mask.cast()), real) }
    }

    /// epoll_ctl(2)
    fn epoll_ctl(epoll: c_int, op: c_int, fd: c_int, event: *mut epoll_event) -> c_int {
        let real = || real!(fn epoll_ctl(epoll: c_int, op: c_int, fd: c_int, event: *mut epoll_event) -> c_int);
        let Some(endpoint) = descriptor::pin(fd) else {
            if op == libc::EPOLL_CTL_ADD
                && epoll != fd
                && let Some(set) = descriptor::set(fd)
            {
                epoll::estrange(set);
            }
            return real();
        };
        // SAFETY: the program's event, which only a DEL has not.
        let given = (op != libc::EPOLL_CTL_DEL && event as usize >= LOWEST).then(|| unsafe { event.read_unaligned() });
        let result = match descriptor::set(epoll) {
            Some(set) => {
                set.used();
                epoll::control(set, epoll, op, endpoint, fd, given, real).unwrap_or_else(fail)
            }
            None => epoll::control_unknown(epoll, op, endpoint, fd, given, real),
        };
        endpoint.unpin();
        result
    }

    /// epoll_wait(2)
    fn epoll_wait(epoll: c_int, events: *mut epoll_event, most: c_int, timeout: c_int) -> c_int {
        let real = || real!(fn epoll_wait(epoll: c_int, events: *mut epoll_event, most: c_int, timeout: c_int) -> c_int);
        // SAFETY: the same contract.
        unsafe { epoll_with(epoll, events, most, Ok(milliseconds(timeout)), None, real) }
    }

    /// epoll_pwait(2)
    fn epoll_pwait(epoll: c_int, events: *mut epoll_event, most: c_int, timeout: c_int, mask: *const sigset_t) -> c_int {
        let real = || real!(fn epoll_pwait(epoll: c_int, events: *mut epoll_event, most: c_int, timeout: c_int, mask: *const sigset_t) -> c_int);
        // SAFETY: the same contract.
        unsafe { epoll_with(epoll, events, most, Ok(milliseconds(timeout)), mask_word(mask.cast()), real) }
    }

    /// epoll_pwait2(2)
    fn epoll_pwait2(epoll: c_int, events: *mut epoll_event, most: c_int, timeout: *const timespec, mask: *const sigset_t) -> c_int {
        let real = || real!(fn epoll_pwait2(epoll: c_int, events: *mut epoll_event, most: c_int, timeout: *const timespec, mask: *const sigset_t) -> c_int);
        // SAFETY: the same contract.
        unsafe { epoll_with(epoll, events, most, duration(timeout), mask_word(mask.cast()), real) }
    }
}
