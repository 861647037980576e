//! The kernel's calls, made directly: the shim never re-enters its own hooks, never touches errno, never cancels.
//!
//! Every function returns the call's result or its error number. Pointers are the program's own (they are passed on as
//! they came, so that the kernel judges them) or refer to the shim's live data.

use core::ffi::{CStr, c_int};
use core::sync::atomic::AtomicU32;
use syscalls::{Sysno, syscall};

/// An error number of the kernel, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub c_int);

/// What a call of the kernel gives.
pub type Result<T> = core::result::Result<T, Errno>;

impl From<syscalls::Errno> for Errno {
    fn from(errno: syscalls::Errno) -> Self {
        Self(errno.into_raw())
    }
}

/// One raw call whose result is wanted as it is.
macro_rules! call {
    ($name:ident $(, $arg:expr)*) => {
        // SAFETY: the wrapping function's arguments make this call valid, or the kernel answers with an error.
        unsafe { syscall!(Sysno::$name $(, $arg)*) }.map_err(Errno::from)
    };
}

/// No memory of a program's lies below: the kernel keeps it free, so that null pointers fault.
pub const LOWEST: usize = 4096;

pub fn getpid() -> u32 {
    call!(getpid).unwrap_or(0) as u32
}

pub fn getppid() -> u32 {
    call!(getppid).unwrap_or(0) as u32
}

pub fn gettid() -> u32 {
    call!(gettid).unwrap_or(0) as u32
}

pub fn effective_user() -> u32 {
    call!(geteuid).unwrap_or(0) as u32
}

pub fn yield_now() {
    let _ = call!(sched_yield);
}

pub fn close(fd: c_int) {
    let _ = call!(close, fd);
}

pub fn shutdown(fd: c_int) {
    let _ = call!(shutdown, fd, libc::SHUT_RDWR);
}

pub fn close_range(first: u32, last: u32) -> Result<()> {
    call!(close_range, first, last, 0).map(drop)
}

/// Opens a file whose path ends with a NUL.
pub fn open_to_read(path: &[u8]) -> Result<c_int> {
    call!(openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC, 0).map(|fd| fd as c_int)
}

/// Reads the start of a short file whose path ends with a NUL.
pub fn read_file(path: &[u8], bytes: &mut [u8]) -> Result<usize> {
    let file = open_to_read(path)?;
    let read = read(file, bytes);
    close(file);
    read
}

/// Opens a folder whose path ends with a NUL.
pub fn open_folder(path: &[u8]) -> Result<c_int> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    call!(openat, libc::AT_FDCWD, path.as_ptr(), flags, 0).map(|fd| fd as c_int)
}

/// The next entries of a folder, as `linux_dirent64` has them; how many bytes of them.
pub fn list(folder: c_int, entries: &mut [u8]) -> Result<usize> {
    call!(getdents64, folder, entries.as_mut_ptr(), entries.len())
}

/// What a link in a folder says, cut to fit. `name` ends with a NUL.
pub fn read_link(folder: c_int, name: &[u8], target: &mut [u8]) -> Result<usize> {
    call!(readlinkat, folder, name.as_ptr(), target.as_mut_ptr(), target.len())
}

pub fn read(fd: c_int, bytes: &mut [u8]) -> Result<usize> {
    call!(read, fd, bytes.as_mut_ptr(), bytes.len())
}

/// Maps anonymous zeroed memory of its own (or, `shared`, one that children after fork share).
pub fn map_anonymous(len: usize, shared: bool) -> Result<*mut u8> {
    let kind = if shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
    map(-1, len, libc::PROT_READ | libc::PROT_WRITE, kind | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE)
}

/// Maps the start of a file shared.
pub fn map_shared(fd: c_int, len: usize, writable: bool) -> Result<*mut u8> {
    map(fd, len, libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 }, libc::MAP_SHARED)
}

