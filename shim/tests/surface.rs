//! The surface of the C library: what it exports is hooked, or stands in `surface.txt` with the reason why it need not be.
//!
//! The lists come from the machine (nm, the headers, the programs that are installed), so that a newer glibc, or a
//! program that calls what nobody thought of, fails here first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// A name with one of these smells of descriptors: no pattern covers it by accident.
const STEMS: [&str; 26] = [
    "accept", "aio", "clone", "close", "connect", "dup", "exec", "fcntl", "fd", "file", "fork", "ioctl", "open",
    "pipe", "poll", "read", "recv", "select", "send", "shut", "sock", "spawn", "splice", "tee", "uring", "write",
];

/// Programs whose imports are looked at, where they are installed.
const PROGRAMS: [&str; 44] = [
    "ab",
    "apache2",
    "beam.smp",
    "curl",
    "dig",
    "erl",
    "git",
    "h2load",
    "haproxy",
    "iperf3",
    "java",
    "mariadbd",
    "memcached",
    "mosquitto",
    "mysqld",
    "named",
    "nc",
    "nc.openbsd",
    "nc.traditional",
    "netperf",
    "nginx",
    "node",
    "openssl",
    "perl",
    "php-fpm8.2",
    "pgbench",
    "postgres",
    "psql",
    "python3",
    "redis-benchmark",
    "redis-cli",
    "redis-server",
    "rsync",
    "ruby",
    "sockperf",
    "socat",
    "ssh",
    "sshd",
    "stress-ng",
    "sysbench",
    "uvicorn",
    "wget",
    "wrk",
    "zmq",
];

/// Modules that programs of these languages load when they use the network.
const MODULES: [&str; 8] = [
    "libjvm.so",
    "libnet.so",
    "libnio.so",
    "_socket*.so",
    "_posixsubprocess*.so",
    "socket.so",
    "Socket.so",
    "mod_mpm_event.so",
];

/// Imports of what is not covered, by programs that call everything there is.
const EXPECTED: [(&str, &str); 2] = [("stress-ng", "pidfd_getfd"), ("stress-ng", "unshare")];

/// Those that tests/run installs.
const INSTALLED: [&str; 5] = ["curl", "iperf3", "memcached", "python3", "redis-server"];

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The functions among the dynamic symbols of a file: name and version. `kind`: --defined-only or --undefined-only.
fn symbols(file: &Path, kind: &str) -> Vec<(String, String)> {
    let table = run("nm", &["-D", kind, file.to_str().expect("a path of this test's")]);
    let mut found = Vec::new();
    for line in table.lines() {
        let mut words = line.split_whitespace().rev();
        let (Some(symbol), Some(class)) = (words.next(), words.next()) else { continue };
        // Functions, weak or not, chosen by the loader or not; what is undefined has no address and no class of its own.
        if ["T", "W", "i", "U", "w"].contains(&class) {
            let (name, version) = symbol.split_once('@').unwrap_or((symbol, ""));
            found.push((name.to_owned(), version.trim_start_matches('@').to_owned()));
        }
    }
    found
}

/// What the library exports. Cargo builds no cdylib for a test, so the test does.
fn hooks() -> BTreeSet<String> {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder of cargo's");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--package", "slipstream-shim", "--target-dir"]).arg(target);
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo");
        assert!(built.success(), "the library cannot be built");
        target.join("debug/libslipstream.so")
    });
    let exported = symbols(&BUILT, "--defined-only");
    assert!(!exported.is_empty(), "{} exports nothing", BUILT.display());
    exported.into_iter().map(|(name, _)| name).collect()
}

/// What libc exports to programs; its other parts (GLIBC_PRIVATE) speak for its own libraries alone.
fn exports() -> BTreeSet<String> {
    let libc = run("gcc", &["-print-file-name=libc.so.6"]);
    let exported = symbols(Path::new(libc.trim()), "--defined-only").into_iter();
    let public: BTreeSet<_> =
        exported.filter(|(_, version)| version != "GLIBC_PRIVATE").map(|(name, _)| name).collect();
    assert!(public.len() > 2000, "{libc}: only {} functions", public.len());
    public
}

/// A paragraph of surface.txt.
struct Paragraph {
    kind: String,
    names: Vec<String>,
}

struct Table(Vec<Paragraph>);

/// Whether a pattern (`*` many, `?` one, `[!abc]` one of others) is the whole of a name.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|from| fits(rest, &name[from..])),
        ([b'?', rest @ ..], [_, others @ ..]) => fits(rest, others),
        ([b'[', b'!', rest @ ..], [first, others @ ..]) => {
            let end = rest.iter().position(|byte| *byte == b']').expect("an end of the class");
            !rest[..end].contains(first) && fits(&rest[end + 1..], others)
        }
        ([first, rest @ ..], [same, others @ ..]) => first == same && fits(rest, others),
        _ => false,
    }
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

