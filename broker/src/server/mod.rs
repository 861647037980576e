//! The event loop: one thread, nothing in it waits but `epoll_wait`.
//!
//! | file | does |
//! | --- | --- |
//! | `socket` | the listening socket and its lock |
//! | `client` | what is known of one connected process |
//! | `messages` | each message to its handler |
//! | `offers` | an offer, checked and matched |
//! | `handouts` | `Prepare` and `Attach`, one unanswered at a time |
//! | `ends` | withdrawals, dead processes, pairs taken apart |
//! | `report` | the status |

mod client;
mod ends;
mod handouts;
mod messages;
mod offers;
mod report;
mod socket;

pub use socket::ListenError;
pub(crate) use socket::address;

use crate::evidence::{Dice, Witness};
use crate::policy::{Bucket, Limits, Rate};
use crate::registry::{Books, ClientId};
use client::Client;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use socket::Listener;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// What a broker is started with.
#[derive(Debug)]
pub struct Config {
    /// Where it listens.
    pub path: PathBuf,
    /// The permissions of its socket; `None`: its own user only, or everyone under `/run/slipstream`.
    pub mode: Option<u32>,
    /// Ends by itself after so long without a client.
    pub idle_exit: Option<Duration>,
    /// What clients may take; `None`: by the size of the machine.
    pub limits: Option<Limits>,
    /// Ends when this becomes readable.
    pub stop: OwnedFd,
}

/// A broker that listens.
pub struct Server {
    epoll: OwnedFd,
    listener: Listener,
    _stop: OwnedFd,
    idle_exit: Option<Duration>,
    limits: Limits,
    boot: u64,
    started: Instant,
    /// When the last client left, while there is none.
    lonely_since: Instant,
    /// Not accepting until then: out of descriptors.
    deaf_until: Option<Instant>,
    witness: Option<Witness>,
    dice: Dice,
    clients: HashMap<ClientId, Client>,
    paused: BTreeSet<(Instant, ClientId)>,
    /// Sockets that were closed with mail unread.
    unread: Vec<Unread>,
    /// When they are looked at next.
    sweep_at: Option<Instant>,
    /// How much clients may make the broker say in its log.
    loud: Bucket,
    books: Books,
}

/// The socket of a client that was hung up on, or went, before it read what was sent to it. Descriptors in there count
/// against the broker's user in the kernel and hold memory, so it counts as a client until it is empty.
struct Unread {
    control: OwnedFd,
    uid: u32,
}

/// What an event is about, packed into epoll's 64 bits: a client's number, shifted, and which of its descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Stop,
    Listener,
    Control(ClientId),
    Process(ClientId),
}

impl Token {
    fn data(self) -> EventData {
        EventData::new_u64(match self {
            Self::Stop => 0,
            Self::Listener => 1,
            Self::Control(id) => id.0 << 2 | 2,
            Self::Process(id) => id.0 << 2 | 3,
        })
    }

    fn of(data: EventData) -> Self {
        let raw = data.u64();
        match raw & 3 {
            0 => Self::Stop,
            1 => Self::Listener,
            2 => Self::Control(ClientId(raw >> 2)),
            _ => Self::Process(ClientId(raw >> 2)),
        }
    }
}

/// How often sockets with unread mail are looked at.
const SWEEP: Duration = Duration::from_millis(200);
/// Lines of log that clients can cause.
const LOUD: Rate = Rate { per_second: 1, burst: 20 };
/// How long the listener rests when descriptors have run out.
const DEAF: Duration = Duration::from_millis(100);

impl Server {
    /// Listens; a client that connects from now on is served by [`Server::run`].
    ///
    /// # Errors
    ///
    /// See [`ListenError`].
    pub fn new(config: Config) -> Result<Self, ListenError> {
        let shared = crate::path::is_system_wide(&config.path);
        let mode = config.mode.unwrap_or(if shared { 0o666 } else { 0o600 });
        let limits = config.limits.unwrap_or_else(|| machine_limits(mode & 0o077 != 0));
        let listener = Listener::new(&config.path, mode)?;
        let witness = Witness::own()
            .inspect_err(|error| warn!(%error, "no sock_diag here: clients of this namespace must bring their own"))
            .ok();
        let epoll = watch(&listener, &config.stop)
            .map_err(|error| ListenError::System(config.path.clone(), io::Error::from(error)))?;
        let mut dice = Dice::default();
        let now = Instant::now();
        info!(path = %config.path.display(), mode = format!("{mode:o}"), ?limits, "listening");
        Ok(Self {
            epoll,
            listener,
            _stop: config.stop,
            idle_exit: config.idle_exit,
            limits,
            boot: u64::from(dice.roll()) << 20 | u64::from(dice.roll()) >> 12,
            // What a client of the last broker's adopts is no pair of this one's.
            books: Books::new(limits, u64::from(dice.roll()) << 16),
            started: now,
            lonely_since: now,
            deaf_until: None,
            witness,
            dice,
            clients: HashMap::new(),
            paused: BTreeSet::new(),
            unread: Vec::new(),
            sweep_at: None,
            loud: Bucket::new(LOUD, now),
        })
    }

