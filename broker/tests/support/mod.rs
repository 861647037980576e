//! A real broker in a folder of its own, and clients that speak its protocol by hand.
#![allow(dead_code, reason = "each test file uses its part")]

use bytemuck::{Pod, Zeroable, bytes_of};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, netlink, sockopt};
use slipstream_broker::control::Control;
use slipstream_broker::packet::{self, Message, Packet, ReceiveError};
use slipstream_broker::protocol::{Address, GRID, Header, Hello, Kind, Notice, Offer, Prefix, Reason, Transport};
use slipstream_broker::status::{Connection, Status};
use slipstream_ring::layout;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// No answer within this is a failure. Nothing waits for it otherwise.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running broker; killed and cleaned up with the value.
pub struct Broker {
    folder: tempfile::TempDir,
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Broker {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_slipstream"))
            .args(["broker", "--socket"])
            .arg(folder.path().join("s"))
            .args(options)
            .env("SLIPSTREAM_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the broker ended");
        }
        Self { folder, child, log }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn status(&self) -> Status {
        Control::connect(&self.socket()).unwrap().status().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as an operator would; what is left in its folder.
    pub fn stop(mut self) -> Vec<PathBuf> {
        kill(self.pid(), rustix::process::Signal::TERM);
        assert!(self.child.wait().unwrap().success());
        self.folder.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// A NETLINK_SOCK_DIAG socket of this namespace.
pub fn diag_socket() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG)).unwrap()
}

/// A process' connection to the broker, with no more sense than a test gives it.
pub struct Client {
    pub socket: OwnedFd,
    /// The mailbox, once welcomed.
    pub mailbox: Option<OwnedFd>,
}

impl Client {
    /// Only connects.
    pub fn raw(broker: &Broker) -> Self {
        Self::raw_at(&broker.socket())
    }

