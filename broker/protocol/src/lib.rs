//! The wire protocol between a shim and the broker.
//!
//! A client connects one `SOCK_SEQPACKET` Unix socket per process. Every message is one packet of one fixed size per
//! kind, little-endian, and starts with a [`Header`]; descriptors travel beside it as `SCM_RIGHTS`. Both ends treat
//! what they receive as untrusted: size, magic, version and kind are checked before any field is used, and reserved
//! fields are written zero and ignored.
//!
//! ```text
//! shim                                   broker
//!  | Hello (+ sock_diag socket)            |   once per process
//!  |-------------------------------------->|
//!  |                Welcome (+ mailbox fd) |
//!  |<--------------------------------------|
//!  | Offer                                 |   an endpoint has proved worth moving
//!  |-------------------------------------->|
//!  |     Prepare (+ own outbox, two bells) |   the broker found its peer
//!  |<--------------------------------------|
//!  | Mapped                                |   own outbox is mapped; the broker seals future writes
//!  |-------------------------------------->|
//!  |          Attach (+ peer's outbox, ro) |   both sides have mapped theirs
//!  |<--------------------------------------|
//!  | Attached | Declined                   |   the shim follows, or the endpoint stays on TCP
//!  |-------------------------------------->|
//!  | Withdraw                              |   the last descriptor is gone
//!  |-------------------------------------->|
//! ```
//!
//! Rules for a client, beyond the layouts:
//!
//! - It believes a broker only when `SO_PEERCRED` of its socket names root or its own effective user.
//! - `Prepare` and `Attach` are each answered once: the broker sends a client the next packet with descriptors only
//!   then. (An endpoint that was withdrawn meanwhile needs no answer once the packet has been read.)
//! - `Refused` may come at any stage, also after `Prepare` or `Attach`: the endpoint stays on TCP; nothing of it has
//!   moved then, because its peer has not, or will not, become ready.
//! - Every endpoint that was offered or adopted is withdrawn when its last descriptor in the process is closed, refused
//!   ones too.
//! - A forked child says `Hello` for itself, then `Adopt`s under names of its own what it holds of its parent's pairs.
//!
//! The broker never waits for a client, and a client never for the broker: a message that does not fit into the
//! socket's buffer is dropped by the shim (the endpoint stays on TCP) and costs a client its connection in the broker.

#![no_std]

use bytemuck::{Pod, Zeroable};
use core::sync::atomic::AtomicU32;

/// First word of every message: "SLIP".
pub const MAGIC: u32 = u32::from_le_bytes(*b"SLIP");
/// Version of this protocol and of the outbox layout together; a client of another version is refused by `Hello`.
pub const VERSION: u16 = 4;
/// The largest message of any kind, in bytes.
pub const MAX_MESSAGE: usize = 512;
/// The most descriptors that any message carries.
pub const MAX_FDS: usize = 4;

/// What a message is. The number is the wire value; it decides the message's size and its descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// Shim to broker: [`Hello`] + one `NETLINK_SOCK_DIAG` socket of the process' network namespace.
    Hello = 1,
    /// Shim to broker: [`Offer`].
    Offer = 2,
    /// Shim to broker: [`Notice`]; the own outbox is mapped.
    Mapped = 3,
    /// Shim to broker: [`Notice`]; both outboxes are mapped and the endpoint follows the pair's protocol.
    Attached = 4,
    /// Shim to broker: [`Notice`] with a reason; the endpoint stays on TCP for good.
    Declined = 5,
    /// Shim to broker: [`Notice`]; the endpoint has ended (its last descriptor was closed).
    Withdraw = 6,
    /// Shim to broker: [`Notice`]; this (forked) process now also holds the endpoint of `pair` and `side`, and calls it
    /// by the name in the header.
    Adopt = 7,
    /// Shim to broker: [`Notice`] with a reason; an attached endpoint has gone back to TCP for good.
    Retired = 8,
    /// Command line to broker: [`Notice`]; asks for the status. Needs no `Hello`.
    Status = 32,
    /// Command line to broker: [`Notice`]; asks whether a broker of this version is there. Needs no `Hello`; answered by
    /// a [`Welcome`] without a descriptor.
    Probe = 33,
    /// Broker to shim: [`Welcome`] + the mailbox memfd, read-only.
    Welcome = 64,
    /// Broker to shim: [`Prepare`] + own outbox (read-write memfd), own doorbell, peer's doorbell, and with
    /// [`Transport::Uds`] the own end of a socketpair.
    Prepare = 65,
    /// Broker to shim: [`Notice`] + the peer's outbox (read-only memfd).
    Attach = 66,
    /// Broker to shim: [`Notice`] with a reason; the offer or the half-made pair is off.
    Refused = 67,
    /// Broker to command line: [`StatusReply`] + a memfd that holds the JSON text.
    StatusReply = 96,
}

