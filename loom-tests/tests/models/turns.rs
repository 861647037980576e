//! Switch and go back, against concurrent readers and writers; the second switch.

use loom::thread;
use slipstream_loom_tests::endpoint::{Endpoint, moved_pair, pair};
use slipstream_loom_tests::model::{fails_without, holds};
use slipstream_ring::Look;
use slipstream_ring::carrier::{Carrier, Ready};
use slipstream_ring::gate::Gate;
use std::rc::Rc;

/// Sends a byte through the ring if the direction is, or may go, there; else over TCP.
fn send_somehow(a: &Endpoint, byte: &[u8]) {
    let tx = a.link.producer();
    if tx.carrier() == Carrier::Tcp && tx.may_switch() {
        tx.switch(a.tx.written()).unwrap();
    }
    if tx.carrier() == Carrier::Ring {
        assert_eq!(a.put(byte), 1);
    } else {
        a.tx.write(byte);
    }
}

fn go_back(a: &Endpoint) {
    if a.link.producer().carrier() == Carrier::Ring {
        a.deliver(a.link.producer().go_back());
    }
}

/// `a` over TCP, `b` through the ring, `c` over TCP, and `d` through the ring if the receiver has followed by then.
fn there_and_back() {
    let [a, b] = pair(2, 1);
    b.deliver(b.link.set_ready(Ready::Ready));
    let sender = thread::spawn(move || {
        a.tx.write(b"a");
        send_somehow(&a, b"b");
        go_back(&a);
        a.tx.write(b"c");
        send_somehow(&a, b"d");
    });
    assert_eq!(b.receive(1, 0, 4), b"abcd");
    sender.join().unwrap();
}

#[test]
fn no_byte_is_lost_or_overtaken_on_the_way_there_and_back_and_there() {
    holds(Some(2), there_and_back);
}

#[test]
fn turns_need_both_their_ends_and_the_second_look() {
    let pieces =
        ["turn/take", "turn/look", "receive: look again after the peek", "sleep/go_back", "sleep/publish", "sleep/arm"];
    fails_without(&pieces, Some(2), there_and_back);
}

#[test]
fn a_second_switch_waits_until_the_first_go_back_was_followed() {
    fails_without(&["may_switch: only when followed"], Some(2), there_and_back);
}

/// Nothing but turns, so that no system call lends its order.
fn bare_turns() {
    let [a, b] = pair(1, 1);
    b.deliver(b.link.set_ready(Ready::Ready));
    let sender = thread::spawn(move || {
        let tx = a.link.producer();
        assert!(tx.may_switch());
        tx.switch(0).unwrap();
        let _ = tx.go_back();
        if tx.may_switch() {
            tx.switch(0).unwrap();
        }
    });
    let rx = b.link.consumer();
    for _ in 0..2 {
        match rx.look().unwrap() {
            Look::Tcp { turn, until: Some(0) } | Look::Crossing { turn } => rx.follow(turn).unwrap(),
            _ => {}
        }
    }
    sender.join().unwrap();
}

#[test]
fn no_boundary_is_overwritten_that_may_still_be_read() {
    holds(None, bare_turns);
}

#[test]
fn boundaries_need_both_ends_of_followed() {
    let pieces = ["may_switch: only when followed", "followed/follow", "followed/may_switch"];
    fails_without(&pieces, None, bare_turns);
}

/// Two readers, each for one byte, asleep at the ring; the direction goes back before the first.
fn two_readers() {
    let [a, b] = moved_pair(1, 2);
    let other = b.clone();
    let second = thread::spawn(move || other.receive(2, 1, 1));
    let sender = thread::spawn(move || {
        go_back(&a);
        a.tx.write(b"a");
        a.tx.write(b"b");
    });
    let mut got = b.receive(1, 0, 1);
    got.extend(second.join().unwrap());
    got.sort_unstable();
    assert_eq!(got, b"ab");
    sender.join().unwrap();
}

#[test]
fn whoever_crosses_takes_the_other_readers_along() {
    holds(Some(2), two_readers);
}

#[test]
fn other_readers_need_the_crossers_wake_and_a_fresh_look_at_the_carrier() {
    let pieces = ["follow: wakes the others", "poll: carrier from before arming"];
    fails_without(&pieces, Some(2), two_readers);
}

/// Two writers: one that writes plainly to TCP if the gate still lets it, one that switches.
fn two_writers() {
    let [a, b] = pair(2, 1);
    b.deliver(b.link.set_ready(Ready::Ready));
    let gate = Rc::new(Gate::new());
    let (other, gate2) = (a.clone(), gate.clone());
    let plain = thread::spawn(move || {
        if gate2.enter() {
            other.tx.write(b"x");
            gate2.leave();
        } else {
            let lock = other.link.tx_lock();
            other.lock(lock, 2);
            if other.link.producer().carrier() == Carrier::Ring {
                other.put(b"x");
            } else {
                other.tx.write(b"x");
            }
            other.unlock(lock);
        }
    });
    let switcher = thread::spawn(move || {
        gate.shut();
        let lock = a.link.tx_lock();
        a.lock(lock, 1);
        if gate.is_empty() {
            send_somehow(&a, b"y");
        } else {
            a.tx.write(b"y");
        }
        a.unlock(lock);
    });
    let mut got = b.receive(3, 0, 2);
    got.sort_unstable();
    assert_eq!(got, b"xy");
    plain.join().unwrap();
    switcher.join().unwrap();
}

#[test]
fn no_plain_write_lands_behind_a_switch() {
    holds(Some(3), two_writers);
}

#[test]
fn writers_need_the_gate() {
    fails_without(&["gate/enter", "gate/shut"], Some(3), two_writers);
}
