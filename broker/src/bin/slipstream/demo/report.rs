//! What the demo says in the end: tables, bars and the broker's word.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use console::style;
use slipstream_measure::Carrier;
use slipstream_measure::stats::{count, duration, rate, ratio};

use super::measure::{Results, SIZES, Sample, Subject};

const BAR: usize = 48;

/// The carriers that the tables show, with the names they show them by.
const ROWS: [(Carrier, &str); 4] = [
    (Carrier::Tcp, "TCP"),
    (Carrier::Uds, "Unix-domain socket"),
    (Carrier::SlipstreamUds, "Slipstream, uds"),
    (Carrier::SlipstreamShm, "Slipstream, shm"),
];

/// The whole report.
pub fn render(results: &Results, rounds: u32) -> String {
    let mut out = String::new();
    heading(&mut out, &format!("64-byte round trips (medians of {rounds} interleaved rounds)"));
    let _ = writeln!(out, "{}", round_trips(results));
    heading(&mut out, "One-way streams");
    let _ = writeln!(out, "{}", streams(results));
    for subject in Subject::all() {
        bars(&mut out, results, subject);
    }
    notes(&mut out, results);
    proof(&mut out, results);
    out
}

fn heading(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n{}", style(text).bold());
}

/// What a row shows: for TCP the better of its congestion controls.
fn row(results: &Results, subject: Subject, carrier: Carrier) -> Sample {
    let sample = match carrier {
        Carrier::Tcp => results.best_tcp(subject).map(|(_, sample)| sample),
        other => results.median(subject, other),
    };
    sample.unwrap_or_default()
}

fn table(header: impl IntoIterator<Item = String>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(header.into_iter().collect::<Vec<_>>());
    table
}

fn align(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn round_trips(results: &Results) -> Table {
    let header = ["", "p50", "p99", "CPU time", "per second", "p50 vs TCP", "vs Unix"];
    let mut table = table(header.map(str::to_owned));
    let of = |carrier| row(results, Subject::RoundTrips, carrier);
    let (tcp, uds) = (of(Carrier::Tcp), of(Carrier::Uds));
    for (carrier, name) in ROWS {
        let sample = of(carrier);
        table.add_row([
            name.to_owned(),
            duration(sample.p50),
            duration(sample.p99),
            duration(sample.cpu),
            count(sample.rate),
            ratio(tcp.p50 / sample.p50),
            ratio(uds.p50 / sample.p50),
        ]);
    }
    align(table)
}

fn streams(results: &Results) -> Table {
    let sizes = SIZES.map(|size| format!("{} writes", bytes(size)));
    let mut table = table(std::iter::once(String::new()).chain(sizes));
    let of = |size, carrier| row(results, Subject::Stream(size), carrier).rate;
    for (carrier, name) in ROWS {
        let cells = SIZES.map(|size| rate(of(size, carrier)));
        table.add_row(std::iter::once(name.to_owned()).chain(cells));
    }
    for (base, name) in [(Carrier::Tcp, "shm vs TCP"), (Carrier::Uds, "shm vs Unix")] {
        let cells = SIZES.map(|size| ratio(of(size, Carrier::SlipstreamShm) / of(size, base)));
        table.add_row(std::iter::once(name.to_owned()).chain(cells));
    }
    align(table)
}

fn bars(out: &mut String, results: &Results, subject: Subject) {
    let (title, unit): (_, fn(f64) -> String) = match subject {
        Subject::RoundTrips => ("64-byte round trips per second".to_owned(), count),
        Subject::Stream(size) => (format!("Stream of {} writes", bytes(size)), rate),
    };
    heading(out, &title);
    let rates = ROWS.map(|(carrier, _)| row(results, subject, carrier).rate);
    let longest = rates.into_iter().fold(f64::MIN_POSITIVE, f64::max);
    for ((carrier, name), value) in ROWS.into_iter().zip(rates) {
        let bar = bar(value / longest);
        let bar = match carrier {
            Carrier::SlipstreamUds | Carrier::SlipstreamShm => style(bar).green(),
            _ => style(bar),
        };
        let _ = writeln!(out, "  {name:<18} {bar} {}  {}", unit(value), style(ratio(value / rates[0])).dim());
    }
}

/// A bar as wide as `share` of [`BAR`] characters, to an eighth of one.
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = ((share * (BAR * 8) as f64).round() as usize).max(1);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

fn notes(out: &mut String, results: &Results) {
    let mut noise = Vec::new();
    for subject in Subject::all() {
        let again = results.median(subject, Carrier::TcpAgain);
        if let (Some(first), Some(again)) = (results.median(subject, Carrier::Tcp), again) {
            noise.push(again.rate / first.rate);
        }
    }
    let low = noise.iter().copied().fold(f64::INFINITY, f64::min);
    let high = noise.iter().copied().fold(0.0, f64::max);
    let best = SIZES.map(|size| {
        let name = match results.best_tcp(Subject::Stream(size)) {
            Some((Carrier::TcpCubic, _)) => "cubic",
            _ => "the default",
        };
        format!("{name} at {}", bytes(size))
    });
    let _ = writeln!(
        out,
        "\nTCP is the better of the kernel's default congestion control and cubic: {}.\n\
         CPU time is that of both programs. TCP measured a second time in every round: {}–{} of the first, \
         which is the noise.",
        best.join(", "),
        ratio(low),
        ratio(high)
    );
}

fn proof(out: &mut String, results: &Results) {
    heading(out, "Moved? What the broker says (slipstream status --json)");
    for (carrier, proof) in &results.proofs {
        let _ = writeln!(
            out,
            "  {}: {:.1} % of the bytes of {} measured connections left TCP. One of them:",
            carrier.name(),
            proof.share() * 100.0,
            proof.shares.len()
        );
        for end in [&proof.evidence.client, &proof.evidence.server] {
            let _ = writeln!(out, "  {}", style(&end.json).dim());
        }
    }
}

fn bytes(size: usize) -> String {
    match size {
        s if s >= 1 << 20 => format!("{} MiB", s >> 20),
        s if s >= 1 << 10 => format!("{} KiB", s >> 10),
        s => format!("{s} B"),
    }
}
