//! The end: last bytes, marks, the broker's word for a dead peer, and a close beside a sleeper.

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use slipstream_loom_tests::endpoint::{Endpoint, moved_pair};
use slipstream_loom_tests::model::{fails_without, holds};
use slipstream_ring::layout::{MARK_END, MARK_GONE};
use slipstream_ring::sync::modelled::planted;
use slipstream_ring::wait::{Sleep, Waker};
use std::rc::Rc;

/// Receives until the end that `has_ended` knows of.
fn receive_all(b: &Endpoint, has_ended: impl Fn() -> bool, notice: impl Fn() -> bool) -> Vec<u8> {
    let mut got = Vec::new();
    loop {
        b.receive_now(&mut got, 9);
        if has_ended() {
            if !planted("end: look again") {
                b.receive_now(&mut got, 9);
            }
            return got;
        }
        b.sleep_on_futex(&notice);
    }
}

/// The last byte, TCP's end, the mark.
fn last_byte() {
    let [a, b] = moved_pair(1, 1);
    let sender = thread::spawn(move || {
        a.put(b"a");
        a.tx.shutdown();
        a.deliver(a.link.mark_end());
    });
    let got = receive_all(&b, || b.rx.has_ended(), || b.link.peer_marks() & MARK_END != 0);
    assert_eq!(got, b"a");
    sender.join().unwrap();
}

#[test]
fn the_last_byte_comes_before_the_end() {
    holds(Some(4), last_byte);
}

#[test]
fn the_end_needs_a_second_look_and_a_wake() {
    fails_without(&["end: look again", "sleep/end", "sleep/arm"], Some(4), last_byte);
}

/// A mark without any system call beside it.
fn mark_alone() {
    let [a, b] = moved_pair(1, 1);
    let sender = thread::spawn(move || {
        a.put(b"a");
        let _ = a.link.mark_end();
    });
    if b.link.peer_marks() & MARK_END != 0 {
        let mut got = Vec::new();
        b.receive_now(&mut got, 1);
        assert_eq!(got, b"a");
    }
    sender.join().unwrap();
}

#[test]
fn who_sees_the_mark_sees_the_bytes_before_it() {
    holds(None, mark_alone);
}

#[test]
fn marks_need_both_their_ends() {
    fails_without(&["marks/end + sleep/publish", "marks/look"], None, mark_alone);
}

/// The sender died after it published and before it woke anyone; the broker speaks for it.
fn gone() {
    let [a, b] = moved_pair(1, 1);
    let broker = thread::spawn(move || {
        let claim = a.link.producer().claim(1, slipstream_ring::role::Entry::Locked).unwrap();
        // SAFETY: one byte is claimed.
        unsafe { claim.fill(0, b"a".as_ptr(), 1) };
        let _ = a.link.producer().publish();
        // The broker from here on.
        a.link.own().mark_gone();
        a.link.own().futexes().into_iter().for_each(|word| a.wake_all(word));
        a.ring();
    });
    let is_gone = || b.link.peer_marks() & MARK_GONE != 0;
    assert_eq!(receive_all(&b, is_gone, is_gone), b"a");
    broker.join().unwrap();
}

#[test]
fn the_brokers_word_wakes_every_sleeper() {
    holds(Some(4), gone);
}

#[test]
fn the_brokers_word_needs_the_mark_before_the_futex_words() {
    fails_without(&["gone/words", "end: look again"], Some(4), gone);
}

/// The receiver ends while the sender sleeps on a full ring.
fn end_against_a_writer() {
    let [a, b] = moved_pair(1, 1);
    assert_eq!(a.put(b"a"), 1);
    let other = thread::spawn(move || b.deliver(b.link.mark_end()));
    while a.link.peer_marks() & MARK_END == 0 {
        let word = a.link.futex(Sleep::Space);
        let value = word.load(Ordering::Relaxed);
        a.link.arm(Sleep::Space);
        if a.link.peer_marks() & MARK_END == 0 {
            a.futexes.wait(&[(word, value)]);
        }
    }
    other.join().unwrap();
}

#[test]
fn the_end_wakes_a_writer() {
    holds(None, end_against_a_writer);
}

#[test]
fn the_writers_wake_needs_the_order_at_both_ends() {
    fails_without(&["sleep/end", "sleep/arm"], None, end_against_a_writer);
}

/// One thread of an endpoint closes the descriptor that another sleeps on.
fn close_beside_a_sleeper() {
    let [_a, b] = moved_pair(1, 1);
    let closed = Rc::new(AtomicBool::new(false));
    let (other, closed2) = (b.clone(), closed.clone());
    let closer = thread::spawn(move || {
        if planted("close: said after the wake") {
            other.wake_own();
            closed2.store(true, Ordering::Relaxed);
        } else {
            closed2.store(true, Ordering::Relaxed);
            other.wake_own();
        }
    });
    while !closed.load(Ordering::Relaxed) {
        b.sleep_on_futex(|| closed.load(Ordering::Relaxed));
    }
    closer.join().unwrap();
}

#[test]
fn a_close_wakes_the_sleeper_beside_it() {
    holds(None, close_beside_a_sleeper);
}

#[test]
fn a_close_needs_its_order_and_the_sleepers_last_look() {
    let pieces = ["close: said after the wake", "futex: no look after arming"];
    fails_without(&pieces, None, close_beside_a_sleeper);
}
