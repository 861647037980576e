//! The outbox: the memory that one endpoint alone writes and its peer maps read-only.
//!
//! ```text
//! offset  line       written            read by the peer
//!      0  identity   once, by broker    at attach
//!    128  producer   every publication  by its consumer: the tail
//!    256  consumer   every consumption  by its producer, when its cached copy runs out: the head
//!    384  state      seldom             with every call: turn, followed, ready, marks
//!    512  sleepers   before each sleep  after each publication: epochs
//!    640  wakes      with each wake     by its sleepers: the futex words
//!    768  tx         by the own side    never
//!    896  rx         by the own side    never
//!   1024  prefixes   once, at attach    at attach: digests for the verification
//!   4096  the ring: `capacity` bytes
//! ```
//!
//! Lines are 128 bytes apart because adjacent 64-byte lines are fetched in pairs. A cursor has a line of its own: what is
//! read with every call but changes seldom stays in both sides' caches.

use crate::role::RoleLock;
use crate::sync::{AtomicU32, AtomicU64, Boundary, Ordering, at};

/// First word of an outbox: "SLIPRING".
pub const MAGIC: u64 = u64::from_le_bytes(*b"SLIPRING");
/// Version of the layout and of the rules for its words.
pub const VERSION: u32 = 3;
/// Bytes before the ring.
pub const HEADER: usize = 4096;
/// The smallest ring, in bytes.
pub const MIN_CAPACITY: u32 = 4096;
/// The largest ring, in bytes.
pub const MAX_CAPACITY: u32 = 1 << 24;
/// Digests posted per direction: of the first 2^0 … 2^(GRID-1) bytes.
pub const GRID: usize = 13;

/// Bytes of an outbox whose ring has `capacity` bytes.
pub const fn size(capacity: u32) -> usize {
    HEADER + capacity as usize
}

/// Whether a ring may have that many bytes.
pub const fn is_capacity(capacity: u32) -> bool {
    capacity.is_power_of_two() && capacity >= MIN_CAPACITY && capacity <= MAX_CAPACITY
}

/// Mark: this side will send no more (shutdown, close); set before TCP's FIN. A hint to look at TCP, never believed.
pub const MARK_END: u32 = 1;
/// Mark, made by the broker for the dead: every process that held this endpoint has ended.
pub const MARK_GONE: u32 = 2;

/// Mark: this side reads its peer's ring no more, and what is unread there must come through TCP; see [`crate::recall`].
pub const MARK_RECALL: u32 = 4;

/// Mark: this side receives no more over TCP (close, shutdown); a sender that departs leaves it no copy.
pub const MARK_CLOSED: u32 = 8;

/// Mark beside [`MARK_END`]: several processes held this endpoint then, or do since. The last of them may die with bytes
/// unread, without a word to the broker and without another FIN.
pub const MARK_SHARED: u32 = 16;

/// Who made the outbox and for whom. Written once before it is handed out.
#[repr(C, align(128))]
pub struct Identity {
    pub(crate) magic: AtomicU64,
    pub(crate) pair: AtomicU64,
    pub(crate) version: AtomicU32,
    pub(crate) capacity: AtomicU32,
    pub(crate) side: AtomicU32,
}

/// What the peer's consumer waits for.
#[repr(C, align(128))]
pub struct ProducerLine {
    /// Bytes ever published in this ring: the producer cursor.
    pub(crate) tail: AtomicU64,
    /// When this side last published something (bytes, a turn, its end), in ticks of the CPU's counter. A hint, for who
    /// reports several connections in the order of their news.
    pub(crate) news: AtomicU64,
}

/// What the peer's producer waits for.
#[repr(C, align(128))]
pub struct ConsumerLine {
    /// Bytes ever consumed from the peer's ring: the consumer cursor.
    pub(crate) head: AtomicU64,
}

