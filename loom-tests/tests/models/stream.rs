//! Produce and consume, with wrap; full and empty, asleep on a futex.

use loom::thread;
use slipstream_loom_tests::endpoint::moved_pair;
use slipstream_loom_tests::model::{fails_without, holds};

/// Three bytes through a ring of two: the third takes the place of the first. Nobody sleeps.
fn wrap() {
    let [a, b] = moved_pair(2, 1);
    let sender = thread::spawn(move || {
        let mut left: &[u8] = b"abc";
        while !left.is_empty() {
            let sent = a.put(left);
            left = &left[sent..];
            if sent == 0 {
                thread::yield_now();
            }
        }
    });
    let mut got = Vec::new();
    while got.len() < 3 {
        let room = 3 - got.len();
        b.receive_now(&mut got, room);
        thread::yield_now();
    }
    assert_eq!(got, b"abc");
    sender.join().unwrap();
}

#[test]
fn bytes_arrive_whole_and_in_order_over_the_wrap() {
    holds(None, wrap);
}

#[test]
fn bytes_need_both_ends_of_data_and_of_space() {
    fails_without(&["data/publish", "data/look", "space/consume", "space/claim"], None, wrap);
}

/// Three bytes through a ring of one: both sides sleep.
fn asleep() {
    let [a, b] = moved_pair(1, 1);
    let sender = thread::spawn(move || a.send_all(b"abc"));
    assert_eq!(b.receive_on_futex(1, 3), b"abc");
    sender.join().unwrap();
}

#[test]
fn nobody_sleeps_on_a_full_or_an_empty_ring_for_ever() {
    holds(Some(3), asleep);
}

#[test]
fn sleep_needs_the_order_between_publication_and_epoch_at_each_end() {
    fails_without(&["sleep/publish", "sleep/consume", "sleep/arm", "futex: no look after arming"], Some(3), asleep);
}

/// Two readers on one endpoint, each for one of two bytes, both asleep on the same futex.
fn two_readers() {
    let [a, b] = moved_pair(2, 1);
    let other = b.clone();
    let second = thread::spawn(move || other.receive_on_futex(2, 1));
    let sender = thread::spawn(move || {
        a.put(b"a");
        a.put(b"b");
    });
    let mut got = b.receive_on_futex(1, 1);
    got.extend(second.join().unwrap());
    got.sort_unstable();
    assert_eq!(got, b"ab");
    sender.join().unwrap();
}

#[test]
fn a_wake_that_another_reader_profits_from_is_not_the_last() {
    holds(Some(2), two_readers);
}

#[test]
fn two_sleepers_need_the_word_read_before_the_epoch_is_raised() {
    fails_without(&["futex: values read after arming", "sleep/publish", "sleep/arm"], Some(2), two_readers);
}
