//! The ways a connection's bytes can travel.

use std::process::Command;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};
use serde::{Deserialize, Serialize};

/// What carries the bytes between the two programs of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// TCP over loopback with the kernel's default congestion control.
    Tcp,
    /// TCP over loopback with cubic: paced algorithms such as bbr make a poor baseline for streams.
    TcpCubic,
    /// A native Unix-domain stream socket.
    Uds,
    /// TCP under the shim, moved onto a Unix-domain socket pair.
    SlipstreamUds,
    /// TCP under the shim, moved onto the shared-memory rings.
    SlipstreamShm,
    /// TCP once more, measured at the end of every round: its distance from [`Carrier::Tcp`] is the noise.
    TcpAgain,
}

impl Carrier {
    /// Every carrier, in the order in which one round visits them.
    pub const ALL: [Carrier; 6] = [
        Carrier::Tcp,
        Carrier::TcpCubic,
        Carrier::Uds,
        Carrier::SlipstreamUds,
        Carrier::SlipstreamShm,
        Carrier::TcpAgain,
    ];

    /// The name used in reports and in the JSON of a run.
    pub fn name(self) -> &'static str {
        match self {
            Carrier::Tcp => "tcp",
            Carrier::TcpCubic => "tcp-cubic",
            Carrier::Uds => "uds",
            Carrier::SlipstreamUds => "slipstream-uds",
            Carrier::SlipstreamShm => "slipstream-shm",
            Carrier::TcpAgain => "tcp-again",
        }
    }

    /// The value of `SLIPSTREAM_TRANSPORT` when the programs run under the shim.
    pub fn transport(self) -> Option<&'static str> {
        match self {
            Carrier::SlipstreamUds => Some("uds"),
            Carrier::SlipstreamShm => Some("shm"),
            _ => None,
        }
    }

    /// What `slipstream status` calls the carrier of a direction that has moved, for programs under the shim.
    pub fn moved_name(self) -> Option<&'static str> {
        match self {
            Carrier::SlipstreamUds => Some("uds"),
            Carrier::SlipstreamShm => Some("ring"),
            _ => None,
        }
    }

    /// The congestion control that the programs ask for, if not the default.
    pub fn congestion(self) -> Option<&'static str> {
        (self == Carrier::TcpCubic).then_some("cubic")
    }

    /// Whether the programs use a Unix-domain socket by themselves.
    pub fn is_unix(self) -> bool {
        self == Carrier::Uds
    }

    /// Whether measuring it says something that [`Carrier::Tcp`] does not, and this user may.
    pub fn is_useful(self) -> bool {
        match self.congestion() {
            None => true,
            Some(name) => default_congestion().as_deref() != Some(name) && may_use_congestion(name),
        }
    }
}

/// The kernel's default congestion control, `bbr` for example.
pub fn default_congestion() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").ok()?;
    Some(name.trim().to_owned())
}

fn may_use_congestion(name: &str) -> bool {
    socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .is_ok_and(|fd| setsockopt(&fd, sockopt::TcpCongestion, &name.into()).is_ok())
}

/// Takes out of a child's environment what a user's own use of Slipstream may have put there.
pub fn scrub(command: &mut Command) {
    command.env_remove("LD_PRELOAD");
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("SLIPSTREAM_") {
            command.env_remove(key);
        }
    }
}
