//! The books: which endpoints were offered, which are paired, what each user has taken, and the totals.
//!
//! No system calls here, but for dropping what a pair was made of. The life of an entry:
//!
//! ```text
//!            offer              peer found          both mapped        both told
//!  (nothing) -----> Standing -----------> Preparing -----------> Handed -----------> Attached
//!                      |                   | Mapped                 |                    |
//!                      '-- refused, declined: Off (with a reason) --'        goes back for good: Off, still in its pair
//! ```
//!
//! An entry leaves the books when its last holder withdraws it or ends. One in a pair stays as a tombstone
//! (`ended`) until its peer has ended too: a forked child may still say that it holds it.

use crate::evidence::Namespace;
use crate::matching::{Claim, Standing};
use crate::policy::{Bucket, Limits};
use crate::protocol::{Address, Reason, Transport};
use crate::status::{State, Totals};
use crate::transport::Half;
use slipstream_ring::layout::Snapshot;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

/// Names a client's connection to the broker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// Names an endpoint; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u64);

/// Names a pair; never used twice. It is the number in the messages and in the outboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairId(pub u64);

/// How far an endpoint has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Offered, its peer unknown.
    Standing,
    /// Its pair exists; it has not mapped its outbox yet.
    Preparing,
    /// It has mapped its outbox, which is sealed.
    Mapped,
    /// Its peer's outbox was sent to it: from here on it may have moved.
    Handed,
    /// It says that it follows the pair's protocol.
    Attached,
    /// Stays on TCP; [`Endpoint::reason`] tells why.
    Off,
}

/// One endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// The user of the process that offered it.
    pub uid: u32,
    /// That process.
    pub pid: u32,
    /// Its name.
    pub command: Rc<str>,
    /// The endpoint's network namespace.
    pub namespace: Namespace,
    /// The socket's cookie.
    pub cookie: u64,
    /// The socket's own address.
    pub local: Address,
    /// Its peer's address.
    pub remote: Address,
    /// The transport that its process asks for.
    pub transport: Transport,
    /// When the offer came.
    pub arrived: Instant,
    /// When the connection was made, as its process says, in CLOCK_MONOTONIC nanoseconds; 0: unknown.
    pub since_ns: u64,
    /// What it is matched by, while it stands.
    pub claim: Option<Box<Claim>>,
    /// How far it has come.
    pub progress: Progress,
    /// Why it is off; else [`Reason::None`].
    pub reason: Reason,
    /// Its pair and its side in it.
    pub pair: Option<(PairId, u8)>,
    /// Who has it, and under which name.
    pub holders: Vec<(ClientId, u64)>,
    /// A tombstone: all holders are gone, the pair is not.
    pub ended: bool,
}

/// Two endpoints and what they share.
#[derive(Debug)]
pub struct Pair {
    /// Bytes of one ring.
    pub capacity: u32,
    /// What carries it.
    pub transport: Transport,
    /// Their halves, by side.
    pub halves: [Half; 2],
    /// Who they are, by side.
    pub endpoints: [EndpointId; 2],
}

/// What a user has taken.
#[derive(Debug)]
pub struct User {
    /// Connected processes.
    pub clients: usize,
    /// Endpoints in the books.
    pub endpoints: usize,
    /// Sides of pairs.
    pub sides: usize,
    /// Bytes of outboxes.
    pub memory: u64,
    /// Packets with descriptors that wait for an answer.
    pub unanswered: usize,
    /// Clients that wait for that number to fall, first come first served.
    pub waiting: VecDeque<ClientId>,
    /// Messages.
    pub bucket: Bucket,
}

/// The books.
pub struct Books {
    limits: Limits,
    next: u64,
    /// Every endpoint, tombstones too.
    pub endpoints: BTreeMap<EndpointId, Endpoint>,
    /// Every pair.
    pub pairs: HashMap<PairId, Pair>,
    /// The claims that stand.
    pub standing: Standing<EndpointId>,
    /// Endpoints that stand or are paired, by their socket's cookie.
    pub by_cookie: HashMap<u64, EndpointId>,
    users: HashMap<u32, User>,
    /// Sums; `by_state` and `by_reason` only of what has left the books.
    pub totals: Totals,
}

