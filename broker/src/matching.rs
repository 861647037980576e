//! Which two claims are the two ends of one connection. Pure: no system calls, no clocks, no memory of its own.
//!
//! Within one network namespace two established sockets with mirrored addresses are one connection: the kernel keeps
//! no two sockets under one 4-tuple, and `server::offers` has asked it about both. There the prefix digests are only a
//! check of the shims' own counting.
//!
//! Between namespaces addresses prove nothing (anyone can make a namespace in which any address exists), and a
//! published port rewrites them on the way. There the paper's evidence decides: digests of both streams over a minimum
//! length, times that fit, and no second candidate. [`Rules::across`] is `None` for now, which makes no such pair.

use crate::protocol::{Address, GRID, Prefix, Reason};
use std::collections::HashMap;
use std::hash::Hash;

/// One endpoint as its process describes it, checked against the kernel before it comes here.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The cookie of its network namespace.
    pub namespace: u64,
    /// Its own address.
    pub local: Address,
    /// Its peer's address.
    pub remote: Address,
    /// Whether it called connect; else it came from accept.
    pub connector: bool,
    /// When connect or accept returned, in CLOCK_MONOTONIC nanoseconds; 0 when not seen.
    pub since_ns: u64,
    /// What it sent.
    pub tx: Prefix,
    /// What it received.
    pub rx: Prefix,
}

/// What may be paired.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// The evidence asked for when the two ends are in different namespaces; `None`: never paired.
    pub across: Option<Across>,
}

/// The paper's thresholds.
#[derive(Clone, Copy, Debug)]
pub struct Across {
    /// Bytes that must have been compared, in both directions together.
    pub minimum: u64,
    /// How far apart connect and accept may have returned, in nanoseconds.
    pub window_ns: u64,
}

/// How well two claims agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Bytes compared from the first claim to the second, and back.
    pub compared: [u64; 2],
    /// Nanoseconds between connect's and accept's return, where both were seen.
    pub apart_ns: Option<u64>,
}

/// What becomes of a claim, given the others that stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<Id> {
    /// Nobody fits yet: the claim stands.
    Stand,
    /// This one is the other end.
    Pair(Id, Agreement),
    /// The other end is known, but what it says contradicts the claim: both are off.
    Refuse(Id, Reason),
    /// More than one could be the other end: the claim is off.
    Ambiguous,
}

/// The bytes over which two views of one direction are known to be equal: 2^k for the largest grid point that both
/// have, 0 when they have none. `None` when they differ anywhere on the grid.
pub fn compare(sent: &Prefix, received: &Prefix) -> Option<u64> {
    let common = sent.bytes.min(received.bytes);
    let mut points = (0..GRID).take_while(|k| 1 << k <= common);
    points.try_fold(0, |_, k| (sent.digest[k] == received.digest[k]).then_some(1 << k))
}

/// Whether two claims can be one connection by what passed over it. `None` when a direction differs.
pub fn agree(a: &Claim, b: &Claim) -> Option<Agreement> {
    let compared = [compare(&a.tx, &b.rx)?, compare(&b.tx, &a.rx)?];
    let seen = a.since_ns != 0 && b.since_ns != 0;
    Some(Agreement { compared, apart_ns: seen.then(|| a.since_ns.abs_diff(b.since_ns)) })
}

/// Chooses the other end of `claim` among `others`.
///
/// `others` must hold every standing claim that could be the other end: with one left out, a pair could be made where
/// there is a doubt.
pub fn choose<'a, Id>(claim: &Claim, others: impl IntoIterator<Item = (Id, &'a Claim)>, rules: Rules) -> Choice<Id> {
    let mut found = None;
    for (id, other) in others {
        if claim.namespace == other.namespace {
            if claim.local != other.remote || claim.remote != other.local {
                continue;
            }
            // The kernel's word; it beats whatever else is known.
            return match agree(claim, other) {
                Some(agreement) => Choice::Pair(id, agreement),
                None => Choice::Refuse(id, Reason::Mismatch),
            };
        }
        if let Some(agreement) = plausible_across(claim, other, rules) {
            if found.is_some() {
                return Choice::Ambiguous;
            }
            found = Some((id, agreement));
        }
    }
    found.map_or(Choice::Stand, |(id, agreement)| Choice::Pair(id, agreement))
}

