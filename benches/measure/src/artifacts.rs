//! Finds the command and the library, and has cargo build what a checkout lacks.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::child::Child;

/// The library that is preloaded.
pub const LIBRARY: &str = "libslipstream.so";

/// What a measurement under the shim needs.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// The `slipstream` command.
    pub slipstream: PathBuf,
    /// `libslipstream.so`.
    pub library: PathBuf,
}

impl Artifacts {
    /// The artifacts that belong to `executable`: in its folder, or installed beside it.
    ///
    /// # Errors
    ///
    /// When one is missing; the message says how to get it.
    pub fn beside(executable: &Path) -> Result<Artifacts> {
        let folder = executable.parent().context("the executable has no folder")?;
        let library = [LIBRARY, "../lib/slipstream/libslipstream.so", "../lib/libslipstream.so"]
            .into_iter()
            .map(|name| folder.join(name))
            .find(|path| path.exists())
            .with_context(|| {
                format!("{LIBRARY} is not beside {}: `cargo build --release` makes it", executable.display())
            })?;
        let slipstream = folder.join("slipstream");
        if !slipstream.exists() {
            bail!("no `slipstream` in {}: `cargo build --release` makes it", folder.display());
        }
        Ok(Artifacts { slipstream, library })
    }
}

/// The cargo that runs this process, if one does.
///
/// `cargo run -p` builds a program and what it links, so not the library that the program only preloads into others. A
/// program run that way asks the same cargo for the rest, into the folder that it was itself built into: fresh in a
/// clone never built before, and never stale after an edit.
#[derive(Clone, Debug)]
pub struct Cargo {
    program: OsString,
    manifest_dir: PathBuf,
    target_dir: PathBuf,
    profile: String,
}

impl Cargo {
    /// The cargo that runs `executable`. `None` for an installed executable, or one started by hand.
    pub fn running(executable: &Path) -> Option<Cargo> {
        let program = std::env::var_os("CARGO")?;
        let manifest_dir = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
        let folder = executable.parent()?;
        let profile = match folder.file_name()?.to_str()? {
            "debug" => "dev".to_owned(),
            name => name.to_owned(),
        };
        let target_dir = folder.parent()?.to_owned();
        // cargo leaves its mark in every target directory that it makes.
        target_dir.join("CACHEDIR.TAG").exists().then_some(Cargo { program, manifest_dir, target_dir, profile })
    }

    /// Starts building `package` as this process was built; the messages of cargo go to `log`.
    ///
    /// # Errors
    ///
    /// When cargo cannot be started.
    pub fn build(&self, package: &str, log: &Path) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.manifest_dir)
            .args(["build", "--quiet", "--package", package, "--profile", &self.profile, "--target-dir"])
            .arg(&self.target_dir);
        Child::spawn(command, "cargo", None, log)
    }
}
