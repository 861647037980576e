//! Calls that carry a stream's bytes, or a descriptor, by other ways than send and receive.

use crate::endpoint::Phase;
use crate::kernel::{self, Errno};
use crate::pieces::Pieces;
use crate::stream::{self, Done};
use crate::{descriptor, receiver};
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
    let result = if let Some(link) = endpoint.link() {
        let mut bounce = [0u8; BOUNCE];
        let room = [libc::iovec { iov_base: bounce.as_mut_ptr().cast(), iov_len: len.min(BOUNCE) }];
        let nowait = if flags & libc::SPLICE_F_NONBLOCK != 0 { libc::MSG_DONTWAIT } else { 0 };
        let receive = |flags, pieces: &[libc::iovec]| {
            let direct = || match Pieces::new(pieces).receive(endpoint.descriptor(input), usize::MAX, flags) {
                Ok(n) => n as isize,
                Err(_) => -1,
            };
            match receiver::receive(endpoint, input, link, &mut Pieces::new(pieces), flags, direct) {
                Done::Real(n) if n >= 0 => Ok(n as usize),
                Done::Real(_) => Err(Errno(libc::ECONNRESET)),
                Done::Moved(result) => result,
            }
        };
        // Look, hand on what the pipe takes, and only then take it.
        Some(receive(libc::MSG_PEEK | nowait, &room).and_then(|seen| {
            let written = kernel::write(pipe, bounce.get(..seen).unwrap_or_default())?;
            let taken = [libc::iovec { iov_base: bounce.as_mut_ptr().cast(), iov_len: written }];
            if written == 0 { Ok(0) } else { receive(libc::MSG_DONTWAIT, &taken) }
        }))
    } else {
        if endpoint.phase() != Phase::Idle {
            endpoint.settle(Reason::Unhashable);
        }
        None
    };
    endpoint.unpin();
    result
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
