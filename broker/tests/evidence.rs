//! What the kernel says through sock_diag, on real sockets; and clients of other users and namespaces, which need root
//! (each such test says so and passes where it cannot be tried).

mod support;

use rustix::fd::AsFd;
use rustix::thread::UnshareFlags;
use slipstream_broker::diag::Question;
use slipstream_broker::evidence::{Dice, NoWitness, NotWitness, Witness};
use slipstream_broker::protocol::{Kind, Offer, Reason, Transport};
use slipstream_broker::status::State;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;
use support::*;

fn question(stream: &TcpStream) -> Question {
    let offer = offer(1, stream, CONNECTED);
    Question { local: offer.local, remote: offer.remote, cookie: Some(offer.cookie), counts: false }
}

#[test]
fn a_connection_is_found_by_its_addresses_and_cookie() {
    let (witness, mut dice) = (Witness::own().unwrap(), Dice::default());
    let (mut connected, mut accepted) = tcp_pair();
    connected.write_all(&[7; 1000]).unwrap();
    accepted.read_exact(&mut [0; 1000]).unwrap();
    for (stream, acked, received) in [(&connected, 1000, 0), (&accepted, 0, 1000)] {
        let facts = witness.ask(&Question { counts: true, ..question(stream) }, &mut dice).unwrap().unwrap();
        assert!(facts.established && facts.interface == 0);
        assert_eq!(facts.uid, rustix::process::getuid().as_raw());
        let counts = facts.counts.unwrap();
        assert!((acked..=acked + 1).contains(&counts.acked) && counts.received == received, "{counts:?}");
        // Whoever has these addresses now.
        let any = witness.ask(&Question { cookie: None, ..question(stream) }, &mut dice).unwrap().unwrap();
        assert_eq!(any.cookie, facts.cookie);
    }
    let wrong = Question { cookie: Some(1), ..question(&connected) };
    assert_eq!(witness.ask(&wrong, &mut dice).unwrap(), None);
    let (before, after) = (question(&connected), question(&accepted));
    drop(accepted);
    connected.read_to_end(&mut Vec::new()).unwrap();
    let facts = witness.ask(&before, &mut dice).unwrap().unwrap();
    assert!(!facts.established, "CLOSE_WAIT");
    drop(connected);
    for ended in [before, after] {
        let facts = witness.ask(&ended, &mut dice).unwrap();
        assert!(facts.is_none_or(|facts| !facts.established), "nothing, or TIME_WAIT");
    }
}

#[test]
fn answers_come_within_the_call() {
    // `ask` never waits, so an answer that came later than the question would be no answer. The figure is for
    // `--nocapture`; nothing depends on it.
    let (witness, mut dice) = (Witness::own().unwrap(), Dice::default());
    let (connected, _accepted) = tcp_pair();
    for counts in [false, true] {
        let question = Question { counts, ..question(&connected) };
        let mut times: Vec<_> = (0..2000)
            .map(|_| {
                let start = Instant::now();
                assert!(witness.ask(&question, &mut dice).unwrap().is_some());
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("ask, counts {counts}: median {:?}, p99 {:?}", times[1000], times[1980]);
    }
}

#[test]
fn a_witness_tells_litter_from_answers() {
    let socket = diag_socket();
    let meddler = socket.try_clone().unwrap();
    let (witness, mut dice) = (Witness::new(socket).unwrap(), Dice::default());
    let (connected, accepted) = tcp_pair();
    let ask = |question: &Question, sequence: u32| {
        let kernel = rustix::net::netlink::SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&meddler, &question.encode(sequence), rustix::net::SendFlags::empty(), &kernel).unwrap();
    };
    // The client asks on its own and leaves the answers: they are passed over.
    for sequence in 1..6 {
        ask(&question(&accepted), sequence);
        ask(&question(&connected), sequence);
    }
    let facts = witness.ask(&question(&connected), &mut dice).unwrap().unwrap();
    assert_eq!(facts.cookie, question(&connected).cookie.unwrap());
    // So much litter that no answer is found in it: a witness that cannot be used, and a broker that goes on.
    for sequence in 1..100 {
        ask(&question(&accepted), sequence);
    }
    assert!(witness.ask(&question(&connected), &mut dice).is_err());
    while witness.ask(&question(&connected), &mut dice).is_err() {}
    assert!(witness.ask(&question(&connected), &mut dice).unwrap().is_some());
    // Connected elsewhere, the socket takes no answers from the kernel any more.
    rustix::net::connect(&meddler, &rustix::net::netlink::SocketAddrNetlink::new(77, 0)).unwrap();
    assert_eq!(witness.ask(&question(&connected), &mut dice), Err(NoWitness::Mute));
}

#[test]
fn only_sock_diag_sockets_are_witnesses() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(matches!(Witness::new(tcp.into()), Err(NotWitness::Kind)));
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(Witness::new(file.into()), Err(NotWitness::Kind)));
}

