//! socket, connect, accept, shutdown.

use crate::endpoint::{Endpoint, Phase};
use crate::hooks::LOWEST;
use crate::hooks::io::hooks;
use crate::{descriptor, held, kernel, real, stream};
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use libc::{sockaddr, socklen_t};
use slipstream_protocol::Reason;

/// Whether a socket with these properties speaks plain TCP.
fn is_tcp(domain: c_int, kind: c_int, protocol: c_int) -> bool {
    (domain == libc::AF_INET || domain == libc::AF_INET6)
        && kind & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) == libc::SOCK_STREAM
        && (protocol == 0 || protocol == libc::IPPROTO_TCP)
}

/// Asks the kernel what a socket is.
fn kernel_says_tcp(fd: c_int) -> bool {
    let ask = |name| {
        let mut value: c_int = 0;
        kernel::getsockopt(fd, libc::SOL_SOCKET, name, &mut value).map(|_| value)
    };
    match (ask(libc::SO_DOMAIN), ask(libc::SO_TYPE), ask(libc::SO_PROTOCOL)) {
        (Ok(domain), Ok(kind), Ok(protocol)) => is_tcp(domain, kind, protocol),
        _ => false,
    }
}

/// A connection has been accepted on `listener`.
fn accepted(listener: c_int, fd: c_int) -> c_int {
    if fd < 0 {
        return fd;
    }
    descriptor::forget_stale(fd);
    let begin = |learn: &dyn Fn(&Endpoint)| {
        if let Some(endpoint) = descriptor::track(fd, Phase::Counting) {
            endpoint.since_ns.store(kernel::now_ns(), Ordering::Relaxed);
            learn(endpoint);
        }
    };
    match descriptor::pin(listener) {
        Some(listener) => held::call(listener, || begin(&|endpoint| endpoint.inherit(listener))),
        // Inherited; or not TCP, or another thread has closed it.
        None if kernel_says_tcp(fd) => begin(&|endpoint| endpoint.learn_low_water(fd)),
        None => {}
    }
    fd
}

hooks! {
    /// socket(2)
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
        let fd = real!(fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int);
        if fd >= 0 {
            descriptor::forget_stale(fd);
            if is_tcp(domain, kind, protocol) {
                descriptor::track(fd, Phase::Idle);
            }
        }
        fd
    }

    /// connect(2)
    fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
        connecting(fd, address, len, || real!(fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int))
    }

    /// connect(2), glibc's alias
    fn __connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
        connecting(fd, address, len, || real!(fn __connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int))
    }

    /// accept(2)
    fn accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
        accepted(fd, real!(fn accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int))
    }

    /// accept4(2)
    fn accept4(fd: c_int, address: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int {
        accepted(fd, real!(fn accept4(fd: c_int, address: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int))
    }

    /// shutdown(2)
    fn shutdown(fd: c_int, how: c_int) -> c_int {
        let real = || real!(fn shutdown(fd: c_int, how: c_int) -> c_int);
        if !matches!(how, libc::SHUT_RD | libc::SHUT_WR | libc::SHUT_RDWR) {
            return real();
        }
        let Some(endpoint) = descriptor::pin(fd) else { return real() };
        held::call(endpoint, || {
            let link = endpoint.link();
            if let Some(link) = link {
                endpoint.before_shutdown(link, fd, how);
            }
            let result = real();
            if result == 0 {
                endpoint.after_shutdown(link, how);
            }
            result
        })
    }
}

/// connect. One to AF_UNSPEC ends a connection: whatever comes after it on this descriptor is another one.
fn connecting(fd: c_int, address: *const sockaddr, len: socklen_t, real: impl Fn() -> c_int) -> c_int {
    let disconnects = matches!(descriptor::get(fd), Some(descriptor::Entry::Endpoint(_)))
        && address as usize >= LOWEST
        && len as usize >= size_of::<libc::sa_family_t>()
        // SAFETY: the program's address, at least as long as its family.
        && c_int::from(unsafe { address.cast::<libc::sa_family_t>().read_unaligned() }) == libc::AF_UNSPEC;
    if disconnects {
        stream::leave_ring(fd, Reason::Call);
    }
    let result = real();
    if disconnects && result == 0 {
        descriptor::renew(fd);
    } else if !disconnects {
        connected(fd, result);
    }
    result
}

/// connect has returned: connected, under way, or not.
fn connected(fd: c_int, result: c_int) {
    // SAFETY: libc's errno of this thread, which connect has just set.
    let under_way = || unsafe { *libc::__errno_location() } == libc::EINPROGRESS;
    if let Some(descriptor::Entry::Endpoint(endpoint)) = descriptor::get(fd)
        && (result == 0 || under_way())
        && (endpoint.advance(Phase::Idle, Phase::Counting) || endpoint.phase() == Phase::Settled)
    {
        endpoint.connector.store(1, Ordering::Relaxed);
        endpoint.since_ns.store(kernel::now_ns(), Ordering::Relaxed);
    }
}
