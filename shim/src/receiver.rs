//! Receiving on a linked endpoint.

mod patience;
mod peek;

use crate::endpoint::Endpoint;
use crate::held::{self, Obligation};
use crate::kernel::{self, Errno};
use crate::pieces::{FULL, Pieces, Pipe};
use crate::stream::Done;
use crate::tcp::{self, End};
use crate::wait::Woken;
use crate::{carrier, real, recall, roles, signals};
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use patience::{Empty, Patience, Peek};
use slipstream_protocol::Reason;
use slipstream_ring::carrier::Carrier;
use slipstream_ring::layout::{MARK_END, MARK_GONE};
use slipstream_ring::{Broken, Link, Look};

/// A call that never sleeps looks at TCP by itself this often, for a peer that died without a word.
const LOOK_EVERY: u64 = 50_000_000;

/// Of asm-generic/sockios.h.
pub const SIOCATMARK: u64 = 0x8905;

/// What one attempt came to.
#[derive(Debug)]
enum Step {
    /// So many bytes; whether more may follow at once.
    Took(usize, bool),
    /// Nothing now, in the ring.
    RingEmpty,
    /// Nothing now, on TCP.
    TcpEmpty,
    /// The ring is not to be read any more.
    Recalled,
    /// The end.
    Ended,
    /// The end, of a peer that has bytes of ours unread.
    EndedUnread,
    /// An error that the kernel has told.
    Failed(Errno),
    /// The pipe took nothing, for this reason.
    Untaken(Errno),
}

/// What a receive asks for.
struct Request {
    flags: c_int,
    /// Of what a peek has seen, the bytes that are on TCP.
    on_tcp: usize,
    /// With so many bytes the call need not wait any more.
    goal: usize,
    /// The peer's marks when TCP was last looked at.
    seen_marks: u32,
    /// Whether TCP is to be looked at in any case.
    look: bool,
    /// The program's signal mask, once an attempt has found something on TCP: no handler of this thread may read there between the
    /// look and the call.
    mask: Option<u64>,
}

/// Receives into `pieces`; `real` is the program's own call, made only while nothing has been waited for: after a wait
/// its descriptor may name something else.
pub fn receive(
    endpoint: &'static Endpoint,
    fd: c_int,
    link: &Link,
    pieces: &mut Pieces,
    flags: c_int,
    real: impl Fn() -> isize,
) -> Done {
    let goal = if flags & libc::MSG_WAITALL != 0 { usize::MAX } else { endpoint.low_water(link) as usize };
    receive_at_least(goal, endpoint, fd, link, pieces, flags, real)
}

/// [`receive`], content with `goal` bytes.
pub fn receive_at_least(
    goal: usize,
    endpoint: &'static Endpoint,
    fd: c_int,
    link: &Link,
    pieces: &mut Pieces,
    flags: c_int,
    real: impl Fn() -> isize,
) -> Done {
    if flags & (libc::MSG_OOB | libc::MSG_ERRQUEUE) != 0 || recall::follow_suit(endpoint, fd, link) {
        return by_kernel(endpoint, real);
    }
    endpoint.is_ready(link);
    let mut patience = Patience::new(flags);
    let received = receive_patiently(goal.min(pieces.left()), endpoint, fd, link, pieces, flags, &mut patience);
    patience.leave();
    Done::Moved(received)
}