/// What this side says of itself, and its peer asks with every call.
#[repr(C, align(128))]
pub struct StateLine {
    /// Where turn `n` begins, at index `n & 1`: odd turns (TCP → ring) in bytes written to TCP, even turns
    /// (ring → TCP) in bytes published in the ring.
    pub(crate) boundary: [Boundary; 2],
    /// Carrier changes so far. Even: TCP carries; odd: the ring does.
    pub(crate) turn: AtomicU32,
    /// The peer's turn that this side's reading has reached.
    pub(crate) followed: AtomicU32,
    /// A [`crate::carrier::Ready`].
    pub(crate) ready: AtomicU32,
    /// [`MARK_END`], [`MARK_GONE`], [`MARK_RECALL`], [`MARK_CLOSED`], [`MARK_SHARED`].
    pub(crate) marks: AtomicU32,
    /// The CPU that this side last worked on, plus one; 0 unknown. A hint for who considers to spin.
    pub(crate) cpu: AtomicU32,
    /// What a go-back under way says to a recall, see [`crate::recall`]: [`LEAVING`], [`COPIED`], and from bit 2 on how many
    /// bytes before it are sent through TCP as well.
    pub(crate) leaving: AtomicU32,
}

/// In [`StateLine::leaving`]: the sender looks for a recall, and may take its turn back.
pub(crate) const LEAVING: u32 = 1;
/// In [`StateLine::leaving`]: it has left the ring for good.
pub(crate) const COPIED: u32 = 2;

/// Epochs of this side's sleepers, one per [`crate::wait::Sleep`], each raised before a sleep.
#[repr(C, align(128))]
pub struct SleeperLine {
    pub(crate) epoch: [AtomicU32; 3],
}

/// The futex words.
#[repr(C, align(128))]
pub struct WakeLine {
    /// The peer's readers sleep on this one; changed by every publication that finds them asleep.
    pub(crate) data: AtomicU32,
    /// The peer's writers sleep on this one; changed by every consumption that finds them asleep.
    pub(crate) space: AtomicU32,
    /// This side's own sleepers watch this one too; changed by local events.
    pub(crate) local: AtomicU32,
}

/// Private to this side's holders: sending.
#[repr(C, align(128))]
pub struct TxState {
    pub(crate) lock: RoleLock,
    /// The epochs of the peer's sleepers that were last answered, as in [`SleeperLine::epoch`].
    pub(crate) served: [AtomicU32; 3],
    /// The peer's `head` as last read.
    pub(crate) peer_head: AtomicU64,
    /// Up to where the lock's owner (and its signal handlers) claimed places to copy into: the owner, and the low half
    /// of the position.
    pub(crate) staged: AtomicU64,
    /// Up to here a recalled ring's bytes have been sent again, through TCP.
    pub(crate) resent: AtomicU64,
    /// Wakes sent to the peer, for the status.
    pub(crate) wakes: AtomicU64,
    /// Sleeps for space, for the status.
    pub(crate) sleeps: AtomicU64,
    /// Of those, the ones that no wake ended, but a timer that found space, for the status.
    pub(crate) late: AtomicU64,
}

/// Private to this side's holders: receiving.
#[repr(C, align(128))]
pub struct RxState {
    pub(crate) lock: RoleLock,
    /// Bytes read from TCP, as this side counts them.
    pub(crate) taken: AtomicU64,
    /// Bytes dropped from TCP because the ring had given them already.
    pub(crate) dropped: AtomicU64,
    /// Wakes sent to the peer, for the status.
    pub(crate) wakes: AtomicU64,
    /// Sleeps for data, for the status.
    pub(crate) sleeps: AtomicU64,
    /// Of those, the ones that no wake ended, but a timer that found data, for the status.
    pub(crate) late: AtomicU64,
}

/// What this side saw of each direction before the move.
#[repr(C, align(128))]
pub struct Prefixes {
    pub(crate) tx_bytes: AtomicU64,
    pub(crate) rx_bytes: AtomicU64,
    pub(crate) tx: [AtomicU64; GRID],
    pub(crate) rx: [AtomicU64; GRID],
    /// 1 once the words above hold.
    pub(crate) posted: AtomicU32,
}

/// The words before the ring. Never moved, never copied: its address is what two processes share.
#[repr(C)]
pub struct Outbox {
    pub(crate) identity: Identity,
    pub(crate) producer: ProducerLine,
    pub(crate) consumer: ConsumerLine,
    pub(crate) state: StateLine,
    pub(crate) sleepers: SleeperLine,
    pub(crate) wakes: WakeLine,
    pub(crate) tx: TxState,
    pub(crate) rx: RxState,
    pub(crate) prefixes: Prefixes,
}

