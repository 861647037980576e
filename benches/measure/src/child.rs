//! Child processes: pinned, told to die with their parent, their stderr kept for the report of a failure.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::cleanup;

/// How long a child that was asked to end may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(2);

/// A child process, ended when dropped.
#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
    name: String,
    log: PathBuf,
    ended: bool,
}

impl Child {
    /// Starts `command` with stderr going to `log`, on processor `cpu` alone if one is given.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn(mut command: Command, name: &str, cpu: Option<usize>, log: &Path) -> Result<Child> {
        command.stderr(File::create(log).context("cannot make a log file")?);
        let inner = start(&mut command, cpu).with_context(|| format!("cannot start {name}"))?;
        let child = Child { inner, name: name.to_owned(), log: log.to_owned(), ended: false };
        cleanup::add_child(child.pid());
        Ok(child)
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.inner.id().cast_signed())
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let pid = self.pid();
        let status = cleanup::forget_child(pid, || self.inner.try_wait()).ok()?;
        match status {
            Some(_) => self.ended = true,
            None => cleanup::add_child(pid),
        }
        status
    }

    /// Waits until it ends by itself, and returns the CPU time that it used, in nanoseconds.
    ///
    /// # Errors
    ///
    /// When it does not end within `limit`, or not well.
    pub fn wait(mut self, limit: Duration) -> Result<u64> {
        let deadline = Instant::now() + limit;
        let has_ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(self.pid()), has_ended)? == WaitStatus::StillAlive {
            if Instant::now() > deadline {
                bail!("{} did not end within {limit:?}{}", self.name, self.said());
            }
            thread::sleep(Duration::from_millis(2));
        }
        // Its books are open until it is reaped.
        let cpu = self.cpu_nanos();
        match self.exited() {
            Some(status) if !status.success() => {
                bail!("{} ended with {status}{}", self.name, self.said())
            }
            _ => Ok(cpu),
        }
    }

    /// CPU time of all its threads so far, from the scheduler's own books.
    pub fn cpu_nanos(&self) -> u64 {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid())) else {
            return 0;
        };
        threads
            .flatten()
            .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
            .filter_map(|line| line.split(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// The end of what it wrote to stderr, for an error message; empty when it wrote nothing.
    pub fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.trim_end().lines().collect();
        let tail = &lines[lines.len().saturating_sub(10)..];
        tail.iter().map(|line| format!("\n  {}: {line}", self.name)).collect()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let pid = self.pid();
        cleanup::forget_child(pid, || {
            drop(self.inner.stdin.take());
            let _ = kill(pid, Signal::SIGTERM);
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline {
                if !matches!(self.inner.try_wait(), Ok(None)) {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
            let _ = self.inner.kill();
            let _ = self.inner.wait();
        });
    }
}

#[allow(unsafe_code)]
fn start(command: &mut Command, cpu: Option<usize>) -> std::io::Result<std::process::Child> {
    let mut set = CpuSet::new();
    if let Some(cpu) = cpu {
        set.set(cpu)?;
    }
    let prepare = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // `cleanup::arm` blocks signals, and a mask is inherited.
        SigSet::empty().thread_set_mask()?;
        if cpu.is_some() {
            sched_setaffinity(Pid::from_raw(0), &set)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec, `prepare` makes system calls on memory of its own and does nothing else.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// A child that is spoken to in lines.
#[derive(Debug)]
pub struct Dialogue {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    unread: Vec<u8>,
}

impl Dialogue {
    /// Starts `command` as [`Child::spawn`] does, with its stdin and stdout here.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn(mut command: Command, name: &str, cpu: Option<usize>, log: &Path) -> Result<Dialogue> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Child::spawn(command, name, cpu, log)?;
        let stdin = child.inner.stdin.take().context("no stdin")?;
        let stdout = child.inner.stdout.take().context("no stdout")?;
        Ok(Dialogue { child, stdin, stdout, unread: Vec::new() })
    }

    /// The process.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Says `line`, to which a newline is added.
    ///
    /// # Errors
    ///
    /// When the child has ended.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let result = self.stdin.write_all(format!("{line}\n").as_bytes());
        result.with_context(|| self.trouble("does not listen"))
    }

    /// Hears one line.
    ///
    /// # Errors
    ///
    /// When none comes within `limit`, or the child has ended.
    pub fn hear(&mut self, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                let line = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8(line)?);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
            if left.is_zero() || poll(&mut fds, timeout)? == 0 {
                bail!(self.trouble(&format!("has not answered within {} s", limit.as_secs_f32())));
            }
            let mut chunk = [0; 4096];
            match self.stdout.read(&mut chunk)? {
                0 => {
                    let status = self.child.inner.wait()?;
                    bail!(self.trouble(&format!("ended: {status}")));
                }
                count => self.unread.extend_from_slice(&chunk[..count]),
            }
        }
    }

    fn trouble(&self, what: &str) -> String {
        format!("{} (pid {}) {what}{}", self.child.name, self.child.pid(), self.child.said())
    }
}
