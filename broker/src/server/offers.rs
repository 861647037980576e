//! An offer, checked against the kernel and matched.
//!
//! Every claim is checked through its own client's witness when it comes, and through its counterpart's before the two
//! are paired. In the broker's own namespace both are the broker's own. So a pair is only made when each side's kernel
//! connection confirms the *other* side, and a client that tampers with its witness deceives no one but itself; and a
//! claim is only dropped on the word of its own witness, so that nobody can talk another one's claim away.

use super::Server;
use super::client::{Handout, Step};
use super::messages::Fault;
use crate::diag::Question;
use crate::evidence::{NoWitness, Witness};
use crate::matching::{self, Choice, Claim};
use crate::policy::RING;
use crate::protocol::{Address, Offer, Reason, Transport};
use crate::registry::{ClientId, Endpoint, EndpointId, Pair, PairId, Progress};
use crate::transport::{self, Half};
use std::time::Instant;
use tracing::{debug, error};

/// What an offer costs of its user's rate, beyond the one of every message: about as much as so many small ones.
const COST: u32 = 3;

/// One socket, as a claim names it.
#[derive(Clone, Copy)]
struct Subject {
    local: Address,
    remote: Address,
    cookie: u64,
    uid: u32,
}

impl Server {
    pub(super) fn offer(&mut self, client_id: ClientId, offer: &Offer) -> Result<(), Fault> {
        let name = offer.header.endpoint;
        let Some(client) = self.clients.get(&client_id) else { return Ok(()) };
        let Some(greeting) = &client.greeting else { return Ok(()) };
        if name == 0 || client.names.contains_key(&name) {
            return Err(Fault::Violation("an endpoint's name that is not new"));
        }
        let now = Instant::now();
        let (uid, transport) = (client.uid, greeting.transport);
        // The padding may be anything; it must not be part of a key.
        let [local, remote] = [offer.local, offer.remote].map(|address| Address { reserved: 0, ..address });
        let claim = Claim {
            namespace: greeting.namespace.0,
            local,
            remote,
            connector: offer.connector == 1,
            since_ns: offer.since_ns,
            tx: offer.tx,
            rx: offer.rx,
        };
        let mut endpoint = Endpoint {
            uid,
            pid: client.pid,
            command: greeting.command.clone(),
            namespace: greeting.namespace,
            cookie: offer.cookie,
            local,
            remote,
            transport,
            arrived: now,
            since_ns: offer.since_ns,
            claim: Some(Box::new(claim)),
            progress: Progress::Standing,
            reason: Reason::None,
            pair: None,
            holders: vec![(client_id, name)],
            ended: false,
        };
        let has = client.names.len();
        self.books.totals.connections += 1;
        let user = self.books.user(uid);
        // Refusing to take more is for `serve`, at the next message.
        let _ = user.bucket.take(COST, now);
        if has >= self.limits.endpoints_per_client || user.endpoints >= self.limits.endpoints_per_user {
            // Not even remembered: the books are what the budget is for.
            self.books.totals.refused += 1;
            *self.books.totals.by_state.entry("no-opt".into()).or_default() += 1;
            *self.books.totals.by_reason.entry(Reason::Budget.name().into()).or_default() += 1;
            self.tell_refused(client_id, name, 0, Reason::Budget);
            return Ok(());
        }
        let subject = Subject { local, remote, cookie: offer.cookie, uid };
        let checked = if transport == Transport::Tcp {
            Err(Reason::Disabled)
        } else if local == remote {
            Err(Reason::SelfConnected)
        } else {
            self.confirm(client_id, subject).and_then(|()| match Reason::from_wire(offer.reason) {
                Some(Reason::None) => self.only_holder(offer.cookie),
                // Not offered at all: its process has decided, and the books are to show it.
                reason => Err(reason.unwrap_or(Reason::Call)),
            })
        };
        if let Err(reason) = checked {
            endpoint.progress = Progress::Off;
            endpoint.reason = reason;
            endpoint.claim = None;
        } else if let Some(old) = self.books.standing_at(&endpoint) {
            // Two established sockets cannot share their addresses: the one that stood there has ended.
            self.refuse(old, Reason::Gone);
        }
        let id = self.books.add(endpoint);
        if let Some(client) = self.clients.get_mut(&client_id) {
            client.names.insert(name, id);
        }
        match checked {
            Err(reason) => {
                debug!(endpoint = id.0, reason = reason.name(), "refused");
                self.tell_refused(client_id, name, 0, reason);
                self.remember_off(client_id, name);
            }
            Ok(()) => self.match_up(client_id, id),
        }
        Ok(())
    }

