//! Each message to its handler.

use super::client::{Client, Greeting};
use super::{SWEEP, Server, Token, Unread};
use crate::evidence::{NotWitness, Witness};
use crate::packet::{self, Malformed, Message, Packet, ReceiveError};
use crate::protocol::{Header, Hello, Kind, Notice, Reason, Transport, Welcome};
use crate::registry::ClientId;
use crate::sys;
use crate::transport::Mail;
use bytemuck::bytes_of;
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;
use tracing::{debug, warn};

/// More packets than a socket's default buffer holds, however small.
const QUEUE: usize = 1024;

/// Why a client is hung up on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Receive(#[from] ReceiveError),
    #[error("{0}")]
    Send(#[from] Errno),
    #[error("{0}")]
    Violation(&'static str),
}

impl Server {
    /// A client's socket has something, or has room again.
    pub(super) fn serve(&mut self, id: ClientId, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.flush(id);
        }
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return;
        }
        // So many and no more, so that a busy client does not keep the others waiting.
        for _ in 0..self.limits.turn {
            let Some(client) = self.clients.get(&id) else { return };
            let Some(control) = &client.control else { return };
            let now = Instant::now();
            if let Err(wait) = self.books.user(client.uid).bucket.take(1, now) {
                self.books.totals.throttled += 1;
                self.paused.insert((now + wait, id));
                if let Some(client) = self.clients.get_mut(&id) {
                    client.paused = true;
                }
                self.rewatch(id);
                return;
            }
            let result = match packet::receive(control, RecvFlags::DONTWAIT) {
                Err(ReceiveError::System(Errno::WOULDBLOCK)) => return,
                Ok(packet) => self.handle(id, packet),
                Err(error) => Err(error.into()),
            };
            if let Err(fault) = result {
                self.count_fault(id, &fault);
                self.hang_up(id);
                return;
            }
        }
    }

    fn count_fault(&mut self, id: ClientId, fault: &Fault) {
        debug!(client = id.0, %fault, "hanging up");
        match fault {
            Fault::Receive(ReceiveError::Malformed(Malformed::Version(_))) => self.books.totals.other_version += 1,
            Fault::Receive(ReceiveError::Malformed(_)) | Fault::Violation(_) => {
                self.books.totals.invalid += 1;
                if self.is_loud() {
                    let pid = self.clients.get(&id).map(|client| client.pid);
                    warn!(client = id.0, pid, %fault, "a client breaks the protocol");
                }
            }
            Fault::Receive(_) | Fault::Send(_) => {}
        }
    }

    fn handle(&mut self, id: ClientId, packet: Packet) -> Result<(), Fault> {
        self.books.totals.messages += 1;
        self.settle(id);
        if !self.clients.contains_key(&id) {
            // The last words of a process that has ended, and has just been forgotten.
            return Ok(());
        }
        let mut fds = packet.fds.into_iter();
        match packet.message {
            Message::Notice(Kind::Probe, _) => self.welcome_probe(id),
            Message::Notice(Kind::Status, _) => self.report(id),
            Message::Hello(hello) => match fds.next() {
                Some(socket) => self.hello(id, &hello, socket),
                None => Err(Fault::Violation("Hello without a socket")),
            },
            _ if self.clients.get(&id).is_none_or(|client| client.greeting.is_none()) => {
                Err(Fault::Violation("a message before Hello"))
            }
            Message::Offer(offer) => self.offer(id, &offer),
            Message::Notice(kind, notice) => self.notice(id, kind, &notice),
            Message::Welcome(_) | Message::Prepare(_) | Message::StatusReply(_) => {
                Err(Fault::Violation("a message that only a broker sends"))
            }
        }
    }

    fn notice(&mut self, id: ClientId, kind: Kind, notice: &Notice) -> Result<(), Fault> {
        match kind {
            Kind::Mapped => self.mapped(id, notice),
            Kind::Attached => self.attached(id, notice),
            Kind::Declined => self.declined(id, notice),
            Kind::Withdraw => self.withdraw(id, notice),
            Kind::Adopt => self.adopt(id, notice)?,
            Kind::Retired => self.retired(id, notice),
            _ => return Err(Fault::Violation("a message that only a broker sends")),
        }
        Ok(())
    }

    fn welcome(&self) -> Welcome {
        Welcome { header: Header::new(Kind::Welcome, 0), boot: self.boot }
    }

    fn welcome_probe(&mut self, id: ClientId) -> Result<(), Fault> {
        let welcome = self.welcome();
        let Some(client) = self.clients.get(&id) else { return Ok(()) };
        Ok(client.send(bytes_of(&welcome), &[])?)
    }

    fn hello(&mut self, id: ClientId, hello: &Hello, socket: OwnedFd) -> Result<(), Fault> {
        let welcome = self.welcome();
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        if client.greeting.is_some() {
            return Err(Fault::Violation("a second Hello"));
        }
        let transport = Transport::from_wire(hello.transport).ok_or(Fault::Violation("an unknown transport"))?;
        let witness = match Witness::new(socket) {
            Ok(witness) => witness,
            Err(NotWitness::Kind) => return Err(Fault::Violation("a descriptor that is no sock_diag socket")),
            Err(NotWitness::Nameless(_)) => return refuse_hello(client, Reason::Kernel),
        };
        let (mail, page) = match Mail::new() {
            Ok(made) => made,
            Err(reason) => return refuse_hello(client, reason),
        };
        let namespace = witness.namespace();
        let ours = self.witness.as_ref().is_some_and(|own| own.namespace() == namespace);
        client.greeting = Some(Greeting {
            command: command(&hello.command),
            transport,
            ring_kib: hello.ring_kib,
            namespace,
            witness: (!ours).then_some(witness),
            mail,
        });
        if let Some(control) = &client.control {
            sys::refuse_descriptors(control);
        }
        Ok(client.send(bytes_of(&welcome), &[page.as_fd()])?)
    }

    /// Closes a client's socket; what it has attached lives on with its process.
    pub(super) fn hang_up(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let uid = client.uid;
        if let Some(control) = client.control.take() {
            let _ = epoll::delete(&self.epoll, &control);
            let _ = rustix::net::shutdown(&control, Shutdown::Both);
            // Nothing more can come. What is there may hold descriptors, which `receive` makes safe to close; an empty
            // packet looks like the end, so all that may be there is asked for (about 100 µs).
            for _ in 0..QUEUE {
                let _ = packet::receive(&control, RecvFlags::DONTWAIT);
            }
            if !super::client::is_read(&control) {
                self.books.user(uid).clients += 1;
                self.unread.push(Unread { control, uid });
                self.sweep_at.get_or_insert_with(|| Instant::now() + SWEEP);
            }
        }
        client.notices.clear();
        client.handouts.clear();
        self.connection_ended(id);
    }

    /// The event for a process' descriptor: it has ended.
    pub(super) fn process_ended(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        debug!(client = id.0, client.pid, token = ?Token::Process(id), "process ended");
        // What it had sent before its end is handled first: a withdrawal must not be taken for a death.
        self.drain(id);
        let Some(client) = self.clients.get_mut(&id) else { return };
        if let Some(process) = client.process.take() {
            let _ = epoll::delete(&self.epoll, &process);
        }
        self.hang_up(id);
    }

    /// Handles what a dead client left in its socket, within reason.
    fn drain(&mut self, id: ClientId) {
        for _ in 0..self.limits.notices_per_client {
            let Some(control) = self.clients.get(&id).and_then(|client| client.control.as_ref()) else { return };
            let Ok(packet) = packet::receive(control, RecvFlags::DONTWAIT) else { return };
            // Only what ends things matters now; offers of the dead do not.
            if let Message::Notice(Kind::Withdraw, notice) = packet.message {
                self.withdraw(id, &notice);
            }
        }
    }
}

/// Says why, then hangs up.
fn refuse_hello(client: &Client, reason: Reason) -> Result<(), Fault> {
    let notice =
        Notice { header: Header::new(Kind::Refused, 0), pair: 0, reason: reason as u16, side: 0, reserved: [0; 5] };
    client.send(bytes_of(&notice), &[])?;
    Err(Fault::Violation("a client that cannot be served here"))
}

/// A program's name as it may be shown: printable, no control characters.
fn command(raw: &[u8]) -> Rc<str> {
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    String::from_utf8_lossy(&raw[..end])
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_harmless() {
        assert_eq!(&*command(b"redis-server\0\0garbage"), "redis-server");
        assert_eq!(&*command(b"a\x1b[31mb\n"), "a?[31mb?");
        assert_eq!(&*command(&[0xff; 4]), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(&*command(&[]), "");
    }
}
