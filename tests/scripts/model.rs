//! What a script may do next: a small model of what each descriptor refers to and what each stream holds.
//!
//! It does not foretell what calls return; the kernel does that. It knows which calls would block, so that no script waits
//! for ever; what must have arrived before a call's outcome is the kernel's promise and not an accident of timing (the
//! *settling* before it); and it refuses what has no single outcome: two threads that race for the same bytes, counts that
//! depend on buffers. Whatever it allows has one outcome over plain TCP.

mod descriptors;
mod processes;
mod readiness;
mod stream;

use crate::page::ENDS;
use crate::script::{
    ACTORS, ARGUMENTS, Actor, Call, FIRST_CHILD, FIRST_OF_BOB, PROCESSES, SETTLE_DATA, SETTLE_END, SLOTS, Start, Step,
    process_of,
};
use std::collections::VecDeque;

/// Unread bytes of one direction: less than the least room that TCP gives, so that no send of a step blocks or is cut.
pub const ROOM: i32 = 32 << 10;
/// What one segment carries for certain, so that a reader that wakes sees all of a send or nothing.
pub const ATOMIC: i32 = 4096;
/// Its place among the words for how to receive.
const RECVMMSG: i32 = 6;

/// What a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// An end of a connection; the other end's number differs in the last bit.
    End(usize),
    /// An epoll set.
    Set(usize),
}

#[derive(Clone, Copy, Debug)]
pub struct Open {
    pub thing: Thing,
    cloexec: bool,
}

#[derive(Clone, Debug, Default)]
pub struct End {
    descriptors: u32,
    /// Not accepted yet.
    queued: bool,
    dead: bool,
    pub unread: i32,
    /// The peer's end of stream is there, a reset, the own shutdowns.
    pub fin: bool,
    pub reset: bool,
    pub rd_shut: bool,
    pub wr_shut: bool,
    linger: bool,
    pub nonblock: bool,
    timeout: bool,
    lowat: i32,
    cork: bool,
    nagle: bool,
    /// Bytes on the way here that the sender's kernel may hold back.
    held: bool,
    /// Filled to the brim: how much is unread is not known.
    pub flooded: bool,
    /// What has happened to it by others, and was not waited for yet.
    new_data: bool,
    new_end: bool,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    slot: usize,
    end: usize,
    events: i32,
    armed: bool,
    edge: bool,
}

#[derive(Clone, Debug, Default)]
struct Set {
    process: usize,
    descriptors: u32,
    members: Vec<Member>,
    /// A descriptor that a member was added by is closed while others refer to the same end.
    stale: bool,
}

/// A call that blocks.
#[derive(Clone, Debug)]
pub enum Blocked {
    Recv { slot: i32, end: usize, size: i32, flags: i32, into: i32 },
    Accept { listener: usize, slot: usize, nonblock: bool, cloexec: bool },
    Poll { slots: Vec<(usize, usize)>, events: i32 },
    Wait { set: usize },
    Echo { end: usize, size: i32, count: i32 },
    Pump { end: usize, send: i32, take: i32 },
}

#[derive(Clone, Debug)]
pub struct Pending {
    pub blocked: Blocked,
    pub asleep: bool,
    /// It returns now; `interrupted`: with EINTR, or with what it has so far.
    pub due: bool,
    interrupted: bool,
}

/// The world of a script, as far as it has come.
#[derive(Clone, Debug)]
pub struct Model {
    pub slots: [[Option<Open>; SLOTS]; PROCESSES],
    pub alive: [bool; ACTORS],
    /// Has bob's listeners.
    listens: [bool; PROCESSES],
    pub ends: Vec<End>,
    pub queue: [VecDeque<usize>; 2],
    sets: Vec<Set>,
    pub pending: [Option<Pending>; ACTORS],
    /// Children so far.
    pub children: usize,
}

/// A record for the runner: what it does, with which numbers.
pub type Order = (i32, [i32; ARGUMENTS]);

/// What the runner needs to know of a call before it makes it.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// What it is to do first.
    pub orders: Vec<Order>,
    /// The end that the call is about, if it carries bytes.
    pub end: usize,
}

/// What a call needs of a direction.
enum Outcome {
    Blocks,
    Takes(i32),
}

impl Model {
    pub fn new() -> Self {
        let mut alive = [false; ACTORS];
        alive[..FIRST_CHILD].fill(true);
        let mut listens = [false; PROCESSES];
        listens[process_of(FIRST_OF_BOB)] = true;
        Self {
            slots: [[None; SLOTS]; PROCESSES],
            alive,
            listens,
            ends: Vec::new(),
            queue: [VecDeque::new(), VecDeque::new()],
            sets: Vec::new(),
            pending: std::array::from_fn(|_| None),
            children: 0,
        }
    }

    /// Plays a step; `None`, and nothing has changed, when it is not allowed.
    pub fn play(&mut self, step: &Step) -> Option<Before> {
        let mut next = self.clone();
        let done = next.step(step)?;
        next.wake();
        *self = next;
        Some(done)
    }

