//! The doorbell: arming against publishing, with two sleepers.

use loom::thread;
use slipstream_loom_tests::endpoint::moved_pair;
use slipstream_loom_tests::model::{fails_without, holds};
use slipstream_ring::wait::Sleep;

/// Two threads poll one endpoint, each in its own hub and each for one of two bytes.
fn two_pollers() {
    let [a, b] = moved_pair(2, 2);
    let other = b.clone();
    let second = thread::spawn(move || other.receive(2, 1, 1));
    let sender = thread::spawn(move || {
        a.put(b"a");
        a.put(b"b");
    });
    let mut got = b.receive(1, 0, 1);
    got.extend(second.join().unwrap());
    got.sort_unstable();
    assert_eq!(got, b"ab");
    sender.join().unwrap();
}

#[test]
fn every_poller_hears_the_bell() {
    holds(Some(2), two_pollers);
}

#[test]
fn pollers_need_the_arming_order_and_a_hub_each() {
    let pieces = [
        "sleep/publish",
        "sleep/arm",
        "poll: no look after arming",
        "poll: harvest after arming",
        "poll: one hub for all",
    ];
    fails_without(&pieces, Some(2), two_pollers);
}

/// One sleeps for two bytes; beside it another announces sleeps that something else ends, and takes them back.
fn a_sleep_that_ends_otherwise() {
    let [a, b] = moved_pair(2, 1);
    let other = b.clone();
    let second = thread::spawn(move || {
        for _ in 0..2 {
            let armed = other.link.arm(Sleep::Poll);
            other.link.disarm(Sleep::Poll, armed);
        }
    });
    let sender = thread::spawn(move || {
        a.put(b"a");
        a.put(b"b");
    });
    assert_eq!(b.receive(1, 0, 2), b"ab");
    second.join().unwrap();
    sender.join().unwrap();
}

#[test]
fn who_takes_an_announcement_back_robs_nobody() {
    holds(Some(3), a_sleep_that_ends_otherwise);
}

#[test]
fn an_announcement_is_taken_back_alone_and_only_if_it_is_the_last() {
    let pieces = ["disarm: only when alone", "disarm: only its own epoch"];
    fails_without(&pieces, Some(3), a_sleep_that_ends_otherwise);
}
