//! redis-server, redis-cli, redis-benchmark, a replica.

use crate::{assert_same, modes, serve};
use slipstream_tests::{Lab, Mode, PATIENCE, Port, Running, until};
use std::fmt::Write as _;

const MIB: usize = 1 << 20;

fn server(lab: &Lab, port: &Port) -> Running {
    let program = lab.program("redis-server").args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
    let program = program.args(["--save", "", "--appendonly", "no", "--enable-debug-command", "local"]);
    serve(program.args(["--repl-ping-replica-period", "1", "--repl-diskless-sync-delay", "0"]), port)
}

/// A redis-cli that takes commands on its standard input and keeps its one connection.
pub(crate) fn client(lab: &Lab, port: &Port) -> Running {
    lab.program("redis-cli").args(["-p", &port.to_string()]).piped().start()
}

/// Gives commands and waits for the answer to the last.
pub(crate) fn ask(client: &mut Running, commands: &str, mark: &str) {
    client.type_in(&format!("{commands}\nECHO {mark}\n"));
    client.wait_output(mark, PATIENCE, |said| said.lines().any(|line| line == mark).then_some(()));
}

/// Talks until the client's connection has moved.
pub(crate) fn warm(lab: &Lab, client: &mut Running) {
    let pid = client.pid();
    let mut turn = 0;
    lab.expect_moved(
        client,
        1,
        |c| c.pid == pid,
        |client| {
            turn += 1;
            ask(client, &"TIME\n".repeat(50), &format!("warm-{turn}"));
        },
    );
}

/// What a client said, but for the warm-up.
fn after_warm(said: &str) -> String {
    match said.rfind("warm-") {
        Some(at) => said[at..].split_once('\n').map_or("", |(_, rest)| rest).to_owned(),
        None => said.to_owned(),
    }
}

/// Every data type, MULTI, scripts, values of 1 MiB both ways.
fn commands() -> String {
    let mut all = String::new();
    for i in 0..50 {
        let _ = writeln!(all, "SET key:{i} value:{i}\nGET key:{i}\nAPPEND key:{i} -more\nSTRLEN key:{i}\nINCRBY n {i}");
        let _ = writeln!(all, "RPUSH list {i}\nLPUSH list -{i}\nSADD set {i}\nZADD zset {i} m{i}\nHSET hash f{i} v{i}");
        let _ = writeln!(all, "SETBIT bits {i} 1\nPFADD hll {i}\nXADD stream {}-1 field {i}", i + 1);
        let _ = writeln!(all, "GEOADD geo 13.{i:02} 38.{i:02} place{i}");
    }
    all +=
        "LRANGE list 0 -1\nLPOP list 3\nLINSERT list BEFORE 5 4.5\nLLEN list\nSORT set\nSINTERCARD 1 set\nSCARD set\n";
    all += "ZRANGE zset 0 -1 WITHSCORES\nZRANGEBYSCORE zset 10 20\nZINCRBY zset 5 m1\nZPOPMAX zset 2\nHGET hash f7\n";
    all += "HLEN hash\nHINCRBYFLOAT hash float 1.5\nBITCOUNT bits\nBITPOS bits 0\nPFCOUNT hll\nXLEN stream\n";
    all += "XRANGE stream - + COUNT 5\nXGROUP CREATE stream group 0\nXREADGROUP GROUP group one COUNT 3 STREAMS stream >\n";
    all += "XPENDING stream group\nGEODIST geo place1 place2 km\nGEOSEARCH geo FROMMEMBER place1 BYRADIUS 50 km ASC\n";
    all += "MULTI\nINCR counter\nGET key:1\nLPUSH other 1 2 3\nEXEC\nMULTI\nSET gone 1\nDISCARD\nGET gone\n";
    all +=
        "WATCH counter\nMULTI\nINCR counter\nEXEC\nMSET a 1 b 2 c 3\nMGET a b c none\nTYPE zset\nOBJECT ENCODING n\n";
    all += "EVAL \"return {KEYS[1],ARGV[1],redis.call('GET','a')}\" 1 k v\nSET expiring 1 EX 1000\nPERSIST expiring\n";
    all += "COPY a copied\nRENAME copied renamed\nEXISTS a b none\nDEL a b\nNOTACOMMAND\nLPOP a b c d\nINCR hash\n";
    all += "BITFIELD field SET u8 0 255 GET u4 0\nGETRANGE key:1 2 5\nSETRANGE key:1 3 XX\nGETDEL key:1\n";
    let _ = writeln!(all, "SET big {}\nSTRLEN big\nGET big", "x".repeat(MIB));
    let _ = writeln!(all, "EVAL \"return string.rep('abcdefgh', 131072)\" 0");
    let _ = writeln!(all, "HSET hash big {}\nHGET hash big\nDBSIZE", "y".repeat(MIB));
    all
}

