//! Planted bugs: the engine is shown to find each. They are what earlier systems got wrong, written into a copy of the
//! sources; a shim is built of it and scripts are played until one differs.

use slipstream_tests::{Lab, Mode};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A bug: its name, and what it replaces by what in which file.
struct Mutation {
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const fn plant(name: &'static str, file: &'static str, from: &'static str, to: &'static str) -> Mutation {
    Mutation { name, file, from, to }
}

const LIST: &[Mutation] = &[
    plant("lost-wakeup", "ring/src/wait.rs", "Sleep::Data => wake(&own.wakes.data),", "Sleep::Data => {}"),
    plant("lost-bell", "ring/src/wait.rs", "Sleep::Poll => waker.ring(),", "Sleep::Poll => {}"),
    plant(
        "switch-one-late",
        "shim/src/sender.rs",
        "match producer.switch(written) {",
        "match producer.switch(written + 1) {",
    ),
    plant(
        "switch-one-early",
        "shim/src/sender.rs",
        "match producer.switch(written) {",
        "match producer.switch(written.saturating_sub(1)) {",
    ),
    plant(
        "fcntl64-forgotten",
        "shim/src/hooks/fd.rs",
        "fn fcntl64(fd: c_int, command: c_int, argument: c_ulong) -> c_int {\n        controlled(",
        "fn fcntl64_forgotten(fd: c_int, command: c_int, argument: c_ulong) -> c_int {\n        controlled(",
    ),
    plant(
        "level-lost",
        "shim/src/readiness/report.rs",
        "        if self.is_edge_triggered() {\n            let mut edges",
        "        if true {\n            let mut edges",
    ),
    plant(
        "edge-made-level",
        "shim/src/readiness/report.rs",
        "        if self.is_edge_triggered() {\n            let mut edges",
        "        if false {\n            let mut edges",
    ),
    plant(
        "one-shot-dropped",
        "shim/src/readiness/report.rs",
        "if ready != 0 && wanted & libc::EPOLLONESHOT as u32 != 0 {",
        "if false {",
    ),
    plant(
        "mod-forgets-data",
        "shim/src/readiness/member.rs",
        "        self.data.store(data, Ordering::Relaxed);\n        self.dormant",
        "        self.dormant",
    ),
    plant(
        "del-forgotten",
        "shim/src/readiness/epoll.rs",
        "member.dormant.store(1, Ordering::Relaxed);",
        "member.dormant.store(0, Ordering::Relaxed);",
    ),
    plant(
        "rdhup-lost",
        "shim/src/readiness/levels.rs",
        "        ready |= if tx_on_tcp { shown }",
        "        let shown = shown & !(libc::EPOLLRDHUP as u32);\n        ready |= if tx_on_tcp { shown }",
    ),
    plant(
        "no-sigpipe",
        "shim/src/sender.rs",
        "                    } else if !fresh {\n                        Done::Moved(rest",
        "                    } else if !fresh || flags & libc::MSG_NOSIGNAL == 0 {\n                        let flags = flags | libc::MSG_NOSIGNAL;\n                        Done::Moved(rest",
    ),
    plant(
        "fionread-0",
        "shim/src/hooks/option.rs",
        "unsafe { number.write_unaligned(stream::unread_bytes(fd, known) as c_int) };",
        "unsafe { number.write_unaligned(known.min(0) as c_int) };",
    ),
    plant(
        "accept4-without-cloexec",
        "shim/src/hooks/socket.rs",
        "        accepted(fd, real!(fn accept4(",
        "        let flags = flags & !libc::SOCK_CLOEXEC;\n        accepted(fd, real!(fn accept4(",
    ),
    plant(
        "error-taken",
        "shim/src/receiver.rs",
        "    // Without taking the error that may wait there",
        "    let _ = tcp::look(fd, 1);\n    // Without taking the error that may wait there",
    ),
    plant(
        "peek-consumes",
        "shim/src/receiver.rs",
        "if request.flags & libc::MSG_PEEK == 0 {\n                    let Ok(wake)",
        "if true {\n                    let Ok(wake)",
    ),
    plant(
        "no-reset-on-close",
        "shim/src/endpoint/ending.rs",
        "let _ = kernel::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);",
        "let _ = (fd, linger);",
    ),
    plant(
        "waitall-ignored",
        "shim/src/receiver.rs",
        "let goal = if flags & libc::MSG_WAITALL != 0 { usize::MAX }",
        "let goal = if flags & libc::MSG_WAITALL == -1 { usize::MAX }",
    ),
    plant(
        "dontwait-ignored",
        "shim/src/receiver/patience.rs",
        "(flags & libc::MSG_DONTWAIT != 0).then_some(false)",
        "(flags & libc::MSG_DONTWAIT == -1).then_some(false)",
    ),
    plant(
        "timeout-ignored",
        "shim/src/receiver/patience.rs",
        "self.deadline = Some(kernel::now_ns().saturating_add(wait::ns(timeout)));",
        "let _ = timeout;",
    ),
    plant(
        "nonblock-of-another",
        "shim/src/receiver/patience.rs",
        "let nonblocking = kernel::is_nonblocking(fd);",
        "let nonblocking = fd >= 0 && endpoint.nonblocking.load(Ordering::Relaxed) != 0;",
    ),
    plant("interrupt-lost", "shim/src/wait.rs", "        (_, Delivered::Interrupt) => Err(Errno(libc::EINTR)),\n", ""),
    plant(
        "fork-not-counted",
        "shim/src/family.rs",
        "self.holders.fetch_add(1, Ordering::SeqCst);",
        "self.holders.fetch_add(0, Ordering::SeqCst);",
    ),
    plant(
        "sendfile-past-the-ring",
        "shim/src/hooks/io.rs",
        "        send_file(out, input, offset, len, || real!(fn sendfile(",
        "        return (|| real!(fn sendfile(out: c_int, input: c_int, offset: *mut off_t, len: size_t) -> ssize_t))();\n        #[allow(unreachable_code)]\n        send_file(out, input, offset, len, || real!(fn sendfile(",
    ),
    plant(
        "shutdown-unnoticed",
        "shim/src/endpoint/ending.rs",
        "self.family().shut.store(1, Ordering::Relaxed);",
        "self.family().shut.store(0, Ordering::Relaxed);",
    ),
    plant(
        "exec-keeps-the-ring",
        "shim/src/hooks/exec.rs",
        "for_each_inherited(|endpoint| recall::detach_now(endpoint, Reason::Exec));",
        "for_each_inherited(|endpoint| drop((endpoint, recall::detach_now, Reason::Exec)));",
    ),
];

/// Scripts that a bug may need.
const ENOUGH: u64 = 3000;

/// The bugs that have no place, or several, in the code as it is now: they would no longer be planted.
pub fn stale() -> Vec<&'static str> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let has_place = |mutation: &&Mutation| {
        std::fs::read_to_string(root.join(mutation.file)).is_ok_and(|source| source.matches(mutation.from).count() == 1)
    };
    LIST.iter().filter(|mutation| !has_place(mutation)).map(|mutation| mutation.name).collect()
}