/// Runs `body` on a thread of its own after `prepare`; `None` where the machine does not allow it.
fn elsewhere<T: Send>(
    what: &str,
    prepare: impl FnOnce() -> rustix::io::Result<()> + Send,
    body: impl FnOnce() -> T + Send,
) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| match prepare() {
            Ok(()) => Some(body()),
            Err(error) => {
                println!("not tried, {what}: {error}");
                None
            }
        });
        thread.join().unwrap()
    })
}

fn new_network() -> rustix::io::Result<()> {
    // SAFETY: a network namespace belongs to the thread and takes nothing from others.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)? };
    // Its loopback is down.
    let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
    if up.is_ok_and(|status| status.success()) { Ok(()) } else { Err(rustix::io::Errno::NOSYS) }
}

#[test]
fn in_another_namespace_each_side_is_confirmed_by_the_other_ones_witness() {
    let broker = Broker::start();
    elsewhere("a namespace needs root", new_network, || {
        let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
        let (connected, accepted) = tcp_pair();
        attached((&a, 1, &connected), (&b, 1, &accepted));
        let status = broker.status();
        let namespaces: Vec<_> = status.connections.iter().map(|connection| connection.netns).collect();
        assert_eq!(namespaces[0], namespaces[1]);
        assert_ne!(namespaces[0], Witness::new(outside()).unwrap().namespace().0);

        // A client whose witness is mute has no claims; the other one's stands.
        let witness = diag_socket();
        let deaf = Client::raw(&broker);
        deaf.send(&hello(Transport::Shm), &[witness.as_fd()]);
        deaf.receive();
        let (connected, accepted) = tcp_pair();
        b.offer(2, &connected, CONNECTED);
        b.barrier();
        litter(&witness, &connected);
        deaf.offer(1, &accepted, ACCEPTED);
        deaf.expect_refusal(1, Reason::Unproven);
        b.barrier();
        // And the true owner is still found.
        a.offer(2, &accepted, ACCEPTED);
        assert_eq!(a.prepare(2).pair, b.prepare(2).pair);
    });
}

/// A sock_diag socket of the namespace that the test started in.
fn outside() -> rustix::fd::OwnedFd {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let start = std::fs::File::open(format!("/proc/{}/ns/net", std::process::id())).unwrap();
                rustix::thread::move_into_link_name_space(start.as_fd(), None).unwrap();
                diag_socket()
            })
            .join()
            .unwrap()
    })
}

/// Fills a witness with answers to other questions.
fn litter(witness: &rustix::fd::OwnedFd, stream: &TcpStream) {
    let kernel = rustix::net::netlink::SocketAddrNetlink::new(0, 0);
    for sequence in 1..100 {
        let flags = rustix::net::SendFlags::empty();
        rustix::net::sendto(witness, &question(stream).encode(sequence), flags, &kernel).unwrap();
    }
}

#[test]
fn the_same_addresses_in_two_namespaces_are_not_a_pair() {
    let broker = Broker::start();
    elsewhere("a namespace needs root", new_network, || {
        let (here, _other) = tcp_pair_at("127.0.0.1:34567", None);
        let a = Client::new(&broker, Transport::Shm);
        a.offer(1, &here, CONNECTED);
        a.barrier();
        let port = here.local_addr().unwrap().port();
        elsewhere("a second namespace", new_network, || {
            let listener = std::net::TcpListener::bind("127.0.0.1:34567").unwrap();
            let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
            let socket = socket.unwrap();
            let local = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, port);
            rustix::net::bind(&socket, &local).unwrap();
            let server = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 34567);
            rustix::net::connect(&socket, &server).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let b = Client::new(&broker, Transport::Shm);
            b.offer(1, &accepted, ACCEPTED);
            b.barrier();
        });
        a.barrier();
        assert!(broker.status().connections.iter().all(|connection| connection.state == State::PreOpt));
    });
}