fn map(fd: c_int, len: usize, protection: c_int, flags: c_int) -> Result<*mut u8> {
    call!(mmap, 0usize, len, protection, flags, fd, 0usize).map(|address| address as *mut u8)
}

pub fn unmap(address: *mut u8, len: usize) {
    let _ = call!(munmap, address, len);
}

/// Whether memory of a program's can lie there, mapped or not.
pub fn can_be_memory(address: usize, len: usize) -> bool {
    let start = address & !4095;
    // mincore looks at the range first, then at where the answer is to go: nowhere.
    let within = |len: usize| call!(mincore, start, len, usize::MAX) != Err(Errno(libc::ENOMEM));
    len.checked_add(address - start).is_some_and(within)
}

/// Has the kernel zero the page in every child that fork makes (not in one that shares the memory, as vfork's does).
pub fn wipe_on_fork(page: *mut u8) -> bool {
    call!(madvise, page, 4096usize, libc::MADV_WIPEONFORK).is_ok()
}

/// The length of a file in bytes.
pub fn file_size(fd: c_int) -> Result<u64> {
    call!(lseek, fd, 0usize, libc::SEEK_END).map(|n| n as u64)
}

/// A copy of `fd` numbered `least` or above, closed by exec.
pub fn dup_above(fd: c_int, least: c_int) -> Result<c_int> {
    call!(fcntl, fd, libc::F_DUPFD_CLOEXEC, least).map(|fd| fd as c_int)
}

/// Whether a descriptor is a pipe.
pub fn is_pipe(fd: c_int) -> bool {
    // SAFETY: zeroes are a valid stat.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    call!(fstat, fd, &raw mut stat).is_ok() && stat.st_mode & libc::S_IFMT == libc::S_IFIFO
}

/// The file status flags (O_NONBLOCK among them).
pub fn status_flags(fd: c_int) -> Result<c_int> {
    call!(fcntl, fd, libc::F_GETFL).map(|flags| flags as c_int)
}

pub fn is_nonblocking(fd: c_int) -> bool {
    status_flags(fd).is_ok_and(|flags| flags & libc::O_NONBLOCK != 0)
}

/// Whether exec closes a descriptor, or it is closed already (as in a vfork child that tidied up).
pub fn closes_on_exec(fd: c_int) -> bool {
    call!(fcntl, fd, libc::F_GETFD).map_or(true, |flags| flags as c_int & libc::FD_CLOEXEC != 0)
}

/// The soft limit of descriptors.
pub fn descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let _ = call!(prlimit64, 0, libc::RLIMIT_NOFILE, 0usize, &raw mut limit);
    limit.rlim_cur
}

pub fn socket(family: c_int, kind: c_int, protocol: c_int) -> Result<c_int> {
    call!(socket, family, kind | libc::SOCK_CLOEXEC, protocol).map(|fd| fd as c_int)
}

pub fn connect_unix(fd: c_int, address: &libc::sockaddr_un, len: usize) -> Result<()> {
    call!(connect, fd, address as *const libc::sockaddr_un, len).map(drop)
}

/// Ends a TCP connection at once with a reset; the descriptor stays.
pub fn reset(fd: c_int) {
    // connect to AF_UNSPEC is the kernel's disconnect: it sends a reset and leaves ECONNRESET for the next call.
    let unspecified = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
    let _ = call!(connect, fd, &raw const unspecified, size_of::<libc::sockaddr>());
}

pub fn getsockopt<T>(fd: c_int, level: c_int, name: c_int, value: &mut T) -> Result<usize> {
    let mut len = size_of::<T>() as libc::socklen_t;
    call!(getsockopt, fd, level, name, value as *mut T, &raw mut len).map(|_| len as usize)
}

pub fn setsockopt<T>(fd: c_int, level: c_int, name: c_int, value: &T) -> Result<()> {
    call!(setsockopt, fd, level, name, value as *const T, size_of::<T>()).map(drop)
}

