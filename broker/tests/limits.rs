//! Budgets and rates, with small ones.

mod support;

use rustix::fd::OwnedFd;
use slipstream_broker::policy::{Limits, Rate};
use slipstream_broker::protocol::{Kind, Reason, Transport};
use slipstream_broker::server::{Config, Server};
use slipstream_broker::status::State;
use std::thread::JoinHandle;
use support::*;

/// A broker in a thread of this process, since no option sets these limits.
struct Inside {
    folder: tempfile::TempDir,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Inside {
    fn start(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let stop = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let told = stop.try_clone().unwrap();
        let (ready, listening) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let server =
                Server::new(Config { path, mode: None, idle_exit: None, limits: Some(limits), stop: told }).unwrap();
            ready.send(()).unwrap();
            server.run().unwrap();
        });
        listening.recv().unwrap();
        Self { folder, stop, thread: Some(thread) }
    }

    fn client(&self) -> Client {
        Client::at(&self.folder.path().join("s"), Transport::Shm)
    }

    fn status(&self) -> slipstream_broker::status::Status {
        slipstream_broker::control::Control::connect(&self.folder.path().join("s")).unwrap().status().unwrap()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        rustix::io::write(&self.stop, &1u64.to_ne_bytes()).unwrap();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn limits() -> Limits {
    Limits::for_machine(1 << 16, 1 << 16, 1 << 34, false)
}

/// Offers both ends; the reason that both are given.
fn refused(a: &Client, b: &Client, name: u64) -> Reason {
    let (connected, accepted) = tcp_pair();
    a.offer(name, &connected, CONNECTED);
    a.barrier();
    b.offer(name, &accepted, ACCEPTED);
    let (_, _, one) = a.expect(Kind::Refused);
    let (_, _, two) = b.expect(Kind::Refused);
    assert_eq!(one, two);
    one
}

#[test]
fn pairs_are_counted_and_given_back() {
    let broker = Inside::start(Limits { sides_per_user: 2, ..limits() });
    let (a, b) = (broker.client(), broker.client());
    let (connected, accepted) = tcp_pair();
    attached((&a, 1, &connected), (&b, 1, &accepted));
    assert_eq!(refused(&a, &b, 2), Reason::Budget);
    a.say(Kind::Withdraw, 1, 0, Reason::None);
    a.barrier();
    b.say(Kind::Withdraw, 1, 0, Reason::None);
    b.barrier();
    let (connected, accepted) = tcp_pair();
    attached((&a, 3, &connected), (&b, 3, &accepted));
}

#[test]
fn memory_is_counted_and_given_back() {
    // Two outboxes with rings of 16 KiB and their headers, and not a byte more.
    let broker = Inside::start(Limits { memory_per_user: 2 * (20 << 10), ..limits() });
    let (a, b) = (broker.client(), broker.client());
    for round in 0..3 {
        let (connected, accepted) = tcp_pair();
        attached((&a, round * 2 + 1, &connected), (&b, round * 2 + 1, &accepted));
        assert_eq!(refused(&a, &b, round * 2 + 2), Reason::Budget);
        for client in [&a, &b] {
            client.say(Kind::Withdraw, round * 2 + 1, 0, Reason::None);
            client.barrier();
        }
    }
}

#[test]
fn offers_are_limited_per_client_and_per_user() {
    let broker = Inside::start(Limits { endpoints_per_client: 2, endpoints_per_user: 3, ..limits() });
    let (a, b) = (broker.client(), broker.client());
    let pairs: Vec<_> = (0..6).map(|_| tcp_pair()).collect();
    a.offer(1, &pairs[0].0, CONNECTED);
    a.offer(2, &pairs[1].0, CONNECTED);
    a.offer(3, &pairs[2].0, CONNECTED);
    a.expect_refusal(3, Reason::Budget);
    b.offer(1, &pairs[3].0, CONNECTED);
    b.offer(2, &pairs[4].0, CONNECTED);
    b.expect_refusal(2, Reason::Budget);
    // What goes makes room.
    a.say(Kind::Withdraw, 1, 0, Reason::None);
    a.barrier();
    b.offer(3, &pairs[5].0, CONNECTED);
    b.barrier();
    let status = broker.status();
    assert_eq!(status.connections.len(), 3);
    assert_eq!(status.totals.by_reason.get("budget"), Some(&2));
    assert_eq!(
        (status.totals.connections, status.totals.by_state["no-opt"], status.totals.by_state["pre-opt"]),
        (6, 2, 4)
    );
}

#[test]
fn clients_are_limited_per_user() {
    let broker = Inside::start(Limits { clients_per_user: 2, ..limits() });
    let (a, _b) = (broker.client(), broker.client());
    Client::raw_at(&broker.folder.path().join("s")).expect_hang_up();
    drop(a);
    // The place is free once the broker has seen that it is.
    loop {
        let client = Client::raw_at(&broker.folder.path().join("s"));
        client.say_if_possible(Kind::Probe);
        if client.answers() {
            return;
        }
    }
}

#[test]
fn mail_left_unread_takes_its_clients_place() {
    let broker = Inside::start(Limits { clients_per_user: 3, ..limits() });
    let (a, b) = (broker.client(), broker.client());
    let (connected, accepted) = tcp_pair();
    a.offer(1, &connected, CONNECTED);
    a.barrier();
    b.offer(1, &accepted, ACCEPTED);
    rustix::event::poll(
        &mut [rustix::event::PollFd::new(&a.socket, rustix::event::PollFlags::IN)],
        Some(&rustix::time::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 }),
    )
    .unwrap();
    // With four descriptors in its mail unread, it makes the broker hang up, and stays.
    a.send(&notice(Kind::Refused, 0, 0, Reason::None, 0), &[]);
    wait_for(&a.socket, rustix::event::PollFlags::RDHUP);
    b.prepare(1);
    b.expect_refusal(1, Reason::Gone);
    let c = broker.client();
    Client::raw_at(&broker.folder.path().join("s")).expect_hang_up();
    drop((a, c));
}

