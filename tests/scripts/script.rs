//! A script: who calls what, in which order. Its text is what is kept of it, and what a person reads.
//!
//! ```text
//! a0 connect slot=0 listener=four family=v4 nonblock=0 nagle=0
//! b0 accept slot=0 listener=four flags=CLOEXEC form=accept4
//! b0 & recv slot=0 size=10 flags=WAITALL into=recv
//! a0 send slot=0 size=10 flags=0 out=writev
//! b0 join
//! ```
//!
//! An actor is a thread: `a0 a1` are alice's (her process connects), `b0 b1` bob's (his listens), `c0`… are children, each a
//! process with one thread. A slot is a place for a descriptor in a process. `&` starts a call that blocks and goes on when
//! its thread sleeps; `~` goes on at once. `join` waits until it has returned.

use std::fmt;

/// How many threads can play.
pub const ACTORS: usize = 4 + CHILDREN;
/// How many of them are children.
pub const CHILDREN: usize = 4;
/// The first child's number; the first of bob's.
pub const FIRST_CHILD: usize = 4;
pub const FIRST_OF_BOB: usize = 2;
/// How many processes.
pub const PROCESSES: usize = 2 + CHILDREN;
/// How many descriptors of a process a script can name.
pub const SLOTS: usize = 12;
/// The numbers of one call.
pub const ARGUMENTS: usize = 8;

/// Who makes a step.
pub type Actor = usize;

/// The process of an actor.
pub fn process_of(actor: Actor) -> usize {
    if actor < FIRST_CHILD { actor / 2 } else { actor - FIRST_CHILD + 2 }
}

fn actor_name(actor: Actor) -> String {
    match actor {
        0..FIRST_CHILD => format!("{}{}", ["a", "b"][actor / 2], actor % 2),
        _ => format!("c{}", actor - FIRST_CHILD),
    }
}

fn actor_named(name: &str) -> Option<Actor> {
    (0..ACTORS).find(|actor| actor_name(*actor) == name)
}

/// Whether the step ends before the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// It does.
    Whole,
    /// It blocks: the next one begins when its thread sleeps.
    Asleep,
    /// It may block: the next one begins at once.
    Loose,
}

/// One line of a script.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    pub actor: Actor,
    pub start: Start,
    pub call: Call,
}

/// What the words of an argument are.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number.
    Number,
    /// One of these, by their place.
    Words(&'static str, &'static [&'static str]),
    /// Bits with names.
    Bits(&'static [(&'static str, i32)]),
    /// Places of bits: `1+3`.
    Places,
    /// An actor.
    Who,
}

const MESSAGE: Kind = Kind::Bits(&[
    ("OOB", libc::MSG_OOB),
    ("PEEK", libc::MSG_PEEK),
    ("TRUNC", libc::MSG_TRUNC),
    ("DONTWAIT", libc::MSG_DONTWAIT),
    ("WAITALL", libc::MSG_WAITALL),
    ("NOSIGNAL", libc::MSG_NOSIGNAL),
    ("MORE", libc::MSG_MORE),
    ("CMSG_CLOEXEC", libc::MSG_CMSG_CLOEXEC),
]);
const EVENTS: Kind = Kind::Bits(&[
    ("IN", libc::EPOLLIN),
    ("PRI", libc::EPOLLPRI),
    ("OUT", libc::EPOLLOUT),
    ("RDHUP", libc::EPOLLRDHUP),
    ("ET", libc::EPOLLET),
    ("ONESHOT", libc::EPOLLONESHOT),
]);
const SOCK: Kind = Kind::Bits(&[("NONBLOCK", libc::SOCK_NONBLOCK), ("CLOEXEC", libc::SOCK_CLOEXEC)]);

macro_rules! words {
    ($($name:ident = $prefix:literal [$($word:literal),*];)*) => {
        $(const $name: Kind = Kind::Words($prefix, &[$($word),*]);)*
        const WORDS: &[Kind] = &[$($name),*];
    };
}

