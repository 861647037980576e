//! Compares TCP, native Unix-domain sockets and Slipstream's transports on this machine. See benches/README.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use slipstream_benches::case::{Case, Idler};
use slipstream_benches::run::{Run, Sample};
use slipstream_benches::{bar, render};
use slipstream_measure::artifacts::Cargo;
use slipstream_measure::cleanup::{self, TempFolder};
use slipstream_measure::{Artifacts, Carrier, Lab, peer};

/// Compares TCP, native Unix-domain sockets and Slipstream's transports on this machine
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Measure, and write every figure to a file under benches/runs/
    Run(Plan),
    /// Print the required ratios beside the measured ones; fails unless all are met
    Check {
        /// A file that `run` wrote
        run: PathBuf,
    },
    /// Print the tables of a run, or put them into a document
    Render {
        /// A file that `run` wrote
        run: PathBuf,
        /// Replace what this document has between its marks
        #[arg(long)]
        into: Option<PathBuf>,
    },
    /// The program under measurement, for `run`'s own use
    #[command(hide = true)]
    Peer,
}

#[derive(clap::Args)]
struct Plan {
    /// How many times to visit every carrier with every case; the report has medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long one measurement lasts, in milliseconds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    millis: u64,
    /// How long the idle programs are watched, in seconds
    #[arg(long, default_value_t = 10)]
    idle_seconds: u64,
    /// Measure only this case; may be repeated
    #[arg(long = "case")]
    cases: Vec<Case>,
    /// Measure only over this carrier; may be repeated
    #[arg(long = "carrier", value_parser = carrier)]
    carriers: Vec<Carrier>,
    /// Where to write [default: benches/runs/<day>-<commit>.json]
    #[arg(long)]
    output: Option<PathBuf>,
}

fn carrier(name: &str) -> Result<Carrier, String> {
    let found = Carrier::ALL.into_iter().find(|carrier| carrier.name() == name);
    found.ok_or_else(|| format!("no such carrier; there are {}", Carrier::ALL.map(Carrier::name).join(", ")))
}

fn main() -> Result<ExitCode> {
    match Cli::parse().action {
        Action::Run(plan) => measure(plan)?,
        Action::Check { run } => {
            let (table, all) = bar::check(&Run::load(&run)?);
            print!("{table}");
            return Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Action::Render { run, into } => {
            let source = run.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            let tables = render::tables(&Run::load(&run)?, &format!("benches/runs/{source}"));
            match into {
                None => print!("{tables}"),
                Some(path) => put(&tables, &path)?,
            }
        }
        Action::Peer => peer::run()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn put(tables: &str, path: &Path) -> Result<()> {
    let document = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let Some(document) = render::insert(&document, tables) else {
        bail!("{} lacks the marks {} and {}", path.display(), render::BEGIN, render::END);
    };
    fs::write(path, document).with_context(|| format!("cannot write {}", path.display()))
}

fn measure(plan: Plan) -> Result<()> {
    cleanup::arm()?;
    let all_or = |chosen: &[Carrier]| if chosen.is_empty() { Carrier::ALL.to_vec() } else { chosen.to_vec() };
    let carriers = all_or(&plan.carriers);
    let cases = if plan.cases.is_empty() { Case::all() } else { plan.cases.clone() };
    let lab = open(carriers.iter().any(|carrier| carrier.transport().is_some()))?;

    let mut run = Run::begin();
    let output = plan.output.clone().unwrap_or_else(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runs");
        folder.join(format!("{}-{}.json", run.day(), run.commit.trim_end_matches('+')))
    });
    ensure!(
        output.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()),
        "no folder for {}",
        output.display()
    );
    println!("{}", run.machine);

    let (idle, busy): (Vec<Case>, Vec<Case>) = cases.iter().partition(|case| matches!(case, Case::Idle(_)));
    let steps = busy.iter().flat_map(|case| carriers.iter().filter(|&&carrier| case.applies_to(carrier))).count();
    let progress = ProgressBar::new(u64::from(plan.rounds) * (steps + usize::from(!idle.is_empty())) as u64);
    progress.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed} (left: {eta}) {msg}")?);
    for round in 0..plan.rounds {
        run.measure_floor();
        for &case in &busy {
            for &carrier in carriers.iter().filter(|&&carrier| case.applies_to(carrier)) {
                progress.set_message(format!("{} over {}", case.key(), carrier.name()));
                let metrics = case
                    .measure(&lab, carrier, plan.millis)
                    .with_context(|| format!("cannot measure {} over {}", case.key(), carrier.name()))?;
                run.samples.push(Sample { round, case, carrier, metrics });
                progress.inc(1);
            }
        }
        if !idle.is_empty() {
            progress.set_message("idle");
            run.samples.extend(sleep(&lab, &idle, &carriers, round, Duration::from_secs(plan.idle_seconds))?);
            progress.inc(1);
        }
        // After every round, so that a long run is never lost.
        run.save(&output)?;
    }
    progress.finish_and_clear();
    if run.samples.iter().any(|sample| sample.carrier == Carrier::SlipstreamShm) {
        println!("{}", bar::check(&run).0);
    }
    println!("written to {}", output.display());
    Ok(())
}

/// All idle pairs at once: each of them is to use nothing.
fn sleep(lab: &Lab, cases: &[Case], carriers: &[Carrier], round: u32, time: Duration) -> Result<Vec<Sample>> {
    let mut idlers = Vec::new();
    for &case in cases {
        let Case::Idle(sleeping) = case else { continue };
        for &carrier in carriers.iter().filter(|&&carrier| case.applies_to(carrier)) {
            let idler = Idler::start(lab, carrier, sleeping)
                .with_context(|| format!("cannot measure {} over {}", case.key(), carrier.name()))?;
            idlers.push((case, carrier, idler));
        }
    }
    // Whoever spins or settles does so now.
    thread::sleep(Duration::from_millis(500));
    let begin = Instant::now();
    for (_, _, idler) in &mut idlers {
        idler.begin()?;
    }
    thread::sleep(time);
    let time = begin.elapsed();
    let end =
        |(case, carrier, idler): (Case, Carrier, Idler)| Ok(Sample { round, case, carrier, metrics: idler.end(time)? });
    idlers.into_iter().map(end).collect()
}

/// The broker and the library are needed for the transports alone; cargo, if it runs this, builds them.
fn open(with_shim: bool) -> Result<Lab> {
    let folder = TempFolder::new("slipstream-compare")?;
    let executable = std::env::current_exe().context("cannot find this executable")?;
    let mut artifacts = None;
    if with_shim {
        if let Some(cargo) = Cargo::running(&executable) {
            for package in ["slipstream-broker", "slipstream-shim"] {
                println!("cargo build --package {package}");
                cargo.build(package, &folder.path().join("cargo.log"))?.wait(Duration::from_secs(900))?;
            }
        }
        artifacts = Some(Artifacts::beside(&executable)?);
    }
    let peer = vec![executable.into(), "peer".into()];
    Lab::open(folder, artifacts, peer)
}
