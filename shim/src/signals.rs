//! Stretches in which signals are blocked, and who takes those that came meanwhile.
//!
//! The kernel gives a signal that is sent to the process to its first thread, if that lets it through, and wakes it: a program
//! may rely on that thread's call to end (Python's Ctrl-C does). But a thread that changes its own mask before that one has run
//! takes it away. So every stretch ends here, and another thread than the first looks before it lets signals through.

use crate::kernel::{self, Disposition};
use crate::{broker, process, real, thread};
use core::sync::atomic::{AtomicU64, Ordering};

/// What the first thread lets through by its program's will, while it is in a stretch of its own; else 0.
static LEADERS: AtomicU64 = AtomicU64::new(0);

/// Begins a stretch in which every signal is blocked; the program's mask, for [`restore`].
pub fn block() -> u64 {
    begun(kernel::block_signals())
}

/// The same, but for those that the thread's own instructions cause: the kernel kills where they are blocked.
pub fn block_foreign() -> u64 {
    begun(kernel::block_foreign_signals())
}

fn begun(mask: u64) -> u64 {
    if !real::single_threaded() && !is_nested(mask) && process::is_leader(thread::current()) {
        // Relaxed: a thread that does not see it yet takes a signal a moment before the first thread would have been blocked.
        LEADERS.store(!mask, Ordering::Relaxed);
    }
    mask
}

/// Whether that is the mask of a stretch around (or of a program that blocks as much).
fn is_nested(mask: u64) -> bool {
    mask | kernel::NOT_FOREIGN | kernel::NOT_BLOCKED == u64::MAX
}

/// Ends a stretch.
pub fn restore(mask: u64) {
    leave_to_leader(mask);
    restore_in_role(mask);
}

/// The same while others wait for the thread: nor can it wait for the first one.
pub fn restore_in_role(mask: u64) {
    kernel::restore_signals(mask);
    if !real::single_threaded() && !is_nested(mask) && process::is_leader(thread::current()) {
        LEADERS.store(0, Ordering::Relaxed);
    }
}

/// Before signals are let through, but for those of `mask`.
pub fn leave_to_leader(mask: u64) {
    if !real::single_threaded() && !broker::is_silent() && !process::is_leader(thread::current()) {
        await_leader(mask);
    }
}

/// In a forked child: the thread that forked is the first.
pub fn after_fork() {
    LEADERS.store(0, Ordering::Relaxed);
}

/// What the signals of a stretch in which they were blocked mean for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    Nothing,
    /// It begins anew.
    Restart,
    /// It ends.
    Interrupt,
}

impl Delivered {
    /// What came first decides.
    pub fn or(self, later: Self) -> Self {
        if self == Self::Nothing { later } else { self }
    }
}

/// A blocking call's waiting: since it first had to, signals are blocked and looked for where it waits, as the kernel has it. One
/// whose handler ran between would go unnoticed. But not those that are the thread's own doing.
#[derive(Default)]
pub struct Stay {
    /// The program's mask, while they are blocked.
    mask: Option<u64>,
}

impl Stay {
    /// The program's mask.
    pub fn begin(&mut self) -> u64 {
        *self.mask.get_or_insert_with(block_foreign)
    }

    pub fn has_begun(&self) -> bool {
        self.mask.is_some()
    }

    /// Whether one waits to be let through.
    pub fn is_due(&self) -> bool {
        self.mask.is_some_and(|mask| kernel::pending_signals() & !mask != 0)
    }

    /// Lets signals through again. Whether one has ended the call; `strict`: as in [`deliver`].
    pub fn end(&mut self, strict: bool) -> bool {
        self.mask.take().is_some_and(|mask| deliver(mask, strict) == Delivered::Interrupt)
    }

    /// The same for a call that is over.
    pub fn leave(&mut self) {
        if let Some(mask) = self.mask.take() {
            restore(mask);
        }
    }
}

/// Ends a stretch of blocked signals: what is pending is delivered. As in the kernel, the first one with a handler decides:
/// those behind it meet a call that is over, or begins anew. `strict`: it ends.
pub fn deliver(mask: u64, strict: bool) -> Delivered {
    let mut pending = kernel::pending_signals() & !mask;
    if pending != 0 && !process::is_leader(thread::current()) {
        pending = await_leader(mask);
    }
    let has = |signal: u32| pending & (1 << (signal - 1)) != 0;
    let delivered = (1..=64).filter(|signal| has(*signal)).find_map(|signal| meaning(signal, strict));
    restore_in_role(mask);
    delivered.unwrap_or(Delivered::Nothing)
}

/// Lets those through that wait, in a stretch of blocked signals that goes on.
pub fn heed(mask: u64, strict: bool) -> Delivered {
    if kernel::pending_signals() & !mask == 0 {
        return Delivered::Nothing;
    }
    let delivered = deliver(mask, strict);
    // The cancellation's may have been among them.
    real::test_cancel();
    block_foreign();
    delivered
}

/// What a signal's handler means for the call; `None`: it has none.
fn meaning(signal: u32, strict: bool) -> Option<Delivered> {
    match kernel::disposition(signal) {
        Disposition::Interrupt => Some(Delivered::Interrupt),
        Disposition::Restart if strict => Some(Delivered::Interrupt),
        Disposition::Restart => Some(Delivered::Restart),
        Disposition::NoHandler => None,
    }
}

/// Waits while a signal of those that `mask` lets through is pending that the first thread would take: the kernel has woken that,
/// and it needs only a CPU. What is pending then.
fn await_leader(mask: u64) -> u64 {
    const FIRST_STEP: u64 = 50_000;
    const LONGEST_STEP: u64 = 1_000_000;
    const PATIENCE: u64 = 100_000_000;
    let (mut until, mut step) = (None, FIRST_STEP);
    loop {
        let pending = kernel::pending_signals() & !mask;
        if pending == 0
            || kernel::own_pending_signals().is_none_or(|own| own & !mask != 0)
            || pending & leader_open() == 0
            || kernel::now_ns() >= *until.get_or_insert_with(|| kernel::now_ns() + PATIENCE)
        {
            return pending;
        }
        let _ = kernel::ppoll(&mut [], Some(&kernel::timespec(step)), core::ptr::null());
        step = LONGEST_STEP.min(2 * step);
    }
}

/// What the first thread lets through, or does so as soon as it looks.
fn leader_open() -> u64 {
    // SigBlk before what the thread has noted: that follows.
    kernel::leader_open_signals().map_or(0, |open| open.map_or(0, |open| open | LEADERS.load(Ordering::Relaxed)))
}

/// The signals that have handlers, among those that `mask` lets through.
pub struct Handled {
    /// Those that end the call.
    pub ending: u64,
    /// Those after which it begins anew.
    pub restarting: u64,
}

impl Handled {
    /// What they mean for it, where that is the same for all; else what those mean that end it.
    pub fn meaning(&self) -> Delivered {
        match (self.ending, self.restarting) {
            (0, 0) => Delivered::Nothing,
            (0, _) => Delivered::Restart,
            _ => Delivered::Interrupt,
        }
    }
}

/// Asks for all of them, but the one by which libc cancels a thread.
pub fn handled(mask: u64, strict: bool) -> Handled {
    let (mut ending, mut restarting) = (0, 0);
    for signal in (1..=64).filter(|signal| mask & (1 << (signal - 1)) == 0 && *signal != 32) {
        match meaning(signal, strict) {
            Some(Delivered::Interrupt) => ending |= 1 << (signal - 1),
            Some(Delivered::Restart) => restarting |= 1 << (signal - 1),
            _ => {}
        }
    }
    Handled { ending, restarting }
}