impl Books {
    /// Empty books, whose numbers begin behind `next`.
    pub fn new(limits: Limits, next: u64) -> Self {
        Self {
            limits,
            next,
            endpoints: BTreeMap::new(),
            pairs: HashMap::new(),
            standing: Standing::default(),
            by_cookie: HashMap::new(),
            users: HashMap::new(),
            totals: Totals::default(),
        }
    }

    /// A number that was never given before.
    pub fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What a user has taken.
    pub fn user(&mut self, uid: u32) -> &mut User {
        let rate = self.limits.messages;
        self.users.entry(uid).or_insert_with(|| User {
            clients: 0,
            endpoints: 0,
            sides: 0,
            memory: 0,
            unanswered: 0,
            waiting: VecDeque::new(),
            bucket: Bucket::new(rate, Instant::now()),
        })
    }

    /// Forgets users that have nothing any more. A user's rate starts anew then, which an honest one does not notice
    /// and a hostile one pays for with a connection.
    pub fn forget_user(&mut self, uid: u32) {
        if self.users.get(&uid).is_some_and(|user| user.clients == 0 && user.endpoints == 0 && user.sides == 0) {
            self.users.remove(&uid);
        }
    }

    /// Enters an endpoint that stands, or is off from the start.
    pub fn add(&mut self, endpoint: Endpoint) -> EndpointId {
        let id = EndpointId(self.fresh());
        self.user(endpoint.uid).endpoints += 1;
        if endpoint.progress == Progress::Standing {
            self.standing.insert(endpoint.namespace.0, endpoint.local, endpoint.remote, id);
            self.by_cookie.insert(endpoint.cookie, id);
        } else {
            self.totals.refused += 1;
        }
        self.endpoints.insert(id, endpoint);
        id
    }

    /// Who stands where a new endpoint wants to.
    pub fn standing_at(&self, endpoint: &Endpoint) -> Option<EndpointId> {
        self.standing.mirror(endpoint.namespace.0, endpoint.remote, endpoint.local)
    }

    /// Takes an endpoint out of the indexes by which it could be found.
    fn hide(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get(&id) else { return };
        self.standing.remove(endpoint.namespace.0, endpoint.local, endpoint.remote, id);
        if self.by_cookie.get(&endpoint.cookie) == Some(&id) {
            self.by_cookie.remove(&endpoint.cookie);
        }
    }

    /// Whether both users may take one more side with `memory` bytes each.
    pub fn affords(&mut self, a: EndpointId, b: EndpointId, memory: u64) -> bool {
        let uids = [a, b].map(|id| self.endpoints.get(&id).map(|endpoint| endpoint.uid));
        let count = if uids[0] == uids[1] { 2 } else { 1 };
        let limits = self.limits;
        uids.into_iter().flatten().all(|uid| {
            let user = self.user(uid);
            user.sides + count <= limits.sides_per_user && user.memory + count as u64 * memory <= limits.memory_per_user
        })
    }

    /// Joins two standing endpoints.
    pub fn join(&mut self, id: PairId, pair: Pair) {
        for (side, endpoint_id) in pair.endpoints.into_iter().enumerate() {
            let memory = pair.halves[side].memory();
            let Some(endpoint) = self.endpoints.get_mut(&endpoint_id) else { continue };
            endpoint.progress = Progress::Preparing;
            endpoint.pair = Some((id, side as u8));
            endpoint.claim = None;
            let (namespace, local, remote, uid) = (endpoint.namespace.0, endpoint.local, endpoint.remote, endpoint.uid);
            self.standing.remove(namespace, local, remote, endpoint_id);
            let user = self.user(uid);
            user.sides += 1;
            user.memory += memory;
        }
        self.totals.matched += 2;
        self.pairs.insert(id, pair);
    }

    /// Takes a pair apart; its endpoints stay in the books, without it.
    pub fn part(&mut self, id: PairId) -> Option<Pair> {
        let pair = self.pairs.remove(&id)?;
        for (side, endpoint_id) in pair.endpoints.into_iter().enumerate() {
            let Some(endpoint) = self.endpoints.get_mut(&endpoint_id) else { continue };
            endpoint.pair = None;
            let uid = endpoint.uid;
            let user = self.user(uid);
            user.sides -= 1;
            user.memory -= pair.halves[side].memory();
        }
        Some(pair)
    }

