//! The recall: a receiver that reads the ring no more, against a sender that publishes, sleeps, or goes back.

use loom::thread;
use slipstream_loom_tests::endpoint::{Endpoint, moved_pair};
use slipstream_loom_tests::kernel;
use slipstream_loom_tests::model::{fails_without, holds};
use slipstream_ring::Leftover;
use slipstream_ring::carrier::{Carrier, Ready};
use slipstream_ring::sync::modelled::planted;

/// Recalls; whether that came in time.
fn recall(b: &Endpoint) -> bool {
    let recall = || b.deliver(b.link.recall());
    let never = || b.deliver(b.link.set_ready(Ready::Never));
    if planted("recall: the mark before Never") {
        never();
        recall();
    } else {
        recall();
        never();
    }
    loop {
        match b.link.consumer().leftover() {
            Leftover::Undecided => loom::thread::yield_now(),
            leftover => return planted("recall: looks whether it is stranded") || leftover != Leftover::Stranded,
        }
    }
}

/// From here on only TCP counts: what comes through it up to the byte `last`.
fn rest(b: &Endpoint, last: u8, got: &mut Vec<u8>) {
    loop {
        let bytes = b.rx.take(1);
        got.extend(&bytes);
        if got.last() == Some(&last) {
            return;
        }
        if bytes.is_empty() {
            kernel::poll(&b.own_bell, 0, Some(&b.rx));
        }
    }
}

/// Sends a byte over whatever carries, and answers a recall when it sees one.
fn send(a: &Endpoint, byte: &[u8]) {
    if a.link.is_recalled() {
        a.answer();
    }
    if a.link.producer().carrier() == Carrier::Tcp {
        return a.tx.write(byte);
    }
    assert_eq!(a.put(byte), 1);
    if a.link.is_recalled() {
        a.answer();
    }
}

/// The sender sends two bytes and sleeps, as a program does that waits for the reply.
fn from_a_sleeper() {
    let [a, b] = moved_pair(2, 1);
    let sender = thread::spawn(move || {
        send(&a, b"a");
        send(&a, b"z");
        while a.link.producer().carrier() == Carrier::Ring {
            if a.link.is_recalled() {
                a.answer();
            } else {
                a.sleep_on_futex(|| a.link.is_recalled());
            }
        }
    });
    let mut got = Vec::new();
    b.receive_now(&mut got, 1);
    assert!(recall(&b));
    rest(&b, b'z', &mut got);
    assert_eq!(got, b"az");
    sender.join().unwrap();
    assert_eq!(b.rx.peek().1, 0, "something came twice");
}

#[test]
fn what_a_receiver_recalls_comes_once_and_in_order() {
    holds(Some(3), from_a_sleeper);
}

#[test]
fn a_recall_needs_both_its_ends_and_a_wake() {
    let pieces = ["recall/mark + sleep/consume", "recall/look", "sleep/recall", "sleep/arm", "recall: sees the answer"];
    fails_without(&pieces, Some(3), from_a_sleeper);
}

/// The sender goes back, because it wants to or because it must, and sends on over TCP.
fn from_one_that_goes_back() {
    let [a, b] = moved_pair(2, 1);
    let sender = thread::spawn(move || {
        let tx = a.link.producer();
        assert_eq!(a.put(b"a"), 1);
        match tx.try_go_back() {
            Some(wake) => a.deliver(wake),
            None => a.answer(),
        }
        a.tx.write(b"z");
    });
    let mut got = Vec::new();
    b.receive_now(&mut got, 1);
    if recall(&b) {
        rest(&b, b'z', &mut got);
        assert_eq!(got, b"az");
        assert_eq!(b.rx.peek().1, 0, "something came twice");
    }
    sender.join().unwrap();
}

#[test]
fn a_recall_comes_in_time_or_knows_that_it_does_not() {
    holds(Some(3), from_one_that_goes_back);
}

#[test]
fn a_late_recall_needs_a_look_and_the_order_at_both_ends() {
    let pieces =
        ["go_back: looks for a recall", "recall: looks whether it is stranded", "sleep/recall + ready/withdraw"];
    fails_without(&pieces, Some(3), from_one_that_goes_back);
}

/// The sender goes back only because it must, and looks for a recall before the turn alone.
fn from_one_that_must() {
    let [a, b] = moved_pair(2, 1);
    let sender = thread::spawn(move || {
        let tx = a.link.producer();
        assert_eq!(a.put(b"a"), 1);
        while !tx.must_go_back() {
            thread::yield_now();
        }
        if a.link.is_recalled() {
            a.answer();
        } else {
            a.deliver(tx.go_back());
        }
        a.tx.write(b"z");
    });
    assert!(recall(&b));
    let mut got = Vec::new();
    rest(&b, b'z', &mut got);
    assert_eq!(got, b"az");
    sender.join().unwrap();
}

#[test]
fn whoever_goes_back_for_a_recall_sees_it() {
    holds(None, from_one_that_must);
}

#[test]
fn that_needs_the_mark_before_never() {
    fails_without(&["recall: the mark before Never"], None, from_one_that_must);
}
