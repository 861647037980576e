//! The environment, read once by the constructor.

use crate::log;
use core::ffi::CStr;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use slipstream_protocol::{Reason, Transport};

static TRANSPORT: AtomicU8 = AtomicU8::new(Transport::Shm as u8);
/// A [`Reason`].
static DISABLED: AtomicU16 = AtomicU16::new(0);
static MIN_OPS: AtomicU32 = AtomicU32::new(8);
static MIN_BYTES: AtomicU64 = AtomicU64::new(64 * 1024);
static RING_KIB: AtomicU32 = AtomicU32::new(0);
static SPIN_US: AtomicU32 = AtomicU32::new(SPIN_AUTO);

/// `SLIPSTREAM_SPIN_US=auto`.
pub const SPIN_AUTO: u32 = u32::MAX;

/// How a moved stream is carried; `Tcp`: watch only.
pub fn transport() -> Transport {
    Transport::from_wire(TRANSPORT.load(Ordering::Relaxed)).unwrap_or(Transport::Tcp)
}

/// Nothing more is moved in this process. `false`: so it was before.
pub fn disable(reason: Reason) -> bool {
    DISABLED.compare_exchange(0, reason as u16, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Why nothing is moved in this process, if so.
pub fn disabled() -> Option<Reason> {
    match Reason::from_wire(DISABLED.load(Ordering::Relaxed)) {
        Some(Reason::None) | None => (transport() == Transport::Tcp).then_some(Reason::Disabled),
        reason => reason,
    }
}

/// Calls after which a connection is offered.
pub fn min_ops() -> u32 {
    MIN_OPS.load(Ordering::Relaxed)
}

/// Bytes after which a connection is offered.
pub fn min_bytes() -> u64 {
    MIN_BYTES.load(Ordering::Relaxed)
}

/// The wanted size of a ring, 0 for the broker's default.
pub fn ring_kib() -> u32 {
    RING_KIB.load(Ordering::Relaxed)
}

/// The longest spin before a sleep in µs, or [`SPIN_AUTO`].
pub fn spin_us() -> u32 {
    SPIN_US.load(Ordering::Relaxed)
}

/// A variable of the environment, empty as absent.
pub fn variable(name: &CStr) -> Option<&'static [u8]> {
    // SAFETY: a C string; getenv is libc's own and the constructor runs before the program can change the environment.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: getenv gives a C string of the environment; what is kept of it is copied before the program runs.
    let bytes = unsafe { CStr::from_ptr(value) }.to_bytes();
    (!bytes.is_empty()).then_some(bytes)
}

/// A decimal number, nothing else.
fn number(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Reads a variable with `parse`; a value that it does not take is reported once and the default stays.
fn read(name: &CStr, parse: impl FnOnce(&[u8]) -> Option<()>) {
    if let Some(text) = variable(name)
        && parse(text).is_none()
    {
        log::complain(name, text);
    }
}

/// Called once, by the constructor.
pub fn init() {
    read(c"SLIPSTREAM_LOG", log::set_level);
    read(c"SLIPSTREAM_TRANSPORT", |text| {
        TRANSPORT.store(Transport::from_name(text)? as u8, Ordering::Relaxed);
        Some(())
    });
    read(c"SLIPSTREAM_MIN_OPS", |text| {
        MIN_OPS.store(u32::try_from(number(text)?).ok()?, Ordering::Relaxed);
        Some(())
    });
    read(c"SLIPSTREAM_MIN_BYTES", |text| {
        MIN_BYTES.store(number(text)?, Ordering::Relaxed);
        Some(())
    });
    read(c"SLIPSTREAM_RING_KIB", |text| {
        RING_KIB.store(u32::try_from(number(text)?).ok()?, Ordering::Relaxed);
        Some(())
    });
    read(c"SLIPSTREAM_SPIN_US", |text| {
        let spin = if text == b"auto" { SPIN_AUTO } else { u32::try_from(number(text)?).ok()? };
        SPIN_US.store(spin, Ordering::Relaxed);
        Some(())
    });
}
