//! Lines for the curious, on stderr, only when `SLIPSTREAM_LOG` asks for them. One write per line, no allocation.

use crate::kernel;
use core::ffi::CStr;
use core::sync::atomic::{AtomicU8, Ordering};

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(dead_code)]
pub enum Level {
    Off = 0,
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
    Trace = 5,
}

const NAMES: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
static LEVEL: AtomicU8 = AtomicU8::new(Level::Off as u8);

/// Sets the level by its name.
pub fn set_level(name: &[u8]) -> Option<()> {
    let level = NAMES.iter().position(|known| known.as_bytes() == name)?;
    LEVEL.store(level as u8, Ordering::Relaxed);
    Some(())
}

/// Whether lines of a level are wanted.
#[inline]
pub fn wants(level: Level) -> bool {
    LEVEL.load(Ordering::Relaxed) >= level as u8
}

/// A line being put together; what does not fit is cut.
pub struct Line {
    text: [u8; 256],
    len: usize,
}

impl Line {
    /// Writes the line that `build` puts together. Never part of its caller, which may have little stack.
    #[cold]
    #[inline(never)]
    fn write(build: impl FnOnce(&mut Self) -> &mut Self) {
        let mut line = Self { text: [0; 256], len: 0 };
        build(line.text("slipstream[").number(u64::from(kernel::getpid())).text("]: ")).end();
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        for (to, from) in self.text[..255].iter_mut().skip(self.len).zip(bytes) {
            *to = *from;
            self.len += 1;
        }
        self
    }

    pub fn number(&mut self, mut number: u64) -> &mut Self {
        let mut digits = [0u8; 20];
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            count += 1;
            if number == 0 {
                break;
            }
        }
        let start = digits.len() - count;
        self.bytes(digits.get(start..).unwrap_or_default())
    }

    fn end(&mut self) {
        if let Some(last) = self.text.get_mut(self.len) {
            *last = b'\n';
        }
        let _ = kernel::write(2, self.text.get(..=self.len).unwrap_or_default());
    }
}

/// Says a line: what happened, and to which endpoint (its descriptor's number or its id).
#[inline]
pub fn say(level: Level, build: impl FnOnce(&mut Line) -> &mut Line) {
    if wants(level) {
        Line::write(build);
    }
}

/// An environment variable has a value that is not understood. Said whatever the level is, for it is the user's error.
pub fn complain(name: &CStr, value: &[u8]) {
    Line::write(|line| {
        line.text("cannot understand ").bytes(name.to_bytes()).text("=").bytes(value).text("; using the default")
    });
}