#[cfg(not(loom))]
const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Outbox>() <= HEADER && align_of::<Outbox>() == 128);
    assert!(offset_of!(Outbox, producer) == 128 && offset_of!(Outbox, consumer) == 256);
    assert!(
        offset_of!(Outbox, state) == 384 && offset_of!(Outbox, sleepers) == 512 && offset_of!(Outbox, wakes) == 640
    );
    assert!(offset_of!(Outbox, tx) == 768 && offset_of!(Outbox, rx) == 896 && offset_of!(Outbox, prefixes) == 1024);
    assert!(offset_of!(ProducerLine, tail) == 0 && offset_of!(ConsumerLine, head) == 0);
    assert!(offset_of!(StateLine, boundary) == 0 && offset_of!(StateLine, turn) == 16);
    assert!(offset_of!(StateLine, followed) == 20 && offset_of!(StateLine, ready) == 24);
    assert!(
        offset_of!(StateLine, marks) == 28 && offset_of!(StateLine, cpu) == 32 && offset_of!(StateLine, leaving) == 36
    );
    assert!(offset_of!(Prefixes, tx) == 16 && offset_of!(Prefixes, rx) == 120 && offset_of!(Prefixes, posted) == 224);
};

#[cfg(not(loom))]
macro_rules! words {
    ($($line:ident: $kind:ident { $($word:ident),+ })+) => {
        /// Every word of an outbox: its name, its offset, its bytes. docs/protocol.md lists them, and a test compares.
        pub const WORDS: &[(&str, usize, usize)] = &[$($((
            concat!(stringify!($line), ".", stringify!($word)),
            core::mem::offset_of!(Outbox, $line.$word),
            bytes_of_word(|line: &$kind| &line.$word),
        )),+),+];

        // A pattern names all fields: none is missing above.
        const _: fn(&Outbox) = |outbox| {
            let Outbox { $($line: $kind { $($word: _),+ }),+ } = outbox;
        };
    };
}

/// Where a word of [`WORDS`] lies.
#[cfg(not(loom))]
pub fn offset(word: &str) -> Option<usize> {
    WORDS.iter().find(|(name, ..)| *name == word).map(|(_, offset, _)| *offset)
}

#[cfg(not(loom))]
const fn bytes_of_word<Line, Word>(_: fn(&Line) -> &Word) -> usize {
    size_of::<Word>()
}

#[cfg(not(loom))]
words! {
    identity: Identity { magic, pair, version, capacity, side }
    producer: ProducerLine { tail, news }
    consumer: ConsumerLine { head }
    state: StateLine { boundary, turn, followed, ready, marks, cpu, leaving }
    sleepers: SleeperLine { epoch }
    wakes: WakeLine { data, space, local }
    tx: TxState { lock, served, peer_head, staged, resent, wakes, sleeps, late }
    rx: RxState { lock, taken, dropped, wakes, sleeps, late }
    prefixes: Prefixes { tx_bytes, rx_bytes, tx, rx, posted }
}

/// Why memory is not an outbox that this code can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The first word is not [`MAGIC`].
    Magic,
    /// Another layout version.
    Version,
    /// The capacity is not allowed, or does not fit the memory.
    Capacity,
    /// Another pair or side than the one that was announced.
    Identity,
}

impl Outbox {
    /// An outbox of `side` (0 or 1) of `pair`, as zeroed memory becomes by [`Outbox::init`]. For models and tests.
    pub fn new(pair: u64, side: u32, capacity: u32) -> Self {
        let word = || AtomicU32::new(0);
        let long = || AtomicU64::new(0);
        let outbox = Self {
            identity: Identity { magic: long(), pair: long(), version: word(), capacity: word(), side: word() },
            producer: ProducerLine { tail: long(), news: long() },
            consumer: ConsumerLine { head: long() },
            state: StateLine {
                boundary: [Boundary::new(0), Boundary::new(0)],
                turn: word(),
                followed: word(),
                ready: word(),
                marks: word(),
                cpu: word(),
                leaving: word(),
            },
            sleepers: SleeperLine { epoch: [word(), word(), word()] },
            wakes: WakeLine { data: word(), space: word(), local: word() },
            tx: TxState {
                lock: RoleLock::new(),
                served: [word(), word(), word()],
                peer_head: long(),
                staged: long(),
                resent: long(),
                wakes: long(),
                sleeps: long(),
                late: long(),
            },
            rx: RxState {
                lock: RoleLock::new(),
                taken: long(),
                dropped: long(),
                wakes: long(),
                sleeps: long(),
                late: long(),
            },
            prefixes: Prefixes {
                tx_bytes: long(),
                rx_bytes: long(),
                tx: core::array::from_fn(|_| long()),
                rx: core::array::from_fn(|_| long()),
                posted: word(),
            },
        };
        outbox.init(pair, side, capacity);
        outbox
    }

