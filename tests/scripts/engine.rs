//! The same script over plain TCP and under the shim, side by side, and a verdict (compare.rs).

use crate::compare::{difference, is_same, listing};
use crate::plan::Plan;
use crate::script::Step;
use crate::world::{Outcome, PATIENCE, Settings, World};
use slipstream_tests::{Lab, Mode};
use std::path::PathBuf;
use std::time::Duration;

/// Over what a script is played; the first one is the oracle.
pub const MODES: [Mode; 3] = [Mode::Plain, Mode::Shm, Mode::Uds];

/// How often the kernel is asked again.
const AGAIN: usize = 8;

/// What is known of a script.
#[derive(Debug)]
pub enum Verdict {
    Same,
    /// The kernel itself says now this, now that.
    Varies(String),
    Differs {
        mode: Mode,
        report: String,
    },
    /// Not played to its end over plain TCP: a mistake of the engine's.
    Stuck(String),
}

/// Worlds for all modes, kept from script to script.
#[derive(Debug)]
pub struct Engine {
    labs: Vec<Lab>,
    worlds: Vec<Option<World>>,
    runner: PathBuf,
    /// How long a call may take.
    pub patience: Duration,
    /// What processes complained on their standard error.
    pub complaints: String,
}

impl Engine {
    /// A broker for each mode that needs one.
    pub fn new(runner: PathBuf, modes: &[Mode]) -> Self {
        Self {
            labs: modes.iter().map(|mode| Lab::new("scripts", *mode)).collect(),
            worlds: modes.iter().map(|_| None).collect(),
            runner,
            patience: PATIENCE,
            complaints: String::new(),
        }
    }

    /// The labs, by mode.
    pub fn labs(&self) -> &[Lab] {
        &self.labs
    }

    /// Ends all processes; new ones know nothing of earlier scripts.
    pub fn renew(&mut self) {
        for world in &mut self.worlds {
            if let Some(world) = world.take() {
                self.complaints += &world.complaints();
            }
        }
    }

    /// Sleeps that a timer ended instead of a wake, by mode, if there are more than a stalled machine makes.
    pub fn late(&self, played: u64) -> Vec<(Mode, u64)> {
        // Once in some thousand scripts a timer runs out while its waker is preempted.
        let most = 3 + played / 200;
        let moving = self.labs.iter().filter(|lab| lab.mode() != Mode::Plain);
        moving.map(|lab| (lab.mode(), lab.status().totals.late)).filter(|(_, late)| *late > most).collect()
    }

    /// Endpoints that were refused for a reason that no script gives, by mode.
    pub fn alarms(&self) -> Vec<(Mode, &'static str, u64)> {
        const ALARMS: [&str; 5] = ["mismatch", "hostile", "owner", "leaked", "ambiguous"];
        let moving = self.labs.iter().filter(|lab| lab.mode() != Mode::Plain);
        let all = moving.flat_map(|lab| {
            let totals = lab.status().totals;
            ALARMS.map(|reason| (lab.mode(), reason, totals.reason(reason)))
        });
        all.filter(|(_, _, count)| *count > 0).collect()
    }

    /// Plays a script in the worlds from `first` to before `last`, side by side.
    pub fn play(&mut self, plan: &Plan, settings: Settings, first: usize, last: usize) -> Vec<Outcome> {
        for place in first..last {
            if let Some(old) = self.worlds[place].take_if(|world| !world.is_good(settings, self.patience)) {
                self.complaints += &old.complaints();
            }
            // By this thread, which outlives them: a process dies with the thread that started it (PR_SET_PDEATHSIG).
            if self.worlds[place].is_none() {
                self.worlds[place] = Some(World::new(&self.labs[place], &self.runner, settings, self.patience));
            }
        }
        std::thread::scope(|scope| {
            let worlds = self.worlds[first..last].iter_mut().flatten();
            let players: Vec<_> = worlds.map(|world| scope.spawn(move || world.play(plan))).collect();
            players.into_iter().map(|player| player.join().expect("a player that does not panic")).collect()
        })
    }

    /// Plays a script in all modes and judges.
    ///
    /// # Panics
    ///
    /// When it is not legal.
    pub fn examine(&mut self, steps: &[Step], settings: Settings) -> Verdict {
        let plan = Plan::new(steps).expect("a legal script");
        let all = self.labs.len();
        let outcomes = self.play(&plan, settings, 0, all);
        if let Some(why) = &outcomes[0].broken {
            return Verdict::Stuck(format!("{why}\n{}", listing(&plan, &outcomes[0])));
        }
        let mut verdict = Verdict::Same;
        for place in 1..all {
            if is_same(steps, &outcomes[0], &outcomes[place]) {
                continue;
            }
            let report = difference(&plan, &outcomes[0], &outcomes[place]);
            let equal = (0..AGAIN).any(|_| is_same(steps, &self.play(&plan, settings, 0, 1)[0], &outcomes[place]));
            if !equal {
                // What else went wrong in those processes is unknown.
                self.renew();
                return Verdict::Differs { mode: self.labs[place].mode(), report };
            }
            verdict = Verdict::Varies(report);
        }
        verdict
    }
}
