//! The kernel as oracle: each case in `cases/` runs over plain TCP and under the shim, and must say the same.
//!
//! | trial | the case runs |
//! | --- | --- |
//! | `NAME/plain` | plain, twice: it says the same each time, or it is no oracle |
//! | `NAME/shm`, `NAME/uds` | under the shim, each of its connections seen moved in both directions before the trap |
//! | `NAME/cold` | under the shim with connections that have just begun: the switch falls into the trap itself |
//! | `NAME/alice`, `NAME/bob` | only that end under the shim |
//! | `NAME/tcp` | under a shim that only watches |
//!
//! `cargo test -p slipstream-tests --test differential -- NAME` runs one; by hand: `LD_PRELOAD=… SLIPSTREAM_SOCKET=… CASE`.
//!
//! `SLIPSTREAM_DITHER=SEED` makes the calls of all but the oracle late here and there (`dither.c`): what `plain` says then,
//! and did not before, is a race of the case's own.

mod build;
mod trial;

use libtest_mimic::{Arguments, Trial};
use std::sync::Arc;
use trial::{Case, Kind};

fn main() {
    let mut arguments = Arguments::from_args();
    if arguments.test_threads.is_none() {
        // Most of a case is waiting.
        arguments.test_threads = Some(4);
    }
    let names = build::names();
    let asked = |name: &str| {
        let trials = Kind::ALL.map(|kind| format!("{name}/{}", kind.name()));
        arguments.filter.as_ref().is_none_or(|filter| trials.iter().any(|trial| trial.contains(filter)))
    };
    let wanted = names.iter().filter(|name| !arguments.list && asked(name));
    if let Err(error) = build::all(wanted) {
        eprintln!("{error}");
        std::process::exit(1);
    }
    let mut trials = Vec::new();
    for name in names {
        let case = Arc::new(Case::new(&name));
        for kind in Kind::ALL {
            if case.is_for(kind) {
                let case = Arc::clone(&case);
                let run = move || trial::run(&case, kind).map_err(Into::into);
                trials.push(Trial::test(format!("{name}/{}", kind.name()), run));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
