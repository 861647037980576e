//! PostgreSQL, run by a user of its own: psql, pgbench, COPY, notifications, cancelled queries, dumps, TLS.

use crate::{assert_same, keys, modes};
use slipstream_tests::{Lab, Mode, PATIENCE, Port, Program, Running, account, until};
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

/// One of the programs of the newest version that is installed; those in Debian's /usr/bin are scripts around them.
fn tool(lab: &Lab, name: &str) -> Program {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL").flatten();
    let newest = versions.max_by_key(|version| version.file_name().to_string_lossy().parse::<u32>().ok());
    lab.program(newest.expect("a version of PostgreSQL").path().join("bin").join(name))
}

/// A client of the server on `port`.
fn client(lab: &Lab, name: &str, port: &Port) -> Program {
    tool(lab, name).args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string()])
}

/// Runs `body` plain and in `mode`, each with a server of its own on the same database cluster, and compares what it
/// returns.
fn compared(mode: Mode, settings: &[&str], body: impl Fn(&Lab, &Port) -> String) {
    let home = Lab::new("a database cluster", Mode::Plain);
    let data = home.folder().join("data");
    std::fs::create_dir(&data).expect("a folder for the cluster");
    give(&data, 0o700);
    let made =
        tool(&home, "initdb").user("postgres").args(["-A", "trust", "-U", "postgres", "--locale=C", "--no-sync"]);
    made.args(["-E", "UTF8", "-D"]).arg(&data).run(PATIENCE).good();
    let run = |mode| {
        let (lab, port) = (Lab::new("postgres", mode), Port::free());
        let server = serve(&lab, &port, &data, settings);
        let said = body(&lab, &port);
        lab.expect_no_alarm();
        // Its fast shutdown.
        let mut server = server;
        server.signal(libc::SIGINT);
        server.finish(PATIENCE).good();
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// Makes the server's user the owner.
fn give(path: &Path, mode: u32) {
    let (user, group) = account("postgres").unzip();
    chown(path, user, group).expect("a new owner");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("new permissions");
}

fn serve(lab: &Lab, port: &Port, data: &Path, settings: &[&str]) -> Running {
    let program = tool(lab, "postgres").user("postgres").arg("-D").arg(data).args(["-p", &port.to_string()]);
    let fixed = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "shared_buffers=32MB"];
    let settings = fixed.iter().chain(settings).flat_map(|setting| ["-c", setting]);
    let mut server = program.args(settings).start();
    server.wait_for("it is ready", PATIENCE, |this| this.stderr().contains("ready to accept").then_some(()));
    server
}

/// A psql that takes commands on its standard input and keeps its one connection.
fn psql(lab: &Lab, port: &Port) -> Running {
    client(lab, "psql", port).args(["-X", "-q", "-A", "-t"]).piped().start()
}

/// Gives commands and waits until they are done.
fn ask(psql: &mut Running, commands: &str, mark: &str) {
    psql.type_in(&format!("{commands}\n\\echo {mark}\n"));
    psql.wait_output(mark, PATIENCE, |said| said.lines().any(|line| line == mark).then_some(()));
}

/// Talks until both ends of this client's connection have moved.
fn warm(lab: &Lab, psql: &mut Running) {
    let (pid, mut turn) = (psql.pid(), 0);
    lab.expect_moved(
        psql,
        1,
        |c| c.pid == pid,
        |psql| {
            turn += 1;
            ask(psql, &"SELECT;\n".repeat(20), &format!("warm-{turn}"));
        },
    );
}

/// What a client said, but for the warm-up.
fn after_warm(said: &str) -> &str {
    said.rfind("warm-").map_or(said, |at| said[at..].split_once('\n').map_or("", |(_, rest)| rest))
}

/// Types, errors, transactions, cursors, prepared statements, results and parameters of a megabyte, parallel plans.
fn session(mode: Mode) {
    let mut script =
        String::from("\\set VERBOSITY verbose\nCREATE TABLE t(n int PRIMARY KEY, a text[], j jsonb, d date);\n");
    for i in 0..50 {
        let _ = writeln!(
            script,
            "INSERT INTO t VALUES ({i}, ARRAY['{i}','x'], '{{\"k\": {i}}}', date '2020-01-01' + {i});"
        );
    }
    script += "SELECT * FROM t ORDER BY n;\nSELECT 1/0;\nINSERT INTO t VALUES (1);\nSELECT no_such_column FROM t;\n";
    script += "BEGIN;\nUPDATE t SET a = NULL WHERE n < 10;\nSAVEPOINT s;\nDELETE FROM t;\nROLLBACK TO s;\nCOMMIT;\n";
    script += "PREPARE p(int) AS SELECT j->'k' FROM t WHERE n = $1;\nEXECUTE p(7);\nEXECUTE p(8);\nDEALLOCATE p;\n";
    script += "BEGIN;\nDECLARE c CURSOR FOR SELECT generate_series(1, 1000);\nFETCH 3 FROM c;\nMOVE 500 IN c;\nFETCH c;\nEND;\n";
    script += "SELECT repeat('result ', 150000);\nDO $$ BEGIN RAISE NOTICE 'noticed'; END $$;\n";
    let _ = writeln!(script, "SELECT length('{0}'), md5('{0}');", "parameter ".repeat(100_000));
    script += "SET max_parallel_workers_per_gather = 2;\nSET parallel_setup_cost = 0;\nSET parallel_tuple_cost = 0;\n";
    script += "SET min_parallel_table_scan_size = 0;\nCREATE TABLE u AS SELECT n, md5(n::text) AS m FROM generate_series(1, 50000) n;\n";
    script += "ANALYZE u;\nEXPLAIN (COSTS OFF) SELECT count(*) FROM u WHERE m LIKE 'a%';\nSELECT count(*) FROM u WHERE m LIKE 'a%';\n";
    // A thousand queries ahead of their answers.
    script += &"SELECT n FROM t WHERE n = 5 \\;SELECT j FROM t WHERE n = 6;\n".repeat(500);
    script += "DROP TABLE t, u;";
    compared(mode, &[], |lab, port| {
        let mut psql = psql(lab, port);
        warm(lab, &mut psql);
        ask(&mut psql, &script, "asked");
        let said = psql.finish(PATIENCE);
        let complaints = String::from_utf8_lossy(&said.stderr).into_owned();
        let said = said.good();
        lab.expect_moved_in_all(2);
        assert!(said.contains("Gather"), "no parallel plan");
        assert!(complaints.contains("22012") && complaints.contains("noticed"), "{complaints}");
        after_warm(&said).to_owned() + &complaints
    });
}

/// TPC-B and selects, in each protocol: four clients in two threads that sleep in ppoll, seen moved while they run.
fn pgbench(mode: Mode) {
    compared(mode, &[], |lab, port| {
        let bench = || client(lab, "pgbench", port);
        bench().args(["-i", "-s", "1", "-q", "postgres"]).run(PATIENCE).good();
        if lab.mode().moves() {
            let mut endless = bench().args(["-S", "-c", "4", "-j", "2", "-T", "600", "-n", "postgres"]).start();
            let pid = endless.pid();
            lab.expect_moved(&mut endless, 4, |c| c.pid == pid, |_| ());
        }
        let mut all = String::new();
        for protocol in ["simple", "extended", "prepared"] {
            for (script, count) in [("tpcb-like", "100"), ("select-only", "1000")] {
                let bench = bench().args(["-n", "-c", "4", "-j", "2", "-M", protocol, "-b", script, "-t", count]);
                let said = bench.arg("postgres").run(PATIENCE).good();
                // All but the rates.
                all.extend(said.lines().filter(|l| l.starts_with("number of")).map(|line| format!("{line}\n")));
            }
        }
        // A new connection for each transaction.
        let short = bench().args(["-n", "-C", "-c", "2", "-t", "50", "-S", "postgres"]).run(PATIENCE).good();
        assert!(short.contains("processed: 100/100"), "{short}");
        lab.expect_moved_in_all(2 * 4 * 6);
        let mut psql = psql(lab, port);
        ask(&mut psql, "SELECT count(*), sum(delta) FROM pgbench_history HAVING sum(delta) =", "");
        ask(&mut psql, "(SELECT sum(abalance) FROM pgbench_accounts);", "summed");
        let sums = psql.finish(PATIENCE).good();
        assert!(sums.contains("1200|"), "the books do not balance: {sums}");
        all
    });
}

/// 100 MiB out, and in again.
fn copy(mode: Mode) {
    compared(mode, &["wal_level=minimal", "max_wal_senders=0"], |lab, port| {
        let mut psql = psql(lab, port);
        ask(&mut psql, "CREATE TEMP TABLE big(n int, t text);", "made");
        ask(
            &mut psql,
            "INSERT INTO big SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 400000) i;",
            "filled",
        );
        ask(&mut psql, "\\copy big TO 'big.out'\nCREATE TEMP TABLE again(n int, t text);", "out");
        ask(&mut psql, "\\copy again FROM 'big.out'\n\\copy again TO PROGRAM 'md5sum'", "in");
        let said = psql.finish(PATIENCE).good();
        let length = std::fs::metadata(lab.folder().join("big.out")).expect("what was copied").len();
        assert!(length > 100 << 20, "only {length} bytes");
        lab.expect_moved_in_all(2);
        said + &lab.program("md5sum").arg("big.out").run(PATIENCE).good()
    });
}

/// A listener asleep in a select of its own hears what another client notifies; a query is cancelled by a connection
/// that psql makes in its signal handler, and by another client.
fn notify_and_cancel(mode: Mode) {
    compared(mode, &[], |lab, port| {
        let (mut one, mut other) = (psql(lab, port), psql(lab, port));
        warm(lab, &mut one);
        warm(lab, &mut other);
        ask(&mut one, "LISTEN news;", "listening");
        for i in 0..50 {
            ask(&mut other, &format!("SELECT pg_notify('news', '{}');", "n".repeat(i * 10)), &format!("told-{i}"));
        }
        // What has come is printed after the next command.
        ask(&mut one, "SELECT 'heard';\nUNLISTEN news;", "heard-all");
        let asleep = |other: &mut Running, mark: &str| {
            let mut turn = 0;
            until(PATIENCE, || {
                turn += 1;
                let look = format!("{mark}-{turn}");
                ask(other, "SELECT 'asleep' FROM pg_stat_activity WHERE wait_event = 'PgSleep';", &look);
                other.stdout().contains(&format!("asleep\n{look}\n")).then_some(())
            })
            .expect("a query that sleeps");
        };
        let end = |other: &mut Running, how: &str| {
            let end = format!("SELECT pg_{how}_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep';");
            ask(other, &end, how);
        };
        one.type_in("SELECT pg_sleep(600);\n\\echo cancelled-by-other\n");
        asleep(&mut other, "look-1");
        end(&mut other, "cancel");
        one.wait_output("the cancel", PATIENCE, |said| said.contains("cancelled-by-other").then_some(()));
        // psql ends over a signal that cancels its script.
        one.type_in("SELECT pg_sleep(600);\n");
        asleep(&mut other, "look-2");
        one.signal(libc::SIGINT);
        let one = one.finish(PATIENCE);
        assert_eq!(one.status.code(), Some(3), "a cancelled psql");
        // And a session ended altogether.
        let mut two = psql(lab, port);
        warm(lab, &mut two);
        two.type_in("SELECT pg_sleep(600);\n");
        asleep(&mut other, "look-3");
        end(&mut other, "terminate");
        let two = two.finish(PATIENCE);
        assert_eq!(two.status.code(), Some(2), "psql without a server");
        let said = String::from_utf8_lossy(&[one.stdout, one.stderr, two.stderr].concat()).into_owned();
        // The notifier's process id is not the same.
        let said = after_warm(&said).lines().map(|line| line.split("from server process").next().unwrap_or(line));
        said.fold(String::new(), |all, line| all + line + "\n")
    });
}

/// pg_dump of a database in its own format, restored into another by two jobs, and dumped again.
fn dump(mode: Mode) {
    compared(mode, &[], |lab, port| {
        let mut psql = psql(lab, port);
        ask(
            &mut psql,
            "DROP DATABASE IF EXISTS a;\nDROP DATABASE IF EXISTS b;\nCREATE DATABASE a;\nCREATE DATABASE b;\n\\c a",
            "made",
        );
        let mut script = String::new();
        for i in 0..20 {
            let _ = writeln!(script, "CREATE TABLE t{i} AS SELECT n, md5(n::text) FROM generate_series(1, 10000) n;");
            let _ = writeln!(script, "CREATE INDEX ON t{i}(n);");
        }
        ask(&mut psql, &script, "filled");
        psql.finish(PATIENCE).good();
        client(lab, "pg_dump", port).args(["-Fc", "-f", "dump", "a"]).run(PATIENCE).good();
        client(lab, "pg_restore", port).args(["-d", "b", "-j", "2", "dump"]).run(PATIENCE).good();
        // Each dump is fenced by a key of its own.
        let text = |name: &str| {
            let text = client(lab, "pg_dump", port).arg(name).run(PATIENCE).good();
            let lines =
                text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
            lines.fold(String::new(), |all, line| all + line + "\n")
        };
        let (a, b) = (text("a"), text("b"));
        assert_same(&a, &b);
        lab.expect_moved_in_all(2 * 4);
        a
    });
}

/// The same over TLS, which the ring carries like anything else.
fn tls(mode: Mode) {
    let home = Lab::new("keys", Mode::Plain);
    keys(&home);
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| home.folder().join(name));
    give(&key, 0o600);
    let settings = [("ssl_cert_file", certificate), ("ssl_key_file", key)];
    let [certificate, key] = settings.map(|(name, path)| format!("{name}={}", path.display()));
    compared(mode, &["ssl=on", &certificate, &key], |lab, port| {
        let psql = client(lab, "psql", port).args(["-X", "-q", "-A", "-t"]).env("PGSSLMODE", "require");
        let mut psql = psql.piped().start();
        warm(lab, &mut psql);
        ask(&mut psql, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid();", "asked");
        ask(&mut psql, "SELECT repeat(md5(n::text), 100) FROM generate_series(1, 3000) n;", "much");
        let said = psql.finish(PATIENCE).good();
        lab.expect_moved_in_all(2);
        after_warm(&said).to_owned()
    });
}

modes! {
    sql(super::session);
    benchmarks(super::pgbench);
    hundred_mebibytes(super::copy);
    sleepers(super::notify_and_cancel);
    dump_and_restore(super::dump);
    encrypted(super::tls);
}
