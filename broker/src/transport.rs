//! What a pair is made of: two outboxes and two doorbells, and with the Unix-domain transport a socketpair. And the
//! mailbox of a client.
//!
//! An outbox passes through three stages. While it is *made*, only the broker has it. Once *handed out* its owner maps
//! it for writing. When the owner has done so, it is *sealed*: from then on nobody can map it, or write it through a
//! descriptor, any more; the two mappings that exist (the owner's and the broker's) go on. Only then does the peer get
//! its read-only descriptor. Its size is sealed from the start, so no mapping of it can be cut short under its reader.
//!
//! The file's mode is 0 and the peer's descriptor was opened read-only, so that another user cannot even reopen it for
//! writing; against a peer that may override modes (root in its container) the seal stands.

use crate::protocol::{MAGIC, MAILBOX_SIZE, Mailbox, Reason, VERSION};
use rustix::event::EventfdFlags;
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::futex;
use slipstream_ring::layout::{self, Snapshot};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// The reason that stands for a failed system call.
fn reason(error: Errno) -> Reason {
    match error {
        Errno::MFILE | Errno::NFILE => Reason::Descriptors,
        Errno::NOMEM | Errno::NOSPC | Errno::AGAIN => Reason::Memory,
        _ => Reason::Kernel,
    }
}

/// Memory of a file, shared with other processes, and seen here as a `T` of atomics.
struct Shared<T> {
    start: NonNull<T>,
}

/// A type that may be laid over memory which other processes change at any time.
///
/// # Safety
///
/// Any bytes are a valid value, and whatever can change while somebody else has the memory is inside atomics, so that
/// no reference claims that it stands still. Its alignment divides a page.
unsafe trait Overlay {}

// SAFETY: an outbox consists of atomics of plain integers, aligned to 128.
unsafe impl Overlay for layout::Outbox {}
// SAFETY: two words that only the broker writes, before the page is handed out, and an atomic.
unsafe impl Overlay for Mailbox {}

impl<T: Overlay> Shared<T> {
    /// Maps the first bytes of `file`, for reading and writing.
    fn map(file: impl AsFd) -> Result<Self, Errno> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing; `fallocate` or `ftruncate` and
        // the size seals, which every caller has applied, keep it backed for as long as it lives.
        let start = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                size_of::<T>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file,
                0,
            )?
        };
        NonNull::new(start.cast()).map(|start| Self { start }).ok_or(Errno::NOMEM)
    }

    fn get(&self) -> &T {
        // SAFETY: the mapping is page-aligned, as large as a `T` and lives until `drop`; `Overlay` promises that any
        // content is valid and that concurrent changes are confined to atomics.
        unsafe { self.start.as_ref() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped; `get` lends it for no longer than `self` lives. Failure is impossible for
        // a whole mapping, and would only leak it.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), size_of::<T>()) };
    }
}

impl<T> std::fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Shared").field(&self.start).finish()
    }
}

/// A new memory file of `size` bytes, with its pages, whose size nobody can change, and a read-only descriptor of it.
fn memory_file(name: &str, size: usize) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags), // before Linux 6.3
        other => other,
    }?;
    // Pages now or never: running out of them later would be a SIGBUS in somebody's program.
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size as u64)?;
    let open = OFlags::RDONLY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let read_only = rustix::fs::open(path, open, Mode::empty())?;
    rustix::fs::fchmod(&file, Mode::empty())?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok((file, read_only))
}

/// One endpoint's outbox, as the broker has it.
#[derive(Debug)]
pub struct Outbox {
    header: Shared<layout::Outbox>,
    /// For the owner; gone once sealed.
    writable: Option<OwnedFd>,
    /// For the peer; gone once handed out.
    read_only: Option<OwnedFd>,
    capacity: u32,
}

impl Outbox {
    fn new(pair: u64, side: u32, capacity: u32) -> Result<Self, Errno> {
        let (file, read_only) = memory_file("slipstream-outbox", layout::size(capacity))?;
        let header: Shared<layout::Outbox> = Shared::map(&file)?;
        header.get().init(pair, side, capacity);
        Ok(Self { header, writable: Some(file), read_only: Some(read_only), capacity })
    }

    /// Lets nobody write it any more who has not mapped it yet. Before this, its reader's descriptor does not leave.
    ///
    /// # Errors
    ///
    /// The kernel has no such seal (before Linux 5.1).
    pub fn seal(&mut self) -> Result<(), Reason> {
        let Some(file) = self.writable.take() else { return Ok(()) };
        rustix::fs::fcntl_add_seals(&file, SealFlags::FUTURE_WRITE | SealFlags::SEAL).map_err(|_| Reason::Kernel)
    }

