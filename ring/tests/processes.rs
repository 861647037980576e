//! The ring between real processes over memfds: own outbox writable, the peer's opened and mapped read-only, sleep on
//! futexes; some of the processes are killed at any instruction, and others that share their endpoint go on.
//!
//! Each process is this test binary again, running [`child`].
#![cfg(not(any(loom, miri)))]

mod support;

use slipstream_ring::carrier::Ready;
use slipstream_ring::layout::{self, MARK_GONE};
use slipstream_ring::role::{Entry, Exit, RoleLock};
use slipstream_ring::sync::{AtomicU32, Ordering};
use slipstream_ring::wait::{Sleep, Waker};
use slipstream_ring::{Link, Look};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Mapping, PAIR, byte_at, memory};

const CAPACITY: u32 = 16 * 1024;
const LEN: usize = layout::size(CAPACITY);
/// A sleeper looks by itself this often.
const TICK: Duration = Duration::from_millis(20);
/// Nothing here takes this long.
const FOREVER: Duration = Duration::from_secs(30);

/// The futexes of all processes; nobody polls.
struct Futexes;

fn futex(word: &AtomicU32, operation: i32, value: u32, timeout: *const libc::timespec) {
    // SAFETY: the word is mapped, and the kernel checks everything else.
    unsafe { libc::syscall(libc::SYS_futex, core::ptr::from_ref(word), operation, value, timeout) };
}

fn wait(word: &AtomicU32, value: u32, limit: Duration) {
    let limit = libc::timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    futex(word, libc::FUTEX_WAIT, value, &limit);
}

impl Waker for Futexes {
    fn wake_all(&self, word: &AtomicU32) {
        futex(word, libc::FUTEX_WAKE, i32::MAX as u32, core::ptr::null());
    }

    fn ring(&self) {
        unreachable!("nobody polls");
    }
}

/// Makes the outboxes, as the broker does.
fn outboxes() -> [File; 2] {
    [0, 1].map(|side| {
        let file = memory::file(LEN);
        let mapping = Mapping::new(&file, LEN, true);
        // SAFETY: zeroed memory that nobody else has yet.
        unsafe { mapping.outbox().as_ref() }.init(PAIR, side, CAPACITY);
        file
    })
}

/// An endpoint of a process: its mappings, and the link over them.
struct Endpoint {
    link: Link,
    _maps: [Mapping; 2],
}

impl Endpoint {
    /// Of `side`, with its own outbox writable and the peer's read-only.
    fn new(side: usize, own: &File, peer: &File) -> Self {
        let maps = [Mapping::new(own, LEN, true), Mapping::new(peer, LEN, false)];
        let (own, peer) = (maps[0].outbox(), maps[1].outbox());
        // SAFETY: both are mapped and checked, and stay mapped beside the link.
        let link = unsafe {
            assert_eq!(own.as_ref().check(PAIR, side as u32, LEN), Ok(CAPACITY));
            assert_eq!(peer.as_ref().check(PAIR, 1 - side as u32, LEN), Ok(CAPACITY));
            Link::new(own, peer, CAPACITY)
        };
        Self { link, _maps: maps }
    }

    /// Takes a role; from a dead owner if need be, and then does what it may have left undone.
    fn enter(&self, lock: &RoleLock, inherit: impl Fn()) {
        // SAFETY: asks for the own thread's id.
        let me = unsafe { libc::gettid() } as u32;
        loop {
            match lock.try_lock(me) {
                Entry::Locked => return,
                Entry::Reentered => panic!("a dead thread had our id"),
                Entry::Held(owner) => {
                    if let Some(value) = lock.announce_sleep() {
                        wait(lock.futex(), value, Duration::from_millis(2));
                    }
                    // SAFETY: sends nothing; asks whether the thread is there.
                    let gone = unsafe { libc::kill(owner as i32, 0) } != 0;
                    if gone && lock.take_over(owner, me) {
                        println!("{TOOK_OVER}");
                        std::io::stdout().flush().unwrap();
                        inherit();
                        return;
                    }
                }
            }
        }
    }

    fn leave(&self, lock: &RoleLock) {
        match lock.unlock() {
            Exit::Unlocked => {}
            Exit::WakeWaiters => Futexes.wake_all(lock.futex()),
            Exit::Noted => unreachable!("no handlers here"),
        }
    }

