//! Readiness: poll, select and epoll over descriptors of which some have moved.

pub mod epoll;
pub mod epoll_wait;
mod fdinfo;
pub mod levels;
pub mod member;
pub mod poll;
mod report;
pub mod select;
pub mod set;