fn receive_patiently(
    goal: usize,
    endpoint: &'static Endpoint,
    fd: c_int,
    link: &Link,
    pieces: &mut Pieces,
    flags: c_int,
    patience: &mut Patience,
) -> Result<usize, Errno> {
    let mut request = Request { flags, on_tcp: 0, goal, seen_marks: 0, look: false, mask: None };
    let mut last_peek = false;
    // Why the call ends, unless one more look finds something.
    let mut over = None;
    // Whether that is to be content with anything.
    let mut few = false;
    // So much of what is there a peek has seen.
    let mut seen = 0;
    loop {
        if link.has_recalled() {
            if pieces.done() > 0 && pieces.done() >= goal {
                return Ok(pieces.done());
            }
            // Recalled while we waited: the kernel serves the rest.
            if patience.end(pieces.done() > 0 || seen > 0) {
                over = Some(Errno(libc::EINTR));
            }
            return match over {
                None => {
                    let received = by_tcp(endpoint, fd, pieces, flags);
                    if patience.waits() && stops_short(endpoint, fd, pieces, flags, goal, received) {
                        pieces.advance(received.unwrap_or(0));
                        let part = pieces.done() > 0;
                        let events = libc::POLLIN | libc::POLLRDHUP;
                        over = patience.doze(endpoint, endpoint.descriptor(fd), events, part).err();
                        continue;
                    }
                    with_part(pieces, received)
                }
                // The peer may not have sent it again yet.
                Some(_) if seen > 0 => Ok(seen),
                Some(over) => what_is_there(endpoint, fd, pieces, flags).map_err(|errno| match errno {
                    Errno(libc::EAGAIN) | FULL => over,
                    _ => errno,
                }),
            };
        }
        let turn = link.consumer().peer_turn();
        let step = match carrier::shielded(endpoint, pieces, || attempt(endpoint, fd, link, pieces, &mut request)) {
            Ok(step) => step,
            Err(Broken) => return Err(endpoint.fail(fd)),
        };
        let mut empty = Empty { on_tcp: false, turn, peek: None };
        match step {
            Step::Took(n, more) if flags & libc::MSG_PEEK == 0 => {
                pieces.advance(n);
                if pieces.is_empty() || (!more && pieces.done() >= goal) {
                    return Ok(pieces.done());
                }
                continue;
            }
            Step::Took(n, more) => {
                let behind = peek::behind(endpoint, fd, link, pieces, n, flags);
                let n = n + behind;
                seen = n;
                // A peek that waits for all: until the peer has published more.
                let waits = n < goal && !last_peek;
                if !waits || over.is_some() || patience.is_over(endpoint, fd) {
                    return Ok(n);
                }
                let marks = link.peer_marks();
                // At the end there is one last look. TCP's readiness tells of nothing else, as long as it carries.
                let socket = endpoint.descriptor(fd);
                last_peek = tcp::is_ending(socket);
                if last_peek {
                    continue;
                }
                let consumer = link.consumer();
                let on_tcp = !more || consumer.goes_back_at().is_some() || consumer.is_left();
                if on_tcp || marks & (MARK_END | MARK_GONE) != 0 {
                    // Without descriptors to wait with it is content with that, too.
                    over = patience.doze(endpoint, socket, libc::POLLRDHUP, true).err();
                    continue;
                }
                empty.peek = {
                    let in_ring = (n - request.on_tcp.min(n)) as u64;
                    Some(Peek { tail: link.consumer().head() + in_ring, marks, seen: n })
                };
            }
            Step::Recalled => continue,
            Step::Ended => return Ok(pieces.done()),
            Step::EndedUnread => {
                recall::let_the_kernel_tell(endpoint, fd, link);
                if link.producer().carrier() == Carrier::Ring {
                    // A signal handler's receive inside its own thread's send, which has the role.
                    return Ok(pieces.done());
                }
                continue;
            }
            // The caller goes on by other means.
            Step::Untaken(errno @ Errno(libc::EOPNOTSUPP)) => return Err(errno),
            Step::Untaken(errno) => return if pieces.done() > 0 { Ok(pieces.done()) } else { Err(errno) },
            Step::Failed(errno) if pieces.done() == 0 => return Err(errno),
            Step::Failed(errno) => {
                endpoint.family().hold_error(errno);
                return Ok(pieces.done());
            }
            // The peer says that it has ended, but TCP does not show it yet: it will at any moment.
            Step::RingEmpty => empty.on_tcp = request.seen_marks & (MARK_END | MARK_GONE) != 0,
            Step::TcpEmpty => empty.on_tcp = true,
        }
        if pieces.done() > 0 && pieces.done() >= goal {
            return Ok(pieces.done());
        }
        if link.is_recalled() && !recall::answer_soon(endpoint, fd, link) {
            return Err(endpoint.fail(fd));
        }
        let some = empty.peek.as_ref().map_or(pieces.done(), |peek| peek.seen);
        if few && some > 0 {
            return Ok(some);
        }
        let waited = match over {
            Some(errno) => Err(errno),
            None => patience.wait(endpoint, fd, link, &empty, request.seen_marks, (pieces.done(), goal)),
        };
        match waited {
            Ok(woken) => {
                request.look = empty.on_tcp || woken == Woken::Tick;
                over = (woken == Woken::Last).then_some(Errno(libc::EINTR));
                few = woken == Woken::Few;
            }
            // There may be fewer bytes than it was to be woken for. After a signal a splice does not look.
            Err(errno @ Errno(libc::EINTR | libc::EAGAIN))
                if over.is_none()
                    && empty.peek.is_none()
                    && endpoint.low_water(link) > 1
                    && (errno.0 == libc::EAGAIN || pieces.pipe().is_none()) =>
            {
                over = Some(errno);
            }
            // No descriptors to wait with: TCP needs none.
            Err(Errno(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EINVAL)) => {
                recall::detach(endpoint, Reason::Descriptors)
            }
            // A partial transfer is a success; the timeout or the signal was for the rest.
            Err(_) if pieces.done() > 0 => return Ok(pieces.done()),
            Err(errno) => return empty.peek.map_or(Err(errno), |peek| Ok(peek.seen)),
        }
    }
}

