//! What `slipstream status --json` prints. Fields are only ever added.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Slipstream's version.
    pub version: String,
    /// Names this run of the broker.
    pub boot: u64,
    /// The broker's process id.
    pub pid: u32,
    /// Seconds since the broker started.
    pub uptime_s: f64,
    /// Processes with the shim that are, or were, connected and still hold an endpoint.
    pub clients: u64,
    /// One entry per endpoint that is in the books, in the order in which they were offered.
    pub connections: Vec<Connection>,
    /// Sums, with what has ended.
    pub totals: Totals,
}

/// One endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connection {
    /// Unique within this run of the broker.
    pub id: u64,
    /// A process that holds it.
    pub pid: u32,
    /// That process' name, as it says.
    pub command: String,
    /// Its own address, `127.0.0.1:6379` or `[::1]:80`.
    pub local: String,
    /// Its peer's address.
    pub remote: String,
    /// The cookie of its network namespace.
    pub netns: u64,
    /// Where it is.
    pub state: State,
    /// Why it is [`State::NoOpt`]: a [`Reason`](crate::protocol::Reason)'s name.
    pub reason: Option<String>,
    /// Which transport carries it when it is [`State::Opt`]: `shm` or `uds`.
    pub transport: Option<String>,
    /// The pair that it is part of.
    pub pair: Option<u64>,
    /// What it sends.
    pub tx: Direction,
    /// What it receives.
    pub rx: Direction,
    /// Seconds since connect or accept, or since its offer where that is not known.
    pub age_s: f64,
}

/// The paper's states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not moved yet.
    PreOpt,
    /// Moved: at least one direction is, or at its end was, off TCP.
    Opt,
    /// Stays on TCP, for a reason.
    NoOpt,
}

impl State {
    /// As it is written in the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreOpt => "pre-opt",
            Self::Opt => "opt",
            Self::NoOpt => "no-opt",
        }
    }
}

/// One direction of an endpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Direction {
    /// What carries it now: `tcp`, `ring` or `uds`.
    pub carrier: Carrier,
    /// Bytes that TCP carried, as the kernel counts them; the SYN and the FIN may count as one byte each. 0 when the
    /// kernel does not know the socket any more, or when there were too many to ask about.
    pub tcp_bytes: u64,
    /// Bytes that moved outside TCP.
    pub moved_bytes: u64,
    /// How often the endpoint slept: for space when sending, for data when receiving.
    pub sleeps: u64,
    /// How often it woke its peer.
    pub wakes: u64,
    /// How many of its sleeps no wake ended, but a timer that found what they were for.
    pub late: u64,
}

/// What carries a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// The kernel's TCP.
    #[default]
    Tcp,
    /// A ring in shared memory.
    Ring,
    /// A Unix-domain socketpair.
    Uds,
}

impl Carrier {
    /// As it is written in the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ring => "ring",
            Self::Uds => "uds",
        }
    }
}

/// Sums over what is and what has ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Endpoints that were offered.
    pub connections: u64,
    /// Endpoints whose other end was found.
    pub matched: u64,
    /// Endpoints that were refused, or left for good.
    pub refused: u64,
    /// Bytes that were sent outside TCP.
    pub moved_bytes: u64,
    /// Sleeps that no wake ended, but a timer that found what they were for.
    pub late: u64,
    /// Messages that clients sent.
    pub messages: u64,
    /// Packets that were no messages, or were not this client's to send.
    pub invalid: u64,
    /// Clients of another version.
    pub other_version: u64,
    /// Connections of users that had too many.
    pub turned_away: u64,
    /// How often a client had to wait because its user sent too many messages.
    pub throttled: u64,
    /// Endpoints by [`State::name`]; ended ones by their last state.
    pub by_state: BTreeMap<String, u64>,
    /// Endpoints on TCP for good, by their reason.
    pub by_reason: BTreeMap<String, u64>,
}