fn session(mode: Mode) -> String {
    let (lab, port) = (Lab::new("redis session", mode), Port::free());
    let server = server(&lab, &port);
    let mut client = client(&lab, &port);
    warm(&lab, &mut client);
    ask(&mut client, &commands(), "asked");
    let said = after_warm(&client.finish(PATIENCE).good());
    lab.expect_moved_in_all(2);
    let ended = server.stop();
    assert!(ended.status.success(), "redis-server: {}", ended.status);
    said
}

fn data_types(mode: Mode) {
    let plain = session(Mode::Plain);
    assert!(plain.len() > 3 * MIB, "only {} bytes of answers", plain.len());
    assert_same(&plain, &session(mode));
}

/// Subscribers get every message in order while a publisher pipelines them.
fn pub_sub(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("redis pub/sub", mode), Port::free());
        let _server = server(&lab, &port);
        let mut subscriber = client(&lab, &port);
        warm(&lab, &mut subscriber);
        subscriber.type_in("SUBSCRIBE news other\n");
        subscriber.wait_output("subscribed", PATIENCE, |said| said.contains("other").then_some(()));
        let mut publisher = client(&lab, &port);
        warm(&lab, &mut publisher);
        let messages: Vec<_> = (0..500).map(|i| format!("PUBLISH news message-{i}")).collect();
        ask(&mut publisher, &messages.join("\n"), "published");
        subscriber.wait_output("the last", PATIENCE, |said| said.contains("message-499").then_some(()));
        let said = after_warm(&subscriber.stdout());
        let published = after_warm(&publisher.finish(PATIENCE).good());
        drop(subscriber);
        lab.expect_no_alarm();
        said + &published
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// BLPOP, BRPOPLPUSH, BZPOPMIN, XREAD BLOCK, WAIT: asleep in the server until another client comes, or time runs out.
fn blocking_pops(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("redis blocking", mode), Port::free());
        let _server = server(&lab, &port);
        let mut sleeper = client(&lab, &port);
        let mut pusher = client(&lab, &port);
        warm(&lab, &mut sleeper);
        warm(&lab, &mut pusher);
        let steps = [
            ("BLPOP queue 60", "RPUSH queue first"),
            ("BRPOP none queue 60", "RPUSH queue second"),
            ("BLMOVE queue done LEFT RIGHT 60", "RPUSH queue third"),
            ("BZPOPMIN scores 60", "ZADD scores 7 seven"),
            ("XREAD BLOCK 60000 STREAMS log $", "XADD log 5-5 field value"),
        ];
        for (step, (pop, push)) in steps.into_iter().enumerate() {
            sleeper.type_in(&format!("{pop}\nECHO woken-{step}\n"));
            // Asleep in the server before anything is pushed.
            let mut turn = 0;
            until(PATIENCE, || {
                turn += 1;
                let mark = format!("look-{step}-{turn}");
                ask(&mut pusher, "INFO clients", &mark);
                let said = pusher.stdout();
                let last = said.rfind("blocked_clients:")?;
                said[last..].starts_with("blocked_clients:1").then_some(())
            })
            .expect("the client is blocked");
            ask(&mut pusher, push, &format!("pushed-{step}"));
            let mark = format!("woken-{step}");
            sleeper.wait_output(&mark, PATIENCE, |said| said.contains(&mark).then_some(()));
        }
        ask(&mut sleeper, "BLPOP queue 0.3", "timed-out");
        let said = after_warm(&sleeper.finish(PATIENCE).good());
        lab.expect_no_alarm();
        said
    };
    // The times that BLPOP took are not the same.
    let strip = |text: String| text.lines().filter(|line| !line.contains("s)")).collect::<Vec<_>>().join("\n");
    assert_same(&strip(run(Mode::Plain)), &strip(run(mode)));
}