/// Plants each bug whose name contains one of `names` (all, if there are none), and tells how it was found.
///
/// # Errors
///
/// When a bug cannot be planted, or is not found.
pub fn hunt(names: &[&str]) -> Result<(), String> {
    let wanted = |mutation: &&Mutation| names.is_empty() || names.iter().any(|name| mutation.name.contains(name));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().map_err(|error| error.to_string())?;
    let place = crate::runner::folder().join("mutations");
    // The file may be replaced by a later build while this runs.
    let own = place.join("scripts");
    std::fs::create_dir_all(&place).map_err(|error| error.to_string())?;
    std::env::current_exe().and_then(|exe| std::fs::copy(exe, &own)).map_err(|error| error.to_string())?;
    let mut missed = Vec::new();
    for mutation in LIST.iter().filter(wanted) {
        let tree = place.join("tree");
        let bin = build(&root, &tree, &place.join("target"), mutation)?;
        let played = Command::new(&own)
            .args(["--until-found", &format!("0..{ENOUGH}")])
            .env("SLIPSTREAM_BIN", bin)
            .output()
            .map_err(|error| error.to_string())?;
        let told = String::from_utf8_lossy(&played.stdout).into_owned();
        let found = told.lines().find_map(|line| line.strip_prefix("found "));
        match found {
            Some(found) => println!("{}: found {found}", mutation.name),
            None if !played.status.success() => {
                return Err(format!("{}: {}", mutation.name, String::from_utf8_lossy(&played.stderr)));
            }
            None => {
                println!("{}: NOT found in {ENOUGH} scripts", mutation.name);
                missed.push(mutation.name);
            }
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(format!("not found: {}", missed.join(", "))) }
}

/// Copies the sources, plants the bug and builds the shim of them; where it is.
fn build(root: &Path, tree: &Path, target: &Path, mutation: &Mutation) -> Result<PathBuf, String> {
    let error = |error: std::io::Error| format!("{}: {error}", mutation.name);
    let _ = std::fs::remove_dir_all(tree);
    std::fs::create_dir_all(tree).map_err(error)?;
    // What git knows and what is new, without what was built; with new times, or cargo would take what the last bug left.
    let copied = Command::new("sh")
        .arg("-c")
        .arg(r#"git -C "$0" ls-files -z -co --exclude-standard | tar -C "$0" --null -cf - -T - | tar -C "$1" -xmf -"#)
        .args([root, tree])
        .status()
        .map_err(error)?;
    let file = tree.join(mutation.file);
    let source = std::fs::read_to_string(&file).map_err(error)?;
    if !copied.success() || source.matches(mutation.from).count() != 1 {
        return Err(format!("{}: {} does not have its place once", mutation.name, mutation.file));
    }
    std::fs::write(&file, source.replace(mutation.from, mutation.to)).map_err(error)?;
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "-q", "-p", "slipstream-shim"])
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", target)
        // A bug may leave something unused.
        .env("RUSTFLAGS", "--cap-lints=warn")
        .output()
        .map_err(error)?;
    if !built.status.success() {
        return Err(format!("{}: {}", mutation.name, String::from_utf8_lossy(&built.stderr)));
    }
    let bin = target.join("release");
    let lab = Lab::without_broker("mutations", Mode::Tcp);
    std::fs::copy(lab.tool(), bin.join("slipstream")).map_err(error)?;
    Ok(bin)
}
