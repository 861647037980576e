//! redis with files and with neighbours: snapshots and logs written while clients work, a copy from disk for a replica,
//! a cluster of three nodes whose keys move.

use crate::redis::{ask, client, warm};
use crate::{assert_same, modes, serve};
use slipstream_tests::{Lab, Mode, PATIENCE, Port, Running, until};
use std::fmt::Write as _;

/// A server with a folder of its own, and options.
fn server(lab: &Lab, port: &Port, options: &[&str]) -> Running {
    let folder = lab.folder().join(port.to_string());
    let _ = std::fs::create_dir(&folder);
    let program = lab.program("redis-server").args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
    let program = program.arg("--dir").arg(folder).args(["--enable-debug-command", "local", "--save", ""]);
    serve(program.args(options), port)
}

/// Asks until this is a line of the answer.
#[track_caller]
fn ask_until(client: &mut Running, command: &str, wanted: &str) {
    let so = until(PATIENCE, || {
        let before = client.stdout().len();
        ask(client, command, &format!("asked-at-{before}"));
        client.stdout()[before..].lines().any(|line| line.trim() == wanted).then_some(())
    });
    assert!(so.is_some(), "{command} never says {wanted}\n{}", client.report());
}

/// The last digest that a client was told.
fn digest(said: &str) -> String {
    said.lines().rev().find(|line| line.len() == 40).expect("a digest").to_owned()
}

