//! The command line: `run`, `status`, `broker`, and their errors.

mod support;

use slipstream_broker::control::Control;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::*;

fn slipstream() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slipstream"));
    command.env_remove("SLIPSTREAM_TRANSPORT");
    command
}

/// Any library that can be preloaded and does nothing: the C library itself.
fn library() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .find(|path| path.contains("/libc.so"))
        .unwrap()
        .into()
}

fn run(socket: &Path, command: &[&str]) -> Command {
    let mut run = slipstream();
    run.arg("run").arg("--socket").arg(socket).arg("--library").arg(library()).arg("--").args(command);
    run
}

/// The broker that a test's `run` started, ended with the test.
struct Started {
    folder: tempfile::TempDir,
}

impl Started {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    fn broker(&self) -> u32 {
        Control::connect(&self.socket()).unwrap().status().unwrap().pid
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Ok(control) = Control::connect(&self.socket()) {
            kill(control.status().unwrap().pid, rustix::process::Signal::TERM);
        }
    }
}

/// Exactly one line of complaint, and nothing on standard output.
fn complaint(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(output.stdout.is_empty());
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("slipstream: "), "{text}");
    text
}

#[test]
fn run_becomes_the_program() {
    let started = Started::new();
    let mut child = run(&started.socket(), &["sh", "-c", "echo $$; read line; exit 7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), child.id().to_string());
    // No child that the program did not make.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
    assert_eq!(children.trim(), "");
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(7));

    let status = run(&started.socket(), &["sh", "-c", "kill -TERM $$"]).status().unwrap();
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn run_sets_the_environment() {
    let started = Started::new();
    let output = run(&started.socket(), &["sh", "-c", "echo $SLIPSTREAM_TRANSPORT $SLIPSTREAM_SOCKET $LD_PRELOAD"])
        .env_remove("LD_PRELOAD")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.trim(), format!("shm {} {}", started.socket().display(), library().display()));
    let mut uds = slipstream();
    uds.args(["run", "--transport", "uds", "--socket"]).arg(started.socket()).arg("--library").arg(library());
    let output = uds.args(["sh", "-c", "echo $SLIPSTREAM_TRANSPORT"]).output().unwrap();
    assert_eq!(output.stdout, b"uds\n");
    // What is set already is the default, and the option goes before it.
    let mut found = run(&started.socket(), &["sh", "-c", "echo $SLIPSTREAM_TRANSPORT"]);
    assert_eq!(found.env("SLIPSTREAM_TRANSPORT", "tcp").output().unwrap().stdout, b"tcp\n");
    assert_eq!(uds.env("SLIPSTREAM_TRANSPORT", "tcp").output().unwrap().stdout, b"uds\n");
}

#[test]
fn the_broker_that_run_starts_holds_nothing_of_the_callers() {
    let started = Started::new();
    // Ends only when every holder of the pipe has: the broker that stays is none of them.
    let mut child =
        run(&started.socket(), &["echo", "done"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("done\n", ""));
    child.wait().unwrap();
    let broker = started.broker();
    assert_eq!(std::fs::read_link(format!("/proc/{broker}/cwd")).unwrap(), Path::new("/"));
    for fd in 0..3 {
        assert_eq!(std::fs::read_link(format!("/proc/{broker}/fd/{fd}")).unwrap(), Path::new("/dev/null"));
    }
    // In a session of its own.
    let stat = std::fs::read_to_string(format!("/proc/{broker}/stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(session, broker.to_string());
}

#[test]
fn many_at_once_start_one_broker() {
    let started = Started::new();
    let children: Vec<_> =
        (0..8).map(|_| run(&started.socket(), &["true"]).stderr(Stdio::piped()).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let brokers = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(&*started.socket().to_string_lossy()))
        .count();
    assert_eq!(brokers, 1);
}

#[test]
fn run_says_what_is_wrong_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let empty = || assert_eq!(folder.path().read_dir().unwrap().count(), 0);

    let output = slipstream().args(["run", "--library", "/nowhere/l.so", "--socket"]).arg(&socket).arg("true").output();
    assert!(complaint(&output.unwrap(), 125).contains("/nowhere/l.so"));
    empty();
    // A copy of the executable, with no library beside it; made by another process, because a child that another test forks
    // would hold our descriptor of it, and who is open for writing cannot be executed.
    let lonely = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_slipstream")).arg(lonely.path()).status();
    assert!(copied.unwrap().success());
    let output = Command::new(lonely.path().join("slipstream")).args(["run", "true"]).output().unwrap();
    assert!(complaint(&output, 125).contains("libslipstream.so"));
    // A path that LD_PRELOAD cannot say.
    let spaced = folder.path().join("a b.so");
    std::fs::write(&spaced, "").unwrap();
    let output =
        slipstream().arg("run").arg("--library").arg(&spaced).arg("--socket").arg(&socket).arg("true").output();
    assert!(complaint(&output.unwrap(), 125).contains("space or a colon"));
    std::fs::remove_file(spaced).unwrap();
    empty();

    for unusable in [Path::new("/nowhere/s"), Path::new("/proc/s"), Path::new(&format!("/tmp/{}", "x".repeat(150)))] {
        let output = run(unusable, &["true"]).output().unwrap();
        complaint(&output, 125);
    }
    std::fs::write(&socket, "mine").unwrap();
    assert!(complaint(&run(&socket, &["true"]).output().unwrap(), 125).contains("not a socket"));
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);

    let output = run(&socket, &["true"]).env("SLIPSTREAM_TRANSPORT", "smoke").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("smoke"));
    for wrong in [&["run", "--wrong", "true"][..], &["run"], &["wrong"], &["run", "--transport", "smoke", "true"]] {
        let output = slipstream().args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
}

#[test]
fn programs_that_do_not_start_have_their_exit_codes() {
    let started = Started::new();
    complaint(&run(&started.socket(), &["no-such-program-anywhere"]).output().unwrap(), 127);
    complaint(&run(&started.socket(), &["/dev/null"]).output().unwrap(), 126);
}

#[test]
fn a_broker_of_another_version_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let kind = rustix::net::SocketType::SEQPACKET;
    let listener = rustix::net::socket_with(rustix::net::AddressFamily::UNIX, kind, flags, None).unwrap();
    rustix::net::bind(&listener, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&listener, 8).unwrap();
    // It looks at the first message, and closes.
    std::thread::spawn(move || {
        while let Ok(client) = rustix::net::accept(&listener) {
            let _ = rustix::io::read(&client, &mut [0; 512]);
        }
    });
    assert!(complaint(&run(&path, &["true"]).output().unwrap(), 125).contains("another version"));
    let output = slipstream().args(["status", "--socket"]).arg(&path).output().unwrap();
    assert!(complaint(&output, 1).contains("another version"));
}

#[test]
fn status_without_a_broker_and_a_second_broker_are_errors() {
    let broker = Broker::start();
    let output = slipstream().arg("broker").arg("--socket").arg(broker.socket()).output().unwrap();
    assert!(complaint(&output, 1).contains("another broker answers"));
    let output = slipstream().arg("status").arg("--socket").arg(broker.folder().join("other")).output().unwrap();
    assert!(complaint(&output, 1).contains("no broker answers"));
    let text = slipstream().arg("status").arg("--socket").arg(broker.socket()).output().unwrap();
    assert!(text.status.success());
    let json = slipstream().args(["status", "--json"]).arg("--socket").arg(broker.socket()).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(value["connections"].as_array().unwrap().is_empty());
    assert!(value["totals"]["by_state"].is_object() && value["totals"]["by_reason"].is_object());
}

#[test]
fn a_killed_broker_is_replaced() {
    let started = Started::new();
    assert!(run(&started.socket(), &["true"]).status().unwrap().success());
    let first = started.broker();
    kill(first, rustix::process::Signal::KILL);
    assert!(run(&started.socket(), &["true"]).status().unwrap().success());
    assert_ne!(started.broker(), first);
}

#[test]
fn the_default_path_follows_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    if Path::new(slipstream_broker::path::SYSTEM).exists() {
        return println!("not tried: a system-wide broker is here");
    }
    let with = |command: &mut Command| {
        command
            .env_remove("SLIPSTREAM_SOCKET")
            .env_remove("XDG_RUNTIME_DIR")
            .env("TMPDIR", folder.path())
            .output()
            .unwrap()
    };
    let uid = rustix::process::geteuid().as_raw();
    let expected = folder.path().join(format!("slipstream-{uid}/broker.sock"));
    let output =
        with(slipstream().arg("run").arg("--library").arg(library()).args(["sh", "-c", "echo $SLIPSTREAM_SOCKET"]));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected.to_str().unwrap());
    let json = with(slipstream().args(["status", "--json"]));
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    kill(value["pid"].as_u64().unwrap() as u32, rustix::process::Signal::TERM);
}
