//! `slipstream status`: what the broker knows, for people or as JSON.

use anyhow::Result;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use slipstream_broker::control::Control;
use slipstream_broker::path;
use slipstream_broker::status::{Connection, Direction, Status};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The broker's socket [default: as `slipstream broker`]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let socket = args.socket.clone().unwrap_or_else(path::resolve);
    let control = Control::connect(&socket)?;
    let text = if args.json { control.status_text()? } else { render(&control.status()?) };
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        // `slipstream status | head`
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn render(status: &Status) -> String {
    let mut out = String::new();
    if !status.connections.is_empty() {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["pid", "command", "local", "remote", "state", "over", "sends", "receives", "moved", "age"]);
        for connection in &status.connections {
            table.add_row(row(connection));
        }
        for column in [0, 8, 9] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let _ = writeln!(out, "{table}");
    }
    let totals = &status.totals;
    let list = |sums: &std::collections::BTreeMap<String, u64>| {
        sums.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    };
    let _ = writeln!(
        out,
        "{} endpoints offered, {} matched, {} moved; {} clients, up {}",
        totals.connections,
        totals.matched,
        bytes(totals.moved_bytes),
        status.clients,
        age(status.uptime_s)
    );
    for (what, sums) in [("by state: ", &totals.by_state), ("by reason: ", &totals.by_reason)] {
        if !sums.is_empty() {
            let _ = writeln!(out, "{what}{}", list(sums));
        }
    }
    out
}

fn row(connection: &Connection) -> [String; 10] {
    let Connection { tx, rx, .. } = connection;
    let state = match &connection.reason {
        Some(reason) => format!("{} ({reason})", connection.state.name()),
        None => connection.state.name().to_owned(),
    };
    let direction = |direction: &Direction| direction.carrier.name().to_owned();
    [
        connection.pid.to_string(),
        connection.command.clone(),
        connection.local.clone(),
        connection.remote.clone(),
        state,
        connection.transport.clone().unwrap_or_else(|| "tcp".to_owned()),
        direction(tx),
        direction(rx),
        bytes(tx.moved_bytes.saturating_add(rx.moved_bytes)),
        age(connection.age_s),
    ]
}

/// Bytes with a binary unit.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut value = count as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Seconds as people say them.
fn age(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipstream_broker::status::{Carrier, State, Totals};

    #[test]
    fn a_row_tells_what_happened() {
        let connection = Connection {
            id: 1,
            pid: 42,
            command: "redis-server".into(),
            local: "127.0.0.1:6379".into(),
            remote: "127.0.0.1:50000".into(),
            netns: 1,
            state: State::NoOpt,
            reason: Some("urgent".into()),
            transport: None,
            pair: None,
            tx: Direction::default(),
            rx: Direction { carrier: Carrier::Ring, moved_bytes: 3 << 20, ..Direction::default() },
            age_s: 75.0,
        };
        let totals = Totals { connections: 1, by_reason: [("urgent".to_owned(), 1)].into(), ..Totals::default() };
        let text = render(&Status { connections: vec![connection], totals, ..Status::default() });
        for part in ["redis-server", "no-opt (urgent)", "3.0 MiB", "1 min 15 s", "by reason: 1 urgent"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn quantities_have_units() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(u64::MAX)], ["0 B", "1023 B", "1.5 KiB", "16384.0 PiB"]);
        assert_eq!([age(0.25), age(61.0), age(7260.0)], ["0.2 s", "1 min 1 s", "2 h 1 min"]);
    }
}
