//! Readiness: what was prepared, withdrawal against a switch, and the verification before it.

use loom::cell::UnsafeCell;
use loom::sync::atomic::Ordering;
use loom::thread;
use slipstream_loom_tests::endpoint::{moved_pair, pair};
use slipstream_loom_tests::model::{fails_without, holds};
use slipstream_ring::carrier::Ready;
use slipstream_ring::layout::GRID;
use slipstream_ring::sync::modelled::planted;
use slipstream_ring::verify::{Prefix, Verdict};
use slipstream_ring::wait::Sleep;
use std::rc::Rc;

/// The receiver withdraws while the sender switches; it looks at the ring only if it sees itself behind.
fn withdrawal() {
    let [a, b] = pair(1, 1);
    b.deliver(b.link.set_ready(Ready::Ready));
    let sender = thread::spawn(move || {
        let tx = a.link.producer();
        if tx.may_switch() {
            match tx.switch(0) {
                Ok(()) => {
                    a.put(b"a");
                    return;
                }
                Err(wake) if planted("switch: wakes when it is taken back") => _ = wake,
                Err(wake) => a.deliver(wake),
            }
        }
        a.tx.write(b"a");
    });
    b.deliver(b.link.set_ready(Ready::Never));
    if b.link.consumer().is_behind() {
        assert_eq!(b.receive(1, 0, 1), b"a");
        sender.join().unwrap();
    } else {
        sender.join().unwrap();
        assert_eq!(b.rx.take(1), b"a");
    }
}

#[test]
fn a_withdrawal_comes_in_time_or_knows_that_it_does_not() {
    holds(Some(4), withdrawal);
}

#[test]
fn a_withdrawal_needs_the_order_at_both_ends() {
    let pieces = ["ready/withdraw", "ready/switch", "switch: wakes when it is taken back", "sleep/go_back"];
    fails_without(&pieces, Some(4), withdrawal);
}

/// The receiver withdraws while the sender sleeps on a full ring.
fn withdrawal_from_a_full_ring() {
    let [a, b] = moved_pair(1, 1);
    assert_eq!(a.put(b"a"), 1);
    let sender = thread::spawn(move || {
        let tx = a.link.producer();
        loop {
            let word = a.link.futex(Sleep::Space);
            let value = word.load(Ordering::Relaxed);
            a.link.arm(Sleep::Space);
            if tx.must_go_back() {
                break;
            }
            a.futexes.wait(&[(word, value)]);
        }
        a.deliver(tx.go_back());
        a.tx.write(b"b");
    });
    b.deliver(b.link.set_ready(Ready::Never));
    sender.join().unwrap();
    assert_eq!(b.receive(1, 0, 2), b"ab");
}

#[test]
fn a_withdrawal_wakes_the_writer() {
    holds(None, withdrawal_from_a_full_ring);
}

#[test]
fn the_writer_needs_the_order_at_both_ends() {
    fails_without(&["ready/withdraw", "sleep/arm"], None, withdrawal_from_a_full_ring);
}

/// One thread makes the endpoint ready while another gives the ring up.
fn ready_against_never() {
    let [a, b] = pair(1, 1);
    let other = b.clone();
    let ready = thread::spawn(move || other.deliver(other.link.set_ready(Ready::Ready)));
    b.deliver(b.link.set_ready(Ready::Never));
    ready.join().unwrap();
    assert!(a.link.producer().must_go_back() && !a.link.producer().may_switch());
}

#[test]
fn never_is_for_ever() {
    holds(None, ready_against_never);
}

/// The receiver prepares something that the sender uses once it sees it ready.
fn prepared() {
    let [a, b] = pair(1, 1);
    let cell = Rc::new(UnsafeCell::new(0));
    let cell2 = cell.clone();
    let sender = thread::spawn(move || {
        if a.link.producer().may_switch() {
            // SAFETY: loom checks that no one writes meanwhile.
            cell2.with(|cell| assert_eq!(unsafe { *cell }, 1));
        }
    });
    // SAFETY: loom checks that no one is here meanwhile.
    cell.with_mut(|cell| unsafe { *cell = 1 });
    b.deliver(b.link.set_ready(Ready::Ready));
    sender.join().unwrap();
}

#[test]
fn who_sees_ready_sees_what_was_prepared() {
    holds(None, prepared);
}

#[test]
fn ready_needs_both_its_ends() {
    fails_without(&["ready/set", "ready/may_switch"], None, prepared);
}

/// Both sides post and compare; one of them has seen another byte.
fn verification() {
    let [a, b] = pair(1, 1);
    let prefix = |bytes, digest| Prefix { bytes, digest: [digest; GRID] };
    let other = thread::spawn(move || {
        b.link.post(&prefix(0, 0), &prefix(1, 8));
        assert_ne!(b.link.verdict(), Verdict::Same);
    });
    a.link.post(&prefix(1, 9), &prefix(0, 0));
    assert_ne!(a.link.verdict(), Verdict::Same);
    other.join().unwrap();
    assert_eq!(a.link.verdict(), Verdict::Differs);
}

#[test]
fn no_side_takes_an_unfinished_posting_for_agreement() {
    holds(None, verification);
}

#[test]
fn a_posting_needs_both_its_ends() {
    fails_without(&["posted/post", "posted/verdict"], None, verification);
}
