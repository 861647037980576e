//! `slipstream broker`: the daemon, in the foreground or (for `run`) in the background.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;
use slipstream_broker::path;
use slipstream_broker::server::{Config, Server};
use std::io::{IsTerminal, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen [default: $SLIPSTREAM_SOCKET, else /run/slipstream/broker.sock when it exists, else
    /// $XDG_RUNTIME_DIR/slipstream/broker.sock, else a per-user path under the temp folder]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The socket's permissions, in octal: who may use this broker [default: 600, under /run/slipstream 666]
    #[arg(long, value_name = "OCTAL", value_parser = octal)]
    mode: Option<u32>,
    /// End after so many seconds without a client
    #[arg(long, value_name = "SECONDS")]
    idle_exit: Option<u64>,
    /// Go to the background once listening
    #[arg(long)]
    daemon: bool,
    /// Be what `--daemon` starts
    #[arg(long, hide = true)]
    detached: bool,
}

fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("not an octal number up to 777".to_owned()),
    }
}

/// What a detached broker says on its standard output once it listens.
const READY: &[u8] = b"ready\n";

pub fn run(args: &Args) -> Result<()> {
    let socket = args.socket.clone().unwrap_or_else(path::resolve);
    if args.daemon { start(&socket, args.mode, args.idle_exit) } else { serve(args, socket) }
}

/// Starts a broker in the background, in a session of its own, and waits until it listens or fails.
///
/// The caller stays its parent: whoever must not have a child calls this in a process that ends afterwards.
fn start(socket: &Path, mode: Option<u32>, idle_exit: Option<u64>) -> Result<()> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this executable")?);
    command.args(["broker", "--detached", "--socket"]).arg(absolute(socket)?);
    if let Some(mode) = mode {
        command.arg("--mode").arg(format!("{mode:o}"));
    }
    if let Some(seconds) = idle_exit {
        command.arg("--idle-exit").arg(seconds.to_string());
    }
    // None of the caller's open files, terminal, folder or preloaded libraries live on in it.
    close_on_exec_from_3();
    command.env_remove("LD_PRELOAD").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start a broker")?;
    let mut said = Vec::new();
    if let Some(mut out) = child.stdout.take() {
        if !speaks(&out) {
            let _ = child.kill();
            bail!("the broker does not come up");
        }
        out.read_to_end(&mut said).context("cannot hear from the broker")?;
    }
    if said == READY {
        return Ok(());
    }
    let mut complaint = String::new();
    if let Some(mut err) = child.stderr.take() {
        let _ = err.read_to_string(&mut complaint);
    }
    let _ = child.wait();
    match complaint.lines().last() {
        Some(line) => bail!("{}", line.trim_start_matches("slipstream: ")),
        None => bail!("the broker ended at once"),
    }
}

/// Whether a new broker says something, or ends, within a time in which it should.
fn speaks(out: &ChildStdout) -> bool {
    let mut poll = [PollFd::new(out, PollFlags::IN)];
    matches!(rustix::event::poll(&mut poll, Some(&Timespec { tv_sec: 5, tv_nsec: 0 })), Ok(1))
}

fn serve(args: &Args, path: PathBuf) -> Result<()> {
    // Before anything else: from here on the signals wait in the descriptor.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    signals.thread_block().context("cannot block signals")?;
    let stop = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("cannot wait for signals")?;
    if args.detached {
        rustix::process::setsid().context("cannot leave the session")?;
    }
    log();
    let server = Server::new(Config {
        path,
        mode: args.mode,
        idle_exit: args.idle_exit.map(Duration::from_secs),
        limits: None,
        stop: OwnedFd::from(stop),
    })?;
    if args.detached {
        say_ready()?;
    }
    server.run().context("the broker failed")
}

/// Tells the starter, and lets go of its pipes.
fn say_ready() -> Result<()> {
    std::io::stdout().write_all(READY)?;
    std::io::stdout().flush()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Logs to stderr what `SLIPSTREAM_LOG` asks for: off, error, warn (the default), info, debug or trace.
fn log() {
    let wish = std::env::var("SLIPSTREAM_LOG").unwrap_or_default();
    let known = ["off", "error", "warn", "info", "debug", "trace"];
    let level = if known.contains(&wish.as_str()) { wish.as_str() } else { "warn" };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    if !wish.is_empty() && level != wish {
        tracing::warn!("SLIPSTREAM_LOG={wish} is none of {}; using {level}", known.join(", "));
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} cannot be a socket's path", path.display()))
}

/// Marks every descriptor but the standard ones close-on-exec. Where the kernel cannot (before Linux 5.11), the
/// caller's open files live on in the broker, which is untidy and no more.
fn close_on_exec_from_3() {
    // SAFETY: touches no memory, and close-on-exec changes nothing for descriptors that are in use here.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_uint);
    }
}
