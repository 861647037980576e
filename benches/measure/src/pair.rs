//! A client and a server process, and the measurements that they make together.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use crate::child::Dialogue;
use crate::peer::wire::{Churned, Command, Park, Report, RoundTrips, Served, Streamed};
use crate::socket::Address;
use crate::status::{Connection, Status};
use crate::{Carrier, Lab, Placement};

/// How long a connection under the shim may take to be moved.
const MOVES_WITHIN: Duration = Duration::from_secs(5);
/// How long one step of the warm-up lasts, and all of it where nothing is to be moved.
const WARM_STEP_MS: u64 = 5;
/// How long a peer may take for a command, beyond the time that the command itself takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a message of the round trips and of a request of the short connections.
pub const MESSAGE: usize = 64;

/// Two processes, and one connection between them at a time.
#[derive(Debug)]
pub struct Pair<'lab> {
    lab: &'lab Lab,
    carrier: Carrier,
    client: Dialogue,
    server: Dialogue,
    address: Address,
    names: (String, String),
}

/// What the broker's status said of the two ends of a connection.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The client's end.
    pub client: Connection,
    /// The server's end.
    pub server: Connection,
}

/// A measurement of both sides, and the share of its bytes that the broker saw leave TCP (for programs under the shim).
#[derive(Clone, Debug)]
pub struct Measured<T> {
    /// As the client saw it.
    pub client: T,
    /// The server's side.
    pub server: Served,
    /// Between 0 and 1.
    pub moved_share: Option<f64>,
    /// The broker's word after the measurement.
    pub evidence: Option<Evidence>,
}

impl<'lab> Pair<'lab> {
    /// Starts both processes.
    ///
    /// # Errors
    ///
    /// When one does not start.
    pub fn start(lab: &'lab Lab, carrier: Carrier, placement: Placement) -> Result<Pair<'lab>> {
        let (client_cpu, server_cpu) = placement.cpus(lab.cores);
        let start = |role: &str, cpu| {
            let name = format!("{role} over {}", carrier.name());
            Dialogue::spawn(lab.peer(carrier), &name, cpu, &lab.fresh_path("log"))
        };
        let mut server = start("server", server_cpu)?;
        let client = start("client", client_cpu)?;
        let address = match carrier.is_unix() {
            true => Address::Unix(lab.fresh_path("sock")),
            false => Address::any_port(),
        };
        let Report::Listening(address) = ask(&mut server, &Command::Listen(address), PATIENCE)? else {
            bail!("the server did not say where it listens");
        };
        Ok(Pair { lab, carrier, client, server, address, names: Default::default() })
    }

    /// Closes the connection, if there is one, and makes another, warmed up and, under the shim, moved.
    ///
    /// # Errors
    ///
    /// When it is not moved in time: the message has the reasons that the broker gives.
    pub fn connect(&mut self) -> Result<()> {
        self.both(&Command::Close, &Command::Close, Duration::ZERO)?;
        let congestion = self.carrier.congestion().map(str::to_owned);
        let connect = Command::Connect { address: self.address.clone(), congestion };
        let (report, _) = self.both(&connect, &Command::Accept, Duration::ZERO)?;
        if let Report::Connected { local, remote } = report {
            self.names = (local, remote);
        }
        let deadline = Instant::now() + MOVES_WITHIN;
        loop {
            self.exchange(WARM_STEP_MS)?;
            let Some(wanted) = self.carrier.moved_name() else {
                return Ok(());
            };
            let status = self.lab.status()?;
            let evidence = self.evidence_in(&status);
            let moved = |one: &Evidence| one.client.is_moved_to(wanted) && one.server.is_moved_to(wanted);
            if evidence.as_ref().is_some_and(moved) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{}", self.not_moved(&status));
            }
        }
    }

    /// Round trips of [`MESSAGE`] bytes.
    ///
    /// # Errors
    ///
    /// When a peer fails or does not answer.
    pub fn round_trips(&mut self, millis: u64) -> Result<Measured<RoundTrips>> {
        self.measure(|pair| {
            let (client, server) = pair.exchange(millis)?;
            let bytes = (2 * client.ops) * MESSAGE as u64;
            Ok((client, server, bytes))
        })
    }

    /// A stream of writes of `size` bytes from the client to the server.
    ///
    /// # Errors
    ///
    /// When a peer fails or does not answer, or the server read fewer bytes than the client wrote.
    pub fn stream(&mut self, size: usize, millis: u64) -> Result<Measured<Streamed>> {
        self.measure(|pair| {
            let (report, served) = pair.both(&Command::Stream { size, millis }, &Command::Sink, ms(millis))?;
            let Report::Streamed(client) = report else {
                bail!("not the report of a stream");
            };
            if served.bytes != client.bytes {
                bail!("the client wrote {} bytes and the server read {}", client.bytes, served.bytes);
            }
            let bytes = client.bytes + 1;
            Ok((client, served, bytes))
        })
    }

