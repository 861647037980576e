//! The pages in docs/ against the code: whoever changes one side must change the other.

use slipstream_broker::packet::{self, Malformed};
use slipstream_broker::policy::RING;
use slipstream_broker::protocol::{
    self, Address, Header, Hello, Kind, Mailbox, Notice, Offer, Prefix, Prepare, Reason, StatusReply, Transport,
    Welcome,
};
use slipstream_broker::status::{Carrier, Connection, Direction, State, Status};
use slipstream_ring::carrier::Ready;
use slipstream_ring::layout;
use slipstream_ring::wait::Sleep;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the first table under a heading, their cells without backquotes; none of the table's own header.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(page);
    let is_heading = |line: &str| line.starts_with('#');
    let name = |line: &str| line.trim_start_matches('#').trim().replace('`', "");
    let section = text.lines().skip_while(|line| !is_heading(line) || name(line) != heading).skip(1);
    let rows = section.take_while(|line| !is_heading(line)).skip_while(|line| !line.starts_with('|'));
    let rows: Vec<Vec<String>> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .collect();
    assert!(rows.len() > 2, "{page} has no table under {heading:?}");
    rows[2..].to_vec()
}

/// Fails with the lines that only one side has.
#[track_caller]
fn assert_same(page: &str, written: Vec<String>, real: Vec<String>) {
    let only = |some: &[String], others: &[String]| {
        some.iter().filter(|line| !others.contains(line)).map(|line| format!("\n    {line}")).collect::<String>()
    };
    let (stale, missing) = (only(&written, &real), only(&real, &written));
    assert!(
        stale.is_empty() && missing.is_empty(),
        "{page}\n  not (any more) in the code:{stale}\n  not in the page:{missing}"
    );
    assert_eq!(written, real, "{page}: the order");
}

const PROTOCOL: &str = "docs/protocol.md";

/// The first `columns` cells of each row.
fn start_of_rows(page: &str, heading: &str, columns: usize) -> Vec<String> {
    table(page, heading).iter().map(|row| row[..columns].join(" ")).collect()
}

#[test]
fn constants() {
    let real = [
        ("protocol::MAGIC", format!("{:#x}", protocol::MAGIC)),
        ("protocol::VERSION", protocol::VERSION.to_string()),
        ("protocol::MAX_MESSAGE", protocol::MAX_MESSAGE.to_string()),
        ("protocol::MAX_FDS", protocol::MAX_FDS.to_string()),
        ("protocol::GRID", protocol::GRID.to_string()),
        ("protocol::MAILBOX_SIZE", protocol::MAILBOX_SIZE.to_string()),
        ("layout::MAGIC", format!("{:#x}", layout::MAGIC)),
        ("layout::VERSION", layout::VERSION.to_string()),
        ("layout::HEADER", layout::HEADER.to_string()),
        ("layout::MIN_CAPACITY", layout::MIN_CAPACITY.to_string()),
        ("layout::MAX_CAPACITY", layout::MAX_CAPACITY.to_string()),
        ("layout::GRID", layout::GRID.to_string()),
        ("layout::MARK_END", layout::MARK_END.to_string()),
        ("layout::MARK_GONE", layout::MARK_GONE.to_string()),
        ("layout::MARK_RECALL", layout::MARK_RECALL.to_string()),
        ("layout::MARK_CLOSED", layout::MARK_CLOSED.to_string()),
        ("layout::MARK_SHARED", layout::MARK_SHARED.to_string()),
    ];
    let real = real.iter().map(|(name, value)| format!("{name} {value}")).collect();
    assert_same(PROTOCOL, start_of_rows(PROTOCOL, "Constants", 2), real);
    assert_eq!(protocol::GRID, layout::GRID);
}

/// How many descriptors the receiver of a kind accepts, as the page writes it.
fn descriptors(kind: Kind) -> String {
    let mut bytes = vec![0; kind.size()];
    bytes[..size_of::<Header>()].copy_from_slice(bytemuck::bytes_of(&Header::new(kind, 0)));
    let takes = |fds: &usize| packet::decode(&bytes, *fds).err() != Some(Malformed::Descriptors);
    let counts: Vec<usize> = (0..=protocol::MAX_FDS).filter(takes).collect();
    match counts[..] {
        [one] => one.to_string(),
        [first, .., last] if last - first + 1 == counts.len() => format!("{first}–{last}"),
        _ => panic!("{kind:?} takes {counts:?} descriptors"),
    }
}

