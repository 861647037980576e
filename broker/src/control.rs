//! The command line's side of the broker's socket.

use crate::packet::{self, Malformed, Message, ReceiveError};
use crate::protocol::{Header, Kind, Notice, Reason, VERSION};
use crate::server;
use crate::status::Status;
use crate::sys;
use bytemuck::bytes_of;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the broker does not answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens there.
    #[error("no broker answers on {0}")]
    Absent(PathBuf),
    /// It does not speak this version.
    #[error("the broker on {0} is of another version than this command ({VERSION})")]
    Version(PathBuf),
    /// It is neither root's nor this user's.
    #[error("the broker on {0} belongs to user {1}, who is not to be trusted")]
    Stranger(PathBuf, u32),
    /// It took too long.
    #[error("the broker on {0} does not answer in time")]
    Slow(PathBuf),
    /// What it said makes no sense.
    #[error("the broker on {0} talks nonsense")]
    Nonsense(PathBuf),
    /// The system says so.
    #[error("cannot reach a broker on {0}: {1}")]
    System(PathBuf, io::Error),
}

/// A connection to the broker.
#[derive(Debug)]
pub struct Control {
    socket: OwnedFd,
    path: PathBuf,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often, and how long apart, a broker is asked again that closed the connection instead of answering: one of
/// another version does so each time, one that is ending is gone soon.
const AGAIN: (u32, Duration) = (5, Duration::from_millis(20));

impl Control {
    /// Connects and makes sure that a broker of this version, run by root or by this user, is there.
    pub fn connect(path: &Path) -> Result<Self, ControlError> {
        for _ in 0..AGAIN.0 {
            match Self::try_connect(path) {
                Err(ControlError::Version(_)) => std::thread::sleep(AGAIN.1),
                other => return other,
            }
        }
        Self::try_connect(path)
    }

    fn try_connect(path: &Path) -> Result<Self, ControlError> {
        let system = |error: Errno| ControlError::System(path.to_owned(), error.into());
        let address =
            server::address(path).map_err(|error| ControlError::System(path.to_owned(), io::Error::other(error)))?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(system)?;
        for way in [rustix::net::sockopt::Timeout::Recv, rustix::net::sockopt::Timeout::Send] {
            rustix::net::sockopt::set_socket_timeout(&socket, way, Some(PATIENCE)).map_err(system)?;
        }
        match rustix::net::connect(&socket, &address) {
            Err(Errno::NOENT | Errno::CONNREFUSED) => return Err(ControlError::Absent(path.to_owned())),
            Err(Errno::AGAIN) => return Err(ControlError::Slow(path.to_owned())),
            other => other.map_err(system)?,
        }
        let (_, uid) = sys::peer_credentials(&socket).map_err(|error| ControlError::System(path.to_owned(), error))?;
        if uid != 0 && uid != rustix::process::geteuid().as_raw() {
            return Err(ControlError::Stranger(path.to_owned(), uid));
        }
        let control = Self { socket, path: path.to_owned() };
        match control.ask(Kind::Probe)? {
            packet::Packet { message: Message::Welcome(_), .. } => Ok(control),
            _ => Err(ControlError::Nonsense(path.to_owned())),
        }
    }

    fn ask(&self, kind: Kind) -> Result<packet::Packet, ControlError> {
        let question =
            Notice { header: Header::new(kind, 0), pair: 0, reason: Reason::None as u16, side: 0, reserved: [0; 5] };
        let failed = |error| match error {
            // A broker of another version closes the connection.
            Errno::PIPE | Errno::CONNRESET => ControlError::Version(self.path.clone()),
            Errno::AGAIN => ControlError::Slow(self.path.clone()),
            error => ControlError::System(self.path.clone(), error.into()),
        };
        packet::send(&self.socket, bytes_of(&question), &[]).map_err(failed)?;
        packet::receive(&self.socket, RecvFlags::empty()).map_err(|error| match error {
            ReceiveError::Closed | ReceiveError::Malformed(Malformed::Version(_)) => {
                ControlError::Version(self.path.clone())
            }
            ReceiveError::Malformed(_) => ControlError::Nonsense(self.path.clone()),
            ReceiveError::System(error) => failed(error),
        })
    }

    /// The status as JSON text.
    pub fn status_text(&self) -> Result<String, ControlError> {
        let nonsense = || ControlError::Nonsense(self.path.clone());
        let packet = self.ask(Kind::Status)?;
        let (Message::StatusReply(reply), Some(file)) = (packet.message, packet.fds.first()) else {
            return Err(nonsense());
        };
        let mut text = vec![0; usize::try_from(reply.length).map_err(|_| nonsense())?];
        let mut done = 0;
        while done < text.len() {
            match rustix::io::pread(file, &mut text[done..], done as u64) {
                Ok(0) => return Err(nonsense()),
                Ok(count) => done += count,
                Err(error) => return Err(ControlError::System(self.path.clone(), error.into())),
            }
        }
        String::from_utf8(text).map_err(|_| nonsense())
    }

    /// The status.
    pub fn status(&self) -> Result<Status, ControlError> {
        serde_json::from_str(&self.status_text()?).map_err(|_| ControlError::Nonsense(self.path.clone()))
    }
}
