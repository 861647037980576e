//! The broker's listening socket: made so that two brokers never share a path, and gone when the broker is.

use crate::path;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Why a broker cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another broker has the path.
    #[error("another broker answers on {0}")]
    Busy(PathBuf),
    /// No Unix socket can have such a path.
    #[error("{0}: a socket's path has at most {most} bytes, none of them zero", most = path::LONGEST)]
    Path(PathBuf),
    /// Something else than a socket is there.
    #[error("{0} is in the way: not a socket")]
    InTheWay(PathBuf),
    /// The system says so.
    #[error("cannot listen on {0}: {1}")]
    System(PathBuf, io::Error),
}

/// A listening `SOCK_SEQPACKET` socket. Dropping it removes its file.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    lock_path: PathBuf,
    /// Held for as long as this lives. Whoever has it may remove what lies at `path`.
    _lock: OwnedFd,
}

impl Listener {
    /// Listens on `path`, with `mode` as the permissions of its file, replacing a socket on which nobody listens.
    pub fn new(path: &Path, mode: u32) -> Result<Self, ListenError> {
        let system = |error: io::Error| ListenError::System(path.to_owned(), error);
        let address = address(path)?;
        path::prepare_folder(path).map_err(system)?;

        let lock_path = suffixed(path, ".lock");
        let lock = match lock(&lock_path) {
            Ok(lock) => lock,
            Err(Errno::WOULDBLOCK) => return Err(ListenError::Busy(path.to_owned())),
            Err(error) => return Err(ListenError::System(lock_path, error.into())),
        };
        // From here on `Drop` cleans up; the lock says that no broker is between these steps elsewhere.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|error| system(error.into()))?;
        let listener = Self { socket, path: path.to_owned(), lock_path, _lock: lock };
        if let Err(error) = listener.clear(&address) {
            // What is at `path` is not ours: leave it there.
            let lock_path = listener.lock_path.clone();
            std::mem::forget(listener);
            let _ = rustix::fs::unlink(&lock_path);
            return Err(error);
        }
        listener.bind(mode).map_err(|error| system(error.into()))?;
        Ok(listener)
    }

    /// Removes a socket that a broker left behind; one that answers is [`ListenError::Busy`].
    fn clear(&self, address: &SocketAddrUnix) -> Result<(), ListenError> {
        let system = |error: Errno| ListenError::System(self.path.clone(), error.into());
        let stat = match rustix::fs::lstat(&self.path) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(system)?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            return Err(ListenError::InTheWay(self.path.clone()));
        }
        let probe = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        );
        match rustix::net::connect(probe.map_err(system)?, address) {
            Err(Errno::CONNREFUSED) => rustix::fs::unlink(&self.path).map_err(system),
            Err(Errno::NOENT) => Ok(()),
            Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(ListenError::Busy(self.path.clone())),
            Err(error) => Err(system(error)),
        }
    }

    /// Makes the socket under another name and renames it when it listens: who sees it can connect to it, and only
    /// who may.
    fn bind(&self, mode: u32) -> Result<(), Errno> {
        let draft = suffixed(&self.path, DRAFT);
        let _ = rustix::fs::unlink(&draft);
        rustix::net::bind(&self.socket, &SocketAddrUnix::new(&draft)?)?;
        let done = rustix::fs::chmodat(rustix::fs::CWD, &draft, Mode::from_raw_mode(mode), AtFlags::empty())
            .and_then(|()| rustix::net::listen(&self.socket, 1024))
            .and_then(|()| rustix::fs::rename(&draft, &self.path));
        if done.is_err() {
            let _ = rustix::fs::unlink(&draft);
        }
        done
    }

    /// The next connection; `WOULDBLOCK` when there is none.
    pub fn accept(&self) -> Result<OwnedFd, Errno> {
        rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The socket first: while the lock's file is there, nobody else makes one. Failing is no harm: the next broker
        // finds a socket that nobody listens on.
        let _ = rustix::fs::unlink(&self.path);
        let _ = rustix::fs::unlink(&self.lock_path);
    }
}

/// What the name of a socket ends with until it listens.
const DRAFT: &str = "~";

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The address of a path.
pub(crate) fn address(path: &Path) -> Result<SocketAddrUnix, ListenError> {
    let length = path.as_os_str().len();
    if length == 0 || length > path::LONGEST {
        return Err(ListenError::Path(path.to_owned()));
    }
    SocketAddrUnix::new(path).map_err(|_| ListenError::Path(path.to_owned()))
}

/// Takes the lock of a path, `WOULDBLOCK` when another process has it.
fn lock(path: &Path) -> Result<OwnedFd, Errno> {
    loop {
        let open = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, open, Mode::from_raw_mode(0o600))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        // Its last owner may have removed the file between the two calls: then this lock is of no file, and
        // somebody else may lock a new one.
        let held = rustix::fs::fstat(&file)?;
        match rustix::fs::lstat(path) {
            Ok(there) if (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino) => return Ok(file),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_broker_per_path_and_nothing_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let first = Listener::new(&path, 0o600).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Listener::new(&path, 0o600), Err(ListenError::Busy(_))));
        drop(first);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        drop(Listener::new(&path, 0o666).unwrap());
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        // A broker that was killed: its files stay, its descriptors do not.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        std::fs::write(folder.path().join("s.lock"), "").unwrap();
        drop(Listener::new(&path, 0o600).unwrap());
    }

    #[test]
    fn what_is_not_a_dead_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(Listener::new(&path, 0o600), Err(ListenError::InTheWay(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");

        let other = folder.path().join("other");
        let _alive = std::os::unix::net::UnixListener::bind(&other).unwrap();
        assert!(matches!(Listener::new(&other, 0o600), Err(ListenError::Busy(_))));
        assert!(other.exists());
        assert_eq!(folder.path().read_dir().unwrap().count(), 2, "no lock is left");
    }

    #[test]
    fn impossible_paths_have_their_error() {
        let long = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
        assert!(matches!(Listener::new(&long, 0o600), Err(ListenError::Path(_))));
        assert!(matches!(Listener::new(Path::new(""), 0o600), Err(ListenError::Path(_))));
        assert!(matches!(Listener::new(Path::new("/nowhere/s"), 0o600), Err(ListenError::System(..))));
    }
}