/// The kernel's call on the endpoint's own socket, for what is left.
fn by_tcp(endpoint: &'static Endpoint, fd: c_int, pieces: &mut Pieces, flags: c_int) -> Result<usize, Errno> {
    let receive = |socket| real::cancellable(|| pieces.receive(socket, usize::MAX, flags));
    held::during(Obligation::Call(endpoint), || endpoint.on_socket(fd, receive))
}

/// What the whole call comes to: where a part of it is done, an error is for the next one.
fn with_part(pieces: &Pieces, received: Result<usize, Errno>) -> Result<usize, Errno> {
    match received {
        Ok(n) => Ok(pieces.done() + n),
        Err(_) if pieces.done() > 0 => Ok(pieces.done()),
        Err(errno) => Err(errno),
    }
}

/// Whether the kernel did not wait for the rest because of an O_NONBLOCK that was set while a call waited: that is for calls to
/// come. A splice asks for it anew, in the kernel as well.
fn stops_short(
    endpoint: &'static Endpoint,
    fd: c_int,
    pieces: &Pieces,
    flags: c_int,
    goal: usize,
    received: Result<usize, Errno>,
) -> bool {
    let wants_more = match received {
        Ok(n) => n > 0 && flags & libc::MSG_PEEK == 0 && pieces.done() + n < goal,
        Err(errno) => errno == Errno(libc::EAGAIN),
    };
    wants_more && pieces.pipe().is_none() && kernel::is_nonblocking(endpoint.descriptor(fd))
}

/// The same without waiting.
fn what_is_there(endpoint: &'static Endpoint, fd: c_int, pieces: &mut Pieces, flags: c_int) -> Result<usize, Errno> {
    let is_there = || kernel::poll_now(endpoint.descriptor(fd), libc::POLLIN | libc::POLLRDHUP) != 0;
    // A splice asks the socket whether it may wait, whatever its flags.
    if pieces.pipe().is_some() && !is_there() {
        return if pieces.done() > 0 { Ok(pieces.done()) } else { Err(Errno(libc::EAGAIN)) };
    }
    let received = by_tcp(endpoint, fd, pieces, flags | libc::MSG_DONTWAIT);
    with_part(pieces, received)
}

/// The kernel's own call.
fn by_kernel(endpoint: &'static Endpoint, real: impl Fn() -> isize) -> Done {
    Done::Real(held::during(Obligation::Call(endpoint), real))
}

