//! Where the broker listens: the rules of `slipstream_broker::path`, without std.

use crate::config;
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};

/// A Unix address to try.
pub struct Place {
    pub address: libc::sockaddr_un,
    /// Of the address, in bytes; 0: no such place.
    pub len: usize,
}

/// Filled by the constructor, read afterwards.
struct Places(UnsafeCell<[Place; 2]>);

// SAFETY: written only by the constructor, before `READY`.
unsafe impl Sync for Places {}

const NOWHERE: Place =
    Place { address: libc::sockaddr_un { sun_family: libc::AF_UNIX as u16, sun_path: [0; 108] }, len: 0 };
static PLACES: Places = Places(UnsafeCell::new([NOWHERE; 2]));
static READY: AtomicBool = AtomicBool::new(false);

impl Place {
    fn push(&mut self, text: &[u8]) {
        let start = self.len;
        if start + text.len() > 107 {
            // Does not fit: no such place, now and after further pushes.
            self.len = 1000;
            return;
        }
        for (to, from) in self.address.sun_path.iter_mut().skip(start).zip(text) {
            *to = *from as core::ffi::c_char;
        }
        self.len = start + text.len();
    }

    /// From the length of the path to that of the address.
    fn finish(&mut self) {
        self.len = if self.len == 0 || self.len > 107 {
            0
        } else {
            core::mem::offset_of!(libc::sockaddr_un, sun_path) + self.len + 1
        };
    }
}

/// Called once, by the constructor.
pub fn init() {
    // SAFETY: the constructor runs alone, and no one reads before READY.
    let [first, second] = unsafe { &mut *PLACES.0.get() };
    if let Some(path) = config::variable(c"SLIPSTREAM_SOCKET") {
        first.push(path);
    } else {
        first.push(b"/run/slipstream/broker.sock");
        let absolute = |name: &CStr| config::variable(name).filter(|value| value.first() == Some(&b'/'));
        if let Some(folder) = absolute(c"XDG_RUNTIME_DIR") {
            second.push(folder);
            second.push(b"/slipstream/broker.sock");
        } else {
            second.push(absolute(c"TMPDIR").unwrap_or(b"/tmp"));
            second.push(b"/slipstream-");
            let mut digits = [0u8; 10];
            let mut user = crate::kernel::effective_user();
            let mut start = digits.len();
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (user % 10) as u8;
                user /= 10;
                start -= 1;
                if user == 0 {
                    break;
                }
            }
            second.push(digits.get(start..).unwrap_or_default());
            second.push(b"/broker.sock");
        }
    }
    first.finish();
    second.finish();
    READY.store(true, Ordering::Release);
}

/// The places to try, in order.
pub fn candidates() -> impl Iterator<Item = &'static Place> {
    let places: &[Place] = if READY.load(Ordering::Acquire) {
        // SAFETY: written before READY, never after.
        unsafe { &*PLACES.0.get() }
    } else {
        &[]
    };
    places.iter().filter(|place| place.len > 0)
}

/// The program's name, for people.
pub fn command() -> [u8; 32] {
    unsafe extern "C" {
        static program_invocation_short_name: *const core::ffi::c_char;
    }
    let mut command = [0u8; 32];
    // SAFETY: libc's variable, set before any constructor, a C string.
    let name = unsafe {
        if program_invocation_short_name.is_null() {
            return command;
        }
        CStr::from_ptr(program_invocation_short_name)
    };
    for (to, from) in command.iter_mut().take(31).zip(name.to_bytes()) {
        *to = *from;
    }
    command
}
