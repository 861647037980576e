//! Taking and giving back a role lock, with the system calls that the ring leaves to us.

use crate::endpoint::Endpoint;
use crate::{kernel, thread};
use slipstream_ring::Link;
use slipstream_ring::role::{Entry, Exit, RoleLock};

/// Takes the role. Whoever holds it only copies bytes, so the wait is short; a holder that died is replaced.
#[inline]
pub fn enter(lock: &RoleLock) -> Entry {
    let me = thread::current().tid();
    match lock.try_lock(me) {
        Entry::Held(_) => contend(lock, me),
        entry => entry,
    }
}

#[cold]
fn contend(lock: &RoleLock, me: u32) -> Entry {
    let mut turns = 0u32;
    loop {
        match lock.try_lock(me) {
            Entry::Held(owner) => {
                turns += 1;
                if turns < 100 {
                    core::hint::spin_loop();
                    continue;
                }
                if let Some(value) = lock.announce_sleep() {
                    let deadline = kernel::timespec(kernel::now_ns() + 10_000_000);
                    let _ = kernel::futex_wait(lock.futex(), value, &deadline);
                }
                if kernel::is_gone(owner) && lock.take_over(owner, me) {
                    // Whom the dead one may not have woken any more, `leave` wakes.
                    lock.note();
                    return Entry::Locked;
                }
            }
            entry => return entry,
        }
    }
}

/// Whether the calling thread is inside the role, seen from a call that has not entered it: a signal handler's.
pub fn is_mine(lock: &RoleLock) -> bool {
    match lock.try_lock(thread::current().tid()) {
        Entry::Locked => {
            leave(lock, Entry::Locked, || ());
            false
        }
        entry => entry == Entry::Reentered,
    }
}

/// Gives the receiving role back.
#[inline]
pub fn leave_receiving(endpoint: &Endpoint, link: &Link, entry: Entry) {
    leave(link.rx_lock(), entry, || {
        let consumer = link.consumer();
        if let Ok(wake) = consumer.consume(consumer.head(), 0) {
            endpoint.deliver(link, wake);
        }
    });
}

/// Gives the role back; `finish` publishes what nested calls, or a dead holder, have left.
#[inline]
pub fn leave(lock: &RoleLock, entry: Entry, mut finish: impl FnMut()) {
    if entry == Entry::Reentered {
        return;
    }
    loop {
        match lock.unlock() {
            Exit::Unlocked => return,
            Exit::WakeWaiters => return kernel::futex_wake_all(lock.futex()),
            Exit::Noted => finish(),
        }
    }
}
