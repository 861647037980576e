//! One test's world.

use crate::broker::{self, Broker};
use crate::program::{self, Program, Reporter, Running};
use crate::shares;
use crate::status::{Connection, Status};
use crate::wait::{PATIENCE, until};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Without the shim.
    Plain,
    /// Under the shim, over rings.
    Shm,
    /// Under the shim, over Unix-domain sockets.
    Uds,
    /// Under the shim, which only watches.
    Tcp,
}

impl Mode {
    /// Its name, the shim's own where it has one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Shm => "shm",
            Self::Uds => "uds",
            Self::Tcp => "tcp",
        }
    }

    /// Whether connections are to leave TCP.
    pub fn moves(self) -> bool {
        matches!(self, Self::Shm | Self::Uds)
    }
}

/// One test's folder, broker and programs.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    mode: Mode,
    tool: PathBuf,
    library: PathBuf,
    /// The broker, while there is one.
    pub broker: Option<Broker>,
    count: AtomicU32,
}

/// Where `slipstream` and `libslipstream.so` are: `SLIPSTREAM_BIN`, else the workspace's `target/release`.
fn artifacts() -> (PathBuf, PathBuf) {
    let folder = match std::env::var_os("SLIPSTREAM_BIN") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release"),
    };
    let folder = folder.canonicalize().unwrap_or(folder);
    (folder.join("slipstream"), folder.join("libslipstream.so"))
}

impl Lab {
    /// A world with a broker (unless nothing is to be shimmed).
    pub fn new(name: &str, mode: Mode) -> Self {
        let mut lab = Self::without_broker(name, mode);
        if mode != Mode::Plain {
            lab.start_broker();
        }
        lab
    }

    /// A world without a broker so far.
    ///
    /// # Panics
    ///
    /// When there is no folder to be had, or nothing was built.
    pub fn without_broker(name: &str, mode: Mode) -> Self {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let (tool, library) = artifacts();
        if mode != Mode::Plain {
            for file in [&tool, &library] {
                assert!(file.is_file(), "{} is not there: cargo build --release", file.display());
            }
        }
        if mode == Mode::Shm && shares::file().is_some() {
            shares::alone();
        }
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("slipstream-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error} ({name})", folder.display()));
        // Servers give up root, and what was built may lie in a home that nobody else may enter.
        let copy = folder.join("libslipstream.so");
        if mode != Mode::Plain {
            std::fs::copy(&library, &copy).unwrap_or_else(|error| panic!("{}: {error}", library.display()));
        }
        Self { folder, mode, tool, library: copy, broker: None, count: AtomicU32::new(0) }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How its programs run.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The `slipstream` command.
    pub fn tool(&self) -> &Path {
        &self.tool
    }

