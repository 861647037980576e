//! A private place to measure in: a folder, a broker that serves nobody else, and the way to start programs there.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::Artifacts;
use crate::carrier::{Carrier, scrub};
use crate::child::Child;
use crate::cleanup::TempFolder;
use crate::host::Cores;
use crate::status::Status;

const BROKER_STARTS_WITHIN: Duration = Duration::from_secs(5);
const STATUS_TAKES: Duration = Duration::from_secs(5);

/// The place. Dropping it ends the broker and removes the folder.
#[derive(Debug)]
pub struct Lab {
    shimmed: Option<Shimmed>,
    peer: Vec<OsString>,
    logs: AtomicU32,
    /// Where pinned programs run.
    pub cores: Cores,
    folder: TempFolder,
}

/// What programs under the shim need.
#[derive(Debug)]
struct Shimmed {
    broker: Child,
    socket: PathBuf,
    artifacts: Artifacts,
}

impl Lab {
    /// Starts a broker, unless there are no `artifacts`: then the carriers under the shim cannot be measured. `peer` is
    /// the command line that runs [`crate::peer::run`].
    ///
    /// # Errors
    ///
    /// When the broker does not come up.
    pub fn open(folder: TempFolder, artifacts: Option<Artifacts>, peer: Vec<OsString>) -> Result<Lab> {
        let shimmed = artifacts.map(|artifacts| Shimmed::start(&folder, artifacts)).transpose()?;
        let cores = Cores::pick();
        Ok(Lab { shimmed, peer, logs: AtomicU32::new(0), cores, folder })
    }

    /// Asks the broker with `slipstream status --json`.
    ///
    /// # Errors
    ///
    /// When the command fails or its output is not understood.
    pub fn status(&self) -> Result<Status> {
        self.shimmed.as_ref().context("no broker here")?.status()
    }

    /// A command that runs `program` with its connections carried by `carrier`.
    pub fn command(&self, program: impl AsRef<OsStr>, carrier: Carrier) -> Command {
        let mut command = Command::new(program);
        scrub(&mut command);
        if let (Some(transport), Some(shimmed)) = (carrier.transport(), &self.shimmed) {
            command
                .env("LD_PRELOAD", &shimmed.artifacts.library)
                .env("SLIPSTREAM_TRANSPORT", transport)
                .env("SLIPSTREAM_SOCKET", &shimmed.socket);
        }
        command
    }

    /// The command that runs a peer with its connections carried by `carrier`.
    pub fn peer(&self, carrier: Carrier) -> Command {
        let mut command = self.command(&self.peer[0], carrier);
        command.args(&self.peer[1..]);
        command
    }

    /// A path in the folder that nothing has used yet.
    pub fn fresh_path(&self, name: &str) -> PathBuf {
        let number = self.logs.fetch_add(1, Ordering::Relaxed);
        self.folder.path().join(format!("{number}.{name}"))
    }
}

impl Shimmed {
    fn start(folder: &TempFolder, artifacts: Artifacts) -> Result<Shimmed> {
        let socket = folder.path().join("broker.sock");
        let mut command = Command::new(&artifacts.slipstream);
        scrub(&mut command);
        command.arg("broker").arg("--socket").arg(&socket).stdin(Stdio::null()).stdout(Stdio::null());
        let broker = Child::spawn(command, "broker", None, &folder.path().join("broker.log"))?;
        let mut shimmed = Shimmed { broker, socket, artifacts };
        shimmed.wait_for_broker()?;
        Ok(shimmed)
    }

    fn wait_for_broker(&mut self) -> Result<()> {
        let deadline = Instant::now() + BROKER_STARTS_WITHIN;
        loop {
            if let Some(status) = self.broker.exited() {
                bail!("the broker ended at once ({status}){}", self.broker.said());
            }
            match self.socket.exists().then(|| self.status()) {
                Some(Ok(_)) => return Ok(()),
                Some(Err(error)) if Instant::now() > deadline => return Err(error),
                None if Instant::now() > deadline => {
                    bail!("the broker made no socket within {BROKER_STARTS_WITHIN:?}{}", self.broker.said())
                }
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn status(&self) -> Result<Status> {
        let beside = |name| self.socket.with_file_name(name);
        let mut command = Command::new(&self.artifacts.slipstream);
        scrub(&mut command);
        command
            .args(["status", "--json"])
            .env("SLIPSTREAM_SOCKET", &self.socket)
            .stdin(Stdio::null())
            .stdout(File::create(beside("status.json"))?);
        Child::spawn(command, "`slipstream status --json`", None, &beside("status.log"))?
            .wait(STATUS_TAKES)
            .with_context(|| format!("the broker gives no status{}", self.broker.said()))?;
        let json = fs::read_to_string(beside("status.json"))?;
        Status::parse(&json).with_context(|| format!("`slipstream status --json` said: {}", json.trim()))
    }
}
