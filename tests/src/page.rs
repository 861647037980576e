//! The page that a case (`cases/case.c`) shares with its runner.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, Ordering};

const MAGIC: u32 = 0x4341_5345;
const FLAGS: usize = 64;
const WARMS: usize = 1024;
const TEXT: usize = 1 << 18;

/// As `struct page` in case.c.
#[repr(C)]
struct Layout {
    magic: u32,
    trips: AtomicU32,
    ask: AtomicU32,
    bare: AtomicU32,
    pid: [AtomicU32; 2],
    status: [AtomicI32; 2],
    seq: [AtomicU32; 2],
    port: [AtomicU32; 2],
    flag: [AtomicU32; FLAGS],
    word: [AtomicI64; FLAGS],
    warms: AtomicU32,
    warm: [Warm; WARMS],
    length: [AtomicU32; 2],
    text: [[u8; TEXT]; 2],
}

#[repr(C)]
struct Warm {
    local: AtomicU32,
    remote: AtomicU32,
    asked: AtomicU32,
    answer: AtomicU32,
}

/// A case's page, mapped.
#[derive(Debug)]
pub struct Page {
    at: *mut Layout,
}

// SAFETY: the page is only ever accessed through atomics, or read when its writers have ended.
unsafe impl Send for Page {}

impl Page {
    /// Makes the file and maps it. `trips`: round trips before a warm-up asks whether the connection has moved; `ask`:
    /// whether it asks at all; `bare`: the end (0 alice, 1 bob) that runs without the shim.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn new(path: &Path, trips: u32, ask: bool, bare: Option<u32>) -> io::Result<Self> {
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
        unsafe { (*page.at).magic = MAGIC };
        page.layout().trips.store(trips, Ordering::Relaxed);
        page.layout().ask.store(u32::from(ask), Ordering::Relaxed);
        page.layout().bare.store(bare.map_or(0, |end| end + 1), Ordering::Relaxed);
        Ok(page)
    }

    fn layout(&self) -> &Layout {
        // SAFETY: mapped for as long as `self` lives; all that others change is atomic, but for `text`, which is read
        // through raw pointers only.
        unsafe { &*self.at }
    }

    /// The warm-ups that wait for an answer: number, connector's port, acceptor's port.
    pub fn asked(&self) -> impl Iterator<Item = (usize, u16, u16)> + '_ {
        let count = (self.layout().warms.load(Ordering::Acquire) as usize).min(WARMS);
        (0..count).filter_map(|i| {
            let warm = &self.layout().warm[i];
            let waits = warm.asked.load(Ordering::Acquire) == 1 && warm.answer.load(Ordering::Relaxed) == 0;
            let port = |word: &AtomicU32| word.load(Ordering::Relaxed) as u16;
            waits.then(|| (i, port(&warm.local), port(&warm.remote)))
        })
    }

    /// Lets a warm-up end.
    pub fn answer(&self, number: usize) {
        self.layout().warm[number].answer.store(1, Ordering::Release);
    }

    /// How many warm-ups there were.
    pub fn warms(&self) -> usize {
        self.layout().warms.load(Ordering::Acquire) as usize
    }

    /// What an end has said so far, and its wait status.
    pub fn transcript(&self, end: usize) -> String {
        let length = (self.layout().length[end].load(Ordering::Acquire) as usize).min(TEXT);
        let mut text = vec![0; length];
        // SAFETY: within the mapping; a torn read of a line being written is possible only while the case still runs,
        // where the text serves a report.
        unsafe { std::ptr::copy_nonoverlapping((&raw const (*self.at).text[end]).cast(), text.as_mut_ptr(), length) };
        let status = self.layout().status[end].load(Ordering::Acquire);
        let ended = match (libc::WIFEXITED(status), libc::WIFSIGNALED(status)) {
            (true, _) => format!("exited {}", libc::WEXITSTATUS(status)),
            (_, true) => format!("killed by signal {}", libc::WTERMSIG(status)),
            _ => format!("wait status {status:#x}"),
        };
        format!("{}{ended}\n", String::from_utf8_lossy(&text))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: this mapping, whole, and nothing refers to it any more.
        unsafe { libc::munmap(self.at.cast(), size_of::<Layout>()) };
    }
}