#[inline]
fn attempt(
    endpoint: &'static Endpoint,
    fd: c_int,
    link: &Link,
    pieces: &Pieces,
    request: &mut Request,
) -> Result<Step, Broken> {
    let lock = link.rx_lock();
    let entry = roles::enter(lock);
    request.on_tcp = 0;
    // Whoever recalls says so under the lock: from then on the sender knows what was read.
    let step = if link.has_recalled() { Ok(Step::Recalled) } else { step(endpoint, fd, link, pieces, request) };
    if matches!(step, Ok(Step::Took(..))) && link.consumer().void() > 0 {
        // A process that dies with it would be answered for.
        let mask = kernel::block_signals();
        request.mask.get_or_insert(mask);
        let _ = drop_void(endpoint, endpoint.descriptor(fd), link);
    }
    roles::leave_receiving(endpoint, link, entry);
    if let Some(mask) = request.mask.take() {
        signals::restore(mask);
    }
    step
}

fn step(
    endpoint: &'static Endpoint,
    fd: c_int,
    link: &Link,
    pieces: &Pieces,
    request: &mut Request,
) -> Result<Step, Broken> {
    let consumer = link.consumer();
    loop {
        match consumer.look()? {
            Look::Ring { head, available } if available > 0 => {
                if let Some(pipe) = pieces.pipe() {
                    return Ok(to_pipe(endpoint, link, head, pieces.left().min(available as usize), pipe));
                }
                let len = pieces.left().min(available as usize);
                let len = match carrier::drain(endpoint, &consumer, head, len, pieces, request.flags)? {
                    Ok(len) => len,
                    Err(errno) => return Ok(Step::Untaken(errno)),
                };
                if request.flags & libc::MSG_PEEK == 0 {
                    let Ok(wake) = consumer.consume(head, len as u32) else { continue };
                    endpoint.deliver(link, wake);
                } else if consumer.head() != head {
                    // A handler of this thread has received meanwhile, and its places are the producer's again.
                    continue;
                }
                return Ok(Step::Took(len, true));
            }
            Look::Ring { .. } => {
                if let Some(step) = in_empty_ring(endpoint, fd, link, pieces, request)? {
                    return Ok(step);
                }
            }
            Look::Crossing { turn } => {
                endpoint.follow(link, turn);
            }
            Look::Tcp { .. } => {
                let mask = kernel::block_signals();
                let socket = endpoint.descriptor(fd);
                match on_tcp(endpoint, socket, link, pieces, request) {
                    // Unless another thread has closed the number meanwhile: then nothing was learned.
                    Ok(Some(step)) if matches!(step, Step::Took(..)) || endpoint.descriptor(socket) == socket => {
                        request.mask = Some(mask);
                        return Ok(step);
                    }
                    // In the role.
                    Ok(_) => kernel::restore_signals(mask),
                    Err(broken) => {
                        request.mask = Some(mask);
                        return Err(broken);
                    }
                }
            }
        }
    }
}

/// Up to `len` bytes of the ring go into a pipe. Under the lock, with signals blocked.
#[cold]
fn to_pipe(endpoint: &'static Endpoint, link: &Link, head: u64, len: usize, pipe: Pipe) -> Step {
    let consumer = link.consumer();
    match carrier::hand_on(endpoint, &consumer, head, len, pipe) {
        Ok(len) => {
            // Nobody was quicker.
            if let Ok(wake) = consumer.consume(head, len as u32) {
                endpoint.deliver(link, wake);
            }
            Step::Took(len, true)
        }
        Err(errno) => Step::Untaken(errno),
    }
}

