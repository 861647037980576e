//! The role lock: exclusion, sleep, hand-over from an owner that is gone.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use slipstream_loom_tests::endpoint::{Endpoint, pair};
use slipstream_loom_tests::model::{fails_without, holds};
use slipstream_ring::role::Entry;
use std::rc::Rc;

struct Shared {
    endpoint: Endpoint,
    work: UnsafeCell<u32>,
    /// The thread that the kernel says is gone.
    dead: AtomicU32,
}

fn shared() -> Rc<Shared> {
    let [endpoint, _] = pair(1, 1);
    Rc::new(Shared { endpoint, work: UnsafeCell::new(0), dead: AtomicU32::new(0) })
}

impl Shared {
    fn work(&self) {
        // SAFETY: loom checks that no one else is here.
        self.work.with_mut(|work| unsafe { *work += 1 });
    }

    fn locked_work(&self, me: u32) {
        let lock = self.endpoint.link.tx_lock();
        self.endpoint.lock(lock, me);
        self.work();
        self.endpoint.unlock(lock);
    }

    /// As `locked_work`, for one who asks the kernel about the owner before it sleeps.
    fn locked_work_of_an_heir(&self, me: u32) {
        let lock = self.endpoint.link.tx_lock();
        while let Entry::Held(owner) = lock.try_lock(me) {
            if owner == self.dead.load(Ordering::Acquire) {
                if lock.take_over(owner, me) {
                    break;
                }
                continue;
            }
            if let Some(word) = lock.announce_sleep() {
                self.endpoint.futexes.wait(&[(lock.futex(), word)]);
            }
        }
        self.work();
        self.endpoint.unlock(lock);
    }

    /// The kernel's part of a death.
    fn bury(&self, who: u32) {
        self.dead.store(who, Ordering::Release);
        self.endpoint.futexes.tick();
    }
}

fn three_threads() {
    let shared = shared();
    let others = [2, 3].map(|me| {
        let shared = shared.clone();
        thread::spawn(move || shared.locked_work(me))
    });
    shared.locked_work(1);
    others.into_iter().for_each(|other| other.join().unwrap());
}

#[test]
fn one_at_a_time_and_nobody_sleeps_on_a_free_lock() {
    holds(Some(3), three_threads);
}

#[test]
fn the_lock_needs_both_its_ends_and_wakes_all_who_wait() {
    fails_without(&["role/lock", "role/unlock", "unlock: wakes one"], Some(3), three_threads);
}

/// Two heirs come upon an owner that dies inside.
fn two_heirs() {
    let shared = shared();
    let heirs = [2, 3].map(|me| {
        let shared = shared.clone();
        thread::spawn(move || shared.locked_work_of_an_heir(me))
    });
    let lock = shared.endpoint.link.tx_lock();
    shared.endpoint.lock(lock, 1);
    shared.work();
    shared.bury(1);
    heirs.into_iter().for_each(|heir| heir.join().unwrap());
}

#[test]
fn a_dead_owners_lock_goes_to_one_heir_at_a_time() {
    holds(Some(3), two_heirs);
}

#[test]
fn heirs_need_the_lock_itself() {
    fails_without(&["role/unlock", "role/lock"], Some(3), two_heirs);
}

/// One thread sleeps on the lock of an owner that dies; another takes it over and gives it back.
fn a_sleeper_and_an_heir() {
    let shared = shared();
    let lock = shared.endpoint.link.tx_lock();
    assert_eq!(lock.try_lock(1), Entry::Locked);
    let shared2 = shared.clone();
    let sleeper = thread::spawn(move || shared2.locked_work(2));
    while !lock.take_over(1, 3) {}
    shared.work();
    shared.endpoint.unlock(lock);
    sleeper.join().unwrap();
}

#[test]
fn who_sleeps_on_a_dead_owners_lock_is_woken_by_the_heir() {
    holds(None, a_sleeper_and_an_heir);
}

#[test]
fn the_heir_needs_the_mark_of_those_who_wait() {
    fails_without(&["take_over: keeps the waiters"], None, a_sleeper_and_an_heir);
}
