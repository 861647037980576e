//! Two processes' worth of clients, real TCP connections, and what becomes of their offers.

mod support;

use rustix::fd::AsFd;
use rustix::fs::SealFlags;
use rustix::io::Errno;
use slipstream_broker::packet::{Message, Packet};
use slipstream_broker::protocol::{Kind, Reason, Transport};
use slipstream_broker::status::{Carrier, State};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering;
use support::*;

#[test]
fn a_pair_is_made_and_bytes_pass_both_ways() {
    let broker = Broker::start();
    let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
    let (mut connected, mut accepted) = tcp_pair();
    connected.write_all(b"hello").unwrap();
    accepted.read_exact(&mut [0; 5]).unwrap();

    a.offer(1, &connected, Side { connector: true, sent: b"hello", received: b"" });
    a.barrier();
    let status = broker.status();
    assert_eq!(entry(&status, &connected).state, State::PreOpt);
    b.offer(9, &accepted, Side { connector: false, sent: b"", received: b"hello" });
    let (left, right) = (a.prepare(1), b.prepare(9));
    assert_eq!((left.pair, left.capacity), (right.pair, 16 << 10));
    assert_eq!(left.side + right.side, 1);

    a.say(Kind::Mapped, 1, left.pair, Reason::None);
    a.barrier(); // no Attach before both have mapped
    b.say(Kind::Mapped, 9, left.pair, Reason::None);
    let (from_right, from_left) = (a.attach(&left), b.attach(&right));
    left.outbox.publish(b"over the ring");
    right.outbox.publish(b"and back");
    assert_eq!(from_left.published(), b"over the ring");
    assert_eq!(from_right.published(), b"and back");
    rustix::io::write(&left.peer_bell, &1u64.to_ne_bytes()).unwrap();
    assert_eq!((rings(&left.own_bell), rings(&right.own_bell)), (0, 1));
    right.outbox.long(HEAD).store(4, Ordering::Relaxed);
    right.outbox.word(FOLLOWED).store(1, Ordering::Relaxed);

    a.barrier();
    b.barrier();
    let status = broker.status();
    let (one, two) = (entry(&status, &connected), entry(&status, &accepted));
    assert_eq!((one.state, two.state), (State::Opt, State::Opt));
    assert_eq!((one.tx.carrier, one.rx.carrier), (Carrier::Ring, Carrier::Tcp));
    assert_eq!((one.tx.moved_bytes, two.tx.moved_bytes, two.rx.moved_bytes), (13, 8, 4));
    assert_eq!((one.transport.as_deref(), one.pid, one.command.as_str()), (Some("shm"), std::process::id(), "test"));
    assert!((5..=6).contains(&one.tx.tcp_bytes) && (5..=6).contains(&two.rx.tcp_bytes), "{one:?}");
    assert_eq!(one.remote, two.local);
    assert_eq!((status.totals.connections, status.totals.matched, status.totals.moved_bytes), (2, 2, 21));

    // What has ended is counted as what it was.
    a.say(Kind::Withdraw, 1, 0, Reason::None);
    a.barrier();
    b.say(Kind::Withdraw, 9, 0, Reason::None);
    b.barrier();
    let status = broker.status();
    assert!(status.connections.is_empty());
    assert_eq!(status.totals.by_state.get("opt"), Some(&2));
    assert_eq!(status.totals.moved_bytes, 21);
    assert_eq!(broker.stop(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_peer_cannot_write_what_is_not_its_own() {
    let broker = Broker::start();
    let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
    let (connected, accepted) = tcp_pair();
    let [(left, from_right), (_right, _)] = attached((&a, 1, &connected), (&b, 1, &accepted));
    let again = |file: &rustix::fd::OwnedFd| {
        let copy = file.try_clone().unwrap();
        Map::new(copy, left.capacity, true).map(drop)
    };
    assert!(again(&from_right.file).is_err(), "read-only");
    assert_eq!(again(&left.outbox.file), Err(Errno::PERM), "mapped once, then sealed");
    assert_eq!(rustix::fs::ftruncate(&left.outbox.file, 0), Err(Errno::PERM));
    let seals = rustix::fs::fcntl_get_seals(&from_right.file).unwrap();
    assert!(seals.contains(SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL));
    assert!(rustix::io::pwrite(a.mailbox.as_ref().unwrap(), b"x", 0).is_err());
}

#[test]
fn both_transports_and_every_address_family() {
    let broker = Broker::start();
    let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    let ways = [
        ("127.0.0.1:0", None),
        ("[::1]:0", None),
        ("[::]:0", Some(IpAddr::V4(Ipv4Addr::LOCALHOST))), // the accepted socket is AF_INET6 with mapped addresses
        ("0.0.0.0:0", Some(mapped)),                       // the connected one is
        ("[::]:0", Some(mapped)),                          // both are
        ("[::]:0", Some(IpAddr::V6(Ipv6Addr::LOCALHOST))),
    ];
    for transport in [Transport::Shm, Transport::Uds] {
        let (a, b) = (Client::new(&broker, transport), Client::new(&broker, transport));
        for (index, (bind, dial)) in ways.into_iter().enumerate() {
            let (connected, accepted) = tcp_pair_at(bind, dial);
            let name = index as u64 + 1;
            let [(left, _), (right, _)] = attached((&a, name, &connected), (&b, name, &accepted));
            if transport == Transport::Uds {
                let (one, two) = (left.uds.unwrap(), right.uds.unwrap());
                rustix::io::write(&one, b"uds").unwrap();
                let mut got = [0; 3];
                rustix::io::read(&two, &mut got).unwrap();
                assert_eq!(&got, b"uds");
            }
        }
    }
}

#[test]
fn a_process_may_be_connected_to_itself() {
    let broker = Broker::start();
    let client = Client::new(&broker, Transport::Shm);
    let (connected, accepted) = tcp_pair();
    client.offer(1, &connected, CONNECTED);
    client.offer(2, &accepted, ACCEPTED);
    // One packet with descriptors at a time: the second comes when the first is answered.
    for step in [0, 1] {
        let mut prepared = Vec::new();
        for _ in 0..2 {
            let packet = client.receive();
            let (name, pair) = match (step, packet.message) {
                (0, Message::Prepare(prepare)) => (prepare.header.endpoint, prepare.pair),
                (1, Message::Notice(Kind::Attach, notice)) => (notice.header.endpoint, notice.pair),
                other => panic!("{other:?}"),
            };
            prepared.push(name);
            client.say([Kind::Mapped, Kind::Attached][step], name, pair, Reason::None);
        }
        prepared.sort_unstable();
        assert_eq!(prepared, [1, 2]);
    }
    client.barrier();
    assert_eq!(broker.status().totals.matched, 2);
}

#[test]
fn one_deaf_client_keeps_nobody_else_waiting() {
    let broker = Broker::start();
    let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
    let deaf = Client::new(&broker, Transport::Shm);
    let (connected, accepted) = tcp_pair();
    deaf.offer(1, &connected, CONNECTED);
    deaf.barrier();
    b.offer(1, &accepted, ACCEPTED);
    let half = b.prepare(1);
    b.say(Kind::Mapped, 1, half.pair, Reason::None);
    let (other, end) = tcp_pair();
    attached((&a, 7, &other), (&b, 8, &end));

    // It goes without ever having looked: the other side hears that nothing comes of it.
    drop(deaf);
    b.expect_refusal(1, Reason::Gone);
}

#[test]
fn refusals_have_their_reasons() {
    let broker = Broker::start();
    let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
    let uds = Client::new(&broker, Transport::Uds);
    let tcp = Client::new(&broker, Transport::Tcp);

    let (connected, accepted) = tcp_pair();
    tcp.offer(1, &connected, CONNECTED);
    tcp.expect_refusal(1, Reason::Disabled);

    a.offer(1, &connected, CONNECTED);
    a.barrier();
    uds.offer(1, &accepted, ACCEPTED);
    uds.expect_refusal(1, Reason::Transport);
    a.expect_refusal(1, Reason::Transport);

    let (connected, accepted) = tcp_pair();
    a.offer(2, &connected, Side { connector: true, sent: b"one", received: b"" });
    a.barrier();
    b.offer(2, &accepted, Side { connector: false, sent: b"", received: b"two" });
    b.expect_refusal(2, Reason::Mismatch);
    a.expect_refusal(2, Reason::Mismatch);

    // The same socket offered twice is shared by two.
    let (connected, _accepted) = tcp_pair();
    a.offer(3, &connected, CONNECTED);
    a.barrier();
    b.offer(3, &connected, CONNECTED);
    b.expect_refusal(3, Reason::Shared);
    a.expect_refusal(3, Reason::Shared);

    // A connection that is ending.
    let (connected, accepted) = tcp_pair();
    drop(connected);
    accepted.peek(&mut [0]).unwrap();
    a.offer(4, &accepted, ACCEPTED);
    a.expect_refusal(4, Reason::Gone);

    let status = broker.status();
    let reasons = &status.totals.by_reason;
    let counted: Vec<_> = reasons.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(counted, [("disabled", 1), ("gone", 1), ("mismatch", 2), ("shared", 2), ("transport", 2)]);
    assert!(status.connections.iter().all(|connection| connection.state == State::NoOpt));
    assert_eq!(status.totals.refused, 8);
}

#[test]
fn a_socket_connected_to_itself_is_refused() {
    let broker = Broker::start();
    let client = Client::new(&broker, Transport::Shm);
    // Simultaneous open with oneself: bound, then connected to the own address.
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let own = std::net::SocketAddrV4::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    rustix::net::connect(&socket, &own).unwrap();
    let stream = std::net::TcpStream::from(socket);
    client.offer(1, &stream, CONNECTED);
    client.expect_refusal(1, Reason::SelfConnected);
}

#[test]
fn who_declines_at_any_step_stays_on_tcp_and_its_peer_is_told() {
    let broker = Broker::start();
    let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));

    // Instead of mapping.
    let (connected, accepted) = tcp_pair();
    a.offer(1, &connected, CONNECTED);
    a.barrier();
    b.offer(1, &accepted, ACCEPTED);
    let (left, right) = (a.prepare(1), b.prepare(1));
    a.say(Kind::Mapped, 1, left.pair, Reason::None);
    b.say(Kind::Declined, 1, right.pair, Reason::Memory);
    a.expect_refusal(1, Reason::Peer);
    b.barrier();
    let status = broker.status();
    assert_eq!(entry(&status, &accepted).reason.as_deref(), Some("memory"));
    assert_eq!(entry(&status, &connected).reason.as_deref(), Some("peer"));

    // Instead of attaching.
    let (connected, accepted) = tcp_pair();
    a.offer(2, &connected, CONNECTED);
    a.barrier();
    b.offer(2, &accepted, ACCEPTED);
    let (left, right) = (a.prepare(2), b.prepare(2));
    a.say(Kind::Mapped, 2, left.pair, Reason::None);
    b.say(Kind::Mapped, 2, right.pair, Reason::None);
    a.attach(&left);
    assert!(matches!(b.receive().message, Message::Notice(Kind::Attach, _)));
    b.say(Kind::Declined, 2, right.pair, Reason::EpollForeign);
    a.expect_refusal(2, Reason::Peer);

    // While it stands.
    let (connected, _accepted) = tcp_pair();
    a.offer(3, &connected, CONNECTED);
    a.say(Kind::Declined, 3, 0, Reason::Urgent);
    a.barrier();
    assert_eq!(entry(&broker.status(), &connected).reason.as_deref(), Some("urgent"));

    // After it has moved.
    let (connected, accepted) = tcp_pair();
    let [(left, _), _] = attached((&a, 4, &connected), (&b, 4, &accepted));
    left.outbox.publish(b"moved");
    a.say(Kind::Retired, 4, left.pair, Reason::Zerocopy);
    a.barrier();
    let status = broker.status();
    let retired = entry(&status, &connected);
    assert_eq!((retired.state, retired.reason.as_deref()), (State::NoOpt, Some("zerocopy")));
    assert_eq!(retired.tx.moved_bytes, 5);
}

#[test]
fn an_offer_is_gone_when_withdrawn_or_when_its_client_is() {
    let broker = Broker::start();
    let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
    let (connected, accepted) = tcp_pair();
    a.offer(1, &connected, CONNECTED);
    a.say(Kind::Withdraw, 1, 0, Reason::None);
    a.barrier();
    b.offer(1, &accepted, ACCEPTED);
    b.barrier();
    b.say(Kind::Withdraw, 1, 0, Reason::None);
    a.offer(2, &connected, CONNECTED);
    a.barrier();
    drop(a);
    b.offer(2, &accepted, ACCEPTED);
    b.barrier();
    let status = broker.status();
    // Whether the hang-up or the offer was seen first, no pair stands.
    assert!(status.connections.iter().all(|connection| connection.state != State::Opt));
}

#[test]
fn an_endpoint_withdrawn_with_its_mail_unread_blocks_nothing() {
    let broker = Broker::start();
    let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
    let (connected, accepted) = tcp_pair();
    a.offer(1, &connected, CONNECTED);
    a.barrier();
    b.offer(1, &accepted, ACCEPTED);
    let half = b.prepare(1);
    b.say(Kind::Mapped, 1, half.pair, Reason::None);
    a.say(Kind::Withdraw, 1, 0, Reason::None);
    b.expect_refusal(1, Reason::Gone);
    // The Prepare is still unread; another pair comes once it has been read, without an answer to it.
    let (other, end) = tcp_pair();
    a.offer(2, &other, CONNECTED);
    b.offer(2, &end, ACCEPTED);
    let right = b.prepare(2);
    b.say(Kind::Mapped, 2, right.pair, Reason::None);
    let Packet { message: Message::Prepare(old), .. } = a.receive() else { panic!() };
    assert_eq!(old.header.endpoint, 1);
    a.say(Kind::Declined, 1, old.pair, Reason::Gone);
    let left = a.prepare(2);
    a.say(Kind::Mapped, 2, left.pair, Reason::None);
    a.attach(&left);
    b.attach(&right);
}

#[test]
fn a_handout_that_is_declined_makes_way_for_the_next_one() {
    let broker = Broker::start();
    let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
    let pairs: Vec<_> = (0..3).map(|_| tcp_pair()).collect();
    for (name, (connected, _)) in (1..).zip(&pairs) {
        a.offer(name, connected, CONNECTED);
    }
    a.barrier();
    for (name, (_, accepted)) in (1..).zip(&pairs) {
        b.offer(name, accepted, ACCEPTED);
    }
    let first = a.prepare(1);
    // An offer that is taken back answers no handout; a reply names the handout's pair.
    a.say(Kind::Declined, 1, 0, Reason::Urgent);
    a.barrier();
    a.say(Kind::Declined, 1, first.pair, Reason::Urgent);
    // The same of an endpoint that has gone meanwhile.
    let second = a.prepare(2);
    a.say(Kind::Withdraw, 2, 0, Reason::None);
    a.say(Kind::Declined, 2, second.pair, Reason::Gone);
    let left = a.prepare(3);
    a.say(Kind::Mapped, 3, left.pair, Reason::None);
    let first = b.prepare(1);
    b.expect_refusal(1, Reason::Peer);
    b.say(Kind::Declined, 1, first.pair, Reason::Peer);
    b.expect_refusal(2, Reason::Gone);
    let right = b.prepare(3);
    b.say(Kind::Mapped, 3, right.pair, Reason::None);
    a.attach(&left);
    b.attach(&right);
}

#[test]
fn mail_is_announced() {
    let broker = Broker::start();
    let client = Client::new(&broker, Transport::Shm);
    client.barrier();
    let before = client.mail();
    let (connected, accepted) = tcp_pair();
    drop(accepted);
    client.offer(1, &connected, CONNECTED);
    client.receive();
    // Raised after a packet was sent, so surely by the time that a later message was answered; each answer raises too.
    client.barrier();
    assert!((before + 1..=before + 3).contains(&client.mail()));
}

#[test]
fn rings_are_as_large_as_the_larger_wish_within_bounds() {
    let broker = Broker::start();
    let mut clients = Vec::new();
    for kib in [0, 100, 1 << 30] {
        let client = Client::raw(&broker);
        let hello = slipstream_broker::protocol::Hello { ring_kib: kib, ..hello(Transport::Shm) };
        client.send(&hello, &[diag_socket().as_fd()]);
        client.receive();
        clients.push(client);
    }
    for (a, b, wanted) in [(0, 1, 128 << 10), (1, 2, 1 << 20)] {
        let (connected, accepted) = tcp_pair();
        clients[a].offer(wanted, &connected, CONNECTED);
        clients[a].barrier();
        clients[b].offer(wanted, &accepted, ACCEPTED);
        let left = clients[a].prepare(wanted);
        assert_eq!(u64::from(left.capacity), wanted);
        clients[a].say(Kind::Declined, wanted, left.pair, Reason::Memory);
        let right = clients[b].prepare(wanted);
        clients[b].say(Kind::Mapped, wanted, right.pair, Reason::None);
        clients[b].expect_refusal(wanted, Reason::Peer);
    }
}

#[test]
fn a_claim_of_a_connection_that_is_gone_is_not_paired_with_its_successor() {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    let broker = Broker::start();
    let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());
    let mut local = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    // Connections with the same addresses each time. The end by a reset leaves none of them behind.
    let mut connect = || {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseaddr(&socket, true).unwrap();
        rustix::net::bind(&socket, &local).unwrap();
        local = rustix::net::getsockname(&socket).unwrap().try_into().unwrap();
        rustix::net::connect(&socket, &server).unwrap();
        sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO)).unwrap();
        (std::net::TcpStream::from(socket), listener.accept().unwrap().0)
    };
    let end = |connected: std::net::TcpStream, mut accepted: std::net::TcpStream| {
        drop(connected);
        assert!(accepted.read(&mut [0]).is_err(), "reset");
    };

    // The other side of the successor offers first: the old claim is found wanting.
    let (connected, accepted) = connect();
    a.offer(1, &connected, CONNECTED);
    a.barrier();
    end(connected, accepted);
    let (connected, accepted) = connect();
    b.offer(1, &accepted, ACCEPTED);
    b.barrier();
    a.expect_refusal(1, Reason::Gone);
    a.offer(2, &connected, CONNECTED);
    assert_eq!(a.prepare(2).pair, b.prepare(1).pair);
    end(connected, accepted);

    // The same side does: it takes the old claim's place.
    let (c, d) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
    let (connected, accepted) = connect();
    c.offer(1, &connected, CONNECTED);
    c.barrier();
    end(connected, accepted);
    let (connected, accepted) = connect();
    c.offer(2, &connected, CONNECTED);
    c.expect_refusal(1, Reason::Gone);
    d.offer(1, &accepted, ACCEPTED);
    assert_eq!(c.prepare(2).pair, d.prepare(1).pair);
}
