//! The shim's side of the broker protocol: one connection per process, made when the first endpoint is worth an offer.
//!
//! Nothing here ever waits. What does not fit into the socket is not said, and the endpoint stays on TCP; only the reply to
//! a handout is kept, for the next call. Mail is read by whichever call finds the mailbox changed.

mod connection;
mod packet;

use crate::endpoint::{Endpoint, Phase};
use crate::kernel::{self, Errno};
use crate::log::{self, Level};
use crate::prefix::Prefixes;
use crate::slab::Spin;
use crate::{config, descriptor, held};
use bytemuck::Zeroable;
use connection::{GENERATION, MAILBOX, RETRY, SOCKET, UNWELCOMED, connection, hang_up, start_anew};
pub use connection::{is_reachable, relocate};
use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use packet::{receive, send};
use slipstream_protocol::{
    Address, Header, Kind, MAILBOX_SIZE, MAX_FDS, MAX_MESSAGE, Mailbox, Notice, Offer, Prepare, Reason, Transport,
};

/// Guards the connection. Tried, never waited for.
static LOCK: Spin = Spin::new();
/// Held by whoever reads mail.
static READING: Spin = Spin::new();
/// The reply to a handout that could not be given at once. The broker makes one handout at a time.
static OWED: Owed = Owed(UnsafeCell::new(None));
/// The mailbox's count when the socket was last read empty.
static SEEN: AtomicU32 = AtomicU32::new(0);

/// Whether nothing may be said any more.
static MUTE: AtomicBool = AtomicBool::new(false);

/// See [`OWED`].
struct Owed(UnsafeCell<Option<Notice>>);

// SAFETY: touched only by who holds READING, and in a forked child, which has one thread.
unsafe impl Sync for Owed {}

/// Whether there may be mail. One load while welcomed.
#[inline(always)]
pub fn may_have_mail() -> bool {
    let mailbox = MAILBOX.load(Ordering::Acquire);
    if mailbox.is_null() {
        return UNWELCOMED.load(Ordering::Relaxed);
    }
    // SAFETY: a mapped page; it is never unmapped (a later connection maps another).
    unsafe { (*mailbox).mail.load(Ordering::Acquire) != SEEN.load(Ordering::Relaxed) }
}

/// Offers an endpoint, if that can be done now.
pub fn offer(endpoint: &'static Endpoint, fd: c_int) {
    if let Some(reason) = config::disabled() {
        return endpoint.settle(reason);
    }
    if !endpoint.is_alone() {
        return;
    }
    let Some([tx, rx]) = endpoint.prefixes().and_then(Prefixes::read) else { return };
    let Some(offer) = describe(endpoint, fd) else { return };
    if offer.local == offer.remote {
        return endpoint.settle(Reason::SelfConnected);
    }
    let offer = Offer { tx, rx, ..offer };
    locked(|| {
        let socket = connection()?;
        // Of two threads that offer, one does.
        if endpoint.phase() != Phase::Counting {
            return None;
        }
        // Before another thread's call finds it offered, and asks whether the broker still knows of that.
        endpoint.offered_in.store(GENERATION.load(Ordering::Relaxed), Ordering::Relaxed);
        // Before the offer is out: its answer may be quicker than we are.
        if !endpoint.advance(Phase::Counting, Phase::Offered) {
            return None;
        }
        if let Err(errno) = send(socket, bytemuck::bytes_of(&offer), &[]) {
            if errno != Errno(libc::EAGAIN) {
                // The broker is gone; the next offer looks for another.
                hang_up();
            }
            endpoint.advance(Phase::Offered, Phase::Counting);
        }
        Some(())
    });
    if endpoint.any_descriptor().is_none() {
        // Closed meanwhile, by who did not know of this.
        withdraw(endpoint);
    }
}

/// Tells the broker of an endpoint that is not offered, so that its status can say why. `false`: not now.
#[cold]
pub fn tell(endpoint: &'static Endpoint, fd: c_int, reason: Reason) -> bool {
    if MUTE.load(Ordering::Relaxed) {
        return false;
    }
    let Some(offer) = describe(endpoint, fd) else { return false };
    let offer = Offer { reason: reason as u16, ..offer };
    locked(|| send(connection()?, bytemuck::bytes_of(&offer), &[]).ok()).is_some()
}

