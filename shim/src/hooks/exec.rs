//! exec and what spawns: descriptors that another image inherits leave the ring first.

use crate::endpoint::Endpoint;
use crate::hooks::io::hooks;
use crate::kin::Census;
use crate::real::Real;
use crate::{descriptor, held, kernel, process, real, recall, stream};
use core::ffi::{c_char, c_int, c_void};
use slipstream_protocol::Reason;

/// Every endpoint that another image would inherit goes back to TCP.
pub fn before_spawn() {
    for_each_inherited(|endpoint| recall::detach_now(endpoint, Reason::Exec));
}

/// The same, before that image takes this one's place.
pub fn before_exec() {
    before_spawn();
    // A vfork child's image has what its parent has.
    if !process::owns_tables() {
        return;
    }
    for_each_inherited(Endpoint::bequeath);
    let mut census = Census::new();
    descriptor::for_each_pinned(|endpoint| {
        if !endpoint.is_bequeathed() {
            endpoint.before_closing_exec(&mut census);
        }
    });
}

/// exec, by `real`, which returns when it has failed.
fn executing(real: impl FnOnce() -> c_int) -> c_int {
    before_exec();
    let child_of_handler = process::owns_tables() && held::counted_again();
    if child_of_handler {
        held::leave_gates();
    }
    let result = real();
    if child_of_handler {
        held::enter_gates();
    }
    if process::owns_tables() {
        descriptor::for_each_pinned(Endpoint::keep_after_all);
    }
    result
}

fn for_each_inherited(work: impl Fn(&'static Endpoint)) {
    descriptor::for_each(|fd, entry| {
        if let descriptor::Entry::Endpoint(_) = entry
            && !kernel::closes_on_exec(fd)
            && let Some(endpoint) = descriptor::pin(fd)
        {
            held::call(endpoint, || work(endpoint));
        }
    });
}

type Strings = *const *const c_char;

hooks! {
    /// execve(2)
    fn execve(path: *const c_char, arguments: Strings, environment: Strings) -> c_int {
        executing(|| real!(fn execve(path: *const c_char, arguments: Strings, environment: Strings) -> c_int))
    }

    /// execv(3)
    fn execv(path: *const c_char, arguments: Strings) -> c_int {
        executing(|| real!(fn execv(path: *const c_char, arguments: Strings) -> c_int))
    }

    /// execvp(3)
    fn execvp(path: *const c_char, arguments: Strings) -> c_int {
        executing(|| real!(fn execvp(path: *const c_char, arguments: Strings) -> c_int))
    }

    /// execvpe(3)
    fn execvpe(path: *const c_char, arguments: Strings, environment: Strings) -> c_int {
        executing(|| real!(fn execvpe(path: *const c_char, arguments: Strings, environment: Strings) -> c_int))
    }

    /// fexecve(3)
    fn fexecve(fd: c_int, arguments: Strings, environment: Strings) -> c_int {
        executing(|| real!(fn fexecve(fd: c_int, arguments: Strings, environment: Strings) -> c_int))
    }

    /// execveat(2)
    fn execveat(folder: c_int, path: *const c_char, arguments: Strings, environment: Strings, flags: c_int) -> c_int {
        executing(|| real!(fn execveat(folder: c_int, path: *const c_char, arguments: Strings, environment: Strings, flags: c_int) -> c_int))
    }

    /// posix_spawn(3)
    fn posix_spawn(pid: *mut c_int, path: *const c_char, actions: *const c_void, attributes: *const c_void, arguments: Strings, environment: Strings) -> c_int {
        before_spawn();
        real!(fn posix_spawn(pid: *mut c_int, path: *const c_char, actions: *const c_void, attributes: *const c_void, arguments: Strings, environment: Strings) -> c_int)
    }

    /// posix_spawnp(3)
    fn posix_spawnp(pid: *mut c_int, path: *const c_char, actions: *const c_void, attributes: *const c_void, arguments: Strings, environment: Strings) -> c_int {
        before_spawn();
        real!(fn posix_spawnp(pid: *mut c_int, path: *const c_char, actions: *const c_void, attributes: *const c_void, arguments: Strings, environment: Strings) -> c_int)
    }

    /// posix_spawn_file_actions_adddup2(3): the copy is made where no hook runs
    fn posix_spawn_file_actions_adddup2(actions: *mut c_void, fd: c_int, copy: c_int) -> c_int {
        stream::leave_ring(fd, Reason::Exec);
        real!(fn posix_spawn_file_actions_adddup2(actions: *mut c_void, fd: c_int, copy: c_int) -> c_int)
    }

    /// _exit(2), which does not return
    fn _exit(status: c_int) -> c_int {
        process::exit();
        real!(fn _exit(status: c_int) -> c_int)
    }

    /// _Exit(3), which does not return
    #[allow(non_snake_case)] // C's name
    fn _Exit(status: c_int) -> c_int {
        process::exit();
        real!(fn _Exit(status: c_int) -> c_int)
    }

    /// system(3)
    fn system(command: *const c_char) -> c_int {
        before_spawn();
        real!(fn system(command: *const c_char) -> c_int)
    }
}

/// What a variadic hook does first; the address to go on at.
extern "C" fn before_execl(real: &'static Real) -> usize {
    before_exec();
    real.address()
}

/// A hook of a C-variadic function, which stable Rust cannot define: it keeps every register that may hold an argument,
/// calls `$before(&real, first argument)`, and goes on at the address that this returns.
macro_rules! variadic {
    ($(#[$doc:meta])* $name:ident, $symbol:literal, $before:ident) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As libc's function of this name.
        #[cfg(target_arch = "x86_64")]
        #[cfg_attr(not(test), unsafe(no_mangle))]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            static REAL: $crate::real::Real = $crate::real::Real::new($symbol);
            core::arch::naked_asm!(
                "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "push rax",
                "sub rsp, 128",
                "movaps [rsp], xmm0", "movaps [rsp + 16], xmm1", "movaps [rsp + 32], xmm2", "movaps [rsp + 48], xmm3",
                "movaps [rsp + 64], xmm4", "movaps [rsp + 80], xmm5", "movaps [rsp + 96], xmm6", "movaps [rsp + 112], xmm7",
                "mov rsi, rdi",
                "lea rdi, [rip + {real}]",
                "call {before}",
                "mov r11, rax",
                "movaps xmm0, [rsp]", "movaps xmm1, [rsp + 16]", "movaps xmm2, [rsp + 32]", "movaps xmm3, [rsp + 48]",
                "movaps xmm4, [rsp + 64]", "movaps xmm5, [rsp + 80]", "movaps xmm6, [rsp + 96]", "movaps xmm7, [rsp + 112]",
                "add rsp, 128",
                "pop rax", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
                "jmp r11",
                real = sym REAL,
                before = sym $before,
            )
        }
    };
}
pub(super) use variadic;

variadic!(
    /// execl(3)
    execl, c"execl", before_execl
);
variadic!(
    /// execlp(3)
    execlp, c"execlp", before_execl
);
variadic!(
    /// execle(3)
    execle, c"execle", before_execl
);