/// BGSAVE and BGREWRITEAOF while a client writes and fifty read: forks that share every connection. The server is killed;
/// what it wrote is all there.
fn persistence(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("redis files", mode), Port::free());
        let options = ["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
        let mut first = server(&lab, &port, &options);
        let mut client_of_it = client(&lab, &port);
        warm(&lab, &mut client_of_it);
        ask(&mut client_of_it, "DEBUG POPULATE 100000 key 100", "populated");
        let readers = lab.program("redis-benchmark").args(["-p", &port.to_string(), "-t", "get", "-l", "-n", "100000"]);
        let mut readers = readers.start();
        let pid = readers.pid();
        lab.expect_moved(&mut readers, 50, |c| c.pid == pid, |_| ());
        let mut saved = String::new();
        for (round, command) in ["BGSAVE", "BGREWRITEAOF", "BGSAVE"].into_iter().enumerate() {
            let mut writes = format!("{command}\n");
            for i in 0..300 {
                let _ = writeln!(writes, "SET written:{round}:{i} {}\nLPUSH list {i}", "v".repeat(i));
            }
            ask(&mut client_of_it, &writes, &format!("written-{round}"));
            let what = if command == "BGSAVE" { "rdb_bgsave_in_progress:0" } else { "aof_rewrite_in_progress:0" };
            ask_until(&mut client_of_it, "INFO persistence", what);
            ask(&mut client_of_it, "INFO persistence", &format!("done-{round}"));
            let good =
                |line: &&str| line.starts_with("rdb_last_bgsave_status") || line.starts_with("aof_last_bgrewrite");
            saved = client_of_it.stdout().lines().filter(good).map(str::to_owned).collect::<Vec<_>>().join("\n");
        }
        assert!(saved.contains(":ok") && !saved.contains(":err"), "{saved}");
        // Forks do not send connections back.
        lab.expect_moved(&mut readers, 50, |c| c.pid == pid, |_| ());
        drop(readers);
        ask(&mut client_of_it, "DEBUG DIGEST", "digested");
        let before = digest(&client_of_it.stdout());
        first.signal(libc::SIGKILL);
        drop(first);
        let second = server(&lab, &port, &options);
        let mut client_of_it = client(&lab, &port);
        ask_until(&mut client_of_it, "INFO persistence", "loading:0");
        ask(&mut client_of_it, "DBSIZE\nDEBUG DIGEST", "digested");
        let after = client_of_it.finish(PATIENCE).good();
        assert_eq!(before, digest(&after), "what the log has");
        lab.expect_no_alarm();
        assert!(second.stop().status.success());
        before
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// A replica copied from the master's disk; then the two change places, and writes go the other way.
fn from_disk(mode: Mode) {
    let run = |mode| {
        let (lab, ports) = (Lab::new("redis copy", mode), [Port::free(), Port::free()]);
        let options = ["--repl-diskless-sync", "no", "--repl-ping-replica-period", "1", "--min-replicas-to-write", "0"];
        let servers = [server(&lab, &ports[0], &options), server(&lab, &ports[1], &options)];
        let mut clients = [client(&lab, &ports[0]), client(&lab, &ports[1])];
        ask(&mut clients[0], "DEBUG POPULATE 60000 bulk 1000", "populated");
        ask(&mut clients[1], &format!("REPLICAOF 127.0.0.1 {}", ports[0]), "told");
        ask_until(&mut clients[1], "INFO replication", "master_link_status:up");
        let write = |client: &mut Running, mark: &str| {
            let writes: String = (0..3000).map(|i| format!("SET {mark}:{i} {i}\nRPUSH {mark} {i}\n")).collect();
            ask(client, &(writes + "WAIT 1 20000"), mark);
        };
        write(&mut clients[0], "forth");
        ask(&mut clients[0], &format!("FAILOVER TO 127.0.0.1 {}", ports[1]), "asked-to");
        ask_until(&mut clients[1], "INFO replication", "role:master");
        ask_until(&mut clients[0], "INFO replication", "master_link_status:up");
        write(&mut clients[1], "back");
        let (from, to) = (servers[0].pid(), ports[1].number());
        let mut turn = 0;
        lab.expect_moved(
            &mut clients[1],
            1,
            |c| c.pid == from && c.remote_port() == Some(to),
            |client| {
                turn += 1;
                ask(client, &"INCR turns\n".repeat(100), &format!("turn-{turn}"));
            },
        );
        ask(&mut clients[1], "DEL turns\nWAIT 1 20000\nDEBUG DIGEST", "waited");
        ask(&mut clients[0], "DEBUG DIGEST\nDBSIZE\nLLEN forth\nLLEN back", "compared");
        let digests = [digest(&clients[0].stdout()), digest(&clients[1].stdout())];
        assert_eq!(digests[0], digests[1]);
        lab.expect_no_alarm();
        digests[0].clone()
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// Three nodes on their bus; keys by way of all of them, also after some have moved from node to node.
fn cluster(mode: Mode) {
    let run = |mode| {
        let (lab, ports) = (Lab::new("redis cluster", mode), [Port::free(), Port::free(), Port::free()]);
        let buses: [Port; 3] = std::array::from_fn(|_| Port::free());
        let _nodes: Vec<_> = (0..3)
            .map(|i| {
                let bus = buses[i].to_string();
                let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "10000", "--cluster-port", &bus];
                server(&lab, &ports[i], &options)
            })
            .collect();
        let address = |i: usize| format!("127.0.0.1:{}", ports[i]);
        let cli = || lab.program("redis-cli");
        let create = cli().args(["--cluster", "create", &address(0), &address(1), &address(2), "--cluster-yes"]);
        create.run(PATIENCE * 2).good();
        for port in &ports {
            ask_until(&mut client(&lab, port), "CLUSTER INFO", "cluster_state:ok");
        }
        let mut client = cli().args(["-c", "-p", &ports[0].to_string()]).piped().start();
        let sets: String = (0..2000).map(|i| format!("SET key:{i} {}\n", "v".repeat(i % 500))).collect();
        ask(&mut client, &sets, "set");
        // The bus talks once a second and more: its connections move.
        for bus in &buses {
            let number = bus.number();
            lab.expect_moved(&mut client, 2, |c| c.local_port() == Some(number), |_| ());
        }
        // Slots of the third to the first, their keys by MIGRATE from node to node.
        let said = cli().args(["-p", &ports[2].to_string(), "CLUSTER", "MYID"]).run(PATIENCE).good();
        let third = said.trim();
        let said = cli().args(["-p", &ports[0].to_string(), "CLUSTER", "MYID"]).run(PATIENCE).good();
        let reshard = cli().args(["--cluster", "reshard", &address(0), "--cluster-from", third, "--cluster-to"]);
        let reshard = reshard.args([said.trim(), "--cluster-slots", "300", "--cluster-yes"]);
        reshard.run(PATIENCE * 2).good();
        let gets: String = (0..2000).map(|i| format!("GET key:{i}\n")).collect();
        ask(&mut client, &gets, "got");
        let said = client.stdout();
        let got = said.split("\nset\n").nth(1).expect("what was got").to_owned();
        lab.expect_no_alarm();
        got.lines().filter(|line| !line.starts_with("->")).collect::<Vec<_>>().join("\n")
    };
    let plain = run(Mode::Plain);
    assert!(plain.lines().count() >= 2000, "{plain}");
    assert_same(&plain, &run(mode));
}

modes! {
    snapshots_and_logs(super::persistence);
    copies_from_disk(super::from_disk);
    three_nodes(super::cluster);
}
