//! Readiness: poll, select and epoll over descriptors of which some have moved.

pub mod epoll;
mod fdinfo;
pub mod levels;
pub mod poll;
pub mod select;
pub mod set;