    /// The peer's descriptor: `None` before [`Outbox::seal`], and once it [was sent](Outbox::reader_sent).
    pub fn reader(&self) -> Option<BorrowedFd<'_>> {
        if self.writable.is_some() {
            return None;
        }
        self.read_only.as_ref().map(OwnedFd::as_fd)
    }

    /// Forgets the peer's descriptor: the peer has it.
    pub fn reader_sent(&mut self) {
        self.read_only = None;
    }

    /// Its counters, as its owner says.
    pub fn snapshot(&self) -> Snapshot {
        self.header.get().snapshot()
    }
}

/// One endpoint's half of a pair.
#[derive(Debug)]
pub struct Half {
    /// What the endpoint writes.
    pub outbox: Outbox,
    /// What its peer rings.
    bell: OwnedFd,
    /// Its end of the socketpair, until handed out.
    uds: Option<OwnedFd>,
}

/// Makes both halves of a pair, with rings of `capacity` bytes.
///
/// About 55 µs for 64 KiB rings and 480 µs for 1 MiB, most of it for their pages.
pub fn make(pair: u64, capacity: u32, uds: bool) -> Result<[Half; 2], Reason> {
    let ends = || -> Result<[Option<OwnedFd>; 2], Errno> {
        if !uds {
            return Ok([None, None]);
        }
        let (a, b) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok([Some(a), Some(b)])
    };
    let half = |side: u32, uds: Option<OwnedFd>| -> Result<Half, Errno> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Half { outbox: Outbox::new(pair, side, capacity)?, bell, uds })
    };
    let both = || -> Result<[Half; 2], Errno> {
        let [a, b] = ends()?;
        Ok([half(0, a)?, half(1, b)?])
    };
    both().map_err(reason)
}

/// The descriptors of `Prepare` for one side, in their order on the wire. `None` when they have been handed out.
pub fn prepare_fds<'a>(own: &'a Half, peer: &'a Half) -> Option<Vec<BorrowedFd<'a>>> {
    let mut fds = vec![own.outbox.writable.as_ref()?.as_fd(), own.bell.as_fd(), peer.bell.as_fd()];
    fds.extend(own.uds.as_ref().map(OwnedFd::as_fd));
    Some(fds)
}

impl Half {
    /// Forgets what `Prepare` has handed out and the broker needs no more.
    pub fn prepared(&mut self) {
        self.uds = None;
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> u64 {
        layout::size(self.outbox.capacity) as u64
    }

    /// Bytes of a half with a ring of `capacity`.
    pub fn memory_of(capacity: u32) -> u64 {
        layout::size(capacity) as u64
    }
}

/// Tells a survivor that every process which held its peer is gone: it looks at its TCP socket then.
///
/// Its futex sleepers are woken, for whom nothing else would. Who sleeps in poll or epoll hears of it from the TCP
/// socket, which the kernel has ended; the bell is only `ring`'s courtesy to survivors that may be trusted, for its
/// holders can make the write wait for as long as they like.
pub fn announce_death(dead: &Half, survivor: &Half, ring: bool) {
    let outbox = dead.outbox.header.get();
    outbox.mark_gone();
    for word in outbox.futexes() {
        // Nobody waiting is no error, and there is no other one for a mapped, aligned word.
        let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
    }
    // Somebody may have made it blocking, or filled it. Full, it has been heard.
    if ring && rustix::io::ioctl_fionbio(&survivor.bell, true).is_ok() && is_writable(&survivor.bell) {
        let _ = rustix::io::write(&survivor.bell, &1u64.to_ne_bytes());
    }
}

fn is_writable(fd: &OwnedFd) -> bool {
    let mut poll = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::OUT)];
    rustix::event::poll(&mut poll, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
        && poll[0].revents().contains(rustix::event::PollFlags::OUT)
}

/// The page through which a client sees that it has mail.
#[derive(Debug)]
pub struct Mail {
    page: Shared<Mailbox>,
}

