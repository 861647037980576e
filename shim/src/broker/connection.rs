//! The process' connection to the broker: made when there is something to say, tried again now and then, given up when the
//! broker is gone.

use super::READING;
use super::packet::send;
use crate::kernel::{self, Errno};
use crate::log::{self, Level};
use crate::{config, descriptor, path};
use bytemuck::Zeroable;
use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use slipstream_protocol::{Header, Hello, Kind, Mailbox};

/// The connection, or -1.
pub static SOCKET: AtomicI32 = AtomicI32::new(-1);
/// One that is over, or -1: closed once no thread can have its number at hand.
static OVER: AtomicI32 = AtomicI32::new(-1);
/// The broker's mailbox, once it has welcomed us.
pub static MAILBOX: AtomicPtr<Mailbox> = AtomicPtr::new(core::ptr::null_mut());
/// Whether a Hello waits for its Welcome: until then mail is asked for, not seen.
pub static UNWELCOMED: AtomicBool = AtomicBool::new(false);
/// Not before this moment (CLOCK_MONOTONIC ns) is the broker tried again.
static RETRY_NS: AtomicU64 = AtomicU64::new(0);
/// Connections made so far: an offer belongs to one of them.
pub static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Time between two tries to reach the broker.
pub const RETRY: u64 = 500_000_000;

/// The connection, made if need be and if the time has come. Under `LOCK`.
pub fn connection() -> Option<c_int> {
    let socket = SOCKET.load(Ordering::Relaxed);
    if socket >= 0 {
        return Some(socket);
    }
    let now = kernel::now_ns();
    if now < RETRY_NS.load(Ordering::Relaxed) {
        return None;
    }
    if !READING.try_lock() {
        return None;
    }
    close_over();
    READING.unlock();
    RETRY_NS.store(now + RETRY, Ordering::Relaxed);
    let Some(socket) = path::candidates().find_map(reach) else {
        static SAID: AtomicBool = AtomicBool::new(false);
        if !SAID.swap(true, Ordering::Relaxed) {
            log::say(Level::Info, |line| {
                line.text("no broker that may be trusted can be reached; staying on TCP until one can")
            });
        }
        return None;
    };
    let diag = kernel::socket(libc::AF_NETLINK, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, libc::NETLINK_SOCK_DIAG).ok();
    let mut hello = Hello::zeroed();
    hello.header = Header::new(Kind::Hello, 0);
    hello.command = path::command();
    hello.ring_kib = config::ring_kib();
    hello.transport = config::transport() as u8;
    let said = match diag {
        Some(diag) => {
            let said = send(socket, bytemuck::bytes_of(&hello), &[diag]);
            kernel::close(diag);
            said
        }
        None => Err(Errno(libc::ENOSYS)),
    };
    if said.is_err() {
        descriptor::close_own(socket);
        return None;
    }
    GENERATION.fetch_add(1, Ordering::Relaxed);
    SOCKET.store(socket, Ordering::Relaxed);
    UNWELCOMED.store(true, Ordering::Relaxed);
    Some(socket)
}

/// Connects to one place, if someone trustworthy listens there.
fn reach(place: &path::Place) -> Option<c_int> {
    let socket = kernel::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_NONBLOCK, 0).ok()?;
    let socket = descriptor::raise(socket).ok()?;
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: 0 };
    let trusted = kernel::connect_unix(socket, &place.address, place.len).is_ok()
        && kernel::getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERCRED, &mut peer).is_ok()
        && (peer.uid == 0 || peer.uid == kernel::effective_user());
    if trusted {
        return Some(socket);
    }
    descriptor::close_own(socket);
    None
}

/// A descriptor of the shim's own has another number: whether it is the one here.
pub fn relocate(from: c_int, to: c_int) -> bool {
    let moved = |place: &AtomicI32| place.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    moved(&SOCKET) || moved(&OVER)
}

/// The broker is gone, or not to be understood: what it knew of us it has forgotten.
pub fn hang_up() {
    let socket = SOCKET.swap(-1, Ordering::Relaxed);
    if socket >= 0 {
        // Not closed: at its number another thread might find what the program opens next.
        kernel::shutdown(socket);
        OVER.store(socket, Ordering::Relaxed);
    }
    forget_mailbox();
}

fn forget_mailbox() {
    // The page stays mapped: another thread may be looking at it.
    MAILBOX.store(core::ptr::null_mut(), Ordering::Release);
    UNWELCOMED.store(false, Ordering::Relaxed);
}

/// Under `LOCK` and `READING`.
fn close_over() {
    let socket = OVER.swap(-1, Ordering::Relaxed);
    if socket >= 0 {
        descriptor::close_own(socket);
    }
}

/// Whether an offer could be made now: there is a connection, or it is time to try for one.
pub fn is_reachable() -> bool {
    SOCKET.load(Ordering::Relaxed) >= 0 || kernel::now_ns() >= RETRY_NS.load(Ordering::Relaxed)
}

/// The broker may be tried again at once: this is another process, and the connection its parent's.
pub fn start_anew() {
    close_over();
    let socket = SOCKET.swap(-1, Ordering::Relaxed);
    if socket >= 0 {
        descriptor::close_own(socket);
    }
    forget_mailbox();
    RETRY_NS.store(0, Ordering::Relaxed);
}
