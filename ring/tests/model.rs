//! The ring against a queue of bytes: whatever is sent comes out, once and in order, whichever carriers it took.
#![cfg(not(loom))]

mod support;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use slipstream_ring::carrier::{Carrier, Ready};
use slipstream_ring::role::{Entry, Exit};
use slipstream_ring::{Broken, Departure, Leftover, Link, Look};
use std::collections::VecDeque;
use support::{Nobody, Pair, Start, byte_at, left_behind};

const CAPACITY: u32 = 4096;

/// One step of a connection; sizes are in bytes.
#[derive(Clone, Debug)]
enum Step {
    /// A vectored send of these pieces, over whatever carries.
    Send(Vec<u16>),
    /// A send with a signal handler's send between its claim and its copy.
    SendWithHandler(u16, u16),
    /// A claim of which only a part is used; with a handler's send behind it, all of it must be.
    SendShorter(u16, u16, u16),
    /// A claim whose owner dies; the next owner takes the lock over.
    DieSending(u16),
    Receive(u16),
    /// A receive with a signal handler's between its copy and its consumption.
    ReceiveWithHandler(u16, u16),
    /// A look at the bytes from an offset on, which stay.
    Peek(u16, u16),
    Switch,
    GoBack,
    /// Leaves for good; what is unread goes through TCP as well.
    Depart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = || prop_oneof![0..9u16, 0..600u16, 3000..6000u16];
    let step = prop_oneof![
        6 => prop::collection::vec(size(), 0..4).prop_map(Step::Send),
        2 => (size(), size()).prop_map(|(outer, inner)| Step::SendWithHandler(outer, inner)),
        2 => (size(), size(), prop_oneof![Just(0), size()]).prop_map(|(all, part, inner)| Step::SendShorter(all, part, inner)),
        1 => size().prop_map(Step::DieSending),
        8 => size().prop_map(Step::Receive),
        2 => (size(), size()).prop_map(|(outer, inner)| Step::ReceiveWithHandler(outer, inner)),
        2 => (size(), size()).prop_map(|(offset, len)| Step::Peek(offset, len)),
        3 => Just(Step::Switch),
        1 => Just(Step::GoBack),
        1 => Just(Step::Depart),
    ];
    prop::collection::vec(step, 1..if cfg!(miri) { 12 } else { 80 })
}

fn start() -> impl Strategy<Value = Start> {
    let position = prop_oneof![
        Just(0),
        Just(u64::from(u32::MAX) - 2000),
        (0..3 * u64::from(CAPACITY)).prop_map(|n| (1 << 32) - n),
        Just(u64::MAX >> 1),
    ];
    let turn = prop_oneof![Just(0), Just(u32::MAX - 1), Just(u32::MAX - 3)];
    (position, turn).prop_map(|(position, turn)| Start { position, turn })
}

/// One direction, with TCP as a queue, and what the queue model says.
struct Direction<'a> {
    tx: &'a Link,
    rx: &'a Link,
    tcp: VecDeque<u8>,
    tcp_written: u64,
    tcp_taken: u64,
    /// Bytes of the stream that were sent, and received.
    sent: u64,
    received: u64,
    /// Of the bytes on their way, those in the ring.
    in_ring: u64,
    /// Bytes on TCP that are, or were, in the ring as well.
    copied: u64,
    departed: bool,
    had_copy: bool,
}

