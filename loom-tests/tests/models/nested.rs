//! A signal handler that uses the endpoint its thread is inside, before each single access of the outer call.
//!
//! No two threads: every model tries all places for one handler, or for two.

use slipstream_loom_tests::endpoint::{Endpoint, moved_pair, pair};
use slipstream_loom_tests::model::{fails_without, holds};
use slipstream_ring::carrier::{Carrier, Ready};
use slipstream_ring::role::{Entry, Exit};
use slipstream_ring::sync::modelled::{call_off, interrupt_after, planted, with_signals_blocked};
use std::cell::RefCell;
use std::rc::Rc;

const ME: u32 = 1;

/// Runs `case` for a handler before its first, second, third … access, until it says that the handler came too late.
fn at_every_access(case: impl Fn(usize) -> bool) {
    (0..).take_while(|place| case(*place)).count();
}

/// A whole send: as many of `bytes` as there is room for, over the carrier of the moment.
fn send(a: &Endpoint, bytes: &[u8]) -> usize {
    let (lock, tx) = (a.link.tx_lock(), a.link.producer());
    let entry = lock.try_lock(ME);
    let mut sent = bytes.len();
    if tx.carrier() == Carrier::Ring {
        let claim = tx.claim(bytes.len() as u32, entry).unwrap();
        sent = claim.len() as usize;
        // SAFETY: `bytes` are at least as long as the claim.
        unsafe { claim.fill(0, bytes.as_ptr(), claim.len()) };
        if entry == Entry::Locked {
            a.deliver(tx.publish());
        }
    } else {
        a.tx.write(bytes);
    }
    match entry {
        Entry::Locked => unlock(a),
        Entry::Reentered => lock.note(),
        Entry::Held(_) => unreachable!(),
    }
    sent
}

fn unlock(a: &Endpoint) {
    let lock = a.link.tx_lock();
    while lock.unlock() == Exit::Noted {
        a.deliver(a.link.producer().publish());
    }
}

/// What the receiver has got when all is done; both rings and locks must be at rest then.
fn received(a: &Endpoint, b: &Endpoint) -> Vec<u8> {
    assert_eq!(a.link.tx_lock().try_lock(9), Entry::Locked);
    unlock(a);
    let mut got = Vec::new();
    b.receive_now(&mut got, 99);
    got
}

/// Checks what came out when the handler came, and when it came too late.
fn one_of(got: &[u8], came: bool, with_handler: &[&[u8]], without: &[u8]) {
    let ok = if came { with_handler.contains(&got) } else { got == without };
    assert!(ok, "{:?}", String::from_utf8_lossy(got));
}

fn send_in_send() {
    at_every_access(|place| {
        let [a, b] = moved_pair(8, 1);
        let handler = a.clone();
        interrupt_after(place, move || assert_eq!(send(&handler, b"xyz"), 3));
        assert_eq!(send(&a, b"ab"), 2);
        assert_eq!(send(&a, b"c"), 1);
        let came = !call_off();
        one_of(&received(&a, &b), came, &[b"xyzabc", b"abxyzc", b"abcxyz"], b"abc");
        came
    });
}

#[test]
fn a_handler_may_send_at_any_point_of_a_send() {
    holds(None, send_in_send);
}

fn two_sends_in_send() {
    at_every_access(|first| {
        at_every_access(|second| {
            let [a, b] = moved_pair(8, 1);
            let handler = a.clone();
            interrupt_after(first, move || {
                assert_eq!(send(&handler, b"xy"), 2);
                let handler = handler.clone();
                interrupt_after(second, move || assert_eq!(send(&handler, b"z"), 1));
            });
            assert_eq!(send(&a, b"ab"), 2);
            let came = !call_off();
            let got = received(&a, &b);
            if came {
                one_of(&got, true, &[b"abxyz", b"xyzab", b"xyabz"], b"");
            } else {
                one_of(&got, true, &[b"abxy", b"xyab", b"ab"], b"");
            }
            came
        });
        // Whether the first came at all shows in one more run.
        let [a, _b] = moved_pair(8, 1);
        interrupt_after(first, || ());
        send(&a, b"ab");
        !call_off()
    });
}

#[test]
fn two_handlers_may_send_at_any_two_points_of_a_send() {
    holds(None, two_sends_in_send);
}

/// The owner died with claimed places; its heir is interrupted before it has claimed any.
fn send_in_a_send_of_an_heir() {
    at_every_access(|place| {
        let [a, b] = moved_pair(8, 1);
        assert_eq!(a.link.tx_lock().try_lock(7), Entry::Locked);
        assert_eq!(a.link.producer().claim(3, Entry::Locked).unwrap().len(), 3);
        let handler = a.clone();
        interrupt_after(place, move || {
            if let Entry::Held(owner) = handler.link.tx_lock().try_lock(ME) {
                assert!(handler.link.tx_lock().take_over(owner, ME));
                unlock(&handler);
            } else if handler.link.tx_lock().try_lock(ME) == Entry::Locked {
                unlock(&handler);
            }
            send(&handler, b"x");
        });
        if !a.link.tx_lock().take_over(7, ME) {
            assert_eq!(a.link.tx_lock().try_lock(ME), Entry::Locked);
        }
        unlock_and_send(&a);
        let came = !call_off();
        one_of(&received(&a, &b), came, &[b"xab", b"abx"], b"ab");
        came
    });
}

