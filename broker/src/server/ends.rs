//! How things end: refusals, pairs taken apart, withdrawals, dead processes.

use super::Server;
use super::messages::Fault;
use crate::protocol::{Notice, Reason};
use crate::registry::{ClientId, EndpointId, PairId, Progress};
use crate::transport;
use std::time::Instant;
use tracing::debug;

/// How many processes may say that they hold one endpoint.
const HOLDERS: usize = 4096;

impl Server {
    /// Leaves an endpoint on TCP and tells its holders.
    pub(super) fn refuse(&mut self, id: EndpointId, reason: Reason) {
        self.refuse_in(id, 0, reason);
    }

    fn refuse_in(&mut self, id: EndpointId, pair: u64, reason: Reason) {
        self.books.turn_off(id, reason);
        let Some(endpoint) = self.books.endpoints.get(&id) else { return };
        debug!(endpoint = id.0, reason = reason.name(), "refused");
        for (client, name) in endpoint.holders.clone() {
            self.tell_refused(client, name, pair, reason);
            self.remember_off(client, name);
        }
    }

    /// Keeps the number of endpoints that are off within bounds: the oldest ones leave the books as if withdrawn.
    pub(super) fn remember_off(&mut self, client_id: ClientId, name: u64) {
        let most = self.limits.refused_per_client;
        let Some(client) = self.clients.get_mut(&client_id) else { return };
        client.off.push_back(name);
        if client.off.len() > most
            && let Some(oldest) = client.off.pop_front()
        {
            self.let_go(client_id, oldest, false);
        }
    }

    /// Takes a pair apart that neither side has moved onto; both stay on TCP.
    pub(super) fn take_apart(&mut self, pair_id: PairId, reason: Reason) {
        let Some(pair) = self.books.part(pair_id) else { return };
        for id in pair.endpoints {
            self.refuse_in(id, pair_id.0, reason);
        }
    }

    /// The same, because one side does not want it: the other one is told so.
    pub(super) fn take_apart_by(&mut self, pair_id: PairId, by: EndpointId, reason: Reason) {
        let Some(pair) = self.books.part(pair_id) else { return };
        for id in pair.endpoints {
            if id == by {
                self.books.turn_off(id, reason);
                for (client, name) in self.books.endpoints.get(&id).map(|e| e.holders.clone()).unwrap_or_default() {
                    self.remember_off(client, name);
                }
            } else {
                self.refuse_in(id, pair_id.0, if reason == Reason::Gone { reason } else { Reason::Peer });
            }
        }
    }

    pub(super) fn withdraw(&mut self, client_id: ClientId, message: &Notice) {
        self.let_go(client_id, message.header.endpoint, false);
        self.settle(client_id);
    }

    /// A forked child says that it holds an endpoint of its parent's.
    pub(super) fn adopt(&mut self, client_id: ClientId, message: &Notice) -> Result<(), Fault> {
        let Some(client) = self.clients.get_mut(&client_id) else { return Ok(()) };
        let name = message.header.endpoint;
        if name == 0 || client.names.contains_key(&name) {
            return Err(Fault::Violation("an endpoint's name that is not new"));
        }
        // The pair may be gone by now: nothing to hold then, and nobody to tell.
        let Some(pair) = self.books.pairs.get(&PairId(message.pair)) else { return Ok(()) };
        let Some(&id) = pair.endpoints.get(usize::from(message.side)) else {
            return Err(Fault::Violation("a pair has two sides"));
        };
        let Some(endpoint) = self.books.endpoints.get(&id) else { return Ok(()) };
        if endpoint.uid != client.uid {
            return Err(Fault::Violation("an endpoint of another user"));
        }
        let full = client.names.len() >= self.limits.endpoints_per_client || endpoint.holders.len() >= HOLDERS;
        if !full {
            client.names.insert(name, id);
            self.books.hold(id, (client_id, name));
        }
        Ok(())
    }

    /// A client's socket has ended, by its own doing or by ours. What it only offered goes; what may have moved stays
    /// for as long as its process lives.
    pub(super) fn connection_ended(&mut self, client_id: ClientId) {
        self.acknowledge(client_id);
        let Some(client) = self.clients.get(&client_id) else { return };
        let dead = client.process.is_none();
        let mut names: Vec<u64> = client.names.keys().copied().collect();
        names.sort_unstable();
        for name in names {
            let Some(id) = self.clients.get(&client_id).and_then(|client| client.names.get(&name)) else { continue };
            let stays = !dead
                && self.books.endpoints.get(id).is_some_and(|endpoint| {
                    endpoint.pair.is_some() && !matches!(endpoint.progress, Progress::Preparing | Progress::Mapped)
                });
            if !stays {
                self.let_go(client_id, name, dead);
            }
        }
        let Some(client) = self.clients.get(&client_id) else { return };
        if dead || client.names.is_empty() {
            self.forget_client(client_id);
        }
    }

    fn forget_client(&mut self, client_id: ClientId) {
        let Some(client) = self.clients.remove(&client_id) else { return };
        let user = self.books.user(client.uid);
        user.clients -= 1;
        user.waiting.retain(|waiting| *waiting != client_id);
        self.books.forget_user(client.uid);
        if self.clients.is_empty() {
            self.lonely_since = Instant::now();
        }
        debug!(client = client_id.0, client.pid, "forgotten");
    }

    /// A client has an endpoint no more. `dead`: because its process has ended.
    fn let_go(&mut self, client_id: ClientId, name: u64, dead: bool) {
        let Some(client) = self.clients.get_mut(&client_id) else { return };
        let Some(id) = client.names.remove(&name) else { return };
        let gone = client.control.is_none() && client.names.is_empty();
        let Some(endpoint) = self.books.endpoints.get_mut(&id) else { return };
        endpoint.holders.retain(|holder| *holder != (client_id, name));
        if endpoint.holders.is_empty() {
            self.endpoint_ended(id, dead);
        }
        if gone && !dead {
            self.forget_client(client_id);
        }
    }

    /// Nobody has an endpoint any more.
    fn endpoint_ended(&mut self, id: EndpointId, dead: bool) {
        let Some(endpoint) = self.books.endpoints.get(&id) else { return };
        if let Some((pair_id, side)) = endpoint.pair
            && let Some(pair) = self.books.pairs.get(&pair_id)
        {
            let peer_id = pair.endpoints[usize::from(1 - side)];
            let peer = self.books.endpoints.get(&peer_id);
            let untouched = peer.is_some_and(|peer| matches!(peer.progress, Progress::Preparing | Progress::Mapped));
            if untouched {
                // The peer has not seen this side's outbox, so nothing can have moved.
                self.take_apart_by(pair_id, id, Reason::Gone);
            } else if dead && peer.is_some_and(|peer| !peer.ended) {
                debug!(endpoint = id.0, peer = peer_id.0, "dead: waking its peer");
                // The broker's own user could as well kill it; nobody else gets to make it wait.
                let ring = peer.is_some_and(|peer| peer.uid == rustix::process::geteuid().as_raw());
                let [left, right] = &pair.halves;
                let (own, survivor) = if side == 0 { (left, right) } else { (right, left) };
                transport::announce_death(own, survivor, ring);
            }
        }
        self.books.end(id);
    }
}
