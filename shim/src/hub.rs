//! The calling thread's own epoll set, for waits in which TCP sockets and doorbells meet: the doorbells are in it,
//! edge-triggered, and it stands beside the sockets. Made once per thread, numbered high, closed when the thread ends.

use crate::{descriptor, kernel, thread};
use core::cell::Cell;
use core::ffi::c_int;

/// The thread's hub, for one wait. A signal handler's wait within a wait has one of its own.
pub struct Hub {
    fd: c_int,
}

impl Hub {
    /// `Err` without descriptors.
    pub fn take() -> kernel::Result<Self> {
        let place = &thread::current().hub;
        match place.replace(0) - 1 {
            // The program may have taken its number.
            fd if descriptor::is_own(fd) => Ok(Self { fd }),
            _ => Ok(Self { fd: descriptor::own_set()? }),
        }
    }

    /// One that was taken by a call that will not give it back itself.
    pub fn taken(fd: c_int) -> Self {
        Self { fd }
    }

    pub fn fd(&self) -> c_int {
        self.fd
    }

    /// Listens to a doorbell. What it rang before counts as an event too: [`Hub::clear`].
    pub fn listen(&self, bell: c_int) {
        // The same bell twice is refused, and is there once.
        let _ = kernel::epoll_ctl(self.fd, libc::EPOLL_CTL_ADD, bell, (libc::EPOLLIN | libc::EPOLLET) as u32, 0);
    }

    /// Stops listening.
    pub fn leave(&self, bell: c_int) {
        let _ = kernel::epoll_ctl(self.fd, libc::EPOLL_CTL_DEL, bell, 0, 0);
    }

    /// Takes what was rung until now: it is in the look that follows the arming.
    pub fn clear(&self) {
        let mut rung = [libc::epoll_event { events: 0, u64: 0 }; 64];
        while kernel::epoll_harvest(self.fd, &mut rung) == Ok(rung.len()) {}
    }

    /// Gives it back for the thread's next wait.
    pub fn give(self) {
        let thread = thread::current();
        if thread.hub.get() == 0 && descriptor::is_own(self.fd) {
            thread.hub.set(self.fd + 1);
        } else {
            descriptor::close_own(self.fd);
        }
        if thread.ending.get() {
            // There may be no later moment.
            forget();
        }
    }
}

/// The thread's signalfd, readable while one of `signals` waits for it.
pub fn signals(signals: u64) -> kernel::Result<c_int> {
    let place = &thread::current().signals;
    if !descriptor::is_own(place.get() - 1) {
        place.set(descriptor::raise(kernel::signalfd(-1, signals)?)? + 1);
    } else {
        kernel::signalfd(place.get() - 1, signals)?;
    }
    Ok(place.get() - 1)
}

/// A descriptor of the shim's own has another number: whether it is one of the calling thread's.
pub fn relocate(from: c_int, to: c_int) -> bool {
    let thread = thread::current();
    let place = [&thread.hub, &thread.signals].into_iter().find(|place| place.get() == from + 1);
    place.inspect(|place| place.set(to + 1)).is_some()
}

/// The calling thread ends, or is a forked child's: its descriptors are the parent's too.
pub fn forget() {
    let thread = thread::current();
    let close = |place: &Cell<c_int>| match place.replace(0) {
        0 => {}
        fd => descriptor::close_own(fd - 1),
    };
    close(&thread.hub);
    close(&thread.signals);
}