words! {
    OUTS = "OUTS" ["send", "write", "writev", "pwritev2", "sendto", "sendmsg", "sendmmsg", "sendfile", "splice"];
    INTOS = "INTOS" ["recv", "read", "readv", "preadv2", "recvfrom", "recvmsg", "recvmmsg", "splice"];
    LISTENERS = "LISTENERS" ["four", "both"];
    FAMILIES = "FAMILIES" ["v4", "v6", "mapped"];
    ACCEPTS = "ACCEPTS" ["accept", "accept4"];
    HOWS = "HOWS" ["RD", "WR", "RDWR"];
    CLOSES = "CLOSES" ["close", "range"];
    DUPS = "DUPS" ["dup", "dup2", "dup3", "dupfd", "dupfd_cloexec", "dupfd64"];
    SWITCHES = "SWITCHES" ["fcntl", "fionbio", "fcntl64"];
    OPTIONS = "OPTIONS" ["nodelay", "cork", "keepalive", "quickack", "linger", "timeout", "lowat"];
    QUESTIONS = "QUESTIONS" ["fionread", "outq", "error", "flags", "names"];
    POLLS = "POLLS" ["poll", "ppoll", "select", "pselect"];
    OPS = "OPS" ["none", "ADD", "DEL", "MOD"];
    WAITS = "WAITS" ["epoll_wait", "epoll_pwait", "epoll_pwait2"];
    PUMPS = "PUMPS" ["blocking", "poll", "select", "level", "edge"];
    EXITS = "EXITS" ["_exit", "exit"];
    SIGNALS = "SIGNALS" ["USR1", "USR2"];
}

const NUMBER: Kind = Kind::Number;
const PLACES: Kind = Kind::Places;
const WHO: Kind = Kind::Who;

macro_rules! calls {
    ($($name:ident = $text:literal { $($field:ident: $kind:expr),* })*) => {
        /// A call, with what it is given.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Call { $($name { $($field: i32),* }),* }

        const NAMES: &[&str] = &[$($text),*];

        impl Call {
            /// Its name in a script.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name { .. } => $text),* }
            }

            /// Its arguments in their order.
            pub fn arguments(&self) -> Vec<(&'static str, Kind, i32)> {
                match self { $(Self::$name { $($field),* } => vec![$((stringify!($field), $kind, *$field)),*]),* }
            }

            fn made(name: &str, mut value: impl FnMut(&str, Kind) -> Result<i32, String>) -> Result<Self, String> {
                match name {
                    $($text => Ok(Self::$name { $($field: value(stringify!($field), $kind)?),* }),)*
                    _ => Err(format!("no call '{name}'")),
                }
            }
        }
    };
}

calls! {
    Connect = "connect" { slot: NUMBER, listener: LISTENERS, family: FAMILIES, nonblock: NUMBER, nagle: NUMBER }
    Accept = "accept" { slot: NUMBER, listener: LISTENERS, flags: SOCK, form: ACCEPTS }
    Send = "send" { slot: NUMBER, size: NUMBER, flags: MESSAGE, out: OUTS }
    Recv = "recv" { slot: NUMBER, size: NUMBER, flags: MESSAGE, into: INTOS }
    Shutdown = "shutdown" { slot: NUMBER, how: HOWS }
    Close = "close" { slot: NUMBER, form: CLOSES }
    Dup = "dup" { slot: NUMBER, to: NUMBER, form: DUPS }
    Nonblock = "nonblock" { slot: NUMBER, on: NUMBER, by: SWITCHES }
    Option = "option" { slot: NUMBER, what: OPTIONS, value: NUMBER }
    Ask = "ask" { slot: NUMBER, what: QUESTIONS }
    Poll = "poll" { slots: PLACES, events: EVENTS, ms: NUMBER, form: POLLS }
    Set = "set" { slot: NUMBER }
    Control = "control" { set: NUMBER, op: OPS, slot: NUMBER, events: EVENTS, data: NUMBER }
    Wait = "wait" { set: NUMBER, most: NUMBER, ms: NUMBER, form: WAITS }
    Lead = "lead" { slot: NUMBER, size: NUMBER, count: NUMBER }
    Echo = "echo" { slot: NUMBER, size: NUMBER, count: NUMBER }
    Pump = "pump" { slot: NUMBER, send: NUMBER, take: NUMBER, chunk: NUMBER, form: PUMPS }
    Fill = "fill" { slot: NUMBER, chunk: NUMBER }
    Drain = "drain" { slot: NUMBER }
    Nap = "nap" { us: NUMBER }
    Fork = "fork" { child: WHO }
    Exec = "exec" { bare: NUMBER }
    Exit = "exit" { form: EXITS }
    Kill = "kill" {}
    Signal = "signal" { number: SIGNALS }
    Join = "join" {}
}

/// What the conductor says to actors between the calls of a script.
pub const SETTLE_DATA: i32 = 100;
pub const SETTLE_END: i32 = 101;
pub const TIDY: i32 = 102;

