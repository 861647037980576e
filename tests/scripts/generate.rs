//! Scripts from seeds: proposals at random, of which the model takes what is legal.

use crate::model::{ATOMIC, Blocked, Model, ROOM};
use crate::script::{ACTORS, Actor, Call, FIRST_CHILD, SLOTS, Start, Step, process_of};
use crate::world::Settings;
use std::collections::VecDeque;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Less than `below`.
    pub fn up_to(&mut self, below: usize) -> usize {
        (self.next() % below.max(1) as u64) as usize
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.up_to(many) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.up_to(from.len())]
    }

    fn flag(&mut self, many: usize, flag: i32) -> i32 {
        if self.one_in(many) { flag } else { 0 }
    }
}

/// The settings of the seed's worlds.
pub fn settings(seed: u64) -> Settings {
    let mut random = Random::new(seed ^ 0x5e77_1465);
    Settings {
        ring_kib: random.pick(&[4, 4, 16, 256]),
        spin_us: random.pick(&[None, None, Some(0)]),
        min_ops: random.pick(&[1, 1, 1, 4]),
    }
}

/// The script of a seed: the same one for ever.
pub fn script(seed: u64, settings: Settings) -> Vec<Step> {
    let mut random = Random::new(seed);
    // A call that must not block sends what the ring has room for. Over TCP it is all of it: a short count is the one thing
    // that programs which do not block are told to expect, and docs/compatibility.md says that buffers differ.
    let room = if (settings.ring_kib << 10) as i32 > ROOM { ROOM } else { 0 };
    loop {
        let length = 8 + random.up_to(random.clone().up_to(60) + 1);
        if let Some(steps) = attempt(Random::new(random.next()), length, room) {
            return steps;
        }
    }
}

struct Generator {
    random: Random,
    model: Model,
    steps: Vec<Step>,
    /// What is to come next, if it is legal then.
    next: VecDeque<Step>,
    /// How much may be unread when a call sends that must not block.
    room: i32,
}

fn attempt(random: Random, length: usize, room: i32) -> Option<Vec<Step>> {
    let mut this = Generator { random, model: Model::new(), steps: Vec::new(), next: VecDeque::new(), room };
    for _ in 0..1 + this.random.up_to(2) {
        this.connection();
        this.follow();
    }
    let mut tries = 0;
    while this.steps.len() < length && tries < length * 40 {
        tries += 1;
        if this.join() {
            continue;
        }
        this.follow();
        if this.model.pending.iter().any(Option::is_some) && this.random.one_in(3) {
            this.resolve();
        } else {
            this.propose();
        }
    }
    this.next.clear();
    for _ in 0..400 {
        if this.join() {
            continue;
        }
        if this.model.is_over() {
            return Some(this.steps);
        }
        this.resolve();
        this.follow();
    }
    None
}

impl Generator {
    fn take(&mut self, step: Step) -> bool {
        if let Call::Send { slot, size, flags, .. } = step.call
            && let Some(end) = self.model.end_at(process_of(step.actor), slot)
            && (self.model.ends[end].nonblock || flags & libc::MSG_DONTWAIT != 0)
            && self.model.ends[end ^ 1].unread + size > self.room.max(ATOMIC / 2)
        {
            return false;
        }
        let legal = self.model.play(&step).is_some();
        if legal {
            self.steps.push(step);
        }
        legal
    }

    /// The call as it is, or begun, if it blocks.
    fn make(&mut self, actor: Actor, call: Call) -> bool {
        if self.take(Step { actor, start: Start::Whole, call: call.clone() }) {
            return true;
        }
        let start = self.random.pick(&[Start::Asleep, Start::Asleep, Start::Loose]);
        self.take(Step { actor, start, call })
    }

    fn follow(&mut self) {
        while let Some(step) = self.next.pop_front() {
            if self.join() {
                self.next.push_front(step);
            } else if step.start == Start::Whole {
                self.make(step.actor, step.call);
            } else {
                self.take(step);
            }
        }
    }

