//! `slipstream run`: sets a program up and becomes it.

use anyhow::{Context, Result, anyhow, bail};
use slipstream_broker::control::{Control, ControlError};
use slipstream_broker::path;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is to carry the streams
    #[arg(long, value_enum, env = "SLIPSTREAM_TRANSPORT", default_value_t = Transport::Shm)]
    transport: Transport,
    /// The broker's socket [default: as `slipstream broker`]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The library to preload [default: libslipstream.so beside this executable or in ../lib/slipstream]
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Transport {
    /// Rings in shared memory
    Shm,
    /// Unix-domain sockets
    Uds,
    /// TCP as it is: watch, never move
    Tcp,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Self::Shm => "shm",
            Self::Uds => "uds",
            Self::Tcp => "tcp",
        }
    }
}

/// Exit codes when the program does not run, as env and nohup have them.
const FAILED: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// How long a broker that was started has to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a broker that `run` started outlives its last client, in seconds.
const IDLE_EXIT: &str = "300";

/// Becomes the program. Returns only when that fails: the error and the exit code.
pub fn run(args: &Args) -> Result<Infallible, (anyhow::Error, u8)> {
    let preload = || -> Result<(OsString, PathBuf)> {
        let library = library(args.library.as_deref())?;
        let preload = preload(&library, std::env::var_os("LD_PRELOAD"))?;
        let socket = args.socket.clone().unwrap_or_else(path::resolve);
        let socket = std::path::absolute(&socket).context("the broker's socket has no path")?;
        ensure_broker(&socket)?;
        Ok((preload, socket))
    };
    let (preload, socket) = preload().map_err(|error| (error, FAILED))?;
    let (program, rest) = args.command.split_first().ok_or_else(|| (anyhow!("no program given"), FAILED))?;
    let error = Command::new(program)
        .args(rest)
        .env("LD_PRELOAD", preload)
        .env("SLIPSTREAM_TRANSPORT", args.transport.name())
        .env("SLIPSTREAM_SOCKET", socket)
        .exec();
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    Err((anyhow!(error).context(format!("cannot run {}", program.display())), code))
}

/// Finds libslipstream.so.
fn library(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        let path = std::path::absolute(path).context("the library has no path")?;
        if !path.is_file() {
            bail!("{} is not there", path.display());
        }
        return Ok(path);
    }
    let executable = std::env::current_exe().context("cannot find this executable")?;
    let folder = executable.parent().unwrap_or(Path::new("/"));
    let places = [folder.join("libslipstream.so"), folder.join("../lib/slipstream/libslipstream.so")];
    match places.iter().find(|place| place.is_file()) {
        Some(place) => Ok(place.canonicalize().unwrap_or_else(|_| place.clone())),
        None => bail!("libslipstream.so is neither in {} nor in ../lib/slipstream beside it", folder.display()),
    }
}

/// LD_PRELOAD with the library in front of what is there, once.
fn preload(library: &Path, present: Option<OsString>) -> Result<OsString> {
    let name = library.as_os_str();
    if name.as_bytes().iter().any(|byte| matches!(byte, b' ' | b':')) {
        bail!("LD_PRELOAD cannot name {}: its path has a space or a colon", library.display());
    }
    let present = present.unwrap_or_default();
    let others = present.as_bytes().split(|byte| matches!(byte, b' ' | b':'));
    let others = others.filter(|other| !other.is_empty() && *other != name.as_bytes()).map(OsStr::from_bytes);
    let all: Vec<&OsStr> = std::iter::once(name).chain(others).collect();
    Ok(all.join(OsStr::new(":")))
}

/// Starts a broker when none answers.
fn ensure_broker(socket: &Path) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Control::connect(socket) {
            Ok(_) => return Ok(()),
            Err(ControlError::Absent(_)) => {}
            Err(error) => return Err(error.into()),
        }
        // Two steps, so that the broker becomes nobody's child: the program that is to run would not expect one.
        let started = Command::new(std::env::current_exe().context("cannot find this executable")?)
            .args(["broker", "--daemon", "--idle-exit", IDLE_EXIT, "--socket"])
            .arg(socket)
            .env_remove("LD_PRELOAD")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .context("cannot start a broker")?;
        if Control::connect(socket).is_ok() {
            return Ok(());
        }
        // Somebody else's may be about to listen, or was about to end, and held the lock: look again.
        if Instant::now() >= until || !started.status.success() && !lost_a_race(&started.stderr) {
            let complaint = String::from_utf8_lossy(&started.stderr);
            bail!(
                "{}",
                complaint.lines().last().unwrap_or("the broker does not answer").trim_start_matches("slipstream: ")
            );
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a broker did not start because another one has the path.
fn lost_a_race(complaint: &[u8]) -> bool {
    String::from_utf8_lossy(complaint).contains("another broker answers on")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(library: &str, present: Option<&str>) -> Result<String> {
        preload(Path::new(library), present.map(OsString::from)).map(|all| all.into_string().unwrap())
    }

    #[test]
    fn others_stay_preloaded_and_ours_comes_first_once() {
        assert_eq!(with("/l/s.so", None).unwrap(), "/l/s.so");
        assert_eq!(with("/l/s.so", Some("")).unwrap(), "/l/s.so");
        assert_eq!(with("/l/s.so", Some("/a.so b.so")).unwrap(), "/l/s.so:/a.so:b.so");
        assert_eq!(with("/l/s.so", Some("/a.so:/l/s.so")).unwrap(), "/l/s.so:/a.so");
    }

    #[test]
    fn what_ld_preload_cannot_say_is_an_error() {
        assert!(with("/my libs/s.so", None).is_err());
        assert!(with("/my:libs/s.so", None).is_err());
    }
}