    pub fn raw_at(path: &Path) -> Self {
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE)).unwrap();
        rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        Self { socket, mailbox: None }
    }

    /// Connects and says Hello.
    pub fn new(broker: &Broker, transport: Transport) -> Self {
        Self::at(&broker.socket(), transport)
    }

    pub fn at(path: &Path, transport: Transport) -> Self {
        let mut client = Self::raw_at(path);
        client.send(&hello(transport), &[diag_socket().as_fd()]);
        let Packet { message: Message::Welcome(welcome), fds } = client.receive() else { panic!("no welcome") };
        assert_ne!(welcome.boot, 0);
        client.mailbox = fds.into_iter().next();
        client
    }

    pub fn send<T: Pod>(&self, message: &T, fds: &[BorrowedFd<'_>]) {
        packet::send(&self.socket, bytes_of(message), fds).unwrap();
    }

    pub fn say(&self, kind: Kind, name: u64, pair: u64, reason: Reason) {
        self.send(&notice(kind, name, pair, reason, 0), &[]);
    }

    pub fn receive(&self) -> Packet {
        packet::receive(&self.socket, RecvFlags::empty()).unwrap()
    }

    /// The next packet, which must be a notice of this kind: its endpoint's name, its pair and its reason.
    pub fn expect(&self, kind: Kind) -> (u64, u64, Reason) {
        match self.receive().message {
            Message::Notice(got, notice) if got == kind => {
                (notice.header.endpoint, notice.pair, Reason::from_wire(notice.reason).unwrap())
            }
            other => panic!("{other:?} instead of {kind:?}"),
        }
    }

    pub fn expect_refusal(&self, name: u64, reason: Reason) {
        let (got, _, why) = self.expect(Kind::Refused);
        assert_eq!((got, why), (name, reason));
    }

    /// Waits until the broker has handled everything sent so far; nothing else may be in the mail.
    pub fn barrier(&self) {
        self.say(Kind::Probe, 0, 0, Reason::None);
        assert!(matches!(self.receive().message, Message::Welcome(_)));
    }

    /// Sends a notice that may come too late.
    pub fn say_if_possible(&self, kind: Kind) {
        let _ = packet::send(&self.socket, bytes_of(&notice(kind, 0, 0, Reason::None, 0)), &[]);
    }

    /// Whether there is an answer, rather than a hang-up.
    pub fn answers(&self) -> bool {
        packet::receive(&self.socket, RecvFlags::empty()).is_ok()
    }

    /// The broker hangs up, now or later.
    pub fn expect_hang_up(&self) {
        loop {
            match packet::receive(&self.socket, RecvFlags::empty()) {
                Ok(_) => {}
                Err(ReceiveError::Closed) => return,
                Err(ReceiveError::System(rustix::io::Errno::CONNRESET)) => return,
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// What the mailbox counts.
    pub fn mail(&self) -> u32 {
        let mut word = [0; 4];
        rustix::io::pread(self.mailbox.as_ref().unwrap(), &mut word, 8).unwrap();
        u32::from_ne_bytes(word)
    }

    pub fn offer(&self, name: u64, stream: &TcpStream, side: Side<'_>) {
        self.send(&offer(name, stream, side), &[]);
    }

    /// Takes `Prepare`: maps the outbox and says so.
    pub fn prepare(&self, name: u64) -> Prepared {
        let Packet { message: Message::Prepare(prepare), mut fds } = self.receive() else { panic!("no Prepare") };
        assert_eq!(prepare.header.endpoint, name);
        let uds = (prepare.transport == Transport::Uds as u8).then(|| fds.pop().unwrap());
        let [outbox, own_bell, peer_bell] = fds.try_into().unwrap();
        let outbox = Map::new(outbox, prepare.capacity, true).unwrap();
        let side = u32::from(prepare.side);
        let length = layout::size(prepare.capacity);
        assert_eq!(outbox.outbox().check(prepare.pair, side, length), Ok(prepare.capacity));
        Prepared { name, pair: prepare.pair, side, capacity: prepare.capacity, outbox, own_bell, peer_bell, uds }
    }

    /// Takes `Attach`.
    pub fn attach(&self, prepared: &Prepared) -> Map {
        let Packet { message: Message::Notice(Kind::Attach, notice), fds } = self.receive() else {
            panic!("no Attach")
        };
        assert_eq!((notice.header.endpoint, notice.pair), (prepared.name, prepared.pair));
        let peer = Map::new(fds.into_iter().next().unwrap(), prepared.capacity, false).unwrap();
        let length = layout::size(prepared.capacity);
        assert_eq!(peer.outbox().check(prepared.pair, 1 - prepared.side, length), Ok(prepared.capacity));
        self.say(Kind::Attached, prepared.name, prepared.pair, Reason::None);
        peer
    }
}

pub fn hello(transport: Transport) -> Hello {
    let mut command = [0; 32];
    command[..4].copy_from_slice(b"test");
    Hello { header: Header::new(Kind::Hello, 0), command, ring_kib: 16, transport: transport as u8, reserved: [0; 3] }
}

pub fn notice(kind: Kind, name: u64, pair: u64, reason: Reason, side: u8) -> Notice {
    Notice { header: Header::new(kind, name), pair, reason: reason as u16, side, reserved: [0; 5] }
}

/// What a side saw of its connection.
#[derive(Clone, Copy, Default)]
pub struct Side<'a> {
    pub connector: bool,
    pub sent: &'a [u8],
    pub received: &'a [u8],
}

pub const CONNECTED: Side<'static> = Side { connector: true, sent: b"", received: b"" };
pub const ACCEPTED: Side<'static> = Side { connector: false, sent: b"", received: b"" };

pub fn prefix(stream: &[u8]) -> Prefix {
    let digest: [u64; GRID] = std::array::from_fn(|k| stream.get(..1 << k).map_or(0, xxh3_64));
    Prefix { bytes: stream.len() as u64, digest }
}

pub fn address(socket: SocketAddr) -> Address {
    let ip = match socket.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    Address { ip: ip.octets(), port: socket.port(), reserved: 0 }
}

pub fn offer(name: u64, stream: &TcpStream, side: Side<'_>) -> Offer {
    Offer {
        header: Header::new(Kind::Offer, name),
        cookie: sockopt::socket_cookie(stream).unwrap(),
        local: address(stream.local_addr().unwrap()),
        remote: address(stream.peer_addr().unwrap()),
        family: if stream.local_addr().unwrap().is_ipv4() { 2 } else { 10 },
        connector: u8::from(side.connector),
        tx: prefix(side.sent),
        rx: prefix(side.received),
        ..Offer::zeroed()
    }
}

/// Both ends of a connection over loopback.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    tcp_pair_at("127.0.0.1:0", None)
}

/// The same through a listener at `bind`; `dial` is the address to dial where it differs.
pub fn tcp_pair_at(bind: &str, dial: Option<IpAddr>) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(bind).unwrap();
    let mut address = listener.local_addr().unwrap();
    if let Some(ip) = dial {
        address.set_ip(ip);
    }
    let connected = TcpStream::connect(address).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    (connected, accepted)
}

/// What `Prepare` brought.
pub struct Prepared {
    pub name: u64,
    pub pair: u64,
    pub side: u32,
    pub capacity: u32,
    pub outbox: Map,
    pub own_bell: OwnedFd,
    pub peer_bell: OwnedFd,
    pub uds: Option<OwnedFd>,
}

