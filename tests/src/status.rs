//! What `slipstream status --json` promises. Written here again, from the design: the tests hold the program to it.

use serde::Deserialize;
use std::collections::BTreeMap;

/// All of it, as far as the tests look.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// Slipstream's version.
    pub version: String,
    /// One entry per endpoint.
    pub connections: Vec<Connection>,
    /// Sums, with what has ended.
    pub totals: Totals,
}

/// One endpoint.
#[derive(Clone, Debug, Deserialize)]
pub struct Connection {
    /// A process that holds it.
    pub pid: u32,
    /// That process' name.
    pub command: String,
    /// Its own address and port.
    pub local: String,
    /// Its peer's.
    pub remote: String,
    /// `pre-opt`, `opt` or `no-opt`.
    pub state: String,
    /// Why it is `no-opt`.
    pub reason: Option<String>,
    /// `shm` or `uds`, when it is `opt`.
    pub transport: Option<String>,
    /// What it sends.
    pub tx: Direction,
    /// What it receives.
    pub rx: Direction,
}

/// One direction of an endpoint.
#[derive(Clone, Debug, Deserialize)]
pub struct Direction {
    /// `tcp`, `ring` or `uds`.
    pub carrier: String,
    /// Bytes outside TCP.
    pub moved_bytes: u64,
}

/// Sums over what is and what has ended.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Totals {
    /// Endpoints that were offered.
    pub connections: u64,
    /// Endpoints whose other end was found.
    pub matched: u64,
    /// Bytes sent outside TCP.
    pub moved_bytes: u64,
    /// Sleeps that a timer ended instead of a wake.
    pub late: u64,
    /// Packets that were no messages.
    pub invalid: u64,
    /// Endpoints by state; ended ones by their last.
    pub by_state: BTreeMap<String, u64>,
    /// Endpoints on TCP for good, by reason.
    pub by_reason: BTreeMap<String, u64>,
}

impl Totals {
    /// How many endpoints are, or ended, in this state.
    pub fn state(&self, name: &str) -> u64 {
        self.by_state.get(name).copied().unwrap_or(0)
    }

    /// How many endpoints stay on TCP for this reason.
    pub fn reason(&self, name: &str) -> u64 {
        self.by_reason.get(name).copied().unwrap_or(0)
    }
}

/// The port of `127.0.0.1:80` or `[::1]:80`.
fn port(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

impl Connection {
    /// Its own port.
    pub fn local_port(&self) -> Option<u16> {
        port(&self.local)
    }

    /// Its peer's port.
    pub fn remote_port(&self) -> Option<u16> {
        port(&self.remote)
    }

    /// Whether both directions are off TCP, over this transport.
    pub fn is_moved(&self, transport: &str) -> bool {
        let carrier = if transport == "shm" { "ring" } else { transport };
        self.state == "opt"
            && self.transport.as_deref() == Some(transport)
            && self.tx.carrier == carrier
            && self.rx.carrier == carrier
    }
}

impl Status {
    /// The endpoints on either side of a server's port.
    pub fn of_port(&self, port: u16) -> impl Iterator<Item = &Connection> {
        self.connections.iter().filter(move |c| c.local_port() == Some(port) || c.remote_port() == Some(port))
    }

    /// The two endpoints of one connection, by its ports.
    pub fn pair(&self, a: u16, b: u16) -> [Option<&Connection>; 2] {
        let find = |local, remote| {
            self.connections.iter().find(|c| c.local_port() == Some(local) && c.remote_port() == Some(remote))
        };
        [find(a, b), find(b, a)]
    }
}
