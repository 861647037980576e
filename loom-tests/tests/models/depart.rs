//! The departure: a sender that leaves the ring for good, against a receiver that reads on, sleeps, or recalls.

use loom::thread;
use slipstream_loom_tests::endpoint::{Endpoint, moved_pair};
use slipstream_loom_tests::kernel;
use slipstream_loom_tests::model::{fails_without, holds};
use slipstream_ring::Leftover;
use slipstream_ring::carrier::Ready;

/// Sends two bytes, leaves, and sends on over TCP by ways that the shim does not see.
fn departing(a: &Endpoint) {
    assert_eq!(a.put(b"ab"), 2);
    a.depart();
    a.tx.write(b"z");
}

fn from_a_reader() {
    let [a, b] = moved_pair(2, 1);
    let sender = thread::spawn(move || departing(&a));
    assert_eq!(b.receive(2, 0, 3), b"abz");
    sender.join().unwrap();
    assert_eq!(b.rx.peek().1, 0, "something came twice");
}

#[test]
fn who_reads_on_gets_everything_once() {
    holds(Some(3), from_a_reader);
}

#[test]
fn that_needs_what_is_void_dropped_and_said_with_the_turn() {
    fails_without(&["receive: drops what is void", "turn/take + sleep/go_back"], Some(3), from_a_reader);
}

/// From here on only TCP counts.
fn rest(b: &Endpoint, mut void: u64) -> Vec<u8> {
    let mut got = Vec::new();
    while got.last() != Some(&b'z') {
        let bytes = b.rx.take(1);
        if bytes.is_empty() {
            kernel::poll(&b.own_bell, 0, Some(&b.rx));
        } else if void > 0 {
            void -= 1;
        } else {
            got.extend(bytes);
        }
    }
    got
}

fn from_one_that_recalls() {
    let [a, b] = moved_pair(2, 1);
    let sender = thread::spawn(move || departing(&a));
    let mut got = Vec::new();
    b.receive_now(&mut got, 1);
    b.deliver(b.link.recall());
    b.deliver(b.link.set_ready(Ready::Never));
    let void = loop {
        match b.link.consumer().leftover() {
            Leftover::Undecided => thread::yield_now(),
            Leftover::Nothing | Leftover::Resent => break 0,
            Leftover::Copied => break b.link.consumer().void(),
            Leftover::Stranded => panic!("a sender that departs strands nobody"),
        }
    };
    got.extend(rest(&b, void));
    assert_eq!(got, b"abz");
    sender.join().unwrap();
    assert_eq!(b.rx.peek().1, 0, "something came twice");
}

#[test]
fn who_recalls_finds_everything_on_tcp_once() {
    holds(Some(3), from_one_that_recalls);
}

#[test]
fn that_needs_the_senders_word_and_both_looks() {
    let pieces = [
        "recall: waits for the sender's word",
        "go_back: looks for a recall",
        "sleep/recall + ready/withdraw",
        "leaving/decide",
        "leaving/look",
    ];
    fails_without(&pieces, Some(3), from_one_that_recalls);
}

/// Reads all that is in the ring and closes, at the moment at which the sender departs. Whatever comes over TCP after the
/// close is answered with a reset.
fn from_one_that_closes() {
    let [a, b] = moved_pair(2, 1);
    let sender = thread::spawn(move || {
        assert_eq!(a.put(b"ab"), 2);
        a.depart();
    });
    let mut got = Vec::new();
    while got.len() < 2 {
        b.receive_now(&mut got, 2);
        thread::yield_now();
    }
    b.link.mark_closed();
    let consumer = b.link.consumer();
    while consumer.void() > 0 {
        consumer.note_dropped(b.rx.take(2).len() as u64);
        thread::yield_now();
    }
    let taken = b.rx.peek().0;
    sender.join().unwrap();
    assert_eq!(b.rx.peek(), (taken, 0), "something came after the close");
}

#[test]
fn nothing_comes_after_a_close() {
    holds(Some(3), from_one_that_closes);
}

#[test]
fn that_needs_the_mark_and_both_looks() {
    fails_without(&["depart: looks for a close", "closed/mark + closed/look"], Some(3), from_one_that_closes);
}
