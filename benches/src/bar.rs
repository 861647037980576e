//! The bars that issue 2 set ("What it must reach"), checked against a run.

use std::fmt::Write as _;

use slipstream_measure::stats::ratio;
use slipstream_measure::{Carrier, Placement};

use crate::case::{Case, Sleeping};
use crate::redis::Load;
use crate::run::Run;

/// One requirement on slipstream-shm.
struct Bar {
    case: Case,
    metric: &'static str,
    against: Against,
    least: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Against {
    /// TCP, at its better congestion control.
    Tcp,
    /// A native Unix-domain socket.
    Uds,
    /// Nothing: the value itself must not be above the limit.
    Limit,
}

fn bars() -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut add = |case, metric, tcp: Option<f64>, uds: Option<f64>| {
        for (against, least) in [(Against::Tcp, tcp), (Against::Uds, uds)] {
            bars.extend(least.map(|least| Bar { case, metric, against, least }));
        }
    };
    let round_trip = Case::RoundTrip(Placement::Different);
    add(round_trip, "p50_ns", Some(50.0), Some(40.0));
    add(round_trip, "per_s", Some(50.0), Some(40.0));
    add(Case::Redis(Load::One), "per_s", Some(5.0), Some(4.5));
    add(Case::Redis(Load::Fifty), "per_s", Some(2.5), Some(1.6));
    add(Case::Stream(64), "bytes_per_s", Some(5.0), Some(3.0));
    add(Case::Stream(32 << 10), "bytes_per_s", Some(2.0), Some(1.3));
    add(Case::Connect(Placement::Different), "per_s", Some(0.95), None);
    add(Case::Connect(Placement::Same), "per_s", Some(0.95), None);
    for sleeping in [Sleeping::Read, Sleeping::Epoll] {
        let case = Case::Idle(sleeping);
        bars.push(Bar { case, metric: "cpu_share", against: Against::Limit, least: 0.001 });
    }
    bars
}

impl Bar {
    /// The measured value, if the run has it: a ratio that is better the higher, or for a limit the value.
    fn measured(&self, run: &Run) -> Option<f64> {
        let shm = run.median(self.case, Carrier::SlipstreamShm, self.metric)?;
        let base = match self.against {
            Against::Limit => return Some(shm),
            Against::Uds => run.median(self.case, Carrier::Uds, self.metric)?,
            Against::Tcp if self.metric == self.case.metric() => run.tcp(self.case)?.1,
            Against::Tcp => run.median(self.case, Carrier::Tcp, self.metric)?,
        };
        // Of times the lower is better, of rates the higher.
        Some(if self.metric.ends_with("_ns") { base / shm } else { shm / base })
    }

    fn is_met(&self, measured: f64) -> bool {
        match self.against {
            Against::Limit => measured <= self.least,
            _ => measured >= self.least,
        }
    }
}

/// The table of required and measured values, in Markdown, and whether all of them were measured and met.
pub fn check(run: &Run) -> (String, bool) {
    let mut out =
        String::from("| slipstream-shm | against | required | measured | |\n| --- | --- | ---: | ---: | --- |\n");
    let mut all = true;
    for bar in bars() {
        let measured = bar.measured(run);
        let met = measured.is_some_and(|value| bar.is_met(value));
        all &= met;
        let (against, required, value) = match bar.against {
            Against::Limit => {
                let percent = |value: f64| format!("{:.3} %", value * 100.0);
                ("", format!("≤ {}", percent(bar.least)), measured.map(percent))
            }
            Against::Tcp => ("TCP", format!("≥ {}", ratio(bar.least)), measured.map(ratio)),
            Against::Uds => ("UDS", format!("≥ {}", ratio(bar.least)), measured.map(ratio)),
        };
        let what = match bar.metric {
            "p50_ns" => ", p50",
            "per_s" if matches!(bar.case, Case::RoundTrip(_)) => ", rate",
            _ => "",
        };
        let verdict = match (measured, met) {
            (None, _) => "not measured",
            (_, true) => "met",
            (_, false) => "**missed**",
        };
        let value = value.unwrap_or_default();
        let _ = writeln!(out, "| {}{what} | {against} | {required} | {value} | {verdict} |", bar.case.title());
    }
    (out, all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::named;
    use crate::run::Sample;

    fn run(shm: f64) -> Run {
        let mut run = Run::begin();
        let case = Case::Redis(Load::Fifty);
        for (carrier, per_s) in [(Carrier::Tcp, 100.0), (Carrier::Uds, 150.0), (Carrier::SlipstreamShm, shm)] {
            run.samples.push(Sample { round: 0, case, carrier, metrics: named([("per_s", per_s)]) });
        }
        run
    }

    #[test]
    fn met_missed_and_not_measured() {
        let (table, all) = check(&run(245.0));
        assert!(!all, "most are not measured");
        let rows = |table: &str, what: &str| table.lines().filter(|row| row.contains(what)).count();
        assert_eq!(rows(&table, "| met |"), 1, "1.63 times UDS");
        assert_eq!(rows(&table, "**missed**"), 1, "2.45 times TCP");
        assert!(rows(&table, "not measured") > 5);
    }
}
