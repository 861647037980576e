//! What is compared: the cases, and what each of them measures.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use slipstream_measure::pair::Measured;
use slipstream_measure::peer::wire::Park;
use slipstream_measure::{Carrier, Lab, Pair, Placement};

use crate::redis::{self, Load};

/// Connections of one measurement of [`Case::Connect`]: few enough for the ports to last.
const CONNECTIONS: u64 = 4000;
/// A stream not measured, before the one that is.
const STREAM_WARM_MS: u64 = 50;

/// One row group of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// Round trips of 64 bytes in blocking calls.
    RoundTrip(Placement),
    /// A one-way stream of writes of so many bytes, on different cores.
    Stream(usize),
    /// redis-benchmark GET, client and server on different cores.
    Redis(Load),
    /// Connect, 64-byte request, reply, close.
    Connect(Placement),
    /// CPU time of two programs asleep on an open connection that has been moved.
    Idle(Sleeping),
}

/// How the programs of [`Case::Idle`] sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sleeping {
    /// In a blocking read.
    Read,
    /// In `epoll_wait`.
    Epoll,
}

/// What one measurement gave, by name: `per_s` (operations), `bytes_per_s`, `p50_ns`, `p99_ns`, `p999_ns`, `max_ns`,
/// `cpu_ns_per_op` (client and server together), `client_cpu_ns_per_op`, `server_cpu_ns_per_op`, `cpu_share` (of one
/// core), `moved_share` (of the bytes, between 0 and 1), `moved_connections` and `connections`.
pub type Metrics = BTreeMap<String, f64>;

impl Case {
    /// Every case, in the order of the report.
    pub fn all() -> Vec<Case> {
        let mut cases = vec![];
        cases.extend([Placement::Different, Placement::Same, Placement::Unpinned].map(Case::RoundTrip));
        cases.extend([64, 1 << 10, 32 << 10, 1 << 20].map(Case::Stream));
        cases.extend(Load::ALL.map(Case::Redis));
        cases.extend([Placement::Different, Placement::Same].map(Case::Connect));
        cases.extend([Sleeping::Read, Sleeping::Epoll].map(Case::Idle));
        cases
    }

    /// Its name on the command line and in the JSON of a run.
    pub fn key(self) -> String {
        match self {
            Case::RoundTrip(placement) => format!("round-trip-{}", placement_key(placement)),
            Case::Stream(size) => format!("stream-{size}"),
            Case::Redis(load) => format!("redis-{}", load.key()),
            Case::Connect(placement) => format!("connect-{}", placement_key(placement)),
            Case::Idle(Sleeping::Read) => "idle-read".to_owned(),
            Case::Idle(Sleeping::Epoll) => "idle-epoll".to_owned(),
        }
    }

    /// Its heading in the report.
    pub fn title(self) -> String {
        match self {
            Case::RoundTrip(placement) => format!("64 B round trips, blocking calls, {}", placement.name()),
            Case::Stream(size) if size >= 1 << 20 => format!("Stream of {} MiB writes", size >> 20),
            Case::Stream(size) if size >= 1 << 10 => format!("Stream of {} KiB writes", size >> 10),
            Case::Stream(size) => format!("Stream of {size} B writes"),
            Case::Redis(load) => format!("redis GET, redis-benchmark {}, different cores", load.title()),
            Case::Connect(placement) => format!("connect + 64 B request + reply + close, {}", placement.name()),
            Case::Idle(Sleeping::Read) => "Idle: both programs asleep in read()".to_owned(),
            Case::Idle(Sleeping::Epoll) => "Idle: both programs asleep in epoll_wait()".to_owned(),
        }
    }

