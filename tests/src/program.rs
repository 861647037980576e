//! Programs under test: started in a process group of their own, output in files, ended with the test.

use crate::wait::until;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A program before its start.
#[derive(Debug)]
pub struct Program {
    pub(crate) command: Command,
    pub(crate) name: String,
    /// Where stdout and stderr go.
    pub(crate) files: PathBuf,
    /// What is said of the world when it does not behave.
    pub(crate) report: Reporter,
}

/// The parts of a lab that a report needs, cheap to copy into every program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reporter {
    pub(crate) status: Option<(PathBuf, PathBuf)>,
    pub(crate) broker_log: Option<PathBuf>,
}

impl Reporter {
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if let Some((tool, socket)) = &self.status {
            let mut ask = Command::new(tool);
            ask.args(["status", "--json", "--socket"]).arg(socket);
            let said = ask.output().map(|o| String::from_utf8_lossy(&[o.stdout, o.stderr].concat()).into_owned());
            text += &format!("--- status\n{}\n", said.unwrap_or_else(|error| error.to_string()));
        }
        if let Some(log) = &self.broker_log {
            text += &format!("--- the broker's log\n{}\n", tail(log));
        }
        text
    }
}

impl Program {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Preloads a library above the shim, if there is one.
    pub fn above(mut self, library: &Path) -> Self {
        let shim = self.command.get_envs().find(|(name, _)| *name == "LD_PRELOAD").and_then(|(_, value)| value);
        let mut both = library.as_os_str().to_owned();
        if let Some(shim) = shim {
            both.push(" ");
            both.push(shim);
        }
        self.command.env("LD_PRELOAD", both);
        self
    }

    /// Takes the shim away from this program alone.
    pub fn bare(mut self) -> Self {
        self.command.env_remove("LD_PRELOAD");
        self
    }

    /// Runs it as another user, if the test may do that: a server that refuses to be root's.
    ///
    /// # Panics
    ///
    /// When there is no such user.
    pub fn user(mut self, name: &str) -> Self {
        if let Some((user, group)) = account(name) {
            self.command.uid(user).gid(group);
        }
        self
    }

    /// Gives it a standard input that the test writes; else it has none.
    pub fn piped(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Gives it a file as its standard input.
    pub fn input(mut self, file: File) -> Self {
        self.command.stdin(file);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(mut self) -> Running {
        let (stdout, stderr) = (self.files.with_extension("out"), self.files.with_extension("err"));
        let file = |path: &Path| File::create(path).expect("a file for a program's output");
        self.command.stdout(file(&stdout)).stderr(file(&stderr)).process_group(0);
        let child = match self.command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {}: {error}", self.name),
        };
        Running { child, status: None, name: self.name, stdout, stderr, report: self.report }
    }

    /// Starts it and waits for its end.
    ///
    /// # Panics
    ///
    /// When it does not end in time.
    pub fn run(self, patience: Duration) -> Ended {
        self.start().finish(patience)
    }
}

/// A program that runs. Dropping it kills its process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    status: Option<ExitStatus>,
    name: String,
    stdout: PathBuf,
    stderr: PathBuf,
    report: Reporter,
}

/// What a program left.
#[derive(Debug)]
pub struct Ended {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// Standard output of a program that ended well.
    ///
    /// # Panics
    ///
    /// When it did not.
    #[track_caller]
    pub fn good(self) -> String {
        assert!(
            self.status.success(),
            "{} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.name,
            self.status,
            shorten(&self.stdout),
            shorten(&self.stderr)
        );
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input.
    ///
    /// # Panics
    ///
    /// When it has none, or does not take it.
    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("a program that was started piped()");
        if let Err(error) = input.write_all(text.as_bytes()).and_then(|()| input.flush()) {
            self.give_up(&format!("took no input: {error}"));
        }
    }

