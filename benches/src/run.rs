//! A run: the machine, every measurement as it came, and the medians over them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use slipstream_measure::host::{Cores, Machine};
use slipstream_measure::{Carrier, floor, stats};

use crate::case::{Case, Metrics};

/// What one call of `compare` measured; the JSON under `benches/runs/`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// The commit that was measured, with `+` when the tree had changes.
    pub commit: String,
    /// The machine.
    pub machine: Machine,
    /// What a round trip between the pinned processors takes at least, once per round, in ns; see [`floor`].
    #[serde(default)]
    pub floor_ns: Vec<f64>,
    /// Every measurement, in the order in which it was made.
    pub samples: Vec<Sample>,
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// In which round.
    pub round: u32,
    /// What was measured.
    pub case: Case,
    /// Over what.
    pub carrier: Carrier,
    /// The figures.
    pub metrics: Metrics,
}

impl Run {
    /// A run that begins now.
    pub fn begin() -> Run {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Run { started, commit: commit(), machine: Machine::describe(), floor_ns: Vec::new(), samples: Vec::new() }
    }

    /// Measures the machine itself, beside a round.
    pub fn measure_floor(&mut self) {
        let (client, server) = self.machine.pinned;
        self.floor_ns.extend(floor::round_trip_ns(Cores { client, server }));
    }

    /// Reads one from `path`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not one.
    pub fn load(path: &Path) -> Result<Run> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a run", path.display()))
    }

    /// Writes it to `path`, one sample per line so that version control shows them well.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let head = serde_json::to_string(&Run { samples: Vec::new(), ..self.clone() })?;
        let head = head.strip_suffix("[]}").context("the samples are the last field")?;
        let samples = self.samples.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        let text = format!("{head}[\n{}\n]}}\n", samples.join(",\n"));
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The day on which it began, as 2026-01-31.
    pub fn day(&self) -> String {
        let (year, month, day) = civil(self.started / 86_400);
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// How many rounds were made.
    pub fn rounds(&self) -> u32 {
        self.samples.iter().map(|sample| sample.round + 1).max().unwrap_or(0)
    }

    /// The median of `metric` over the rounds.
    pub fn median(&self, case: Case, carrier: Carrier, metric: &str) -> Option<f64> {
        let mine = self.samples.iter().filter(|sample| sample.case == case && sample.carrier == carrier);
        let values: Vec<f64> = mine.filter_map(|sample| sample.metrics.get(metric).copied()).collect();
        stats::median(&values)
    }

    /// The median of the case's own metric for TCP: of its congestion controls, the better.
    pub fn tcp(&self, case: Case) -> Option<(Carrier, f64)> {
        [Carrier::Tcp, Carrier::TcpCubic]
            .into_iter()
            .filter_map(|carrier| Some((carrier, self.median(case, carrier, case.metric())?)))
            .max_by(|(_, one), (_, other)| one.total_cmp(other))
    }
}

fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(hash) = git(&["rev-parse", "--short=10", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|out| !out.is_empty());
    if changed { hash + "+" } else { hash }
}

/// Year, month and day of a day counted from 1970-01-01, by the calendar in use.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, so that the leap day is the last of its year; eras of 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::named;

    #[test]
    fn days() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_454), (2026, 1, 1));
    }

    #[test]
    fn survives_the_disk_and_finds_the_better_tcp() {
        let mut run = Run::begin();
        let case = Case::Stream(64);
        for (round, carrier, rate) in [(0, Carrier::Tcp, 1.0), (0, Carrier::TcpCubic, 2.0), (1, Carrier::TcpCubic, 4.0)]
        {
            run.samples.push(Sample { round, case, carrier, metrics: named([("bytes_per_s", rate)]) });
        }
        let path = std::env::temp_dir().join(format!("slipstream-run-{}", std::process::id()));
        run.save(&path).unwrap();
        let again = Run::load(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(again.rounds(), 2);
        assert_eq!(again.tcp(case), Some((Carrier::TcpCubic, 3.0)));
    }
}