#[test]
fn kinds() {
    let all = (0..=u16::MAX).filter_map(Kind::from_wire);
    let layout = |kind| match kind {
        Kind::Hello => "Hello",
        Kind::Offer => "Offer",
        Kind::Welcome => "Welcome",
        Kind::Prepare => "Prepare",
        Kind::StatusReply => "StatusReply",
        _ => "Notice",
    };
    let real =
        all.map(|kind| format!("{} {kind:?} {} {} {}", kind as u16, layout(kind), kind.size(), descriptors(kind)));
    let written = table(PROTOCOL, "Kinds");
    let written = written.iter().map(|row| [&row[0], &row[1], &row[3], &row[4], &row[5]].map(|s| &**s).join(" "));
    assert_same(PROTOCOL, written.collect(), real.collect());
}

/// Each field of a structure: offset, bytes, name.
macro_rules! fields {
    ($kind:ident { $($field:ident),+ $(,)? }) => {{
        fn bytes<Whole, Field>(_: impl Fn(&Whole) -> &Field) -> usize {
            size_of::<Field>()
        }
        // A pattern names all fields: none is missing below.
        let _: fn(&$kind) = |whole| {
            let $kind { $($field: _),+ } = whole;
        };
        vec![$(
            format!("{} {} {}", std::mem::offset_of!($kind, $field), bytes(|whole: &$kind| &whole.$field), stringify!($field))
        ),+]
    }};
}

#[test]
fn messages() {
    let real = [
        ("Header", fields!(Header { magic, version, kind, endpoint })),
        ("Hello", fields!(Hello { header, command, ring_kib, transport, reserved })),
        (
            "Offer",
            fields!(Offer { header, cookie, since_ns, local, remote, family, connector, reason, reserved, tx, rx }),
        ),
        ("Address", fields!(Address { ip, port, reserved })),
        ("Prefix", fields!(Prefix { bytes, digest })),
        ("Welcome", fields!(Welcome { header, boot })),
        ("Prepare", fields!(Prepare { header, pair, capacity, side, transport, reserved })),
        ("Notice", fields!(Notice { header, pair, reason, side, reserved })),
        ("StatusReply", fields!(StatusReply { header, length })),
        ("Mailbox", fields!(Mailbox { magic, version, mail })),
    ];
    for (name, fields) in real {
        assert_same(PROTOCOL, start_of_rows(PROTOCOL, name, 3), fields);
    }
}

#[test]
fn words_of_an_outbox() {
    let real = layout::WORDS.iter().map(|(name, offset, bytes)| format!("{offset} {bytes} {name}"));
    assert_same(PROTOCOL, start_of_rows(PROTOCOL, "Words of an outbox", 3), real.collect());
}

#[test]
fn numbers() {
    let transports = (0..=u8::MAX).filter_map(Transport::from_wire);
    let real = transports.map(|transport| format!("Transport {} {}", transport.name(), transport as u8));
    assert_same(PROTOCOL, start_of_rows(PROTOCOL, "Numbers used in messages", 3), real.collect());

    let ready = [Ready::NotYet, Ready::Ready, Ready::Never].map(|ready| match ready {
        // No arm for anything else: a new variant does not compile.
        Ready::NotYet | Ready::Ready | Ready::Never => format!("Ready {ready:?} {}", ready as u32),
    });
    let sleep = [Sleep::Data, Sleep::Space, Sleep::Poll].map(|sleep| match sleep {
        Sleep::Data | Sleep::Space | Sleep::Poll => format!("Sleep {sleep:?} {}", sleep as usize),
    });
    let written = start_of_rows(PROTOCOL, "Numbers used in outboxes", 3);
    assert_same(PROTOCOL, written, [&ready[..], &sleep[..]].concat());
}

/// Every Rust source under a folder, by its path from there; without its unit tests.
fn sources(folder: &str) -> BTreeMap<String, String> {
    fn walk(folder: &Path, base: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the workspace").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, base, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
                let name = path.strip_prefix(base).expect("a path under its base").to_string_lossy().into_owned();
                found.insert(name, code);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&root().join(folder), &root().join(folder), &mut found);
    found
}

/// Whether some source names a word, as a whole.
fn names(sources: &BTreeMap<String, String>, word: &str) -> bool {
    sources.values().any(|code| {
        code.match_indices(word).any(|(at, _)| {
            let next = code[at + word.len()..].chars().next();
            next.is_none_or(|next| !next.is_alphanumeric() && next != '_')
        })
    })
}

const COMPATIBILITY: &str = "docs/compatibility.md";

