//! What the kernel says of a socket, through sock_diag.
//!
//! A [`Witness`] is a `NETLINK_SOCK_DIAG` socket of one network namespace. The broker opens one of its own namespace;
//! for any other namespace it uses the ones that its clients handed over. Such a socket is still in its client's hands:
//! the client can read the answers away, ask questions of its own through it, or filter what arrives. So
//!
//! - nothing blocks: a question is answered within the call that sends it, and no answer is an answer ([`NoWitness`]);
//! - only what comes from port 0 (the kernel) with the random sequence of this very question is read; a client that
//!   manages to slip in an answer of its own question under that sequence would still only repeat what the kernel said
//!   of a socket with these addresses;
//! - **a client's claim is checked through its counterpart's witness**, never only through its own (see `server::offers`).
//!   Who tampers with a witness deceives no one but itself.

use crate::diag::{Answer, Question, SocketFacts};
use crate::sys;
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::rand::GetRandomFlags;
use std::os::fd::OwnedFd;

/// How many datagrams are read in search of one answer. What else lies in the queue is somebody's litter.
const SEARCH: usize = 16;

/// A network namespace, by its `SO_NETNS_COOKIE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(pub u64);

/// A sock_diag socket and the namespace that it speaks for.
#[derive(Debug)]
pub struct Witness {
    socket: OwnedFd,
    namespace: Namespace,
}

/// Why a descriptor is not a witness.
#[derive(Debug, thiserror::Error)]
pub enum NotWitness {
    /// It is something else than a `NETLINK_SOCK_DIAG` socket.
    #[error("not a sock_diag socket")]
    Kind,
    /// The kernel cannot name its namespace (before Linux 5.14).
    #[error("the kernel does not name network namespaces: {0}")]
    Nameless(std::io::Error),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWitness {
    /// The question could not be sent.
    #[error("sock_diag does not take questions: {0}")]
    Deaf(Errno),
    /// No answer came, or none that answers the question.
    #[error("sock_diag does not answer")]
    Mute,
    /// The kernel refused the question (an errno).
    #[error("sock_diag refuses: {0}")]
    Refused(Errno),
}

impl Witness {
    /// A witness of this process' own namespace.
    ///
    /// # Errors
    ///
    /// The socket cannot be made, or [`NotWitness::Nameless`].
    pub fn own() -> std::io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?;
        Self::new(socket).map_err(std::io::Error::other)
    }

    /// Takes a descriptor that a client sent, if it is what it should be.
    pub fn new(socket: OwnedFd) -> Result<Self, NotWitness> {
        // The family first: the number of NETLINK_SOCK_DIAG (4) means something else under another one.
        let domain = rustix::net::sockopt::socket_domain(&socket);
        let protocol = rustix::net::sockopt::socket_protocol(&socket);
        if domain != Ok(AddressFamily::NETLINK) || protocol != Ok(Some(netlink::SOCK_DIAG)) {
            return Err(NotWitness::Kind);
        }
        let namespace = sys::netns_cookie(&socket).map(Namespace).map_err(NotWitness::Nameless)?;
        Ok(Self { socket, namespace })
    }

    /// Which namespace it speaks for.
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// Asks the kernel about one socket; `None` when there is no such socket.
    ///
    /// Two or three system calls, about 3 µs, never waits.
    pub fn ask(&self, question: &Question, dice: &mut Dice) -> Result<Option<SocketFacts>, NoWitness> {
        let sequence = dice.roll();
        let kernel = SocketAddrNetlink::new(0, 0);
        // Sent to the kernel by address: the client may have connected the socket to someone else.
        match rustix::net::sendto(&self.socket, &question.encode(sequence), SendFlags::DONTWAIT, &kernel) {
            Ok(_) => {}
            Err(error) => return Err(NoWitness::Deaf(error)),
        }
        let mut datagram = [0; 4096];
        for _ in 0..SEARCH {
            let (length, from) = match rustix::net::recvfrom(&self.socket, &mut datagram, RecvFlags::DONTWAIT) {
                Ok((length, _, from)) => (length, from),
                // An overrun is reported once and what is queued stays readable.
                Err(Errno::INTR | Errno::NOBUFS) => continue,
                Err(_) => return Err(NoWitness::Mute),
            };
            let port = from.and_then(|address| SocketAddrNetlink::try_from(address).ok()).map(|address| address.pid());
            if port != Some(0) {
                continue;
            }
            match question.decode(sequence, &datagram[..length]) {
                Answer::Found(facts) => return Ok(Some(facts)),
                Answer::Absent => return Ok(None),
                Answer::Failed(code) => return Err(NoWitness::Refused(Errno::from_raw_os_error(code))),
                Answer::Foreign => {}
            }
        }
        Err(NoWitness::Mute)
    }
}

/// Random numbers that no client can guess, a buffer at a time.
#[derive(Default)]
pub struct Dice {
    pool: Vec<u32>,
}

impl Dice {
    /// A number other than 0 (the sequence of the kernel's own broadcasts).
    pub fn roll(&mut self) -> u32 {
        loop {
            if let Some(number) = self.pool.pop() {
                if number != 0 {
                    return number;
                }
                continue;
            }
            let mut bytes = [0u8; 256];
            // The kernel's generator fails only before it was ever seeded, in early boot: wait for it then.
            while rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty()) != Ok(bytes.len()) {}
            self.pool.extend(bytes.as_chunks().0.iter().copied().map(u32::from_ne_bytes));
        }
    }
}
