//! The status.

use super::Server;
use super::messages::Fault;
use crate::diag::{Counts, Question};
use crate::protocol::{Address, Header, Kind, StatusReply, Transport};
use crate::registry::{ClientId, Endpoint, EndpointId, state};
use crate::status::{Carrier, Connection, Direction, State, Status};
use crate::transport::text_file;
use bytemuck::bytes_of;
use rustix::time::ClockId;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Instant;

/// So many sockets the kernel is asked about for one status; at 3 µs each that is not felt.
const ASKED: usize = 4096;

impl Server {
    pub(super) fn report(&mut self, client_id: ClientId) -> Result<(), Fault> {
        let Some(client) = self.clients.get(&client_id) else { return Ok(()) };
        // Each answer is a descriptor on its way and memory of ours, until it is read.
        if !client.has_read_all() {
            return Err(Fault::Violation("asks for the status without reading it"));
        }
        // Writing it down takes as long as handling so many messages.
        let cost = u32::try_from(self.books.endpoints.len() / 2).unwrap_or(u32::MAX);
        let uid = client.uid;
        let _ = self.books.user(uid).bucket.take(cost, Instant::now());

        let status = self.status();
        let text = serde_json::to_vec(&status).map_err(|_| Fault::Violation("a status that cannot be written"))?;
        let file = text_file(&text)?;
        let reply = StatusReply { header: Header::new(Kind::StatusReply, 0), length: text.len() as u64 };
        match self.clients.get(&client_id) {
            Some(client) => Ok(client.send(bytes_of(&reply), &[file.as_fd()])?),
            None => Ok(()),
        }
    }

    fn status(&mut self) -> Status {
        let live: Vec<EndpointId> =
            self.books.endpoints.iter().filter(|(_, endpoint)| !endpoint.ended).map(|(id, _)| *id).collect();
        let now = rustix::time::clock_gettime(ClockId::Monotonic);
        let now_ns = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        let mut connections = Vec::with_capacity(live.len());
        for (index, id) in live.into_iter().enumerate() {
            let counts = if index < ASKED { self.counts(id) } else { None };
            if let Some(endpoint) = self.books.endpoints.get(&id) {
                connections.push(self.connection(id, endpoint, counts, now_ns));
            }
        }
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: self.boot,
            pid: std::process::id(),
            uptime_s: self.uptime().as_secs_f64(),
            clients: self.clients.values().filter(|client| client.greeting.is_some()).count() as u64,
            connections,
            totals: self.books.totals(),
        }
    }

    /// What TCP carried, by the kernel's word: from a witness of the endpoint's own side, for display only.
    fn counts(&mut self, id: EndpointId) -> Option<Counts> {
        let endpoint = self.books.endpoints.get(&id)?;
        let &(client, _) = endpoint.holders.first()?;
        let theirs = self.clients.get(&client).and_then(|client| client.greeting.as_ref()?.witness.as_ref());
        let witness = theirs.or(self.witness.as_ref())?;
        let question =
            Question { local: endpoint.local, remote: endpoint.remote, cookie: Some(endpoint.cookie), counts: true };
        witness.ask(&question, &mut self.dice).ok()??.counts
    }

    fn connection(&self, id: EndpointId, endpoint: &Endpoint, counts: Option<Counts>, now_ns: u64) -> Connection {
        let snapshot = self.books.snapshot(endpoint);
        let state = state(endpoint, &snapshot);
        let pair = endpoint.pair.and_then(|(id, _)| self.books.pairs.get(&id));
        let transport = pair.map_or(Transport::Tcp, |pair| pair.transport);
        // The first holder may have gone; who is left has it.
        let holder = endpoint.holders.iter().find_map(|(client, _)| self.clients.get(client));
        let carrier = |turn: u32| match (turn % 2, transport) {
            (1, Transport::Shm) => Carrier::Ring,
            (1, Transport::Uds) => Carrier::Uds,
            _ => Carrier::Tcp,
        };
        let age_ns = match endpoint.since_ns {
            since if since > 0 && since <= now_ns => u128::from(now_ns - since),
            _ => endpoint.arrived.elapsed().as_nanos(),
        };
        Connection {
            id: id.0,
            pid: holder.map_or(endpoint.pid, |client| client.pid),
            command: holder.map_or_else(|| endpoint.command.to_string(), |client| client.command().to_string()),
            local: shown(&endpoint.local),
            remote: shown(&endpoint.remote),
            netns: endpoint.namespace.0,
            state,
            reason: (state == State::NoOpt).then(|| endpoint.reason.name().to_owned()),
            transport: (state == State::Opt).then(|| transport.name().to_owned()),
            pair: endpoint.pair.map(|(id, _)| id.0),
            tx: Direction {
                carrier: carrier(snapshot.turn),
                tcp_bytes: counts.map_or(0, |counts| counts.acked),
                moved_bytes: snapshot.tail,
                sleeps: snapshot.tx_sleeps,
                wakes: snapshot.tx_wakes,
                late: snapshot.tx_late,
            },
            rx: Direction {
                carrier: carrier(snapshot.followed),
                tcp_bytes: counts.map_or(0, |counts| counts.received),
                moved_bytes: snapshot.head,
                sleeps: snapshot.rx_sleeps,
                wakes: snapshot.rx_wakes,
                late: snapshot.rx_late,
            },
            age_s: age_ns as f64 / 1e9,
        }
    }
}

/// An address as people write it; a mapped one as the IPv4 address that it is.
fn shown(address: &Address) -> String {
    let ip = IpAddr::V6(Ipv6Addr::from(address.ip)).to_canonical();
    SocketAddr::new(ip, address.port).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_look_familiar() {
        let address = |text: &str, port| {
            let ip = text.parse::<Ipv6Addr>().unwrap().octets();
            shown(&Address { ip, port, reserved: 0 })
        };
        assert_eq!(address("::ffff:127.0.0.1", 6379), "127.0.0.1:6379");
        assert_eq!(address("::1", 80), "[::1]:80");
        assert_eq!(address("fe80::1", 1), "[fe80::1]:1");
    }
}
