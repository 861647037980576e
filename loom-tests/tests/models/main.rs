//! The models; see README.md.
#![cfg(loom)]

mod bell;
mod complete;
mod depart;
mod end;
mod gate;
mod nested;
mod ready;
mod recall;
mod role;
mod stream;
mod turns;
mod vanish;