impl Kind {
    /// The kind of a wire value.
    pub fn from_wire(value: u16) -> Option<Self> {
        Some(match value {
            1 => Self::Hello,
            2 => Self::Offer,
            3 => Self::Mapped,
            4 => Self::Attached,
            5 => Self::Declined,
            6 => Self::Withdraw,
            7 => Self::Adopt,
            8 => Self::Retired,
            32 => Self::Status,
            33 => Self::Probe,
            64 => Self::Welcome,
            65 => Self::Prepare,
            66 => Self::Attach,
            67 => Self::Refused,
            96 => Self::StatusReply,
            _ => return None,
        })
    }

    /// The size of a message of this kind, in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::Hello => size_of::<Hello>(),
            Self::Offer => size_of::<Offer>(),
            Self::Welcome => size_of::<Welcome>(),
            Self::Prepare => size_of::<Prepare>(),
            Self::StatusReply => size_of::<StatusReply>(),
            Self::Mapped
            | Self::Attached
            | Self::Declined
            | Self::Withdraw
            | Self::Adopt
            | Self::Retired
            | Self::Status
            | Self::Probe
            | Self::Attach
            | Self::Refused => size_of::<Notice>(),
        }
    }
}

/// What carries a moved stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Transport {
    /// A ring in shared memory per direction (the default).
    Shm = 0,
    /// A Unix-domain socketpair, as in the paper.
    Uds = 1,
    /// Watch, never move.
    Tcp = 2,
}

impl Transport {
    /// The transport of a wire value.
    pub fn from_wire(value: u8) -> Option<Self> {
        [Self::Shm, Self::Uds, Self::Tcp].into_iter().find(|t| *t as u8 == value)
    }

