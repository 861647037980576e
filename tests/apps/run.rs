//! `slipstream run`, the way people start programs: a broker of its own when none answers.

use crate::serve;
use slipstream_tests::{Lab, Mode, PATIENCE, Port, until};

/// redis-server and redis-benchmark, each by `slipstream run`, as in the README's example.
#[test]
fn redis_with_one_word() {
    // The lab has no broker: `run` starts one at the socket it is told, here by the environment.
    let (lab, port) = (Lab::without_broker("slipstream run", Mode::Shm), Port::free());
    let run = || lab.program(lab.tool()).bare().args(["run", "--"]);
    let server = run().args(["redis-server", "--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
    let server = serve(server, &port);
    let benchmark = run().args(["redis-benchmark", "-p", &port.to_string(), "-t", "get", "-n", "100000", "-l"]).start();
    let pid = benchmark.pid();
    let moved = until(PATIENCE, || {
        let status = lab.try_status()?;
        let mine: Vec<_> = status.connections.iter().filter(|c| c.pid == pid).collect();
        (mine.len() == 50 && mine.iter().all(|c| c.is_moved("shm"))).then_some(())
    });
    assert!(moved.is_some(), "not all 50 connections moved\n{}", benchmark.report());
    drop(benchmark);
    assert!(server.stop().status.success());
    // The broker that `run` started goes when told; it is not this test's child.
    let pid = lab.try_status().and_then(|status| broker_pid(&lab, &status.version)).expect("the broker's process");
    // SAFETY: plain system call; the id is from the broker itself, which answers at this test's own socket.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    let gone = until(PATIENCE, || (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    assert!(gone.is_some(), "the broker does not end");
    assert!(!lab.socket().exists(), "the broker left its socket");
}

/// The broker's process id, as its status has it.
fn broker_pid(lab: &Lab, version: &str) -> Option<i32> {
    let said = lab.program(lab.tool()).bare().args(["status", "--json"]).run(PATIENCE).good();
    let said: serde_json::Value = serde_json::from_str(&said).ok()?;
    assert_eq!(said["version"].as_str(), Some(version));
    said["pid"].as_i64()?.try_into().ok()
}

/// The program's own exit code, signals and descriptors.
#[test]
fn becomes_the_program() {
    let lab = Lab::new("slipstream run", Mode::Shm);
    let run = || lab.program(lab.tool()).bare().args(["run", "--"]);
    assert_eq!(run().args(["sh", "-c", "exit 7"]).run(PATIENCE).status.code(), Some(7));
    assert_eq!(run().args(["sh", "-c", "kill -TERM $$"]).run(PATIENCE).signal(), Some(libc::SIGTERM));
    assert_eq!(run().args(["sh", "-c", "echo said"]).run(PATIENCE).good(), "said\n");
    let mut sleeper = run().args(["sleep", "100"]).start();
    sleeper.wait_for("it has become sleep", PATIENCE, |this| {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", this.pid())).ok()?;
        (name.trim() == "sleep").then_some(())
    });
    assert_eq!(sleeper.stop().signal(), Some(libc::SIGTERM));
    let missing = run().arg("no-such-program-anywhere").run(PATIENCE);
    assert_eq!(missing.status.code(), Some(127));
    assert_eq!(String::from_utf8_lossy(&missing.stderr).lines().count(), 1);
}