impl Direction<'_> {
    fn next(&self, len: usize) -> Vec<u8> {
        (self.sent..).take(len).map(byte_at).collect()
    }

    fn lock(&self) {
        assert_eq!(self.tx.tx_lock().try_lock(1), Entry::Locked);
    }

    fn unlock(&self) {
        while self.tx.tx_lock().unlock() == Exit::Noted {
            self.tx.deliver(self.tx.producer().publish(), &Nobody);
        }
    }

    /// Claims, and fills in pieces; how much.
    fn fill(&mut self, pieces: &[u16], entry: Entry) -> u64 {
        let want = pieces.iter().map(|len| u32::from(*len)).sum::<u32>();
        let room = u64::from(CAPACITY) - self.in_ring;
        let claim = self.tx.producer().claim(want, entry).unwrap();
        assert_eq!(u64::from(claim.len()), u64::from(want).min(room));
        let bytes = self.next(claim.len() as usize);
        let mut offset = 0;
        for piece in pieces {
            let len = u32::from(*piece).min(claim.len() - offset);
            // SAFETY: the piece lies within the claim, and within `bytes`, which are as long.
            unsafe { claim.fill(offset, bytes.as_ptr().add(offset as usize), len) };
            offset += len;
        }
        self.sent += u64::from(claim.len());
        self.in_ring += u64::from(claim.len());
        u64::from(claim.len())
    }

    fn write_tcp(&mut self, len: usize) {
        let bytes = self.next(len);
        self.sent += len as u64;
        self.tcp_written += len as u64;
        self.tcp.extend(bytes);
    }

    fn publish(&self) {
        self.tx.deliver(self.tx.producer().publish(), &Nobody);
    }

    fn send(&mut self, pieces: &[u16]) {
        self.lock();
        match self.tx.producer().carrier() {
            Carrier::Ring => {
                self.fill(pieces, Entry::Locked);
                self.publish();
            }
            Carrier::Tcp => self.write_tcp(pieces.iter().map(|len| usize::from(*len)).sum()),
        }
        self.unlock();
    }

    fn send_with_handler(&mut self, outer: u16, inner: u16) {
        if self.tx.producer().carrier() == Carrier::Tcp {
            return;
        }
        self.lock();
        let tx = self.tx.producer();
        let room = u64::from(CAPACITY) - self.in_ring;
        let claim = tx.claim(u32::from(outer), Entry::Locked).unwrap();
        assert_eq!(u64::from(claim.len()), u64::from(outer).min(room));
        let bytes = self.next(claim.len() as usize);
        self.sent += u64::from(claim.len());
        self.in_ring += u64::from(claim.len());
        assert_eq!(self.tx.tx_lock().try_lock(1), Entry::Reentered);
        self.fill(&[inner], Entry::Reentered);
        self.tx.tx_lock().note();
        // SAFETY: `bytes` are as long as the claim.
        unsafe { claim.fill(0, bytes.as_ptr(), claim.len()) };
        self.publish();
        self.unlock();
    }

    fn send_shorter(&mut self, all: u16, part: u16, inner: u16) {
        if self.tx.producer().carrier() == Carrier::Tcp {
            return;
        }
        self.lock();
        let claim = self.tx.producer().claim(u32::from(all), Entry::Locked).unwrap();
        let room = u64::from(CAPACITY) - self.in_ring - u64::from(claim.len());
        let alone = inner == 0 || room == 0;
        let part = if alone { u32::from(part).min(claim.len()) } else { claim.len() };
        let bytes = self.next(part as usize);
        self.sent += u64::from(part);
        self.in_ring += u64::from(claim.len());
        if inner > 0 {
            self.fill(&[inner], Entry::Reentered);
            self.tx.tx_lock().note();
        }
        assert_eq!(claim.shorten(part), alone);
        self.in_ring -= u64::from(claim.len() - part);
        // SAFETY: as long as what is used of the claim.
        unsafe { claim.fill(0, bytes.as_ptr(), part) };
        self.publish();
        self.unlock();
    }

    fn die_sending(&mut self, len: u16) {
        if self.tx.producer().carrier() == Carrier::Tcp {
            return;
        }
        let lock = self.tx.tx_lock();
        assert_eq!(lock.try_lock(99), Entry::Locked);
        let claim = self.tx.producer().claim(u32::from(len), Entry::Locked).unwrap();
        let garbage = vec![0xEE; claim.len() as usize];
        // SAFETY: as long as the claim.
        unsafe { claim.fill(0, garbage.as_ptr(), claim.len()) };
        assert_eq!(lock.try_lock(1), Entry::Held(99));
        assert!(lock.take_over(99, 1));
        self.publish();
        self.unlock();
    }

    fn expect(&mut self, bytes: &[u8]) {
        let expected: Vec<u8> = (self.received..).take(bytes.len()).map(byte_at).collect();
        assert!(bytes == expected, "at {}: {} bytes are not the next ones", self.received, bytes.len());
        self.received += bytes.len() as u64;
    }

    fn look(&self) -> Result<Look, Broken> {
        let look = self.rx.consumer().look()?;
        // The glance may not miss what the look sees.
        let is_something = !matches!(look, Look::Tcp { until: None, .. } | Look::Ring { available: 0, .. });
        assert_eq!(self.rx.consumer().glance(), is_something, "{look:?}");
        if let Look::Ring { available, .. } = look {
            assert_eq!(self.rx.consumer().unread(), available);
        }
        Ok(look)
    }

    fn copy(&self, head: u64, offset: u32, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        // SAFETY: `bytes` are as long; the callers stay within `available`.
        unsafe { self.rx.consumer().copy_out(head, offset, bytes.as_mut_ptr(), len) };
        bytes
    }

    fn receive(&mut self, mut room: usize) {
        loop {
            match self.look().unwrap() {
                Look::Tcp { turn, until } => {
                    self.drop_void();
                    assert!(until.is_none_or(|until| until >= self.tcp_taken));
                    if until == Some(self.tcp_taken) {
                        self.rx.consumer().follow(turn).unwrap();
                        assert!(self.rx.consumer().follow(turn).is_err(), "followed twice");
                        continue;
                    }
                    let limit = until.map_or(usize::MAX, |until| (until - self.tcp_taken) as usize);
                    let len = room.min(limit).min(self.tcp.len());
                    if len == 0 {
                        return;
                    }
                    let bytes: Vec<u8> = self.tcp.drain(..len).collect();
                    self.tcp_taken += len as u64;
                    self.expect(&bytes);
                    room -= len;
                }
                Look::Ring { head, available } => {
                    assert_eq!(head, self.rx.consumer().head());
                    let len = available.min(room as u32);
                    if len == 0 {
                        return;
                    }
                    let bytes = self.copy(head, 0, len);
                    self.expect(&bytes);
                    self.rx.deliver(self.rx.consumer().consume(head, len).unwrap(), &Nobody);
                    self.in_ring -= u64::from(len);
                    room -= len as usize;
                }
                Look::Crossing { turn } => self.rx.consumer().follow(turn).unwrap(),
            }
        }
    }

    fn receive_with_handler(&mut self, outer: u16, inner: u16) {
        let Ok(Look::Ring { head, available }) = self.look() else { return };
        let len = available.min(u32::from(outer));
        let bytes = self.copy(head, 0, len);
        let before = self.received;
        self.receive(usize::from(inner));
        match self.rx.consumer().consume(head, len) {
            // What was copied is void.
            Err(_) => assert_ne!(self.rx.consumer().head(), head),
            Ok(wake) => {
                self.rx.deliver(wake, &Nobody);
                assert_eq!(self.received, before);
                self.expect(&bytes);
                self.in_ring -= u64::from(len);
            }
        }
    }

    fn peek(&self, offset: u16, len: u16) {
        let Ok(Look::Ring { head, available }) = self.look() else { return };
        let offset = u32::from(offset).min(available);
        let len = u32::from(len).min(available - offset);
        let expected: Vec<u8> = (self.received + u64::from(offset)..).take(len as usize).map(byte_at).collect();
        assert!(self.copy(head, offset, len) == expected);
    }

    fn drop_void(&mut self) {
        let void = self.rx.consumer().void();
        assert_eq!(void, self.copied - if self.copied > 0 { self.in_ring } else { 0 });
        self.tcp.drain(..void as usize);
        self.tcp_taken += void;
        self.copied -= void;
        self.rx.consumer().note_dropped(void);
    }

    fn depart(&mut self) {
        self.lock();
        if self.tx.producer().carrier() == Carrier::Ring {
            let Departure { position, copy, wake } = self.tx.producer().try_depart().unwrap().unwrap();
            self.tx.deliver(wake, &Nobody);
            assert_eq!(u64::from(copy), self.in_ring);
            self.tcp.extend(left_behind(self.tx.producer(), position, copy));
            self.tcp_written += u64::from(copy);
            self.copied = u64::from(copy);
            self.departed = true;
            self.had_copy = copy > 0;
        }
        self.unlock();
    }

    fn switch(&mut self) {
        self.lock();
        let tx = self.tx.producer();
        assert!(!self.had_copy || !tx.may_switch(), "who has departed with a copy does not come back");
        if !self.departed && tx.carrier() == Carrier::Tcp && tx.may_switch() {
            tx.switch(self.tcp_written).unwrap();
        }
        self.unlock();
    }

    fn go_back(&mut self) {
        self.lock();
        if self.tx.producer().carrier() == Carrier::Ring {
            self.tx.deliver(self.tx.producer().go_back(), &Nobody);
        }
        self.unlock();
    }

    /// The receiver leaves the ring; what it has not read comes through TCP.
    fn recall(&mut self) {
        self.rx.deliver(self.rx.recall(), &Nobody);
        self.lock();
        let was_left = self.tx.producer().carrier() == Carrier::Tcp && self.in_ring > 0 && !self.had_copy;
        let expected = match () {
            () if was_left => Leftover::Stranded,
            () if self.departed && self.had_copy => Leftover::Copied,
            () if self.in_ring > 0 => Leftover::Resent,
            () => Leftover::Nothing,
        };
        let leftover = self.rx.consumer().leftover();
        assert_eq!(leftover, expected);
        if leftover == Leftover::Copied {
            self.drop_void();
            (self.in_ring, self.copied) = (0, 0);
        }
        assert_eq!(self.tx.is_recalled(), self.tx.producer().carrier() == Carrier::Ring);
        if self.tx.is_recalled() {
            let tx = self.tx.producer();
            assert!(tx.try_go_back().is_none());
            loop {
                let (position, left) = tx.left_behind().unwrap();
                let bytes = left_behind(tx, position, left.min(1000));
                tx.note_resent(position + bytes.len() as u64);
                self.in_ring -= bytes.len() as u64;
                self.tcp.extend(&bytes);
                if left == 0 {
                    break;
                }
            }
            self.tx.deliver(tx.go_back(), &Nobody);
            assert_eq!(self.rx.consumer().leftover(), Leftover::Nothing);
        }
        self.unlock();
        if !was_left {
            let bytes: Vec<u8> = self.tcp.drain(..).collect();
            self.expect(&bytes);
            assert_eq!(self.received, self.sent);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send(pieces) => self.send(pieces),
            Step::SendWithHandler(outer, inner) => self.send_with_handler(*outer, *inner),
            Step::SendShorter(all, part, inner) => self.send_shorter(*all, *part, *inner),
            Step::DieSending(len) => self.die_sending(*len),
            Step::Receive(room) => self.receive(usize::from(*room)),
            Step::ReceiveWithHandler(outer, inner) => self.receive_with_handler(*outer, *inner),
            Step::Peek(offset, len) => self.peek(*offset, *len),
            Step::Switch => self.switch(),
            Step::GoBack => self.go_back(),
            Step::Depart => self.depart(),
        }
        assert_eq!(self.in_ring, self.tx.producer().unread());
        assert_eq!(self.received + self.in_ring + self.tcp.len() as u64 - self.copied, self.sent);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else if cfg!(debug_assertions) { 300 } else { 5000 },
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_151_106),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_ring_is_a_queue_of_bytes(start in start(), steps in steps(), both in any::<bool>(), recall in any::<bool>()) {
        let pair = Pair::new(CAPACITY, start);
        let [a, b] = &pair.links;
        for link in [a, b] {
            link.deliver(link.set_ready(Ready::Ready), &Nobody);
        }
        let direction = |tx, rx| Direction {
            tx,
            rx,
            tcp: VecDeque::new(),
            tcp_written: 0,
            tcp_taken: 0,
            sent: 0,
            received: 0,
            in_ring: 0,
            copied: 0,
            departed: false,
            had_copy: false,
        };
        let mut directions = vec![direction(a, b)];
        if both {
            directions.push(direction(b, a));
        }
        for step in &steps {
            for direction in &mut directions {
                direction.step(step);
            }
        }
        for direction in &mut directions {
            if recall {
                direction.recall();
            } else {
                direction.receive(usize::MAX);
                prop_assert_eq!(direction.received, direction.sent);
            }
        }
    }
}