/// What names a socket until the host reboots.
pub fn cookie(fd: c_int) -> Result<u64> {
    const SO_COOKIE: c_int = 57;
    let mut cookie = 0;
    getsockopt(fd, libc::SOL_SOCKET, SO_COOKIE, &mut cookie).map(|_| cookie)
}

/// The own or the peer's address of a socket.
pub fn address(fd: c_int, peer: bool, storage: &mut libc::sockaddr_storage) -> Result<()> {
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let storage: *mut libc::sockaddr_storage = storage;
    if peer { call!(getpeername, fd, storage, &raw mut len) } else { call!(getsockname, fd, storage, &raw mut len) }
        .map(drop)
}

/// An ioctl that answers with one int.
pub fn ioctl_int(fd: c_int, request: u64) -> Result<c_int> {
    let mut value: c_int = 0;
    call!(ioctl, fd, request, &raw mut value).map(|_| value)
}

pub fn recvmsg(fd: c_int, message: &mut libc::msghdr, flags: c_int) -> Result<usize> {
    call!(recvmsg, fd, message as *mut libc::msghdr, flags)
}

pub fn sendmsg(fd: c_int, message: &libc::msghdr, flags: c_int) -> Result<usize> {
    call!(sendmsg, fd, message as *const libc::msghdr, flags)
}

pub fn recv(fd: c_int, buffer: *mut u8, len: usize, flags: c_int) -> Result<usize> {
    call!(recvfrom, fd, buffer, len, flags, 0usize, 0usize)
}

/// Receives from a TCP socket to nowhere: with MSG_TRUNC TCP copies nothing. But it wants the range to be a program's, and
/// above a stack there may be less room than `len`.
pub fn recv_nothing(fd: c_int, len: usize, flags: c_int) -> Result<usize> {
    call!(recvfrom, fd, LOWEST, len, flags | libc::MSG_TRUNC, 0usize, 0usize)
}

/// splice between a socket and a pipe.
pub fn splice(from: c_int, to: c_int, len: usize, flags: u32) -> Result<usize> {
    call!(splice, from, 0usize, to, 0usize, len, flags)
}

/// Writes what finds room at once: EAGAIN when there is none, EOPNOTSUPP when the file cannot tell.
pub fn write_at_once(fd: c_int, pieces: &[libc::iovec]) -> Result<usize> {
    call!(pwritev2, fd, pieces.as_ptr(), pieces.len(), -1isize, 0, libc::RWF_NOWAIT)
}

pub fn write(fd: c_int, bytes: &[u8]) -> Result<usize> {
    call!(write, fd, bytes.as_ptr(), bytes.len())
}

/// Rings a doorbell. It never blocks the ringer: the eventfd is non-blocking, and a full counter has rung already.
pub fn ring(bell: c_int) {
    let _ = write(bell, &1u64.to_ne_bytes());
}

pub fn epoll_create() -> Result<c_int> {
    call!(epoll_create1, libc::EPOLL_CLOEXEC).map(|fd| fd as c_int)
}

pub fn epoll_ctl(set: c_int, op: c_int, fd: c_int, events: u32, data: u64) -> Result<()> {
    let mut event = libc::epoll_event { events, u64: data };
    call!(epoll_ctl, set, op, fd, &raw mut event).map(drop)
}

/// epoll_pwait without a wait.
pub fn epoll_harvest(set: c_int, events: &mut [libc::epoll_event]) -> Result<usize> {
    call!(epoll_pwait, set, events.as_mut_ptr(), events.len(), 0, 0usize, 8)
}

