//! What the broker says of connections: the parts of `slipstream status --json` that a measurement needs.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// One answer of `slipstream status --json`.
#[derive(Clone, Debug)]
pub struct Status {
    /// Every endpoint that the broker knows.
    pub connections: Vec<Connection>,
    /// Sums, ended endpoints included.
    pub totals: Value,
}

/// One endpoint.
#[derive(Clone, Debug, Deserialize)]
pub struct Connection {
    /// The process that has it.
    #[serde(default)]
    pub pid: i64,
    /// Its own address and port.
    #[serde(default)]
    pub local: String,
    /// The other end's.
    #[serde(default)]
    pub remote: String,
    /// `pre-opt`, `opt` or `no-opt`.
    #[serde(default)]
    pub state: String,
    /// Why it is not moved.
    #[serde(default)]
    pub reason: Value,
    /// What it sends.
    #[serde(default)]
    pub tx: Direction,
    /// What it receives.
    #[serde(default)]
    pub rx: Direction,
    /// The whole entry as it came.
    #[serde(skip)]
    pub json: Value,
}

/// One direction of an endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Direction {
    /// `tcp`, `ring` or `uds`.
    pub carrier: String,
    /// Bytes that went over TCP.
    pub tcp_bytes: u64,
    /// Bytes that did not.
    pub moved_bytes: u64,
}

impl Status {
    /// Reads the output of `slipstream status --json`.
    ///
    /// # Errors
    ///
    /// When it is not what the design promises.
    pub fn parse(json: &str) -> serde_json::Result<Status> {
        let mut whole: Value = serde_json::from_str(json)?;
        let entries: Vec<Value> = serde_json::from_value(whole["connections"].take())?;
        let connections = entries
            .into_iter()
            .map(|json| Ok(Connection { json: json.clone(), ..serde_json::from_value(json)? }))
            .collect::<serde_json::Result<_>>()?;
        Ok(Status { connections, totals: whole["totals"].take() })
    }

    /// The endpoint of process `pid` that has the addresses given.
    pub fn find(&self, pid: i64, local: &str, remote: &str) -> Option<&Connection> {
        self.connections.iter().find(|one| one.pid == pid && one.local == local && one.remote == remote)
    }
}

impl Connection {
    /// Whether both directions travel by `carrier`.
    pub fn is_moved_to(&self, carrier: &str) -> bool {
        self.state == "opt" && self.tx.carrier == carrier && self.rx.carrier == carrier
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}: {}", self.local, self.remote, self.state)?;
        match &self.reason {
            Value::Null => {}
            Value::String(reason) if reason.is_empty() => {}
            Value::String(reason) => write!(f, " ({reason})")?,
            other => write!(f, " ({other})")?,
        }
        write!(f, ", tx {}, rx {}", self.tx, self.rx)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} B moved, {} B over TCP", self.carrier, self.moved_bytes, self.tcp_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{"version": "0.1.0", "connections": [
        {"id": 7, "pid": 42, "command": "peer", "local": "127.0.0.1:1", "remote": "127.0.0.1:2", "netns": 1,
         "state": "opt", "reason": null, "transport": "shm", "age_s": 1.5,
         "tx": {"carrier": "ring", "tcp_bytes": 640, "moved_bytes": 6400, "sleeps": 1, "wakes": 2},
         "rx": {"carrier": "tcp", "tcp_bytes": 640, "moved_bytes": 0, "sleeps": 1, "wakes": 2}}], "totals": {"opt": 1}}"#;

    #[test]
    fn reads_what_the_design_promises() {
        let status = Status::parse(EXAMPLE).unwrap();
        let one = status.find(42, "127.0.0.1:1", "127.0.0.1:2").unwrap();
        assert_eq!(one.tx.moved_bytes, 6400);
        assert!(!one.is_moved_to("ring"), "one direction is still on TCP");
        assert_eq!(one.json["id"], 7);
        assert_eq!(status.totals["opt"], 1);
        assert!(status.find(41, "127.0.0.1:1", "127.0.0.1:2").is_none());
    }

    #[test]
    fn refuses_what_has_no_connections() {
        assert!(Status::parse("{}").is_err());
    }
}
