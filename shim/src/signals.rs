//! Stretches in which signals are blocked, and who takes those that came meanwhile.
//!
//! The kernel gives a signal that is sent to the process to its first thread, if that lets it through, and wakes it: a program
//! may rely on that thread's call to end (Python's Ctrl-C does). But a thread that changes its own mask before that one has run
//! takes it away. So every stretch ends here, and another thread than the first looks before it lets signals through.

use crate::kernel::{self, Disposition};
use crate::{broker, process, real, thread};

/// Ends a stretch.
pub fn restore(mask: u64) {
    leave_to_leader(mask);
    kernel::restore_signals(mask);
}

/// Before signals are let through, but for those of `mask`.
pub fn leave_to_leader(mask: u64) {
    if is_second() {
        await_leader(mask);
    }
}

/// Whether the process may have another thread that comes first. (Behind a filter nothing is tried for that.)
fn is_second() -> bool {
    !real::single_threaded() && !broker::is_silent() && !process::is_leader(thread::current())
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
        *self.mask.get_or_insert_with(kernel::block_foreign_signals)
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
    let pending = if is_second() { await_leader(mask) } else { kernel::pending_signals() & !mask };
    let has = |signal: u32| pending & (1 << (signal - 1)) != 0;
    let delivered = (1..=64).filter(|signal| has(*signal)).find_map(|signal| meaning(signal, strict));
    kernel::restore_signals(mask);
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
    kernel::block_foreign_signals();
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
    const LONGEST_STEP: u64 = 4_000_000;
    const PATIENCE: u64 = 100_000_000;
    /// With a first thread that blocks it, but may only be in a call of ours.
    const SHORT_PATIENCE: u64 = 1_000_000;
    let start = kernel::now_ns();
    let (mut last_open, mut step) = (start, FIRST_STEP);
    loop {
        let pending = kernel::pending_signals() & !mask;
        // Others wait for who is in a role; and a vfork child is its own first thread.
        if pending == 0 || thread::current().roles.get() > 0 || !process::owns_tables() {
            return pending;
        }
        // Most are taken before anything else need be asked.
        if step > FIRST_STEP {
            let (Some(own), Some(blocked)) = (kernel::own_pending_signals(), kernel::leader_blocked_signals()) else {
                return pending;
            };
            let now = kernel::now_ns();
            if pending & !blocked != 0 {
                last_open = now;
            }
            let is_in_call = || kernel::blocks_all(blocked) || handled(mask, false).left_to_signalfd() & pending != 0;
            let until = match () {
                () if own & !mask != 0 => now,
                () if last_open == now => start + PATIENCE,
                () if is_in_call() => last_open + SHORT_PATIENCE,
                () => now,
            };
            if now >= until {
                return pending;
            }
        }
        let _ = kernel::ppoll(&mut [], Some(&kernel::timespec(step)), core::ptr::null());
        step = LONGEST_STEP.min(2 * step);
    }
}

/// The signals that have handlers, among those that `mask` lets through.
pub struct Handled {
    /// Those that end the call.
    ending: u64,
    /// Those after which it begins anew.
    restarting: u64,
}

impl Handled {
    /// Those that stay blocked in a sleep which lets the others through: EINTR does not tell which one it was.
    pub fn left_to_signalfd(&self) -> u64 {
        if self.ending == 0 { 0 } else { self.restarting }
    }

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