    fn later(&mut self, actor: Actor, start: Start, call: Call) {
        self.next.push_back(Step { actor, start, call });
    }

    fn join(&mut self) -> bool {
        let due: Vec<_> = (0..ACTORS).filter(|a| self.model.pending[*a].as_ref().is_some_and(|p| p.due)).collect();
        if due.is_empty() {
            return false;
        }
        let actor = self.random.pick(&due);
        self.take(Step { actor, start: Start::Whole, call: Call::Join {} })
    }

    /// Somebody who has nothing to do.
    fn idle(&mut self) -> Option<Actor> {
        let idle: Vec<_> =
            (0..ACTORS).filter(|actor| self.model.alive[*actor] && self.model.pending[*actor].is_none()).collect();
        if idle.is_empty() { None } else { Some(self.random.pick(&idle)) }
    }

    /// An idle actor with a descriptor of this end.
    fn holder(&mut self, end: usize) -> Option<(Actor, i32)> {
        let mut all = Vec::new();
        for actor in (0..ACTORS).filter(|actor| self.model.alive[*actor] && self.model.pending[*actor].is_none()) {
            for slot in 0..SLOTS as i32 {
                if self.model.end_at(process_of(actor), slot) == Some(end) {
                    all.push((actor, slot));
                }
            }
        }
        if all.is_empty() { None } else { Some(self.random.pick(&all)) }
    }

    fn empty_slot(&mut self, process: usize) -> i32 {
        let empty: Vec<_> = (0..SLOTS).filter(|slot| self.model.slots[process][*slot].is_none()).collect();
        if empty.is_empty() { 0 } else { self.random.pick(&empty) as i32 }
    }

    fn end_slot(&mut self, process: usize) -> i32 {
        let ends: Vec<_> = (0..SLOTS as i32).filter(|slot| self.model.end_at(process, *slot).is_some()).collect();
        if ends.is_empty() { -1 } else { self.random.pick(&ends) }
    }

    fn set_slot(&mut self, process: usize) -> i32 {
        let sets: Vec<_> = (0..SLOTS as i32)
            .filter(|slot| {
                self.model.slots[process][*slot as usize].is_some() && self.model.end_at(process, *slot).is_none()
            })
            .collect();
        if sets.is_empty() { -1 } else { self.random.pick(&sets) }
    }

    /// A connection, accepted, perhaps with round trips that let it move.
    fn connection(&mut self) {
        let Some(actor) = self.idle() else { return };
        let actor = if self.random.one_in(4) { actor } else { self.random.up_to(2) };
        let listener = self.random.up_to(2) as i32;
        let family = if listener == 0 { 0 } else { self.random.up_to(3) as i32 };
        // What Nagle's algorithm holds back comes when it comes.
        let (nonblock, nagle) = (i32::from(self.random.one_in(5)), 0);
        let slot = self.empty_slot(process_of(actor));
        let end = self.model.ends.len();
        if !self.take(Step {
            actor,
            start: Start::Whole,
            call: Call::Connect { slot, listener, family, nonblock, nagle },
        }) {
            return;
        }
        if self.random.one_in(12) {
            return;
        }
        let server = 2 + self.random.up_to(2);
        let form = self.random.up_to(2) as i32;
        let flags = if form == 0 {
            0
        } else {
            self.random.flag(4, libc::SOCK_NONBLOCK) | self.random.flag(3, libc::SOCK_CLOEXEC)
        };
        let to = self.empty_slot(process_of(server));
        self.join();
        self.make(server, Call::Accept { slot: to, listener, flags, form });
        if self.model.end_at(process_of(server), to) == Some(end + 1) && !self.random.one_in(8) {
            self.trips(actor, slot, server, to);
        }
    }