/// What the broker must know of an endpoint, but for what passed on it. `None`: not connected (yet), or the descriptor names
/// it no more.
fn describe(endpoint: &'static Endpoint, fd: c_int) -> Option<Offer> {
    let (family, local) = address(fd, false)?;
    let (_, remote) = address(fd, true)?;
    let cookie = kernel::cookie(fd).ok()?;
    // Whoever closes it takes it out of the table first: what is there still, was there when it was asked.
    if !descriptor::is(fd, endpoint) {
        return None;
    }
    endpoint.cookie.store(cookie, Ordering::Relaxed);
    Some(Offer {
        header: Header::new(Kind::Offer, endpoint.id()),
        cookie,
        since_ns: endpoint.since_ns.load(Ordering::Relaxed),
        local,
        remote,
        family,
        connector: endpoint.connector.load(Ordering::Relaxed),
        ..Offer::zeroed()
    })
}

/// An address of a socket, IPv4 as v4-mapped IPv6, with the socket's family.
fn address(fd: c_int, peer: bool) -> Option<(u8, Address)> {
    // SAFETY: zeroes are a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { core::mem::zeroed() };
    kernel::address(fd, peer, &mut storage).ok()?;
    let mut ip = [0u8; 16];
    let port = match c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the kernel filled in an address of this family, which fits the storage.
            let v4 = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in>() };
            ip[10..12].fill(0xff);
            ip[12..].copy_from_slice(&v4.sin_addr.s_addr.to_ne_bytes());
            v4.sin_port
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in6>() };
            ip = v6.sin6_addr.s6_addr;
            v6.sin6_port
        }
        _ => return None,
    };
    Some((storage.ss_family as u8, Address { ip, port: u16::from_be(port), reserved: 0 }))
}

/// The endpoint stays on TCP.
pub fn decline(endpoint: &Endpoint, reason: Reason) {
    notice(Kind::Declined, endpoint, reason);
}

/// The endpoint has gone back to TCP for good.
pub fn retired(endpoint: &Endpoint, reason: Reason) {
    notice(Kind::Retired, endpoint, reason);
}

/// The endpoint's last descriptor is gone.
pub fn withdraw(endpoint: &Endpoint) {
    notice(Kind::Withdraw, endpoint, Reason::None);
}

/// This forked process also holds the endpoint, and wants to be waited for when it dies. `false`: not said.
pub fn adopt(endpoint: &Endpoint) -> bool {
    let said = locked(|| {
        let socket = connection()?;
        send(socket, bytemuck::bytes_of(&notice_of(Kind::Adopt, endpoint, Reason::None)), &[]).ok()
    });
    said.is_some()
}

/// What is not said now the broker learns when the process ends.
fn notice(kind: Kind, endpoint: &Endpoint, reason: Reason) {
    say(&notice_of(kind, endpoint, reason));
}

/// Says it, if that can be done at once. `false`: another thread has the lock and is not running, or the broker does not
/// read.
fn say(notice: &Notice) -> bool {
    let said = locked(|| {
        let socket = SOCKET.load(Ordering::Relaxed);
        // Without a connection the broker has nothing to forget.
        Some(if socket < 0 { Ok(0) } else { send(socket, bytemuck::bytes_of(notice), &[]) })
    });
    said.is_some_and(|said| !matches!(said, Err(Errno(libc::EAGAIN | libc::EINTR))))
}

fn notice_of(kind: Kind, endpoint: &Endpoint, reason: Reason) -> Notice {
    Notice {
        header: Header::new(kind, endpoint.id()),
        pair: endpoint.pair(),
        reason: reason as u16,
        side: endpoint.side(),
        reserved: [0; 5],
    }
}

