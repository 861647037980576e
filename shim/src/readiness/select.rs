//! select and pselect: as poll, when a linked endpoint is among them.

use crate::endpoint::Phase;
use crate::hooks::fail;
use crate::kernel::{self, Errno};
use crate::readiness::poll::{self, Served};
use crate::{config, descriptor, foreign, stream};
use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, Ordering};
use libc::{fd_set, pollfd, timeval};
use slipstream_protocol::Reason;

/// What the kernel's select takes for readable, writable, exceptional.
const BITS: [i16; 3] = [
    libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND | libc::POLLHUP | libc::POLLERR,
    libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND | libc::POLLERR,
    libc::POLLPRI,
];
const ASK: [i16; 3] =
    [libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND, libc::POLLOUT | libc::POLLWRNORM, libc::POLLPRI];

/// What select tells of an entry; not 0 for one that is an error.
fn tells(poll: &pollfd) -> i16 {
    let asked = ASK.iter().zip(BITS).filter(|(ask, _)| poll.events & **ask != 0);
    poll.revents & asked.fold(libc::POLLNVAL, |all, (_, bits)| all | bits)
}

/// How long select may wait, and where the rest is written back.
pub struct Timeout {
    ns: Result<Option<u64>, Errno>,
    rest: *mut timeval,
}

impl Timeout {
    /// Of select, which writes the rest back.
    ///
    /// # Safety
    /// `timeout` is null or the program's own.
    pub unsafe fn of_timeval(timeout: *mut timeval) -> Self {
        if timeout.is_null() {
            return Self { ns: Ok(None), rest: timeout };
        }
        // SAFETY: by contract.
        let given = unsafe { timeout.read_unaligned() };
        let ns = if given.tv_sec < 0 || given.tv_usec < 0 {
            Err(Errno(libc::EINVAL))
        } else {
            Ok(Some(
                (given.tv_sec as u64)
                    .saturating_mul(1_000_000_000)
                    .saturating_add((given.tv_usec as u64).saturating_mul(1000)),
            ))
        };
        Self { ns, rest: timeout }
    }

    /// Of pselect.
    pub fn of_timespec(ns: Result<Option<u64>, Errno>) -> Self {
        Self { ns, rest: core::ptr::null_mut() }
    }
}

/// How many of the `count` descriptors that it is asked for the kernel would look at: not more than its table has places,
/// which is what keeps select(getdtablesize(), …) within an ordinary set. The shim's own descriptors, or those of the
/// program that has executed this one, make that table large; here it is as large as the program's own ask for. An ordinary
/// set is looked at as a whole.
pub fn within_table(count: c_int) -> c_int {
    /// The largest table that the program's own descriptors have been seen to need.
    static TABLE: AtomicI32 = AtomicI32::new(libc::FD_SETSIZE as c_int);
    // A filter may end the process for a look.
    if count <= TABLE.load(Ordering::Relaxed) || config::disabled() == Some(Reason::Seccomp) {
        return count;
    }
    // The kernel's tables are powers of two.
    let needed = |highest: c_int| highest.unsigned_abs().saturating_add(1).checked_next_power_of_two();
    match foreign::highest_descriptor().map(needed) {
        Some(Some(table)) => {
            let table = table.min(1 << 30) as c_int;
            count.min(TABLE.fetch_max(table, Ordering::Relaxed).max(table))
        }
        _ => count,
    }
}

type Words = *mut u64;

/// Whether a descriptor is in a set. The sets are as long as `count` asks for, beyond FD_SETSIZE if need be.
///
/// # Safety
/// `set` is null or a set with room for `fd`.
unsafe fn has(set: *const fd_set, fd: c_int) -> bool {
    // SAFETY: by contract; a set is an array of words.
    !set.is_null() && unsafe { (set.cast::<u64>().add(fd as usize / 64).read_unaligned() >> (fd % 64)) & 1 != 0 }
}

/// The descriptors below `count` that are in one of the sets, in order.
///
/// # Safety
/// The sets are null or have room for `count` descriptors.
unsafe fn members(count: c_int, sets: [*mut fd_set; 3]) -> impl Iterator<Item = c_int> {
    (0..count.unsigned_abs().div_ceil(64)).flat_map(move |index| {
        // SAFETY: by contract; a set is an array of words.
        let word = |set: *mut fd_set| unsafe { set.cast::<u64>().add(index as usize).read_unaligned() };
        let mut left = sets.into_iter().filter(|set| !set.is_null()).fold(0, |all, set| all | word(set));
        core::iter::from_fn(move || {
            let bit = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (bit < 64).then_some((index * 64 + bit) as c_int)
        })
        .filter(move |fd| *fd < count)
    })
}

