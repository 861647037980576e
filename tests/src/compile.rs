//! C programs and libraries of the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `files`; what the compiler says of them, if it does not like them.
pub fn compile(product: &Path, options: &[&str], files: &[PathBuf]) -> Result<(), String> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu17", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]);
    gcc.args(options).arg("-o").arg(product).args(files);
    let done = gcc.output().map_err(|error| format!("gcc: {error}"))?;
    let complaint = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(format!("{}:\n{complaint}", product.display())) }
}
