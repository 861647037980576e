//! The difference engine: random but legal scripts, played over plain TCP and under the shim, whose outcomes must be equal.
//!
//! | arguments | it plays |
//! | --- | --- |
//! | none | what is kept of earlier finds (`kept/`), and a fixed set of seeds: half a minute |
//! | `FILE.script…` | these, and shows what each step did |
//! | `--seeds A..B` | these seeds |
//! | `--mutations [NAME…]` | fixed seeds against shims with planted bugs, each of which must be found (mutations.rs) |
//! | `--fresh N` | fresh seeds for N seconds; each find is shrunk, saved and told, and it goes on |
//! | `--minutes N` | the same for N minutes |
//!
//! `cargo test -p slipstream-tests --test scripts -- ARGUMENTS`. What is found is written to the target's folder
//! `tmp/scripts/found`; put it into `kept/` once it is mended.

mod compare;
mod engine;
mod generate;
mod model;
mod mutations;
mod page;
mod plan;
mod runner;
mod script;
mod shrink;
mod world;

use engine::{Engine, MODES, Verdict};
use slipstream_tests::Mode;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};
use world::Settings;

/// Scripts that one pair of processes plays before the next begins with other settings.
const BATCH: u64 = 50;
/// Played in every run.
const FIXED: std::ops::Range<u64> = 0..400;

/// A fresh script that differed, and in five more plays did not, is told and does not fail the run: the machine may have
/// stalled at the wrong moment. This many in one run do, and one more in each ten thousand scripts.
const TOO_MANY_ONCE: u64 = 3;

/// What came of a run.
#[derive(Debug, Default)]
struct Tally {
    played: u64,
    steps: u64,
    varied: u64,
    found: Vec<PathBuf>,
    /// Of fresh seeds, those that differed once and in five more plays did not.
    once: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--nocapture").collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scripts: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<bool, String> {
    let runner = runner::build()?;
    if let Some(("--mutations", names)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return mutations::hunt(&names.iter().map(String::as_str).collect::<Vec<_>>()).map(|()| true);
    }
    let mut tally = Tally::default();
    let begun = Instant::now();
    let mut engine = Engine::new(runner, &MODES);
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {
            let stale = mutations::stale();
            if !stale.is_empty() {
                return Err(format!("planted bugs without a place in the code: {}", stale.join(", ")));
            }
            let mut kept: Vec<_> = std::fs::read_dir(kept()).map_err(|error| error.to_string())?.flatten().collect();
            kept.sort_by_key(std::fs::DirEntry::path);
            for entry in kept {
                file(&mut engine, &entry.path(), &mut tally, false)?;
            }
            seeds(&mut engine, FIXED, &mut tally, None);
        }
        ["--seeds", range] => {
            let (from, to) = range.split_once("..").ok_or("--seeds A..B")?;
            let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
            seeds(&mut engine, number(from)?..number(to)?, &mut tally, None);
        }
        ["--until-found", range] => {
            let (from, to) = range.split_once("..").ok_or("--until-found A..B")?;
            let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
            return Ok(until_found(&mut engine, number(from)?..number(to)?));
        }
        ["--fresh", seconds] => {
            let seconds: u64 = seconds.parse().map_err(|_| "--fresh SECONDS")?;
            let fresh = fresh();
            seeds(&mut engine, fresh..u64::MAX, &mut tally, Some(begun + Duration::from_secs(seconds)));
        }
        ["--minutes", minutes] => {
            let minutes: u64 = minutes.parse().map_err(|_| "--minutes N")?;
            let fresh = fresh();
            seeds(&mut engine, fresh..u64::MAX, &mut tally, Some(begun + Duration::from_secs(60 * minutes)));
        }
        files if files.iter().all(|name| !name.starts_with('-')) => {
            for name in files {
                file(&mut engine, Path::new(name), &mut tally, true)?;
            }
        }
        _ => {
            return Err(
                "arguments: none, FILE.script…, --seeds A..B, --fresh N, --minutes N or --mutations [NAME…]".to_owned()
            );
        }
    }
    finish(&mut engine, &tally, begun)
}

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kept")
}

/// A seed that nobody has played yet; told, so that it can be played again.
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    now * 1_000_000
}

fn seeds(engine: &mut Engine, range: std::ops::Range<u64>, tally: &mut Tally, until: Option<Instant>) {
    eprintln!("seeds {}..{}", range.start, range.end);
    let mut told = Instant::now();
    let begun = Instant::now();
    let before = tally.played;
    let mut alarms = Vec::new();
    for seed in range {
        if until.is_some_and(|until| Instant::now() > until) {
            break;
        }
        let settings = generate::settings(seed / BATCH);
        let steps = generate::script(seed, settings);
        judge(engine, &seed.to_string(), &steps, settings, tally, until.is_some());
        if seed % BATCH == BATCH - 1 {
            engine.renew();
            let now = engine.alarms();
            if now != alarms {
                eprintln!("up to seed {seed}: {now:?}");
                alarms = now;
            }
        }
        if told.elapsed() > Duration::from_secs(60) {
            told = Instant::now();
            let rate = (tally.played - before) as f64 / begun.elapsed().as_secs_f64();
            eprintln!(
                "{} scripts, {rate:.1} a second; {} found, {} vary",
                tally.played,
                tally.found.len(),
                tally.varied
            );
        }
    }
}

