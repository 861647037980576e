//! Compiles the cases.

use slipstream_tests::compile;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

fn programs() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cases")
}

/// Where a case's program is.
pub fn program(name: &str) -> PathBuf {
    programs().join(name)
}

/// The library that makes a case's calls late, if SLIPSTREAM_DITHER has a seed for it.
pub fn dither() -> Option<(PathBuf, OsString)> {
    std::env::var_os("SLIPSTREAM_DITHER").map(|seed| (programs().join("dither.so"), seed))
}

/// Every case's name, sorted.
pub fn names() -> Vec<String> {
    let entries = std::fs::read_dir(sources()).expect("the folder of the cases");
    let paths = entries.map(|entry| entry.expect("an entry of it").path());
    let stems = paths.filter(|path| path.extension().is_some_and(|e| e == "c"));
    let mut names: Vec<_> = stems.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.retain(|name| name != "case");
    names.sort();
    names
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// Compiles what has changed of what is wanted.
pub fn all<'a>(wanted: impl Iterator<Item = &'a String>) -> Result<(), String> {
    std::fs::create_dir_all(programs()).map_err(|error| error.to_string())?;
    if let Some((library, _)) = dither() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/dither.c");
        if modified(&library) < modified(&source) {
            compile(&library, &["-shared", "-fPIC"], &[source])?;
        }
    }
    let shared = ["case.c", "case.h", "raw.h"].map(|file| modified(&sources().join(file)));
    let stale = wanted.filter(|name| {
        let built = modified(&program(name));
        let newest = shared.into_iter().chain([modified(&sources().join(name).with_extension("c"))]).max().flatten();
        built.is_none() || built < newest
    });
    let queue = Mutex::new(stale.collect::<Vec<_>>());
    let failed = Mutex::new(String::new());
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(name) = { queue.lock().ok().and_then(|mut queue| queue.pop()) } {
                    if let Err(error) = build(name)
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.push_str(&error);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().map_err(|error| error.to_string())?;
    if failed.is_empty() { Ok(()) } else { Err(failed) }
}

fn build(name: &str) -> Result<(), String> {
    // Cases ignore results and misuse calls on purpose.
    let options = ["-pthread", "-D_FORTIFY_SOURCE=2"];
    let lenient = ["-Wno-unused-result", "-Wno-stringop-overflow", "-Wno-attribute-warning"];
    let files = [sources().join(name).with_extension("c"), sources().join("case.c")];
    compile(&program(name), &[&options[..], &lenient].concat(), &files)
}
