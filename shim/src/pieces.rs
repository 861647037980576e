//! The program's buffers of one call, or the pipe that it splices into, and how far the call has come in them.

use crate::kernel::{self, Errno, LOWEST};
use core::ffi::c_int;

/// More pieces than this make a call fail with EINVAL, as in the kernel.
pub const MOST: usize = 1024;

/// The kernel moves no more than this in one call.
pub const MOST_BYTES: usize = 0x7fff_f000;

/// No memory of a program's lies above, where addresses have 47 bits; where they have more, the kernel is asked.
const HIGHEST: usize = (1 << 47) - 4096;

/// Whether a buffer can be where it is said to be.
#[inline]
pub fn is_plain(piece: &libc::iovec) -> bool {
    let (base, len) = (piece.iov_base as usize, piece.iov_len);
    len == 0 || (len <= MOST_BYTES && (LOWEST..HIGHEST).contains(&base) && base + len <= HIGHEST)
}

/// How many bytes a call has to do with, at the most.
#[inline]
pub fn total(pieces: &[libc::iovec]) -> usize {
    pieces.iter().fold(0usize, |sum, piece| sum.saturating_add(piece.iov_len)).min(MOST_BYTES)
}

/// The buffers of a receive of which one [is not](is_plain): those before it, or why there is none.
#[cold]
pub fn receivable(pieces: &[libc::iovec], flags: c_int) -> kernel::Result<&[libc::iovec]> {
    // The kernel looks at the ranges before it begins; at what is there, when it comes there.
    let beyond = |piece: &libc::iovec| {
        let (base, len) = (piece.iov_base as usize, piece.iov_len);
        len > 0 && base.checked_add(len).is_none_or(|end| end > HIGHEST) && !kernel::can_be_memory(base, len)
    };
    if pieces.iter().any(beyond) {
        return Err(Errno(libc::EFAULT));
    }
    let low = |piece: &libc::iovec| piece.iov_len > 0 && (piece.iov_base as usize) < LOWEST;
    match pieces.iter().position(low) {
        // Nothing is put there.
        Some(_) if flags & libc::MSG_TRUNC != 0 => Ok(pieces),
        Some(at) if pieces.iter().take(at).any(|piece| piece.iov_len > 0) => Ok(pieces.get(..at).unwrap_or_default()),
        Some(_) => Err(Errno(libc::EFAULT)),
        None => Ok(pieces),
    }
}

/// A pipe, in the place of buffers to receive into.
#[derive(Clone, Copy)]
pub struct Pipe {
    pub fd: c_int,
    /// The splice's.
    pub flags: u32,
}

/// The pipe is full. No socket and no pipe says this.
pub const FULL: Errno = Errno(libc::ENOSPC);

/// See the module.
pub struct Pieces<'a> {
    pieces: &'a [libc::iovec],
    pipe: Option<Pipe>,
    total: usize,
    done: usize,
}

impl<'a> Pieces<'a> {
    pub fn new(pieces: &'a [libc::iovec]) -> Self {
        Self { pieces, pipe: None, total: total(pieces), done: 0 }
    }

    /// `len` bytes of a pipe. Nothing peeks into it.
    pub fn of_pipe(pipe: Pipe, len: usize) -> Self {
        Self { pieces: &[], pipe: Some(pipe), total: len, done: 0 }
    }

    #[inline]
    pub fn pipe(&self) -> Option<Pipe> {
        self.pipe
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
        Pieces { done: self.done + more, ..*self }
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

    /// Receives up to `len` of the bytes left from a socket. With MSG_DONTWAIT into a pipe: those are known to be there.
    pub fn receive(&self, fd: c_int, len: usize, flags: c_int) -> kernel::Result<usize> {
        if let Some(pipe) = self.pipe {
            let at_once = flags & libc::MSG_DONTWAIT != 0;
            let flags = pipe.flags | if at_once { libc::SPLICE_F_NONBLOCK } else { 0 };
            return match kernel::splice(fd, pipe.fd, len.min(self.left()), flags) {
                Err(Errno(libc::EAGAIN)) if at_once => Err(FULL),
                spliced => spliced,
            };
        }
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
