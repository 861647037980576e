//! Compiles the runner.

use crate::script;
use slipstream_tests::compile;
use std::path::{Path, PathBuf};

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
    let include = format!("-I{}", folder().display());
    let options = ["-pthread", "-D_FORTIFY_SOURCE=2", "-Wno-unused-result", "-Wno-stringop-overflow", &include];
    compile(&path(), &options, &["runner.c", "calls.c", "readiness.c"].map(|file| sources.join(file)))?;
    Ok(path())
}