/// Whether two claims of different namespaces may be one connection under `rules`.
fn plausible_across(a: &Claim, b: &Claim, rules: Rules) -> Option<Agreement> {
    let across = rules.across?;
    let (connector, acceptor) = match (a.connector, b.connector) {
        (true, false) => (a, b),
        (false, true) => (b, a),
        _ => return None,
    };
    // The server sees the client's own address and port; what the client dialled may have been rewritten.
    if connector.local != acceptor.remote {
        return None;
    }
    let agreement = agree(a, b)?;
    let enough = agreement.compared[0].saturating_add(agreement.compared[1]) >= across.minimum;
    let near = agreement.apart_ns.is_some_and(|apart| apart <= across.window_ns);
    (enough && near).then_some(agreement)
}

/// The claims that stand, found by their addresses.
///
/// At most one claim stands under one key: the kernel keeps no two established sockets there, so a second one (which
/// has been checked) shows that the first is gone.
#[derive(Debug)]
pub struct Standing<Id> {
    by_addresses: HashMap<(u64, Address, Address), Id>,
}

impl<Id> Default for Standing<Id> {
    fn default() -> Self {
        Self { by_addresses: HashMap::new() }
    }
}

impl<Id: Copy + Eq + Hash> Standing<Id> {
    /// Lets a claim stand; the one that stood in its place, if any.
    pub fn insert(&mut self, namespace: u64, local: Address, remote: Address, id: Id) -> Option<Id> {
        self.by_addresses.insert((namespace, local, remote), id)
    }

    /// Takes a claim away, unless another stands in its place by now.
    pub fn remove(&mut self, namespace: u64, local: Address, remote: Address, id: Id) {
        let key = (namespace, local, remote);
        if self.by_addresses.get(&key) == Some(&id) {
            self.by_addresses.remove(&key);
        }
    }

    /// The claim that stands for the other end of these addresses.
    pub fn mirror(&self, namespace: u64, local: Address, remote: Address) -> Option<Id> {
        self.by_addresses.get(&(namespace, remote, local)).copied()
    }

    /// How many stand.
    pub fn len(&self) -> usize {
        self.by_addresses.len()
    }