    /// Ends its standard input.
    pub fn end_input(&mut self) {
        self.child.stdin = None;
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    /// What it has complained so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Waits until the program's output satisfies `seen`.
    ///
    /// # Panics
    ///
    /// When it does not in time, or the program ends before.
    #[track_caller]
    pub fn wait_output<T>(&mut self, what: &str, patience: Duration, mut seen: impl FnMut(&str) -> Option<T>) -> T {
        self.wait_for(what, patience, |this| seen(&this.stdout()))
    }

    /// Waits until `ask` answers.
    ///
    /// # Panics
    ///
    /// When it does not in time, or the program ends before.
    #[track_caller]
    pub fn wait_for<T>(&mut self, what: &str, patience: Duration, mut ask: impl FnMut(&Self) -> Option<T>) -> T {
        let mut ended = false;
        let answer = until(patience, || {
            let was_over = ended;
            ended = self.poll().is_some();
            let answer = ask(self);
            // One more look after the end, at what it said last.
            (answer.is_some() || was_over).then_some(answer)
        });
        match answer.flatten() {
            Some(answer) => answer,
            None => self.give_up(&format!("in vain: {what}")),
        }
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Whether it runs still.
    pub fn is_alive(&mut self) -> bool {
        self.poll().is_none()
    }

    /// Sends a signal to the program (not to its children).
    pub fn signal(&mut self, number: i32) {
        if self.poll().is_none() {
            // SAFETY: plain system call; the child has not been waited for, so the id is its own.
            unsafe { libc::kill(self.child.id().cast_signed(), number) };
        }
    }

    /// Waits for the end.
    ///
    /// # Panics
    ///
    /// When it does not come in time: with all that is known.
    #[track_caller]
    pub fn finish(mut self, patience: Duration) -> Ended {
        self.end_input();
        let Some(status) = until(patience, || self.poll()) else {
            self.give_up(&format!("did not end within {patience:?}"));
        };
        Ended {
            name: self.name.clone(),
            status,
            stdout: std::fs::read(&self.stdout).unwrap_or_default(),
            stderr: std::fs::read(&self.stderr).unwrap_or_default(),
        }
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub fn stop(mut self) -> Ended {
        self.signal(libc::SIGTERM);
        self.finish(crate::PATIENCE)
    }

    /// Everything that is known of this program and of the broker.
    pub fn report(&self) -> String {
        let state = match self.status {
            Some(status) => format!("ended: {status}"),
            None => format!("running as {}", self.child.id()),
        };
        format!(
            "--- {} ({state})\n{}--- stdout\n{}\n--- stderr\n{}\n{}",
            self.name,
            processes(self.child.id()),
            tail(&self.stdout),
            tail(&self.stderr),
            self.report.text()
        )
    }

    #[track_caller]
    fn give_up(&self, why: &str) -> ! {
        panic!("{} {why}\n{}", self.name, self.report());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: plain system call. The group's id is the child's, which is taken until the child has been waited for;
        // afterwards only members that still live keep it, and then it is still this program's.
        unsafe { libc::killpg(self.child.id().cast_signed(), libc::SIGKILL) };
        let _ = self.child.wait();
    }
}

/// What the threads of a process group are doing, from /proc.
fn processes(group: u32) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        // pid (comm) state ppid pgrp
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        if rest.split_whitespace().nth(2).and_then(|word| word.parse().ok()) != Some(group) {
            continue;
        }
        for task in std::fs::read_dir(path.join("task")).into_iter().flatten().flatten() {
            let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let state = read("stat").rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next());
            text += &format!(
                "  {} {:?} {} in {} syscall {}",
                task.path().display(),
                state.flatten(),
                read("comm").trim(),
                read("wchan"),
                read("syscall"),
            );
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
    }
    text
}

fn tail(path: &Path) -> String {
    shorten(&std::fs::read(path).unwrap_or_default())
}

/// At most the last 4000 bytes.
fn shorten(text: &[u8]) -> String {
    let from = text.len().saturating_sub(4000);
    let dots = if from > 0 { "…" } else { "" };
    format!("{dots}{}", String::from_utf8_lossy(&text[from..]))
}

/// The signal that ended a program.
impl Ended {
    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

/// The ids of a user whom this process may become: none, if it is not root.
///
/// # Panics
///
/// When there is no such user.
pub fn account(name: &str) -> Option<(u32, u32)> {
    // SAFETY: plain system call.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("the list of users");
    let words: Vec<_> = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).collect();
    let user = words.iter().find(|words| words[0] == name).unwrap_or_else(|| panic!("there is no user {name}"));
    Some((user[2].parse().expect("a user's number"), user[3].parse().expect("a group's number")))
}

pub(crate) fn new(name: &str, executable: OsString, files: PathBuf, report: Reporter) -> Program {
    let mut command = Command::new(executable);
    command.stdin(Stdio::null());
    // SAFETY: only async-signal-safe calls between fork and exec.
    unsafe {
        command.pre_exec(|| {
            // Nothing outlives a test run that is itself killed.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        })
    };
    Program { command, name: name.to_owned(), files, report }
}
