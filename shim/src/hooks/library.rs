//! dlopen. What is loaded with RTLD_DEEPBIND (PHP's extensions are) would find libc's own functions before the hooks, and read and
//! write past the ring; so it is loaded without.

use crate::real::Real;

extern "C" fn address(real: &Real) -> usize {
    match real.address() {
        0 => none as *const () as usize,
        address => address,
    }
}

/// Where there is no dlopen.
extern "C" fn none() -> usize {
    0
}

/// dlopen(3). It looks for the library where its caller's says, so that has to stay the caller: nothing is left on the stack.
///
/// # Safety
/// As libc's function of this name.
#[cfg(target_arch = "x86_64")]
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn dlopen() {
    static REAL: Real = Real::new(c"dlopen");
    core::arch::naked_asm!(
        "push rdi", "push rsi",
        "sub rsp, 8",
        "lea rdi, [rip + {real}]",
        "call {address}",
        "add rsp, 8",
        "pop rsi", "pop rdi",
        "and esi, ~{deepbind}",
        "jmp rax",
        real = sym REAL,
        address = sym address,
        deepbind = const libc::RTLD_DEEPBIND,
    )
}
