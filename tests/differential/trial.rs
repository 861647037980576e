//! One run of a case, and its comparison with the plain one.

use crate::build;
use slipstream_tests::{Lab, Mode, Page, until};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Shm,
    Uds,
    Cold,
    Alice,
    Bob,
    Tcp,
}

impl Kind {
    pub const ALL: [Self; 7] = [Self::Plain, Self::Shm, Self::Uds, Self::Cold, Self::Alice, Self::Bob, Self::Tcp];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Shm => "shm",
            Self::Uds => "uds",
            Self::Cold => "cold",
            Self::Alice => "alice",
            Self::Bob => "bob",
            Self::Tcp => "tcp",
        }
    }

    fn mode(self) -> Mode {
        match self {
            Self::Plain => Mode::Plain,
            Self::Uds => Mode::Uds,
            Self::Tcp => Mode::Tcp,
            Self::Shm | Self::Cold | Self::Alice | Self::Bob => Mode::Shm,
        }
    }

    /// The end without the shim.
    fn bare(self) -> Option<u32> {
        match self {
            Self::Alice => Some(1),
            Self::Bob => Some(0),
            _ => None,
        }
    }
}

/// A case with what the kernel says to it.
pub struct Case {
    name: String,
    oracle: OnceLock<Result<String, String>>,
}

/// Round trips before the trap where nobody waits for a move: it happens during the trap, or not at all.
const COLD_TRIPS: u32 = 3;
const TRIPS: u32 = 100;
/// A case that takes longer hangs: the slowest takes 5 s, and gives up by itself after 20.
const LIMIT: Duration = Duration::from_secs(60);

impl Case {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), oracle: OnceLock::new() }
    }

    /// Some trials prove nothing new.
    pub fn is_for(&self, kind: Kind) -> bool {
        match self.name.as_str() {
            // Both ends in alice's process.
            "self_connect" | "poll_both_ends" => !matches!(kind, Kind::Bob | Kind::Alice),
            // When an edge-triggered registration moves, the last edge may be reported once more: the kernel does not say
            // whether it was. epoll(7) has programs expect that.
            "epoll_edge" => kind != Kind::Cold,
            // A call on TCP names its descriptor by the number, which may be another connection's when it gets there.
            "dup2_race" => kind != Kind::Cold,
            // Pointers into unmapped memory fault in the shim, as in libc's own code; null ones give EFAULT.
            "bad_pointers" => kind == Kind::Plain,
            _ => true,
        }
    }

    /// The reason for which its connections stay on TCP, or go back there, if there is one; whether none may move at all.
    fn stays(&self) -> Option<(&'static str, bool)> {
        match self.name.as_str() {
            "raw_epoll" => Some(("epoll-foreign", true)),
            "raw_uring" => Some(("io-uring", true)),
            "options_early" => Some(("timestamping", true)),
            "epoll_exclusive" => Some(("epoll-exclusive", false)),
            _ => None,
        }
    }

    fn oracle(&self) -> Result<String, String> {
        self.oracle.get_or_init(|| perform(self, Kind::Plain, None)).clone()
    }
}

pub fn run(case: &Case, kind: Kind) -> Result<(), String> {
    let expected = case.oracle()?;
    // A case that fails by its own word proves nothing.
    if expected.contains("FAILED ") || !expected.contains("exited 0\n") {
        return Err(format!("over plain TCP already:\n{expected}"));
    }
    let got = perform(case, kind, build::dither())?;
    if got == expected {
        return Ok(());
    }
    Err(format!("{} over plain TCP (-) and {} (+):\n{}", case.name, kind.name(), difference(&expected, &got)))
}

