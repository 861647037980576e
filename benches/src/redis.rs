//! redis-server and redis-benchmark as Debian ships them, each on a core of its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use slipstream_measure::child::Child;
use slipstream_measure::{Carrier, Lab, Placement};

use crate::case::{Metrics, named};

const STARTS_WITHIN: Duration = Duration::from_secs(10);
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// Looks at the broker's status in a measured run before it counts as not moved.
const LOOKS: u64 = 4;

/// How redis-benchmark is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// One connection.
    One,
    /// Fifty connections.
    Fifty,
    /// Fifty connections, sixteen requests at a time in each.
    Pipelined,
}

impl Load {
    /// Every load.
    pub const ALL: [Load; 3] = [Load::One, Load::Fifty, Load::Pipelined];

    /// For [`crate::case::Case::key`].
    pub fn key(self) -> &'static str {
        match self {
            Load::One => "c1",
            Load::Fifty => "c50",
            Load::Pipelined => "c50-p16",
        }
    }

    /// Requests of the run that finds out how many the measured one takes.
    fn calibration(self) -> u64 {
        match self {
            Load::One | Load::Fifty => 20_000,
            Load::Pipelined => 400_000,
        }
    }

    /// Its options, as one writes them.
    pub fn title(self) -> &'static str {
        match self {
            Load::One => "-c 1",
            Load::Fifty => "-c 50",
            Load::Pipelined => "-c 50 -P 16",
        }
    }
}

/// Measures GET for about `millis`.
///
/// # Errors
///
/// When one of the programs fails, or no connection under the shim was moved.
pub fn measure(lab: &Lab, carrier: Carrier, load: Load, millis: u64) -> Result<Metrics> {
    let server = Server::start(lab, carrier)?;
    server.benchmark("SET", load, 100)?.finish()?;
    let rate = server.benchmark("GET", load, load.calibration())?.finish()?.per_s;
    let requests = ((rate * millis as f64 / 1e3) as u64).max(load.calibration());

    let server_before = server.process.cpu_nanos();
    let running = server.benchmark("GET", load, requests)?;
    let mut seen = None;
    if let Some(name) = carrier.moved_name() {
        for _ in 0..LOOKS {
            thread::sleep(Duration::from_millis(millis / (2 * LOOKS)));
            let now = running.look(lab, name)?;
            let all_moved = now.moved > 0 && now.moved == now.all;
            seen = Some(now).max(seen);
            if all_moved {
                break;
            }
        }
    }
    let outcome = running.finish()?;
    let per_op = |nanos: u64| nanos as f64 / requests as f64;
    let server_cpu = server.process.cpu_nanos() - server_before;
    let mut metrics = named([
        ("per_s", outcome.per_s),
        ("p50_ns", outcome.p50_ms * 1e6),
        ("p99_ns", outcome.p99_ms * 1e6),
        ("max_ns", outcome.max_ms * 1e6),
        ("client_cpu_ns_per_op", per_op(outcome.cpu_ns)),
        ("server_cpu_ns_per_op", per_op(server_cpu)),
        ("cpu_ns_per_op", per_op(outcome.cpu_ns + server_cpu)),
    ]);
    if let Some(Seen { moved, all, unmoved }) = seen {
        ensure!(moved > 0, "none of redis-benchmark's {all} connections was moved in half of {millis} ms{unmoved}");
        metrics.extend(named([("moved_connections", moved as f64), ("connections", all as f64)]));
    }
    Ok(metrics)
}

struct Server<'lab> {
    lab: &'lab Lab,
    carrier: Carrier,
    process: Child,
    port: u16,
    socket: PathBuf,
}

struct Benchmark {
    process: Child,
    output: PathBuf,
}

/// The connections of a redis-benchmark that runs, as the broker knows them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    moved: usize,
    all: usize,
    /// One of those that were not moved, in words.
    unmoved: String,
}

struct Outcome {
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    cpu_ns: u64,
}

