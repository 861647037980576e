//! Brokers that are missing, die, hang or come late; peers that die; ends without the shim. Programs must not notice.

use slipstream_tests::{Lab, Mode, PATIENCE, Port, Program, Running};

fn script(lab: &Lab, name: &str) -> Program {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("apps/scripts").join(name);
    lab.program("/usr/bin/python3").arg(path)
}

fn server(lab: &Lab, port: &Port, bare: bool) -> Running {
    let program = script(lab, "echo_server.py").args(["threads", &port.to_string()]);
    let mut server = if bare { program.bare() } else { program }.start();
    server.wait_for("it listens", PATIENCE, |_| port.is_listening().then_some(()));
    server
}

fn client(lab: &Lab, port: &Port, bare: bool) -> Running {
    let program = script(lab, "talk.py").arg(port.to_string()).piped();
    if bare { program.bare() } else { program }.start()
}

/// Gives the client an order and waits for its word.
#[track_caller]
fn order(client: &mut Running, order: &str, word: &str) {
    let before = client.stdout().matches(word).count();
    client.type_in(&format!("{order}\n"));
    client.wait_output(word, PATIENCE, |said| (said.matches(word).count() > before).then_some(()));
}

#[track_caller]
fn talk(client: &mut Running, number: u32) {
    order(client, &format!("trips {number} 300"), &format!("300 trips on {number}"));
    order(client, &format!("bulk {number} 3000000"), "echoed 3000000");
}

#[track_caller]
fn expect_moved(lab: &Lab, client: &mut Running, connections: usize) {
    let pid = client.pid();
    lab.expect_moved(
        client,
        connections,
        |c| c.pid == pid,
        |client| {
            for number in 0..connections {
                order(client, &format!("trips {number} 7"), &format!("7 trips on {number}"));
            }
        },
    );
}

const MODES: [Mode; 2] = [Mode::Shm, Mode::Uds];

#[test]
fn one_side_without_the_shim() {
    for mode in MODES {
        for bare_server in [false, true] {
            let (lab, port) = (Lab::new("one side", mode), Port::free());
            let _server = server(&lab, &port, bare_server);
            let mut client = client(&lab, &port, !bare_server);
            order(&mut client, "open 0", "opened 0");
            talk(&mut client, 0);
            let status = lab.status();
            assert_eq!(status.totals.matched, 0, "{status:#?}");
            assert_eq!(status.totals.moved_bytes, 0, "{status:#?}");
            assert!(status.connections.iter().all(|c| c.state == "pre-opt"), "{status:#?}");
            assert_eq!(status.connections.len(), 1, "the shimmed end is offered, and waits: {status:#?}");
            client.finish(PATIENCE).good();
        }
    }
}

#[test]
fn different_transports_stay_on_tcp() {
    let (lab, port) = (Lab::new("two wishes", Mode::Shm), Port::free());
    let _server = server(&lab, &port, false);
    let mut client = script(&lab, "talk.py").arg(port.to_string()).env("SLIPSTREAM_TRANSPORT", "uds").piped().start();
    order(&mut client, "open 0", "opened 0");
    talk(&mut client, 0);
    client.finish(PATIENCE).good();
    assert_eq!(lab.status().totals.moved_bytes, 0);
}

#[test]
fn only_watching_moves_nothing() {
    let (lab, port) = (Lab::new("tcp", Mode::Tcp), Port::free());
    let _server = server(&lab, &port, false);
    let mut client = client(&lab, &port, false);
    order(&mut client, "open 0", "opened 0");
    talk(&mut client, 0);
    client.finish(PATIENCE).good();
    assert_eq!(lab.status().totals.moved_bytes, 0);
}

#[test]
fn no_broker_at_all() {
    for mode in MODES {
        let (lab, port) = (Lab::without_broker("no broker", mode), Port::free());
        let server = server(&lab, &port, false);
        let mut client = client(&lab, &port, false);
        order(&mut client, "open 0", "opened 0");
        talk(&mut client, 0);
        let ended = client.finish(PATIENCE);
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "silence by default");
        ended.good();
        assert_eq!(server.stderr(), "");
    }
}

#[test]
fn what_is_said_names_the_process_and_is_said_once() {
    let (lab, port) = (Lab::without_broker("log", Mode::Shm), Port::free());
    let _server = server(&lab, &port, false);
    let program = script(&lab, "talk.py").arg(port.to_string()).piped();
    let mut client = program.env("SLIPSTREAM_LOG", "info").env("SLIPSTREAM_MIN_OPS", "many").start();
    let pid = client.pid();
    for number in 0..2 {
        order(&mut client, &format!("open {number}"), &format!("opened {number}"));
        talk(&mut client, number);
    }
    let said = String::from_utf8(client.finish(PATIENCE).stderr).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], format!("slipstream[{pid}]: cannot understand SLIPSTREAM_MIN_OPS=many; using the default"));
    assert!(lines[1].starts_with(&format!("slipstream[{pid}]: no broker ")), "{said}");
    assert_eq!(lines.len(), 2, "{said}");
}