/// Runs the case, late here and there if it is to be, and returns what both ends said.
fn perform(case: &Case, kind: Kind, dither: Option<(PathBuf, OsString)>) -> Result<String, String> {
    let lab = Lab::new(&case.name, kind.mode());
    let path = lab.folder().join("page");
    let waits = matches!(kind, Kind::Shm | Kind::Uds);
    let trips = if kind == Kind::Cold { COLD_TRIPS } else { TRIPS };
    let page = Page::new(&path, trips, waits, kind.bare()).map_err(|error| error.to_string())?;
    let mut program = lab.program(build::program(&case.name)).arg("both").env("CASE_PAGE", &path);
    if let Some((library, seed)) = dither {
        program = program.above(&library).env("SLIPSTREAM_DITHER", seed);
    }
    let mut running = program.start();

    let mut waiting: HashMap<usize, Instant> = HashMap::new();
    let mut unmoved = String::new();
    let ended = until(LIMIT, || {
        let asked: Vec<_> = page.asked().collect();
        if !asked.is_empty() {
            let status = lab.try_status();
            for (number, connector, acceptor) in asked {
                let since = *waiting.entry(number).or_insert_with(Instant::now);
                let moved = status.as_ref().is_some_and(|status| {
                    status.pair(connector, acceptor).iter().all(|c| c.is_some_and(|c| c.is_moved(kind.mode().name())))
                });
                if !moved && since.elapsed() < Duration::from_secs(10) {
                    continue;
                }
                if !moved {
                    let what = status.as_ref().map(|status| format!("{:#?}", status.pair(connector, acceptor)));
                    let _ = writeln!(unmoved, "connection {number} has not moved: {}", what.unwrap_or_default());
                }
                page.answer(number);
            }
        }
        (!running.is_alive()).then_some(())
    });
    let said = format!("== alice\n{}== bob\n{}", page.transcript(0), page.transcript(1));
    let complaints = running.stderr();
    if ended.is_none() {
        return Err(format!("no end within {LIMIT:?}\n{said}\n{unmoved}\n{}", running.report()));
    }
    drop(running);
    if !unmoved.is_empty() {
        return Err(format!("{unmoved}\n{said}\n{complaints}"));
    }
    if kind.mode() != Mode::Plain {
        let totals = lab.status().totals;
        let alarms = ["mismatch", "hostile", "owner", "leaked", "ambiguous"];
        let raised: Vec<_> = alarms.into_iter().filter(|alarm| totals.reason(alarm) > 0).collect();
        if !raised.is_empty() || totals.invalid > 0 {
            let broker = lab.broker.as_ref().map(slipstream_tests::Broker::report).unwrap_or_default();
            return Err(format!("alarms {raised:?} in {totals:#?}\n{said}\n{broker}"));
        }
        if let Some((reason, all)) = case.stays().filter(|_| waits) {
            // On a loaded machine the end may come before the reason is asked for; and both before the broker has read of them.
            let stayed = until(Duration::from_secs(5), || {
                let totals = lab.status().totals;
                (totals.reason(reason) + if all { totals.reason("gone") } else { 0 } > 0).then_some(())
            });
            if stayed.is_none() || (all && totals.moved_bytes > 0) {
                return Err(format!("to stay on TCP for '{reason}', yet: {totals:#?}\n{said}"));
            }
        }
        if kind.bare().is_some() && totals.matched > 0 && !both_ends_in_one_process(&case.name) {
            return Err(format!("one end had no shim, yet: {totals:#?}"));
        }
    }
    if !complaints.is_empty() && std::env::var_os("SLIPSTREAM_LOG").is_none() {
        // What the shim itself says, and what FAILED lines repeat.
        return Ok(format!("{said}== stderr\n{complaints}"));
    }
    Ok(said)
}

/// Cases whose end opens connections to itself.
fn both_ends_in_one_process(name: &str) -> bool {
    matches!(name, "early_late")
}

/// Line by line, with context; the runs are short.
fn difference(expected: &str, got: &str) -> String {
    let (a, b): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
    // The longest common subsequence, by the book.
    let mut best = vec![vec![0u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            best[i][j] = if a[i] == b[j] { best[i + 1][j + 1] + 1 } else { best[i + 1][j].max(best[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && best[i + 1][j] >= best[i][j + 1]) {
            lines.push(('-', a[i]));
            i += 1;
        } else {
            lines.push(('+', b[j]));
            j += 1;
        }
    }
    let near = |at: usize| lines[at.saturating_sub(4)..(at + 3).min(lines.len())].iter().any(|(mark, _)| *mark != ' ');
    let mut text = String::new();
    let mut skipped = false;
    for (at, (mark, line)) in lines.iter().enumerate() {
        if near(at) || line.starts_with("== ") {
            let _ = writeln!(text, "{mark} {line}");
            skipped = false;
        } else if !skipped {
            text.push_str("  …\n");
            skipped = true;
        }
    }
    text
}
