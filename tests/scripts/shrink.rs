//! A smaller script that still differs.

use crate::engine::{Engine, Verdict};
use crate::plan::Plan;
use crate::script::{Call, Start, Step};
use crate::world::Settings;
use std::time::{Duration, Instant};

/// What a script that differed came to.
#[derive(Debug)]
pub struct Shrunk {
    pub steps: Vec<Step>,
    pub report: String,
    /// How often it differed again, of how many times.
    pub again: (usize, usize),
}

/// Whether it differs in at least one of some tries; the report of that one.
fn differs(engine: &mut Engine, steps: &[Step], settings: Settings, tries: usize) -> Option<String> {
    Plan::new(steps)?;
    (0..tries).find_map(|_| match engine.examine(steps, settings) {
        Verdict::Differs { report, .. } => Some(report),
        _ => None,
    })
}

/// Takes away what is not needed for the difference, as long as there is time.
pub fn shrink(engine: &mut Engine, steps: &[Step], settings: Settings, report: String, time: Duration) -> Shrunk {
    let begun = Instant::now();
    let usual = std::mem::replace(&mut engine.patience, Duration::from_secs(2));
    engine.renew();
    const TIMES: usize = 5;
    let mut shrunk = Shrunk { steps: steps.to_vec(), report, again: (0, TIMES) };
    for _ in 0..TIMES {
        if let Some(report) = differs(engine, steps, settings, 1) {
            shrunk.again.0 += 1;
            shrunk.report = report;
        }
    }
    let tries = match shrunk.again.0 {
        0 => {
            engine.patience = usual;
            return shrunk;
        }
        TIMES => 1,
        again => 3 * TIMES / again,
    };
    loop {
        let before = shrunk.steps.clone();
        for candidate in Candidates::of(&before) {
            if begun.elapsed() > time {
                break;
            }
            let Some(smaller) = candidate(&shrunk.steps) else { continue };
            if let Some(report) = differs(engine, &smaller, settings, tries) {
                shrunk.steps = smaller;
                shrunk.report = report;
            }
        }
        if shrunk.steps == before || begun.elapsed() > time {
            break;
        }
    }
    engine.patience = usual;
    engine.renew();
    shrunk
}

type Candidate = Box<dyn Fn(&[Step]) -> Option<Vec<Step>>>;

/// Ways to make a script smaller, the boldest first. Each is tried on what the earlier ones have left.
struct Candidates;

impl Candidates {
    fn of(steps: &[Step]) -> Vec<Candidate> {
        let mut all: Vec<Candidate> = Vec::new();
        let mut size = steps.len() / 2;
        while size > 0 {
            for from in (0..steps.len()).step_by(size).rev() {
                all.push(Box::new(move |steps| {
                    let mut left = steps.to_vec();
                    if from >= left.len() {
                        return None;
                    }
                    left.drain(from..(from + size).min(left.len()));
                    repaired(left)
                }));
            }
            size /= 2;
        }
        // Two that belong together: what is begun and what ends it.
        for first in 0..steps.len() {
            for second in first + 1..(first + 6).min(steps.len()) {
                all.push(Box::new(move |steps| {
                    let mut left = steps.to_vec();
                    if second >= left.len() {
                        return None;
                    }
                    left.remove(second);
                    left.remove(first);
                    repaired(left)
                }));
            }
        }
        for place in 0..steps.len() {
            for change in CHANGES {
                all.push(Box::new(move |steps| {
                    let mut left = steps.to_vec();
                    let step = left.get_mut(place)?;
                    let before = step.clone();
                    change(step);
                    if *step == before { None } else { repaired(left) }
                }));
            }
        }
        all
    }
}

/// Joins that have nobody to wait for go, those that are missing come.
fn repaired(steps: Vec<Step>) -> Option<Vec<Step>> {
    let mut model = crate::model::Model::new();
    let mut left = Vec::with_capacity(steps.len());
    for step in steps {
        while let Some(actor) = model.due()
            && !matches!(step.call, Call::Join {})
        {
            let join = Step { actor, start: Start::Whole, call: Call::Join {} };
            model.play(&join)?;
            left.push(join);
        }
        if model.play(&step).is_some() {
            left.push(step);
        } else if let Start::Whole = step.start {
            // It is illegal without what was taken away, and perhaps not needed either.
        } else {
            // It no longer blocks.
            let whole = Step { start: Start::Whole, ..step };
            if model.play(&whole).is_some() {
                left.push(whole);
            }
        }
    }
    while let Some(actor) = model.due() {
        let join = Step { actor, start: Start::Whole, call: Call::Join {} };
        model.play(&join)?;
        left.push(join);
    }
    model.is_over().then_some(left)
}

const CHANGES: &[fn(&mut Step)] = &[
    |step| match &mut step.call {
        Call::Send { size, .. } | Call::Recv { size, .. } | Call::Lead { size, .. } | Call::Echo { size, .. } => {
            *size = (*size).min(10);
        }
        Call::Pump { send, take, .. } => (*send, *take) = (*send / 2, *take / 2),
        Call::Nap { us } => *us = 0,
        _ => {}
    },
    |step| match &mut step.call {
        Call::Send { size, .. } | Call::Recv { size, .. } => *size /= 2,
        Call::Lead { count, .. } | Call::Echo { count, .. } => *count = (*count).min(10),
        Call::Poll { ms, .. } | Call::Wait { ms, .. } if *ms > 0 => *ms = 0,
        _ => {}
    },
    |step| match &mut step.call {
        Call::Send { out, .. } => *out = 0,
        Call::Recv { into, .. } => *into = 0,
        Call::Poll { form, .. } | Call::Wait { form, .. } | Call::Close { form, .. } => *form = 0,
        Call::Accept { form, flags, .. } => (*form, *flags) = (0, 0),
        Call::Connect { listener, family, .. } => (*listener, *family) = (0, 0),
        _ => {}
    },
    |step| match &mut step.call {
        Call::Send { flags, .. } | Call::Recv { flags, .. } => *flags = 0,
        Call::Connect { nonblock, nagle, .. } => (*nonblock, *nagle) = (0, 0),
        Call::Control { events, .. } => *events &= !(libc::EPOLLET | libc::EPOLLONESHOT),
        _ => {}
    },
    |step| {
        if step.start == Start::Loose {
            step.start = Start::Asleep;
        }
    },
];