    fn trips(&mut self, actor: Actor, slot: i32, server: Actor, to: i32) {
        let size = self.random.pick(&[1, 10, 64, 64, 500, 4000]);
        let count = self.random.pick(&[1, 3, 6, 10, 20, 20, 30, 40]);
        let start = self.random.pick(&[Start::Asleep, Start::Loose]);
        self.later(server, start, Call::Echo { slot: to, size, count });
        self.later(actor, Start::Whole, Call::Lead { slot, size, count });
    }

    fn size(&mut self) -> i32 {
        match self.random.up_to(4) {
            0 => self.random.up_to(64) as i32,
            1 => self.random.pick(&[
                0, 1, 2, 63, 64, 65, 127, 128, 1000, 1460, 4095, 4096, 4097, 8192, 16_383, 16_384, 16_385, 30_000,
            ]),
            2 => self.random.up_to(ATOMIC as usize) as i32,
            _ => self.random.up_to(if self.random.clone().one_in(3) { ROOM as usize } else { 600 }) as i32,
        }
    }

    /// How much a reader asks for: more or less what is there.
    fn appetite(&mut self, unread: i32) -> i32 {
        match self.random.up_to(6) {
            0 => unread,
            1 => unread + 1,
            2 => (unread - 1).max(0),
            3 => self.random.up_to(unread.max(1) as usize) as i32,
            4 => 60_000,
            _ => self.size(),
        }
    }

    /// Any call of anybody.
    fn propose(&mut self) {
        let Some(actor) = self.idle() else { return };
        let process = process_of(actor);
        let slot = self.end_slot(process);
        if slot < 0 {
            self.connection();
            return;
        }
        let Some(end) = self.model.end_at(process, slot) else { return };
        match self.random.up_to(100) {
            0..22 => self.propose_send(actor, slot),
            22..44 => self.propose_recv(actor, slot, end),
            44..52 => self.propose_poll(actor, process, slot),
            52..70 => self.propose_epoll(actor, process, slot),
            70..74 => {
                let what = self.random.pick(&[0, 0, 1, 2, 3, 4]);
                self.make(actor, Call::Ask { slot, what });
            }
            74..77 => {
                let how = self.random.pick(&[0, 1, 1, 1, 2]);
                self.make(actor, Call::Shutdown { slot, how });
            }
            77..80 => {
                let form = i32::from(self.random.one_in(4));
                self.make(actor, Call::Close { slot, form });
            }
            80..83 => {
                let form = self.random.up_to(6) as i32;
                let to = if self.random.one_in(3) { self.end_slot(process) } else { self.empty_slot(process) };
                self.make(actor, Call::Dup { slot, to, form });
            }
            83..86 => {
                let (on, by) = (self.random.up_to(2) as i32, self.random.up_to(3) as i32);
                self.make(actor, Call::Nonblock { slot, on, by });
            }
            86..89 => self.propose_option(actor, slot),
            89..91 => self.connection(),
            91..93 => {
                if let Some((other, to)) = self.holder(end ^ 1) {
                    self.trips(actor, slot, other, to);
                }
            }
            93..95 => self.propose_bulk(actor, slot, end),
            95..97 => {
                let child = (FIRST_CHILD + self.model.children) as i32;
                self.make(actor, Call::Fork { child });
            }
            97 => {
                if actor >= FIRST_CHILD {
                    let call = match self.random.up_to(3) {
                        0 => Call::Exec { bare: self.random.up_to(2) as i32 },
                        1 => Call::Exit { form: self.random.up_to(2) as i32 },
                        _ => Call::Kill {},
                    };
                    self.take(Step { actor, start: Start::Whole, call });
                }
            }
            98 => {
                let us = self.random.pick(&[0, 50, 1000, 3000]);
                self.make(actor, Call::Nap { us });
            }
            _ => {
                let slot = self.empty_slot(process);
                let listener = self.random.up_to(2) as i32;
                self.make(actor, Call::Accept { slot, listener, flags: 0, form: 0 });
            }
        }
    }

