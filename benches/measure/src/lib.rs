//! Measures what a connection costs two ordinary programs, whatever carries it.
//!
//! [`peer`] is the program under measurement: plain blocking sockets, no knowledge of Slipstream. Everything else drives
//! two of them as separate processes over one [`Carrier`] at a time, and is used by `slipstream demo` and by the
//! comparison in `benches/`:
//!
//! ```text
//! Lab ──── private broker, temporary folder, library        (all of it gone when the Lab is dropped, on a signal, on a panic)
//!  └─ Pair ── client process, server process, pinned        (commands and reports over their stdin and stdout)
//!      └─ Evidence ── what the broker's status says of the connection before and after each measurement
//! ```
#![deny(unsafe_code)]

pub mod artifacts;
pub mod carrier;
pub mod child;
pub mod cleanup;
pub mod floor;
pub mod host;
pub mod lab;
pub mod pair;
pub mod peer;
pub mod socket;
pub mod stats;
pub mod status;

pub use artifacts::Artifacts;
pub use carrier::Carrier;
pub use host::Placement;
pub use lab::Lab;
pub use pair::Pair;
