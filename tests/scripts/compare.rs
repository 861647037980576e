//! What is a difference, and what is not.
//!
//! What the runner says of each call is compared as it is: the model has seen to it that there is one outcome. The rules
//! that stand between two texts and a verdict:
//!
//! - *Order within a set.* What one epoll_wait reports is sorted by the registrations' data (readiness.c): the order is the
//!   kernel's own business.
//! - *Two calls at once.* A wait in an epoll set is made twice, the second time without waiting, and what both tell is one
//!   (readiness.c): the kernel tells everything in one call, the shim does not ask the kernel in each (docs/architecture.md),
//!   and a program that waits cannot know what happened between.
//! - *Counts of bulk.* `fill`, `drain`, `pump`, `lead` and `echo` say sums and the state at the end: how much one call of many
//!   takes depends on buffers, which docs/compatibility.md says differ. So does how much a send takes that must not block
//!   and finds a small ring: the generator leaves those out (generate.rs).
//! - *An edge once more.* The shim may report an edge-triggered registration's last edge a second time when its connection
//!   moves (docs/compatibility.md): the kernel does not tell whether it was reported. Once for each registration, and only an
//!   event that was told before.
//! - *When a FIN is acknowledged* is the peer's kernel's choice, which may wait for data to go with it (delayed ACK) or not; and
//!   it wakes whoever watches the one that sent it. So an edge of EPOLLOUT that plain TCP tells after an own shutdown may have
//!   been one with the shutdown's own, where the acknowledgement came at once. Once for each registration, and only behind the
//!   shutdown's own edge, which was told.
//! - *The kernel's own freedom* (engine.rs). A script that differs is played over plain TCP again: if the kernel itself ever
//!   says what the shim said, in all steps together, it is no difference. It is counted, since a script with two outcomes
//!   tests less.

use crate::plan::Plan;
use crate::script::{Call, Step, process_of};
use crate::world::Outcome;
use std::collections::HashSet;

/// Whether what was said under the shim is what was said over plain TCP.
pub fn is_same(steps: &[Step], plain: &Outcome, shimmed: &Outcome) -> bool {
    if plain == shimmed {
        return true;
    }
    if plain.broken.is_some() || shimmed.broken.is_some() {
        return false;
    }
    let mut edges = Edges::default();
    let texts = plain.said.iter().zip(&shimmed.said);
    steps.iter().zip(texts).all(|(step, (plain, shimmed))| edges.is_same(step, plain, shimmed))
}

/// The edge-triggered registrations: by process, set, and slot.
#[derive(Default)]
struct Edges {
    registered: HashSet<(usize, i32, i32)>,
    excused: HashSet<(usize, i32, i32)>,
    /// By process and slot: shut down by this process.
    shut: HashSet<(usize, i32)>,
    /// Those that have told EPOLLOUT since.
    told_since: HashSet<(usize, i32, i32)>,
    /// Those that have not told of the FIN's acknowledgement by itself.
    acknowledged: HashSet<(usize, i32, i32)>,
    told: HashSet<(usize, i32, String)>,
}

impl Edges {
    /// Whether all that an event says was said before of the same registration.
    fn was_told(&self, process: usize, set: i32, event: &str) -> bool {
        let (name, bits) = event.split_once(':').unwrap_or((event, ""));
        let of_it = self.told.iter().filter(|(p, s, _)| (*p, *s) == (process, set));
        of_it
            .filter_map(|(_, _, told)| told.split_once(':'))
            .any(|(other, told)| other == name && bits.split('|').all(|bit| told.split('|').any(|told| told == bit)))
    }

    fn is_same(&mut self, step: &Step, plain: &str, shimmed: &str) -> bool {
        let process = process_of(step.actor);
        match step.call {
            Call::Control { set, op, slot, events, .. } if plain.trim() == "0" => {
                let registration = (process, set, slot);
                self.told_since.remove(&registration);
                if op != 2 && events & libc::EPOLLET != 0 {
                    self.registered.insert(registration);
                } else {
                    self.registered.remove(&registration);
                }
            }
            Call::Shutdown { slot, how } if how != 0 => {
                self.shut.insert((process, slot));
            }
            Call::Connect { slot, .. }
            | Call::Accept { slot, .. }
            | Call::Close { slot, .. }
            | Call::Dup { to: slot, .. } => {
                self.shut.remove(&(process, slot));
            }
            Call::Wait { set, .. } => {
                let events = |text: &str| text.split_whitespace().skip(1).map(str::to_owned).collect::<HashSet<_>>();
                let (expected, got) = (events(plain), events(shimmed));
                let slot_of = |event: &str| event.split('.').next().and_then(|slot| slot.parse().ok()).unwrap_or(-1);
                let once_more = got.difference(&expected).all(|event| {
                    let slot = slot_of(event);
                    self.registered.contains(&(process, set, slot))
                        && self.was_told(process, set, event)
                        && self.excused.insert((process, set, slot))
                });
                let same = once_more
                    && expected.difference(&got).all(|event| {
                        let (slot, succeeds) = (slot_of(event), shimmed.trim_start().starts_with(char::is_numeric));
                        let registration = (process, set, slot);
                        succeeds
                            && event.ends_with(":OUT")
                            && self.registered.contains(&registration)
                            && self.shut.contains(&(process, slot))
                            && self.told_since.contains(&registration)
                            && self.acknowledged.insert(registration)
                    });
                for event in got.iter().filter(|event| event.ends_with(":OUT")) {
                    let slot = slot_of(event);
                    if self.shut.contains(&(process, slot)) {
                        self.told_since.insert((process, set, slot));
                    }
                }
                self.told.extend(got.into_iter().map(|event| (process, set, event)));
                return plain == shimmed || same;
            }
            _ => {}
        }
        plain == shimmed
    }
}

/// Each step with what it said.
pub fn listing(plan: &Plan, outcome: &Outcome) -> String {
    plan.lines.iter().zip(&outcome.said).map(|(line, said)| format!("  {line} ->{said}\n")).collect()
}

/// The same for two outcomes.
pub fn difference(plan: &Plan, plain: &Outcome, shimmed: &Outcome) -> String {
    let mut text = String::new();
    for ((line, plain), shimmed) in plan.lines.iter().zip(&plain.said).zip(&shimmed.said) {
        if plain == shimmed {
            text += &format!("  {line} ->{plain}\n");
        } else {
            text += &format!("- {line} ->{plain}\n+ {line} ->{shimmed}\n");
        }
    }
    if let Some(why) = &shimmed.broken {
        text += &format!("+ {why}\n");
    }
    text
}
