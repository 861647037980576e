//! Clients that do not follow the protocol. Each is refused or hung up on; the others notice nothing.

mod support;

use bytemuck::{Zeroable, bytes_of};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{AddressFamily, SendFlags, SocketType};
use slipstream_broker::packet;
use slipstream_broker::protocol::{Header, Hello, Kind, MAX_MESSAGE, Offer, Reason, Transport, VERSION};
use slipstream_broker::status::State;
use std::io::Write;
use std::net::TcpStream;
use support::*;

/// The broker still pairs two honest clients.
fn still_works(broker: &Broker) {
    let (a, b) = (Client::new(broker, Transport::Shm), Client::new(broker, Transport::Shm));
    let (connected, accepted) = tcp_pair();
    attached((&a, 1, &connected), (&b, 1, &accepted));
}

fn raw(client: &Client, bytes: &[u8], fds: &[rustix::fd::BorrowedFd<'_>]) {
    packet::send(&client.socket, bytes, fds).unwrap();
}

fn pipe() -> OwnedFd {
    rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap()
}

#[test]
fn packets_that_are_no_messages() {
    let broker = Broker::start();
    let good = notice(Kind::Withdraw, 1, 0, Reason::None, 0);
    let with = |at: usize, value: u8| {
        let mut bytes = bytes_of(&good).to_vec();
        bytes[at] = value;
        bytes
    };
    let bad: Vec<Vec<u8>> = vec![
        vec![],
        vec![1],
        bytes_of(&good)[..31].to_vec(),
        [bytes_of(&good), &[0]].concat(),
        vec![0; MAX_MESSAGE],
        vec![0xff; 100_000],
        with(0, 0),
        with(4, VERSION as u8 + 1),
        with(6, 0),
        with(6, 99),
        with(6, Kind::Offer as u8),
        with(6, Kind::Refused as u8),
        with(6, Kind::Attach as u8),
    ];
    let count = bad.len() as u64;
    for bytes in bad {
        let client = Client::new(&broker, Transport::Shm);
        raw(&client, &bytes, &[]);
        client.expect_hang_up();
    }
    let totals = broker.status().totals;
    // An empty packet cannot be told from the end.
    assert_eq!((totals.invalid + totals.other_version, totals.other_version), (count - 1, 1));
    still_works(&broker);
}

#[test]
fn messages_out_of_turn() {
    let broker = Broker::start();
    // Before Hello.
    let (connected, _accepted) = tcp_pair();
    let client = Client::raw(&broker);
    client.offer(1, &connected, CONNECTED);
    client.expect_hang_up();
    let client = Client::raw(&broker);
    client.say(Kind::Withdraw, 1, 0, Reason::None);
    client.expect_hang_up();
    // Hello twice.
    let client = Client::new(&broker, Transport::Shm);
    match packet::send(&client.socket, bytes_of(&hello(Transport::Shm)), &[diag_socket().as_fd()]) {
        Ok(()) => client.expect_hang_up(),
        Err(error) => assert_eq!(error, rustix::io::Errno::PERM),
    }
    // An unknown transport.
    let client = Client::raw(&broker);
    client.send(&Hello { transport: 9, ..hello(Transport::Shm) }, &[diag_socket().as_fd()]);
    client.expect_hang_up();
    // A name that is taken, and one that is none.
    for name in [1, 0] {
        let client = Client::new(&broker, Transport::Shm);
        client.offer(1, &connected, CONNECTED);
        client.offer(name, &connected, CONNECTED);
        client.expect_hang_up();
    }
    // Answers to questions that were never asked, about things that are not there, are ignored.
    let client = Client::new(&broker, Transport::Shm);
    for kind in [Kind::Mapped, Kind::Attached, Kind::Declined, Kind::Withdraw, Kind::Adopt, Kind::Retired] {
        client.say(kind, 77, 12345, Reason::None);
        client.send(&notice(kind, u64::MAX - 1, u64::MAX, Reason::None, 255), &[]);
    }
    client.barrier();
    still_works(&broker);
}

#[test]
fn answers_in_the_wrong_stage_change_nothing() {
    let broker = Broker::start();
    let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
    let (connected, accepted) = tcp_pair();
    a.offer(1, &connected, CONNECTED);
    a.barrier();
    b.offer(1, &accepted, ACCEPTED);
    let (left, right) = (a.prepare(1), b.prepare(1));
    a.say(Kind::Attached, 1, left.pair, Reason::None);
    a.say(Kind::Mapped, 1, left.pair + 1000, Reason::None);
    a.say(Kind::Mapped, 2, left.pair, Reason::None);
    // Somebody else's pair.
    let c = Client::new(&broker, Transport::Shm);
    c.say(Kind::Mapped, 1, left.pair, Reason::None);
    c.say(Kind::Declined, 1, left.pair, Reason::None);
    c.say(Kind::Retired, 1, left.pair, Reason::None);
    c.say(Kind::Withdraw, 1, left.pair, Reason::None);
    c.barrier();
    a.barrier();
    a.say(Kind::Mapped, 1, left.pair, Reason::None);
    a.say(Kind::Mapped, 1, left.pair, Reason::None);
    a.barrier();
    b.say(Kind::Mapped, 1, right.pair, Reason::None);
    a.attach(&left);
    b.attach(&right);
}

#[test]
fn descriptors_that_do_not_belong() {
    let broker = Broker::start();
    let extra = pipe();
    let four = [extra.as_fd(); 4];
    // Beside a message that has none, more than any message has, and beside garbage.
    for count in [1, 4] {
        let client = Client::raw(&broker);
        client.send(&notice(Kind::Withdraw, 1, 0, Reason::None, 0), &four[..count]);
        client.expect_hang_up();
    }
    let client = Client::raw(&broker);
    many_descriptors(&client, &extra, 200);
    client.expect_hang_up();
    // After Hello no client has any more to send: where the kernel can (Linux 6.16), it does not even take them.
    let client = Client::new(&broker, Transport::Shm);
    match packet::send(&client.socket, bytes_of(&notice(Kind::Withdraw, 1, 0, Reason::None, 0)), &four) {
        Ok(()) => client.expect_hang_up(),
        Err(error) => assert_eq!(error, rustix::io::Errno::PERM),
    }
    let client = Client::raw(&broker);
    client.send(&hello(Transport::Shm), &[]);
    client.expect_hang_up();
    let client = Client::raw(&broker);
    client.send(&hello(Transport::Shm), &[extra.as_fd(), extra.as_fd()]);
    client.expect_hang_up();
    still_works(&broker);
    // None of them stays open in the broker.
    let open = std::fs::read_dir(format!("/proc/{}/fd", broker.pid())).unwrap();
    let eventfds = open
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|link| link.to_string_lossy().contains("eventfd"))
        .count();
    assert!(eventfds <= 2, "{eventfds} eventfds: more than the two bells of `still_works`");
}