/// Plays seeds up to the first that differs, and tells of it. Whether there was none.
fn until_found(engine: &mut Engine, range: std::ops::Range<u64>) -> bool {
    engine.patience = Duration::from_secs(3);
    let first = range.start;
    for seed in range {
        let settings = generate::settings(seed / BATCH);
        let steps = generate::script(seed, settings);
        if let Verdict::Differs { mode, report } = engine.examine(&steps, settings) {
            let lines =
                report.lines().filter(|line| line.starts_with(['-', '+'])).take(2).collect::<Vec<_>>().join(" / ");
            println!("found after {} scripts, over {}: {lines}", seed - first + 1, mode.name());
            return false;
        }
        if seed % BATCH == BATCH - 1 {
            engine.renew();
            if let Some((mode, late)) = engine.late(seed - first + 1).first() {
                println!(
                    "found after {} scripts, over {}: {late} sleeps without a wake",
                    seed - first + 1,
                    mode.name()
                );
                return false;
            }
        }
    }
    true
}

fn file(engine: &mut Engine, path: &Path, tally: &mut Tally, shows: bool) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let settings = text.lines().find_map(|line| line.strip_prefix("# settings: "));
    let settings = settings.map_or(Ok(generate::settings(0)), str::parse::<Settings>)?;
    let steps = script::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let plan = plan::Plan::new(&steps).ok_or_else(|| format!("{}: not legal", path.display()))?;
    engine.renew();
    if shows {
        let outcomes = engine.play(&plan, settings, 0, MODES.len());
        println!("{}:\n{}", path.display(), compare::listing(&plan, &outcomes[0]));
        for (mode, outcome) in MODES.iter().zip(&outcomes).skip(1) {
            println!("{}:\n{}", mode.name(), compare::difference(&plan, &outcomes[0], outcome));
        }
    }
    judge(engine, &path.display().to_string(), &steps, settings, tally, false);
    Ok(())
}

/// `fresh`: nobody has played it yet, so a machine that stalled at the wrong moment is a possible reason, too.
fn judge(engine: &mut Engine, name: &str, steps: &[script::Step], settings: Settings, tally: &mut Tally, fresh: bool) {
    tally.played += 1;
    tally.steps += steps.len() as u64;
    match engine.examine(steps, settings) {
        Verdict::Same => {}
        Verdict::Varies(report) => {
            tally.varied += 1;
            if std::env::var_os("SCRIPTS_SHOW").is_some() {
                eprintln!("{name} varies over plain TCP:\n{report}");
            }
        }
        Verdict::Stuck(report) => {
            eprintln!("{name} ({settings}) is stuck over plain TCP: {report}");
            tally.found.push(save(name, "plain", steps, settings, &report));
        }
        Verdict::Differs { mode, report } => {
            eprintln!("{name} ({settings}) differs over {}:\n{report}", mode.name());
            let mut other = Engine::new(runner::path(), &[Mode::Plain, mode]);
            let shrunk = shrink::shrink(&mut other, steps, settings, report, Duration::from_secs(30));
            let (again, times) = shrunk.again;
            eprintln!("{name} over {}, {again} of {times} times again; shrunk:\n{}", mode.name(), shrunk.report);
            let saved = save(name, mode.name(), &shrunk.steps, settings, &shrunk.report);
            if fresh && again == 0 { tally.once.push(saved) } else { tally.found.push(saved) }
        }
    }
}

fn save(name: &str, mode: &str, steps: &[script::Step], settings: Settings, report: &str) -> PathBuf {
    let folder = runner::folder().join("found");
    let stem = Path::new(name).file_stem().map_or(name.to_owned(), |stem| stem.to_string_lossy().into_owned());
    let path = folder.join(format!("{stem}-{mode}.script"));
    let remarks: String = report.lines().map(|line| format!("# {line}\n")).collect();
    let text = format!("# settings: {settings}\n{}\n# Over {mode}:\n{remarks}", script::show(steps));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, text));
    written.unwrap_or_else(|error| eprintln!("{}: {error}", path.display()));
    path
}

/// Whether all was equal, and whether it was worth anything: most connections have moved.
fn finish(engine: &mut Engine, tally: &Tally, begun: Instant) -> Result<bool, String> {
    engine.renew();
    let mut good = tally.found.is_empty();
    let rate = tally.played as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{} scripts of {} steps in {:.0} s ({rate:.1} a second): {} differ, {} vary over plain TCP",
        tally.played,
        tally.steps,
        begun.elapsed().as_secs_f64(),
        tally.found.len(),
        tally.varied
    );
    for path in &tally.found {
        println!("  {}", path.display());
    }
    for path in &tally.once {
        println!("  {} differed once, and not again", path.display());
    }
    if tally.once.len() as u64 >= TOO_MANY_ONCE + tally.played / 10_000 {
        println!("too many scripts differed once");
        good = false;
    }
    if tally.varied * 100 > tally.played.max(200) {
        println!("too many scripts have more than one outcome");
        good = false;
    }
    for lab in engine.labs().iter().filter(|lab| lab.mode() != Mode::Plain) {
        let totals = lab.status().totals;
        let moved = totals.state("opt");
        println!(
            "{}: {} endpoints offered, {moved} moved, {} late wakes; {:?}",
            lab.mode().name(),
            totals.connections,
            totals.late,
            totals.by_reason
        );
        if tally.played >= 200 && moved * 5 < totals.connections * 2 {
            println!("{}: fewer than two fifths of the endpoints moved", lab.mode().name());
            good = false;
        }
    }
    for (mode, reason, count) in engine.alarms() {
        println!("{}: {count} {reason}", mode.name());
        good = false;
    }
    for (mode, late) in engine.late(tally.played) {
        println!("{}: {late} sleeps were ended by a timer instead of a wake", mode.name());
        good = false;
    }
    if !engine.complaints.is_empty() {
        println!("the processes complained:\n{}", engine.complaints);
        good = false;
    }
    Ok(good)
}