/// A mapped outbox.
pub struct Map {
    pub file: OwnedFd,
    start: NonNull<u8>,
    length: usize,
}

impl Map {
    pub fn new(file: OwnedFd, capacity: u32, writable: bool) -> rustix::io::Result<Self> {
        let length = layout::size(capacity);
        let prot = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: a new mapping overlaps nothing.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, prot, MapFlags::SHARED, &file, 0)? };
        Ok(Self { file, start: NonNull::new(start.cast()).unwrap(), length })
    }

    pub fn outbox(&self) -> &layout::Outbox {
        // SAFETY: page-aligned, mapped for at least a header, only atomics; written by tests only where mapped so.
        unsafe { self.start.cast().as_ref() }
    }

    /// A word of the header, by its documented name.
    pub fn long(&self, word: &str) -> &AtomicU64 {
        let offset = layout::offset(word).expect("a word of the header");
        assert!(offset.is_multiple_of(8));
        // SAFETY: aligned, within the mapping.
        unsafe { self.start.add(offset).cast().as_ref() }
    }

    /// A word of the header, by its documented name.
    pub fn word(&self, word: &str) -> &AtomicU32 {
        let offset = layout::offset(word).expect("a word of the header");
        // SAFETY: aligned, within the mapping.
        unsafe { self.start.add(offset).cast().as_ref() }
    }

    /// Puts bytes at the start of the ring and publishes them as the first ones that moved.
    pub fn publish(&self, bytes: &[u8]) {
        assert!(bytes.len() <= self.length - layout::HEADER);
        // SAFETY: within the mapping, which tests call this on only when it is writable.
        unsafe {
            let ring = self.start.add(layout::HEADER).as_ptr();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), ring, bytes.len());
        }
        self.word(TURN).store(1, Ordering::Relaxed);
        self.long(TAIL).store(bytes.len() as u64, Ordering::Release);
    }

    /// What was published.
    pub fn published(&self) -> Vec<u8> {
        let length = self.long(TAIL).load(Ordering::Acquire) as usize;
        assert!(length <= self.length - layout::HEADER);
        let mut out = vec![0; length];
        // SAFETY: within the mapping; the writer in these tests has finished.
        unsafe { std::ptr::copy_nonoverlapping(self.start.add(layout::HEADER).as_ptr(), out.as_mut_ptr(), length) };
        out
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped.
        unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length).unwrap() };
    }
}

/// Words of the header.
pub const TAIL: &str = "producer.tail";
pub const TURN: &str = "state.turn";
pub const MARKS: &str = "state.marks";
pub const HEAD: &str = "consumer.head";
pub const FOLLOWED: &str = "state.followed";

/// How often a bell was rung, without waiting.
pub fn rings(bell: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(bell, &mut count) {
        Ok(8) => u64::from_ne_bytes(count),
        Err(rustix::io::Errno::AGAIN) => 0,
        other => panic!("{other:?}"),
    }
}

/// Waits until a descriptor is readable.
pub fn wait_readable(fd: impl AsFd) {
    wait_for(fd, rustix::event::PollFlags::IN);
}

pub fn wait_for(fd: impl AsFd, flags: rustix::event::PollFlags) {
    let mut poll = [rustix::event::PollFd::new(&fd, flags)];
    let timeout = rustix::time::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut poll, Some(&timeout)), Ok(1));
}

/// Two attached endpoints.
pub fn attached(a: (&Client, u64, &TcpStream), b: (&Client, u64, &TcpStream)) -> [(Prepared, Map); 2] {
    a.0.offer(a.1, a.2, CONNECTED);
    a.0.barrier();
    b.0.offer(b.1, b.2, ACCEPTED);
    let (left, right) = (a.0.prepare(a.1), b.0.prepare(b.1));
    assert_eq!(left.pair, right.pair);
    a.0.say(Kind::Mapped, a.1, left.pair, Reason::None);
    b.0.say(Kind::Mapped, b.1, right.pair, Reason::None);
    let (from_right, from_left) = (a.0.attach(&left), b.0.attach(&right));
    a.0.barrier();
    b.0.barrier();
    [(left, from_right), (right, from_left)]
}

/// The status entry of an endpoint by its local address.
pub fn entry<'a>(status: &'a Status, stream: &TcpStream) -> &'a Connection {
    let local = stream.local_addr().unwrap().to_string();
    let found: Vec<_> = status.connections.iter().filter(|connection| connection.local == local).collect();
    assert_eq!(found.len(), 1, "{local} in {status:?}");
    found[0]
}