#[test]
fn a_claim_is_only_looked_for_in_the_namespace_of_its_witness() {
    let broker = Broker::start();
    let (connected, accepted) = tcp_pair();
    elsewhere("a namespace needs root", new_network, || {
        // Sockets of the outer namespace, offered by a client with a witness of the inner one.
        let client = Client::new(&broker, Transport::Shm);
        client.offer(1, &connected, CONNECTED);
        client.expect_refusal(1, Reason::Unproven);
        client.offer(2, &accepted, ACCEPTED);
        client.expect_refusal(2, Reason::Unproven);
    });
}

#[test]
fn another_users_socket_cannot_be_offered() {
    let broker = Broker::start_with(&["--mode", "666"]);
    rustix::fs::chmod(broker.folder(), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
    let (connected, accepted) = tcp_pair();
    let owner = Client::new(&broker, Transport::Shm);
    owner.offer(1, &connected, CONNECTED);
    owner.barrier();
    let truth: Offer = offer(1, &accepted, ACCEPTED);
    let nobody = rustix::process::Uid::from_raw(65534);
    let become_nobody = || rustix::thread::set_thread_res_uid(nobody, nobody, nobody);
    elsewhere("another user needs root", become_nobody, || {
        let thief = Client::new(&broker, Transport::Shm);
        thief.send(&truth, &[]);
        thief.expect_refusal(1, Reason::Owner);
        // Nor adopted, retired or withdrawn.
        for kind in [Kind::Withdraw, Kind::Declined, Kind::Retired] {
            thief.say(kind, 1, 0, Reason::Gone);
        }
        thief.barrier();
        // Its own connection is served.
        let (connected, accepted) = tcp_pair();
        let friend = Client::new(&broker, Transport::Shm);
        attached((&thief, 2, &connected), (&friend, 2, &accepted));
    });
    let owner2 = Client::new(&broker, Transport::Shm);
    owner2.offer(1, &accepted, ACCEPTED);
    assert_eq!(owner2.prepare(1).pair, owner.prepare(1).pair);
}

#[test]
fn a_users_socket_that_has_ended_is_gone() {
    let broker = Broker::start_with(&["--mode", "666"]);
    rustix::fs::chmod(broker.folder(), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
    let nobody = rustix::process::Uid::from_raw(65534);
    let become_nobody = || rustix::thread::set_thread_res_uid(nobody, nobody, nobody);
    elsewhere("another user needs root", become_nobody, || {
        let (connected, accepted) = tcp_pair();
        let client = Client::new(&broker, Transport::Shm);
        let truth: Offer = offer(1, &accepted, ACCEPTED);
        // Closed before the broker asks, and then by its peer: in TIME-WAIT the kernel tells of no user any more.
        drop(accepted);
        // Another test's child may have a copy for a moment, until it executes its program.
        assert_eq!((&connected).read(&mut [0]).unwrap(), 0);
        drop(connected);
        client.send(&truth, &[]);
        client.expect_refusal(1, Reason::Gone);
    });
}

#[test]
fn another_users_endpoint_cannot_be_adopted() {
    let broker = Broker::start_with(&["--mode", "666"]);
    rustix::fs::chmod(broker.folder(), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
    let (a, b) = (Client::new(&broker, Transport::Shm), Client::new(&broker, Transport::Shm));
    let (connected, accepted) = tcp_pair();
    let [(left, _), _] = attached((&a, 1, &connected), (&b, 1, &accepted));
    let nobody = rustix::process::Uid::from_raw(65534);
    elsewhere(
        "another user needs root",
        || rustix::thread::set_thread_res_uid(nobody, nobody, nobody),
        || {
            let thief = Client::new(&broker, Transport::Shm);
            thief.send(&notice(Kind::Adopt, 1, left.pair, Reason::None, left.side as u8), &[]);
            thief.expect_hang_up();
        },
    );
}

#[test]
fn other_users_are_kept_out_by_default() {
    let broker = Broker::start();
    rustix::fs::chmod(broker.folder(), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
    let nobody = rustix::process::Uid::from_raw(65534);
    elsewhere(
        "another user needs root",
        || rustix::thread::set_thread_res_uid(nobody, nobody, nobody),
        || {
            let error = slipstream_broker::control::Control::connect(&broker.socket()).unwrap_err();
            assert!(error.to_string().contains("Permission denied"), "{error}");
        },
    );
}
