//! The modules, and what of them is left out, with the reason.

/// A module of CPython's `test` package.
#[derive(Debug)]
pub struct Module {
    /// Its name.
    pub name: &'static str,
    /// Resources that its tests may use (regrtest's `-u`).
    pub resources: &'static str,
    /// Whether its socket pairs are TCP connections.
    pub pairs: bool,
    /// Endpoints that move at least: about half of what does on an idle machine; none where there are few.
    pub least: u64,
    /// The tests that are run, as regrtest's `-m` takes them; all when there are none.
    pub only: &'static [&'static str],
    /// Tests that say nothing, as regrtest's `-i` takes them, and why.
    pub left_out: &'static [(&'static str, &'static str)],
}

const fn module(name: &'static str, least: u64) -> Module {
    Module { name, resources: "none", pairs: false, least, only: &[], left_out: &[] }
}

const fn pairs(name: &'static str, least: u64) -> Module {
    Module { pairs: true, ..module(name, least) }
}

/// Where processes are started anew, pipes and sockets are passed in other ways than over fork; the rest is the same.
const PASSED: &[&str] =
    &["*Connection*", "*Listener*", "*Wait.*", "*Poll.*", "*Manager.*", "OtherTest.*", "*CloseFds.*"];

/// All of them, the longest first.
pub const MODULES: &[Module] = &[
    Module { only: PASSED, ..module("test_multiprocessing_spawn", 4) },
    Module {
        left_out: &[("*.test_sendfile_ssl_pre_and_post_data", "times out on a loaded machine over plain TCP, too")],
        ..module("test_asyncio", 300)
    },
    module("test_multiprocessing_fork", 20),
    Module { only: PASSED, ..module("test_multiprocessing_forkserver", 4) },
    module("test_ssl", 150),
    Module {
        left_out: &[("*.ThreadedVSOCKSocketStreamTest.*", "vsock; hangs where the host has none to answer")],
        ..module("test_socket", 120)
    },
    Module {
        left_out: &[("*.test_above_fd_setsize", "makes as many pairs as there are descriptors: minutes")],
        ..pairs("test_selectors", 40)
    },
    pairs("test_select", 0),
    pairs("test_poll", 0),
    pairs("test_epoll", 0),
    Module {
        left_out: &[(
            "*.TestFTPClass.test_storlines",
            "decodes each recv by itself: fails when one ends inside a character, as it may over TCP",
        )],
        ..module("test_ftplib", 150)
    },
    module("test_httplib", 50),
    module("test_smtplib", 50),
    Module { resources: "network", ..module("test_socketserver", 8) },
    module("test_asyncore", 8),
    module("test_asynchat", 30),
    module("test_httpservers", 20),
    module("test_imaplib", 20),
    module("test_poplib", 20),
    module("test_telnetlib", 0),
    module("test_urllib2_localnet", 10),
    module("test_xmlrpc", 20),
];