#[test]
fn a_broker_killed_midway_and_started_again() {
    for mode in MODES {
        let (mut lab, port) = (Lab::new("broker killed", mode), Port::free());
        let server = server(&lab, &port, false);
        let mut client = client(&lab, &port, false);
        order(&mut client, "open 0", "opened 0");
        talk(&mut client, 0);
        expect_moved(&lab, &mut client, 1);
        lab.broker.take().expect("the broker").kill();
        // What has moved goes on; what is new stays on TCP.
        talk(&mut client, 0);
        order(&mut client, "open 1", "opened 1");
        talk(&mut client, 1);
        lab.start_broker();
        talk(&mut client, 0);
        // With a broker again, new connections move again: the client looks for it by itself.
        order(&mut client, "open 2", "opened 2");
        let mut turns = 0;
        while lab.status().connections.iter().filter(|c| c.is_moved(mode.name())).count() < 2 {
            turns += 1;
            assert!(turns < 200, "nothing moves with the new broker\n{}\n{}", client.report(), server.report());
            talk(&mut client, 2);
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        talk(&mut client, 0);
        talk(&mut client, 1);
        let ended = client.finish(PATIENCE);
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
        ended.good();
    }
}

#[test]
fn a_broker_that_hangs() {
    let (lab, port) = (Lab::new("broker hangs", Mode::Shm), Port::free());
    let _server = server(&lab, &port, false);
    let mut client = client(&lab, &port, false);
    order(&mut client, "open 0", "opened 0");
    talk(&mut client, 0);
    expect_moved(&lab, &mut client, 1);
    let broker = lab.broker.as_ref().expect("the broker").pid().cast_signed();
    // SAFETY: plain system calls; the broker is this test's own child, not waited for yet.
    unsafe { libc::kill(broker, libc::SIGSTOP) };
    for number in 1..20 {
        order(&mut client, &format!("open {number}"), &format!("opened {number}"));
        talk(&mut client, number);
    }
    talk(&mut client, 0);
    // SAFETY: as above.
    unsafe { libc::kill(broker, libc::SIGCONT) };
    // It wakes up to old mail, and serves.
    for number in 1..20 {
        talk(&mut client, number);
    }
    expect_moved(&lab, &mut client, 20);
    client.finish(PATIENCE).good();
}

#[test]
fn a_broker_that_comes_late() {
    for mode in MODES {
        let (mut lab, port) = (Lab::without_broker("broker late", mode), Port::free());
        let server = server(&lab, &port, false);
        let mut client = client(&lab, &port, false);
        order(&mut client, "open 0", "opened 0");
        talk(&mut client, 0);
        lab.start_broker();
        order(&mut client, "open 1", "opened 1");
        let mut turns = 0;
        while lab.status().connections.iter().filter(|c| c.is_moved(mode.name())).count() < 2 {
            turns += 1;
            assert!(turns < 200, "nothing moves with the late broker\n{}\n{}", client.report(), server.report());
            talk(&mut client, 1);
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        talk(&mut client, 0);
        client.finish(PATIENCE).good();
    }
}

/// The server is killed while the client sleeps in recv, with the broker alive and with it dead.
#[test]
fn a_peer_killed() {
    for mode in [Mode::Plain, Mode::Shm, Mode::Uds] {
        for broker_first in [false, true] {
            let (mut lab, port) = (Lab::new("peer killed", mode), Port::free());
            let mut server = server(&lab, &port, false);
            let mut client = client(&lab, &port, false);
            order(&mut client, "open 0", "opened 0");
            talk(&mut client, 0);
            expect_moved(&lab, &mut client, 1);
            client.type_in("listen 0\n");
            if broker_first && let Some(broker) = lab.broker.take() {
                broker.kill();
            }
            wait_asleep(&mut client);
            server.signal(libc::SIGKILL);
            client.wait_output("the end", PATIENCE, |said| said.contains("got b''").then_some(()));
            client.finish(PATIENCE).good();
        }
    }
}

/// The client is killed while the server sleeps; the server serves on.
#[test]
fn a_client_killed() {
    for mode in MODES {
        let (lab, port) = (Lab::new("client killed", mode), Port::free());
        let mut server = server(&lab, &port, false);
        for _ in 0..5 {
            let mut client = client(&lab, &port, false);
            order(&mut client, "open 0", "opened 0");
            talk(&mut client, 0);
            expect_moved(&lab, &mut client, 1);
            client.signal(libc::SIGKILL);
        }
        // Every thread of the server's has seen its end: only the accepting one is left.
        server.wait_for("the handlers end", PATIENCE, |this| {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", this.pid())).ok()?;
            (tasks.count() == 1).then_some(())
        });
        assert_eq!(server.stderr(), "");
    }
}

/// Waits until the program's main thread sleeps in the kernel, and stays there for longer than any spin.
fn wait_asleep(running: &mut Running) {
    let mut calm = 0;
    running.wait_for("it sleeps", PATIENCE, |this| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", this.pid())).ok()?;
        let state = stat.rsplit_once(')')?.1.trim_start().chars().next();
        calm = if state == Some('S') { calm + 1 } else { 0 };
        (calm > 10).then_some(())
    });
}
