//! Calls that carry a stream's bytes, or a descriptor, by other ways than send and receive.

use crate::endpoint::{Endpoint, Phase};
use crate::held::{self, Obligation};
use crate::kernel::{self, Errno};
use crate::pieces::Pieces;
use crate::readiness::levels;
use crate::stream::{self, Done};
use crate::{descriptor, real, receiver};
use core::ffi::c_int;
use slipstream_protocol::Reason;

/// Bytes that an emulated splice moves at once.
const BOUNCE: usize = 16 * 1024;

/// splice from an endpoint into a pipe. `None`: the kernel's call is right.
pub fn splice_from(input: c_int, pipe: c_int, len: usize, flags: u32) -> Option<Result<usize, Errno>> {
    if !kernel::is_pipe(pipe) {
        // The kernel is to refuse.
        return None;
    }
    let endpoint = descriptor::pin(input)?;
    held::call(endpoint, || splice_on(endpoint, input, pipe, len, flags))
}

fn splice_on(
    endpoint: &'static Endpoint,
    input: c_int,
    pipe: c_int,
    len: usize,
    flags: u32,
) -> Option<Result<usize, Errno>> {
    if let Some(link) = endpoint.link() {
        let mut bounce = [0u8; BOUNCE];
        let receive = |flags, pieces: &[libc::iovec]| {
            // The errno of a failure as a negative number, as a system call has it.
            let direct = || match Pieces::new(pieces).receive(endpoint.descriptor(input), usize::MAX, flags) {
                Ok(n) => n as isize,
                Err(Errno(errno)) => -(errno as isize),
            };
            match receiver::receive_at_least(1, endpoint, input, link, &mut Pieces::new(pieces), flags, direct) {
                Done::Real(n) => usize::try_from(n).map_err(|_| Errno(-n as c_int)),
                Done::Moved(result) => result,
            }
        };
        let at = bounce.as_mut_ptr();
        // Look, hand on what the pipe takes, and only then take it. SPLICE_F_NONBLOCK is the pipe's: the socket has its own
        // flag.
        let round = |moved: usize| -> Result<usize, Errno> {
            let in_tcp = kernel::ioctl_int(endpoint.descriptor(input), libc::FIONREAD).unwrap_or(0);
            if moved > 0 && levels::unread(endpoint, link, input, in_tcp as u64) == 0 {
                // The end, and an error with it, is for the next call.
                return Ok(0);
            }
            let waits = moved == 0 && flags & libc::SPLICE_F_NONBLOCK == 0;
            let free = held::during(Obligation::Call(endpoint), || room_of(pipe, waits))?;
            let room = [libc::iovec { iov_base: at.cast(), iov_len: free.min(len - moved) }];
            let seen = receive(libc::MSG_PEEK | if moved == 0 { 0 } else { libc::MSG_DONTWAIT }, &room)?;
            // SAFETY: so many bytes of the bounce buffer were just received.
            let written = kernel::write(pipe, unsafe { core::slice::from_raw_parts(at, seen) })?;
            let taken = [libc::iovec { iov_base: at.cast(), iov_len: written }];
            if written == 0 { Ok(0) } else { receive(libc::MSG_DONTWAIT, &taken) }
        };
        let mut moved = 0;
        Some(loop {
            match round(moved) {
                Ok(n) if n > 0 && moved + n < len => moved += n,
                Ok(n) => break Ok(moved + n),
                // What has succeeded counts; an error is for the next call.
                Err(_) if moved > 0 => break Ok(moved),
                Err(errno) => break Err(errno),
            }
        })
    } else {
        if endpoint.phase() != Phase::Idle {
            endpoint.settle(Reason::Unhashable);
        }
        None
    }
}

/// How many bytes a pipe takes without blocking; waits for room, if `waits`.
fn room_of(pipe: c_int, waits: bool) -> Result<usize, Errno> {
    // An empty one takes sixteen pages, if nobody has made it smaller; one that is ready to be written has one.
    if kernel::ioctl_int(pipe, libc::FIONREAD) == Ok(0) {
        return Ok(kernel::pipe_size(pipe).min(BOUNCE));
    }
    let mut ready = [libc::pollfd { fd: pipe, events: libc::POLLOUT, revents: 0 }];
    let no_time = kernel::timespec(0);
    let time = if waits && !kernel::is_nonblocking(pipe) { None } else { Some(&no_time) };
    match real::cancellable(|| kernel::ppoll(&mut ready, time, core::ptr::null()))? {
        0 => Err(Errno(libc::EAGAIN)),
        _ => Ok(libc::PIPE_BUF),
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
