//! `slipstream demo`: one command that shows what Slipstream does on this machine.
//!
//! The two programs that it measures are this executable again, in the role of [`peer`](slipstream_measure::peer): plain
//! sockets, no knowledge of Slipstream. A broker of the demo's own serves them, so nothing of the user's is touched, and
//! nothing is left behind.

mod measure;
mod report;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use slipstream_measure::artifacts::Cargo;
use slipstream_measure::cleanup::{self, TempFolder};
use slipstream_measure::host::{Cores, Machine};
use slipstream_measure::{Artifacts, Lab, peer};

use measure::Results;

const SHIM: &str = "slipstream-shim";
const CARGO_TAKES: Duration = Duration::from_secs(900);

/// Measures TCP, a Unix-domain socket and Slipstream side by side on this machine, in under a minute
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many times to visit every carrier; the figures shown are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, clap::Subcommand)]
enum Role {
    /// The program under measurement, for the demo's own use
    #[command(hide = true)]
    Peer,
}

/// Runs the demo.
///
/// # Errors
///
/// When anything could not be measured, and when the connections were not moved: the message has the broker's reasons.
pub fn run(args: Args) -> Result<()> {
    if matches!(args.role, Some(Role::Peer)) {
        return peer::run();
    }
    cleanup::arm()?;
    let folder = TempFolder::new("slipstream-demo")?;
    let executable = std::env::current_exe().context("cannot find this executable")?;
    let artifacts = artifacts(&executable, &folder)?;
    let peer = vec![executable.into(), "demo".into(), "peer".into()];
    let lab = Lab::open(folder, Some(artifacts), peer)?;

    // Not `println!`, which panics when nobody reads on.
    let mut out = std::io::stdout();
    writeln!(out, "{}", introduction(lab.cores))?;
    let results = Results::measure(&lab, args.rounds)?;
    drop(lab);
    write!(out, "{}", report::render(&results, args.rounds))?;
    results.ensure_moved()
}

/// `cargo run` in the workspace builds the library too, being a default member; with `-p` it does not, and cargo is asked.
fn artifacts(executable: &Path, folder: &TempFolder) -> Result<Artifacts> {
    let mut artifacts = Artifacts::beside(executable);
    if let (Err(_), Some(cargo)) = (&artifacts, Cargo::running(executable)) {
        let spinner = ProgressBar::new_spinner().with_message(format!("cargo build --package {SHIM}"));
        spinner.enable_steady_tick(Duration::from_millis(100));
        let built = cargo.build(SHIM, &folder.path().join("cargo.log"))?.wait(CARGO_TAKES);
        spinner.finish_and_clear();
        built.context("cannot build libslipstream.so")?;
        artifacts = Artifacts::beside(executable);
    }
    let artifacts = artifacts?;
    ensure!(
        !artifacts.library.as_os_str().to_string_lossy().contains([' ', ':']),
        "LD_PRELOAD cannot name {}: its path has a space or a colon",
        artifacts.library.display()
    );
    Ok(artifacts)
}

fn introduction(cores: Cores) -> String {
    let pinned = match cores.are_two() {
        true => format!("client pinned to CPU {}, server to CPU {}", cores.client, cores.server),
        false => format!("client and server both on CPU {}, the only one: no spinning, small gains", cores.client),
    };
    format!("Two ordinary programs talk over one connection; {pinned}.\n{}", Machine::describe())
}
