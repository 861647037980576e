//! Epoll sets and io_urings that came into the process by ways the shim does not see: raw system instructions, exec,
//! SCM_RIGHTS. What they wait for or read would never come once a connection has left TCP, so in a process that has one
//! nothing is moved.
//!
//! /proc/self/fd tells. It is read before an endpoint's reading becomes ready for the ring: what was made before the
//! program worked with that connection is seen. Without /proc nothing is.

use crate::held::{self, Obligation};
use crate::{descriptor, kernel, stream, thread};
use core::ffi::c_int;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use slipstream_protocol::Reason;

/// When the last look began and how long it took, CLOCK_MONOTONIC ns.
static BEGAN: AtomicU64 = AtomicU64::new(0);
static TOOK: AtomicU64 = AtomicU64::new(0);
/// 1 while something was found under a lock.
static FOUND: AtomicU32 = AtomicU32::new(0);
/// A process with thousands of descriptors spends at most this share of its time looking.
const SHARE: u64 = 20;

/// Epoll sets that threads are making, copying or closing, and how often that was done: between the kernel's step and
/// the table's such a set is nobody's.
static UNDERWAY: AtomicU32 = AtomicU32::new(0);
static DONE: AtomicU32 = AtomicU32::new(0);

/// Makes, copies or closes an epoll set that is the shim's own or known to it.
pub fn renaming<T>(work: impl FnOnce() -> T) -> T {
    renames();
    let result = held::during(Obligation::Renaming, work);
    renamed();
    result
}

/// The beginning of that.
pub fn renames() {
    UNDERWAY.fetch_add(1, Ordering::SeqCst);
}

/// The end of that.
pub fn renamed() {
    DONE.fetch_add(1, Ordering::SeqCst);
    UNDERWAY.fetch_sub(1, Ordering::SeqCst);
}

/// In a forked child: what other threads were at, they are not here to end.
pub fn after_fork() {
    UNDERWAY.store(0, Ordering::SeqCst);
}

/// Whether a look that began after `moment` has found nothing; looks, unless the last one was too short a time ago. All
/// endpoints leave the ring when something is found; for a caller under a lock that is to be done later, see [`take_found`].
pub fn is_absent_since(moment: u64) -> bool {
    let began = BEGAN.load(Ordering::Relaxed);
    if began > moment {
        return true;
    }
    let now = kernel::now_ns();
    if now < began + SHARE * TOOK.load(Ordering::Relaxed) {
        return false;
    }
    let done = DONE.load(Ordering::SeqCst);
    if let Some(reason) = look() {
        if UNDERWAY.load(Ordering::SeqCst) == 0 && DONE.load(Ordering::SeqCst) == done {
            if thread::current().roles.get() == 0 {
                stream::leave_all(reason);
            } else {
                FOUND.store(1, Ordering::Relaxed);
            }
        }
        // Else it may be a set of our own in the middle of something: the next call looks again.
        return false;
    }
    TOOK.store(kernel::now_ns() - now, Ordering::Relaxed);
    BEGAN.store(now, Ordering::Relaxed);
    true
}

/// Whether something was found under a lock, told once: who holds none is to look again.
pub fn take_found() -> bool {
    FOUND.load(Ordering::Relaxed) != 0 && FOUND.swap(0, Ordering::Relaxed) != 0
}

/// Looks for what this is about.
fn look() -> Option<Reason> {
    each_open(
        |folder, name, fd| {
            if descriptor::get(fd).is_some() || descriptor::is_own(fd) { None } else { what(folder, name) }
        },
    )
    .flatten()
}

/// The highest of the program's descriptors. `None`: /proc does not tell.
pub fn highest_descriptor() -> Option<c_int> {
    let mut highest = -1;
    each_open(|folder, _, fd| {
        if fd != folder && !descriptor::is_own(fd) {
            highest = highest.max(fd);
        }
        None::<()>
    })?;
    Some(highest)
}

/// Calls `work` for each of the program's descriptors from `least` on.
pub fn each_open_from(least: c_int, mut work: impl FnMut(c_int)) {
    each_open(|folder, _, fd| {
        if fd >= least && fd != folder && !descriptor::is_own(fd) {
            work(fd);
        }
        None::<()>
    });
}

/// Reads /proc/self/fd, up to the first descriptor of which `work(folder, name, number)` says something. `None` without it.
#[cold]
#[inline(never)]
fn each_open<T>(mut work: impl FnMut(c_int, &[u8], c_int) -> Option<T>) -> Option<Option<T>> {
    let folder = kernel::open_folder(b"/proc/self/fd\0").ok()?;
    let mut entries = [0u8; 1024];
    let mut found = None;
    while let Ok(len) = kernel::list(folder, &mut entries)
        && len > 0
        && found.is_none()
    {
        found = names(entries.get(..len).unwrap_or_default())
            .find_map(|name| number(name).and_then(|fd| work(folder, name, fd)));
    }
    kernel::close(folder);
    Some(found)
}

/// The names in a block of entries, each with its NUL.
fn names(mut entries: &[u8]) -> impl Iterator<Item = &[u8]> {
    /// Of `linux_dirent64`: the entry's length, and its name behind the head.
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    core::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(entries.get(LENGTH..LENGTH + 2)?.try_into().ok()?));
        let (entry, rest) = entries.split_at_checked(length.max(NAME))?;
        entries = rest;
        let name = entry.get(NAME..)?;
        let end = name.iter().position(|byte| *byte == 0)?;
        name.get(..=end)
    })
}

/// The descriptor that a name stands for.
fn number(name: &[u8]) -> Option<c_int> {
    name.split_last()?.1.iter().try_fold(0, |sum: c_int, digit| {
        sum.checked_mul(10)?.checked_add(c_int::try_from(char::from(*digit).to_digit(10)?).ok()?)
    })
}

/// Whether it is one of those that this is about.
fn what(folder: c_int, name: &[u8]) -> Option<Reason> {
    let mut target = [0u8; 32];
    let len = kernel::read_link(folder, name, &mut target).ok()?;
    match target.get(..len)? {
        b"anon_inode:[eventpoll]" => Some(Reason::EpollForeign),
        b"anon_inode:[io_uring]" => Some(Reason::IoUring),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_block_are_found() {
        let mut block = [0u8; 48];
        for (at, length, name) in [(0, 24u16, b"7\0"), (24, 24, b"12")] {
            block[at + 16..at + 18].copy_from_slice(&length.to_ne_bytes());
            block[at + 19..at + 21].copy_from_slice(name);
        }
        let found: Vec<_> = names(&block).map(number).collect();
        assert_eq!(found, [Some(7), Some(12)]);
        assert_eq!(number(b".\0"), None);
        assert_eq!(names(&block[..20]).count(), 0);
        assert_eq!(names(&[0; 40]).count(), 0, "a length of nothing ends it");
    }
}
