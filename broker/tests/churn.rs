//! Clients that do everything in any order, for a while; then nothing of them is left in the broker.

mod support;

use rustix::net::RecvFlags;
use slipstream_broker::control::Control;
use slipstream_broker::packet::{self, Message};
use slipstream_broker::protocol::{Kind, Reason, Transport};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use support::*;

/// A small generator (xorshift), so that a seed is a story.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }
}

/// A client and what it has.
struct Player {
    client: Client,
    next: u64,
    sockets: Vec<(u64, TcpStream, bool)>,
}

impl Player {
    fn new(path: &std::path::Path, dice: &mut Dice) -> Self {
        let transport = [Transport::Shm, Transport::Shm, Transport::Shm, Transport::Uds][dice.below(4)];
        Self { client: Client::at(path, transport), next: 1, sockets: Vec::new() }
    }

    fn tell(&self, kind: Kind, name: u64, pair: u64, reason: Reason, side: u8) {
        // The broker may have hung up meanwhile.
        let message = notice(kind, name, pair, reason, side);
        let _ = packet::send(&self.client.socket, bytemuck::bytes_of(&message), &[]);
    }

    /// Answers what is in the mail: mostly as it should, sometimes not.
    fn read(&self, dice: &mut Dice) {
        while let Ok(packet) = packet::receive(&self.client.socket, RecvFlags::DONTWAIT) {
            let (name, pair, answer) = match packet.message {
                Message::Prepare(prepare) => (prepare.header.endpoint, prepare.pair, Kind::Mapped),
                Message::Notice(Kind::Attach, notice) => (notice.header.endpoint, notice.pair, Kind::Attached),
                _ => continue,
            };
            match dice.below(8) {
                0 => self.tell(Kind::Declined, name, pair, Reason::Memory, 0),
                1 => {} // deaf from now on
                _ => self.tell(answer, name, pair, Reason::None, 0),
            }
        }
    }

    fn act(&mut self, dice: &mut Dice, open: &mut Vec<(TcpStream, bool)>) {
        match dice.below(10) {
            0..4 => {
                let (stream, connector) = match open.pop() {
                    Some(end) => end,
                    None => {
                        let (connected, accepted) = tcp_pair();
                        open.push((accepted, false));
                        (connected, true)
                    }
                };
                let mut message = offer(self.next, &stream, if connector { CONNECTED } else { ACCEPTED });
                if dice.below(20) == 0 {
                    message.cookie ^= 1;
                }
                let _ = packet::send(&self.client.socket, bytemuck::bytes_of(&message), &[]);
                self.sockets.push((self.next, stream, connector));
                self.next += 1;
            }
            4..7 => self.read(dice),
            7 if !self.sockets.is_empty() => {
                let (name, ..) = self.sockets.swap_remove(dice.below(self.sockets.len()));
                self.tell(Kind::Withdraw, name, 0, Reason::None, 0);
            }
            8 => {
                let (pair, side) = (dice.below(200) as u64, dice.below(2) as u8);
                self.tell(Kind::Adopt, self.next, pair, Reason::None, side);
                self.next += 1;
            }
            _ => {
                let kinds = [Kind::Retired, Kind::Declined, Kind::Mapped, Kind::Attached];
                let name = dice.below(self.next as usize) as u64;
                let pair = dice.below(200) as u64;
                self.tell(kinds[dice.below(4)], name, pair, Reason::Urgent, 0);
            }
        }
    }
}

#[test]
#[ignore = "a part that the test below has played"]
fn part_of_a_busy_process() {
    let path = PathBuf::from(std::env::var_os("TEST_SOCKET").unwrap());
    let mut dice = Dice(std::env::var("TEST_SEED").unwrap().parse().unwrap());
    let mut players: Vec<_> = (0..5).map(|_| Player::new(&path, &mut dice)).collect();
    let mut open = Vec::new();
    for _ in 0..1500 {
        let index = dice.below(players.len());
        if dice.below(60) == 0 {
            players[index] = Player::new(&path, &mut dice);
        }
        players[index].act(&mut dice, &mut open);
    }
}

fn held(pid: u32) -> (usize, usize) {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    (fds, maps.lines().filter(|line| line.contains("slipstream-")).count())
}

#[test]
fn nothing_is_left_of_those_who_have_ended() {
    let broker = Broker::start();
    // One connection for all the looks, so that none of them leaves something to wait for.
    let control = Control::connect(&broker.socket()).unwrap();
    let before = held(broker.pid());
    let mut matched = 0;
    for seed in 1..=12u64 {
        let actors: Vec<_> = (0..2)
            .map(|actor| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["part_of_a_busy_process", "--exact", "--ignored"])
                    .env("TEST_SOCKET", broker.socket())
                    .env("TEST_SEED", (seed * 7919 + actor).to_string())
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut actor in actors {
            assert!(actor.wait().unwrap().success(), "seed {seed}");
        }
        // The broker hears of the ends in its own time; each look is a round of its event loop.
        let status = loop {
            let status = control.status().unwrap();
            if status.connections.is_empty() && status.clients == 0 {
                break status;
            }
        };
        let totals = status.totals;
        assert_eq!(totals.by_state.values().sum::<u64>(), totals.connections, "seed {seed}: {totals:?}");
        let no_opt = totals.by_state.get("no-opt").copied().unwrap_or(0);
        assert_eq!(totals.by_reason.values().sum::<u64>(), no_opt, "seed {seed}: {totals:?}");
        matched = totals.matched;
        while held(broker.pid()) != before {
            control.status().unwrap();
        }
    }
    assert!(matched > 100, "{matched}: the stories pair too rarely to show anything");
}