/// select in all its forms.
///
/// # Safety
/// As select: the sets are null or have room for `count` descriptors.
pub unsafe fn select(
    count: c_int,
    sets: [*mut fd_set; 3],
    timeout: Timeout,
    mask: Option<u64>,
    real: impl Fn() -> c_int,
) -> c_int {
    if !(1..=1 << 20).contains(&count) || timeout.ns.is_err() {
        return real();
    }
    stream::collect_mail();
    // SAFETY: by contract.
    let members = || unsafe { members(count, sets) };
    let is_watched = |fd| match descriptor::get(fd) {
        Some(descriptor::Entry::Endpoint(endpoint)) => !matches!(endpoint.phase(), Phase::Idle | Phase::Settled),
        Some(descriptor::Entry::Set(_)) => true,
        None => false,
    };
    if !members().any(is_watched) {
        return real();
    }
    // SAFETY: by contract.
    poll::with_room(members().count(), |polls| unsafe { with(polls, members(), count, sets, timeout, mask, &real) })
        .unwrap_or_else(|_| real())
}

/// [`select`] with an array for poll, one entry per member.
///
/// # Safety
/// As select.
unsafe fn with(
    polls: &mut [pollfd],
    members: impl Iterator<Item = c_int>,
    count: c_int,
    sets: [*mut fd_set; 3],
    timeout: Timeout,
    mask: Option<u64>,
    real: impl Fn() -> c_int,
) -> c_int {
    for (poll, fd) in polls.iter_mut().zip(members) {
        poll.fd = fd;
        for (set, ask) in sets.iter().zip(ASK) {
            // SAFETY: by contract.
            if unsafe { has(*set, fd) } {
                poll.events |= ask;
            }
        }
    }
    let start = kernel::now_ns();
    let ns = timeout.ns.unwrap_or(None);
    let served = loop {
        let left = ns.map(|ns| ns.saturating_sub(kernel::now_ns() - start));
        match poll::run(polls, left, mask, &real) {
            // Whoever asks for urgent data alone is not told of an end. Poll, which tells of it always, is asked once more, of
            // the others.
            Served::Here(Ok(found)) if found > 0 && !polls.iter().any(|poll| tells(poll) != 0) => {
                polls.iter_mut().filter(|poll| poll.revents != 0).for_each(|poll| poll.fd = !poll.fd);
            }
            served => break served,
        }
    };
    match served {
        Served::Plain(result) => result,
        Served::Here(result) => {
            if !timeout.rest.is_null()
                && let Some(ns) = ns
            {
                let left = ns.saturating_sub(kernel::now_ns() - start);
                let rest = timeval { tv_sec: (left / 1_000_000_000) as i64, tv_usec: (left / 1000 % 1_000_000) as i64 };
                // SAFETY: the program's own timeout, which select updates.
                unsafe { timeout.rest.write_unaligned(rest) };
            }
            // SAFETY: by contract.
            result.map_or_else(fail, |_| unsafe { fill(count, sets, polls) })
        }
    }
}

/// Writes what was found into the sets; select's result.
///
/// # Safety
/// As [`select`].
unsafe fn fill(count: c_int, sets: [*mut fd_set; 3], polls: &[pollfd]) -> c_int {
    if polls.iter().any(|poll| poll.revents & libc::POLLNVAL != 0) {
        return fail(Errno(libc::EBADF));
    }
    let mut ready = 0;
    for (set, bits) in sets.into_iter().zip(BITS) {
        if set.is_null() {
            continue;
        }
        let words: Words = set.cast();
        // Of the words that `count` covers, everything but the ready ones is cleared.
        let keep: usize = (count as usize).div_ceil(64);
        let mut poll = polls.iter().filter(|poll| poll.fd >= 0);
        let mut next = poll.next();
        for word in 0..keep {
            let mut value = 0u64;
            while let Some(entry) = next
                && entry.fd as usize / 64 == word
            {
                // SAFETY: by contract.
                if entry.revents & bits != 0 && unsafe { has(set, entry.fd) } {
                    value |= 1 << (entry.fd % 64);
                }
                next = poll.next();
            }
            ready += value.count_ones() as c_int;
            // SAFETY: by contract the set has room for `count` descriptors, in whole words.
            unsafe { words.add(word).write_unaligned(value) };
        }
    }
    ready
}