/// `redis-cli --pipe`: tens of thousands of commands ahead of their answers.
fn pipe(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("redis pipe", mode), Port::free());
        let _server = server(&lab, &port);
        let mut piped = lab.program("redis-cli").args(["-p", &port.to_string(), "--pipe"]).piped().start();
        for chunk in 0..20 {
            let mut text = String::new();
            for i in 0..2500 {
                let _ = write!(text, "SET key:{chunk}:{i} {}\r\n", "v".repeat(i % 300 + 1));
            }
            piped.type_in(&text);
        }
        let said = piped.finish(PATIENCE).good();
        lab.expect_moved_in_all(2);
        let mut client = client(&lab, &port);
        ask(&mut client, "DBSIZE\nDEBUG DIGEST\nGET key:19:2499", "asked");
        said + &client.finish(PATIENCE).good()
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// A replica that copies 100 MiB and follows a stream of writes, over TCP to its master.
fn replica(mode: Mode) {
    let run = |mode| {
        let (lab, ports) = (Lab::new("redis replica", mode), [Port::free(), Port::free()]);
        let master = server(&lab, &ports[0]);
        let mut client_of_master = client(&lab, &ports[0]);
        ask(&mut client_of_master, "DEBUG POPULATE 100000 bulk 1000", "populated");
        let replica = server(&lab, &ports[1]);
        let mut client_of_replica = client(&lab, &ports[1]);
        ask(&mut client_of_replica, &format!("REPLICAOF 127.0.0.1 {}", ports[0]), "told");
        let mut turn = 0;
        until(PATIENCE * 2, || {
            turn += 1;
            ask(&mut client_of_replica, "INFO replication", &format!("looked-{turn}"));
            client_of_replica.stdout().contains("master_link_status:up").then_some(())
        })
        .unwrap_or_else(|| panic!("the replica does not follow\n{}\n{}", replica.report(), master.report()));
        let mut writes = String::new();
        for i in 0..5000 {
            let _ = writeln!(writes, "SET followed:{i} {i}\nLPUSH followed {i}");
        }
        ask(&mut client_of_master, &writes, "written");
        // The master's fork for the copy holds that connection too, which may keep it on TCP; the next one goes on where
        // it left off, without a fork.
        ask(&mut client_of_replica, "CLIENT KILL TYPE master", "killed");
        let (from, to) = (replica.pid(), ports[0].number());
        let mut turn = 0;
        lab.expect_moved(
            &mut client_of_master,
            1,
            |c| c.pid == from && c.remote_port() == Some(to),
            |client| {
                turn += 1;
                ask(client, &"INCR turns\n".repeat(100), &format!("turn-{turn}"));
            },
        );
        ask(&mut client_of_master, "DEL turns\nSET last 1\nWAIT 1 20000\nDBSIZE\nDEBUG DIGEST", "waited");
        ask(&mut client_of_replica, "DBSIZE\nDEBUG DIGEST\nGET last\nLLEN followed\nGET followed:4999", "compared");
        let (here, there) = (client_of_master.finish(PATIENCE).good(), client_of_replica.finish(PATIENCE).good());
        let digest = |text: &str| text.lines().rev().find(|line| line.len() == 40).map(str::to_owned);
        assert!(digest(&here).is_some() && digest(&here) == digest(&there), "{here}\n{there}");
        lab.expect_no_alarm();
        let tail: Vec<_> = there.lines().rev().take(5).map(str::to_owned).collect();
        tail.join("\n")
    };
    // The populated keys' digest is the same in each run: the values are made of the keys.
    assert_same(&run(Mode::Plain), &run(mode));
}

/// redis-benchmark as people run it: every one of its connections is seen moved while it runs.
fn benchmark(mode: Mode) {
    let (lab, port) = (Lab::new("redis-benchmark", mode), Port::free());
    let server = server(&lab, &port);
    for (connections, pipeline, requests) in [(1, 1, 20_000), (50, 1, 100_000), (50, 16, 400_000)] {
        let program =
            lab.program("redis-benchmark").args(["-p", &port.to_string(), "-t", "get", "--csv", "-r", "1000"]);
        let program = program.args(["-c", &connections.to_string(), "-P", &pipeline.to_string()]);
        // As many rounds as it takes to look at it: -l goes on for ever.
        let mut looped = program.args(["-n", &requests.to_string(), "-l"]).start();
        let pid = looped.pid();
        lab.expect_moved(&mut looped, connections, |c| c.pid == pid, |_| ());
        drop(looped);
        let program = lab.program("redis-benchmark").args(["-p", &port.to_string(), "--csv", "-r", "1000"]);
        let program = program.args(["-c", &connections.to_string(), "-P", &pipeline.to_string()]);
        let all = program.args(["-n", "2000", "-t", "ping,set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100,mset"]);
        let said = all.run(PATIENCE * 2).good();
        // One line per kind of request, and the head.
        assert_eq!(said.lines().count(), 14, "{said}");
    }
    lab.expect_moved_in_all(2 * 2 * 51);
    let ended = server.stop();
    assert!(ended.status.success(), "redis-server: {}", ended.status);
}

/// Killed with SIGKILL while clients sleep: they see the end as over TCP.
fn killed_server(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("redis killed", mode), Port::free());
        let mut server = server(&lab, &port);
        let mut sleeper = client(&lab, &port);
        warm(&lab, &mut sleeper);
        sleeper.type_in("BLPOP queue 0\n");
        let mut looker = client(&lab, &port);
        until(PATIENCE, || {
            ask(&mut looker, "INFO clients", "looked");
            looker.stdout().contains("blocked_clients:1").then_some(())
        })
        .expect("the client is blocked");
        server.signal(libc::SIGKILL);
        sleeper.wait_for("the end", PATIENCE, |this| {
            let said = this.stderr();
            said.contains("Error: Server closed the connection").then_some(said)
        })
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

modes! {
    session_of_every_data_type(super::data_types);
    subscribers(super::pub_sub);
    blocked_clients(super::blocking_pops);
    mass_insertion(super::pipe);
    replication(super::replica);
    benchmarks(super::benchmark);
    server_killed(super::killed_server);
}
