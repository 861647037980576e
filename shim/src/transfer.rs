//! Calls that carry a stream's bytes, or a descriptor, by other ways than send and receive.

use crate::endpoint::Endpoint;
use crate::held::{self, Obligation};
use crate::kernel::{self, Errno};
use crate::pieces::{FULL, Pieces, Pipe};
use crate::readiness::levels;
use crate::stream::{self, Done};
use crate::{descriptor, receiver, wait};
use core::ffi::c_int;
use slipstream_protocol::Reason;
use slipstream_ring::Link;

/// Bytes that go through the stack at once.
const BOUNCE: usize = 1024;

/// splice from an endpoint into a pipe; `real` is the program's own call.
pub fn splice_from(input: c_int, pipe: Pipe, len: usize, real: impl Fn() -> isize) -> Done {
    const KNOWN: u32 = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MORE | libc::SPLICE_F_GIFT;
    let status = match kernel::is_pipe(pipe.fd) {
        true => kernel::status_flags(pipe.fd),
        false => Err(Errno(libc::EINVAL)),
    };
    let status = match status {
        Ok(status) if len > 0 && pipe.flags & !KNOWN == 0 && status & libc::O_ACCMODE != libc::O_RDONLY => status,
        // Nothing to do, or for the kernel to refuse.
        _ => return Done::Real(real()),
    };
    let Some(endpoint) = descriptor::pin(input) else { return Done::Real(real()) };
    // SPLICE_F_NONBLOCK is the pipe's: the socket has its own flag.
    let waits = pipe.flags & libc::SPLICE_F_NONBLOCK == 0 && status & libc::O_NONBLOCK == 0;
    held::call(endpoint, || match endpoint.link_or_settle() {
        Some(link) => splice_on(endpoint, input, link, pipe, len, waits, real),
        None => Done::Real(held::during(Obligation::Call(endpoint), real)),
    })
}

fn splice_on(
    endpoint: &'static Endpoint,
    input: c_int,
    link: &Link,
    pipe: Pipe,
    len: usize,
    waits: bool,
    real: impl Fn() -> isize,
) -> Done {
    loop {
        // As in the kernel: room first, then bytes.
        match room_in(pipe.fd) {
            Ok(true) => {}
            // Nobody reads from it: the kernel tells, and sends the signal.
            Ok(false) => return Done::Real(real()),
            Err(Errno(libc::EAGAIN)) if waits => {
                match held::during(Obligation::Call(endpoint), || wait::room(pipe.fd, 0)) {
                    Ok(()) => continue,
                    Err(errno) => return Done::Moved(Err(errno)),
                }
            }
            Err(errno) => return Done::Moved(Err(errno)),
        }
        let mut pieces = Pieces::of_pipe(pipe, len);
        match receiver::receive_at_least(1, endpoint, input, link, &mut pieces, 0, &real) {
            // Others write to it, too.
            Done::Moved(Err(FULL)) if waits => {}
            Done::Moved(Err(FULL)) => return Done::Moved(Err(Errno(libc::EAGAIN))),
            Done::Moved(Err(Errno(libc::EOPNOTSUPP))) => {
                return Done::Moved(by_hand(endpoint, input, link, pipe.fd, len, pieces.done()));
            }
            done => return done,
        }
    }
}

/// Into a pipe that may make its writer wait (a FIFO, one that the kernel has spliced into, or any before Linux 6.4), where
/// `moved` bytes have gone already: what finds room there for sure is taken first. Only another writer can still make it
/// wait.
#[cold]
#[inline(never)]
fn by_hand(
    endpoint: &'static Endpoint,
    input: c_int,
    link: &Link,
    pipe: c_int,
    len: usize,
    mut moved: usize,
) -> Result<usize, Errno> {
    while moved < len {
        let in_tcp = kernel::ioctl_int(endpoint.descriptor(input), libc::FIONREAD).unwrap_or(0);
        // The end, and an error with it, is for the next call.
        if moved > 0 && (room_in(pipe) != Ok(true) || levels::unread(endpoint, link, input, in_tcp as u64) == 0) {
            break;
        }
        let mut bounce = [0u8; BOUNCE];
        let room = [libc::iovec { iov_base: bounce.as_mut_ptr().cast(), iov_len: BOUNCE.min(len - moved) }];
        let flags = if moved > 0 { libc::MSG_DONTWAIT } else { 0 };
        // The errno of a failure as a negative number, as a system call has it.
        let direct = || match Pieces::new(&room).receive(endpoint.descriptor(input), usize::MAX, flags) {
            Ok(n) => n as isize,
            Err(Errno(errno)) => -(errno as isize),
        };
        let taken = match receiver::receive_at_least(1, endpoint, input, link, &mut Pieces::new(&room), flags, direct) {
            Done::Real(n) => usize::try_from(n).map_err(|_| Errno(-n as c_int)),
            Done::Moved(result) => result,
        };
        let mut rest = match taken {
            Ok(n) if n > 0 => bounce.get(..n).unwrap_or_default(),
            Err(errno) if moved == 0 => return Err(errno),
            _ => break,
        };
        moved += rest.len();
        while !rest.is_empty() {
            match kernel::write(pipe, rest) {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(Errno(libc::EINTR)) => {}
                Err(Errno(libc::EAGAIN)) => kernel::poll_until(pipe, libc::POLLOUT),
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(moved)
}

/// Whether a pipe has room (for PIPE_BUF bytes at least); `false`: nobody reads from it.
fn room_in(pipe: c_int) -> Result<bool, Errno> {
    match kernel::poll_now(pipe, libc::POLLOUT) {
        0 => Err(Errno(libc::EAGAIN)),
        ready => Ok(ready & libc::POLLERR == 0),
    }
}

/// A message with control data is about to be sent: descriptors in it leave this process.
pub fn sending_control(message: &libc::msghdr) {
    // SAFETY: the program's own header; the macros walk its control data within its length.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<c_int>();
                let count =
                    ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize) / size_of::<c_int>();
                for i in 0..count {
                    stream::leave_ring(data.add(i).read_unaligned(), Reason::Passed);
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}