/// Reads and answers what has come.
#[cold]
pub fn read_mail() {
    // LOCK is not held while a letter is worked on, for that may want to send; a second reader finds READING busy.
    if !READING.try_lock() {
        return;
    }
    let mailbox = MAILBOX.load(Ordering::Acquire);
    // SAFETY: as in `may_have_mail`.
    let count = if mailbox.is_null() { 0 } else { unsafe { (*mailbox).mail.load(Ordering::Acquire) } };
    SEEN.store(count, Ordering::Relaxed);
    // SAFETY: READING is ours.
    let owed = unsafe { &mut *OWED.0.get() };
    *owed = owed.take().filter(|reply| !say(reply));
    let mut letter = [0u64; MAX_MESSAGE / 8];
    loop {
        let socket = SOCKET.load(Ordering::Relaxed);
        if socket < 0 {
            break;
        }
        let bytes = bytemuck::bytes_of_mut(&mut letter);
        match receive(socket, bytes) {
            Ok((len, mut fds)) => {
                match bytes.get(..len).and_then(|message| answer(message, &mut fds)) {
                    Some(reply) => *owed = reply.filter(|reply| !say(reply)).or(owed.take()),
                    None => {
                        log::say(Level::Warn, |line| line.text("a message of the broker's makes no sense; leaving it"));
                        hang_up();
                    }
                }
                fds.iter().filter(|fd| **fd >= 0).for_each(|fd| kernel::close(*fd));
            }
            Err(Errno(libc::EAGAIN | libc::EINTR)) => break,
            Err(_) => hang_up(),
        }
    }
    if SOCKET.load(Ordering::Relaxed) < 0 {
        *owed = None;
    } else if owed.is_some() {
        // As if there were mail: the next call comes back to it.
        SEEN.store(count.wrapping_sub(1), Ordering::Relaxed);
    }
    READING.unlock();
}

/// Works on one message. Descriptors that are taken over are replaced by -1. `None`: it breaks the protocol; else the reply,
/// if it wants one: every handout does, or the broker hands out no more.
fn answer(message: &[u8], fds: &mut [c_int; MAX_FDS]) -> Option<Option<Notice>> {
    let header: &Header = bytemuck::try_from_bytes(message.get(..size_of::<Header>())?).ok()?;
    let kind = Kind::from_wire(header.kind)?;
    if header.magic != slipstream_protocol::MAGIC
        || header.version != slipstream_protocol::VERSION
        || message.len() != kind.size()
    {
        return None;
    }
    let named = header.endpoint;
    match kind {
        Kind::Welcome => welcome(fds[0]).map(|()| None),
        Kind::Prepare => {
            let prepare: &Prepare = bytemuck::try_from_bytes(message).ok()?;
            let take = |endpoint, fd| prepared(endpoint, fd, prepare, fds);
            Some(Some(handout(named, prepare.pair, Kind::Mapped, take)))
        }
        Kind::Attach => {
            let attach: &Notice = bytemuck::try_from_bytes(message).ok()?;
            let take = |endpoint, fd| attached(endpoint, fd, attach.pair, fds[0]);
            Some(Some(handout(named, attach.pair, Kind::Attached, take)))
        }
        Kind::Refused => {
            let notice: &Notice = bytemuck::try_from_bytes(message).ok()?;
            if let Some((endpoint, _)) = descriptor::pin_by_id(named) {
                held::call(endpoint, || endpoint.settle(Reason::from_wire(notice.reason).unwrap_or(Reason::Peer)));
            }
            Some(None)
        }
        _ => None,
    }
}

