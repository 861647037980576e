//! What the shim keeps per thread. Zeroed when a thread starts, copied by fork, shared with a vfork child (whose parent
//! sleeps meanwhile).

use crate::held::{Call, Obligation};
use crate::{kernel, kin, process};
use core::cell::Cell;
use core::ffi::c_int;
use core::sync::atomic::{AtomicIsize, Ordering};

/// See the module.
#[repr(C, align(64))]
pub struct Thread {
    /// The thread's id as others see it, 0 before the first question.
    tid: Cell<u32>,
    /// What it holds, see `held`.
    pub held: Cell<*mut Obligation>,
    pub held_count: Cell<usize>,
    /// Its epoll set for waits of its own, and its signalfd, plus one; 0: not made yet. See `hub`.
    pub hub: Cell<c_int>,
    pub signals: Cell<c_int>,
    /// How often spinning has been in vain since it last paid, see `wait`.
    pub spin_debt: Cell<u32>,
    /// The roles that it is in, and where on its stack it entered the first.
    pub roles: Cell<u32>,
    pub role_frame: Cell<usize>,
    /// The innermost call on an endpoint that it is in.
    pub call: Cell<*const Call>,
    /// Whether what it kept for its calls has been given back: it ends.
    pub ending: Cell<bool>,
    /// Whether no other thread may fork now, see `process::undisturbed`.
    pub undisturbed: Cell<bool>,
    /// The copy of a descriptor that it works with, plus one; 0: none. See `Endpoint::with_descriptor`.
    pub copy: Cell<c_int>,
}

// Stable Rust has no thread-locals without std, so the block is defined and found by hand: initial-exec access, which
// suits a preloaded library, whose block lies in the static TLS area.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".pushsection .tbss,\"awT\",@nobits",
    ".p2align 6",
    ".hidden slipstream_thread",
    ".globl slipstream_thread",
    ".type slipstream_thread,@object",
    ".size slipstream_thread, 64",
    "slipstream_thread:",
    ".zero 64",
    ".popsection",
);

const _: () = assert!(size_of::<Thread>() == 64);

/// The calling thread's block.
#[inline(always)]
pub fn current() -> &'static Thread {
    let block: *const Thread;
    // SAFETY: fs:0 holds the thread pointer (x86-64 ABI), and the symbol's thread-pointer offset is filled in by the
    // loader; together they are the address of this thread's zero-initialised block, which lives as long as the thread.
    unsafe {
        core::arch::asm!(
            "mov {block}, qword ptr fs:[0]",
            "add {block}, qword ptr [rip + slipstream_thread@gottpoff]",
            block = out(reg) block,
            options(nostack, readonly),
        );
        &*block
    }
}

impl Thread {
    /// In a forked child: it is another thread now.
    pub fn forget(&self) {
        self.tid.set(0);
        self.copy.set(0);
    }

    /// The thread's id, by which it is known in role locks.
    #[inline]
    pub fn tid(&self) -> u32 {
        let tid = self.tid.get();
        if tid != 0 && process::is_known() {
            return tid;
        }
        process::check();
        let tid = kin::tagged(kernel::gettid());
        // Not for a vfork child: its parent's thread has this block.
        if process::owns_tables() {
            self.tid.set(tid);
        }
        tid
    }
}

/// Where libc's rseq area lies relative to the thread pointer; 0: there is none.
static RSEQ: AtomicIsize = AtomicIsize::new(0);

/// Called once, by the constructor.
pub fn init() {
    if let Some(offset) = crate::real::rseq_offset() {
        RSEQ.store(offset, Ordering::Relaxed);
    }
}

/// The CPU that the calling thread runs on, without a system call where libc registers rseq.
#[inline]
pub fn cpu() -> u32 {
    let offset = RSEQ.load(Ordering::Relaxed);
    if offset == 0 {
        return kernel::current_cpu();
    }
    let cpu: u32;
    // SAFETY: libc's area of this thread, 4 bytes into which the kernel keeps the CPU's number.
    unsafe {
        core::arch::asm!("mov {cpu:e}, dword ptr fs:[{at}]", cpu = out(reg) cpu, at = in(reg) offset + 4, options(nostack, readonly));
    }
    cpu
}

/// Whether the calling thread may run on more than one CPU.
pub fn may_use_several_cpus() -> bool {
    kernel::allowed_cpus() > 1
}