    /// Asks a client's witness (or the broker's own, which is better) whether a claim is true.
    fn confirm(&mut self, through: ClientId, subject: Subject) -> Result<(), Reason> {
        let theirs = self.clients.get(&through).and_then(|client| client.greeting.as_ref()?.witness.as_ref());
        let Some(witness): Option<&Witness> = theirs.or(self.witness.as_ref()) else { return Err(Reason::Kernel) };
        let Subject { local, remote, cookie, uid } = subject;
        let question = Question { local, remote, cookie: Some(cookie), counts: false };
        let facts = match witness.ask(&question, &mut self.dice) {
            Ok(Some(facts)) => facts,
            Ok(None) => return Err(Reason::Unproven),
            Err(error) => {
                debug!(client = through.0, %error, "a witness fails");
                return Err(if error == NoWitness::Mute { Reason::Unproven } else { Reason::Kernel });
            }
        };
        // The end first: what is left of a closed socket is root's, to the kernel.
        if !facts.established {
            Err(Reason::Gone)
        } else if facts.uid != uid {
            Err(Reason::Owner)
        } else if facts.interface != 0 {
            Err(Reason::Device)
        } else {
            Ok(())
        }
    }

    /// One socket is one endpoint: who offers it a second time shares it with somebody.
    fn only_holder(&mut self, cookie: u64) -> Result<(), Reason> {
        let Some(&other) = self.books.by_cookie.get(&cookie) else { return Ok(()) };
        if self.books.endpoints.get(&other).is_some_and(|endpoint| endpoint.progress == Progress::Standing) {
            self.refuse(other, Reason::Shared);
        }
        Err(Reason::Shared)
    }

    /// Looks for the other end of a claim that has just been entered.
    fn match_up(&mut self, client_id: ClientId, id: EndpointId) {
        let Some(endpoint) = self.books.endpoints.get(&id) else { return };
        let Some(other_id) = self.books.standing.mirror(endpoint.namespace.0, endpoint.local, endpoint.remote) else {
            return;
        };
        let Some(other) = self.books.endpoints.get(&other_id) else { return };
        let (Some(claim), Some(other_claim)) = (&endpoint.claim, &other.claim) else { return };
        let Some(&(other_client, _)) = other.holders.first() else { return };
        let choice = matching::choose(claim, [(other_id, &**other_claim)], self.limits.rules);
        let transports = [endpoint.transport, other.transport];
        let subject = |endpoint: &Endpoint| Subject {
            local: endpoint.local,
            remote: endpoint.remote,
            cookie: endpoint.cookie,
            uid: endpoint.uid,
        };
        let (this, that) = (subject(endpoint), subject(other));

        // The other claim may have stood for a long time: is it still true?
        if let Err(reason) = self.confirm(other_client, that) {
            let reason = if reason == Reason::Unproven { Reason::Gone } else { reason };
            return self.refuse(other_id, reason);
        }
        let own_witness =
            |id| self.clients.get(&id).is_some_and(|c| c.greeting.as_ref().is_some_and(|g| g.witness.is_some()));
        if own_witness(client_id) || own_witness(other_client) {
            let crossed = self.confirm(other_client, this).and_then(|()| self.confirm(client_id, that));
            if let Err(reason) = crossed {
                debug!(endpoint = id.0, other = other_id.0, "the two sides' witnesses disagree");
                return self.refuse(id, reason);
            }
        }
        match choice {
            Choice::Stand => {}
            Choice::Ambiguous => self.refuse(id, Reason::Ambiguous),
            Choice::Refuse(_, reason) => {
                if self.is_loud() {
                    error!(endpoint = id.0, other = other_id.0, reason = reason.name(), "one connection, two stories");
                }
                self.refuse(id, reason);
                self.refuse(other_id, reason);
            }
            Choice::Pair(..) if transports[0] != transports[1] => {
                self.refuse(id, Reason::Transport);
                self.refuse(other_id, Reason::Transport);
            }
            Choice::Pair(_, agreement) => {
                debug!(endpoint = id.0, other = other_id.0, ?agreement, "matched");
                if let Err(reason) = self.pair_up([id, other_id], transports[0]) {
                    self.refuse(id, reason);
                    self.refuse(other_id, reason);
                }
            }
        }
    }

    /// Makes the pair and hands each side its half.
    fn pair_up(&mut self, endpoints: [EndpointId; 2], transport: Transport) -> Result<(), Reason> {
        let holders = endpoints.map(|id| self.books.endpoints.get(&id).and_then(|e| e.holders.first().copied()));
        let [Some(a), Some(b)] = holders else { return Err(Reason::Gone) };
        let wish = |(client, _)| {
            self.clients.get(&client).and_then(|client| Some(client.greeting.as_ref()?.ring_kib)).unwrap_or(0)
        };
        let capacity = RING.capacity(wish(a), wish(b));
        if !self.books.affords(endpoints[0], endpoints[1], Half::memory_of(capacity)) {
            return Err(Reason::Budget);
        }
        let id = PairId(self.books.fresh());
        let halves = transport::make(id.0, capacity, transport == Transport::Uds)?;
        self.books.join(id, Pair { capacity, transport, halves, endpoints });
        for (side, (client, name)) in [a, b].into_iter().enumerate() {
            self.hand_out(client, Handout { pair: id, side: side as u8, name, step: Step::Prepare });
        }
        Ok(())
    }
}
