//! A private broker.

use crate::program::{self, Reporter};
use crate::status::Status;
use crate::wait::{PATIENCE, until};
use crate::{Ended, Running};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A broker on a socket of its own.
#[derive(Debug)]
pub struct Broker {
    running: Running,
    tool: PathBuf,
    socket: PathBuf,
}

impl Broker {
    /// Starts one and waits until it answers.
    pub(crate) fn start(tool: &Path, folder: &Path, socket: &Path) -> Self {
        let log = std::env::var_os("SLIPSTREAM_LOG").unwrap_or_else(|| "info".into());
        let mut broker = program::new("broker", tool.into(), folder.join("broker"), Reporter::default())
            .arg("broker")
            .arg("--socket")
            .arg(socket)
            // Servers that give up root ask it, too.
            .args(["--mode", "666"])
            .env("SLIPSTREAM_LOG", log)
            .start();
        broker.wait_for("the broker listens", PATIENCE, |_| {
            // A stream does not fit its socket; the refusal to speak streams tells that somebody listens.
            let error = UnixStream::connect(socket).err()?;
            (error.raw_os_error() == Some(libc::EPROTOTYPE)).then_some(())
        });
        Self { running: broker, tool: tool.to_owned(), socket: socket.to_owned() }
    }

    /// What it has written, for a failing test.
    pub fn report(&self) -> String {
        self.running.report()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What it says.
    ///
    /// # Panics
    ///
    /// When it does not, or says something else than the design has.
    #[track_caller]
    pub fn status(&self) -> Status {
        status(&self.tool, &self.socket).unwrap_or_else(|error| panic!("{error}\n{}", self.running.report()))
    }

    /// Ends it by SIGTERM.
    pub fn stop(self) -> Ended {
        self.running.stop()
    }

    /// Kills it, as nobody should.
    pub fn kill(mut self) {
        self.running.signal(libc::SIGKILL);
        let _ = until(PATIENCE, || (!self.running.is_alive()).then_some(()));
    }
}

pub(crate) fn status(tool: &Path, socket: &Path) -> Result<Status, String> {
    let said = Command::new(tool).args(["status", "--json", "--socket"]).arg(socket).output();
    let said = said.map_err(|error| error.to_string())?;
    if !said.status.success() {
        return Err(format!("slipstream status: {}", String::from_utf8_lossy(&said.stderr)));
    }
    serde_json::from_slice(&said.stdout)
        .map_err(|error| format!("{error} in {}", String::from_utf8_lossy(&said.stdout)))
}
