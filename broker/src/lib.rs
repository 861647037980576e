//! The broker: matches the two endpoints of a connection and hands each its half of a transport.
//!
//! | module | is | touches the system |
//! | --- | --- | --- |
//! | [`protocol`] | the messages as they lie on the wire | no (`no_std`) |
//! | [`path`] | where the broker's socket is | looks at files |
//! | [`packet`] | one message and its descriptors, received and checked, or sent | sockets |
//! | [`diag`] | sock_diag questions and answers as bytes | no |
//! | [`evidence`] | what the kernel says of a socket | one netlink socket per namespace |
//! | [`matching`] | which two claims are one connection | no |
//! | [`policy`] | budgets and rates | no |
//! | [`transport`] | outboxes, doorbells and mailboxes | memory and descriptors |
//! | [`registry`] | the books: endpoints, pairs, users, totals | no |
//! | [`server`] | the event loop that joins them | everything |
//! | [`status`] | what the status says, as data | no |
//! | [`control`] | the command line's side of the socket | sockets |
//!
//! [`protocol`] is the crate `slipstream-protocol`, which the shim uses without this one: it must not link std.

pub use slipstream_protocol as protocol;

pub mod control;
pub mod diag;
pub mod evidence;
pub mod matching;
pub mod packet;
pub mod path;
pub mod policy;
pub mod registry;
pub mod server;
pub mod status;
mod sys;
pub mod transport;
