//! Owners of a role that vanish before any single access, and their heirs.

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use slipstream_loom_tests::endpoint::{Endpoint, moved_pair, pair};
use slipstream_loom_tests::kernel;
use slipstream_loom_tests::model::{fails_at_some_access_without, holds_at_every_access};
use slipstream_ring::carrier::{Carrier, Ready};
use slipstream_ring::role::{Entry, RoleLock};
use slipstream_ring::sync::modelled::{call_off, interrupt_after, planted};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// The one that vanishes, its heir, and whoever else there is.
const DEAD: u32 = 1;
const HEIR: u32 = 2;
const OTHER: u32 = 3;

/// Runs `life` until its thread vanishes before its `place + 1`-th access; whether it did.
fn vanishes(place: usize, life: impl FnOnce()) -> bool {
    struct Vanished;
    interrupt_after(place, || resume_unwind(Box::new(Vanished)));
    let outcome = catch_unwind(AssertUnwindSafe(life));
    call_off();
    match outcome {
        Ok(()) => false,
        Err(cause) if cause.is::<Vanished>() => true,
        Err(cause) => resume_unwind(cause),
    }
}

/// Takes the lock, from the dead if they have it; whether they had.
fn inherit(lock: &RoleLock, dead: &[u32], me: u32) -> bool {
    loop {
        match lock.try_lock(me) {
            Entry::Locked => return false,
            Entry::Held(owner) if dead.contains(&owner) => {
                if lock.take_over(owner, me) {
                    return true;
                }
            }
            _ => thread::yield_now(),
        }
    }
}

/// An heir's first steps as a sender.
fn inherit_sending(a: &Endpoint, dead: &[u32], me: u32) {
    let tx = a.link.producer();
    if inherit(a.link.tx_lock(), dead, me) {
        if !planted("heir: publishes first") {
            a.deliver(tx.publish());
        }
        if tx.carrier() == Carrier::Ring && tx.must_go_back() && !planted("heir: looks whether it must go back") {
            a.deliver(tx.go_back());
        }
    }
}

/// An heir's first steps as a receiver.
fn inherit_receiving(b: &Endpoint, dead: &[u32], me: u32) {
    let rx = b.link.consumer();
    if inherit(b.link.rx_lock(), dead, me) && !planted("heir: consumes first") {
        b.deliver(rx.consume(rx.head(), 0).unwrap());
    }
}

fn send(a: &Endpoint, bytes: &[u8]) {
    if a.link.producer().carrier() == Carrier::Ring {
        assert_eq!(a.put(bytes), bytes.len());
    } else {
        a.tx.write(bytes);
    }
}

fn locked_send(a: &Endpoint, me: u32, bytes: &[u8]) {
    a.lock(a.link.tx_lock(), me);
    send(a, bytes);
    a.unlock(a.link.tx_lock());
}

/// The heir sends only if the dead has not; the reader sleeps.
fn a_sender(place: usize) -> bool {
    let [a, b] = moved_pair(4, 1);
    let reader = thread::spawn(move || assert_eq!(b.receive_on_futex(OTHER, 2), b"ab"));
    let vanished = vanishes(place, || locked_send(&a, DEAD, b"ab"));
    inherit_sending(&a, &[DEAD], HEIR);
    if a.link.producer().tail() == 0 {
        send(&a, b"ab");
    }
    a.unlock(a.link.tx_lock());
    reader.join().unwrap();
    vanished
}

#[test]
fn a_sender_may_vanish_anywhere() {
    holds_at_every_access(Some(3), a_sender);
}

#[test]
fn the_heir_of_a_sender_owes_its_wakes() {
    fails_at_some_access_without(&["heir: publishes first", "deliver: served last"], Some(3), a_sender);
}

/// A second sender waits for the lock, and becomes the heir when it learns of the death.
fn a_sender_beside_another(place: usize) -> bool {
    let [a, b] = moved_pair(4, 1);
    let dead = Rc::new(AtomicBool::new(false));
    let (other, dead2) = (a.clone(), dead.clone());
    let heir = thread::spawn(move || {
        let lock = other.link.tx_lock();
        loop {
            match lock.try_lock(HEIR) {
                Entry::Locked => break,
                Entry::Held(DEAD) if dead2.load(Ordering::Acquire) => inherit_sending(&other, &[DEAD], HEIR),
                _ => {
                    if let Some(word) = lock.announce_sleep() {
                        other.futexes.wait(&[(lock.futex(), word)]);
                    }
                    continue;
                }
            }
            break;
        }
        send(&other, b"z");
        other.unlock(lock);
    });
    let vanished = vanishes(place, || locked_send(&a, DEAD, b"ab"));
    if vanished {
        dead.store(true, Ordering::Release);
        a.futexes.tick();
    }
    heir.join().unwrap();
    let mut got = Vec::new();
    b.receive_now(&mut got, 9);
    assert!([&b"abz"[..], b"zab", b"z"].contains(&&got[..]) && (vanished || got.len() == 3), "{got:?}");
    vanished
}

#[test]
fn a_sender_may_vanish_anywhere_beside_one_that_waits() {
    holds_at_every_access(None, a_sender_beside_another);
}