impl Table {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("surface.txt");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut paragraphs: Vec<Paragraph> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            if line.starts_with(char::is_whitespace) {
                let paragraph = paragraphs.last_mut().expect("a reason before the names");
                paragraph.names.extend(line.split_whitespace().map(str::to_owned));
            } else {
                let (kind, reason) = line.split_once(": ").unwrap_or_else(|| panic!("no kind and reason: {line}"));
                let kinds = ["none", "kernel", "refused", "own", "covered", "gap"];
                assert!(kinds.contains(&kind) && !reason.is_empty(), "{line}");
                paragraphs.push(Paragraph { kind: kind.to_owned(), names: Vec::new() });
            }
        }
        Self(paragraphs)
    }

    /// The paragraph and the entry that a name stands under: its own, else the first pattern that fits.
    fn entry(&self, name: &str) -> Option<(&Paragraph, &str)> {
        let find = |test: &dyn Fn(&str) -> bool| {
            self.0.iter().find_map(|paragraph| {
                let entry = paragraph.names.iter().find(|entry| test(entry))?;
                Some((paragraph, entry.as_str()))
            })
        };
        find(&|entry| entry == name)
            .or_else(|| find(&|entry| is_pattern(entry) && fits(entry.as_bytes(), name.as_bytes())))
    }

    fn kind(&self, name: &str) -> Option<&str> {
        self.entry(name).map(|(paragraph, _)| paragraph.kind.as_str())
    }
}

fn list(names: impl IntoIterator<Item = String>) -> String {
    names.into_iter().map(|name| format!("\n    {name}")).collect()
}

/// Every function of libc's is hooked or judged, none is both, and the table has nothing to spare.
#[test]
fn every_function_is_hooked_or_judged() {
    let (hooks, exports, table) = (hooks(), exports(), Table::read());
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for name in &exports {
        match (hooks.contains(name), table.entry(name)) {
            (true, Some((_, entry))) if entry == name => wrong.push(format!("{name}: hooked, and in the table")),
            (true, _) => {}
            (false, None) => wrong.push(format!("{name}: neither hooked nor in the table")),
            (false, Some((paragraph, entry))) => {
                used.insert(entry.to_owned());
                let hidden = STEMS.iter().find(|stem| name.contains(**stem) && !entry.contains(**stem));
                if let Some(stem) = hidden.filter(|_| paragraph.kind == "none") {
                    wrong.push(format!("{name}: has {stem:?} in it, so {entry} is not enough: by its name"));
                }
            }
        }
    }
    let entries: Vec<&String> = table.0.iter().flat_map(|paragraph| &paragraph.names).collect();
    let twice = entries.iter().enumerate().filter(|(i, entry)| entries[..*i].contains(entry));
    wrong.extend(twice.map(|(_, entry)| format!("{entry}: twice in the table")));
    let stale = entries.iter().filter(|entry| !used.contains(**entry) && !hooks.contains(**entry));
    wrong.extend(stale.map(|entry| format!("{entry}: stands for nothing that libc exports")));
    assert!(wrong.is_empty(), "{} functions of libc's{}", exports.len(), list(wrong));
}

/// What is not covered is said to those who use it.
#[test]
fn gaps_are_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let page = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let (_, gaps) = page.split_once("## Known gaps").expect("known gaps");
    let table = Table::read();
    let paragraphs = table.0.iter().filter(|paragraph| paragraph.kind == "gap");
    let first = paragraphs.filter_map(|paragraph| paragraph.names.first());
    let silent: Vec<_> = first.filter(|name| !gaps.contains(&format!("`{name}`"))).cloned().collect();
    assert!(silent.is_empty(), "gaps in surface.txt, and not a word of them in docs/compatibility.md{}", list(silent));
}

/// Every hook stands in front of a function of libc's: nothing else of ours gets into the way of a program's own names.
#[test]
fn every_hook_is_a_function_of_libc() {
    let (hooks, exports) = (hooks(), exports());
    let strange: Vec<_> = hooks.difference(&exports).cloned().collect();
    assert!(strange.is_empty(), "exported by libslipstream.so, not by libc{}", list(strange));
}

/// The name and the arguments of a function that is declared in a statement of C.
fn declaration(statement: &str) -> Option<(&str, &str)> {
    let open = statement.find('(')?;
    let before = statement[..open].trim_end();
    let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
    let mut depth = 0;
    let end = statement[open..].find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    })?;
    (start < before.len()).then(|| (&before[start..], &statement[open + 1..open + end]))
}

/// Whether an argument is a descriptor, or leads to some.
fn is_descriptor(argument: &str) -> bool {
    let types = ["pollfd", "fd_set", "aiocb", "mmsghdr", "epoll_event", "file_actions"];
    let name = argument.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let names = ["fd", "fildes", "filedes", "sock", "desc", "epoll"];
    types.iter().any(|found| argument.contains(found))
        || argument.trim_start().starts_with("int ") && names.iter().any(|found| name.contains(found))
}