    fn propose_send(&mut self, actor: Actor, slot: i32) {
        let out = if self.random.one_in(2) { 0 } else { self.random.up_to(9) as i32 };
        let flags = if matches!(out, 1..=3 | 7 | 8) {
            0
        } else {
            self.random.flag(4, libc::MSG_NOSIGNAL)
                | self.random.flag(6, libc::MSG_DONTWAIT)
                | self.random.flag(30, libc::MSG_MORE)
        };
        let size = self.size();
        self.make(actor, Call::Send { slot, size, flags, out });
    }

    fn propose_recv(&mut self, actor: Actor, slot: i32, end: usize) {
        let into = if self.random.one_in(2) { 0 } else { self.random.up_to(8) as i32 };
        let flags = match into {
            1..=3 => 0,
            7 => self.random.flag(2, libc::MSG_DONTWAIT),
            _ => {
                self.random.flag(4, libc::MSG_PEEK)
                    | self.random.flag(4, libc::MSG_WAITALL)
                    | self.random.flag(3, libc::MSG_DONTWAIT)
                    | self.random.flag(20, libc::MSG_TRUNC)
            }
        };
        let size = self.appetite(self.model.ends[end].unread);
        self.make(actor, Call::Recv { slot, size, flags, into });
    }

    fn propose_poll(&mut self, actor: Actor, process: usize, slot: i32) {
        let mut slots = 1 << slot;
        while self.random.one_in(2) {
            slots |= 1 << self.end_slot(process);
        }
        let form = self.random.up_to(4) as i32;
        let events = self.events() & if form >= 2 { 7 } else { 0x2007 };
        let ms = self.random.pick(&[0, 0, 0, 2, -1, -1]);
        self.make(actor, Call::Poll { slots, events, ms, form });
    }

    fn events(&mut self) -> i32 {
        let (input, output, end) = (libc::EPOLLIN, libc::EPOLLOUT, libc::EPOLLRDHUP);
        self.random.pick(&[input, input, input | output, output, input | end, input | output | end, end, 0])
    }

    fn propose_epoll(&mut self, actor: Actor, process: usize, slot: i32) {
        let set = self.set_slot(process);
        if set < 0 || self.random.one_in(12) {
            let slot = self.empty_slot(process);
            self.make(actor, Call::Set { slot });
            return;
        }
        if self.random.one_in(2) {
            let op = self.random.pick(&[1, 1, 1, 3, 3, 2]);
            let kinds = self.random.flag(3, libc::EPOLLET) | self.random.flag(5, libc::EPOLLONESHOT);
            let events = self.events() | kinds;
            let data = self.random.up_to(10) as i32;
            self.make(actor, Call::Control { set, op, slot, events, data });
        } else {
            let (ms, form) = (self.random.pick(&[0, 0, 0, 2, -1, -1]), self.random.up_to(3) as i32);
            self.make(actor, Call::Wait { set, most: 16, ms, form });
            // What was told once is told again, or is not.
            for _ in 0..self.random.up_to(4) {
                self.make(actor, Call::Wait { set, most: 16, ms: 0, form });
            }
        }
    }

    fn propose_option(&mut self, actor: Actor, slot: i32) {
        let (what, value) = match self.random.up_to(8) {
            0 => (1, self.random.up_to(2)),
            1 => (2, self.random.up_to(2)),
            2 => (3, self.random.up_to(2)),
            3 => (4, self.random.up_to(2)),
            4 | 5 => (5, self.random.pick(&[0, 5, 15])),
            6 => (6, self.random.pick(&[1, 1, 2, 10, 1000])),
            _ => (0, 1),
        };
        self.make(actor, Call::Option { slot, what, value: value as i32 });
    }