    /// Whether none stands.
    pub fn is_empty(&self) -> bool {
        self.by_addresses.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    /// What a side that saw all of `stream` posts.
    fn prefix(stream: &[u8]) -> Prefix {
        let digest = std::array::from_fn(|k| stream.get(..1 << k).map_or(0, xxh3_64));
        Prefix { bytes: stream.len() as u64, digest }
    }

    fn address(port: u16) -> Address {
        Address { ip: [1; 16], port, reserved: 0 }
    }

    fn claim(namespace: u64, ports: (u16, u16), connector: bool, tx: &[u8], rx: &[u8]) -> Claim {
        Claim {
            namespace,
            local: address(ports.0),
            remote: address(ports.1),
            connector,
            since_ns: 1_000,
            tx: prefix(tx),
            rx: prefix(rx),
        }
    }

    const ACROSS: Rules = Rules { across: Some(Across { minimum: 8, window_ns: 500 }) };

    #[test]
    fn mirrored_addresses_in_one_namespace_are_a_pair() {
        let a = claim(1, (10, 20), true, b"hello", b"");
        let b = claim(1, (20, 10), false, b"", b"hel");
        let agreement = Agreement { compared: [2, 0], apart_ns: Some(0) };
        assert_eq!(choose(&a, [(7, &b)], Rules::default()), Choice::Pair(7, agreement));
    }

    #[test]
    fn one_side_mirrored_is_not_enough() {
        let a = claim(1, (10, 20), true, b"", b"");
        for other in [claim(1, (20, 11), false, b"", b""), claim(1, (21, 10), false, b"", b"")] {
            assert_eq!(choose(&a, [(7, &other)], Rules::default()), Choice::Stand);
        }
    }

    #[test]
    fn different_bytes_refuse_both() {
        let a = claim(1, (10, 20), true, b"hello", b"");
        let b = claim(1, (20, 10), false, b"", b"help!");
        assert_eq!(choose(&a, [(7, &b)], Rules::default()), Choice::Refuse(7, Reason::Mismatch));
        let b = claim(1, (20, 10), false, b"", b"hallo");
        assert_eq!(choose(&a, [(7, &b)], Rules::default()), Choice::Refuse(7, Reason::Mismatch));
    }

    #[test]
    fn other_namespaces_are_left_alone_by_default() {
        let a = claim(1, (10, 20), true, &[1; 100], &[2; 100]);
        let b = claim(2, (20, 10), false, &[2; 100], &[1; 100]);
        assert_eq!(choose(&a, [(7, &b)], Rules::default()), Choice::Stand);
    }

    #[test]
    fn across_namespaces_a_rewritten_destination_pairs_on_evidence() {
        let a = claim(1, (10, 8080), true, &[1; 100], &[2; 100]);
        let b = claim(2, (80, 10), false, &[2; 100], &[1; 100]);
        assert!(matches!(choose(&a, [(7, &b)], ACROSS), Choice::Pair(7, _)));
        assert!(matches!(choose(&b, [(8, &a)], ACROSS), Choice::Pair(8, _)));

        let few = claim(2, (80, 10), false, &[2; 3], &[1; 3]);
        let late = Claim { since_ns: 1_501, ..b.clone() };
        let unseen = Claim { since_ns: 0, ..b.clone() };
        let stranger = claim(2, (80, 11), false, &[2; 100], &[1; 100]);
        let connector = Claim { connector: true, ..b.clone() };
        let differs = claim(2, (80, 10), false, &[2; 100], &[3; 100]);
        for other in [few, late, unseen, stranger, connector, differs] {
            assert_eq!(choose(&a, [(7, &other)], ACROSS), Choice::Stand);
        }
    }

    #[test]
    fn a_second_candidate_is_a_doubt() {
        let a = claim(1, (10, 8080), true, &[1; 100], &[2; 100]);
        let b = claim(2, (80, 10), false, &[2; 100], &[1; 100]);
        let c = claim(3, (80, 10), false, &[2; 100], &[1; 100]);
        assert_eq!(choose(&a, [(7, &b), (8, &c)], ACROSS), Choice::Ambiguous);
        // But the kernel's own word in one namespace is not shaken by look-alikes elsewhere.
        let near = claim(1, (8080, 10), false, &[2; 100], &[1; 100]);
        assert!(matches!(choose(&a, [(7, &b), (9, &near)], ACROSS), Choice::Pair(9, _)));
    }

    #[test]
    fn standing_claims_are_found_by_their_mirror_only() {
        let mut standing = Standing::default();
        assert_eq!(standing.insert(1, address(10), address(20), 1), None);
        assert_eq!(standing.mirror(1, address(20), address(10)), Some(1));
        assert_eq!(standing.mirror(1, address(10), address(20)), None);
        assert_eq!(standing.mirror(2, address(20), address(10)), None);
        assert_eq!(standing.insert(1, address(10), address(20), 2), Some(1));
        standing.remove(1, address(10), address(20), 1);
        assert_eq!(standing.len(), 1);
        standing.remove(1, address(10), address(20), 2);
        assert!(standing.is_empty());
    }

    proptest! {
        /// Two sides of one stream, however far each has come, always agree, and compare all that both have, rounded
        /// down to the grid.
        #[test]
        fn one_stream_agrees_with_itself(stream in proptest::collection::vec(any::<u8>(), 0..5000), a in 0usize..5000, b in 0usize..5000) {
            let (a, b) = (a.min(stream.len()), b.min(stream.len()));
            let compared = compare(&prefix(&stream[..a]), &prefix(&stream[..b])).unwrap();
            let common = a.min(b).min(1 << (GRID - 1));
            prop_assert!(compared as usize <= common && common < 2 * compared as usize + 1);
        }

        /// Streams that differ within the compared part never agree.
        #[test]
        fn a_difference_is_seen(stream in proptest::collection::vec(any::<u8>(), 1..4097), at in 0usize..4096, flip in 1u8..) {
            let mut other = stream.clone();
            let at = at % stream.len();
            other[at] ^= flip;
            let result = compare(&prefix(&stream), &prefix(&other));
            let hashed = if stream.is_empty() { 0 } else { 1usize << stream.len().ilog2() };
            prop_assert_eq!(result.is_none(), at < hashed);
        }

        /// Numbers that no honest side posts do no harm.
        #[test]
        fn any_prefix_is_compared(bytes: u64, other: u64, digest: [u64; GRID]) {
            let compared = compare(&Prefix { bytes, digest }, &Prefix { bytes: other, digest }).unwrap();
            prop_assert!(compared <= 1 << (GRID - 1));
        }

        /// The order in which the two ends offer does not matter.
        #[test]
        fn choosing_is_symmetric(ports in (1u16..4, 1u16..4), others in (1u16..4, 1u16..4), tx in ".{0,9}", rx in ".{0,9}") {
            let a = claim(1, ports, true, tx.as_bytes(), rx.as_bytes());
            let b = claim(1, others, false, rx.as_bytes(), tx.as_bytes());
            let there = matches!(choose(&a, [((), &b)], Rules::default()), Choice::Pair(..));
            let back = matches!(choose(&b, [((), &a)], Rules::default()), Choice::Pair(..));
            prop_assert_eq!(there, back);
            prop_assert_eq!(there, ports == (others.1, others.0));
        }
    }
}