    /// Sleeps for `kind` unless there is something to `see`.
    fn sleep(&self, kind: Sleep, limit: Duration, see: impl Fn() -> bool) {
        let word = self.link.futex(kind);
        let value = word.load(Ordering::Acquire);
        let _ = self.link.arm(kind);
        if !see() {
            wait(word, value, limit);
        }
    }

    /// Sends the stream from wherever it is, up to `total` bytes, in pieces of many sizes.
    fn send(&self, total: u64, limit: Duration) {
        let (link, tx) = (&self.link, self.link.producer());
        let mut bytes = Vec::new();
        for round in 1.. {
            self.enter(link.tx_lock(), || link.deliver(tx.publish(), &Futexes));
            let start = tx.tail();
            let want = (total - start).min(round * 977 % 6000 + 1) as u32;
            let claim = tx.claim(want, Entry::Locked).expect("an honest peer");
            bytes.clear();
            bytes.extend((start..).take(claim.len() as usize).map(byte_at));
            // Two pieces, so that a kill falls between them, too.
            let half = claim.len() / 2;
            // SAFETY: both lie within the claim and within `bytes`, which are as long.
            unsafe {
                claim.fill(0, bytes.as_ptr(), half);
                claim.fill(half, bytes.as_ptr().add(half as usize), claim.len() - half);
            }
            link.deliver(tx.publish(), &Futexes);
            self.leave(link.tx_lock());
            if start == total {
                return;
            }
            if claim.len() == 0 {
                self.sleep(Sleep::Space, limit, || tx.unread() < u64::from(CAPACITY));
            }
        }
    }

    /// Receives and checks the stream from wherever it is, until `total` bytes or, when the peer is gone, its last byte.
    /// The sum of the bytes that this process received.
    fn receive(&self, total: u64, limit: Duration) -> u64 {
        let (link, rx) = (&self.link, self.link.consumer());
        let (mut bytes, mut sum) = (Vec::new(), 0u64);
        for round in 1.. {
            self.enter(link.rx_lock(), || link.deliver(rx.consume(rx.head(), 0).unwrap(), &Futexes));
            let gone = link.peer_marks() & MARK_GONE != 0;
            let mut done = false;
            let mut empty = false;
            match rx.look().expect("an honest peer") {
                Look::Tcp { turn, until } => {
                    if until == Some(0) {
                        rx.follow(turn).unwrap();
                    } else {
                        empty = true;
                    }
                }
                Look::Ring { head, available } => {
                    let len = available.min(round * 1009 % 7000 + 1);
                    bytes.resize(len as usize, 0);
                    // SAFETY: `bytes` are as long.
                    unsafe { rx.copy_out(head, 0, bytes.as_mut_ptr(), len) };
                    for (byte, position) in bytes.iter().zip(head..) {
                        assert_eq!(*byte, byte_at(position), "at {position}");
                        sum = sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
                    }
                    link.deliver(rx.consume(head, len).unwrap(), &Futexes);
                    empty = len == 0;
                    done = head + u64::from(len) == total || (gone && empty);
                }
                Look::Crossing { .. } => panic!("nobody goes back"),
            }
            self.leave(link.rx_lock());
            if done {
                return sum;
            }
            if empty {
                self.sleep(Sleep::Data, limit, || {
                    rx.glance() || rx.head() == total || link.peer_marks() & MARK_GONE != 0
                });
            }
        }
        unreachable!()
    }
}

const TOOK_OVER: &str = "took a dead owner's lock over";

/// The sum that [`Endpoint::receive`] makes of a whole stream.
fn sum_of(total: u64) -> u64 {
    (0..total).fold(0, |sum, position| sum.wrapping_mul(31).wrapping_add(byte_at(position).into()))
}

#[test]
#[ignore = "the other processes of the tests here"]
fn child() {
    let Ok(orders) = std::env::var("RING_TEST_CHILD") else { return };
    let orders: Vec<&str> = orders.split(' ').collect();
    let [parent, own, peer, side, total, limit] = orders[..] else { panic!("{orders:?}") };
    let open = |fd: &str, writable| {
        OpenOptions::new().read(true).write(writable).open(format!("/proc/{parent}/fd/{fd}")).unwrap()
    };
    let side = side.parse().unwrap();
    let endpoint = Endpoint::new(side, &open(own, true), &open(peer, false));
    let (total, limit) = (total.parse().unwrap(), Duration::from_millis(limit.parse().unwrap()));
    match side {
        0 => endpoint.send(total, limit),
        _ => println!("sum {}", endpoint.receive(total, limit)),
    }
}

