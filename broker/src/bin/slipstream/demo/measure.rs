//! The rounds: every carrier in turn, again and again, so that what else the machine does falls on all of them alike.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use slipstream_measure::pair::{Evidence, MESSAGE, Measured};
use slipstream_measure::stats::median;
use slipstream_measure::{Carrier, Lab, Pair, Placement};

const ROUND_TRIPS_MS: u64 = 300;
const STREAM_MS: u64 = 150;
/// A stream not measured, before the one that is.
const STREAM_WARM_MS: u64 = 30;
/// Of the bytes of all measurements, at least so many must have left TCP.
const MOVED_AT_LEAST: f64 = 0.5;

/// The sizes of the writes of the streams.
pub const SIZES: [usize; 4] = [64, 1 << 10, 32 << 10, 1 << 20];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Round trips of [`MESSAGE`] bytes.
    RoundTrips,
    /// A stream of writes of this many bytes.
    Stream(usize),
}

impl Subject {
    /// Everything that is measured.
    pub fn all() -> impl Iterator<Item = Subject> {
        std::iter::once(Subject::RoundTrips).chain(SIZES.map(Subject::Stream))
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Round trips, or bytes, per second.
    pub rate: f64,
    /// Half of the round trips took less, in nanoseconds.
    pub p50: f64,
    /// 99 % of the round trips took less, in nanoseconds.
    pub p99: f64,
    /// CPU time of both programs per round trip or write, in nanoseconds.
    pub cpu: f64,
}

/// What the broker said of the carriers under the shim.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Both ends of one of the connections, after its measurement.
    pub evidence: Evidence,
    /// The share of bytes that left TCP, per measurement.
    pub shares: Vec<f64>,
}

/// All measurements.
#[derive(Debug, Default)]
pub struct Results {
    samples: BTreeMap<(Subject, Carrier), Vec<Sample>>,
    /// By carrier.
    pub proofs: BTreeMap<Carrier, Proof>,
}

impl Results {
    /// Measures everything, `rounds` times.
    pub fn measure(lab: &Lab, rounds: u32) -> Result<Results> {
        let carriers: Vec<_> = Carrier::ALL.into_iter().filter(|one| one.is_useful()).collect();
        let progress = ProgressBar::new(u64::from(rounds) * carriers.len() as u64);
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?;
        progress.set_style(style);
        let mut results = Results::default();
        for round in 1..=rounds {
            for &carrier in &carriers {
                progress.set_message(format!("round {round}: {}", carrier.name()));
                results.visit(lab, carrier)?;
                progress.inc(1);
            }
        }
        progress.finish_and_clear();
        Ok(results)
    }

    /// Two new processes, and a new connection for every subject.
    fn visit(&mut self, lab: &Lab, carrier: Carrier) -> Result<()> {
        let mut pair = Pair::start(lab, carrier, Placement::Different)?;
        for subject in Subject::all() {
            // The congestion control makes no difference to round trips.
            if carrier.congestion().is_some() && subject == Subject::RoundTrips {
                continue;
            }
            let trouble = || format!("cannot measure {subject:?} over {}", carrier.name());
            pair.connect().with_context(trouble)?;
            let sample = match subject {
                Subject::RoundTrips => {
                    let measured = pair.round_trips(ROUND_TRIPS_MS).with_context(trouble)?;
                    self.keep_proof(carrier, &measured);
                    let client = &measured.client;
                    Sample {
                        rate: client.ops as f64 / seconds(client.elapsed_ns),
                        p50: client.p50_ns as f64,
                        p99: client.p99_ns as f64,
                        cpu: (client.cpu_ns + measured.server.cpu_ns) as f64 / client.ops as f64,
                    }
                }
                Subject::Stream(size) => {
                    pair.stream(size, STREAM_WARM_MS).with_context(trouble)?;
                    let measured = pair.stream(size, STREAM_MS).with_context(trouble)?;
                    self.keep_proof(carrier, &measured);
                    let client = &measured.client;
                    Sample {
                        rate: client.bytes as f64 / seconds(client.elapsed_ns),
                        cpu: (client.cpu_ns + measured.server.cpu_ns) as f64 / client.writes as f64,
                        ..Sample::default()
                    }
                }
            };
            self.samples.entry((subject, carrier)).or_default().push(sample);
        }
        Ok(())
    }

    fn keep_proof<T>(&mut self, carrier: Carrier, measured: &Measured<T>) {
        let (Some(evidence), Some(share)) = (&measured.evidence, measured.moved_share) else {
            return;
        };
        let proof = Proof { evidence: evidence.clone(), shares: Vec::new() };
        self.proofs.entry(carrier).or_insert(proof).shares.push(share);
    }

    /// The medians over the rounds; `None` where nothing was measured.
    pub fn median(&self, subject: Subject, carrier: Carrier) -> Option<Sample> {
        let samples = self.samples.get(&(subject, carrier))?;
        let of = |field: fn(&Sample) -> f64| median(&samples.iter().map(field).collect::<Vec<_>>()).unwrap_or_default();
        Some(Sample { rate: of(|s| s.rate), p50: of(|s| s.p50), p99: of(|s| s.p99), cpu: of(|s| s.cpu) })
    }

    /// TCP at its best: with the default congestion control or with cubic.
    pub fn best_tcp(&self, subject: Subject) -> Option<(Carrier, Sample)> {
        [Carrier::Tcp, Carrier::TcpCubic]
            .into_iter()
            .filter_map(|carrier| Some((carrier, self.median(subject, carrier)?)))
            .max_by(|(_, one), (_, other)| one.rate.total_cmp(&other.rate))
    }

    /// Fails where the broker saw the bytes stay on TCP.
    pub fn ensure_moved(&self) -> Result<()> {
        for carrier in [Carrier::SlipstreamUds, Carrier::SlipstreamShm] {
            let proof = self.proofs.get(&carrier);
            let share = proof.map_or(0.0, Proof::share);
            ensure!(
                share >= MOVED_AT_LEAST,
                "only {:.1} % of the bytes measured over {} left TCP: the figures above are not what they seem{}",
                share * 100.0,
                carrier.name(),
                proof.map(|one| format!("\n  {}\n  {}", one.evidence.client, one.evidence.server)).unwrap_or_default(),
            );
        }
        Ok(())
    }
}

impl Proof {
    /// The mean share of bytes that left TCP.
    pub fn share(&self) -> f64 {
        self.shares.iter().sum::<f64>() / self.shares.len().max(1) as f64
    }
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

const _: () = assert!(MESSAGE == 64, "the report says 64");
