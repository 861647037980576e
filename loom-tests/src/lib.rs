//! What the models in `tests/models` stand on: a kernel made of loom's parts, the two endpoints of a pair, and the
//! calls that a shim makes of them.
//!
//! Empty without `--cfg loom`; see README.md.
#![cfg(loom)]

pub mod endpoint;
pub mod kernel;
pub mod model;