impl<'lab> Server<'lab> {
    fn start(lab: &'lab Lab, carrier: Carrier) -> Result<Server<'lab>> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let socket = lab.fresh_path("redis.sock");
        let mut command = lab.command("redis-server", carrier);
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--unixsocket")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(File::create(lab.fresh_path("redis-server.out"))?);
        let (_, cpu) = Placement::Different.cpus(lab.cores);
        let process = Child::spawn(command, "redis-server", cpu, &lab.fresh_path("redis-server.log"))
            .context("is the Debian package redis installed?")?;
        let mut server = Server { lab, carrier, process, port, socket };
        server.wait()?;
        Ok(server)
    }

    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + STARTS_WITHIN;
        while !self.answers() {
            if let Some(status) = self.process.exited() {
                bail!("redis-server ended at once ({status}){}", self.process.said());
            }
            ensure!(Instant::now() < deadline, "redis-server does not answer{}", self.process.said());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        let ask = |mut stream: UnixStream| {
            let mut reply = [0; 5];
            stream.write_all(b"PING\r\n")?;
            stream.read_exact(&mut reply)?;
            std::io::Result::Ok(&reply == b"+PONG")
        };
        UnixStream::connect(&self.socket).and_then(ask).unwrap_or(false)
            && TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
    }

    fn benchmark(&self, test: &str, load: Load, requests: u64) -> Result<Benchmark> {
        let mut command: Command = self.lab.command("redis-benchmark", self.carrier);
        match self.carrier.is_unix() {
            true => command.arg("-s").arg(&self.socket),
            false => command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]),
        };
        let output = self.lab.fresh_path("redis-benchmark.csv");
        command
            .args(["-t", test, "-n", &requests.to_string(), "--csv"])
            .args(load.title().split(' '))
            .stdin(Stdio::null())
            .stdout(File::create(&output)?);
        let (cpu, _) = Placement::Different.cpus(self.lab.cores);
        let log = self.lab.fresh_path("redis-benchmark.log");
        let process = Child::spawn(command, "redis-benchmark", cpu, &log)
            .context("is the Debian package redis-tools installed?")?;
        Ok(Benchmark { process, output })
    }
}

impl Benchmark {
    /// Asks the broker about its connections.
    fn look(&self, lab: &Lab, carrier: &str) -> Result<Seen> {
        let pid = i64::from(self.process.pid().as_raw());
        let status = lab.status()?;
        let mine = status.connections.iter().filter(|one| one.pid == pid);
        let unmoved = mine.clone().find(|one| !one.is_moved_to(carrier));
        Ok(Seen {
            moved: mine.clone().filter(|one| one.is_moved_to(carrier)).count(),
            all: mine.count(),
            unmoved: unmoved.map(|one| format!("; for example {one}")).unwrap_or_default(),
        })
    }

    fn finish(self) -> Result<Outcome> {
        let cpu_ns = self.process.wait(ENDS_WITHIN)?;
        let csv = fs::read_to_string(&self.output)?;
        parse(&csv, cpu_ns).with_context(|| format!("redis-benchmark said: {csv}"))
    }
}

/// The columns are "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95…","p99…","max…".
fn parse(csv: &str, cpu_ns: u64) -> Option<Outcome> {
    let line = csv.lines().rfind(|line| !line.starts_with("\"test\""))?;
    let values: Vec<f64> = line.split(',').filter_map(|field| field.trim_matches('"').parse().ok()).collect();
    let &[per_s, _mean, _min, p50_ms, _p95, p99_ms, max_ms] = &values[..] else {
        return None;
    };
    Some(Outcome { per_s, p50_ms, p99_ms, max_ms, cpu_ns })
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_the_csv_of_redis_benchmark() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                   \"p99_latency_ms\",\"max_latency_ms\"\n\
                   \"GET\",\"23456.78\",\"0.040\",\"0.008\",\"0.039\",\"0.055\",\"0.071\",\"0.5\"\n";
        let outcome = super::parse(csv, 1).unwrap();
        assert_eq!((outcome.per_s, outcome.p50_ms, outcome.p99_ms), (23456.78, 0.039, 0.071));
        assert!(super::parse("", 1).is_none());
    }
}
