//! What the driver and a peer say to each other: one line of JSON each way per command.

use serde::{Deserialize, Serialize};

use crate::socket::Address;

/// What a peer is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Listen; answered by [`Report::Listening`].
    Listen(Address),
    /// Accept one connection; answered by [`Report::Connected`].
    Accept,
    /// Connect; answered by [`Report::Connected`].
    Connect {
        /// The server's address.
        address: Address,
        /// The congestion control, if not the default.
        congestion: Option<String>,
    },
    /// Send a message and wait for its echo, over and over; answered by [`Report::RoundTrips`].
    RoundTrips {
        /// Bytes of a message.
        size: usize,
        /// For how long.
        millis: u64,
    },
    /// The other side of [`Command::RoundTrips`]; answered by [`Report::Served`].
    Echo {
        /// Bytes of a message.
        size: usize,
    },
    /// Write without waiting, then wait for one byte that says that all has been read; answered by [`Report::Streamed`].
    Stream {
        /// Bytes of a write.
        size: usize,
        /// For how long.
        millis: u64,
    },
    /// The other side of [`Command::Stream`]; answered by [`Report::Served`].
    Sink,
    /// Connect, ask, hear the reply, close, over and over; answered by [`Report::Churned`].
    Churn {
        /// The server's address.
        address: Address,
        /// Bytes of the request and of the reply.
        size: usize,
        /// How many connections.
        count: u64,
    },
    /// The other side of [`Command::Churn`]; answered by [`Report::Served`].
    AcceptChurn {
        /// Bytes of the request and of the reply.
        size: usize,
        /// How many connections.
        count: u64,
    },
    /// Leave a thread asleep on the connection; answered by [`Report::Done`].
    Park(Park),
    /// How much CPU time has this process used? Answered by [`Report::Cpu`].
    Cpu,
    /// Close the connection; answered by [`Report::Done`].
    Close,
}

/// In which call a parked thread sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Park {
    /// A blocking read.
    Read,
    /// `epoll_wait` without a timeout.
    Epoll,
}

/// What a peer answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// Listening on this address.
    Listening(Address),
    /// Connected; both names as `slipstream status` writes them.
    Connected {
        /// This end.
        local: String,
        /// The other end.
        remote: String,
    },
    /// Measured round trips.
    RoundTrips(RoundTrips),
    /// Measured a stream.
    Streamed(Streamed),
    /// Measured short connections.
    Churned(Churned),
    /// Served the other side of a measurement.
    Served(Served),
    /// CPU time of this process since it started.
    Cpu {
        /// In nanoseconds.
        nanos: u64,
    },
    /// Nothing to tell.
    Done,
    /// The command failed.
    Failed(String),
}

/// Round trips as the client saw them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoundTrips {
    /// How many.
    pub ops: u64,
    /// From the first write to the last reply.
    pub elapsed_ns: u64,
    /// CPU time of the client meanwhile.
    pub cpu_ns: u64,
    /// Half were faster.
    pub p50_ns: u64,
    /// 90 % were faster.
    pub p90_ns: u64,
    /// 99 % were faster.
    pub p99_ns: u64,
    /// 99.9 % were faster.
    pub p999_ns: u64,
    /// The slowest.
    pub max_ns: u64,
}

/// A stream as its writer saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Streamed {
    /// Bytes written.
    pub bytes: u64,
    /// Writes made.
    pub writes: u64,
    /// From the first write to the reader's byte.
    pub elapsed_ns: u64,
    /// CPU time of the writer meanwhile.
    pub cpu_ns: u64,
}

/// Short connections as the client saw them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Churned {
    /// How many.
    pub connections: u64,
    /// From the first connect to the last close.
    pub elapsed_ns: u64,
    /// CPU time of the client meanwhile.
    pub cpu_ns: u64,
    /// Half were faster.
    pub p50_ns: u64,
    /// 99 % were faster.
    pub p99_ns: u64,
}

/// The server's side of a measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Served {
    /// Bytes read.
    pub bytes: u64,
    /// Calls of `read` that brought them.
    pub reads: u64,
    /// CPU time of the server meanwhile.
    pub cpu_ns: u64,
}
