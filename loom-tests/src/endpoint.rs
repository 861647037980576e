//! The two endpoints of a pair, and the calls that a shim makes of them.

use crate::kernel::{self, Bell, Futexes, Tcp};
use loom::sync::atomic::Ordering;
use slipstream_ring::carrier::{Carrier, Ready};
use slipstream_ring::data::Data;
use slipstream_ring::layout::Outbox;
use slipstream_ring::role::{Entry, Exit, RoleLock};
use slipstream_ring::sync::AtomicU32;
use slipstream_ring::sync::modelled::planted;
use slipstream_ring::wait::{Sleep, Wake, Waker};
use slipstream_ring::{Link, Look};
use std::rc::Rc;

/// An endpoint as one of its threads sees it.
#[derive(Clone)]
pub struct Endpoint {
    /// The two outboxes.
    pub link: Link,
    /// What this endpoint writes over TCP.
    pub tx: Rc<Tcp>,
    /// What this endpoint reads over TCP.
    pub rx: Rc<Tcp>,
    /// The one futex table of the host.
    pub futexes: Rc<Futexes>,
    /// What the peer rings.
    pub own_bell: Rc<Bell>,
    /// What this endpoint rings.
    pub peer_bell: Rc<Bell>,
}

/// Both ends of one connection, with rings of `capacity` bytes and each bell in `hubs` hubs.
pub fn pair(capacity: u32, hubs: usize) -> [Endpoint; 2] {
    let outbox = |side| (Rc::new(Outbox::new(7, side, capacity)), Data::new(capacity));
    let (a, b) = (outbox(0), outbox(1));
    let (ab, ba) = (Rc::new(Tcp::default()), Rc::new(Tcp::default()));
    let (bell_a, bell_b) = (Rc::new(Bell::new(hubs)), Rc::new(Bell::new(hubs)));
    let futexes = Rc::new(Futexes::default());
    let a_link = Link::new(a.clone(), b.clone());
    let b_link = Link::new(b, a);
    [
        Endpoint {
            link: a_link,
            tx: ab.clone(),
            rx: ba.clone(),
            futexes: futexes.clone(),
            own_bell: bell_a.clone(),
            peer_bell: bell_b.clone(),
        },
        Endpoint { link: b_link, tx: ba, rx: ab, futexes, own_bell: bell_b, peer_bell: bell_a },
    ]
}

/// As [`pair`], with the direction from the first to the second already in the ring.
pub fn moved_pair(capacity: u32, hubs: usize) -> [Endpoint; 2] {
    let [a, b] = pair(capacity, hubs);
    assert!(b.link.set_ready(Ready::Ready).is_none());
    assert!(a.link.producer().may_switch() && a.link.producer().switch(0).is_ok());
    b.link.consumer().follow(0).unwrap();
    [a, b]
}

impl Waker for Endpoint {
    fn wake_all(&self, word: &AtomicU32) {
        self.futexes.wake_all(word);
    }

    fn ring(&self) {
        self.peer_bell.ring();
    }
}

impl Endpoint {
    /// Carries a wake out.
    pub fn deliver(&self, wake: Wake) {
        self.link.deliver(wake, self);
    }

    /// Takes a role lock, asleep while another has it.
    pub fn lock(&self, lock: &RoleLock, me: u32) {
        while let Entry::Held(_) = lock.try_lock(me) {
            if let Some(word) = lock.announce_sleep() {
                self.futexes.wait(&[(lock.futex(), word)]);
            }
        }
    }

    /// Gives it back.
    pub fn unlock(&self, lock: &RoleLock) {
        match lock.unlock() {
            Exit::Unlocked => {}
            Exit::WakeWaiters if planted("unlock: wakes one") => self.futexes.wake_some(lock.futex(), 1),
            Exit::WakeWaiters => self.futexes.wake_all(lock.futex()),
            Exit::Noted => panic!("nobody left a note"),
        }
    }

    /// Puts up to all of `bytes` into the ring, without sleeping; how many. Under the lock.
    pub fn put(&self, bytes: &[u8]) -> usize {
        let tx = self.link.producer();
        let claim = tx.claim(bytes.len() as u32, Entry::Locked).unwrap();
        // SAFETY: `bytes` are at least as long as the claim.
        unsafe { claim.fill(0, bytes.as_ptr(), claim.len()) };
        if claim.len() > 0 {
            self.deliver(tx.publish());
        }
        claim.len() as usize
    }

    /// Sends all of `bytes` through the ring, asleep while it is full. No other thread sends.
    pub fn send_all(&self, mut bytes: &[u8]) {
        loop {
            bytes = &bytes[self.put(bytes)..];
            if bytes.is_empty() {
                return;
            }
            let word = self.link.futex(Sleep::Space);
            let value = word.load(Ordering::Relaxed);
            self.link.arm(Sleep::Space);
            let sent = self.put(bytes);
            if sent == 0 {
                self.futexes.wait(&[(word, value)]);
            }
            bytes = &bytes[sent..];
        }
    }