    /// Leaves an endpoint on TCP.
    pub fn turn_off(&mut self, id: EndpointId, reason: Reason) {
        self.hide(id);
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        if endpoint.progress != Progress::Off {
            endpoint.progress = Progress::Off;
            endpoint.claim = None;
            endpoint.reason = reason;
            self.totals.refused += 1;
        }
    }

    /// The last holder is gone. What is left of the endpoint, if anything, is a tombstone in its pair.
    pub fn end(&mut self, id: EndpointId) {
        self.hide(id);
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        endpoint.ended = true;
        endpoint.claim = None;
        let Some((pair_id, side)) = endpoint.pair else {
            self.remove(id);
            return;
        };
        let peer = self.pairs.get(&pair_id).map(|pair| pair.endpoints[usize::from(1 - side)]);
        if peer.is_none_or(|peer| self.endpoints.get(&peer).is_none_or(|peer| peer.ended)) {
            for gone in [Some(id), peer].into_iter().flatten() {
                self.count_out(gone);
            }
            self.part(pair_id);
            for gone in [Some(id), peer].into_iter().flatten() {
                self.drop_entry(gone);
            }
        }
    }

    /// A forked child says that it holds an endpoint: it lives, or lives again.
    pub fn hold(&mut self, id: EndpointId, holder: (ClientId, u64)) {
        if let Some(endpoint) = self.endpoints.get_mut(&id) {
            endpoint.holders.push(holder);
            endpoint.ended = false;
        }
    }

    /// Takes an endpoint without a pair out of the books.
    fn remove(&mut self, id: EndpointId) {
        self.count_out(id);
        self.drop_entry(id);
    }

    fn drop_entry(&mut self, id: EndpointId) {
        if let Some(endpoint) = self.endpoints.remove(&id) {
            self.user(endpoint.uid).endpoints -= 1;
            self.forget_user(endpoint.uid);
        }
    }

    /// Adds what an endpoint was to the totals, before it leaves.
    fn count_out(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get(&id) else { return };
        let snapshot = self.snapshot(endpoint);
        let (state, reason) = (state(endpoint, &snapshot), endpoint.reason);
        count(&mut self.totals, state, reason, &snapshot);
    }

    /// The counters of an endpoint's outbox, as its owner says; zeros without a pair.
    pub fn snapshot(&self, endpoint: &Endpoint) -> Snapshot {
        let pair = endpoint.pair.and_then(|(id, side)| Some(&self.pairs.get(&id)?.halves[usize::from(side)]));
        pair.map(|half| half.outbox.snapshot()).unwrap_or_default()
    }

    /// The totals, with what is still in the books.
    pub fn totals(&self) -> Totals {
        let mut totals = self.totals.clone();
        for endpoint in self.endpoints.values() {
            let snapshot = self.snapshot(endpoint);
            count(&mut totals, state(endpoint, &snapshot), endpoint.reason, &snapshot);
        }
        totals
    }
}

/// Where an endpoint is, as the status says it.
pub fn state(endpoint: &Endpoint, snapshot: &Snapshot) -> State {
    match endpoint.progress {
        Progress::Off => State::NoOpt,
        Progress::Handed | Progress::Attached if has_moved(snapshot) => State::Opt,
        _ => State::PreOpt,
    }
}

/// Whether a direction is off TCP, or has been for at least a byte.
fn has_moved(snapshot: &Snapshot) -> bool {
    (snapshot.turn | snapshot.followed) & 1 == 1 || snapshot.tail > 0 || snapshot.head > 0
}

/// Adds one endpoint to the sums.
fn count(totals: &mut Totals, state: State, reason: Reason, snapshot: &Snapshot) {
    /// More than this no number may become: what JSON readers take exactly. The counters are the clients' word.
    const MOST: u64 = 1 << 53;
    *totals.by_state.entry(state.name().to_owned()).or_default() += 1;
    if state == State::NoOpt {
        *totals.by_reason.entry(reason.name().to_owned()).or_default() += 1;
    }
    totals.moved_bytes = totals.moved_bytes.saturating_add(snapshot.tail).min(MOST);
    let late = snapshot.tx_late.saturating_add(snapshot.rx_late);
    totals.late = totals.late.saturating_add(late).min(MOST);
}