    /// The name used in `SLIPSTREAM_TRANSPORT`, on the command line and in the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shm => "shm",
            Self::Uds => "uds",
            Self::Tcp => "tcp",
        }
    }

    /// The transport of a [name](Self::name).
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Shm, Self::Uds, Self::Tcp].into_iter().find(|t| t.name().as_bytes() == name)
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $variant:ident = $value:literal, $name:literal;)+) => {
        /// Why an endpoint is, or went back, on TCP. Every No-opt has one; the numbers are wire values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Reason { $($(#[$doc])+ $variant = $value,)+ }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name shown in the status and counted in its totals.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

reasons! {
    /// No reason: the endpoint is not No-opt.
    None = 0, "none";
    /// `SLIPSTREAM_TRANSPORT=tcp`: watch, never move.
    Disabled = 1, "disabled";
    /// More than one process may hold the endpoint (fork, SCM_RIGHTS, exec).
    Shared = 2, "shared";
    /// Came by SCM_RIGHTS, or was sent away.
    Passed = 3, "passed";
    /// Inherited over exec.
    Inherited = 4, "inherited";
    /// Bytes passed that the shim could not hash (splice, sendfile, MSG_TRUNC, concurrent callers).
    Unhashable = 5, "unhashable";
    /// The two sides' digests differ: they are not one connection.
    Mismatch = 6, "mismatch";
    /// The kernel does not know the socket as the offer describes it.
    Unproven = 7, "unproven";
    /// The socket's owner is not the client's user.
    Owner = 8, "owner";
    /// The peer is not on this host, or not under the shim. (Used for offers that a policy ends; a standing offer is Pre-opt.)
    NoPeer = 9, "no-peer";
    /// More than one candidate could be the peer.
    Ambiguous = 10, "ambiguous";
    /// The broker's policy forbids it.
    Policy = 11, "policy";
    /// A budget (per user, per client) is used up.
    Budget = 12, "budget";
    /// Not enough descriptors for the doorbells.
    Descriptors = 13, "descriptors";
    /// Not enough memory, or mapping was refused.
    Memory = 14, "memory";
    /// A needed system call is missing or forbidden.
    Kernel = 15, "kernel";
    /// The two sides ask for different transports.
    Transport = 16, "transport";
    /// Urgent data.
    Urgent = 17, "urgent";
    /// MSG_ZEROCOPY or SO_ZEROCOPY.
    Zerocopy = 18, "zerocopy";
    /// SO_TIMESTAMPING and its like.
    Timestamping = 19, "timestamping";
    /// A TCP option that changes what the stream is (ULP, REPAIR, MD5SIG).
    TcpOption = 20, "tcp-option";
    /// Multipath TCP.
    Mptcp = 21, "mptcp";
    /// Bound to a device.
    Device = 22, "device";
    /// Wrapped by libc's own stdio.
    Stdio = 23, "stdio";
    /// An io_uring in the process.
    IoUring = 24, "io-uring";
    /// exec keeps the descriptor.
    Exec = 25, "exec";
    /// SIGIO or F_SETOWN.
    AsyncSignal = 26, "async-signal";
    /// An ioctl that the shim does not know.
    Ioctl = 27, "ioctl";
    /// Registered with EPOLLEXCLUSIVE.
    EpollExclusive = 28, "epoll-exclusive";
    /// In an epoll set that the shim cannot manage (unseen, shared over fork, closed with a dup alive, nested too deep).
    EpollForeign = 29, "epoll-foreign";
    /// Bytes on TCP from a writer that the shim cannot see.
    Unseen = 30, "unseen";
    /// The peer's shared memory does not follow the protocol.
    Hostile = 31, "hostile";
    /// The peer went back to TCP for good.
    Peer = 32, "peer";
    /// A count of threads inside TCP calls never came back to zero (longjmp, cancel).
    Leaked = 33, "leaked";
    /// The peer, or its process, is gone.
    Gone = 34, "gone";
    /// One socket connected to itself.
    SelfConnected = 35, "self-connected";
    /// A seccomp filter may forbid what a move needs.
    Seccomp = 36, "seccomp";
    /// A call was used on the endpoint that only TCP can serve (splice, sendfile in the other direction, aio).
    Call = 37, "call";
}

impl Reason {
    /// The reason of a wire value.
    pub fn from_wire(value: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| *r as u16 == value)
    }
}

/// The start of every message.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`VERSION`].
    pub version: u16,
    /// A [`Kind`].
    pub kind: u16,
    /// The client's own name for the endpoint: unique within its connection to the broker, never reused. 0 where none is meant.
    pub endpoint: u64,
}

impl Header {
    /// A header of this version.
    pub fn new(kind: Kind, endpoint: u64) -> Self {
        Self { magic: MAGIC, version: VERSION, kind: kind as u16, endpoint }
    }
}

/// Opens a client's connection. A broker of another version answers by closing it.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Hello {
    /// Kind [`Kind::Hello`].
    pub header: Header,
    /// Program name, NUL-padded; for people only.
    pub command: [u8; 32],
    /// The wanted ring size per direction in KiB, 0 for the broker's default.
    pub ring_kib: u32,
    /// A [`Transport`].
    pub transport: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// Offsets at which a prefix digest is taken: 2^0 … 2^(GRID-1) bytes, so 4 KiB is the longest hashed prefix.
pub const GRID: usize = 13;

