//! The program under measurement: does as told over stdin, and reports over stdout.
//!
//! It is an ordinary program with ordinary blocking sockets. Between two commands it touches no socket, so whatever a
//! connection costs while nothing happens on it shows in [`Command::Cpu`].

pub mod wire;
mod work;

use std::io::{self, BufRead, Write};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::socket::{Listener, Stream};
use wire::{Command, Report};

/// Obeys the commands on stdin until it ends.
///
/// # Errors
///
/// When stdin or stdout fail. What a command met is reported to the driver instead.
pub fn run() -> Result<()> {
    let mut peer = Peer::default();
    let mut stdout = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let command = serde_json::from_str(&line?).context("a command not understood")?;
        let report = peer.obey(command).unwrap_or_else(|error| Report::Failed(format!("{error:#}")));
        serde_json::to_writer(&mut stdout, &report)?;
        writeln!(stdout)?;
        stdout.flush()?;
    }
    Ok(())
}

#[derive(Default)]
struct Peer {
    listener: Option<Listener>,
    stream: Option<Stream>,
}

impl Peer {
    fn obey(&mut self, command: Command) -> Result<Report> {
        Ok(match command {
            Command::Listen(address) => {
                let listener = Listener::bind(&address)?;
                let address = listener.address()?;
                self.listener = Some(listener);
                Report::Listening(address)
            }
            Command::Accept => {
                let stream = self.listener()?.accept().context("accept")?;
                self.connected(stream)?
            }
            Command::Connect { address, congestion } => {
                let stream = Stream::connect(&address, congestion.as_deref()).context("connect")?;
                self.connected(stream)?
            }
            Command::RoundTrips { size, millis } => {
                Report::RoundTrips(work::round_trips(self.stream()?, size, millis)?)
            }
            Command::Echo { size } => Report::Served(work::echo(self.stream()?, size)?),
            Command::Stream { size, millis } => Report::Streamed(work::stream(self.stream()?, size, millis)?),
            Command::Sink => Report::Served(work::sink(self.stream()?)?),
            Command::Churn { address, size, count } => Report::Churned(work::churn(&address, size, count)?),
            Command::AcceptChurn { size, count } => Report::Served(work::accept_churn(self.listener()?, size, count)?),
            Command::Park(how) => {
                let stream = self.stream.take().context("not connected")?;
                thread::spawn(move || work::park(stream, how));
                Report::Done
            }
            Command::Cpu => Report::Cpu { nanos: work::cpu_nanos() },
            Command::Close => {
                self.stream = None;
                Report::Done
            }
        })
    }

    fn connected(&mut self, stream: Stream) -> Result<Report> {
        let (local, remote) = stream.names()?;
        self.stream = Some(stream);
        Ok(Report::Connected { local, remote })
    }

    fn stream(&mut self) -> Result<&mut Stream> {
        self.stream.as_mut().context("not connected")
    }

    fn listener(&self) -> Result<&Listener> {
        match &self.listener {
            Some(listener) => Ok(listener),
            None => bail!("not listening"),
        }
    }
}
