//! One process' connection to the broker.

use crate::evidence::{Namespace, Witness};
use crate::packet;
use crate::protocol::{Reason, Transport};
use crate::registry::{ClientId, EndpointId, PairId};
use crate::sys;
use crate::transport::Mail;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// What `Hello` said.
pub struct Greeting {
    /// The program's name, for people.
    pub command: Rc<str>,
    /// The transport that it asks for.
    pub transport: Transport,
    /// The ring that it asks for, in KiB; 0: no wish.
    pub ring_kib: u32,
    /// Its network namespace.
    pub namespace: Namespace,
    /// Its sock_diag socket; `None` in the broker's own namespace, where the broker's own serves.
    pub witness: Option<Witness>,
    /// Its mailbox.
    pub mail: Mail,
}

/// A packet with descriptors, which must be answered before the next one goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handout {
    /// The pair.
    pub pair: PairId,
    /// The client's side of it.
    pub side: u8,
    /// The endpoint, by the client's name.
    pub name: u64,
    /// Which packet.
    pub step: Step,
}

/// See [`Handout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `Prepare`, answered by `Mapped` or `Declined`.
    Prepare,
    /// `Attach`, answered by `Attached` or `Declined`.
    Attach,
}

/// A client.
pub struct Client {
    /// Its name here.
    pub id: ClientId,
    /// Its socket; `None` once it has closed it, or was hung up on.
    pub control: Option<OwnedFd>,
    /// Its process; `None` where the kernel has no such descriptors (before Linux 5.3): then its socket's end is taken
    /// for its own.
    pub process: Option<OwnedFd>,
    /// Its user, by the kernel's word.
    pub uid: u32,
    /// Its process id, by the kernel's word; 0 in a process namespace that the broker cannot see.
    pub pid: u32,
    /// What it said, once it did.
    pub greeting: Option<Greeting>,
    /// Its endpoints, by its own names.
    pub names: HashMap<u64, EndpointId>,
    /// Those of them that are off, oldest first.
    pub off: VecDeque<u64>,
    /// Packets without descriptors that did not fit yet.
    pub notices: VecDeque<Vec<u8>>,
    /// Packets with descriptors that wait for the answer to an earlier one.
    pub handouts: VecDeque<Handout>,
    /// The one that waits for its answer.
    pub unanswered: Option<Handout>,
    /// Whether the event loop watches for room in its socket.
    pub wants_room: bool,
    /// Whether it waits for its user's rate.
    pub paused: bool,
}

impl Client {
    /// A client that has just connected.
    ///
    /// # Errors
    ///
    /// Its process is gone already, or the kernel does not say who it is.
    pub fn new(id: ClientId, control: OwnedFd) -> Result<Self, Errno> {
        let (pid, uid) = sys::peer_credentials(&control).map_err(errno)?;
        let process = match sys::peer_pidfd(&control) {
            Ok(process) => Some(process),
            Err(_) => open_process(pid, &control)?,
        };
        Ok(Self {
            id,
            control: Some(control),
            process,
            uid,
            pid,
            greeting: None,
            names: HashMap::new(),
            off: VecDeque::new(),
            notices: VecDeque::new(),
            handouts: VecDeque::new(),
            unanswered: None,
            wants_room: false,
            paused: false,
        })
    }

    /// The name that it goes by.
    pub fn command(&self) -> Rc<str> {
        self.greeting.as_ref().map_or_else(|| Rc::from("?"), |greeting| greeting.command.clone())
    }

    /// Sends a packet now. `WOULDBLOCK` when there is no room for it.
    pub fn send(&self, bytes: &[u8], fds: &[std::os::fd::BorrowedFd<'_>]) -> Result<(), Errno> {
        let control = self.control.as_ref().ok_or(Errno::NOTCONN)?;
        packet::send(control, bytes, fds)?;
        if let Some(greeting) = &self.greeting {
            greeting.mail.raise();
        }
        Ok(())
    }

    /// Whether it has read everything that was sent to it.
    pub fn has_read_all(&self) -> bool {
        self.control.as_ref().is_none_or(is_read)
    }
}

/// The process behind a socket where SO_PEERPIDFD is missing (before Linux 6.5).
///
/// The number may have been given to another process since connect. A socket whose process has ended hangs up, so one
/// that has not done so after the process was opened was still its process' own then (or a forked child's, which then
/// counts as the client until it ends).
fn open_process(pid: u32, control: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let process = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut poll = [rustix::event::PollFd::new(control, rustix::event::PollFlags::RDHUP)];
    rustix::event::poll(&mut poll, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    if poll[0].revents().is_empty() { Ok(Some(process)) } else { Err(Errno::SRCH) }
}

/// Whether everything that was sent was read, or can be read no more.
pub fn is_read(socket: &OwnedFd) -> bool {
    sys::unsent(socket).is_ok_and(|bytes| bytes == 0)
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// The reason of a notice. Whoever gives none, or one that does not exist, has met something that only TCP can do.
pub fn reason_of(wire: u16) -> Reason {
    match Reason::from_wire(wire) {
        None | Some(Reason::None) => Reason::Call,
        Some(reason) => reason,
    }
}
