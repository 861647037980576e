//! What is sent to clients: notices as there is room, descriptors one packet at a time.
//!
//! Descriptors on their way count against the broker's own user in the kernel. So each client has at most one packet
//! with descriptors that it has not answered, and each user so many: a deaf client holds up nobody but itself.

use super::Server;
use super::client::{Handout, Step, reason_of};
use crate::protocol::{Header, Kind, Notice, Prepare, Reason};
use crate::registry::{ClientId, EndpointId, PairId, Progress};
use crate::transport::{self, Half};
use bytemuck::bytes_of;
use rustix::io::Errno;
use std::os::fd::AsFd;
use tracing::debug;

/// A notice to a client.
fn notice(kind: Kind, name: u64, pair: u64, reason: Reason, side: u8) -> Notice {
    Notice { header: Header::new(kind, name), pair, reason: reason as u16, side, reserved: [0; 5] }
}

impl Server {
    /// Tells a client that an endpoint stays on TCP.
    pub(super) fn tell_refused(&mut self, client_id: ClientId, name: u64, pair: u64, reason: Reason) {
        let most = self.limits.notices_per_client;
        let Some(client) = self.clients.get_mut(&client_id) else { return };
        if client.control.is_none() {
            return;
        }
        client.notices.push_back(bytes_of(&notice(Kind::Refused, name, pair, reason, 0)).to_vec());
        if client.notices.len() > most {
            debug!(client = client_id.0, "does not read its mail");
            return self.hang_up(client_id);
        }
        self.flush(client_id);
    }

    /// Queues a packet with descriptors.
    pub(super) fn hand_out(&mut self, client_id: ClientId, handout: Handout) {
        if let Some(client) = self.clients.get_mut(&client_id).filter(|client| client.control.is_some()) {
            client.handouts.push_back(handout);
            self.flush(client_id);
        }
    }

    /// Sends what can be sent to a client now.
    pub(super) fn flush(&mut self, client_id: ClientId) {
        match self.try_flush(client_id) {
            Ok(wants_room) => {
                let Some(client) = self.clients.get_mut(&client_id) else { return };
                if client.wants_room != wants_room {
                    client.wants_room = wants_room;
                    self.rewatch(client_id);
                }
            }
            Err(error) => {
                debug!(client = client_id.0, %error, "cannot be reached");
                self.hang_up(client_id);
            }
        }
    }

