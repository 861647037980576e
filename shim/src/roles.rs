//! Taking and giving back a role lock, with the system calls that the ring leaves to us.

use crate::endpoint::Endpoint;
use crate::{held, kernel, kin, sender, thread};
use slipstream_ring::Link;
use slipstream_ring::role::{Entry, Exit, RoleLock};

/// Takes the role. Whoever holds it only copies bytes, so the wait is short; a holder that died is replaced.
#[inline]
pub fn enter(lock: &RoleLock) -> Entry {
    let thread = thread::current();
    let me = thread.tid();
    // Noted before it is true: a jump may come at any instruction.
    if thread.roles.get() == 0 {
        thread.role_frame.set(held::here());
    }
    thread.roles.set(thread.roles.get() + 1);
    let entry = match lock.try_lock(me) {
        Entry::Held(_) => contend(lock, me),
        entry => entry,
    };
    if entry == Entry::Reentered {
        thread.roles.set(thread.roles.get() - 1);
    }
    entry
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
                if kin::is_gone(owner) && lock.take_over(owner, me) {
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
            unlock(lock, || ());
            false
        }
        entry => entry == Entry::Reentered,
    }
}

/// The call that entered this role never returns: as its heir, finishes what it has begun.
pub fn inherit(lock: &RoleLock, finish: impl FnMut()) {
    if is_mine(lock) {
        lock.note();
        unlock(lock, finish);
    }
}

/// As [`inherit`], both roles of an endpoint.
#[cold]
pub fn inherit_both(endpoint: &'static Endpoint) {
    if let Some(link) = endpoint.link() {
        inherit(link.tx_lock(), || {
            link.producer().void();
            sender::publish(endpoint, link);
        });
        inherit(link.rx_lock(), || repeat_consumption(endpoint, link));
    }
}

/// Gives the receiving role back.
#[inline]
pub fn leave_receiving(endpoint: &Endpoint, link: &Link, entry: Entry) {
    leave(link.rx_lock(), entry, || repeat_consumption(endpoint, link));
}

fn repeat_consumption(endpoint: &Endpoint, link: &Link) {
    let consumer = link.consumer();
    if let Ok(wake) = consumer.consume(consumer.head(), 0) {
        endpoint.deliver(link, wake);
    }
}

/// Gives the role back; `finish` publishes what nested calls, or a dead holder, have left.
#[inline]
pub fn leave(lock: &RoleLock, entry: Entry, finish: impl FnMut()) {
    if entry == Entry::Reentered {
        return;
    }
    unlock(lock, finish);
    let roles = &thread::current().roles;
    roles.set(roles.get() - 1);
}

#[inline]
fn unlock(lock: &RoleLock, mut finish: impl FnMut()) {
    loop {
        match lock.unlock() {
            Exit::Unlocked => return,
            Exit::WakeWaiters => return kernel::futex_wake_all(lock.futex()),
            Exit::Noted => finish(),
        }
    }
}