#[test]
fn reasons() {
    let (shim, broker) = (sources("shim/src"), sources("broker/src"));
    let said_by = |reason: Reason| {
        let word = format!("Reason::{reason:?}");
        match (names(&shim, &word), names(&broker, &word)) {
            (true, true) => "shim, broker",
            (true, false) => "shim",
            (false, true) => "broker",
            (false, false) => "nobody yet",
        }
    };
    let real = Reason::ALL.iter().map(|&reason| format!("{} {} {}", reason as u16, reason.name(), said_by(reason)));
    assert_same(COMPATIBILITY, start_of_rows(COMPATIBILITY, "Reasons", 3), real.collect());

    let advice = Reason::ALL.iter().filter(|&&reason| reason != Reason::None && said_by(reason) != "nobody yet");
    let advice = advice.map(|reason| reason.name().to_owned());
    assert_same("docs/operations.md", start_of_rows("docs/operations.md", "By reason", 1), advice.collect());
}

/// Every variable of the environment that a source names.
fn variables(sources: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for code in sources.values() {
        for (at, _) in code.match_indices("SLIPSTREAM_") {
            let end = code[at..].find(|c: char| !c.is_ascii_uppercase() && c != '_').map_or(code.len(), |end| at + end);
            found.insert(code[at..end].to_owned());
        }
    }
    found
}

#[test]
fn environment() {
    let mut real = variables(&sources("shim/src"));
    real.extend(variables(&sources("broker/src")));
    let mut written = start_of_rows("README.md", "Environment", 1);
    written.sort();
    assert_same("README.md", written, real.into_iter().collect());

    let rows = table("README.md", "Environment");
    let ring = rows.iter().find(|row| row[0] == "SLIPSTREAM_RING_KIB").expect("just compared").join(" ");
    for bytes in [RING.least, RING.usual, RING.most] {
        let kib = (bytes >> 10).to_string();
        let named = ring.split(|c: char| !c.is_ascii_digit()).any(|number| number == kib);
        assert!(named, "README.md: {kib} KiB is not in {ring:?}");
    }
}

/// The paths of all values within a JSON value; of `rx` none, since it is as `tx`.
fn paths(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) if !path.ends_with(".rx") => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                found.push(path.clone());
                paths(value, &path, found);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| paths(value, &format!("{path}[]"), found)),
        _ => {}
    }
}

#[test]
fn status() {
    let connection = Connection {
        id: 0,
        pid: 0,
        command: String::new(),
        local: String::new(),
        remote: String::new(),
        netns: 0,
        state: State::PreOpt,
        reason: None,
        transport: None,
        pair: None,
        tx: Direction { carrier: Carrier::Tcp, ..Direction::default() },
        rx: Direction::default(),
        age_s: 0.0,
    };
    let status = Status { connections: vec![connection], ..Status::default() };
    let mut real = Vec::new();
    paths(&serde_json::to_value(status).expect("JSON"), "", &mut real);
    let mut written = start_of_rows("docs/operations.md", "Status", 1);
    written.sort();
    real.sort();
    assert_same("docs/operations.md", written, real);
}

#[test]
fn map_of_the_code() {
    const PAGE: &str = "docs/architecture.md";
    for folder in ["ring/src", "shim/src", "broker/src", "broker/protocol/src"] {
        let text = read(PAGE);
        let start = format!("### {folder}");
        let heading = text.lines().find(|line| line.starts_with(&start) && !line[start.len()..].starts_with('/'));
        let heading = heading.unwrap_or_else(|| panic!("{PAGE} has no heading {start:?}"));
        let mut written = start_of_rows(PAGE, heading.trim_start_matches('#').trim(), 1);
        written.sort();
        assert_same(PAGE, written, sources(folder).into_keys().collect());
    }
}

/// The name of a heading in links to it, as the forge makes it.
fn anchor(heading: &str) -> String {
    let name = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    name.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}

#[test]
fn links() {
    let pages = ["README.md", "architecture.md", "protocol.md", "compatibility.md", "operations.md", "performance.md"];
    for page in pages.map(|page| if page == "README.md" { page.to_owned() } else { format!("docs/{page}") }) {
        let (text, folder) = (read(&page), root().join(&page).parent().expect("a folder").to_owned());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, name) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root().join(&page) } else { folder.join(path) };
            assert!(target.exists(), "{page} links to {link}, which is not there");
            if !name.is_empty() {
                let target = std::fs::read_to_string(target).expect("a page");
                let found = target.lines().any(|line| line.starts_with('#') && anchor(line) == name);
                assert!(found, "{page} links to {link}, a heading that is not there");
            }
        }
    }
}
