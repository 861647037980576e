//! A place where scripts are played: alice's and bob's processes over one transport, and the conductor.

use crate::page::Page;
use crate::plan::{Act, Kind, Plan};
use crate::script::FIRST_CHILD;
use slipstream_tests::{Lab, Mode, Running};
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a world's processes are given beside the transport; it changes when things move, never what is seen of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub ring_kib: u32,
    /// `None`: as the shim sees fit.
    pub spin_us: Option<u32>,
    pub min_ops: u32,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spin = self.spin_us.map_or("auto".to_owned(), |us| us.to_string());
        write!(f, "ring_kib={} spin_us={spin} min_ops={}", self.ring_kib, self.min_ops)
    }
}

impl std::str::FromStr for Settings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value = |name: &str| {
            let word = text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            word.ok_or_else(|| format!("no {name} in '{text}'"))
        };
        let number = |text: &str| text.parse().map_err(|_| format!("not a number: '{text}'"));
        let spin = value("spin_us")?;
        Ok(Self {
            ring_kib: number(value("ring_kib")?)?,
            spin_us: if spin == "auto" { None } else { Some(number(spin)?) },
            min_ops: number(value("min_ops")?)?,
        })
    }
}

/// What came of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What each step's calls did.
    pub said: Vec<String>,
    /// It was not played to its end: where, and why.
    pub broken: Option<String>,
}

/// Two processes that play scripts, one after the other.
#[derive(Debug)]
pub struct World {
    page: Page,
    processes: [Running; 2],
    /// A script was not played to its end: what is left of it is unknown.
    broken: bool,
    settings: Settings,
    /// How long a call may take that always returns.
    patience: Duration,
}

/// Hundreds of times what a call takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