/// Takes a handout for the endpoint of that name; the reply, which names the handout's pair: the broker knows it by that.
fn handout(
    named: u64,
    pair: u64,
    taken: Kind,
    take: impl FnOnce(&'static Endpoint, c_int) -> Result<(), Reason>,
) -> Notice {
    let reply = |kind, reason, side| Notice {
        header: Header::new(kind, named),
        pair,
        reason: reason as u16,
        side,
        reserved: [0; 5],
    };
    let Some((endpoint, fd)) = descriptor::pin_by_id(named) else {
        // It is gone, or about to be.
        return reply(Kind::Declined, Reason::Gone, 0);
    };
    let (result, side) = held::call(endpoint, || {
        let result = take(endpoint, fd);
        if let Err(reason) = result {
            endpoint.give_up(reason);
        }
        (result, endpoint.side())
    });
    match result {
        Ok(()) => reply(taken, Reason::None, side),
        Err(reason) => reply(Kind::Declined, reason, side),
    }
}

fn welcome(page: c_int) -> Option<()> {
    if page < 0 || kernel::file_size(page) != Ok(MAILBOX_SIZE as u64) {
        return None;
    }
    let mailbox = kernel::map_shared(page, MAILBOX_SIZE, false).ok()?.cast::<Mailbox>();
    // What was sent until now is being read.
    // SAFETY: a page was just mapped there.
    SEEN.store(unsafe { (*mailbox).mail.load(Ordering::Acquire) }, Ordering::Relaxed);
    MAILBOX.store(mailbox, Ordering::Release);
    UNWELCOMED.store(false, Ordering::Relaxed);
    Some(())
}

fn prepared(
    endpoint: &'static Endpoint,
    fd: c_int,
    prepare: &Prepare,
    fds: &mut [c_int; MAX_FDS],
) -> Result<(), Reason> {
    if endpoint.phase() != Phase::Offered {
        return Err(Reason::Peer);
    }
    if !endpoint.is_alone() {
        return Err(Reason::Shared);
    }
    let transport = Transport::from_wire(prepare.transport).ok_or(Reason::Hostile)?;
    let wanted = if transport == Transport::Uds { 4 } else { 3 };
    match fds.iter().filter(|fd| **fd >= 0).count() {
        // The kernel leaves out those for which the program has no numbers left.
        fewer if fewer < wanted => return Err(Reason::Descriptors),
        given if given == wanted => {}
        _ => return Err(Reason::Hostile),
    }
    if !descriptor::is(fd, endpoint) {
        // Closed meanwhile, by another thread.
        return Err(Reason::Gone);
    }
    let mut kept = [-1; 3];
    for (i, given) in fds.iter().skip(1).enumerate() {
        if *given >= 0 {
            match descriptor::high(*given) {
                Ok(high) => kept[i] = high,
                Err(_) => return close_all(&kept, Reason::Descriptors),
            }
        }
    }
    if let Err(reason) = endpoint.prepare(prepare.pair, prepare.side, transport, prepare.capacity, fds[0], kept) {
        return close_all(&kept, reason);
    }
    if !endpoint.advance(Phase::Offered, Phase::Prepared) {
        endpoint.put_back();
        return Err(Reason::Peer);
    }
    Ok(())
}

fn close_all(fds: &[c_int], reason: Reason) -> Result<(), Reason> {
    fds.iter().filter(|fd| **fd >= 0).for_each(|fd| descriptor::close_own(*fd));
    Err(reason)
}

fn attached(endpoint: &'static Endpoint, fd: c_int, pair: u64, outbox: c_int) -> Result<(), Reason> {
    if endpoint.phase() != Phase::Prepared || endpoint.pair() != pair {
        return Err(Reason::Peer);
    }
    if outbox < 0 {
        return Err(Reason::Descriptors);
    }
    if !endpoint.is_alone() {
        return Err(Reason::Shared);
    }
    endpoint.attach(outbox, fd)
}

/// Whether an offer made over connection `generation` stands no more. Looks for the broker's end now and then.
pub fn has_forgotten(generation: u32) -> bool {
    static LOOKED_NS: AtomicU64 = AtomicU64::new(0);
    let (socket, now) = (SOCKET.load(Ordering::Relaxed), kernel::now_ns());
    if socket >= 0 && now - LOOKED_NS.load(Ordering::Relaxed) >= RETRY {
        LOOKED_NS.store(now, Ordering::Relaxed);
        if kernel::poll_now(socket, 0) & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0 {
            read_mail();
        }
    }
    SOCKET.load(Ordering::Relaxed) < 0 || GENERATION.load(Ordering::Relaxed) != generation
}

/// In a forked child: the connection is the parent's.
pub fn after_fork() {
    LOCK.unlock();
    READING.unlock();
    // SAFETY: no other thread is here.
    unsafe { *OWED.0.get() = None };
    start_anew();
}

/// Whether the process makes no system calls but its own any more.
pub fn is_silent() -> bool {
    MUTE.load(Ordering::Relaxed)
}

/// From here on the broker hears nothing of this process but its end, and no mail is read: before a filter that may kill
/// for a system call that is not the program's own.
pub fn fall_silent() {
    MUTE.store(true, Ordering::Relaxed);
    // As without a connection; the page stays mapped.
    MAILBOX.store(core::ptr::null_mut(), Ordering::Release);
    UNWELCOMED.store(false, Ordering::Relaxed);
}

fn locked<T>(work: impl FnOnce() -> Option<T>) -> Option<T> {
    if MUTE.load(Ordering::Relaxed) {
        return None;
    }
    // A few turns, for another thread's short message; a signal handler that finds its own thread here gives up.
    for turn in 0..2_000 {
        if LOCK.try_lock() {
            let result = work();
            LOCK.unlock();
            return result;
        }
        // Another thread's message is short, unless it is not running.
        if turn < 1_000 { core::hint::spin_loop() } else { kernel::yield_now() }
    }
    None
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn packets() -> [c_int; 2] {
        let mut ends = [-1; 2];
        // SAFETY: room for two descriptors.
        let made = unsafe {
            libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_NONBLOCK, 0, ends.as_mut_ptr())
        };
        assert_eq!(made, 0);
        ends
    }

    fn next(socket: c_int) -> Option<Notice> {
        let mut notice = Notice::zeroed();
        receive(socket, bytemuck::bytes_of_mut(&mut notice)).ok().map(|_| notice)
    }

    /// There is one connection to the broker, and one process that founds families.
    pub static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

    #[test]
    fn a_handout_that_is_declined_is_named_in_the_reply() {
        let _alone = ALONE.lock();
        let [ours, broker] = packets();
        SOCKET.store(ours, Ordering::Relaxed);
        crate::process::init();
        descriptor::init();
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
        let endpoint = descriptor::track(fd, Phase::Offered).expect("memory");
        endpoint.family().raise();
        let prepare = Prepare { header: Header::new(Kind::Prepare, endpoint.id()), pair: 6, ..Prepare::zeroed() };
        send(broker, bytemuck::bytes_of(&prepare), &[fd, fd, fd]).expect("a handout");
        // SAFETY: no pointers.
        let before = unsafe { libc::dup(fd) };
        kernel::close(before);
        read_mail();
        let reply = next(broker).expect("the reply");
        assert_eq!((reply.header.endpoint, reply.header.kind), (endpoint.id(), Kind::Declined as u16));
        assert_eq!((reply.pair, reply.reason), (6, Reason::Shared as u16), "of that very handout");
        assert_eq!(endpoint.phase(), Phase::Settled);
        let attach = Notice { header: Header::new(Kind::Attach, endpoint.id()), pair: 7, ..Notice::zeroed() };
        send(broker, bytemuck::bytes_of(&attach), &[fd]).expect("a handout");
        read_mail();
        let reply = next(broker).expect("the reply");
        assert_eq!((reply.header.kind, reply.pair), (Kind::Declined as u16, 7), "of that very handout");
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::dup(fd) }, before, "none of their descriptors is kept");
        hang_up();
        kernel::close(broker);
    }

    #[test]
    fn a_reply_that_finds_no_room_is_given_later() {
        let _alone = ALONE.lock();
        let [ours, broker] = packets();
        SOCKET.store(ours, Ordering::Relaxed);
        let filler = Notice { header: Header::new(Kind::Withdraw, 1), ..Notice::zeroed() };
        while say(&filler) {}
        let prepare = Prepare { header: Header::new(Kind::Prepare, 77), pair: 5, ..Prepare::zeroed() };
        send(broker, bytemuck::bytes_of(&prepare), &[]).expect("a handout");
        read_mail();
        while let Some(notice) = next(broker) {
            assert_eq!(notice.header.endpoint, 1, "there was no room for anything else");
        }
        read_mail();
        let reply = next(broker).expect("the reply");
        assert_eq!((reply.header.endpoint, reply.header.kind), (77, Kind::Declined as u16));
        assert_eq!((reply.pair, reply.reason), (5, Reason::Gone as u16), "of that very handout");
        read_mail();
        assert!(next(broker).is_none(), "once");
        hang_up();
        kernel::close(broker);
    }
}