#[test]
fn a_user_that_sends_too_much_waits_and_loses_nothing() {
    let broker = Inside::start(Limits { messages: Rate { per_second: 2000, burst: 10 }, ..limits() });
    let (a, b) = (broker.client(), broker.client());
    for name in 1..40 {
        let (connected, accepted) = tcp_pair();
        attached((&a, name, &connected), (&b, name, &accepted));
    }
    assert!(broker.status().totals.throttled > 0);
}

#[test]
fn with_one_unanswered_packet_per_user_all_still_get_theirs() {
    let broker = Inside::start(Limits { unanswered_per_user: 1, ..limits() });
    let (a, b) = (broker.client(), broker.client());
    let (connected, accepted) = tcp_pair();
    a.offer(1, &connected, CONNECTED);
    a.barrier();
    b.offer(1, &accepted, ACCEPTED);
    // The newcomer's own side comes first; the other one waits for its answer.
    let mut left = None;
    let mut right = None;
    for _ in 0..2 {
        if right.is_none() {
            let prepared = b.prepare(1);
            b.say(Kind::Mapped, 1, prepared.pair, Reason::None);
            right = Some(prepared);
        } else {
            let prepared = a.prepare(1);
            a.say(Kind::Mapped, 1, prepared.pair, Reason::None);
            left = Some(prepared);
        }
    }
    b.attach(&right.unwrap());
    a.attach(&left.unwrap());
    a.barrier();
    b.barrier();
    assert!(broker.status().connections.iter().all(|connection| connection.state == State::PreOpt));
}

#[test]
fn refused_endpoints_are_remembered_to_a_limit() {
    let broker = Inside::start(Limits { refused_per_client: 5, ..limits() });
    let client = broker.client();
    for name in 1..=20 {
        let (connected, accepted) = tcp_pair();
        drop(accepted);
        connected.peek(&mut [0]).unwrap();
        client.offer(name, &connected, CONNECTED);
        client.expect_refusal(name, Reason::Gone);
    }
    let status = broker.status();
    assert_eq!((status.connections.len(), status.totals.by_reason["gone"]), (5, 20));
    // Withdrawing what was forgotten does no harm, and neither does a name that comes again after it.
    for name in 1..=20 {
        client.say(Kind::Withdraw, name, 0, Reason::None);
    }
    client.barrier();
    assert_eq!(broker.status().connections.len(), 0);
}
