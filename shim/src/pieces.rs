//! The program's buffers of one call, and how far the call has come in them.

use crate::kernel;
use core::ffi::c_int;

/// More pieces than this make a call fail with EINVAL, as in the kernel.
pub const MOST: usize = 1024;

/// See the module.
pub struct Pieces<'a> {
    pieces: &'a [libc::iovec],
    total: usize,
    done: usize,
}

impl<'a> Pieces<'a> {
    pub fn new(pieces: &'a [libc::iovec]) -> Self {
        let total = pieces.iter().fold(0usize, |sum, piece| sum.saturating_add(piece.iov_len));
        Self { pieces, total, done: 0 }
    }

    /// Bytes done.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Bytes to do.
    pub fn left(&self) -> usize {
        self.total - self.done
    }

    pub fn is_empty(&self) -> bool {
        self.done == self.total
    }

    pub fn advance(&mut self, n: usize) {
        self.done += n;
    }

    /// Calls `work(offset, address, len)` for each run of memory of the next `len` bytes, offsets from 0 on.
    #[inline]
    pub fn each(&self, len: usize, mut work: impl FnMut(usize, *mut u8, usize)) {
        let (mut skip, mut offset) = (self.done, 0);
        for piece in self.pieces {
            if skip >= piece.iov_len {
                skip -= piece.iov_len;
                continue;
            }
            let now = (piece.iov_len - skip).min(len - offset);
            if now == 0 {
                return;
            }
            work(offset, piece.iov_base.cast::<u8>().wrapping_add(skip), now);
            offset += now;
            skip = 0;
        }
    }

    /// The same, with the next `more` bytes done.
    pub fn behind(&self, more: usize) -> Pieces<'a> {
        Pieces { pieces: self.pieces, total: self.total, done: self.done + more }
    }

    /// Peeks at a socket whose first `before` bytes are the next ones here, and whose others belong `gap` bytes behind them;
    /// how many of those there are.
    pub fn peek_around(&self, fd: c_int, before: usize, gap: usize, flags: c_int) -> usize {
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT | flags & libc::MSG_TRUNC;
        // The gap may split a piece.
        with_room((self.pieces.len() + 1).min(MOST), |runs| {
            // The same bytes to the same places again.
            let same = list(runs, 0, self, before);
            let count = list(runs, same, &self.behind(before + gap), usize::MAX);
            kernel::recvmsg(fd, &mut message(runs, count), flags).unwrap_or(0).saturating_sub(before)
        })
    }

    /// Receives up to `len` of the bytes left from a socket.
    pub fn receive(&self, fd: c_int, len: usize, flags: c_int) -> kernel::Result<usize> {
        self.with_rest(len, |message| kernel::recvmsg(fd, message, flags))
    }

    /// Sends up to `len` of the bytes left, from the `skip`th on, through a socket.
    pub fn send_from(&self, fd: c_int, skip: usize, len: usize, flags: c_int) -> kernel::Result<usize> {
        self.behind(skip).with_rest(len, |message| kernel::sendmsg(fd, message, flags | libc::MSG_NOSIGNAL))
    }

    /// Sends bytes left through a socket: how many were sent, and how many were tried.
    pub fn send(&self, fd: c_int, flags: c_int) -> kernel::Result<(usize, usize)> {
        self.with_rest(usize::MAX, |message| {
            // SAFETY: the message's own pieces.
            let pieces = unsafe { core::slice::from_raw_parts(message.msg_iov, message.msg_iovlen) };
            let asked = pieces.iter().map(|piece| piece.iov_len).sum();
            // SIGPIPE is for a call that has done nothing.
            let quiet = if self.done > 0 { libc::MSG_NOSIGNAL } else { 0 };
            kernel::sendmsg(fd, message, flags | quiet).map(|sent| (sent, asked))
        })
    }

    /// A message of up to `len` of the bytes left.
    fn with_rest<T>(&self, len: usize, work: impl FnOnce(&mut libc::msghdr) -> T) -> T {
        with_room(self.pieces.len(), |runs| {
            let count = list(runs, 0, self, len);
            work(&mut message(runs, count))
        })
    }
}

const NONE: libc::iovec = libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 };

/// Calls with up to so many pieces need no memory.
const FEW: usize = 16;

/// Runs `work` with room for `count` runs of memory; without memory, for the first of them only.
fn with_room<T>(count: usize, work: impl FnOnce(&mut [libc::iovec]) -> T) -> T {
    let bytes = count * size_of::<libc::iovec>();
    if count > FEW
        && let Ok(pages) = kernel::map_anonymous(bytes, false)
    {
        // SAFETY: just mapped, zeroed, aligned, of this length.
        let result = work(unsafe { core::slice::from_raw_parts_mut(pages.cast::<libc::iovec>(), count) });
        kernel::unmap(pages, bytes);
        return result;
    }
    work(&mut [NONE; FEW])
}

/// Lists up to `len` of the bytes left in `runs`, from the `count`th on; where it ends.
fn list(runs: &mut [libc::iovec], mut count: usize, pieces: &Pieces, len: usize) -> usize {
    pieces.each(len.min(pieces.left()), |_, address, len| {
        if let Some(run) = runs.get_mut(count) {
            *run = libc::iovec { iov_base: address.cast(), iov_len: len };
            count += 1;
        }
    });
    count
}

/// A message of the first `count` runs.
fn message(runs: &mut [libc::iovec], count: usize) -> libc::msghdr {
    // SAFETY: zeroes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = runs.as_mut_ptr();
    message.msg_iovlen = count;
    message
}
