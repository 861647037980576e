//! The gate: two-phase readiness against a thread that enters a TCP read.

use loom::cell::UnsafeCell;
use loom::thread;
use slipstream_loom_tests::endpoint::pair;
use slipstream_loom_tests::model::{fails_without, holds};
use slipstream_ring::carrier::Ready;
use slipstream_ring::gate::Gate;
use slipstream_ring::role::Entry;
use std::rc::Rc;

/// `a` over TCP; then `b` through the ring and back to TCP if the receiver has become ready by then; then `c`. The
/// receiver has a thread that reads plainly if the gate still lets it, and one that makes the endpoint ready.
fn ready_against_a_plain_read() {
    let [a, b] = pair(1, 1);
    let gate = Rc::new(Gate::new());
    let (other, gate2) = (b.clone(), gate.clone());
    let manager = thread::spawn(move || {
        gate2.shut();
        if gate2.is_empty() {
            other.deliver(other.link.set_ready(Ready::Ready));
        }
    });
    let sender = thread::spawn(move || {
        let tx = a.link.producer();
        a.tx.write(b"a");
        if tx.may_switch() && tx.switch(a.tx.written()).is_ok() {
            assert_eq!(a.put(b"b"), 1);
            a.deliver(tx.go_back());
        } else {
            a.tx.write(b"b");
        }
        a.tx.write(b"c");
    });
    let mut got = Vec::new();
    if gate.enter() {
        got.extend(b.rx.take(3));
        gate.leave();
    }
    manager.join().unwrap();
    sender.join().unwrap();
    b.receive_now(&mut got, 9);
    assert_eq!(got, b"abc");
}

#[test]
fn no_plain_read_takes_bytes_past_a_switch() {
    holds(None, ready_against_a_plain_read);
}

#[test]
fn the_gate_needs_the_order_between_count_and_look_at_each_end() {
    fails_without(&["gate/enter", "gate/shut"], None, ready_against_a_plain_read);
}

struct Touched(UnsafeCell<u32>);

impl Touched {
    fn touch(&self) {
        // SAFETY: loom checks that no one else is here.
        self.0.with_mut(|cell| unsafe { *cell += 1 });
    }
}

fn touched() -> Rc<Touched> {
    Rc::new(Touched(UnsafeCell::new(0)))
}

/// What one thread does inside, and what another does once it has shut the gate and found nobody inside.
fn inside_against_shut() {
    let (gate, cell) = (Rc::new(Gate::new()), touched());
    let (gate2, cell2) = (gate.clone(), cell.clone());
    let visitor = thread::spawn(move || {
        if gate2.enter() {
            cell2.touch();
            gate2.leave();
        }
    });
    gate.shut();
    if gate.is_empty() {
        cell.touch();
        gate.open();
    }
    visitor.join().unwrap();
}

#[test]
fn nobody_is_inside_a_shut_gate_that_is_empty() {
    holds(None, inside_against_shut);
}

#[test]
fn an_empty_gate_is_as_good_as_its_ends() {
    let ends = ["gate/enter", "gate/shut", "gate/leave", "gate/is_empty", "gate/look", "gate/open"];
    fails_without(&ends, None, inside_against_shut);
}

/// Two threads take turns under the role lock; one stays inside the gate when it gives the lock back.
fn forced_entry() {
    let (gate, [a, _], cell) = (Rc::new(Gate::new()), pair(1, 1), touched());
    gate.shut();
    let (gate2, a2, cell2) = (gate.clone(), a.clone(), cell.clone());
    let sleeper = thread::spawn(move || {
        if a2.link.tx_lock().try_lock(2) == Entry::Locked {
            gate2.force();
            let _ = a2.link.tx_lock().unlock();
            cell2.touch();
            gate2.leave();
        }
    });
    if a.link.tx_lock().try_lock(1) == Entry::Locked {
        if gate.is_empty() {
            cell.touch();
        }
        let _ = a.link.tx_lock().unlock();
    }
    sleeper.join().unwrap();
}

#[test]
fn a_forced_entry_is_seen_by_the_next_owner_of_the_lock() {
    holds(None, forced_entry);
}

#[test]
fn a_forced_entry_needs_the_lock() {
    fails_without(&["role/lock", "role/unlock", "gate/leave"], None, forced_entry);
}