/// epoll_pwait2 with a signal mask, or epoll_pwait (whole milliseconds, rounded up) before Linux 5.11.
pub fn epoll_wait(
    set: c_int,
    events: &mut [libc::epoll_event],
    timeout: Option<&libc::timespec>,
    mask: u64,
) -> Result<usize> {
    let address = timeout.map_or(core::ptr::null(), core::ptr::from_ref);
    match call!(epoll_pwait2, set, events.as_mut_ptr(), events.len(), address, &raw const mask, 8) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            let ms = timeout.map_or(-1, |t| t.tv_sec * 1000 + (t.tv_nsec + 999_999) / 1_000_000);
            call!(epoll_pwait, set, events.as_mut_ptr(), events.len(), ms, &raw const mask, 8)
        }
        result => result,
    }
}

/// ppoll; `mask` of 0 leaves the signal mask alone.
pub fn ppoll(fds: &mut [libc::pollfd], timeout: Option<&libc::timespec>, mask: *const u64) -> Result<usize> {
    // The kernel writes the remaining time back: give it a copy.
    let mut copy = timeout.copied();
    let address = copy.as_mut().map_or(core::ptr::null_mut(), core::ptr::from_mut);
    call!(ppoll, fds.as_mut_ptr(), fds.len(), address, mask, 8)
}

/// What is ready of one descriptor, now.
pub fn poll_now(fd: c_int, events: i16) -> i16 {
    let mut fds = [libc::pollfd { fd, events, revents: 0 }];
    match ppoll(&mut fds, Some(&libc::timespec { tv_sec: 0, tv_nsec: 0 }), core::ptr::null()) {
        Ok(_) => fds[0].revents,
        Err(_) => 0,
    }
}

/// Waits until a descriptor is ready for something.
pub fn poll_until(fd: c_int, events: i16) {
    let _ = ppoll(&mut [libc::pollfd { fd, events, revents: 0 }], None, core::ptr::null());
}

/// Waits until a descriptor is ready for something, for so many ms at the most.
pub fn poll_for(fd: c_int, events: i16, ms: u64) {
    let mut one = [libc::pollfd { fd, events, revents: 0 }];
    // No descriptor, no place: even the one may be more than RLIMIT_NOFILE.
    let fds = one.get_mut(usize::from(fd < 0)..).unwrap_or_default();
    let _ = ppoll(fds, Some(&timespec(ms * 1_000_000)), core::ptr::null());
}

/// Wakes every sleeper of a word in shared memory.
pub fn futex_wake_all(word: &AtomicU32) {
    let _ = call!(futex, word.as_ptr(), libc::FUTEX_WAKE, c_int::MAX);
}

/// Sleeps while the word has `value`, until `deadline` (CLOCK_MONOTONIC). A signal always ends it with EINTR.
pub fn futex_wait(word: &AtomicU32, value: u32, deadline: &libc::timespec) -> Result<()> {
    const FUTEX_WAIT_BITSET: c_int = 9;
    call!(futex, word.as_ptr(), FUTEX_WAIT_BITSET, value, deadline as *const libc::timespec, 0usize, u32::MAX).map(drop)
}