/// The ring is empty: look at TCP's end when there is reason to, then at the ring once more. `None`: there is more to see.
fn in_empty_ring(
    endpoint: &'static Endpoint,
    fd: c_int,
    link: &Link,
    pieces: &Pieces,
    request: &mut Request,
) -> Result<Option<Step>, Broken> {
    if let Some(errno) = endpoint.family().take_error() {
        return Ok(Some(Step::Failed(errno)));
    }
    let marks = link.peer_marks();
    // A call that has enough already need not know.
    let content = pieces.done() > 0 && pieces.done() >= request.goal;
    // Once TCP has shown the end it shows it to every call: the mark may come later.
    let look = || request.look || endpoint.ending.load(Ordering::Relaxed) != 0 || looks_now(endpoint);
    if content || (marks == request.seen_marks && !look()) {
        return Ok(Some(Step::RingEmpty));
    }
    request.seen_marks = marks;
    request.look = false;
    let fd = endpoint.descriptor(fd);
    // Without taking the error that may wait there: it belongs to whoever is to tell it, perhaps a send.
    if kernel::poll_now(fd, libc::POLLIN | libc::POLLRDHUP) == 0 {
        return Ok(Some(Step::RingEmpty));
    }
    endpoint.ending.store(1, Ordering::Relaxed);
    // What the peer published before its end is visible now that the end is.
    match link.consumer().look()? {
        Look::Ring { available: 0, .. } => {}
        _ => return Ok(None),
    }
    if pieces.done() > 0 && tcp::has_only_ended(fd) {
        return Ok(Some(Step::Ended));
    }
    let end = tcp::look(fd, 1);
    if endpoint.descriptor(fd) != fd {
        // Another thread has closed the number meanwhile: nothing was learned.
        request.look = true;
        return Ok(None);
    }
    Ok(Some(match end {
        End::Open => Step::RingEmpty,
        End::Fin if recall::ended_with_unread(endpoint, fd, link) => return Ok(Some(Step::EndedUnread)),
        End::Fin => Step::Ended,
        End::Error(errno) => Step::Failed(errno),
        // After this side's own SHUT_RD TCP always shows an end: the peer may have used the ring, and left it, since.
        End::Bytes(_) if !matches!(link.consumer().look()?, Look::Ring { available: 0, .. }) => return Ok(None),
        End::Bytes(_) => {
            // A writer that the shim cannot see. The ring is empty, so these bytes come next; the endpoint stays on TCP.
            endpoint.retire(Reason::Unseen);
            match pieces.receive(fd, usize::MAX, request.flags | libc::MSG_DONTWAIT) {
                Ok(n) => {
                    if request.flags & libc::MSG_PEEK == 0 {
                        link.consumer().note_taken(link.consumer().taken() + n as u64);
                    }
                    Step::Took(n, false)
                }
                Err(FULL) => Step::Untaken(FULL),
                Err(errno) => Step::Failed(errno),
            }
        }
    }))
}

/// Takes from TCP what the ring has given already, after its sender has departed. `false`: not all of it is there yet. Under
/// the lock, with signals blocked.
pub fn drop_void(endpoint: &Endpoint, fd: c_int, link: &Link) -> Result<bool, Errno> {
    let consumer = link.consumer();
    while consumer.void() > 0 {
        match kernel::recv_nothing(fd, consumer.void() as usize, libc::MSG_DONTWAIT) {
            // The sender was killed before it had sent all of its copy.
            Ok(0) => consumer.note_dropped(u64::MAX),
            Ok(n) => {
                consumer.note_dropped(n as u64);
                consumer.note_taken(consumer.taken() + n as u64);
            }
            Err(Errno(libc::EINTR)) => {}
            // Or another thread has closed the number meanwhile.
            Err(Errno(libc::EAGAIN | libc::EBADF)) => return Ok(false),
            Err(errno) => {
                consumer.note_dropped(u64::MAX);
                endpoint.family().hold_error(errno);
                return Err(errno);
            }
        }
    }
    Ok(true)
}

/// Whether it is time to look at TCP without any hint.
fn looks_now(endpoint: &Endpoint) -> bool {
    if endpoint.family().shut.load(Ordering::Relaxed) != 0 {
        return true;
    }
    let now = kernel::now_ns();
    let due = now.wrapping_sub(endpoint.looked_ns.load(Ordering::Relaxed)) >= LOOK_EVERY;
    if due {
        endpoint.looked_ns.store(now, Ordering::Relaxed);
    }
    due
}

