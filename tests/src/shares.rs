//! How much of what the programs of a lab sent each other moved, for the table in docs/compatibility.md.
//!
//! What moved is the broker's to say. What did not is the kernel's, which counts by network namespace: so each lab gets
//! one of its own, where only its programs talk.

use crate::status::Totals;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What came of one lab.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Share {
    /// The test that made it.
    pub test: String,
    /// Endpoints that the broker heard of.
    pub endpoints: u64,
    /// Those that moved.
    pub moved: u64,
    /// Bytes that moved.
    pub moved_bytes: u64,
    /// Bytes that TCP carried, in connections of any kind.
    pub tcp_bytes: u64,
}

impl Share {
    /// Those that a run has left in a file, one in a line.
    ///
    /// # Panics
    ///
    /// When there is no such file, or something else is in it.
    pub fn read(path: &Path) -> Vec<Self> {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.lines().map(|line| serde_json::from_str(line).expect("a share")).collect()
    }
}

/// The file that shares are to be added to, if they are.
pub(crate) fn file() -> Option<PathBuf> {
    std::env::var_os("SLIPSTREAM_TEST_SHARES").map(PathBuf::from)
}

/// Puts this thread, and what it starts, into a network namespace of its own, where there is loopback and nothing else.
///
/// # Panics
///
/// When the test may not do that: root may.
pub(crate) fn alone() {
    let failed = |what: &str| panic!("{what}: {} (SLIPSTREAM_TEST_SHARES needs root)", std::io::Error::last_os_error());
    // SAFETY: plain system calls; the request is whole, and ends with zeros.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNET) != 0 {
            failed("no network namespace");
        }
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l', b'o'].map(|byte| byte as libc::c_char));
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        if libc::ioctl(socket, libc::SIOCSIFFLAGS, &request) != 0 {
            failed("no loopback");
        }
        libc::close(socket);
    }
}

/// The counters of this thread's namespace, `Tcp:InSegs` and the like, and those of IPv6.
fn counters() -> BTreeMap<String, u64> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let mut found = BTreeMap::new();
    for table in [read("snmp"), read("netstat")] {
        let lines: Vec<_> = table.lines().collect();
        for pair in lines.chunks_exact(2) {
            let mut columns = pair[0].split_whitespace().zip(pair[1].split_whitespace());
            let head = columns.next().map_or("", |(head, _)| head);
            found.extend(columns.filter_map(|(name, value)| Some((format!("{head}{name}"), value.parse().ok()?))));
        }
    }
    for line in read("snmp6").lines() {
        if let Some((name, value)) = line.split_once(char::is_whitespace) {
            found.extend(value.trim().parse().ok().map(|value| (name.to_owned(), value)));
        }
    }
    found
}

/// The bytes that TCP carried in this thread's namespace.
fn tcp_bytes() -> u64 {
    /// TCP's header with its time stamps, and IP's.
    const HEADERS: [u64; 2] = [32 + 20, 32 + 40];
    let counters = counters();
    let of = |name: &str| counters.get(name).copied().unwrap_or(0);
    let old = of("IpExt:InOctets").saturating_sub(HEADERS[0] * of("Ip:InReceives"));
    old + of("Ip6InOctets").saturating_sub(HEADERS[1] * of("Ip6InReceives"))
}

/// Adds what came of a lab.
///
/// # Panics
///
/// When the file cannot be written.
pub(crate) fn add(path: &Path, totals: &Totals) {
    let share = Share {
        test: std::thread::current().name().unwrap_or("").to_owned(),
        endpoints: totals.connections,
        moved: totals.state("opt"),
        moved_bytes: totals.moved_bytes,
        tcp_bytes: tcp_bytes(),
    };
    let line = serde_json::to_string(&share).expect("JSON") + "\n";
    let file = std::fs::File::options().create(true).append(true).open(path);
    let added = file.and_then(|mut file| file.write_all(line.as_bytes()));
    added.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