    /// `count` connections, one after the other, with one request and one reply each.
    ///
    /// # Errors
    ///
    /// When a peer fails or does not answer.
    pub fn churn(&mut self, count: u64) -> Result<Measured<Churned>> {
        let churn = Command::Churn { address: self.address.clone(), size: MESSAGE, count };
        let serve = Command::AcceptChurn { size: MESSAGE, count };
        let (report, server) = self.both(&churn, &serve, ms(count))?;
        let Report::Churned(client) = report else {
            bail!("not the report of short connections");
        };
        Ok(Measured { client, server, moved_share: None, evidence: None })
    }

    /// Leaves a thread of each process asleep on the connection.
    ///
    /// # Errors
    ///
    /// When a peer fails or does not answer.
    pub fn park(&mut self, how: Park) -> Result<()> {
        self.both(&Command::Park(how), &Command::Park(how), Duration::ZERO)?;
        Ok(())
    }

    /// CPU time that the client and the server have used, in nanoseconds.
    ///
    /// # Errors
    ///
    /// When a peer fails or does not answer.
    pub fn cpu_nanos(&mut self) -> Result<(u64, u64)> {
        let used = |peer| match ask(peer, &Command::Cpu, PATIENCE)? {
            Report::Cpu { nanos } => Ok(nanos),
            _ => bail!("not a CPU time"),
        };
        Ok((used(&mut self.client)?, used(&mut self.server)?))
    }

    /// What the broker says of this connection now.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn evidence(&self) -> Result<Option<Evidence>> {
        Ok(self.evidence_in(&self.lab.status()?))
    }

    fn evidence_in(&self, status: &Status) -> Option<Evidence> {
        let (local, remote) = &self.names;
        let pid = |peer: &Dialogue| i64::from(peer.child().pid().as_raw());
        Some(Evidence {
            client: status.find(pid(&self.client), local, remote)?.clone(),
            server: status.find(pid(&self.server), remote, local)?.clone(),
        })
    }

    fn not_moved(&self, status: &Status) -> String {
        let (local, remote) = &self.names;
        let mut text = format!(
            "the connection {local} → {remote} was not moved to {} within {} s. The broker's status says:",
            self.carrier.name(),
            MOVES_WITHIN.as_secs()
        );
        for (role, peer) in [("client", &self.client), ("server", &self.server)] {
            let pid = i64::from(peer.child().pid().as_raw());
            let mut of_pid = status.connections.iter().filter(|one| one.pid == pid).peekable();
            if of_pid.peek().is_none() {
                text += &format!("\n  {role} (pid {pid}): nothing. Has it loaded the library?");
            }
            for one in of_pid {
                text += &format!("\n  {role} (pid {pid}): {one}");
            }
            text += &peer.child().said();
        }
        text + &format!("\n  totals: {}", status.totals)
    }

    fn measure<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<(T, Served, u64)>) -> Result<Measured<T>> {
        if self.carrier.moved_name().is_none() {
            let (client, server, _) = work(self)?;
            return Ok(Measured { client, server, moved_share: None, evidence: None });
        }
        let before = self.evidence()?;
        let (client, server, bytes) = work(self).map_err(|error| match self.evidence() {
            Ok(Some(Evidence { client, server })) => {
                anyhow!("{error:#}\n  client: {client}\n  server: {server}")
            }
            _ => error,
        })?;
        let after = self.evidence()?;
        let moved = |one: &Option<Evidence>| match one {
            Some(one) => one.client.tx.moved_bytes + one.server.tx.moved_bytes,
            None => 0,
        };
        let share = moved(&after).saturating_sub(moved(&before)) as f64 / bytes as f64;
        Ok(Measured { client, server, moved_share: Some(share), evidence: after })
    }

    fn exchange(&mut self, millis: u64) -> Result<(RoundTrips, Served)> {
        let size = MESSAGE;
        let (report, served) = self.both(&Command::RoundTrips { size, millis }, &Command::Echo { size }, ms(millis))?;
        match report {
            Report::RoundTrips(client) => Ok((client, served)),
            _ => bail!("not the report of round trips"),
        }
    }

    /// Tells the server and then the client what to do; the server's figures are zero where it has none.
    fn both(&mut self, client: &Command, server: &Command, takes: Duration) -> Result<(Report, Served)> {
        self.server.say(&serde_json::to_string(server)?)?;
        self.client.say(&serde_json::to_string(client)?)?;
        let client = hear(&mut self.client, takes + PATIENCE)?;
        let server = hear(&mut self.server, PATIENCE)?;
        match server {
            Report::Served(served) => Ok((client, served)),
            _ => Ok((client, Served { bytes: 0, reads: 0, cpu_ns: 0 })),
        }
    }
}

fn ask(peer: &mut Dialogue, command: &Command, limit: Duration) -> Result<Report> {
    peer.say(&serde_json::to_string(command)?)?;
    hear(peer, limit)
}

fn hear(peer: &mut Dialogue, limit: Duration) -> Result<Report> {
    match serde_json::from_str(&peer.hear(limit)?)? {
        Report::Failed(message) => bail!("{message}{}", peer.child().said()),
        report => Ok(report),
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