    fn propose_bulk(&mut self, actor: Actor, slot: i32, end: usize) {
        let Some((other, to)) = self.holder(end ^ 1) else { return };
        let chunk = self.random.pick(&[100, 1000, 4096, 10_000, 65_536, 300_000]);
        if self.random.one_in(3) {
            self.later(actor, Start::Whole, Call::Fill { slot, chunk });
            self.later(other, Start::Whole, Call::Drain { slot: to });
            return;
        }
        let most = self.random.pick(&[5000, 20_000, 100_000, 300_000]).min(chunk * 300);
        let (send, take) = match self.random.up_to(3) {
            0 => (self.random.up_to(most as usize) as i32 + 1, 0),
            1 => (0, self.random.up_to(most as usize) as i32 + 1),
            _ => (self.random.up_to(most as usize) as i32, self.random.up_to(most as usize) as i32 + 1),
        };
        let (here, there) = (self.random.up_to(5) as i32, self.random.up_to(5) as i32);
        let start = self.random.pick(&[Start::Asleep, Start::Loose, Start::Loose]);
        self.later(actor, start, Call::Pump { slot, send, take, chunk, form: here });
        self.later(other, Start::Whole, Call::Pump { slot: to, send: take, take: send, chunk, form: there });
    }

    /// A step that lets somebody who is blocked go on.
    fn resolve(&mut self) {
        let blocked: Vec<_> = (0..ACTORS).filter(|actor| self.model.pending[*actor].is_some()).collect();
        if blocked.is_empty() {
            return;
        }
        let actor = self.random.pick(&blocked);
        let Some(pending) = self.model.pending[actor].clone() else { return };
        if pending.asleep && self.random.one_in(5) {
            let call = match self.random.up_to(4) {
                0 if actor >= FIRST_CHILD => Call::Kill {},
                _ => Call::Signal { number: self.random.up_to(2) as i32 },
            };
            self.take(Step { actor, start: Start::Whole, call });
            return;
        }
        match pending.blocked {
            Blocked::Recv { end, size, flags, .. } => {
                let missing = if flags & libc::MSG_WAITALL != 0 {
                    (size - self.model.ends[end].unread).max(1)
                } else {
                    1 + self.random.up_to(2 * size.max(1) as usize) as i32
                };
                self.answer(end, missing);
            }
            Blocked::Accept { .. } => self.connection(),
            Blocked::Poll { slots, .. } => {
                let (_, end) = self.random.pick(&slots);
                let size = self.size();
                self.answer(end, size);
            }
            Blocked::Wait { .. } => self.propose(),
            Blocked::Echo { end, size, count } => {
                if let Some((actor, slot)) = self.holder(end ^ 1) {
                    self.make(actor, Call::Lead { slot, size, count });
                }
            }
            Blocked::Pump { end, send, take } => {
                if let Some((actor, slot)) = self.holder(end ^ 1) {
                    let (chunk, form) = (self.random.pick(&[1000, 4096, 65_536]), self.random.up_to(5) as i32);
                    self.take(Step {
                        actor,
                        start: Start::Whole,
                        call: Call::Pump { slot, send: take, take: send, chunk, form },
                    });
                }
            }
        }
    }

    /// Something that a reader of `end` hears of.
    fn answer(&mut self, end: usize, size: i32) {
        let Some((actor, slot)) = self.holder(end ^ 1) else { return };
        match self.random.up_to(10) {
            0 => {
                self.make(actor, Call::Shutdown { slot, how: 1 });
            }
            1 => {
                self.make(actor, Call::Close { slot, form: 0 });
            }
            2 => {
                if let Some((other, slot)) = self.holder(end) {
                    let how = self.random.pick(&[0, 2]);
                    self.make(other, Call::Shutdown { slot, how });
                }
            }
            _ => {
                let out = self.random.pick(&[0, 0, 1, 2, 5]);
                self.make(actor, Call::Send { slot, size: size.min(ATOMIC), flags: 0, out });
            }
        }
    }
}