/// TCP carries. Never takes a byte past the boundary. `None`: look again.
#[cold]
fn on_tcp(
    endpoint: &'static Endpoint,
    fd: c_int,
    link: &Link,
    pieces: &Pieces,
    request: &mut Request,
) -> Result<Option<Step>, Broken> {
    request.seen_marks = link.peer_marks();
    let consumer = link.consumer();
    if drop_void(endpoint, fd, link) == Ok(false) {
        return Ok(Some(Step::TcpEmpty));
    }
    let want = pieces.left();
    // Where the ring begins, as a distance from here; `None`: here, and the turn is followed.
    let boundary = |turn, until: Option<u64>| -> Result<Option<usize>, Broken> {
        let Some(until) = until else { return Ok(Some(usize::MAX)) };
        let Some(consumed) = tcp::consumed(fd, Some(consumer.taken())) else {
            return if endpoint.descriptor(fd) == fd { Err(Broken) } else { Ok(None) };
        };
        if consumed < until {
            return Ok(Some(usize::try_from(until - consumed).unwrap_or(usize::MAX)));
        }
        endpoint.follow(link, turn);
        Ok(None)
    };
    // Before the look, which takes the error that waits behind what is in the ring.
    let Look::Tcp { turn, until } = consumer.look()? else { return Ok(None) };
    if boundary(turn, until)?.is_none() {
        return Ok(None);
    }
    // With part of the bytes received, the error that may wait is for the next call, whichever that is.
    if pieces.done() > 0 && until.is_none() && tcp::has_only_ended(fd) {
        return Ok(Some(Step::Ended));
    }
    let end = tcp::look(fd, want);
    // What the sender said before these bytes is visible now that they are.
    let Look::Tcp { turn, until } = consumer.look()? else { return Ok(None) };
    let Some(limit) = boundary(turn, until)? else {
        if let End::Error(errno) = end
            && endpoint.descriptor(fd) == fd
        {
            endpoint.family().hold_error(errno);
        }
        return Ok(None);
    };
    if matches!(end, End::Fin | End::Error(_)) {
        endpoint.ending.store(1, Ordering::Relaxed);
    }
    // A receive stops at the mark of urgent data, like the kernel's.
    if pieces.done() > 0 && kernel::ioctl_int(fd, SIOCATMARK) == Ok(1) {
        return Ok(Some(Step::Ended));
    }
    let len = match (end, endpoint.family()) {
        (End::Bytes(len), _) => len.min(limit),
        (End::Error(errno), _) => return Ok(Some(Step::Failed(errno))),
        // Behind the bytes, as the kernel has it.
        (_, family) if let Some(errno) = family.take_error() => return Ok(Some(Step::Failed(errno))),
        (End::Open, _) => return Ok(Some(Step::TcpEmpty)),
        (End::Fin, _) => return Ok(Some(Step::Ended)),
    };
    let keep = libc::MSG_PEEK | libc::MSG_TRUNC;
    Ok(Some(match pieces.receive(fd, len, request.flags & keep | libc::MSG_DONTWAIT) {
        // A splice has met urgent data.
        Ok(0) => Step::Ended,
        // At the boundary the ring has more, perhaps: for a peek, which stays where it is, now.
        Ok(n) => {
            if request.flags & libc::MSG_PEEK == 0 {
                consumer.note_taken(consumer.taken() + n as u64);
                if until.is_some() && n == limit {
                    // Who sleeps takes the turn for known.
                    endpoint.follow(link, turn);
                }
                Step::Took(n, until.is_some())
            } else {
                request.on_tcp = n;
                let behind = if n == limit { peek::beyond(endpoint, fd, link, pieces, n, request.flags)? } else { 0 };
                // Before the boundary more is to come on TCP.
                Step::Took(n + behind, until.is_some() && n == limit)
            }
        }
        Err(Errno(libc::EAGAIN)) => Step::TcpEmpty,
        Err(FULL) => Step::Untaken(FULL),
        // The pipe's: the socket has just shown that it has none.
        Err(errno) if pieces.pipe().is_some() => Step::Untaken(errno),
        Err(errno) => Step::Failed(errno),
    }))
}
