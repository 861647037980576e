//! longjmp, by which a signal handler may leave the call that it interrupted: what that call holds is given back.

use crate::held;
use crate::hooks::exec::variadic;
use crate::real::Real;

/// Where x86-64's jmp_buf keeps the stack pointer, in words.
const STACK_POINTER: usize = 6;

/// The stack pointer that glibc keeps in a jmp_buf: rotated, and masked with the thread's own secret.
///
/// # Safety
/// `buffer` is a jmp_buf that setjmp has filled.
unsafe fn target(buffer: *const usize) -> usize {
    let secret: usize;
    // SAFETY: the thread's pointer guard, at this place of its control block by glibc's ABI.
    unsafe {
        core::arch::asm!("mov {}, qword ptr fs:[0x30]", out(reg) secret, options(nostack, readonly, preserves_flags));
        buffer.add(STACK_POINTER).read().rotate_right(17) ^ secret
    }
}

/// What a jump does first; the address to go on at.
extern "C" fn before_jump(real: &'static Real, buffer: *const usize) -> usize {
    let here = 0u8;
    // SAFETY: the program's jmp_buf, which it is about to jump to.
    held::jumps(core::ptr::from_ref(&here).addr(), unsafe { target(buffer) });
    real.address()
}

variadic!(
    /// longjmp(3)
    longjmp, c"longjmp", before_jump
);
variadic!(
    /// longjmp(3), BSD's name
    _longjmp, c"_longjmp", before_jump
);
variadic!(
    /// siglongjmp(3)
    siglongjmp, c"siglongjmp", before_jump
);
variadic!(
    /// longjmp(3), fortified
    __longjmp_chk, c"__longjmp_chk", before_jump
);