#[repr(C)]
struct FutexWait {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// Sleeps while both words have their values, until `deadline` (CLOCK_MONOTONIC). A signal whose handler was installed
/// with SA_RESTART does not end it, as recv without a timeout.
pub fn futex_wait_two(words: [(&AtomicU32, u32); 2], deadline: &libc::timespec) -> Result<()> {
    const FUTEX2_SIZE_U32: u32 = 2;
    let waits = words.map(|(word, value)| FutexWait {
        value: u64::from(value),
        address: word.as_ptr() as u64,
        flags: FUTEX2_SIZE_U32,
        reserved: 0,
    });
    call!(futex_waitv, waits.as_ptr(), 2, 0, deadline as *const libc::timespec, libc::CLOCK_MONOTONIC).map(drop)
}

/// The signals that a thread's own instructions cause.
const NOT_FOREIGN: u64 =
    signal_set([libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS]);
/// Those that no mask has.
const NOT_BLOCKED: u64 = signal_set([libc::SIGKILL, libc::SIGSTOP]);

const fn signal_set<const N: usize>(signals: [c_int; N]) -> u64 {
    let (mut set, mut i) = (0, 0);
    while i < N {
        set |= 1 << (signals[i] - 1);
        i += 1;
    }
    set
}

/// Blocks every signal; the former mask.
pub fn block_signals() -> u64 {
    let (all, mut former) = (u64::MAX, 0u64);
    let _ = call!(rt_sigprocmask, libc::SIG_SETMASK, &raw const all, &raw mut former, 8);
    former
}

/// The same, but for those that the thread's own instructions cause: the kernel kills where they are blocked.
pub fn block_foreign_signals() -> u64 {
    let (foreign, mut former) = (!NOT_FOREIGN, 0u64);
    let _ = call!(rt_sigprocmask, libc::SIG_BLOCK, &raw const foreign, &raw mut former, 8);
    former
}

/// Whether a mask blocks as much as [`block_foreign_signals`].
pub fn blocks_all(mask: u64) -> bool {
    mask | NOT_FOREIGN | NOT_BLOCKED == u64::MAX
}

/// Sets the mask; what was held back is delivered before this returns.
pub fn restore_signals(mask: u64) {
    let _ = call!(rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, 0usize, 8);
}

/// SIGPIPE, in a mask.
pub const SIGPIPE: u64 = 1 << (libc::SIGPIPE - 1);

/// Blocks SIGPIPE; the former mask.
pub fn block_sigpipe() -> u64 {
    let (pipe, mut former) = (SIGPIPE, 0u64);
    let _ = call!(rt_sigprocmask, libc::SIG_BLOCK, &raw const pipe, &raw mut former, 8);
    former
}

/// Takes a blocked SIGPIPE, if one waits.
pub fn take_sigpipe() {
    let (pipe, at_once) = (SIGPIPE, timespec(0));
    let _ = call!(rt_sigtimedwait, &raw const pipe, 0usize, &raw const at_once, 8);
}

/// The calling thread's stack for signal handlers; empty when there is none.
pub fn signal_stack() -> core::ops::Range<usize> {
    let mut stack = libc::stack_t { ss_sp: core::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    let _ = call!(sigaltstack, 0usize, &raw mut stack);
    match stack.ss_flags & libc::SS_DISABLE {
        0 => stack.ss_sp.addr()..stack.ss_sp.addr() + stack.ss_size,
        _ => 0..0,
    }
}

/// Signals that wait because they are blocked.
pub fn pending_signals() -> u64 {
    let mut pending = 0u64;
    let _ = call!(rt_sigpending, &raw mut pending, 8);
    pending
}

/// Of those, the ones that were sent to this very thread. `None` without /proc.
pub fn own_pending_signals() -> Option<u64> {
    with_status(b"/proc/thread-self/status\0", |status| signals_after(status, b"SigPnd:\t"))
}

/// The signals that the process' first thread blocks. `None` without /proc, and once that thread takes none: it has ended, or is
/// stopped.
pub fn leader_blocked_signals() -> Option<u64> {
    with_status(b"/proc/self/status\0", |status| {
        let state = status.get(place_after(status, b"State:\t")?)?;
        if b"ZXxTt".contains(state) { None } else { signals_after(status, b"SigBlk:\t") }
    })
}

fn with_status<T>(path: &[u8], work: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    let mut status = [0u8; 2048];
    let len = read_file(path, &mut status).ok()?;
    work(status.get(..len)?)
}

fn place_after(text: &[u8], label: &[u8]) -> Option<usize> {
    Some(text.windows(label.len()).position(|window| window == label)? + label.len())
}

/// The set of signals, in hexadecimal digits, behind a label.
fn signals_after(status: &[u8], label: &[u8]) -> Option<u64> {
    let start = place_after(status, label)?;
    let digits = status.get(start..start + 16)?.iter().map_while(|digit| char::from(*digit).to_digit(16));
    Some(digits.fold(0, |mask, digit| mask << 4 | u64::from(digit)))
}

/// What a handler's installation tells about calls that it interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// No handler: the default, or ignored. Calls go on.
    NoHandler,
    /// A handler with SA_RESTART.
    Restart,
    /// A handler without.
    Interrupt,
}

pub fn disposition(signal: u32) -> Disposition {
    #[repr(C)]
    struct KernelSigaction {
        handler: usize,
        flags: u64,
        restorer: usize,
        mask: u64,
    }
    let mut action = KernelSigaction { handler: 0, flags: 0, restorer: 0, mask: 0 };
    let _ = call!(rt_sigaction, signal, 0usize, &raw mut action, 8);
    if action.handler == libc::SIG_DFL || action.handler == libc::SIG_IGN {
        Disposition::NoHandler
    } else if action.flags & libc::SA_RESTART as u64 != 0 {
        Disposition::Restart
    } else {
        Disposition::Interrupt
    }
}

/// A signalfd (a new one for -1) that is readable while one of `signals` waits for the calling thread.
pub fn signalfd(fd: c_int, signals: u64) -> Result<c_int> {
    call!(signalfd4, fd, &raw const signals, 8, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).map(|fd| fd as c_int)
}

/// How many CPUs the calling thread may run on.
pub fn allowed_cpus() -> u32 {
    let mut mask = [0u64; 16];
    match call!(sched_getaffinity, 0, size_of_val(&mask), mask.as_mut_ptr()) {
        Ok(_) => mask.iter().map(|word| word.count_ones()).sum(),
        Err(_) => 1,
    }
}

/// The CPU that the calling thread runs on.
pub fn current_cpu() -> u32 {
    let mut cpu = 0u32;
    let _ = call!(getcpu, &raw mut cpu, 0usize, 0usize);
    cpu
}

/// The PID namespace of the calling process. `None` without /proc.
pub fn pid_namespace() -> Option<u64> {
    let mut link = [0u8; 32];
    let len = read_link(libc::AT_FDCWD, b"/proc/self/ns/pid\0", &mut link).ok()?;
    // As in pid:[4026531836]
    Some(decimal(link.get(..len)?))
}

/// The digits of a text.
pub fn decimal(text: &[u8]) -> u64 {
    let digits = text.iter().filter(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum: u64, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

/// A file in memory that exec closes.
pub fn memory_file(name: &CStr) -> Result<c_int> {
    call!(memfd_create, name.as_ptr(), libc::MFD_CLOEXEC).map(|fd| fd as c_int)
}

fn byte_lock(byte: u32) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: i64::from(byte),
        l_len: 1,
        l_pid: 0,
    }
}

/// Locks one byte of a file for this process, if no other has it.
pub fn lock_byte(fd: c_int, byte: u32) -> Result<()> {
    let lock = byte_lock(byte);
    call!(fcntl, fd, libc::F_SETLK, &raw const lock).map(drop)
}

/// Whether another process has a byte of a file locked.
pub fn is_byte_locked(fd: c_int, byte: u32) -> bool {
    let mut lock = byte_lock(byte);
    call!(fcntl, fd, libc::F_GETLK, &raw mut lock).is_err() || lock.l_type != libc::F_UNLCK as i16
}

/// Whether a thread id names no thread any more.
pub fn is_gone(tid: u32) -> bool {
    call!(tkill, tid, 0) == Err(Errno(libc::ESRCH))
}

/// CLOCK_MONOTONIC.
pub fn now() -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: libc's clock_gettime is not hooked, reads the vDSO and takes no lock; a raw call would cost five times as much.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn now_ns() -> u64 {
    let time = now();
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A time, not a negative one, in nanoseconds.
pub fn nanoseconds(time: &libc::timespec) -> u64 {
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// A point of CLOCK_MONOTONIC.
pub fn timespec(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}