/// As many descriptors as the kernel takes in one packet.
fn many_descriptors(client: &Client, fd: &OwnedFd, count: usize) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage};
    let fds = vec![fd.as_fd(); count];
    let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let message = notice(Kind::Withdraw, 1, 0, Reason::None, 0);
    let data = [std::io::IoSlice::new(bytes_of(&message))];
    rustix::net::sendmsg(&client.socket, &data, &mut control, SendFlags::empty()).unwrap();
}

/// A connection whose last descriptor takes an hour to close: unsent bytes, and a linger of so long.
fn lingering() -> (TcpStream, TcpStream) {
    let (mut lingering, peer) = tcp_pair();
    rustix::net::sockopt::set_socket_linger(&lingering, Some(std::time::Duration::from_secs(3600))).unwrap();
    lingering.set_nonblocking(true).unwrap();
    while lingering.write(&[0; 65536]).is_ok() {}
    (lingering, peer)
}

#[test]
fn closing_a_strangers_socket_does_not_wait_for_it() {
    let broker = Broker::start();
    let withdraw = notice(Kind::Withdraw, 1, 0, Reason::None, 0);
    let hello = hello(Transport::Shm);
    // Received and refused; received as a witness; never received, since the packet before it ends the connection.
    let ways: [&[&[u8]]; 4] = [
        &[bytes_of(&withdraw)],
        &[bytes_of(&hello)],
        &[&[1], bytes_of(&withdraw)],
        &[&[1], &[], &[], bytes_of(&withdraw)],
    ];
    let mut peers = Vec::new();
    for way in ways {
        let client = Client::raw(&broker);
        let (lingering, peer) = lingering();
        peers.push(peer);
        // Stopped, so that the only descriptor left is the one in the packet.
        kill(broker.pid(), rustix::process::Signal::STOP);
        for bytes in way {
            let fds = [lingering.as_fd()];
            raw(&client, bytes, if bytes.len() > 1 { &fds } else { &[] });
        }
        drop(lingering);
        kill(broker.pid(), rustix::process::Signal::CONT);
        client.expect_hang_up();
        still_works(&broker);
    }
}

