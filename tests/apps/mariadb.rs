//! MariaDB, run by a user of its own, a thread per connection and with its pool of threads: its client, LOAD DATA, large
//! BLOBs, sysbench, mysqlslap.

use crate::{assert_same, modes};
use slipstream_tests::{Lab, Mode, PATIENCE, Port, Program, Running, account};
use std::fmt::Write as _;
use std::os::unix::fs::chown;
use std::path::Path;

/// One of the client programs, towards the server on `port`.
fn client(lab: &Lab, name: &str, port: &Port) -> Program {
    let program = lab.program(name).args(["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-u", "root"]);
    program.args(["-P", &port.to_string()])
}

/// Runs `body` plain and in `mode`, each with a server of its own on the same data, and compares what it returns.
fn compared(mode: Mode, options: &[&str], body: impl Fn(&Lab, &Port) -> String) {
    let home = Lab::new("MariaDB's data", Mode::Plain);
    let data = home.folder().join("data");
    let install = home.program("mariadb-install-db").args(["--no-defaults", "--skip-test-db", "--skip-name-resolve"]);
    let install = install.arg("--auth-root-authentication-method=normal").arg(format!("--datadir={}", data.display()));
    give(home.folder());
    install.user("mysql").run(PATIENCE).good();
    let run = |mode| {
        let (lab, port) = (Lab::new("MariaDB", mode), Port::free());
        let server = serve(&lab, &port, &data, options);
        client(&lab, "mariadb", &port).args(["-e", "CREATE OR REPLACE DATABASE test"]).run(PATIENCE).good();
        let said = body(&lab, &port);
        lab.expect_no_alarm();
        server.stop().good();
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// Makes the server's user the owner.
fn give(path: &Path) {
    let (user, group) = account("mysql").unzip();
    chown(path, user, group).expect("a new owner");
}

fn serve(lab: &Lab, port: &Port, data: &Path, options: &[&str]) -> Running {
    let place = |name: &str, file: &str| format!("--{name}={}", data.join(file).display());
    let server = lab.program("mariadbd").user("mysql").args(["--no-defaults", "--bind-address=127.0.0.1"]);
    let server = server.arg(format!("--port={port}")).arg(format!("--datadir={}", data.display()));
    let server = server.arg(place("socket", "socket")).arg(place("pid-file", "pid"));
    let server = server.arg(format!("--tmpdir={}", data.display())).args([
        "--skip-name-resolve",
        "--local-infile=1",
        "--max-allowed-packet=64M",
    ]);
    let server = server.args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M"]).args(options);
    let mut server = server.start();
    server.wait_for("it is ready", PATIENCE, |this| this.stderr().contains("ready for connections").then_some(()));
    server
}

/// Its files by ordinary system calls: an io_uring, which it uses by raw system instructions, keeps all of a process on
/// TCP.
const NO_RING: &str = "--innodb-use-native-aio=0";

/// A client that takes commands on its standard input and keeps its one connection.
fn session(lab: &Lab, port: &Port) -> Running {
    let options = ["-N", "-n", "-B", "-f", "--local-infile=1", "--max-allowed-packet=64M", "test"];
    client(lab, "mariadb", port).args(options).piped().start()
}

/// Gives commands and waits until they are done.
fn ask(session: &mut Running, commands: &str, mark: &str) {
    session.type_in(&format!("{commands}\nSELECT '{mark}';\n"));
    session.wait_output(mark, PATIENCE, |said| said.lines().any(|line| line == mark).then_some(()));
}

/// Talks until both ends of this client's connection have moved.
fn warm(lab: &Lab, session: &mut Running) {
    let (pid, mut turn) = (session.pid(), 0);
    lab.expect_moved(
        session,
        1,
        |c| c.pid == pid,
        |session| {
            turn += 1;
            ask(session, &"DO 1;\n".repeat(20), &format!("warm-{turn}"));
        },
    );
}

/// What a client said, but for the warm-up.
fn after_warm(said: &str) -> &str {
    said.rfind("warm-").map_or(said, |at| said[at..].split_once('\n').map_or("", |(_, rest)| rest))
}

/// Types, errors, transactions, BLOBs of 16 MiB both ways, a large LOAD DATA.
fn sql(mode: Mode) {
    let mut rows = String::new();
    for i in 0..200_000u32 {
        let _ = writeln!(rows, "{i}\t{:08x}{:08x} and some more\t{}", i.wrapping_mul(0x9e37_79b1), !i, i % 97);
    }
    let mut script = String::from("CREATE TABLE t(n INT PRIMARY KEY, a VARCHAR(100), b BLOB, d DATE);\n");
    for i in 0..50 {
        let _ = writeln!(
            script,
            "INSERT INTO t VALUES ({i}, 'value {i}', x'00ff{i:04}', '2020-01-01' + INTERVAL {i} DAY);"
        );
    }
    script += "SELECT n, a, HEX(b), d FROM t ORDER BY n;\nSELECT nothing FROM t;\nINSERT INTO t(n) VALUES (1);\n";
    script += "BEGIN;\nDELETE FROM t WHERE n < 10;\nROLLBACK;\nSELECT COUNT(*), SUM(n) FROM t;\n";
    script +=
        "PREPARE p FROM 'SELECT a FROM t WHERE n = ?';\nSET @n = 7;\nEXECUTE p USING @n;\nDEALLOCATE PREPARE p;\n";
    script += "CREATE TABLE big(n INT, data LONGBLOB) ENGINE = MyISAM;\nINSERT INTO big VALUES (1, REPEAT('sixteen bytes...', 1048576));\n";
    script += "SELECT n, data FROM big;\nSELECT n, MD5(data), LENGTH(data) FROM big;\n";
    let _ = writeln!(script, "INSERT INTO big VALUES (2, '{}');", "0123456789abcdef".repeat(1 << 20));
    script += "SELECT n, MD5(data), LENGTH(data) FROM big ORDER BY n;\n";
    script += "CREATE TABLE many(n INT, s VARCHAR(100), m INT);\nLOAD DATA LOCAL INFILE 'rows' INTO TABLE many;\n";
    script +=
        "SELECT COUNT(*), SUM(n), SUM(CRC32(s)), SUM(m) FROM many;\nSELECT n, s FROM many WHERE m < 50 ORDER BY n;\n";
    compared(mode, &[NO_RING], |lab, port| {
        std::fs::write(lab.folder().join("rows"), &rows).expect("a file");
        let mut session = session(lab, port);
        warm(lab, &mut session);
        ask(&mut session, &script, "asked");
        let said = session.finish(PATIENCE);
        let complaints = String::from_utf8_lossy(&said.stderr).into_owned();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        lab.expect_moved_in_all(2);
        // Where an error is depends on how long the warm-up was.
        let errors = complaints.lines().filter(|line| line.starts_with("ERROR"));
        let errors: Vec<_> = errors.map(|line| line.split_once(": ").map_or(line, |(_, what)| what)).collect();
        assert_eq!(errors.len(), 2, "{complaints}");
        after_warm(&said).to_owned() + &errors.join("\n")
    });
}

/// sysbench and mysqlslap with eight connections, seen moved while they run.
fn load(mode: Mode, threads: &str) {
    compared(mode, &[NO_RING, threads], |lab, port| {
        let sysbench = |test: &str| {
            let program = lab.program("sysbench").args([test, "--db-driver=mysql", "--mysql-host=127.0.0.1"]);
            let program = program.args(["--mysql-user=root", "--mysql-db=test", "--tables=2", "--table-size=1000"]);
            program.arg(format!("--mysql-port={port}")).args(["--threads=8", "--time=600"])
        };
        sysbench("oltp_read_write").arg("prepare").run(PATIENCE).good();
        if lab.mode().moves() {
            let mut endless = sysbench("oltp_point_select").args(["--events=0", "run"]).start();
            let pid = endless.pid();
            lab.expect_moved(&mut endless, 8, |c| c.pid == pid, |_| ());
        }
        let mut all = String::new();
        for (test, events) in [("oltp_read_write", 500), ("oltp_point_select", 5000), ("select_random_ranges", 2000)] {
            let said = sysbench(test).args([&format!("--events={events}"), "run"]).run(PATIENCE).good();
            let done = said.lines().find(|line| line.trim_start().starts_with("transactions:"));
            let done = done.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("none");
            let _ = writeln!(all, "{test}: {done} of {events}");
        }
        let slap = client(lab, "mysqlslap", port).args(["--concurrency=8", "--iterations=2", "--auto-generate-sql"]);
        slap.args(["--number-of-queries=1000"]).run(PATIENCE).good();
        lab.expect_moved_in_all(2 * 8 * 4);
        all
    });
}

fn threads(mode: Mode) {
    load(mode, "--thread-handling=one-thread-per-connection");
}

fn pool(mode: Mode) {
    load(mode, "--thread-handling=pool-of-threads");
}

/// As Debian starts it, with an io_uring for its files: its connections stay on TCP under that name.
fn ring(mode: Mode) {
    compared(mode, &[], |lab, port| {
        let mut session = session(lab, port);
        if lab.mode().moves() {
            let (number, mut turn) = (port.number(), 0);
            let why = slipstream_tests::until(PATIENCE, || {
                turn += 1;
                ask(&mut session, &"DO 1;\n".repeat(20), &format!("turn-{turn}"));
                let connections = lab.status().connections;
                connections.into_iter().find(|c| c.local_port() == Some(number)).and_then(|c| c.reason)
            });
            assert_eq!(why.as_deref(), Some("io-uring"), "{}", session.report());
        }
        ask(&mut session, "SELECT REPEAT('x', 1000000);", "asked");
        let said = session.finish(PATIENCE).good();
        said.lines().rev().take(2).collect()
    });
}

modes! {
    queries(super::sql);
    thread_per_connection(super::threads);
    pool_of_threads(super::pool);
    files_by_io_uring(super::ring);
}
