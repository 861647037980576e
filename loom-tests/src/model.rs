//! Running a model, and running it with a piece of the argument taken away.

use slipstream_ring::sync::modelled;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// How many preemptions per execution are explored; `None`: all interleavings. `LOOM_MAX_PREEMPTIONS` overrides it.
pub type Preemptions = Option<usize>;

fn explore(preemptions: Preemptions, model: impl Fn() + Send + Sync + 'static) -> u64 {
    let states = Arc::new(AtomicU64::new(0));
    let counted = states.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_branches = 200_000;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        builder.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            model();
        });
    }));
    let states = states.load(Ordering::Relaxed);
    if let Err(panic) = outcome {
        eprintln!("failed in execution {states}");
        std::panic::resume_unwind(panic);
    }
    states
}

/// Explores the model; it panics when an execution fails.
pub fn holds(preemptions: Preemptions, model: impl Fn() + Send + Sync + 'static) {
    modelled::plant("");
    let start = Instant::now();
    let states = explore(preemptions, model);
    print("", states, start);
}

fn print(what: &str, states: u64, start: Instant) {
    let test = std::thread::current();
    println!(
        "{}{what}: {states} executions in {:.1} s",
        test.name().unwrap_or_default(),
        start.elapsed().as_secs_f32()
    );
}

/// Explores the model for an interruption before each access that any of its executions makes: the model gets the number
/// of accesses before it, and says whether it came.
pub fn holds_at_every_access(preemptions: Preemptions, model: impl Fn(usize) -> bool + Send + Sync + Copy + 'static) {
    modelled::plant("");
    let start = Instant::now();
    let (states, places) = explore_every_access(preemptions, model);
    assert!(places > 3, "the model makes more accesses than that");
    print(&format!(" ({places} places)"), states, start);
}

fn explore_every_access(
    preemptions: Preemptions,
    model: impl Fn(usize) -> bool + Send + Sync + Copy + 'static,
) -> (u64, usize) {
    let mut states = 0;
    for place in 0.. {
        let came = Arc::new(AtomicBool::new(false));
        let said = came.clone();
        states += explore(preemptions, move || {
            let came = model(place);
            modelled::call_off();
            if came {
                said.store(true, Ordering::Relaxed);
            }
        });
        if !came.load(Ordering::Relaxed) {
            return (states, place);
        }
    }
    unreachable!()
}

/// Explores the model without each of `ends` in turn: every time an execution must fail.
pub fn fails_without(ends: &[&'static str], preemptions: Preemptions, model: impl Fn() + Send + Sync + Copy + 'static) {
    each_is_missed(ends, || _ = explore(preemptions, model));
}

/// As [`fails_without`], for a model with an interruption: one place must show it.
pub fn fails_at_some_access_without(
    ends: &[&'static str],
    preemptions: Preemptions,
    model: impl Fn(usize) -> bool + Send + Sync + Copy + 'static,
) {
    each_is_missed(ends, || _ = explore_every_access(preemptions, model));
}

fn each_is_missed(ends: &[&'static str], explore: impl Fn()) {
    for end in ends {
        modelled::plant(end);
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(&explore));
        let reached = modelled::reached();
        modelled::plant("");
        assert!(reached, "the model never comes to {end}");
        let Err(panic) = outcome else { panic!("the model does not miss {end}") };
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        let text = text.lines().next().unwrap_or_default();
        assert!(!text.contains("exceeded"), "without {end}: {text}");
        println!("without {end}: {text:.100} ({:.1} s)", start.elapsed().as_secs_f32());
    }
}
