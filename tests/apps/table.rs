//! The programs in docs/compatibility.md: which tests are whose, and the columns that a run fills.

use slipstream_tests::Share;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A row: the program's name there, the packages whose versions are told, and what the names of its tests begin with.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

const ROWS: &[Row] = &[
    ("redis", &["redis-server"], &["redis::", "redis_nodes::"]),
    ("memcached", &["memcached"], &["memcached::"]),
    ("PostgreSQL", &["postgresql-15"], &["postgres::"]),
    ("MariaDB", &["mariadb-server"], &["mariadb::"]),
    ("RabbitMQ", &["rabbitmq-server"], &["rabbitmq::"]),
    ("nginx", &["nginx-light"], &["nginx::"]),
    ("wrk", &["wrk"], &["http_load::wrk_requests::"]),
    ("h2load", &["nghttp2-client"], &["http_load::h2load_streams::"]),
    ("HAProxy", &["haproxy"], &["haproxy::"]),
    ("Apache", &["apache2-bin"], &["apache::"]),
    ("OpenSSH", &["openssh-server"], &["ssh::"]),
    ("Java", &["openjdk-17-jdk-headless"], &["java::"]),
    ("Node", &["nodejs"], &["node::"]),
    ("CPython", &["python3"], &["python::"]),
    ("uvicorn, httpx", &["python3-uvicorn", "python3-httpx"], &["python_web::uvicorn_and_httpx::"]),
    ("gunicorn", &["gunicorn"], &["python_web::gunicorn_prefork::"]),
    ("aiohttp", &["python3-aiohttp"], &["python_web::aiohttp_and_websockets::"]),
    ("Ruby", &["ruby"], &["scripting::ruby"]),
    ("Perl", &["perl"], &["scripting::perl"]),
    ("Erlang", &["erlang-base"], &["scripting::erlang"]),
    ("PHP-FPM", &["php8.2-fpm"], &["scripting::php"]),
    ("ZeroMQ", &["python3-zmq"], &["messages::zeromq::"]),
    ("gRPC", &["python3-grpcio"], &["messages::grpc_streams::"]),
    ("curl", &["curl"], &["curl::", "load::curl_parallel::"]),
    ("iperf3", &["iperf3"], &["iperf::", "load::iperf_broken_off::"]),
    ("NetPIPE", &["netpipe-tcp"], &["netpipe::"]),
    ("sockperf", &["sockperf"], &["load::sockperf_trips::"]),
    ("stress-ng", &["stress-ng"], &["load::stress_ng::"]),
    ("netcat", &["netcat-openbsd"], &["pipes::netcats::"]),
    ("socat", &["socat"], &["pipes::socat_forking::"]),
    ("openssl", &["openssl"], &["pipes::openssl_lines::"]),
    ("rsync", &["rsync"], &["transfer::rsync_daemon::"]),
    ("git", &["git"], &["transfer::git_daemon::"]),
    ("tokio", &[], &["tokio::"]),
    ("a static Go program", &["golang-go"], &["untouched::go_static::"]),
    ("a setuid program", &[], &["untouched::setuid_program::"]),
];

/// No program's own: `slipstream run`, many programs at once, and the table itself.
const OTHERS: &[&str] = &["run::", "soak::", "table::"];

const HEAD: &str = "| program | version | what it does there | on TCP | moved |\n| --- | --- | --- | --- | --- |\n";
const BEGIN: &str = "<!-- programs: begin -->\n\n";
const END: &str = "\n<!-- programs: end -->";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md")
}

/// The page before the table, the cells of its rows, and the page after it.
fn parts() -> (String, Vec<[String; 5]>, String) {
    let text = std::fs::read_to_string(page()).expect("docs/compatibility.md");
    let (before, rest) = text.split_once(BEGIN).expect("where the programs begin");
    let (table, after) = rest.split_once(END).expect("where the programs end");
    let rows = table.strip_prefix(HEAD).expect("the head of the programs");
    let cells = |row: &str| -> [String; 5] {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|_| panic!("not five cells: {row}"))
    };
    (before.to_owned(), rows.lines().map(cells).collect(), after.to_owned())
}

/// A version as people say it: without Debian's epoch and revision.
fn version(package: &str) -> String {
    let said = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output().expect("dpkg-query");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.split_once(':').map_or(&*said, |(_, version)| version);
    version.split(['-', '+', '~']).next().unwrap_or(version).to_owned()
}

fn moved(shares: &[&Share]) -> String {
    let sum = |what: fn(&Share) -> u64| shares.iter().map(|share| what(share)).sum::<u64>();
    let (endpoints, bytes) = (sum(|share| share.endpoints), sum(|share| share.moved_bytes));
    let all = bytes + sum(|share| share.tcp_bytes);
    let (size, unit) = if all < 1_000_000_000 { (1e6, "MB") } else { (1e9, "GB") };
    let percent = 100.0 * bytes as f64 / all.max(1) as f64;
    // Not all as long as something is missing.
    let percent = if percent > 99.0 { (percent * 10.0).floor() / 10.0 } else { percent.round() };
    format!("{} of {endpoints}; {percent} % of {:.1} {unit}", sum(|share| share.moved), all as f64 / size)
}

/// Each test is one program's, each program has tests and a row of its own, and each row is full.
#[test]
fn is_whole() {
    let itself = std::env::current_exe().expect("this program");
    let said = Command::new(itself).args(["--list", "--format", "terse"]).output().expect("the tests");
    let said = String::from_utf8(said.stdout).expect("their names");
    let tests: Vec<_> = said.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    assert!(tests.len() > 100, "{said}");
    let starts = || ROWS.iter().flat_map(|(_, _, starts)| *starts).chain(OTHERS);
    for test in &tests {
        let count = starts().filter(|start| test.starts_with(**start)).count();
        assert_eq!(count, 1, "{test} is the test of so many programs");
    }
    for start in starts() {
        assert!(tests.iter().any(|test| test.starts_with(start)), "there is no test {start}…");
    }
    let rows = parts().1;
    let written: Vec<_> = rows.iter().map(|cells| &*cells[0]).collect();
    assert_eq!(written, ROWS.iter().map(|(name, _, _)| *name).collect::<Vec<_>>());
    for cells in &rows {
        assert!(!cells[2].is_empty() && !cells[4].is_empty(), "{cells:?}");
    }
}

/// Writes what a run has left in the file named `SLIPSTREAM_TEST_SHARES`. Programs that it has not run keep what is there.
#[test]
#[ignore = "writes docs/compatibility.md: tests/run table"]
fn written() {
    let shares = Share::read(Path::new(&std::env::var_os("SLIPSTREAM_TEST_SHARES").expect("SLIPSTREAM_TEST_SHARES")));
    let (before, rows, after) = parts();
    let mut text = format!("{before}{BEGIN}{HEAD}");
    for (name, packages, starts) in ROWS {
        let old = rows.iter().find(|cells| cells[0] == *name);
        let mut cells = old.cloned().unwrap_or_else(|| [name, "", "", "", ""].map(str::to_owned));
        let of_it = |share: &&Share| starts.iter().any(|start| share.test.starts_with(start));
        let own: Vec<_> = shares.iter().filter(of_it).collect();
        if !own.is_empty() {
            let versions: Vec<_> = packages.iter().map(|package| version(package)).collect();
            (cells[1], cells[4]) = (versions.join(", "), moved(&own));
        }
        text += &format!("| {} |\n", cells.join(" | ").replace("|  |", "| |"));
    }
    std::fs::write(page(), format!("{text}{END}{after}")).expect("docs/compatibility.md");
}