#[test]
fn what_is_no_sock_diag_socket_is_no_witness() {
    let broker = Broker::start();
    let unix = |kind| rustix::net::socket(AddressFamily::UNIX, kind, None).unwrap();
    let route = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap();
    let tcp = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    for forged in [unix(SocketType::STREAM), unix(SocketType::DGRAM), unix(SocketType::SEQPACKET), route, tcp, pipe()] {
        let client = Client::raw(&broker);
        client.send(&hello(Transport::Shm), &[forged.as_fd()]);
        client.expect_hang_up();
    }
    assert_eq!(broker.status().totals.invalid, 6);
    still_works(&broker);
}

#[test]
fn claims_that_the_kernel_does_not_confirm() {
    let broker = Broker::start();
    let victim = Client::new(&broker, Transport::Shm);
    let liar = Client::new(&broker, Transport::Shm);
    let (connected, accepted) = tcp_pair();
    let (other, _end) = tcp_pair();
    victim.offer(1, &connected, CONNECTED);
    victim.barrier();

    let truth = offer(1, &accepted, ACCEPTED);
    let strange = offer(1, &other, ACCEPTED);
    let lies = [
        Offer { cookie: strange.cookie, ..truth }, // someone else's addresses
        Offer { local: strange.local, remote: strange.remote, ..truth }, // someone else's cookie
        Offer { cookie: truth.cookie + 1, ..truth }, // a cookie that is none
        Offer { cookie: u64::MAX, ..truth },       // the kernel's word for "any"
        Offer { local: truth.remote, remote: truth.local, ..truth }, // the wrong end
        Offer { local: strange.local, ..truth },
        Offer { cookie: 0, ..Offer::zeroed() },
    ];
    for (index, lie) in lies.into_iter().enumerate() {
        let name = index as u64 + 10;
        liar.send(&Offer { header: Header::new(Kind::Offer, name), ..lie }, &[]);
        let (got, _, reason) = liar.expect(Kind::Refused);
        assert_eq!(got, name);
        assert!([Reason::Unproven, Reason::SelfConnected].contains(&reason), "{index}: {reason:?}");
    }
    // The victim's own offer stands through all of it, and the true peer is found.
    liar.offer(1, &accepted, ACCEPTED);
    assert_eq!(liar.prepare(1).pair, victim.prepare(1).pair);
}

#[test]
fn a_listener_is_no_connection() {
    let broker = Broker::start();
    let client = Client::new(&broker, Transport::Shm);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (connected, _accepted) = tcp_pair();
    // Looked up by a 4-tuple that does not exist, the kernel answers with the listener on that port.
    let lie = Offer {
        cookie: rustix::net::sockopt::socket_cookie(&listener).unwrap(),
        local: address(listener.local_addr().unwrap()),
        ..offer(1, &connected, ACCEPTED)
    };
    client.send(&lie, &[]);
    client.expect_refusal(1, Reason::Unproven);
}