    /// A receive that does not sleep: takes what is there, up to `room` bytes, and says which carrier it is at.
    /// Under the lock.
    pub fn receive_now(&self, out: &mut Vec<u8>, room: usize) -> Carrier {
        let rx = self.link.consumer();
        let end = out.len() + room;
        while out.len() < end {
            match rx.look().unwrap() {
                look @ Look::Tcp { turn, until } => {
                    if !self.drop_void() {
                        return Carrier::Tcp;
                    }
                    let (taken, waiting) = self.rx.peek();
                    if until.is_some_and(|until| taken > until) {
                        assert_ne!(rx.look().unwrap(), look, "took bytes from behind a switch");
                        continue;
                    }
                    if until == Some(taken) {
                        self.follow(turn);
                        continue;
                    }
                    let mut len = waiting.min(end - out.len());
                    let mut again = look;
                    if !planted("receive: look again after the peek") {
                        again = rx.look().unwrap();
                        if let Look::Tcp { until: Some(until), .. } = again {
                            len = len.min((until - taken) as usize);
                        }
                    }
                    if len == 0 && again == look {
                        return Carrier::Tcp;
                    }
                    out.extend(self.rx.take(len));
                }
                Look::Ring { available: 0, .. } => return Carrier::Ring,
                Look::Ring { head, available } => {
                    let len = available.min((end - out.len()) as u32);
                    let start = out.len();
                    out.resize(start + len as usize, 0);
                    // SAFETY: `out` has just been made long enough.
                    unsafe { rx.copy_out(head, 0, out[start..].as_mut_ptr(), len) };
                    match rx.consume(head, len) {
                        Ok(wake) => self.deliver(wake),
                        Err(_) => out.truncate(start),
                    }
                }
                Look::Crossing { turn } => self.follow(turn),
            }
        }
        Carrier::of(rx.followed())
    }

    /// Drops from TCP what the ring has given already; whether all of it.
    fn drop_void(&self) -> bool {
        let rx = self.link.consumer();
        rx.note_dropped(self.rx.take(rx.void() as usize).len() as u64);
        rx.void() == 0 || planted("receive: drops what is void")
    }

    /// Departs: what is unread goes through TCP as well, unless a recall is to be answered. Under the lock.
    pub fn depart(&self) {
        let tx = self.link.producer();
        match tx.try_depart().unwrap() {
            None => self.answer(),
            Some(departure) => {
                self.deliver(departure.wake);
                let mut bytes = vec![0; departure.copy as usize];
                // SAFETY: as long as what is copied, which is left behind.
                unsafe { tx.copy_back(departure.position, bytes.as_mut_ptr(), departure.copy) };
                self.tx.write(&bytes);
            }
        }
    }

    /// Follows a turn and tells this endpoint's other sleepers that the place to look has changed.
    fn follow(&self, turn: u32) {
        if self.link.consumer().follow(turn).is_ok() && !planted("follow: wakes the others") {
            self.wake_own();
        }
    }

    /// Answers a recall: what is left behind goes through TCP, then everything. Under the lock.
    pub fn answer(&self) {
        let tx = self.link.producer();
        loop {
            let (position, left) = tx.left_behind().unwrap();
            if left == 0 {
                return self.deliver(tx.go_back());
            }
            // One at a time, as a TCP that is nearly full takes them.
            let mut byte = 0;
            // SAFETY: room for one byte, which is left behind.
            unsafe { tx.copy_back(position, &mut byte, 1) };
            self.tx.write(&[byte]);
            tx.note_resent(position + 1);
        }
    }

    /// Tells this endpoint's own sleepers to look again.
    pub fn wake_own(&self) {
        self.link.local().fetch_add(1, Ordering::SeqCst);
        self.futexes.wake_all(self.link.local());
        self.own_bell.ring();
    }

    /// Receives exactly `len` bytes, asleep in poll while there are none.
    pub fn receive(&self, me: u32, hub: usize, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            self.lock(self.link.rx_lock(), me);
            let room = len - out.len();
            let carrier = self.receive_now(&mut out, room);
            self.unlock(self.link.rx_lock());
            if out.len() == len {
                return out;
            }
            self.sleep_in_poll(hub, carrier);
        }
    }

    /// Sleeps in poll until there may be something to receive; `carrier` is where the last look was.
    pub fn sleep_in_poll(&self, hub: usize, mut carrier: Carrier) {
        let hub = if planted("poll: one hub for all") { 0 } else { hub };
        let late = planted("poll: harvest after arming");
        if !late {
            self.own_bell.harvest(hub);
        }
        self.link.arm(Sleep::Poll);
        if late {
            self.own_bell.harvest(hub);
        }
        if !planted("poll: carrier from before arming") {
            carrier = Carrier::of(self.link.consumer().followed());
        }
        if planted("poll: no look after arming") || !self.link.consumer().glance() {
            let tcp = (carrier == Carrier::Tcp).then_some(&*self.rx);
            kernel::poll(&self.own_bell, hub, tcp);
        }
    }

    /// Receives up to and with the byte `last`, asleep on the futex while there is nothing.
    pub fn receive_until(&self, me: u32, last: u8) -> Vec<u8> {
        let mut out = Vec::new();
        while out.last() != Some(&last) {
            out.extend(self.receive_on_futex(me, 1));
        }
        out
    }

    /// Receives exactly `len` bytes from the ring, asleep on the futex while there are none.
    pub fn receive_on_futex(&self, me: u32, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            self.lock(self.link.rx_lock(), me);
            let room = len - out.len();
            self.receive_now(&mut out, room);
            self.unlock(self.link.rx_lock());
            if out.len() == len {
                return out;
            }
            self.sleep_on_futex(|| false);
        }
    }

    /// Sleeps on the futex until there may be something to receive, or something to `notice`.
    pub fn sleep_on_futex(&self, notice: impl Fn() -> bool) {
        let (data, local) = (self.link.futex(Sleep::Data), self.link.local());
        let read = || (data.load(Ordering::Relaxed), local.load(Ordering::Relaxed));
        let late = planted("futex: values read after arming");
        let mut values = if late { (0, 0) } else { read() };
        self.link.arm(Sleep::Data);
        if late {
            values = read();
        }
        if planted("futex: no look after arming") || !(notice() || self.link.consumer().glance()) {
            self.futexes.wait(&[(data, values.0), (local, values.1)]);
        }
    }
}
