//! Processes that end, and what their peers are told.

mod support;

use slipstream_broker::protocol::{Kind, Reason, Transport};
use slipstream_broker::status::State;
use slipstream_ring::layout::MARK_GONE;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::Ordering;
use support::*;

/// This test binary again, as another process that runs one `#[ignore]`d function below.
struct Actor {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Actor {
    fn play(part: &str, broker: &Broker, server: Option<&TcpListener>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([part, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env("TEST_SOCKET", broker.socket());
        if let Some(server) = server {
            command.env("TEST_SERVER", server.local_addr().unwrap().to_string());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Waits until it says this.
    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert_ne!(self.out.read_line(&mut line).unwrap(), 0, "the actor ended before it said {word}");
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(word: &str) {
    println!("{word}");
    std::io::stdout().flush().unwrap();
}

/// Until somebody kills us, or who started us has ended.
fn sit() {
    let _ = std::io::stdin().read(&mut [0]);
}

fn socket() -> std::path::PathBuf {
    std::env::var_os("TEST_SOCKET").unwrap().into()
}

fn connect() -> TcpStream {
    TcpStream::connect(std::env::var("TEST_SERVER").unwrap()).unwrap()
}

#[test]
#[ignore = "a part that other tests have played"]
fn part_of_a_client_that_attaches() {
    let client = Client::at(&socket(), Transport::Shm);
    let stream = connect();
    client.offer(1, &stream, CONNECTED);
    client.barrier();
    say("offered");
    let left = client.prepare(1);
    client.say(Kind::Mapped, 1, left.pair, Reason::None);
    let _peer = client.attach(&left);
    client.barrier();
    say("attached");
    sit();
}

#[test]
#[ignore = "a part that other tests have played"]
fn part_of_a_client_that_attaches_and_hangs_up() {
    let client = Client::at(&socket(), Transport::Shm);
    let stream = connect();
    client.offer(1, &stream, CONNECTED);
    client.barrier();
    say("offered");
    let left = client.prepare(1);
    client.say(Kind::Mapped, 1, left.pair, Reason::None);
    let _peer = client.attach(&left);
    client.barrier();
    drop(client);
    say("hung up");
    sit();
}

#[test]
#[ignore = "a part that other tests have played"]
fn part_of_a_client_that_stops_halfway() {
    let client = Client::at(&socket(), Transport::Shm);
    let stream = connect();
    client.offer(1, &stream, CONNECTED);
    client.barrier();
    say("offered");
    let left = client.prepare(1);
    if std::env::var_os("TEST_MAPS").is_some() {
        client.say(Kind::Mapped, 1, left.pair, Reason::None);
        client.barrier();
    }
    say("halfway");
    sit();
}

fn server() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn the_death_of_a_process_marks_its_outbox_and_rings_its_peer() {
    let broker = Broker::start();
    let listener = server();
    let mut actor = Actor::play("part_of_a_client_that_attaches", &broker, Some(&listener));
    let (accepted, _) = listener.accept().unwrap();
    actor.hear("offered");
    let client = Client::new(&broker, Transport::Shm);
    client.offer(1, &accepted, ACCEPTED);
    let right = client.prepare(1);
    client.say(Kind::Mapped, 1, right.pair, Reason::None);
    let peer = client.attach(&right);
    actor.hear("attached");
    assert_eq!(peer.word(MARKS).load(Ordering::SeqCst) & MARK_GONE, 0);

    // A thread that sleeps on the peer's futex word, as a blocking reader does.
    let words = peer.outbox().futexes().map(|word| word.load(Ordering::SeqCst));
    std::thread::scope(|scope| {
        let word = peer.outbox().futexes()[0];
        let sleeper = scope.spawn(|| {
            let timeout = rustix::thread::futex::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
            let flags = rustix::thread::futex::Flags::empty();
            rustix::thread::futex::wait(word, flags, words[0], Some(&timeout))
        });
        actor.kill();
        wait_readable(&right.own_bell);
        let woken = sleeper.join().unwrap();
        assert!(matches!(woken, Ok(()) | Err(rustix::io::Errno::AGAIN)), "{woken:?}");
    });
    assert_eq!(peer.word(MARKS).load(Ordering::SeqCst) & MARK_GONE, MARK_GONE);
    let [data, space] = peer.outbox().futexes();
    assert_ne!((data.load(Ordering::SeqCst), space.load(Ordering::SeqCst)), (words[0], words[1]));

    // The survivor stays in the books until it says otherwise; the dead one does not.
    let status = broker.status();
    assert_eq!(status.connections.len(), 1);
    assert_eq!(status.connections[0].pid, std::process::id());
    client.say(Kind::Withdraw, 1, 0, Reason::None);
    client.barrier();
    assert_eq!(broker.status().totals.by_state.get("pre-opt"), Some(&2));
}

#[test]
fn a_closed_connection_to_the_broker_is_not_a_death() {
    let broker = Broker::start();
    let listener = server();
    let mut actor = Actor::play("part_of_a_client_that_attaches_and_hangs_up", &broker, Some(&listener));
    let (accepted, _) = listener.accept().unwrap();
    actor.hear("offered");
    let client = Client::new(&broker, Transport::Shm);
    client.offer(1, &accepted, ACCEPTED);
    let right = client.prepare(1);
    client.say(Kind::Mapped, 1, right.pair, Reason::None);
    let peer = client.attach(&right);
    actor.hear("hung up");
    // Two exchanges: the broker has been through its event loop since.
    client.barrier();
    client.barrier();
    assert_eq!(broker.status().connections.len(), 2, "the pair is still known");
    assert_eq!(peer.word(MARKS).load(Ordering::SeqCst) & MARK_GONE, 0);
    assert_eq!(rings(&right.own_bell), 0);

    actor.kill();
    wait_readable(&right.own_bell);
    assert_eq!(peer.word(MARKS).load(Ordering::SeqCst) & MARK_GONE, MARK_GONE);
}

#[test]
fn an_endpoint_lives_as_long_as_somebody_holds_it() {
    let broker = Broker::start();
    let listener = server();
    let mut actor = Actor::play("part_of_a_client_that_attaches", &broker, Some(&listener));
    let (accepted, _) = listener.accept().unwrap();
    actor.hear("offered");
    let client = Client::new(&broker, Transport::Shm);
    client.offer(1, &accepted, ACCEPTED);
    let right = client.prepare(1);
    client.say(Kind::Mapped, 1, right.pair, Reason::None);
    let peer = client.attach(&right);
    actor.hear("attached");

    // A forked child of the actor's, played by ourselves.
    let child = Client::new(&broker, Transport::Shm);
    child.send(&notice(Kind::Adopt, 5, right.pair, Reason::None, 1 - right.side as u8), &[]);
    child.barrier();
    actor.kill();
    let other = client_that_dies(&broker);
    assert_eq!(rings(&right.own_bell), 0, "one holder is left; {other} died after the actor");
    assert_eq!(peer.word(MARKS).load(Ordering::SeqCst) & MARK_GONE, 0);
    child.say(Kind::Withdraw, 5, 0, Reason::None);
    child.barrier();
    let status = broker.status();
    assert_eq!(status.connections.len(), 1);

    // A child that says so late revives it: its peer is still there.
    child.send(&notice(Kind::Adopt, 6, right.pair, Reason::None, 1 - right.side as u8), &[]);
    child.barrier();
    assert_eq!(broker.status().connections.len(), 2);
}

/// Has the broker notice some process' death, which comes after those before it.
fn client_that_dies(broker: &Broker) -> u32 {
    let listener = server();
    let mut actor = Actor::play("part_of_a_client_that_attaches", broker, Some(&listener));
    let (accepted, _) = listener.accept().unwrap();
    actor.hear("offered");
    let client = Client::new(broker, Transport::Shm);
    client.offer(1, &accepted, ACCEPTED);
    let right = client.prepare(1);
    client.say(Kind::Mapped, 1, right.pair, Reason::None);
    client.attach(&right);
    actor.hear("attached");
    actor.kill();
    wait_readable(&right.own_bell);
    client.say(Kind::Withdraw, 1, 0, Reason::None);
    client.barrier();
    actor.child.id()
}

#[test]
fn a_process_that_dies_halfway_leaves_its_peer_on_tcp() {
    let broker = Broker::start();
    for maps in [false, true] {
        let listener = server();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["part_of_a_client_that_stops_halfway", "--exact", "--ignored", "--nocapture"]);
        command.env("TEST_SOCKET", broker.socket()).env("TEST_SERVER", listener.local_addr().unwrap().to_string());
        if maps {
            command.env("TEST_MAPS", "1");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut actor = Actor { child, out };
        let (accepted, _) = listener.accept().unwrap();
        actor.hear("offered");
        let client = Client::new(&broker, Transport::Shm);
        client.offer(1, &accepted, ACCEPTED);
        let right = client.prepare(1);
        actor.hear("halfway");
        actor.kill();
        client.expect_refusal(1, Reason::Gone);
        client.say(Kind::Mapped, 1, right.pair, Reason::None);
        client.barrier();
        let status = broker.status();
        let entry = entry(&status, &accepted);
        assert_eq!((entry.state, entry.reason.as_deref()), (State::NoOpt, Some("gone")));
    }
}

#[test]
fn standing_offers_of_the_dead_are_dropped() {
    let broker = Broker::start();
    let listener = server();
    let mut actor = Actor::play("part_of_a_client_that_attaches", &broker, Some(&listener));
    let (accepted, _) = listener.accept().unwrap();
    actor.hear("offered");
    actor.kill();
    client_that_dies(&broker);
    let status = broker.status();
    assert!(status.connections.is_empty(), "{status:?}");
    assert_eq!(status.totals.connections, 3);
    drop(accepted);
}

#[test]
fn the_broker_ends_when_idle_and_not_before() {
    let mut broker = Broker::start_with(&["--idle-exit", "0"]);
    assert!(broker.wait().success());
    assert_eq!(Path::read_dir(broker.folder()).unwrap().count(), 0);

    let mut broker = Broker::start_with(&["--idle-exit", "3"]);
    let client = Client::new(&broker, Transport::Shm);
    client.barrier();
    drop(client);
    assert!(broker.wait().success());
}
