//! A script as the conductor plays it: each step with the runner's orders that belong to it.

use crate::model::{Model, Order};
use crate::script::{ACTORS, ARGUMENTS, Actor, Call, FIRST_CHILD, FIRST_OF_BOB, Start, Step, TIDY};

/// Who does what, in which order, with which records of the page.
#[derive(Clone, Debug)]
pub struct Plan {
    pub acts: Vec<Act>,
    pub orders: Vec<Order>,
    /// The script's steps, each with the act that it became.
    pub lines: Vec<String>,
    /// Acts from here on only clear up.
    pub tidy: usize,
}

/// One step, or part of the clearing up.
#[derive(Clone, Debug)]
pub struct Act {
    pub actor: Actor,
    pub kind: Kind,
    /// Its records.
    pub first: usize,
    pub last: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Done by the actor before the next begins.
    Whole,
    /// Begun by the actor; it sleeps, or may still be running.
    Start {
        asleep: bool,
    },
    /// Waits until the actor has done what it was begun with.
    Join,
    /// A child: its number is taken by a new process.
    Fork {
        child: Actor,
    },
    /// The actor's process ends by itself.
    Exit,
    Kill,
    Signal(i32),
}

impl Plan {
    /// `None` for a script that is not legal.
    pub fn new(steps: &[Step]) -> Option<Self> {
        let mut model = Model::new();
        let mut plan = Self { acts: Vec::new(), orders: Vec::new(), lines: Vec::new(), tidy: 0 };
        for step in steps {
            let before = model.play(step)?;
            let first = plan.orders.len();
            plan.orders.extend(before.orders);
            let kind = match &step.call {
                Call::Join {} => Kind::Join,
                Call::Kill {} => Kind::Kill,
                Call::Signal { number } => Kind::Signal(if *number == 0 { libc::SIGUSR1 } else { libc::SIGUSR2 }),
                call => {
                    let mut argument = [0; ARGUMENTS];
                    for (place, (_, _, value)) in argument.iter_mut().zip(call.arguments()) {
                        *place = value;
                    }
                    argument[ARGUMENTS - 1] = before.end as i32;
                    plan.orders.push((call.number(), argument));
                    match (call, step.start) {
                        (Call::Fork { child }, _) => Kind::Fork { child: *child as usize },
                        (Call::Exit { .. }, _) => Kind::Exit,
                        (_, Start::Whole) => Kind::Whole,
                        (_, start) => Kind::Start { asleep: start == Start::Asleep },
                    }
                }
            };
            plan.acts.push(Act { actor: step.actor, kind, first, last: plan.orders.len() });
            plan.lines.push(step.to_string());
        }
        if !model.is_over() {
            return None;
        }
        plan.tidy = plan.acts.len();
        for child in (FIRST_CHILD..ACTORS).filter(|child| model.alive[*child]) {
            plan.end(child, Kind::Exit, Call::Exit { form: 0 }.number());
        }
        for actor in [0, FIRST_OF_BOB] {
            plan.end(actor, Kind::Whole, TIDY);
        }
        Some(plan)
    }

    fn end(&mut self, actor: Actor, kind: Kind, call: i32) {
        let first = self.orders.len();
        self.orders.push((call, [0; ARGUMENTS]));
        self.acts.push(Act { actor, kind, first, last: first + 1 });
    }
}