impl Mail {
    /// A new one, and the descriptor for the client.
    pub fn new() -> Result<(Self, OwnedFd), Reason> {
        let make = || -> Result<(Self, OwnedFd), Errno> {
            let (file, read_only) = memory_file("slipstream-mailbox", MAILBOX_SIZE)?;
            let page: Shared<Mailbox> = Shared::map(&file)?;
            // SAFETY: nobody else has the memory yet, and no reference to it exists.
            unsafe {
                page.start.write(Mailbox { magic: MAGIC, version: u32::from(VERSION), mail: AtomicU32::new(0) });
            }
            rustix::fs::fcntl_add_seals(&file, SealFlags::FUTURE_WRITE | SealFlags::SEAL)?;
            Ok((Self { page }, read_only))
        };
        make().map_err(reason)
    }

    /// Says that a packet was sent.
    pub fn raise(&self) {
        // SYNC POINT mail: after the packet was queued, so that a client that sees the new number finds the packet.
        self.page.get().mail.fetch_add(1, Ordering::Release);
    }
}

/// A sealed memory file that holds a text, for one reader.
pub fn text_file(text: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("slipstream-status", flags)?;
    let mut rest = text;
    while !rest.is_empty() {
        let done = rustix::io::write(&file, rest)?;
        rest = &rest[done..];
    }
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fd: BorrowedFd<'_>, prot: ProtFlags) -> Result<(), Errno> {
        // SAFETY: a new mapping, never touched, unmapped at once.
        unsafe {
            let start = rustix::mm::mmap(std::ptr::null_mut(), 4096, prot, MapFlags::SHARED, fd, 0)?;
            rustix::mm::munmap(start, 4096)
        }
    }

    const BOTH: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

    #[test]
    fn a_peer_can_only_read() {
        let [mut a, b] = make(9, 4096, false).unwrap();
        let fds: Vec<OwnedFd> =
            prepare_fds(&a, &b).unwrap().iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
        assert_eq!(fds.len(), 3);
        assert!(a.outbox.reader().is_none(), "not before the seal");
        map(fds[0].as_fd(), BOTH).unwrap();

        a.outbox.seal().unwrap();
        assert_eq!(map(fds[0].as_fd(), BOTH), Err(Errno::PERM), "too late for the owner too");
        assert_eq!(rustix::io::pwrite(&fds[0], b"x", 0), Err(Errno::PERM));
        let reader = a.outbox.reader().unwrap().try_clone_to_owned().unwrap();
        a.outbox.reader_sent();
        assert!(a.outbox.reader().is_none());
        map(reader.as_fd(), ProtFlags::READ).unwrap();
        assert!(map(reader.as_fd(), BOTH).is_err());
        assert_eq!(rustix::fs::ftruncate(&fds[0], 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::fstat(&reader).unwrap().st_mode & 0o7777, 0);
        // Even reopened for writing (this test may run as root) it takes none.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        if let Ok(again) = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            assert_eq!(map(again.as_fd(), BOTH), Err(Errno::PERM));
            assert_eq!(rustix::io::pwrite(&again, b"x", 0), Err(Errno::PERM));
        }
        // The broker's own mapping still writes.
        a.outbox.header.get().mark_gone();
    }

    #[test]
    fn an_outbox_is_what_it_says() {
        let [a, b] = make(9, 8192, true).unwrap();
        for (side, half) in [(0, &a), (1, &b)] {
            assert_eq!(half.outbox.header.get().check(9, side, layout::size(8192)), Ok(8192));
            let file = half.outbox.writable.as_ref().unwrap();
            assert_eq!(rustix::fs::fstat(file).unwrap().st_size as u64, half.memory());
            assert_eq!(half.memory(), Half::memory_of(8192));
        }
        assert_eq!(prepare_fds(&a, &b).unwrap().len(), 4);
    }

    #[test]
    fn death_rings_and_never_waits() {
        let [a, b] = make(1, 4096, false).unwrap();
        // A hostile holder makes the bell blocking and fills it.
        rustix::io::ioctl_fionbio(&b.bell, false).unwrap();
        rustix::io::write(&b.bell, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        announce_death(&a, &b, true);
        announce_death(&b, &a, true);
        let mut count = [0; 8];
        rustix::io::read(&a.bell, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
    }

    #[test]
    fn mail_is_seen_through_the_clients_mapping() {
        let (mail, fd) = Mail::new().unwrap();
        assert!(map(fd.as_fd(), BOTH).is_err());
        let seen = || {
            let mut word = [0; 4];
            rustix::io::pread(&fd, &mut word, std::mem::offset_of!(Mailbox, mail) as u64).unwrap();
            u32::from_ne_bytes(word)
        };
        assert_eq!(seen(), 0);
        mail.raise();
        assert_eq!(seen(), 1);
    }
}
