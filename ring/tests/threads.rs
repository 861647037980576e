//! Threads on real memory, for Miri and the sanitizers to watch: two senders and two receivers of one direction, and
//! the turns between TCP and the ring.
#![cfg(not(loom))]

mod support;

use slipstream_ring::carrier::{Carrier, Ready};
use slipstream_ring::role::{Entry, RoleLock};
use slipstream_ring::{Link, Look};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;
use support::{Nobody, Pair, Start, byte_at};

const CAPACITY: u32 = 4096;
const TOTAL: u64 = if cfg!(miri) { 12_000 } else { 8 << 20 };

fn with_lock<R>(lock: &RoleLock, me: u32, body: impl FnOnce() -> R) -> R {
    while lock.try_lock(me) != Entry::Locked {
        thread::yield_now();
    }
    let result = body();
    let _ = lock.unlock();
    result
}

/// Puts up to `len` bytes of the stream into the ring; whether there were any left.
fn send(link: &Link, me: u32, len: u32) -> bool {
    with_lock(link.tx_lock(), me, || {
        let tx = link.producer();
        let start = tx.tail();
        let claim = tx.claim(len.min((TOTAL - start) as u32), Entry::Locked).unwrap();
        let bytes: Vec<u8> = (start..).take(claim.len() as usize).map(byte_at).collect();
        // SAFETY: as long as the claim.
        unsafe { claim.fill(0, bytes.as_ptr(), claim.len()) };
        link.deliver(tx.publish(), &Nobody);
        start < TOTAL
    })
}

/// Takes up to `room` bytes from the ring and checks them; whether there are more to come.
fn receive(link: &Link, me: u32, room: u32) -> bool {
    with_lock(link.rx_lock(), me, || {
        let rx = link.consumer();
        let Ok(Look::Ring { head, available }) = rx.look() else { panic!("an honest peer in the ring") };
        let len = available.min(room);
        let mut bytes = vec![0; len as usize];
        // SAFETY: as long as what is taken.
        unsafe { rx.copy_out(head, 0, bytes.as_mut_ptr(), len) };
        for (byte, position) in bytes.iter().zip(head..) {
            assert_eq!(*byte, byte_at(position));
        }
        link.deliver(rx.consume(head, len).unwrap(), &Nobody);
        head + u64::from(len) < TOTAL
    })
}

#[test]
fn two_senders_and_two_receivers_pass_one_stream() {
    let pair = Pair::moved(CAPACITY);
    let [a, b] = &pair.links;
    thread::scope(|scope| {
        for me in 1..3 {
            scope.spawn(move || {
                let mut len = 100 * me;
                while send(a, me, len) {
                    len = len * 7 % 1789 + 1;
                    thread::yield_now();
                }
            });
            scope.spawn(move || {
                let mut room = 90 * me;
                while receive(b, me, room) {
                    room = room * 11 % 1999 + 1;
                    thread::yield_now();
                }
            });
        }
    });
}

/// What TCP is here.
#[derive(Default)]
struct Tcp {
    queue: VecDeque<u8>,
    written: u64,
    taken: u64,
}

/// One attempt to send up to `len` bytes from stream position `sent` on, over whatever carries; how many.
fn send_somehow(link: &Link, tcp: &Mutex<Tcp>, sent: u64, len: u64) -> u64 {
    let tx = link.producer();
    let bytes: Vec<u8> = (sent..).take(len as usize).map(byte_at).collect();
    with_lock(link.tx_lock(), 1, || {
        if tx.carrier() == Carrier::Tcp && tx.may_switch() {
            tx.switch(tcp.lock().unwrap().written).unwrap();
        }
        if tx.carrier() == Carrier::Ring {
            let claim = tx.claim(len as u32, Entry::Locked).unwrap();
            // SAFETY: no longer than `bytes`.
            unsafe { claim.fill(0, bytes.as_ptr(), claim.len()) };
            link.deliver(tx.publish(), &Nobody);
            if sent.is_multiple_of(5) || claim.len() == 0 {
                link.deliver(tx.go_back(), &Nobody);
            }
            return claim.len().into();
        }
        let mut tcp = tcp.lock().unwrap();
        tcp.queue.extend(&bytes);
        tcp.written += len;
        len
    })
}

/// One attempt to receive, by the receiver's rule.
fn receive_somehow(link: &Link, tcp: &Mutex<Tcp>) -> Vec<u8> {
    let rx = link.consumer();
    with_lock(link.rx_lock(), 1, || match rx.look().unwrap() {
        Look::Ring { head, available } => {
            let mut bytes = vec![0; available as usize];
            // SAFETY: as long as what is available.
            unsafe { rx.copy_out(head, 0, bytes.as_mut_ptr(), available) };
            link.deliver(rx.consume(head, available).unwrap(), &Nobody);
            bytes
        }
        Look::Crossing { turn } => {
            rx.follow(turn).unwrap();
            Vec::new()
        }
        Look::Tcp { turn, .. } => {
            let waiting = tcp.lock().unwrap().queue.len();
            let Ok(Look::Tcp { until, .. }) = rx.look() else { panic!("nobody else follows") };
            let mut tcp = tcp.lock().unwrap();
            let limit = until.map_or(waiting, |until| (until - tcp.taken) as usize);
            if until.is_some() && limit == 0 {
                rx.follow(turn).unwrap();
            }
            let len = waiting.min(limit);
            tcp.taken += len as u64;
            tcp.queue.drain(..len).collect()
        }
    })
}

#[test]
fn a_stream_survives_every_change_of_carrier() {
    let pair = Pair::new(CAPACITY, Start { position: (1 << 32) - 5, turn: u32::MAX - 9 });
    let [a, b] = &pair.links;
    b.deliver(b.set_ready(Ready::Ready), &Nobody);
    let tcp = Mutex::new(Tcp::default());
    let total = TOTAL / 8;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = 0;
            while sent < total {
                sent += send_somehow(a, &tcp, sent, (sent * 7 % 193 + 1).min(total - sent));
            }
        });
        let mut received = 0;
        while received < total {
            let bytes = receive_somehow(b, &tcp);
            for (byte, position) in bytes.iter().zip(received..) {
                assert_eq!(*byte, byte_at(position));
            }
            received += bytes.len() as u64;
            if bytes.is_empty() {
                thread::yield_now();
            }
        }
    });
}

#[test]
fn what_a_call_claimed_that_never_returns_is_void() {
    let pair = Pair::moved(CAPACITY);
    let [link, peer] = &pair.links;
    let tx = link.producer();
    assert_eq!(link.tx_lock().try_lock(1), Entry::Locked);
    assert_eq!(tx.claim(100, Entry::Locked).unwrap().len(), 100);
    // The call is jumped out of; its thread, which has the lock, is its own heir.
    assert_eq!(link.tx_lock().try_lock(1), Entry::Reentered);
    tx.void();
    link.deliver(tx.publish(), &Nobody);
    assert!(matches!(peer.consumer().look(), Ok(Look::Ring { available: 0, .. })));
    let _ = link.tx_lock().unlock();
    assert!(send(link, 1, 10));
    assert!(receive(peer, 2, 100));
}