    /// Whether something waits for room in the socket.
    fn try_flush(&mut self, client_id: ClientId) -> Result<bool, Errno> {
        while let Some(client) = self.clients.get_mut(&client_id)
            && let Some(bytes) = client.notices.front()
        {
            match client.send(bytes, &[]) {
                Ok(()) => client.notices.pop_front(),
                Err(Errno::WOULDBLOCK) => return Ok(true),
                Err(error) => return Err(error),
            };
        }
        loop {
            let Some(client) = self.clients.get_mut(&client_id) else { return Ok(false) };
            if client.control.is_none() || client.unanswered.is_some() {
                return Ok(false);
            }
            let (Some(handout), uid) = (client.handouts.front().copied(), client.uid) else { return Ok(false) };
            let user = self.books.user(uid);
            if user.unanswered >= self.limits.unanswered_per_user {
                if !user.waiting.contains(&client_id) {
                    user.waiting.push_back(client_id);
                }
                return Ok(false);
            }
            match self.send_handout(client_id, handout) {
                Ok(sent) => {
                    let Some(client) = self.clients.get_mut(&client_id) else { return Ok(false) };
                    client.handouts.pop_front();
                    if sent {
                        client.unanswered = Some(handout);
                        self.books.user(uid).unanswered += 1;
                    }
                }
                Err(Errno::WOULDBLOCK) => return Ok(true),
                // Too many descriptors on their way for this whole user: those of others, since ours are counted.
                Err(Errno::TOOMANYREFS) => {
                    let Some(client) = self.clients.get_mut(&client_id) else { return Ok(false) };
                    client.handouts.pop_front();
                    self.take_apart(handout.pair, Reason::Descriptors);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends one packet with descriptors; `false` when it has become pointless.
    fn send_handout(&mut self, client_id: ClientId, handout: Handout) -> Result<bool, Errno> {
        let Some(client) = self.clients.get(&client_id) else { return Ok(false) };
        let Some(pair) = self.books.pairs.get_mut(&handout.pair) else { return Ok(false) };
        let endpoint_id = pair.endpoints[usize::from(handout.side)];
        let [left, right] = &mut pair.halves;
        let (own, peer): (&mut Half, &mut Half) = if handout.side == 0 { (left, right) } else { (right, left) };
        match handout.step {
            Step::Prepare => {
                let Some(fds) = transport::prepare_fds(own, peer) else { return Ok(false) };
                let message = Prepare {
                    header: Header::new(Kind::Prepare, handout.name),
                    pair: handout.pair.0,
                    capacity: pair.capacity,
                    side: handout.side,
                    transport: pair.transport as u8,
                    reserved: [0; 2],
                };
                client.send(bytes_of(&message), &fds)?;
                own.prepared();
            }
            Step::Attach => {
                let Some(reader) = peer.outbox.reader() else { return Ok(false) };
                let message = notice(Kind::Attach, handout.name, handout.pair.0, Reason::None, handout.side);
                client.send(bytes_of(&message), &[reader.as_fd()])?;
                peer.outbox.reader_sent();
                if let Some(endpoint) = self.books.endpoints.get_mut(&endpoint_id) {
                    endpoint.progress = Progress::Handed;
                }
            }
        }
        Ok(true)
    }

    /// An answer to the packet that waits for one. `false` when it answers something else.
    fn answered(&mut self, client_id: ClientId, name: u64, pair: u64, step: Option<Step>) -> bool {
        let Some(client) = self.clients.get_mut(&client_id) else { return false };
        let fits = client.unanswered.is_some_and(|handout| {
            handout.name == name && handout.pair.0 == pair && step.is_none_or(|step| step == handout.step)
        });
        if fits {
            self.acknowledge(client_id);
        }
        fits
    }

    /// Ends the wait for an answer, and lets who waited for it go on.
    pub(super) fn acknowledge(&mut self, client_id: ClientId) {
        let Some(client) = self.clients.get_mut(&client_id) else { return };
        if client.unanswered.take().is_none() {
            return;
        }
        let user = self.books.user(client.uid);
        user.unanswered -= 1;
        let next = user.waiting.pop_front();
        self.flush(client_id);
        if let Some(next) = next {
            self.flush(next);
        }
    }

    /// A packet about an endpoint that is gone needs no answer once it has been read.
    pub(super) fn settle(&mut self, client_id: ClientId) {
        let Some(client) = self.clients.get(&client_id) else { return };
        let Some(handout) = client.unanswered else { return };
        if !client.names.contains_key(&handout.name) && client.has_read_all() {
            self.acknowledge(client_id);
        }
    }

    /// The endpoint that a client's answer is about, if the pair and the stage fit.
    fn in_stage(&self, client_id: ClientId, name: u64, pair: u64, stage: Progress) -> Option<EndpointId> {
        let id = *self.clients.get(&client_id)?.names.get(&name)?;
        let endpoint = self.books.endpoints.get(&id)?;
        (endpoint.progress == stage && endpoint.pair?.0.0 == pair).then_some(id)
    }

    pub(super) fn mapped(&mut self, client_id: ClientId, message: &crate::protocol::Notice) {
        let (name, pair_id) = (message.header.endpoint, PairId(message.pair));
        if !self.answered(client_id, name, pair_id.0, Some(Step::Prepare)) {
            return;
        }
        let Some(id) = self.in_stage(client_id, name, pair_id.0, Progress::Preparing) else { return };
        let Some(pair) = self.books.pairs.get_mut(&pair_id) else { return };
        let side = usize::from(pair.endpoints[1] == id);
        if let Err(reason) = pair.halves[side].outbox.seal() {
            return self.take_apart(pair_id, reason);
        }
        let endpoints = pair.endpoints;
        if let Some(endpoint) = self.books.endpoints.get_mut(&id) {
            endpoint.progress = Progress::Mapped;
        }
        let both = endpoints.map(|id| {
            let endpoint = self.books.endpoints.get(&id)?;
            (endpoint.progress == Progress::Mapped).then(|| endpoint.holders.first().copied())?
        });
        if let [Some(a), Some(b)] = both {
            for (side, (client, name)) in [a, b].into_iter().enumerate() {
                self.hand_out(client, Handout { pair: pair_id, side: side as u8, name, step: Step::Attach });
            }
        }
    }

    pub(super) fn attached(&mut self, client_id: ClientId, message: &crate::protocol::Notice) {
        let (name, pair) = (message.header.endpoint, message.pair);
        if !self.answered(client_id, name, pair, Some(Step::Attach)) {
            return;
        }
        if let Some(id) = self.in_stage(client_id, name, pair, Progress::Handed)
            && let Some(endpoint) = self.books.endpoints.get_mut(&id)
        {
            endpoint.progress = Progress::Attached;
            debug!(endpoint = id.0, pair, "attached");
        }
    }

    pub(super) fn declined(&mut self, client_id: ClientId, message: &crate::protocol::Notice) {
        let name = message.header.endpoint;
        let reason = reason_of(message.reason);
        self.answered(client_id, name, message.pair, None);
        let Some(&id) = self.clients.get(&client_id).and_then(|client| client.names.get(&name)) else { return };
        let Some(endpoint) = self.books.endpoints.get(&id) else { return };
        debug!(endpoint = id.0, reason = reason.name(), "declined");
        match (endpoint.progress, endpoint.pair) {
            (Progress::Off, _) => {}
            (Progress::Attached, _) | (_, None) => {
                self.books.turn_off(id, reason);
                self.remember_off(client_id, name);
            }
            (_, Some((pair, _))) => self.take_apart_by(pair, id, reason),
        }
    }

    pub(super) fn retired(&mut self, client_id: ClientId, message: &crate::protocol::Notice) {
        let Some(&id) = self.clients.get(&client_id).and_then(|c| c.names.get(&message.header.endpoint)) else {
            return;
        };
        let reason = reason_of(message.reason);
        debug!(endpoint = id.0, reason = reason.name(), "back on TCP for good");
        self.books.turn_off(id, reason);
    }
}
