//! CPython's own tests of everything that has to do with sockets: each test's outcome under the shim is its outcome over
//! plain TCP.
//!
//! Most of them are over within a few bytes, before a connection could move. So connections are offered before their
//! first call, and a small library above the shim (`hurry.c`) waits with new ones until they have moved.

mod modules;

use libtest_mimic::{Arguments, Failed, Trial};
use modules::{MODULES, Module};
use slipstream_tests::{Lab, Mode, compile};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The longest module takes two minutes on an idle machine. One of multiprocessing may hang for good over plain TCP, where its
/// children are forked beside threads.
const PATIENCE: Duration = Duration::from_secs(400);

/// What came of each test of a module: `passed`, `skipped`, `failure`, `error`.
type Outcomes = BTreeMap<String, &'static str>;

/// One run of a module.
fn run(module: &Module, mode: Mode, hurry: &Path) -> Result<Outcomes, Failed> {
    let lab = Lab::new(module.name, mode);
    let report = lab.folder().join("outcomes.xml");
    let python = lab.program("/usr/bin/python3").above(hurry);
    let mut python = python.env("LC_ALL", "C.UTF-8").env("SLIPSTREAM_MIN_OPS", "0").env("SLIPSTREAM_MIN_BYTES", "1");
    if module.pairs {
        python = python.env("HURRY_PAIRS", "1");
    }
    // Of the resources only loopback's: nothing here asks the internet.
    python = python.args(["-m", "test", "-v", "--junit-xml"]).arg(&report).args(["-u", module.resources]);
    for test in module.only {
        python = python.args(["-m", test]);
    }
    for (test, _) in module.left_out {
        python = python.args(["-i", test]);
    }
    let ended = python.arg(module.name).run(PATIENCE);
    let text = std::fs::read_to_string(&report).map_err(|_| {
        let said = [ended.stdout, ended.stderr].concat();
        format!("{}: no report\n{}", ended.status, String::from_utf8_lossy(&said))
    })?;
    if mode.moves() {
        lab.expect_no_alarm();
        let totals = lab.status().totals;
        let moved = totals.state("opt");
        eprintln!("{} {}: {moved} of {} endpoints moved", module.name, mode.name(), totals.connections);
        if moved < module.least {
            return Err(format!("only {moved} endpoints moved, not {}: {totals:#?}", module.least).into());
        }
    }
    Ok(outcomes(&text))
}

/// Reads unittest's report: one element per test, with one inside when it did not pass.
fn outcomes(xml: &str) -> Outcomes {
    let cases = xml.split("<testcase ").skip(1);
    let named = cases.filter_map(|case| {
        let (_, rest) = case.split_once("name=\"")?;
        let (name, rest) = rest.split_once('"')?;
        let ways = [("<error", "error"), ("<failure", "failure"), ("<skipped", "skipped")];
        let way = ways.iter().find(|(mark, _)| rest.contains(mark));
        Some((name.to_owned(), way.map_or("passed", |(_, way)| way)))
    });
    named.collect()
}

/// Compares. A test that fails over TCP and passes under the shim is noise of its own.
fn compare(plain: &Outcomes, shimmed: &Outcomes) -> Result<(), Failed> {
    let mut differences = String::new();
    for name in plain.keys().chain(shimmed.keys().filter(|name| !plain.contains_key(*name))) {
        let (before, now) = (plain.get(name), shimmed.get(name));
        if matches!((before, now), (Some(&("failure" | "error")), Some(&"passed"))) {
            eprintln!("{name}: noise, {before:?} over plain TCP");
        } else if before != now {
            differences += &format!("{name}: {before:?} over plain TCP, {now:?} under the shim\n");
        }
    }
    match differences.is_empty() {
        true if plain.is_empty() => Err("no tests at all".into()),
        true => Ok(()),
        false => Err(differences.into()),
    }
}

/// Compiles the library that waits.
fn hurry() -> Result<PathBuf, String> {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hurry.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("cpython/hurry.c");
    compile(&library, &["-shared", "-fPIC"], &[source])?;
    Ok(library)
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let hurry = match hurry() {
        Ok(library) => library,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for module in MODULES {
        // The plain run, once for both.
        let plain = Arc::new(OnceLock::<Result<Outcomes, String>>::new());
        for mode in [Mode::Shm, Mode::Uds] {
            let (plain, hurry) = (Arc::clone(&plain), hurry.clone());
            trials.push(Trial::test(format!("{}/{}", module.name, mode.name()), move || {
                let plain = plain.get_or_init(|| {
                    run(module, Mode::Plain, &hurry).map_err(|failed| failed.message().unwrap_or("").to_owned())
                });
                compare(plain.as_ref().map_err(|error| error.clone())?, &run(module, mode, &hurry)?)
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