#[test]
fn a_flood_of_offers_is_bounded_and_delays_only_its_sender() {
    let broker = Broker::start();
    let flooder = Client::new(&broker, Transport::Shm);
    let (connected, _accepted) = tcp_pair();
    let mut message = offer(1, &connected, CONNECTED);
    message.cookie += 1;
    let mut sent = 0;
    // Until the broker takes no more: it does not read refusals either.
    for name in 1..200_000 {
        message.header.endpoint = name;
        match packet::send(&flooder.socket, bytes_of(&message), &[]) {
            Ok(()) => sent += 1,
            Err(rustix::io::Errno::AGAIN) => std::thread::yield_now(),
            Err(_) => break, // hung up: it never reads its mail
        }
    }
    assert!(sent > 1000);
    still_works(&broker);
    let status = broker.status();
    assert!(status.connections.len() <= 1024 + 2, "refused offers are remembered to a limit");
    assert!(status.totals.by_reason["unproven"] >= 1000);
}

#[test]
fn a_flood_of_garbage_and_connections() {
    let broker = Broker::start();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..2000 {
        let client = if round % 2 == 0 { Client::raw(&broker) } else { Client::new(&broker, Transport::Shm) };
        let length = [1, 16, 32, 56, 288, MAX_MESSAGE][random() as usize % 6];
        let mut bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        if length >= 16 && round % 3 != 0 {
            // Past the first checks.
            let kinds = [1, 2, 3, 4, 5, 6, 7, 8, 33];
            let header =
                Header { kind: kinds[random() as usize % kinds.len()], ..Header::new(Kind::Hello, random() % 3) };
            bytes[..16].copy_from_slice(bytes_of(&header));
        }
        let _ = packet::send(&client.socket, &bytes, &[]);
    }
    still_works(&broker);
}

#[test]
fn status_cannot_be_used_to_fill_the_broker() {
    let broker = Broker::start();
    let client = Client::raw(&broker);
    // The second one comes with the first one's answer unread.
    client.say(Kind::Status, 0, 0, Reason::None);
    client.say(Kind::Status, 0, 0, Reason::None);
    wait_for(&client.socket, rustix::event::PollFlags::RDHUP);
    assert_eq!(broker.status().connections.len(), 0);
}

#[test]
fn a_witness_that_its_client_tampers_with_harms_only_its_client() {
    // In the broker's own namespace the client's socket is not used at all: read empty, closed, connected elsewhere.
    let broker = Broker::start();
    let witness = diag_socket();
    let a = Client::raw(&broker);
    a.send(&hello(Transport::Shm), &[witness.as_fd()]);
    a.receive();
    rustix::net::connect(&witness, &rustix::net::netlink::SocketAddrNetlink::new(4242, 0)).unwrap();
    let b = Client::new(&broker, Transport::Shm);
    let (connected, accepted) = tcp_pair();
    attached((&a, 1, &connected), (&b, 1, &accepted));
}

#[test]
fn nobody_adopts_what_is_not_there() {
    let broker = Broker::start();
    let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
    let (connected, accepted): (TcpStream, TcpStream) = tcp_pair();
    let [(left, _), _] = attached((&a, 1, &connected), (&b, 1, &accepted));
    let child = Client::new(&broker, Transport::Shm);
    child.send(&notice(Kind::Adopt, 1, left.pair, Reason::None, 2), &[]);
    child.expect_hang_up();
    let child = Client::new(&broker, Transport::Shm);
    child.send(&notice(Kind::Adopt, 5, left.pair, Reason::None, left.side as u8), &[]);
    child.send(&notice(Kind::Adopt, 5, left.pair, Reason::None, left.side as u8), &[]);
    child.expect_hang_up();
    let status = broker.status();
    assert_eq!(entry(&status, &connected).state, State::PreOpt);
}
