//! A run as tables in Markdown.

use std::fmt::Write as _;

use slipstream_measure::Carrier;
use slipstream_measure::stats::{count, duration, median, rate, ratio};

use crate::bar;
use crate::case::Case;
use crate::run::Run;

/// Everything between the two marks of a document is replaced by the tables.
pub const BEGIN: &str = "<!-- compare: begin -->";
/// See [`BEGIN`].
pub const END: &str = "<!-- compare: end -->";

/// The tables of a run. `source` names the file that it came from.
pub fn tables(run: &Run, source: &str) -> String {
    let mut out = String::new();
    let machine = &run.machine;
    let _ = writeln!(
        out,
        "{machine}; {} MiB memory, load average {:.2} at the start; pinned to CPU {} (client) and {} (server). \
         Commit {}, {}, medians of {} interleaved rounds; every figure is in `{source}`.",
        machine.memory_mib,
        machine.load_1m,
        machine.pinned.0,
        machine.pinned.1,
        run.commit,
        run.day(),
        run.rounds(),
    );
    if let Some(floor) = median(&run.floor_ns) {
        let _ = writeln!(
            out,
            "\nTwo threads on these processors that do nothing else hand 64 bytes and a cursor to each other and back in {}: \
             no carrier over shared memory is quicker.",
            duration(floor)
        );
    }
    let _ = writeln!(out, "\n### Against the first bar\n\n{}", bar::check(run).0);
    for case in Case::all() {
        if run.samples.iter().any(|sample| sample.case == case) {
            let _ = writeln!(out, "### {}\n\n{}", case.title(), table(run, case));
        }
    }
    out
}

fn table(run: &Run, case: Case) -> String {
    let idle = matches!(case, Case::Idle(_));
    let mut out = String::from(if idle {
        "| | client CPU | server CPU |\n| --- | ---: | ---: |\n"
    } else {
        "| | rate | p50 | p99 | CPU per op | vs TCP | vs UDS | moved |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    });
    for carrier in Carrier::ALL {
        let median = |metric: &str| run.median(case, carrier, metric);
        let Some(value) = median(case.metric()) else {
            continue;
        };
        let cell = |metric: &str, show: fn(f64) -> String| median(metric).map(show).unwrap_or_default();
        if idle {
            let percent: fn(f64) -> String = |share| format!("{:.4} %", share * 100.0);
            let (client, server) = (cell("client_cpu_share", percent), cell("server_cpu_share", percent));
            let _ = writeln!(out, "| {} | {client} | {server} |", carrier.name());
            continue;
        }
        let shown = match case {
            Case::Stream(_) => rate(value),
            _ => format!("{}/s", count(value)),
        };
        let against = |base: Option<f64>| base.map(|base| ratio(value / base)).unwrap_or_default();
        let _ = writeln!(
            out,
            "| {} | {shown} | {} | {} | {} | {} | {} | {} |",
            carrier.name(),
            cell("p50_ns", duration),
            cell("p99_ns", duration),
            cell("cpu_ns_per_op", duration),
            against(run.tcp(case).map(|(_, base)| base)),
            against(run.median(case, Carrier::Uds, case.metric())),
            moved(run, case, carrier),
        );
    }
    out
}

/// The share of the bytes, or the number of the connections, that left TCP.
fn moved(run: &Run, case: Case, carrier: Carrier) -> String {
    let median = |metric: &str| run.median(case, carrier, metric);
    match (median("moved_share"), median("moved_connections"), median("connections")) {
        (Some(share), _, _) => format!("{:.1} %", share * 100.0),
        (_, Some(moved), Some(all)) => format!("{moved:.0} of {all:.0}"),
        _ => String::new(),
    }
}

/// `document` with the part between the marks replaced by `tables`; `None` when it has no marks.
pub fn insert(document: &str, tables: &str) -> Option<String> {
    let (head, rest) = document.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n\n{}\n\n{END}{tail}", tables.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_is_between_the_marks() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter");
        let replaced = insert(&document, "new\n").unwrap();
        assert_eq!(replaced, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter"));
        assert!(insert("no marks", "new").is_none());
    }
}
