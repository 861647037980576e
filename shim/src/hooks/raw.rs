//! syscall(3): libc's door to any system call. Those that the shim stands in front of take its way.

use crate::hooks::io::hooks;
use crate::hooks::{exec, fail, fd, io, option, poll, socket};
use crate::kernel::Errno;
use crate::{process, real, stream};
use core::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
use slipstream_protocol::Reason;

hooks! {
    /// syscall(2). The variadic arguments are passed as words, as the ABI of the supported targets has it.
    fn syscall(number: c_long, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong, e: c_ulong, f: c_ulong) -> c_long {
        let (descriptor, at) = (a as c_int, b as *mut c_void);
        let pass = || real!(fn syscall(number: c_long, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong, e: c_ulong, f: c_ulong) -> c_long);
        // SAFETY (of each arm): the hook's contract is the system call's, whose arguments the program has given.
        match number {
            // SAFETY: as above.
            libc::SYS_read => unsafe { io::read(descriptor, at, c as usize) as c_long },
            // SAFETY: as above.
            libc::SYS_write => unsafe { io::write(descriptor, at, c as usize) as c_long },
            // SAFETY: as above.
            libc::SYS_readv => unsafe { io::readv(descriptor, at.cast(), c as c_int) as c_long },
            // SAFETY: as above.
            libc::SYS_writev => unsafe { io::writev(descriptor, at.cast(), c as c_int) as c_long },
            // SAFETY: as above.
            libc::SYS_recvfrom => unsafe {
                io::recvfrom(descriptor, at, c as usize, d as c_int, e as *mut libc::sockaddr, f as *mut libc::socklen_t) as c_long
            },
            // SAFETY: as above.
            libc::SYS_sendto => unsafe {
                io::sendto(descriptor, at, c as usize, d as c_int, e as *const libc::sockaddr, f as libc::socklen_t) as c_long
            },
            // SAFETY: as above.
            libc::SYS_recvmsg => unsafe { io::recvmsg(descriptor, at.cast(), c as c_int) as c_long },
            // SAFETY: as above.
            libc::SYS_sendmsg => unsafe { io::sendmsg(descriptor, at.cast(), c as c_int) as c_long },
            // SAFETY: as above.
            libc::SYS_recvmmsg => unsafe {
                c_long::from(io::recvmmsg(descriptor, at.cast(), c as c_uint, d as c_int, e as *mut libc::timespec))
            },
            // SAFETY: as above.
            libc::SYS_sendmmsg => unsafe { c_long::from(io::sendmmsg(descriptor, at.cast(), c as c_uint, d as c_int)) },
            // SAFETY: as above.
            libc::SYS_sendfile => unsafe { io::sendfile(descriptor, b as c_int, c as *mut libc::off_t, d as usize) as c_long },
            // SAFETY: as above.
            libc::SYS_splice => unsafe {
                io::splice(descriptor, b as *mut i64, c as c_int, d as *mut i64, e as usize, f as c_uint) as c_long
            },
            // SAFETY: as above.
            libc::SYS_poll => unsafe { c_long::from(poll::poll(a as *mut libc::pollfd, b as libc::nfds_t, c as c_int)) },
            // SAFETY: as above.
            libc::SYS_ppoll => unsafe {
                c_long::from(poll::ppoll(a as *mut libc::pollfd, b as libc::nfds_t, c as *const libc::timespec, d as *const libc::sigset_t))
            },
            // SAFETY: as above.
            libc::SYS_select => unsafe {
                c_long::from(poll::select(descriptor, at.cast(), c as *mut libc::fd_set, d as *mut libc::fd_set, e as *mut libc::timeval))
            },
            // SAFETY: as above; the mask's address is the first of the two words that the last argument points to.
            libc::SYS_pselect6 => unsafe {
                let mask = (f as *const *const libc::sigset_t).as_ref().copied().unwrap_or(core::ptr::null());
                c_long::from(poll::pselect(descriptor, at.cast(), c as *mut libc::fd_set, d as *mut libc::fd_set, e as *const libc::timespec, mask))
            },
            // SAFETY: as above.
            libc::SYS_epoll_create1 => unsafe { c_long::from(fd::epoll_create1(descriptor)) },
            // SAFETY: as above.
            libc::SYS_epoll_ctl => unsafe {
                c_long::from(poll::epoll_ctl(descriptor, b as c_int, c as c_int, d as *mut libc::epoll_event))
            },
            // SAFETY: as above.
            libc::SYS_epoll_wait => unsafe { c_long::from(poll::epoll_wait(descriptor, at.cast(), c as c_int, d as c_int)) },
            // SAFETY: as above.
            libc::SYS_epoll_pwait => unsafe {
                c_long::from(poll::epoll_pwait(descriptor, at.cast(), c as c_int, d as c_int, e as *const libc::sigset_t))
            },
            // SAFETY: as above.
            libc::SYS_epoll_pwait2 => unsafe {
                c_long::from(poll::epoll_pwait2(descriptor, at.cast(), c as c_int, d as *const libc::timespec, e as *const libc::sigset_t))
            },
            // SAFETY: as above.
            libc::SYS_socket => unsafe { c_long::from(socket::socket(descriptor, b as c_int, c as c_int)) },
            // SAFETY: as above.
            libc::SYS_connect => unsafe { c_long::from(socket::connect(descriptor, at.cast(), c as libc::socklen_t)) },
            // SAFETY: as above.
            libc::SYS_accept => unsafe { c_long::from(socket::accept(descriptor, at.cast(), c as *mut libc::socklen_t)) },
            // SAFETY: as above.
            libc::SYS_accept4 => unsafe {
                c_long::from(socket::accept4(descriptor, at.cast(), c as *mut libc::socklen_t, d as c_int))
            },
            // SAFETY: as above.
            libc::SYS_shutdown => unsafe { c_long::from(socket::shutdown(descriptor, b as c_int)) },
            // SAFETY: as above.
            libc::SYS_setsockopt => unsafe {
                c_long::from(option::setsockopt(descriptor, b as c_int, c as c_int, d as *const c_void, e as libc::socklen_t))
            },
            // SAFETY: as above.
            libc::SYS_ioctl => unsafe { c_long::from(option::ioctl(descriptor, b, c)) },
            // SAFETY: as above.
            libc::SYS_close => unsafe { c_long::from(fd::close(descriptor)) },
            // SAFETY: as above.
            libc::SYS_close_range => unsafe { c_long::from(fd::close_range(a as c_uint, b as c_uint, c as c_int)) },
            // SAFETY: as above.
            libc::SYS_dup => unsafe { c_long::from(fd::dup(descriptor)) },
            // SAFETY: as above.
            libc::SYS_dup2 => unsafe { c_long::from(fd::dup2(descriptor, b as c_int)) },
            // SAFETY: as above.
            libc::SYS_dup3 => unsafe { c_long::from(fd::dup3(descriptor, b as c_int, c as c_int)) },
            // SAFETY: as above.
            libc::SYS_fcntl => unsafe { c_long::from(fd::fcntl(descriptor, b as c_int, c)) },
            // SAFETY: as above.
            libc::SYS_preadv2 => unsafe { io::preadv2(descriptor, at.cast(), c as c_int, d as libc::off_t, f as c_int) as c_long },
            // SAFETY: as above.
            libc::SYS_pwritev2 => unsafe { io::pwritev2(descriptor, at.cast(), c as c_int, d as libc::off_t, f as c_int) as c_long },
            // SAFETY: as above.
            libc::SYS_getsockopt => unsafe {
                c_long::from(option::getsockopt(descriptor, b as c_int, c as c_int, d as *mut c_void, e as *mut libc::socklen_t))
            },
            // SAFETY: as above.
            libc::SYS_epoll_create => unsafe { c_long::from(fd::epoll_create(descriptor)) },
            // SAFETY: as above.
            libc::SYS_execve => unsafe { c_long::from(exec::execve(a as *const c_char, at.cast(), c as *const *const c_char)) },
            // SAFETY: as above.
            libc::SYS_execveat => unsafe {
                c_long::from(exec::execveat(descriptor, at.cast(), c as *const *const c_char, d as *const *const c_char, e as c_int))
            },
            // SAFETY: as above.
            libc::SYS_prctl => unsafe { c_long::from(option::prctl(descriptor, b, c, d, e)) },
            libc::SYS_fork => c_long::from(process::unannounced(|| pass() as c_int)),
            libc::SYS_clone if a as c_int & libc::CLONE_VM == 0 => c_long::from(process::unannounced(|| pass() as c_int)),
            // SAFETY: the program's arguments of clone3, of which the first word are the flags.
            libc::SYS_clone3 if b >= 8 && unsafe { (a as *const u64).read_unaligned() } & libc::CLONE_VM as u64 == 0 => {
                c_long::from(process::unannounced(|| pass() as c_int))
            }
            libc::SYS_exit_group => {
                process::exit();
                pass()
            }
            // An io_uring would move bytes by ways that cannot be seen, so there is none.
            libc::SYS_io_uring_setup => c_long::from(fail(Errno(libc::ENOSYS))),
            _ => {
                // The others, and one without a filter, only ask.
                let confines = a as u32 == libc::SECCOMP_SET_MODE_STRICT
                    || (a as u32 == libc::SECCOMP_SET_MODE_FILTER && c != 0);
                if number == libc::SYS_seccomp && confines {
                    stream::leave_all(Reason::Seccomp);
                }
                pass()
            }
        }
    }
}
