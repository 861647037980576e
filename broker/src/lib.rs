//! The broker: matches the two endpoints of a connection and hands each its half of a transport.
//!
//! Without the `daemon` feature only [`protocol`] remains: the fixed-size messages that the shim speaks, `no_std`.
#![cfg_attr(not(feature = "daemon"), no_std)]

pub mod protocol;
