//! Leaves nothing behind, however the process ends: returning, an error, a signal or a panic (which aborts).
//!
//! Children also get a parent-death signal when they are spawned, for the one end that nothing here sees: SIGKILL.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::unistd::Pid;

static LEFTOVERS: Mutex<Leftovers> = Mutex::new(Leftovers { children: Vec::new(), folders: Vec::new() });

struct Leftovers {
    children: Vec<Pid>,
    folders: Vec<PathBuf>,
}

/// Arms the clean-up on SIGINT, SIGTERM, SIGHUP and panics. Call it once, before the process has a second thread.
///
/// # Errors
///
/// When the signals cannot be blocked or the thread that waits for them cannot be started.
pub fn arm() -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot block signals")?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        if let Ok(signal) = signals.wait() {
            sweep(leftovers());
            // Dies of the same signal, so that the shell sees what happened.
            let _ = signals.thread_unblock();
            let _ = raise(signal);
        }
    })?;
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Where the panic comes from under the lock, this thread has it and would wait for itself.
        if let Ok(leftovers) = LEFTOVERS.try_lock() {
            sweep(leftovers);
        }
        report(info);
    }));
    Ok(())
}

/// Kills every child still registered and removes every folder still registered.
///
/// Never gives the lock back: the process ends now, and a thread that would start or reap a child has to wait for that.
fn sweep(mut leftovers: MutexGuard<'static, Leftovers>) {
    for pid in leftovers.children.drain(..) {
        let _ = kill(pid, Signal::SIGKILL);
    }
    for folder in leftovers.folders.drain(..) {
        // The main thread may be making a last file.
        for _ in 0..20 {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => thread::sleep(Duration::from_millis(5)),
                _ => break,
            }
        }
    }
    std::mem::forget(leftovers);
}

fn leftovers() -> MutexGuard<'static, Leftovers> {
    LEFTOVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn add_child(pid: Pid) {
    leftovers().children.push(pid);
}

/// Forgets a child and then runs `reap`, with no moment at which a reused process id could be killed.
pub(crate) fn forget_child<T>(pid: Pid, reap: impl FnOnce() -> T) -> T {
    let mut leftovers = leftovers();
    leftovers.children.retain(|&child| child != pid);
    reap()
}

/// A folder under the temporary one, for this user only, removed when dropped.
#[derive(Debug)]
pub struct TempFolder(PathBuf);

impl TempFolder {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// When the temporary folder cannot be written.
    pub fn new(prefix: &str) -> Result<TempFolder> {
        let mut parent = std::env::temp_dir();
        // The path of a socket has at most 107 bytes.
        if parent.as_os_str().len() > 64 {
            parent = PathBuf::from("/tmp");
        }
        let template = parent.join(format!("{prefix}-XXXXXX"));
        let folder =
            nix::unistd::mkdtemp(&template).with_context(|| format!("cannot make a folder in {}", parent.display()))?;
        leftovers().folders.push(folder.clone());
        Ok(TempFolder(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let mut leftovers = leftovers();
        leftovers.folders.retain(|folder| *folder != self.0);
        let _ = fs::remove_dir_all(&self.0);
    }
}