    /// Makes an outbox of zeroed memory. The broker does this before anyone else has the memory.
    pub fn init(&self, pair: u64, side: u32, capacity: u32) {
        // Relaxed throughout: the memory is handed out by a message, which orders it.
        self.identity.pair.store(pair, Ordering::Relaxed);
        self.identity.version.store(VERSION, Ordering::Relaxed);
        self.identity.capacity.store(capacity, Ordering::Relaxed);
        self.identity.side.store(side, Ordering::Relaxed);
        self.identity.magic.store(MAGIC, Ordering::Relaxed);
    }

    /// Checks that mapped memory of `mapped` bytes is the outbox of `side` of `pair`; its ring's capacity in bytes.
    pub fn check(&self, pair: u64, side: u32, mapped: usize) -> Result<u32, Unfit> {
        let identity = &self.identity;
        if identity.magic.load(Ordering::Relaxed) != MAGIC {
            return Err(Unfit::Magic);
        }
        if identity.version.load(Ordering::Relaxed) != VERSION {
            return Err(Unfit::Version);
        }
        let capacity = identity.capacity.load(Ordering::Relaxed);
        if !is_capacity(capacity) || size(capacity) != mapped {
            return Err(Unfit::Capacity);
        }
        if identity.pair.load(Ordering::Relaxed) != pair || identity.side.load(Ordering::Relaxed) != side {
            return Err(Unfit::Identity);
        }
        Ok(capacity)
    }

    /// What a bystander (the broker, for the status) can say about this side. Every number is a snapshot and untrusted.
    pub fn snapshot(&self) -> Snapshot {
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        Snapshot {
            tail: load(&self.producer.tail),
            head: load(&self.consumer.head),
            turn: self.state.turn.load(Ordering::Relaxed),
            followed: self.state.followed.load(Ordering::Relaxed),
            tx_sleeps: load(&self.tx.sleeps),
            tx_wakes: load(&self.tx.wakes),
            tx_late: load(&self.tx.late),
            rx_sleeps: load(&self.rx.sleeps),
            rx_wakes: load(&self.rx.wakes),
            rx_late: load(&self.rx.late),
        }
    }

    /// The broker speaks for a dead endpoint: marks it and changes its futex words. The caller then wakes
    /// [`Outbox::futexes`] and rings the survivor's doorbell.
    pub fn mark_gone(&self) {
        // SYNC POINT gone: the mark before the futex words, so that a sleeper whose wait fails on a changed word sees it.
        self.state.marks.fetch_or(MARK_GONE, Ordering::SeqCst);
        self.wakes.data.fetch_add(1, at("gone/words", Ordering::SeqCst));
        self.wakes.space.fetch_add(1, at("gone/words", Ordering::SeqCst));
    }

    /// The two words that the peer's sleepers wait on.
    pub fn futexes(&self) -> [&AtomicU32; 2] {
        [&self.wakes.data, &self.wakes.space]
    }
}

/// See [`Outbox::snapshot`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Bytes this side ever published.
    pub tail: u64,
    /// Bytes this side ever consumed from its peer's ring.
    pub head: u64,
    /// Carrier changes of what this side sends; odd means the ring carries.
    pub turn: u32,
    /// Carrier changes that this side's reading has followed; odd means it reads the ring.
    pub followed: u32,
    /// Times this side slept for space.
    pub tx_sleeps: u64,
    /// Wakes that this side's sending caused.
    pub tx_wakes: u64,
    /// Sleeps for space that no wake ended.
    pub tx_late: u64,
    /// Times this side slept for data.
    pub rx_sleeps: u64,
    /// Wakes that this side's receiving caused.
    pub rx_wakes: u64,
    /// Sleeps for data that no wake ended.
    pub rx_late: u64,
}