/// The rest of a send whose lock is held already.
fn unlock_and_send(a: &Endpoint) {
    let tx = a.link.producer();
    let claim = tx.claim(2, Entry::Locked).unwrap();
    // SAFETY: two bytes are claimed.
    unsafe { claim.fill(0, b"ab".as_ptr(), 2) };
    a.deliver(tx.publish());
    unlock(a);
}

#[test]
fn what_a_dead_owner_had_claimed_is_void_for_handlers_too() {
    holds(None, send_in_a_send_of_an_heir);
}

/// A switch and a go-back, with the handler's bytes on whichever carrier it finds.
fn send_in_turns() {
    at_every_access(|place| {
        let [a, b] = pair(8, 1);
        b.deliver(b.link.set_ready(Ready::Ready));
        let handler = a.clone();
        interrupt_after(place, move || assert_eq!(send(&handler, b"x"), 1));
        let (lock, tx) = (a.link.tx_lock(), a.link.producer());
        assert_eq!(lock.try_lock(ME), Entry::Locked);
        a.tx.write(b"a");
        blocked(|| assert!(tx.may_switch() && tx.switch(a.tx.written()).is_ok()));
        let claim = tx.claim(1, Entry::Locked).unwrap();
        // SAFETY: one byte is claimed.
        unsafe { claim.fill(0, b"b".as_ptr(), 1) };
        a.deliver(tx.publish());
        blocked(|| a.deliver(tx.go_back()));
        a.tx.write(b"c");
        unlock(&a);
        let came = !call_off();
        one_of(&received(&a, &b), came, &[b"xabc", b"axbc", b"abxc", b"abcx"], b"abc");
        came
    });
}

fn blocked(body: impl FnOnce()) {
    if planted("turns: signals blocked") { body() } else { with_signals_blocked(body) }
}

#[test]
fn a_handler_may_send_between_turns() {
    holds(None, send_in_turns);
}

#[test]
fn turns_need_signals_blocked() {
    fails_without(&["turns: signals blocked"], None, send_in_turns);
}

/// A whole receive that does not sleep.
fn receive(b: &Endpoint, out: &RefCell<Vec<u8>>, room: usize) {
    let lock = b.link.rx_lock();
    let entry = lock.try_lock(ME);
    let mut got = Vec::new();
    b.receive_now(&mut got, room);
    out.borrow_mut().extend(got);
    if entry == Entry::Locked {
        b.unlock(lock);
    }
}

/// Fills the ring with the letters after those that were sent before.
fn fill(a: &Endpoint) {
    let sent = a.link.producer().tail() as u8;
    let letters: Vec<u8> = (b'a' + sent..).take(4).collect();
    a.put(&letters);
}

/// The handler receives too, while the peer fills the ring again.
fn receive_in_receive() {
    for room in [1, 2, 9] {
        at_every_access(|place| {
            let [a, b] = moved_pair(4, 1);
            fill(&a);
            let (handler, peer) = (b.clone(), a.clone());
            let inner = Rc::new(RefCell::new(Vec::new()));
            let inner2 = inner.clone();
            interrupt_after(place, move || {
                for _ in 0..3 {
                    receive(&handler, &inner2, room);
                    fill(&peer);
                }
            });
            let outer = RefCell::new(Vec::new());
            receive(&b, &outer, 9);
            let came = !call_off();
            receive(&b, &outer, 9);
            check(outer.into_inner(), &inner.borrow());
            came
        });
    }
}

/// The handler crosses to TCP and back into the ring while the outer call looks.
fn turns_in_receive() {
    at_every_access(|place| {
        let [a, b] = moved_pair(4, 1);
        a.put(b"ab");
        let (handler, peer) = (b.clone(), a.clone());
        let inner = Rc::new(RefCell::new(Vec::new()));
        let inner2 = inner.clone();
        interrupt_after(place, move || {
            let tx = peer.link.producer();
            let _ = tx.go_back();
            peer.tx.write(b"c");
            receive(&handler, &inner2, 9);
            if tx.may_switch() {
                assert!(tx.switch(peer.tx.written()).is_ok());
                peer.put(b"d");
                receive(&handler, &inner2, 9);
                let _ = tx.go_back();
            }
            peer.tx.write(b"e");
        });
        let outer = RefCell::new(Vec::new());
        receive(&b, &outer, 9);
        let came = !call_off();
        receive(&b, &outer, 9);
        check(outer.into_inner(), &inner.borrow());
        came
    });
}

/// No byte twice, none missing, each call's own in order.
fn check(outer: Vec<u8>, inner: &[u8]) {
    assert!(outer.is_sorted() && inner.is_sorted(), "{outer:?} {inner:?}");
    let mut all = outer;
    all.extend(inner);
    all.sort_unstable();
    let expected: Vec<u8> = (b'a'..).take(all.len()).collect();
    assert_eq!(all, expected);
}

#[test]
fn a_handler_may_receive_at_any_point_of_a_receive() {
    holds(None, receive_in_receive);
}

#[test]
fn a_handler_may_cross_at_any_point_of_a_receive() {
    holds(None, turns_in_receive);
}