/// What one side saw of one direction of its stream.
#[derive(Clone, Copy, Debug, Pod, Zeroable, PartialEq, Eq)]
#[repr(C)]
pub struct Prefix {
    /// Bytes that passed so far.
    pub bytes: u64,
    /// `digest[k]` = XXH3-64 of the first 2^k bytes, valid while 2^k ≤ `bytes`.
    pub digest: [u64; GRID],
}

/// An address and a port. IPv4 is carried as v4-mapped IPv6 (`::ffff:a.b.c.d`), so that mixed-family sockets match.
#[derive(Clone, Copy, Debug, Pod, Zeroable, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct Address {
    /// Network byte order.
    pub ip: [u8; 16],
    /// Host byte order.
    pub port: u16,
    /// Zero.
    pub reserved: u16,
}

/// Offers an endpoint for matching. It stands until matched, withdrawn, or its process ends.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Offer {
    /// Kind [`Kind::Offer`].
    pub header: Header,
    /// The kernel's SO_COOKIE of the socket.
    pub cookie: u64,
    /// CLOCK_MONOTONIC nanoseconds at which connect or accept returned (0: not seen).
    pub since_ns: u64,
    /// The socket's own address.
    pub local: Address,
    /// The socket's peer address.
    pub remote: Address,
    /// The socket's family as the kernel's sock_diag wants it: AF_INET (2) or AF_INET6 (10).
    pub family: u8,
    /// 1 when this side called connect, 0 when it accepted.
    pub connector: u8,
    /// A [`Reason`]: the endpoint stays on TCP for it, and is only to be shown; else [`Reason::None`].
    pub reason: u16,
    /// Zero.
    pub reserved: [u8; 4],
    /// What the endpoint sent.
    pub tx: Prefix,
    /// What the endpoint received.
    pub rx: Prefix,
}

/// Answers `Hello`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Welcome {
    /// Kind [`Kind::Welcome`].
    pub header: Header,
    /// Names this run of the broker.
    pub boot: u64,
}

/// A peer was found; the client maps its outbox and answers `Mapped` (or `Declined`).
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Prepare {
    /// Kind [`Kind::Prepare`].
    pub header: Header,
    /// Names the pair; unique within this run of the broker.
    pub pair: u64,
    /// Bytes of one ring: a power of two.
    pub capacity: u32,
    /// 0 or 1: which side of the pair this endpoint is.
    pub side: u8,
    /// A [`Transport`]: shm or uds.
    pub transport: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// A message that says only what it is about.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Notice {
    /// Its kind tells what is noticed.
    pub header: Header,
    /// The pair, where there is one, else 0.
    pub pair: u64,
    /// A [`Reason`], [`Reason::None`] where none is meant.
    pub reason: u16,
    /// The side within the pair (with `Adopt`).
    pub side: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

/// The status, as JSON text in the memfd that comes with it.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct StatusReply {
    /// Kind [`Kind::StatusReply`].
    pub header: Header,
    /// Length of the text in bytes.
    pub length: u64,
}

/// The page that the broker shares read-only with one client. It lets a shim see mail without a system call.
#[repr(C)]
pub struct Mailbox {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`VERSION`], widened.
    pub version: u32,
    /// Raised by one after each packet sent to the client; the client reads its socket when it differs from what it last saw.
    pub mail: AtomicU32,
}

/// The bytes of the mailbox memfd.
pub const MAILBOX_SIZE: usize = 4096;

const _: () = {
    assert!(size_of::<Header>() == 16);
    assert!(size_of::<Hello>() == 56);
    assert!(size_of::<Prefix>() == 8 + 8 * GRID);
    assert!(size_of::<Offer>() == 16 + 16 + 40 + 8 + 2 * size_of::<Prefix>());
    assert!(size_of::<Offer>() <= MAX_MESSAGE);
    assert!(size_of::<Welcome>() == 24);
    assert!(size_of::<Prepare>() == 32);
    assert!(size_of::<Notice>() == 32);
    assert!(size_of::<StatusReply>() == 24);
};