impl Call {
    /// As the runner knows it.
    pub fn number(&self) -> i32 {
        NAMES.iter().position(|name| *name == self.name()).unwrap_or(usize::MAX) as i32
    }
}

/// The C header with all of these numbers.
pub fn header() -> String {
    use fmt::Write as _;
    let mut text = String::from("/* Made from script.rs. */\n#pragma once\nenum {\n");
    for (number, name) in NAMES.iter().enumerate() {
        let _ = writeln!(text, "\tCALL_{name} = {number},");
    }
    for kind in WORDS {
        let Kind::Words(prefix, words) = kind else { continue };
        for (number, word) in words.iter().enumerate() {
            let _ = writeln!(text, "\t{prefix}_{word} = {number},");
        }
    }
    for (name, value) in [
        ("SETTLE_DATA", SETTLE_DATA as usize),
        ("SETTLE_END", SETTLE_END as usize),
        ("TIDY", TIDY as usize),
        ("ACTORS", ACTORS),
        ("FIRST_CHILD", FIRST_CHILD),
        ("FIRST_OF_BOB", FIRST_OF_BOB),
        ("PROCESSES", PROCESSES),
        ("SLOTS", SLOTS),
        ("ARGUMENTS", ARGUMENTS),
        ("SAID", crate::page::SAID),
        ("ENDS", crate::page::ENDS),
        ("RECORDS", crate::page::RECORDS),
        ("BUFFER", crate::page::BUFFER),
    ] {
        let _ = writeln!(text, "\t{name} = {value},");
    }
    text.push_str("};\n");
    text
}

impl Kind {
    fn show(self, value: i32) -> String {
        let joined = |words: Vec<String>, by: &str| if words.is_empty() { "0".to_owned() } else { words.join(by) };
        match self {
            Self::Number => value.to_string(),
            Self::Words(_, words) => words[value as usize].to_owned(),
            Self::Bits(bits) => joined(
                bits.iter().filter(|(_, bit)| value & bit != 0).map(|(name, _)| (*name).to_owned()).collect(),
                "|",
            ),
            Self::Places => {
                joined((0..32).filter(|bit| value & 1 << bit != 0).map(|bit| bit.to_string()).collect(), "+")
            }
            Self::Who => actor_name(value as usize),
        }
    }

    fn read(self, text: &str) -> Option<i32> {
        match self {
            Self::Number => text.parse().ok(),
            Self::Words(_, words) => words.iter().position(|word| *word == text).map(|place| place as i32),
            Self::Bits(_) | Self::Places if text == "0" => Some(0),
            Self::Bits(bits) => text
                .split('|')
                .try_fold(0, |sum, word| bits.iter().find(|(name, _)| *name == word).map(|(_, bit)| sum | bit)),
            Self::Places => text.split('+').try_fold(0, |sum, place| Some(sum | 1 << place.parse::<u32>().ok()?)),
            Self::Who => actor_named(text).map(|actor| actor as i32),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = match self.start {
            Start::Whole => "",
            Start::Asleep => "& ",
            Start::Loose => "~ ",
        };
        write!(f, "{} {start}{}", actor_name(self.actor), self.call.name())?;
        for (name, kind, value) in self.call.arguments() {
            write!(f, " {name}={}", kind.show(value))?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Step {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace().peekable();
        let actor = words.next().and_then(actor_named).ok_or_else(|| format!("no actor in '{line}'"))?;
        let start = match words.peek() {
            Some(&"&") => Start::Asleep,
            Some(&"~") => Start::Loose,
            _ => Start::Whole,
        };
        if start != Start::Whole {
            words.next();
        }
        let name = words.next().ok_or_else(|| format!("no call in '{line}'"))?;
        let given: Vec<_> = words.filter_map(|word| word.split_once('=')).collect();
        let call = Call::made(name, |name, kind| {
            let (_, text) = given.iter().find(|(given, _)| *given == name).ok_or(format!("no {name} in '{line}'"))?;
            kind.read(text).ok_or_else(|| format!("not a {name}: '{text}' in '{line}'"))
        })?;
        Ok(Self { actor, start, call })
    }
}

/// All the steps of a text; `#` begins a remark.
pub fn parse(text: &str) -> Result<Vec<Step>, String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim()).filter(|line| !line.is_empty());
    lines.map(str::parse).collect()
}

/// The text of steps.
pub fn show(steps: &[Step]) -> String {
    steps.iter().map(|step| format!("{step}\n")).collect()
}