    /// The metric that the ratios compare.
    pub fn metric(self) -> &'static str {
        match self {
            Case::Stream(_) => "bytes_per_s",
            Case::Idle(_) => "cpu_share",
            _ => "per_s",
        }
    }

    /// Whether the case says something of `carrier`.
    pub fn applies_to(self, carrier: Carrier) -> bool {
        // The congestion control matters to streams alone.
        carrier.is_useful() && (carrier.congestion().is_none() || matches!(self, Case::Stream(_)))
    }

    /// Measures once, for `millis` where the case has no measure of its own.
    ///
    /// # Errors
    ///
    /// When something fails, or a connection under the shim is not moved.
    pub fn measure(self, lab: &Lab, carrier: Carrier, millis: u64) -> Result<Metrics> {
        match self {
            Case::RoundTrip(placement) => {
                let mut pair = Pair::start(lab, carrier, placement)?;
                pair.connect()?;
                let measured = pair.round_trips(millis)?;
                let client = &measured.client;
                let mut metrics = both_cpus(&measured, client.cpu_ns, client.ops);
                metrics.extend(named([
                    ("per_s", client.ops as f64 / seconds(client.elapsed_ns)),
                    ("p50_ns", client.p50_ns as f64),
                    ("p90_ns", client.p90_ns as f64),
                    ("p99_ns", client.p99_ns as f64),
                    ("p999_ns", client.p999_ns as f64),
                    ("max_ns", client.max_ns as f64),
                ]));
                Ok(metrics)
            }
            Case::Stream(size) => {
                let mut pair = Pair::start(lab, carrier, Placement::Different)?;
                pair.connect()?;
                pair.stream(size, STREAM_WARM_MS)?;
                let measured = pair.stream(size, millis)?;
                let client = &measured.client;
                let mut metrics = both_cpus(&measured, client.cpu_ns, client.writes);
                metrics.extend(named([
                    ("bytes_per_s", client.bytes as f64 / seconds(client.elapsed_ns)),
                    ("per_s", client.writes as f64 / seconds(client.elapsed_ns)),
                    ("bytes_per_read", measured.server.bytes as f64 / measured.server.reads as f64),
                ]));
                Ok(metrics)
            }
            Case::Connect(placement) => {
                let mut pair = Pair::start(lab, carrier, placement)?;
                pair.churn(CONNECTIONS / 10)?;
                let measured = pair.churn(CONNECTIONS)?;
                let client = &measured.client;
                let mut metrics = both_cpus(&measured, client.cpu_ns, client.connections);
                metrics.extend(named([
                    ("per_s", client.connections as f64 / seconds(client.elapsed_ns)),
                    ("p50_ns", client.p50_ns as f64),
                    ("p99_ns", client.p99_ns as f64),
                ]));
                Ok(metrics)
            }
            Case::Redis(load) => redis::measure(lab, carrier, load, millis),
            Case::Idle(_) => bail!("idle connections are measured all at once"),
        }
    }
}

/// One pair of programs asleep on a connection.
#[derive(Debug)]
pub struct Idler<'lab> {
    pair: Pair<'lab>,
    used: (u64, u64),
}

impl<'lab> Idler<'lab> {
    /// Starts the programs, has the connection moved, and leaves them asleep.
    ///
    /// # Errors
    ///
    /// When something fails, or a connection under the shim is not moved.
    pub fn start(lab: &'lab Lab, carrier: Carrier, sleeping: Sleeping) -> Result<Idler<'lab>> {
        let mut pair = Pair::start(lab, carrier, Placement::Unpinned)?;
        pair.connect()?;
        pair.park(match sleeping {
            Sleeping::Read => Park::Read,
            Sleeping::Epoll => Park::Epoll,
        })?;
        Ok(Idler { pair, used: (0, 0) })
    }

    /// Begins to count.
    ///
    /// # Errors
    ///
    /// When a program does not answer.
    pub fn begin(&mut self) -> Result<()> {
        self.used = self.pair.cpu_nanos()?;
        Ok(())
    }

    /// The share of one core that each program has used since then.
    ///
    /// # Errors
    ///
    /// When a program does not answer.
    pub fn end(mut self, time: Duration) -> Result<Metrics> {
        let used = self.pair.cpu_nanos()?;
        let share = |before: u64, now: u64| (now - before) as f64 / time.as_nanos() as f64;
        let (client, server) = (share(self.used.0, used.0), share(self.used.1, used.1));
        Ok(named([("client_cpu_share", client), ("server_cpu_share", server), ("cpu_share", client.max(server))]))
    }
}

fn both_cpus<T>(measured: &Measured<T>, client_ns: u64, ops: u64) -> Metrics {
    let per_op = |nanos: u64| nanos as f64 / ops as f64;
    let mut metrics = named([
        ("client_cpu_ns_per_op", per_op(client_ns)),
        ("server_cpu_ns_per_op", per_op(measured.server.cpu_ns)),
        ("cpu_ns_per_op", per_op(client_ns + measured.server.cpu_ns)),
    ]);
    metrics.extend(measured.moved_share.map(|share| ("moved_share".to_owned(), share)));
    metrics
}

/// Metrics from names and values.
pub(crate) fn named<const N: usize>(pairs: [(&str, f64); N]) -> Metrics {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

fn placement_key(placement: Placement) -> &'static str {
    match placement {
        Placement::Different => "different",
        Placement::Same => "same",
        Placement::Unpinned => "unpinned",
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(key: &str) -> Result<Case, String> {
        let found = Case::all().into_iter().find(|case| case.key() == key);
        found.ok_or_else(|| {
            let keys: Vec<_> = Case::all().into_iter().map(Case::key).collect();
            format!("no such case; there are {}", keys.join(", "))
        })
    }
}

impl Serialize for Case {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.key())
    }
}

impl<'de> Deserialize<'de> for Case {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Case, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