impl World {
    /// Starts the processes.
    pub fn new(lab: &Lab, runner: &Path, settings: Settings, patience: Duration) -> Self {
        let page_path = lab.folder().join("page");
        let page = Page::new(&page_path).unwrap_or_else(|error| panic!("{}: {error}", page_path.display()));
        let start = |actor: usize| {
            let mut program = lab.program(runner).arg(&page_path).arg(actor.to_string());
            if lab.mode() != Mode::Plain {
                program = program
                    .env("SLIPSTREAM_MIN_OPS", settings.min_ops.to_string())
                    .env("SLIPSTREAM_RING_KIB", settings.ring_kib.to_string())
                    .env("SLIPSTREAM_SPIN_US", settings.spin_us.map_or("auto".to_owned(), |us| us.to_string()));
            }
            program.start()
        };
        let mut processes = [start(0), start(2)];
        let begun = Instant::now();
        while (0..FIRST_CHILD).any(|actor| page.actor(actor).tid.load(std::sync::atomic::Ordering::SeqCst) == 0) {
            let alive = processes.iter_mut().all(Running::is_alive);
            assert!(alive && begun.elapsed() < PATIENCE * 3, "the runner does not start: {}", processes[0].report());
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { page, processes, broken: false, settings, patience }
    }

    /// Whether it can play another one, with these settings.
    pub fn is_good(&mut self, settings: Settings, patience: Duration) -> bool {
        let same = self.settings == settings && self.patience == patience;
        same && !self.broken && self.processes.iter_mut().all(Running::is_alive)
    }

    /// What its processes complained.
    pub fn complaints(&self) -> String {
        self.processes.iter().map(Running::stderr).collect()
    }

    /// Plays a script.
    pub fn play(&mut self, plan: &Plan) -> Outcome {
        self.page.rewind();
        for (place, (call, argument)) in plan.orders.iter().enumerate() {
            self.page.put(place, *call, *argument);
        }
        let mut broken = None;
        for (number, act) in plan.acts.iter().enumerate() {
            let begun = Instant::now();
            let done = self.act(act);
            if std::env::var_os("SCRIPTS_SLOW").is_some() && begun.elapsed() > Duration::from_millis(15) {
                eprintln!("{:?} {}", begun.elapsed(), plan.lines.get(number).map_or("clearing up", String::as_str));
            }
            if let Err(why) = done {
                let line = plan.lines.get(number).map_or("clearing up", String::as_str);
                broken = Some(format!("{line}: {why}"));
                self.broken = true;
                break;
            }
        }
        let said = plan.acts[..plan.tidy].iter();
        let said = said.map(|act| (act.first..act.last).map(|place| self.page.said(place)).collect()).collect();
        Outcome { said, broken }
    }

    fn act(&mut self, act: &Act) -> Result<(), String> {
        let actor = act.actor;
        match act.kind {
            Kind::Whole => {
                self.page.send(actor, act.first, act.last);
                self.await_done(actor)
            }
            Kind::Start { asleep } => {
                self.page.send(actor, act.first, act.last);
                if asleep { self.await_asleep(actor) } else { Ok(()) }
            }
            Kind::Join => self.await_done(actor),
            Kind::Fork { child } => {
                self.page.clear(child);
                self.page.send(actor, act.first, act.last);
                self.await_done(actor)
            }
            Kind::Exit => {
                let pid = self.pid(actor);
                self.page.send(actor, act.first, act.last);
                self.await_done(actor)?;
                self.await_death(pid)
            }
            Kind::Kill => {
                if act.first < act.last {
                    self.page.send(actor, act.first, act.last);
                    self.await_done(actor)?;
                }
                let pid = self.pid(actor);
                // SAFETY: plain system call; the child runs, so its id is its own.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                self.await_death(pid)
            }
            Kind::Signal(number) => {
                self.await_asleep(actor)?;
                if self.page.is_done(actor) {
                    // It should sleep. What it said will tell; the signal would be somebody else's.
                    return Ok(());
                }
                let (pid, tid) = (self.pid(actor), self.tid(actor));
                let handled = || self.page.actor(actor).handled.load(std::sync::atomic::Ordering::SeqCst);
                let before = handled();
                // SAFETY: plain system call on a thread that is asleep in a call.
                unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, number) };
                // What comes next comes after the signal.
                let begun = Instant::now();
                while handled() == before && begun.elapsed() < self.patience {
                    std::thread::sleep(Duration::from_micros(50));
                }
                Ok(())
            }
        }
    }

    fn pid(&self, actor: usize) -> i32 {
        self.page.actor(actor).pid.load(std::sync::atomic::Ordering::SeqCst).cast_signed()
    }

    fn tid(&self, actor: usize) -> i32 {
        self.page.actor(actor).tid.load(std::sync::atomic::Ordering::SeqCst).cast_signed()
    }

    fn await_done(&mut self, actor: usize) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let bell = self.page.bell();
            if self.page.is_done(actor) {
                return Ok(());
            }
            self.page.sleep(bell, Duration::from_millis(200));
            if self.page.is_done(actor) {
                return Ok(());
            }
            let pid = self.pid(actor);
            if matches!(state_of(pid, pid), None | Some('Z' | 'X')) || !self.processes.iter_mut().all(Running::is_alive)
            {
                // The last thing it did may have been to say that it is done.
                return if self.page.is_done(actor) { Ok(()) } else { Err("its process has died".to_owned()) };
            }
            if begun.elapsed() > self.patience {
                return Err(format!("does not return ({})", whereabouts(pid, self.tid(actor))));
            }
        }
    }

    /// Waits until the thread sleeps in the call that it was sent for, or has returned from it.
    fn await_asleep(&mut self, actor: usize) -> Result<(), String> {
        let begun = Instant::now();
        let mut looks = 0;
        while looks < 3 && !self.page.is_done(actor) {
            let asleep = self.page.has_started(actor) && state_of(self.pid(actor), self.tid(actor)) == Some('S');
            looks = if asleep { looks + 1 } else { 0 };
            if begun.elapsed() > self.patience {
                return Err(format!("does not fall asleep ({})", whereabouts(self.pid(actor), self.tid(actor))));
            }
            std::thread::sleep(Duration::from_micros(60));
        }
        Ok(())
    }

    fn await_death(&self, pid: i32) -> Result<(), String> {
        let begun = Instant::now();
        while !matches!(state_of(pid, pid), None | Some('Z' | 'X')) {
            if begun.elapsed() > self.patience {
                return Err(format!("does not die ({})", whereabouts(pid, pid)));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }
}

fn state_of(pid: i32, tid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// In what a thread is, for a report.
fn whereabouts(pid: i32, tid: i32) -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/{name}")).unwrap_or_default();
    format!("state {:?}, in {}, syscall {}", state_of(pid, tid), read("wchan"), read("syscall").trim())
}
