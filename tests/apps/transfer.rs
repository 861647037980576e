//! Daemons that hand out files: rsync's and git's.

use crate::{assert_same, modes, serve};
use slipstream_tests::{Lab, Mode, PATIENCE, Port, Program};
use std::fmt::Write as _;

/// A tree of files: many small ones, a few large ones.
fn tree(lab: &Lab, name: &str) {
    let root = lab.folder().join(name);
    let mut text = String::new();
    for i in 0..300_000 {
        let _ = writeln!(text, "{i} {}", (i as i64) * 7919 % 1_000_003);
    }
    for i in 0..200 {
        let folder = root.join(format!("d{}", i % 10));
        std::fs::create_dir_all(&folder).expect("a folder");
        let size = if i % 50 == 0 { text.len() } else { i * 37 };
        std::fs::write(folder.join(format!("f{i}")), &text.as_bytes()[..size]).expect("a file");
    }
}

fn compare(lab: &Lab, one: &str, other: &str) -> String {
    lab.program("diff").args(["-r", "-x", ".git", one, other]).run(PATIENCE).good()
}

/// rsync's daemon, a process for each connection: fetched, sent back changed, and once more with nothing to do.
fn rsync(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("rsync", mode), Port::free());
        tree(&lab, "from");
        std::fs::create_dir(lab.folder().join("to")).expect("a folder");
        let module = |name: &str| {
            let (folder, root) = (lab.folder().display(), "uid = 0\ngid = 0\n");
            // SAFETY: plain system call.
            let ids = if unsafe { libc::geteuid() } == 0 { root } else { "" };
            format!("[{name}]\npath = {folder}/{name}\nread only = no\nuse chroot = no\n{ids}")
        };
        std::fs::write(lab.folder().join("rsyncd.conf"), module("from") + &module("to")).expect("a file");
        let daemon =
            lab.program("rsync").args(["--daemon", "--no-detach", "--address=127.0.0.1", "--config=rsyncd.conf"]);
        let _daemon = serve(daemon.arg(format!("--port={port}")), &port);
        let rsync = |from: &str, to: &str| {
            let said = lab.program("rsync").args(["-a", "-i", "--checksum", from, to]).run(PATIENCE).good();
            // When a folder was changed last is another second in another run.
            let mut lines: Vec<_> = said.lines().filter(|line| !line.starts_with(".d")).collect();
            lines.sort_unstable();
            lines.join("\n")
        };
        let at = format!("rsync://127.0.0.1:{port}");
        let mut said = rsync(&format!("{at}/from/"), "here/");
        said += &compare(&lab, "from", "here");
        std::fs::write(lab.folder().join("here/d0/f0"), "changed").expect("a file");
        std::fs::remove_file(lab.folder().join("here/d1/f1")).expect("a file");
        said += &rsync("here/", &format!("{at}/to/"));
        said += &compare(&lab, "here", "to");
        assert_eq!(rsync("here/", &format!("{at}/to/")), "");
        lab.expect_moved_in_all(4);
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// git's daemon executes a helper that reads and writes the socket itself: what comes over exec is not watched, so the
/// client's end stays alone.
fn git(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("git", mode), Port::free());
        tree(&lab, "origin");
        let git = |folder: &str, arguments: &[&str]| -> Program {
            let git = lab.program("git").args(["-C", folder, "-c", "user.name=n", "-c", "user.email=e"]);
            let git =
                git.env("GIT_AUTHOR_DATE", "2020-01-01T00:00:00Z").env("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z");
            git.args(["-c", "safe.directory=*", "-c", "init.defaultBranch=main"]).args(arguments)
        };
        let good = |folder: &str, arguments: &[&str]| git(folder, arguments).run(PATIENCE).good();
        good("origin", &["init", "-q"]);
        good("origin", &["config", "receive.denyCurrentBranch", "ignore"]);
        good("origin", &["add", "."]);
        good("origin", &["commit", "-q", "-m", "all of it"]);
        let daemon = lab.program("git").args(["daemon", "--reuseaddr", "--export-all", "--enable=receive-pack"]);
        let daemon = daemon.args(["--listen=127.0.0.1", &format!("--port={port}")]);
        let _daemon = serve(daemon.arg(format!("--base-path={}", lab.folder().display())).arg(lab.folder()), &port);
        good(".", &["clone", "-q", &format!("git://127.0.0.1:{port}/origin"), "clone"]);
        let mut said = compare(&lab, "origin", "clone");
        std::fs::write(lab.folder().join("clone/new"), "new\n".repeat(100_000)).expect("a file");
        good("clone", &["add", "new"]);
        good("clone", &["commit", "-q", "-m", "one more"]);
        good("clone", &["push", "-q", "origin", "main"]);
        said += &good("origin", &["log", "--format=%H %s"]);
        said += &good("clone", &["ls-remote"]).replace(&port.to_string(), "PORT");
        lab.expect_no_alarm();
        if mode.moves() {
            let totals = lab.status().totals;
            assert!(totals.connections > 0 && totals.matched == 0, "{totals:#?}");
        }
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

modes! {
    rsync_daemon(super::rsync);
    git_daemon(super::git);
}
