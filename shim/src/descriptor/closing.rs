//! Before, around and after the close of a descriptor that is watched, and its replacement by another.

use super::{CHANGING, Entry, HIGHEST, OWN};
use super::{close_own, decode, disown, get, is_changing_elsewhere, is_own, keep, word};
use crate::endpoint::{self, Phase};
use crate::held::{self, Obligation};
use crate::readiness::epoll::{self, Set};
use crate::{broker, kernel, process, real, tcp, thread};
use core::ffi::c_int;
use core::sync::atomic::Ordering;

/// Before the real close of a descriptor: what is to be finished after it. Until then other threads' calls on it wait: on a
/// number that names nothing they would pass the ring.
pub fn closing(fd: c_int) -> Option<Ending> {
    while is_changing_elsewhere(word(fd)?.load(Ordering::Acquire)) {
        kernel::yield_now();
    }
    // Most descriptors are not ours.
    let known = get(fd)?;
    if !process::owns_tables() {
        return None;
    }
    let is_moved = matches!(known, Entry::Endpoint(endpoint) if endpoint.phase() == Phase::Linked);
    let awaited = is_moved && !real::single_threaded() && !broker::is_silent();
    let Some(entry) = replace(fd, if awaited { changing_mark() } else { 0 }) else {
        if awaited {
            changed(fd);
        }
        return None;
    };
    let entry = ending(fd, entry);
    Some(Ending { entry, awaited: awaited.then_some(fd) })
}

fn ending(fd: c_int, entry: Entry) -> EndingEntry {
    match entry {
        Entry::Endpoint(endpoint) => EndingEntry::Endpoint(endpoint.close(fd)),
        Entry::Set(set) => EndingEntry::Set(set),
    }
}

fn changing_mark() -> usize {
    (thread::current().tid() as usize) << 3 | CHANGING
}

/// Before a descriptor gets another meaning at one stroke (dup2): who uses it meanwhile waits for [`changed`]. What is to be
/// finished after that.
pub fn changing(fd: c_int) -> Option<Ending> {
    if is_own(fd) {
        return None;
    }
    let entry = replace(fd, changing_mark());
    HIGHEST.fetch_max(fd, Ordering::Relaxed);
    Some(Ending { entry: ending(fd, entry?), awaited: None })
}

/// Puts a mark where a descriptor, which stays open until its entry has ended, had an entry; what that was.
fn replace(fd: c_int, mark: usize) -> Option<Entry> {
    let word = word(fd)?;
    let mut known = word.load(Ordering::Acquire);
    loop {
        if known & OWN != 0 {
            return None;
        }
        if is_changing_elsewhere(known) {
            kernel::yield_now();
            known = word.load(Ordering::Acquire);
            continue;
        }
        let entry = decode(known);
        if let Some(Entry::Endpoint(endpoint)) = entry {
            endpoint.leaves_table(fd);
        }
        // SeqCst: removed here, then the pins are looked at; `descriptor::pin` pins, then looks here.
        match word.compare_exchange(known, mark, Ordering::SeqCst, Ordering::Acquire) {
            Ok(_) => return entry,
            Err(now) => known = now,
        }
        // Another thread was quicker.
        if let Some(Entry::Endpoint(endpoint)) = entry {
            endpoint.has_left_table(fd);
        }
    }
}

/// It names what was entered for it, or nothing of ours.
pub fn changed(fd: c_int) {
    if let Some(word) = word(fd) {
        // Released to the Acquire in `get` of who has waited for it: with what was done under the mark.
        let _ = word.compare_exchange(changing_mark(), 0, Ordering::Release, Ordering::Relaxed);
    }
}

/// Closes a copy of a program's socket, the shim's own. Where that lingers no fork waits for it; one in this very moment inherits
/// the copy, as it would have inherited the program's.
pub fn close_copy(fd: c_int) {
    if !tcp::lingers(fd) {
        close_own(fd);
    } else if is_own(fd) {
        disown(fd);
        kernel::close(fd);
    }
}

/// See [`closing`].
pub struct Ending {
    entry: EndingEntry,
    /// The number that other threads' calls wait for.
    awaited: Option<c_int>,
}

enum EndingEntry {
    Endpoint(endpoint::Closing),
    Set(&'static Set),
}

impl Ending {
    /// Around the real close(2), and after it.
    pub fn by_close<T>(self, close: impl FnOnce() -> T) -> T {
        // One that lingers gives the number away before it returns, and nobody waits for that: it is to be the close of a copy.
        let result = match self.awaited.filter(|fd| tcp::lingers(*fd)).map(keep) {
            None => close(),
            Some(Ok(copy)) => held::during(Obligation::Copy(copy), || {
                let result = close();
                self.give_away();
                close_copy(copy);
                result
            }),
            Some(Err(_)) => {
                self.give_away();
                close()
            }
        };
        self.finish();
        result
    }

    /// Around a real close that writes before (fclose): a thread that leaves it then leaves the number open, and keeps nobody waiting.
    pub fn during<T>(ending: Option<&Self>, close: impl FnOnce() -> T) -> T {
        match ending.and_then(|ending| ending.awaited) {
            None => close(),
            Some(fd) if tcp::lingers(fd) => {
                // No copy, which would stay open, too.
                changed(fd);
                close()
            }
            Some(fd) => held::during(Obligation::Changing(fd), close),
        }
    }

    /// Who waits for the number may use it.
    fn give_away(&self) {
        self.awaited.inspect(|fd| changed(*fd));
    }

    /// After the real close.
    pub fn finish(self) {
        self.give_away();
        match self.entry {
            EndingEntry::Endpoint(closing) => closing.finish(),
            EndingEntry::Set(set) => epoll::closed(set),
        }
    }
}