    /// Somebody who is to be joined now.
    pub fn due(&self) -> Option<Actor> {
        self.pending.iter().position(|pending| pending.as_ref().is_some_and(|pending| pending.due))
    }

    /// Whether a script may end here.
    pub fn is_over(&self) -> bool {
        self.pending.iter().all(Option::is_none)
    }

    /// The end in a slot.
    pub fn end_at(&self, process: usize, slot: i32) -> Option<usize> {
        match self.slots[process].get(usize::try_from(slot).ok()?)?.as_ref()?.thing {
            Thing::End(end) => Some(end),
            Thing::Set(_) => None,
        }
    }

    fn set_at(&self, process: usize, slot: i32) -> Option<usize> {
        match self.slots[process].get(usize::try_from(slot).ok()?)?.as_ref()?.thing {
            Thing::Set(set) if self.sets[set].process == process => Some(set),
            _ => None,
        }
    }

    fn step(&mut self, step: &Step) -> Option<Before> {
        let actor = step.actor;
        if !self.alive[actor] {
            return None;
        }
        let mut before = Before::default();
        match step.call {
            Call::Join {} => {
                let pending = self.pending[actor].take_if(|pending| pending.due)?;
                self.returns(actor, pending);
            }
            // Whoever is to return returns first.
            _ if self.due().is_some() => return None,
            Call::Signal { number } => self.signal(actor, number == 1)?,
            Call::Kill {} => before.orders = self.kill(actor)?,
            _ if self.pending[actor].is_some() => return None,
            _ => match (step.start, self.call(actor, &step.call, &mut before)?) {
                (Start::Whole, None) => {}
                // A poll at the moment of a FIN reads some of the kernel's words before it, and some after.
                (Start::Loose, Some(Blocked::Poll { .. } | Blocked::Wait { .. })) => return None,
                // recvmmsg asks for the error before it begins: a reset may come before or after that.
                (Start::Loose, Some(Blocked::Recv { into: RECVMMSG, .. })) => return None,
                // Whether it waits for SO_RCVLOWAT depends on whether it had to wait.
                (Start::Loose, Some(Blocked::Recv { end, .. })) if self.ends[end].lowat > 1 => return None,
                (Start::Asleep | Start::Loose, Some(blocked)) => {
                    let asleep = step.start == Start::Asleep;
                    self.pending[actor] = Some(Pending { blocked, asleep, due: false, interrupted: false });
                }
                _ => return None,
            },
        }
        Some(before)
    }

    /// One call of an actor's; what it waits for, if it does.
    fn call(&mut self, actor: Actor, call: &Call, before: &mut Before) -> Option<Option<Blocked>> {
        let part = match call {
            Call::Send { .. }
            | Call::Recv { .. }
            | Call::Shutdown { .. }
            | Call::Lead { .. }
            | Call::Echo { .. }
            | Call::Pump { .. }
            | Call::Fill { .. }
            | Call::Drain { .. } => Self::stream,
            Call::Connect { .. }
            | Call::Accept { .. }
            | Call::Close { .. }
            | Call::Dup { .. }
            | Call::Nonblock { .. }
            | Call::Option { .. }
            | Call::Ask { .. } => Self::descriptors,
            Call::Poll { .. } | Call::Set { .. } | Call::Control { .. } | Call::Wait { .. } => Self::readiness,
            _ => Self::processes,
        };
        part(self, actor, call, before)
    }

    /// Whoever waits for what is there now is due.
    fn wake(&mut self) {
        for actor in 0..ACTORS {
            let Some(pending) = &self.pending[actor] else { continue };
            let due = match &pending.blocked {
                Blocked::Recv { end, size, flags, into, .. } => {
                    !self.ends[*end].held && matches!(self.outcome(*end, *size, *flags, *into, true), Outcome::Takes(_))
                }
                Blocked::Accept { listener, .. } => !self.queue[*listener].is_empty(),
                Blocked::Poll { slots, events } => {
                    let select = events & 1 << 30 != 0;
                    slots.iter().any(|(_, end)| self.is_ready(*end, *events, select))
                }
                Blocked::Wait { set } => !self.is_quiet(*set),
                Blocked::Echo { .. } | Blocked::Pump { .. } => false,
            };
            if let Some(pending) = &mut self.pending[actor] {
                pending.due |= due;
            }
        }
    }

    /// A blocked call has returned.
    fn returns(&mut self, actor: Actor, pending: Pending) {
        let process = process_of(actor);
        match pending.blocked {
            Blocked::Recv { end, size, flags, into, .. } => {
                if let Outcome::Takes(count) = self.outcome(end, size, flags, into, true) {
                    self.ends[end].unread -= count;
                } else if flags & libc::MSG_PEEK == 0 {
                    self.ends[end].unread = 0;
                }
                self.bury(end);
            }
            Blocked::Accept { listener, slot, nonblock, cloexec } if !pending.interrupted => {
                self.accept(process, listener, slot, nonblock, cloexec);
            }
            Blocked::Wait { set } if !pending.interrupted => self.harvest(set),
            Blocked::Poll { slots, .. } => {
                for (_, end) in slots {
                    self.bury(end);
                }
            }
            _ => {}
        }
    }
}
