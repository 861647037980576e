//! The preloaded library: it watches TCP sockets, and moves their streams onto shared memory.
//!
//! A guest in someone else's process: no std, no thread, no heap of the program's, no lock that another thread can hold
//! over fork, no low descriptor, no output unless asked. The [`hooks`] are thin; each calls one operation of [`stream`],
//! [`readiness`] or [`descriptor`]. See docs/architecture.md for the map.
#![cfg_attr(not(test), no_std)]
#![allow(clippy::missing_safety_doc)]

mod bounce;
mod broker;
mod carrier;
mod config;
mod counter;
mod descriptor;
mod endpoint;
mod family;
mod foreign;
mod held;
pub mod hooks;
mod hub;
mod kernel;
mod kin;
mod log;
mod path;
mod pieces;
mod prefix;
mod process;
mod readiness;
mod real;
mod recall;
mod receiver;
mod roles;
mod sender;
mod signals;
mod slab;
mod stream;
mod tcp;
mod thread;
mod transfer;
mod wait;
mod way;

// Linked by name, so that each symbol is bound with its version: an unversioned memcpy would be glibc's oldest and slowest.
#[link(name = "c")]
unsafe extern "C" {}

/// Runs when the library is loaded, before the program and (nearly always) before it has threads.
extern "C" fn start() {
    real::init();
    thread::init();
    held::init();
    config::init();
    path::init();
    process::init();
    descriptor::init();
}

/// Runs when the program exits, after its own handlers.
extern "C" fn end() {
    process::exit();
}

#[cfg_attr(not(test), unsafe(link_section = ".fini_array"))]
#[used]
static END: extern "C" fn() = end;

#[cfg_attr(not(test), unsafe(link_section = ".init_array"))]
#[used]
static START: extern "C" fn() = start;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: abort takes nothing and does not return. Nothing here is meant to panic (a test looks at the symbols).
    unsafe { libc::abort() }
}
