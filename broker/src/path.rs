//! Where the broker's socket is.
//!
//! The shim finds the same path by the same rules, in its own `no_std` code:
//!
//! 1. `SLIPSTREAM_SOCKET`, when it is set and not empty, as it stands;
//! 2. `/run/slipstream/broker.sock`, when something exists there ([`SYSTEM`]);
//! 3. `$XDG_RUNTIME_DIR/slipstream/broker.sock`, when that variable is set to an absolute path;
//! 4. `$TMPDIR/slipstream-UID/broker.sock`, where an unset or relative `TMPDIR` means `/tmp` and `UID` is the effective
//!    user id in decimal.
//!
//! A client then believes who answers there only when `SO_PEERCRED` names root or its own effective user: anyone can
//! make a folder of that name in `/tmp`.

use rustix::fs::{Mode, OFlags};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// The path of a system-wide broker.
pub const SYSTEM: &str = "/run/slipstream/broker.sock";

/// The longest path of the broker's socket, in bytes: one less than of any Unix socket, since it is made under a longer
/// name first.
pub const LONGEST: usize = 106;

/// The path that this process' environment and user lead to.
pub fn resolve() -> PathBuf {
    resolve_from(
        |name| std::env::var_os(name),
        Path::new(SYSTEM).symlink_metadata().is_ok(),
        rustix::process::geteuid().as_raw(),
    )
}

/// [`resolve`], of what it looks at.
fn resolve_from(variable: impl Fn(&str) -> Option<OsString>, system_exists: bool, uid: u32) -> PathBuf {
    let absolute = |value: &OsString| Path::new(value).is_absolute();
    if let Some(path) = variable("SLIPSTREAM_SOCKET").filter(|value| !value.is_empty()) {
        return path.into();
    }
    if system_exists {
        return SYSTEM.into();
    }
    if let Some(folder) = variable("XDG_RUNTIME_DIR").filter(absolute) {
        return Path::new(&folder).join("slipstream/broker.sock");
    }
    let folder = variable("TMPDIR").filter(absolute).unwrap_or_else(|| "/tmp".into());
    Path::new(&folder).join(format!("slipstream-{uid}/broker.sock"))
}

/// Whether a broker at this path serves every user by default: only under `/run/slipstream`.
pub fn is_system_wide(path: &Path) -> bool {
    path.parent() == Path::new(SYSTEM).parent()
}

/// Makes the folder of `path` where the rules above name one, and checks that nobody else can put a socket into it.
///
/// Those are folders named `slipstream` or `slipstream-…` for a socket named `broker.sock`; any other one must exist and
/// is taken as it is.
///
/// # Errors
///
/// The folder cannot be made, is not a folder, or others may write into it.
pub fn prepare_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let name = folder.file_name().unwrap_or(OsStr::new(""));
    let own = name == "slipstream" || name.to_string_lossy().starts_with("slipstream-");
    if !own || path.file_name() != Some(OsStr::new("broker.sock")) {
        return Ok(());
    }
    let mode = if is_system_wide(path) { 0o755 } else { 0o700 };
    match rustix::fs::mkdir(folder, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    // Opened without following a link, so that what is checked is what the socket is made in.
    let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let stat = rustix::fs::fstat(rustix::fs::open(folder, open, Mode::empty())?)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} belongs to someone else, or others may write into it", folder.display()),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)], system: bool) -> String {
        let find = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        resolve_from(find, system, 1000).to_str().unwrap().to_owned()
    }

    #[test]
    fn rules_apply_in_their_order() {
        let all = [("SLIPSTREAM_SOCKET", "s"), ("XDG_RUNTIME_DIR", "/run/user/1000"), ("TMPDIR", "/var/tmp")];
        assert_eq!(with(&all, true), "s");
        assert_eq!(with(&all[1..], true), SYSTEM);
        assert_eq!(with(&all[1..], false), "/run/user/1000/slipstream/broker.sock");
        assert_eq!(with(&all[2..], false), "/var/tmp/slipstream-1000/broker.sock");
        assert_eq!(with(&[], false), "/tmp/slipstream-1000/broker.sock");
    }

    #[test]
    fn empty_and_relative_values_do_not_count() {
        let odd = [("SLIPSTREAM_SOCKET", ""), ("XDG_RUNTIME_DIR", "run"), ("TMPDIR", "tmp")];
        assert_eq!(with(&odd, false), "/tmp/slipstream-1000/broker.sock");
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("slipstream-7/broker.sock");
        prepare_folder(&path).unwrap();
        prepare_folder(&path).unwrap();
        rustix::fs::chmod(path.parent().unwrap(), Mode::from_raw_mode(0o777)).unwrap();
        assert_eq!(prepare_folder(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);

        let link = temp.path().join("slipstream-8");
        std::os::unix::fs::symlink(temp.path(), &link).unwrap();
        assert!(prepare_folder(&link.join("broker.sock")).is_err());
    }
}
