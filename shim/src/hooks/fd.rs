//! close, dup and what else gives descriptors new meanings.

use crate::descriptor::Ending;
use crate::held::{self, Obligation};
use crate::hooks::io::hooks;
use crate::hooks::{fail, int};
use crate::kernel::{self, Errno};
use crate::readiness::epoll::Set;
use crate::{descriptor, foreign, process, real, stream, way};
use core::ffi::{c_int, c_uint, c_ulong};
use core::sync::atomic::Ordering;
use slipstream_protocol::Reason;

hooks! {
    /// close(2)
    fn close(fd: c_int) -> c_int {
        if descriptor::is_own(fd) && process::owns_tables() {
            return fail(Errno(libc::EBADF));
        }
        let close = || {
            // A thread that has been cancelled ends before the close, or behind it.
            real::heed_cancel(|| descriptor::get(fd).is_some());
            let Some(ending) = descriptor::closing(fd) else { return real!(fn close(fd: c_int) -> c_int) };
            real::uncancelled(|| ending.by_close(|| real!(fn close(fd: c_int) -> c_int)))
        };
        if descriptor::set(fd).is_some() { foreign::renaming(close) } else { close() }
    }

    /// close(2), glibc's alias
    fn __close(fd: c_int) -> c_int {
        // SAFETY: the same contract.
        unsafe { close(fd) }
    }

    /// close_range(2)
    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
        // With one thread there is nobody to unshare the table with.
        let closes = flags == 0 || flags == CLOSE_RANGE_UNSHARE && real::single_threaded();
        if !closes || first > last || !process::owns_tables() {
            return real!(fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int);
        }
        int(descriptor::close_range(first, last).map(|()| 0))
    }

    /// closefrom(3)
    fn closefrom(least: c_int) -> () {
        // SAFETY: the same contract.
        if unsafe { close_range(least.max(0) as c_uint, c_uint::MAX, 0) } < 0 {
            foreign::each_open_from(least, |fd| {
                // SAFETY: the same contract.
                unsafe { close(fd) };
            });
        }
    }

    /// dup(2)
    fn dup(fd: c_int) -> c_int {
        copied(fd, || real!(fn dup(fd: c_int) -> c_int))
    }

    /// dup2(2)
    fn dup2(fd: c_int, copy: c_int) -> c_int {
        replace(fd, copy, || real!(fn dup2(fd: c_int, copy: c_int) -> c_int))
    }

    /// dup2(2), glibc's alias
    fn __dup2(fd: c_int, copy: c_int) -> c_int {
        // SAFETY: the same contract.
        unsafe { dup2(fd, copy) }
    }

    /// dup3(2)
    fn dup3(fd: c_int, copy: c_int, flags: c_int) -> c_int {
        if flags & !libc::O_CLOEXEC != 0 || fd == copy {
            return real!(fn dup3(fd: c_int, copy: c_int, flags: c_int) -> c_int);
        }
        replace(fd, copy, || real!(fn dup3(fd: c_int, copy: c_int, flags: c_int) -> c_int))
    }

    /// fcntl(2). The variadic argument is passed as a word, as the ABI of the supported targets has it.
    fn fcntl(fd: c_int, command: c_int, argument: c_ulong) -> c_int {
        controlled(fd, command, argument, || real!(fn fcntl(fd: c_int, command: c_int, argument: c_ulong) -> c_int))
    }

    /// fcntl(2), LFS
    fn fcntl64(fd: c_int, command: c_int, argument: c_ulong) -> c_int {
        controlled(fd, command, argument, || real!(fn fcntl64(fd: c_int, command: c_int, argument: c_ulong) -> c_int))
    }

    /// fcntl(2), glibc's alias
    fn __fcntl(fd: c_int, command: c_int, argument: c_ulong) -> c_int {
        controlled(fd, command, argument, || real!(fn __fcntl(fd: c_int, command: c_int, argument: c_ulong) -> c_int))
    }

    /// epoll_create(2)
    fn epoll_create(size: c_int) -> c_int {
        created(|| real!(fn epoll_create(size: c_int) -> c_int))
    }

    /// epoll_create1(2)
    fn epoll_create1(flags: c_int) -> c_int {
        created(|| real!(fn epoll_create1(flags: c_int) -> c_int))
    }
}

const CLOSE_RANGE_UNSHARE: c_int = 2;
const F_SETSIG: c_int = 10;
const F_SETOWN_EX: c_int = 15;

fn created(real: impl Fn() -> c_int) -> c_int {
    foreign::renaming(|| {
        let epoll = real();
        if epoll >= 0
            && let Some(set) = Set::found()
            && !descriptor::enter(epoll, descriptor::Entry::Set(set))
        {
            set.release();
        }
        epoll
    })
}

/// A copy of a descriptor, by `real`.
fn copied(fd: c_int, real: impl Fn() -> c_int) -> c_int {
    match descriptor::set(fd) {
        Some(_) => foreign::renaming(|| noted(fd, real())),
        None => noted(fd, real()),
    }
}

fn noted(fd: c_int, copy: c_int) -> c_int {
    if copy >= 0 && descriptor::get(fd).or(descriptor::get(copy)).is_some() {
        if process::owns_tables() {
            if descriptor::is_standard(copy) {
                stream::leave_ring(fd, Reason::Stdio);
            }
            descriptor::duplicate(fd, copy);
        } else {
            // A vfork child arranges what the image that it is about to become will find.
            stream::leave_ring(fd, Reason::Exec);
        }
    }
    copy
}

/// dup onto a descriptor that may be open: closed as by close, then a copy.
fn replace(fd: c_int, copy: c_int, real: impl Fn() -> c_int) -> c_int {
    if fd == copy || kernel::status_flags(fd).is_err() {
        return real();
    }
    // Open, and yet no place for a copy since the limit was lowered.
    let ours = descriptor::get(copy).is_some() || descriptor::is_own(copy);
    if ours && copy as u64 >= kernel::descriptor_limit() {
        return real();
    }
    if process::owns_tables() {
        way::make(copy);
    }
    let replace = || {
        if !process::owns_tables() || descriptor::get(fd).or(descriptor::get(copy)).is_none() {
            return noted(fd, real());
        }
        // What another thread sends meanwhile goes to the one connection or to the other, not past the ring of either.
        let ending = descriptor::changing(copy);
        let result = held::during(Obligation::Changing(copy), || noted(fd, real()));
        descriptor::changed(copy);
        ending.into_iter().for_each(Ending::finish);
        result
    };
    if descriptor::set(fd).or(descriptor::set(copy)).is_some() { foreign::renaming(replace) } else { replace() }
}

/// fcntl, by `real`.
fn controlled(fd: c_int, command: c_int, argument: c_ulong, real: impl Fn() -> c_int) -> c_int {
    if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) {
        return copied(fd, real);
    }
    let result = real();
    match command {
        _ if result < 0 => {}
        libc::F_SETFL => {
            if let Some(descriptor::Entry::Endpoint(endpoint)) = descriptor::get(fd) {
                let nonblocking = argument as c_int & libc::O_NONBLOCK != 0;
                endpoint.nonblocking.store(u8::from(nonblocking), Ordering::Relaxed);
            }
            if argument as c_int & libc::O_ASYNC != 0 {
                stream::object(fd, Reason::AsyncSignal);
            }
        }
        libc::F_SETOWN | F_SETSIG | F_SETOWN_EX => stream::object(fd, Reason::AsyncSignal),
        _ => {}
    }
    result
}
