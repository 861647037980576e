//! Waiting for something that becomes true, without a blind sleep and not for ever.

use std::time::{Duration, Instant};

/// How long a thing that normally takes milliseconds may take on a loaded machine before a test gives it up.
pub const PATIENCE: Duration = Duration::from_secs(30);

const STEP: Duration = Duration::from_millis(10);

/// Asks again and again until there is an answer; `None` when time is up.
pub fn until<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > patience {
            return None;
        }
        std::thread::sleep(STEP);
    }
}
