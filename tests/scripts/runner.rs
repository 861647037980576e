//! Compiles the runner.

use crate::script;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where all of the engine's files go.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("scripts")
}

/// The program.
pub fn path() -> PathBuf {
    folder().join("runner")
}

/// Builds it, always: it takes a second.
pub fn build() -> Result<PathBuf, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    std::fs::create_dir_all(folder()).map_err(|error| error.to_string())?;
    std::fs::write(folder().join("words.h"), script::header()).map_err(|error| error.to_string())?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu17", "-O2", "-g", "-D_FORTIFY_SOURCE=2", "-Wall", "-Wextra", "-Werror", "-pthread"]);
    gcc.args(["-Wno-unused-result", "-Wno-stringop-overflow"]);
    gcc.arg("-I").arg(folder()).arg("-o").arg(path());
    gcc.args(["runner.c", "calls.c", "readiness.c"].map(|file| sources.join(file)));
    let done = gcc.output().map_err(|error| format!("gcc: {error}"))?;
    if done.status.success() { Ok(path()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}