    /// Serves until told to stop, or idle for as long as the configuration says.
    ///
    /// # Errors
    ///
    /// The event loop itself fails; nothing that a client does makes it so.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            let timeout = self.timeout(Instant::now());
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            for event in &events {
                let (flags, data) = (event.flags, event.data);
                match Token::of(data) {
                    Token::Stop => {
                        info!("stopping");
                        return Ok(());
                    }
                    Token::Listener => self.accept(),
                    Token::Control(id) => self.serve(id, flags),
                    Token::Process(id) => self.process_ended(id),
                }
            }
            let now = Instant::now();
            self.resume(now);
            if self.idle_exit.is_some_and(|limit| self.clients.is_empty() && now - self.lonely_since >= limit) {
                info!("idle: stopping");
                return Ok(());
            }
        }
    }

    /// How long the loop may sleep.
    fn timeout(&self, now: Instant) -> Option<Timespec> {
        let resume = self.paused.first().map(|(at, _)| *at);
        let idle = self.idle_exit.filter(|_| self.clients.is_empty()).map(|limit| self.lonely_since + limit);
        let next = [resume, idle, self.deaf_until, self.sweep_at].into_iter().flatten().min()?;
        let wait = next.saturating_duration_since(now);
        // A millisecond more: epoll_wait rounds down, and waking too early would only come back here.
        let wait = wait + Duration::from_millis(1);
        Some(Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) })
    }

    /// Ends the waits that are over.
    fn resume(&mut self, now: Instant) {
        if self.deaf_until.is_some_and(|until| until <= now) {
            self.deaf_until = None;
            let _ = epoll::modify(&self.epoll, &self.listener, Token::Listener.data(), EventFlags::IN);
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
        }
        while let Some(&(at, id)) = self.paused.first()
            && at <= now
        {
            self.paused.pop_first();
            if let Some(client) = self.clients.get_mut(&id) {
                client.paused = false;
                self.rewatch(id);
            }
        }
    }

    /// Lets go of sockets that have been emptied meanwhile.
    fn sweep(&mut self, now: Instant) {
        let (full, empty) =
            std::mem::take(&mut self.unread).into_iter().partition(|one| !client::is_read(&one.control));
        self.unread = full;
        for one in empty {
            self.books.user(one.uid).clients -= 1;
            self.books.forget_user(one.uid);
        }
        self.sweep_at = (!self.unread.is_empty()).then_some(now + SWEEP);
    }

    /// Whether one more line that a client caused may go to the log.
    fn is_loud(&mut self) -> bool {
        self.loud.take(1, Instant::now()).is_ok()
    }

    /// Takes in who waits at the door.
    fn accept(&mut self) {
        for _ in 0..self.limits.turn {
            let control = match self.listener.accept() {
                Ok(control) => control,
                Err(Errno::WOULDBLOCK) => return,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                    if self.is_loud() {
                        warn!("out of descriptors or memory: not accepting for a moment");
                    }
                    self.deaf_until = Some(Instant::now() + DEAF);
                    let _ = epoll::modify(&self.epoll, &self.listener, Token::Listener.data(), EventFlags::empty());
                    return;
                }
                Err(error) => {
                    debug!(%error, "a connection that ended in the queue");
                    continue;
                }
            };
            if let Err(error) = self.admit(control) {
                debug!(%error, "a client that could not be taken in");
            }
        }
    }

    fn admit(&mut self, control: OwnedFd) -> Result<(), Errno> {
        let id = ClientId(self.books.fresh());
        let client = Client::new(id, control)?;
        let most = self.limits.clients_per_user;
        let user = self.books.user(client.uid);
        if user.clients >= most {
            self.books.totals.turned_away += 1;
            if self.is_loud() {
                warn!(uid = client.uid, most, "a user has too many clients");
            }
            return Err(Errno::USERS);
        }
        user.clients += 1;
        let uid = client.uid;
        debug!(client = id.0, client.pid, client.uid, "connected");
        let watched = self.watch_client(&client);
        self.clients.insert(id, client);
        if let Err(error) = watched {
            self.hang_up(id);
            self.books.forget_user(uid);
            return Err(error);
        }
        Ok(())
    }

    fn watch_client(&self, client: &Client) -> Result<(), Errno> {
        if let Some(process) = &client.process {
            epoll::add(&self.epoll, process, Token::Process(client.id).data(), EventFlags::IN)?;
        }
        if let Some(control) = &client.control {
            epoll::add(&self.epoll, control, Token::Control(client.id).data(), EventFlags::IN)?;
        }
        Ok(())
    }

    /// Watches a client's socket for what is wanted of it now. A client that waits is not watched at all: a hang-up
    /// would be reported over and over.
    fn rewatch(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(&id) else { return };
        let Some(control) = &client.control else { return };
        let token = Token::Control(id).data();
        let done = if client.paused {
            match epoll::delete(&self.epoll, control) {
                Err(Errno::NOENT) => Ok(()),
                other => other,
            }
        } else {
            let mut flags = EventFlags::IN;
            flags.set(EventFlags::OUT, client.wants_room);
            match epoll::modify(&self.epoll, control, token, flags) {
                Err(Errno::NOENT) => epoll::add(&self.epoll, control, token, flags),
                other => other,
            }
        };
        if let Err(error) = done {
            warn!(%error, "a client's socket cannot be watched");
            self.hang_up(id);
        }
    }

    /// How long this broker has been there.
    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// An epoll set with the descriptors that are always there.
fn watch(listener: &Listener, stop: &OwnedFd) -> Result<OwnedFd, Errno> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, stop.as_fd(), Token::Stop.data(), EventFlags::IN)?;
    epoll::add(&epoll, listener, Token::Listener.data(), EventFlags::IN)?;
    Ok(epoll)
}

/// Takes all the descriptors that this process may have, and budgets with what that gives.
fn machine_limits(shared: bool) -> Limits {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let mut files = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: files.maximum, maximum: files.maximum };
    if setrlimit(Resource::Nofile, wanted).is_ok() {
        files = wanted;
    }
    let descriptors = files.current.unwrap_or(1 << 20);
    let mappings = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| text.trim().parse().ok());
    let system = rustix::system::sysinfo();
    let memory = (system.totalram as u64).saturating_mul(u64::from(system.mem_unit));
    Limits::for_machine(descriptors, mappings.unwrap_or(65_530), memory, shared)
}