/// What the headers declare with a descriptor among its arguments is hooked, or judged as such: not as if it had none.
#[test]
fn headers_agree() {
    let (hooks, exports, table) = (hooks(), exports(), Table::read());
    let files = run("dpkg", &["-L", "libc6-dev"]);
    let headers =
        files.lines().filter(|file| file.ends_with(".h") && !file.contains("/bits/") && !file.contains("/gnu/"));
    let all: String = headers.map(|header| format!("#include \"{header}\"\n")).collect();
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("headers.c");
    std::fs::write(&source, all).expect("a file of this test's");
    // Some headers are there only to be refused; the preprocessor goes on behind them.
    let options = ["-E", "-P", "-D_GNU_SOURCE", "-D_FORTIFY_SOURCE=2", "-O2"];
    let text = run("gcc", &[&options[..], &[source.to_str().expect("a path of this test's")]].concat());
    let text = text.replace('\n', " ");
    let declared: BTreeMap<_, _> = text.split([';', '{', '}']).filter_map(declaration).collect();
    assert!(declared.len() > 1500 && declared.contains_key("recvmsg"), "only {} declarations", declared.len());
    let take = declared.iter().filter(|(_, arguments)| arguments.split(',').any(is_descriptor)).map(|(name, _)| *name);
    let take: Vec<_> = take.filter(|name| exports.contains(*name)).collect();
    assert!(take.len() > 150, "only {} functions take descriptors: {take:?}", take.len());
    let wrong =
        take.iter().filter(|name| !hooks.contains(**name) && table.kind(name).is_none_or(|kind| kind == "none"));
    let wrong: Vec<_> = wrong.map(|name| format!("{name}({})", declared[name])).collect();
    assert!(wrong.is_empty(), "take descriptors, and are judged as if they took none{}", list(wrong));
}

/// A program that is installed, or what its script or its launcher leads to.
fn installed(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from).into_iter();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let more = versions.map(|version| version.path().join("bin"));
    let file = folders.chain(more).map(|folder| folder.join(name)).find(|file| file.is_file())?;
    let file = file.canonicalize().ok()?;
    let mut magic = [0; 4];
    std::io::Read::read_exact(&mut std::fs::File::open(&file).ok()?, &mut magic).ok()?;
    (magic == *b"\x7fELF").then_some(file)
}

/// The libraries that a program or a module is linked with, but libc.
fn libraries(file: &Path) -> Vec<PathBuf> {
    let all = run("ldd", &[file.to_str().expect("a path of Debian's")]);
    let all = all.lines().filter_map(|line| line.split_once("=> ")?.1.split_whitespace().next());
    all.filter(|library| !library.contains("/libc.so")).map(PathBuf::from).collect()
}

/// What popular network programs, their modules, and the libraries that they are linked with import of libc's.
#[test]
fn programs_import_nothing_unseen() {
    let (hooks, exports, table) = (hooks(), exports(), Table::read());
    let mut programs = Vec::new();
    for name in PROGRAMS {
        match installed(name) {
            Some(program) => programs.push((name.to_owned(), program)),
            None if INSTALLED.contains(&name) => panic!("{name} is not installed: tests/run does that"),
            None => println!("{name}: not installed"),
        }
    }
    let folders = ["/usr/lib", "-type", "f", "("];
    let names = MODULES.map(|module| ["-name", module, "-o"]).into_iter().flatten();
    let found = run("find", &folders.into_iter().chain(names).chain(["-false", ")"]).collect::<Vec<_>>());
    programs.extend(found.lines().map(|module| (module.to_owned(), PathBuf::from(module))));

    let mut imports = HashMap::<PathBuf, BTreeSet<String>>::new();
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for (name, program) in programs {
        let mut files = libraries(&program);
        files.push(program);
        let mut imported = BTreeSet::new();
        for file in &files {
            let known = imports.entry(file.clone()).or_insert_with(|| {
                let names = symbols(file, "--undefined-only").into_iter().map(|(name, _)| name);
                names.filter(|name| exports.contains(name)).collect()
            });
            imported.extend(known.iter().cloned());
        }
        let mut counts = BTreeMap::<&str, usize>::new();
        for import in &imported {
            let kind = if hooks.contains(import) { "hooked" } else { table.kind(import).unwrap_or("unjudged") };
            *counts.entry(kind).or_default() += 1;
            if ["unjudged", "gap"].contains(&kind) && !EXPECTED.contains(&(&name, import)) {
                wrong.push(format!("{name}: {import} ({kind})"));
            }
        }
        println!("{name}, linked with {}: {counts:?}", files.len());
        seen.extend(imported.into_iter().filter(|import| hooks.contains(import)));
    }
    println!("hooks that are imported: {} of {}", seen.len(), hooks.len());
    assert!(wrong.is_empty(), "imported, and nobody answers for it{}", list(wrong));
}