    /// Where the broker listens, or would.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("broker.sock")
    }

    /// Starts the broker, once more if need be.
    pub fn start_broker(&mut self) {
        self.broker = None;
        self.broker = Some(Broker::start(&self.tool, &self.folder, &self.socket()));
    }

    /// A program of this world: found in Debian's places, its environment clean but for what the shim needs.
    pub fn program(&self, name: impl AsRef<std::ffi::OsStr>) -> Program {
        let name = name.as_ref();
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let short = Path::new(name).file_name().unwrap_or(name).to_string_lossy().into_owned();
        let report = match self.mode {
            Mode::Plain => Reporter::default(),
            _ => Reporter {
                status: Some((self.tool.clone(), self.socket())),
                broker_log: Some(self.folder.join("broker.err")),
            },
        };
        let mut program = program::new(&short, name.to_owned(), self.folder.join(format!("{number}-{short}")), report);
        let command = &mut program.command;
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin");
        command.env("LC_ALL", "C").env("HOME", &self.folder).env("TMPDIR", &self.folder).current_dir(&self.folder);
        if self.mode != Mode::Plain {
            command.env("LD_PRELOAD", &self.library);
            command.env("SLIPSTREAM_SOCKET", self.socket());
            command.env("SLIPSTREAM_TRANSPORT", self.mode.name());
            // Move what does anything at all.
            command.env("SLIPSTREAM_MIN_OPS", "4").env("SLIPSTREAM_MIN_BYTES", "1024");
            for (name, value) in std::env::vars_os() {
                // For the curious: SLIPSTREAM_LOG, SLIPSTREAM_SPIN_US and the like reach the programs.
                if name.as_encoded_bytes().starts_with(b"SLIPSTREAM_") && name != "SLIPSTREAM_BIN" {
                    command.env(name, value);
                }
            }
        }
        program
    }

    /// What the broker says.
    ///
    /// # Panics
    ///
    /// When there is no broker.
    #[track_caller]
    pub fn status(&self) -> Status {
        self.broker.as_ref().expect("a lab with a broker").status()
    }

    /// What the broker says, if it does.
    pub fn try_status(&self) -> Option<Status> {
        broker::status(&self.tool, &self.socket()).ok()
    }

    /// Waits until there are endpoints for `which` (both ends counted), at least `least` of them, and all are off TCP in
    /// both directions. Says nothing in a plain world.
    ///
    /// A connection moves while it works, not while it idles: the programs must be talking, or `nudge` make them.
    ///
    /// # Panics
    ///
    /// When that does not happen in time; with the status and the program's own output.
    #[track_caller]
    pub fn expect_moved(
        &self,
        running: &mut Running,
        least: usize,
        which: impl Fn(&Connection) -> bool,
        mut nudge: impl FnMut(&mut Running),
    ) {
        if !self.mode.moves() {
            return;
        }
        let moved = until(PATIENCE, || {
            nudge(running);
            let status = self.status();
            let mut endpoints = status.connections.iter().filter(|c| which(c));
            let name = self.mode.name();
            let count = endpoints.clone().count();
            let all = endpoints.all(|c| c.is_moved(name) && c.tx.moved_bytes > 0 && c.rx.moved_bytes > 0);
            (count >= least && all).then_some(())
        });
        assert!(moved.is_some(), "not all of at least {least} endpoints moved\n{}", running.report());
    }

    /// Asserts that at least `endpoints` endpoints were matched and moved by now, ended ones counted, and that none was
    /// taken for hostile, mismatched or unseen.
    ///
    /// # Panics
    ///
    /// When they were not.
    #[track_caller]
    pub fn expect_moved_in_all(&self, endpoints: u64) {
        if !self.mode.moves() {
            return;
        }
        let mut last = None;
        let good = until(Duration::from_secs(5), || {
            let totals = self.status().totals;
            let good = totals.state("opt") >= endpoints && totals.moved_bytes > 0;
            last = Some(totals);
            good.then_some(())
        });
        assert!(good.is_some(), "fewer than {endpoints} endpoints moved: {last:#?}");
        self.expect_no_alarm();
    }

    /// Asserts that nothing looked like a broken protocol.
    ///
    /// # Panics
    ///
    /// When something did.
    #[track_caller]
    pub fn expect_no_alarm(&self) {
        if self.mode == Mode::Plain {
            return;
        }
        let totals = self.status().totals;
        for reason in ["mismatch", "hostile", "owner", "leaked", "ambiguous"] {
            assert_eq!(totals.reason(reason), 0, "{reason}: {totals:#?}");
        }
        assert_eq!(totals.invalid, 0, "{totals:#?}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.mode == Mode::Shm
            && !std::thread::panicking()
            && let Some(file) = shares::file()
            && let Some(status) = self.broker.as_ref().and_then(|_| self.try_status())
        {
            shares::add(&file, &status.totals);
        }
        self.broker = None;
        if std::thread::panicking() || std::env::var_os("SLIPSTREAM_TEST_KEEP").is_some() {
            eprintln!("what is left of this test: {}", self.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
