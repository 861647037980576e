//! Ports for servers. Taken from below the ephemeral range, so that no client's own port falls on one, and reserved
//! among all tests of this machine by a lock file each.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 20000;
const COUNT: u16 = 10000;

/// A port that is this test's as long as it lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

static NEXT: AtomicU16 = AtomicU16::new(0);

impl Port {
    /// A port on which nobody listens, on any address.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn free() -> Self {
        let folder = std::env::temp_dir().join("slipstream-test-ports");
        std::fs::create_dir_all(&folder).expect("a folder for the ports' locks");
        let start = (std::process::id() as u16).wrapping_mul(131);
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + start.wrapping_add(step) % COUNT;
            let path = folder.join(number.to_string());
            let Ok(lock) = OpenOptions::new().create(true).truncate(false).write(true).open(path) else { continue };
            // SAFETY: the descriptor is open for the length of the call.
            if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
                continue;
            }
            if TcpListener::bind(("0.0.0.0", number)).is_ok() && TcpListener::bind(("::", number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Whether somebody listens on it: looked up in the kernel's tables, so that no server sees a connection.
    pub fn is_listening(&self) -> bool {
        is_listening(self.number)
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.number.fmt(f)
    }
}

fn is_listening(port: u16) -> bool {
    const LISTEN: &str = "0A";
    ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        table.lines().skip(1).any(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, _, state) = (words.next(), words.next(), words.next());
            let local = local.and_then(|local| local.rsplit_once(':'));
            state == Some(LISTEN) && local.is_some_and(|(_, p)| u16::from_str_radix(p, 16) == Ok(port))
        })
    })
}
