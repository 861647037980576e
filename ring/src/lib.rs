//! The shared-memory protocol between the two endpoints of a pair.
//!
//! Each endpoint writes its own [outbox](layout::Outbox) and reads its peer's: a byte ring per direction
//! ([`Producer`], [`Consumer`]), the [carrier switch](carrier) between TCP and the ring, [sleep and wake](wait), the
//! [role locks](role) and the [gate](gate) that keep a direction's threads and processes apart, and the
//! [verification](verify) that two outboxes belong to one connection. No I/O, no globals, no knowledge of sockets.
//!
//! What is read from a peer is untrusted: each word is read once, bounds-checked, used once; a value that no honest peer
//! writes gives [`Broken`].
//!
//! Every Release/Acquire or SeqCst pair is named `SYNC POINT name` at both of its ends, and has a loom model in `loom-tests`.
#![cfg_attr(not(any(loom, test)), no_std)]
#![deny(unsafe_code)]

pub mod carrier;
#[allow(unsafe_code)] // the copy out
mod consumer;
#[allow(unsafe_code)] // the copies in and out of the ring
pub mod data;
pub mod gate;
pub mod layout;
#[allow(unsafe_code)] // two mapped headers, alive for as long as the link
mod link;
#[allow(unsafe_code)] // the copy in
mod producer;
#[allow(unsafe_code)] // the copy back
mod recall;
pub mod role;
pub mod sync;
pub mod verify;
pub mod wait;

pub use consumer::{Consumer, Look};
pub use link::Link;
pub use producer::{Claim, Producer};
pub use recall::{Departure, Leftover};

/// The peer's memory does not follow the protocol. The connection ends; nothing else is harmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// A signal handler of this very thread used the endpoint meanwhile: start the operation over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raced;