/// A process that does not outlive its test, however that ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Everything that it says until it ends.
    fn read(&mut self) -> String {
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Everything that it said; it must have ended well.
    fn output(mut self) -> String {
        let text = self.read();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}: {text}");
        text
    }
}

/// Starts a process with `side`'s endpoint.
fn start(outboxes: &[File; 2], side: usize, total: u64, limit: Duration) -> Process {
    let [own, peer] = [side, 1 - side].map(|side| outboxes[side].as_raw_fd());
    let orders = format!("{} {own} {peer} {side} {total} {}", std::process::id(), limit.as_millis());
    let process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env("RING_TEST_CHILD", orders)
        .stdout(Stdio::piped())
        .spawn();
    Process(process.unwrap())
}

/// Makes the direction from side 0 to side 1 a ring's.
fn switch(outboxes: &[File; 2]) {
    let [a, b] = [0, 1].map(|side| Endpoint::new(side, &outboxes[side], &outboxes[1 - side]));
    assert!(b.link.set_ready(Ready::Ready).is_none());
    assert!(a.link.producer().may_switch());
    a.link.producer().switch(0).unwrap();
}

#[test]
fn a_stream_between_two_processes_arrives_whole() {
    let total = 8 << 20;
    let outboxes = outboxes();
    switch(&outboxes);
    // Asleep without a tick: a lost wake would show.
    let children = [0, 1].map(|side| start(&outboxes, side, total, FOREVER));
    let begin = Instant::now();
    let [_, receiver] = children.map(Process::output);
    assert!(receiver.contains(&format!("sum {}", sum_of(total))), "{receiver}");
    assert!(begin.elapsed() < FOREVER, "someone slept on");
}

#[test]
fn killed_processes_are_replaced_and_no_byte_is_lost_or_doubled() {
    let total: u64 = 40 << 20;
    let kills = 100;
    let outboxes = outboxes();
    switch(&outboxes);
    let watcher = Mapping::new(&outboxes[1], LEN, false);
    // SAFETY: mapped for as long as the watcher lives.
    let head = || unsafe { watcher.outbox().as_ref() }.snapshot().head;
    // Two processes for each end, one of them to go on whenever the other is killed.
    let mut processes = [0, 0, 1, 1].map(|side| start(&outboxes, side, total, TICK));
    let (mut random, mut take_overs) = (0x5DEE_CE66u64, 0);
    let begin = Instant::now();
    for kill in 0..kills {
        while head() < total * kill / (kills + 1) {
            assert!(begin.elapsed() < FOREVER, "stuck at {}", head());
            std::thread::sleep(Duration::from_micros(300));
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros(random >> 40 & 1023));
        let victim = (random >> 33) as usize % processes.len();
        let mut killed = std::mem::replace(&mut processes[victim], start(&outboxes, victim / 2, total, TICK));
        killed.kill();
        take_overs += killed.read().matches(TOOK_OVER).count();
    }
    take_overs += processes.map(|process| process.output().matches(TOOK_OVER).count()).into_iter().sum::<usize>();
    assert_eq!(head(), total);
    println!("{kills} processes killed, {take_overs} locks taken over");
    assert!(take_overs > 0, "no kill found its victim inside");
}

#[test]
fn the_last_bytes_of_a_killed_sender_come_before_its_end() {
    for round in 0..5u64 {
        let outboxes = outboxes();
        switch(&outboxes);
        let mut sender = start(&outboxes, 0, u64::MAX >> 1, FOREVER);
        let receiver = start(&outboxes, 1, u64::MAX >> 1, FOREVER);
        std::thread::sleep(Duration::from_millis(15 + 3 * round));
        sender.kill();
        // The broker's part.
        let mapping = Mapping::new(&outboxes[0], LEN, true);
        // SAFETY: mapped for as long as the mapping lives.
        let outbox = unsafe { mapping.outbox().as_ref() };
        outbox.mark_gone();
        outbox.futexes().into_iter().for_each(|word| Futexes.wake_all(word));
        receiver.output();
        let other = Mapping::new(&outboxes[1], LEN, false);
        // SAFETY: as above.
        assert_eq!(unsafe { other.outbox().as_ref() }.snapshot().head, outbox.snapshot().tail);
    }
}