/// Both the first sender and its heir vanish; the third goes on. Nothing else runs.
fn two_senders(first: usize) -> bool {
    let mut came = false;
    for second in 0.. {
        let [a, b] = moved_pair(8, 1);
        came = vanishes(first, || locked_send(&a, DEAD, b"ab"));
        let again = vanishes(second, || {
            inherit_sending(&a, &[DEAD], HEIR);
            send(&a, b"cd");
            a.unlock(a.link.tx_lock());
        });
        inherit_sending(&a, &[DEAD, HEIR], OTHER);
        send(&a, b"z");
        a.unlock(a.link.tx_lock());
        let mut got = Vec::new();
        b.receive_now(&mut got, 9);
        assert!([&b"abcdz"[..], b"abz", b"cdz", b"z"].contains(&&got[..]), "{got:?}");
        if !again {
            break;
        }
    }
    came
}

#[test]
fn an_heir_may_vanish_too() {
    holds_at_every_access(None, two_senders);
}

fn turns(a: &Endpoint) {
    let tx = a.link.producer();
    a.lock(a.link.tx_lock(), DEAD);
    a.tx.write(b"a");
    if tx.may_switch()
        && let Err(wake) = tx.switch(a.tx.written())
    {
        a.deliver(wake);
    }
    send(a, b"b");
    if tx.carrier() == Carrier::Ring {
        a.deliver(tx.go_back());
    }
    a.tx.write(b"c");
    a.unlock(a.link.tx_lock());
}

/// The sender vanishes on its way there and back; the reader sleeps.
fn a_sender_between_turns(place: usize) -> bool {
    let [a, b] = pair(2, 1);
    b.deliver(b.link.set_ready(Ready::Ready));
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        while got.last() != Some(&b'z') {
            got.extend(b.receive(OTHER, 0, 1));
        }
        assert!([&b"abcz"[..], b"abz", b"az", b"z"].contains(&&got[..]), "{got:?}");
    });
    let vanished = vanishes(place, || turns(&a));
    inherit_sending(&a, &[DEAD], HEIR);
    send(&a, b"z");
    a.unlock(a.link.tx_lock());
    reader.join().unwrap();
    vanished
}

#[test]
fn a_sender_may_vanish_between_turns() {
    holds_at_every_access(Some(1), a_sender_between_turns);
}

/// The sender vanishes in a switch that the receiver has withdrawn from; who sees itself in time reads TCP alone.
fn a_sender_in_a_late_switch(place: usize) -> bool {
    let [a, b] = pair(2, 2);
    b.deliver(b.link.set_ready(Ready::Ready));
    let reader = thread::spawn(move || {
        b.deliver(b.link.set_ready(Ready::Never));
        let behind = b.link.consumer().is_behind();
        let mut got = Vec::new();
        while got.last() != Some(&b'z') {
            if behind {
                got.extend(b.receive(OTHER, 0, 1));
            } else {
                got.extend(b.rx.take(1));
                if got.last() != Some(&b'z') {
                    kernel::poll(&b.own_bell, 1, Some(&b.rx));
                }
            }
        }
    });
    let vanished = vanishes(place, || {
        a.lock(a.link.tx_lock(), DEAD);
        if a.link.producer().may_switch()
            && let Err(wake) = a.link.producer().switch(0)
        {
            a.deliver(wake);
        }
        a.unlock(a.link.tx_lock());
    });
    inherit_sending(&a, &[DEAD], HEIR);
    send(&a, b"z");
    a.unlock(a.link.tx_lock());
    reader.join().unwrap();
    vanished
}

#[test]
fn a_sender_may_vanish_in_a_switch_that_comes_too_late() {
    holds_at_every_access(Some(3), a_sender_in_a_late_switch);
}

#[test]
fn the_heir_of_a_sender_looks_whether_it_must_go_back() {
    fails_at_some_access_without(&["heir: looks whether it must go back"], Some(3), a_sender_in_a_late_switch);
}

/// The receiver vanishes while the sender sleeps on a full ring. What it has consumed is gone with it, nothing else.
fn a_receiver(place: usize) -> bool {
    let [a, b] = moved_pair(2, 1);
    let sender = thread::spawn(move || a.send_all(b"abcd"));
    let vanished = vanishes(place, || assert_eq!(b.receive_on_futex(DEAD, 2), b"ab"));
    inherit_receiving(&b, &[DEAD], HEIR);
    let head = b.link.consumer().head() as usize;
    b.unlock(b.link.rx_lock());
    if head < 4 {
        assert_eq!(b.receive_until(HEIR, b'd'), &b"abcd"[head..]);
    }
    sender.join().unwrap();
    vanished
}

#[test]
fn a_receiver_may_vanish_anywhere() {
    holds_at_every_access(Some(1), a_receiver);
}

#[test]
fn the_heir_of_a_receiver_owes_its_wakes() {
    fails_at_some_access_without(&["heir: consumes first", "deliver: served last"], Some(1), a_receiver);
}

/// The receiver vanishes while it follows turns that the sender goes on taking.
fn a_receiver_between_turns(place: usize) -> bool {
    let [a, b] = pair(2, 1);
    b.deliver(b.link.set_ready(Ready::Ready));
    let sender = thread::spawn(move || {
        turns(&a);
        if a.link.producer().may_switch() {
            a.link.producer().switch(a.tx.written()).unwrap();
        }
        send(&a, b"z");
    });
    let vanished = vanishes(place, || assert_eq!(b.receive(DEAD, 0, 3), b"abc"));
    inherit_receiving(&b, &[DEAD], HEIR);
    b.unlock(b.link.rx_lock());
    let mut got = Vec::new();
    while got.last() != Some(&b'z') {
        got.extend(b.receive(HEIR, 0, 1));
    }
    assert!(b"abcz".ends_with(&got), "{got:?}");
    sender.join().unwrap();
    vanished
}

#[test]
fn a_receiver_may_vanish_between_turns() {
    holds_at_every_access(Some(1), a_receiver_between_turns);
}
