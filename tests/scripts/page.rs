//! The page that the conductor shares with the runner's processes. As `struct page` in runner.h.

use crate::script::{ACTORS, ARGUMENTS, PROCESSES, SLOTS};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How much one call can say.
pub const SAID: usize = 464;
/// The ends of connections of one script.
pub const ENDS: usize = 32;
/// Calls of one script, with what stands between them.
pub const RECORDS: usize = 1024;
/// The most bytes of one call.
pub const BUFFER: usize = 1 << 20;

#[repr(C)]
pub struct Record {
    pub call: i32,
    pub argument: [i32; ARGUMENTS],
    pub length: u32,
    said: [u8; SAID],
}

#[repr(C)]
pub struct Actor {
    go: AtomicU32,
    first: AtomicU32,
    last: AtomicU32,
    started: AtomicU32,
    done: AtomicU32,
    pub pid: AtomicU32,
    pub tid: AtomicU32,
    /// Signals that its handlers have seen.
    pub handled: AtomicU32,
}

#[repr(C)]
struct Layout {
    bell: AtomicU32,
    port: [AtomicU32; 2],
    unused: u32,
    actor: [Actor; ACTORS],
    slot: [[i32; SLOTS]; PROCESSES],
    written: [AtomicU64; ENDS],
    taken: [AtomicU64; ENDS],
    record: [Record; RECORDS],
}

/// The page, mapped.
#[derive(Debug)]
pub struct Page {
    at: *mut Layout,
}

// SAFETY: what others change is atomic, or is read when whoever changes it has said that it is done.
unsafe impl Send for Page {}

impl Page {
    /// Makes the file and maps it.
    pub fn new(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(size_of::<Layout>() as u64)?;
        // SAFETY: a fresh mapping of a file that is long enough; MAP_FAILED is handled.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Layout>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let page = Self { at: at.cast() };
        // SAFETY: mapped, and nobody else uses it yet.
        unsafe { (*page.at).slot = [[-1; SLOTS]; PROCESSES] };
        Ok(page)
    }

    /// An actor's words.
    pub fn actor(&self, actor: usize) -> &Actor {
        // SAFETY: mapped for as long as `self` lives; all of an actor's words are atomic.
        unsafe { &(*self.at).actor[actor] }
    }

    /// Every stream begins anew.
    pub fn rewind(&self) {
        for end in 0..ENDS {
            // SAFETY: mapped, and atomic.
            unsafe {
                (*self.at).written[end].store(0, Ordering::Relaxed);
                (*self.at).taken[end].store(0, Ordering::Relaxed);
            }
        }
    }

    /// Writes a record that no actor was sent to yet.
    pub fn put(&self, place: usize, call: i32, argument: [i32; ARGUMENTS]) {
        assert!(place < RECORDS, "a script of more than {RECORDS} records");
        // SAFETY: within the mapping, and no actor looks at it before `send`.
        unsafe {
            let record = &raw mut (*self.at).record[place];
            (*record).call = call;
            (*record).argument = argument;
            (*record).length = 0;
        }
    }

    /// What came of a record that is done.
    pub fn said(&self, place: usize) -> String {
        // SAFETY: within the mapping; its actor has said that it is done, or has ended, or hangs in a call.
        let (length, bytes) = unsafe {
            let record = &raw const (*self.at).record[place];
            ((*record).length as usize, (*record).said)
        };
        String::from_utf8_lossy(&bytes[..length.min(SAID)]).into_owned()
    }

    /// Lets an actor make the calls of some records.
    pub fn send(&self, actor: usize, first: usize, last: usize) {
        let words = self.actor(actor);
        words.first.store(first as u32, Ordering::Relaxed);
        words.last.store(last as u32, Ordering::Relaxed);
        words.go.fetch_add(1, Ordering::SeqCst);
        futex(&words.go, libc::FUTEX_WAKE, i32::MAX as u32, None);
    }

    /// Whether an actor has done what it was sent for.
    pub fn is_done(&self, actor: usize) -> bool {
        let words = self.actor(actor);
        words.done.load(Ordering::SeqCst) == words.go.load(Ordering::SeqCst)
    }

    /// Whether an actor has begun it.
    pub fn has_started(&self, actor: usize) -> bool {
        let words = self.actor(actor);
        words.started.load(Ordering::SeqCst) == words.go.load(Ordering::SeqCst)
    }

    /// A place for a new process.
    pub fn clear(&self, actor: usize) {
        let words = self.actor(actor);
        words.done.store(words.go.load(Ordering::SeqCst), Ordering::SeqCst);
        words.tid.store(0, Ordering::SeqCst);
        words.pid.store(0, Ordering::SeqCst);
    }

    /// The bell's count, to sleep on.
    pub fn bell(&self) -> u32 {
        // SAFETY: mapped, and atomic.
        unsafe { (*self.at).bell.load(Ordering::SeqCst) }
    }

    /// Sleeps until the bell rings, or a little longer than `patience`.
    pub fn sleep(&self, bell: u32, patience: Duration) {
        // SAFETY: mapped, and atomic.
        futex(unsafe { &(*self.at).bell }, libc::FUTEX_WAIT, bell, Some(patience));
    }
}

fn futex(word: &AtomicU32, operation: i32, value: u32, patience: Option<Duration>) {
    let time = patience.map(|patience| libc::timespec {
        tv_sec: patience.as_secs() as i64,
        tv_nsec: i64::from(patience.subsec_nanos()),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: a mapped word and a time that lives longer than the call; whatever it returns, the caller looks again.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, time) };
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: this mapping, whole, and nothing refers to it any more.
        unsafe { libc::munmap(self.at.cast(), size_of::<Layout>()) };
    }
}
