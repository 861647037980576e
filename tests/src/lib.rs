//! A lab for programs: a private broker on a socket of its own, programs started plain or under the shim, free ports,
//! readiness without blind sleeps, the broker's status, and a report of everything when something does not happen in
//! time.
//!
//! Every [`Lab`] is its own world (folder, broker, ports, process groups), so tests run in parallel. What a lab started
//! ends with it.

mod broker;
mod compile;
mod lab;
mod page;
mod ports;
mod program;
mod shares;
mod status;
mod wait;

pub use broker::Broker;
pub use compile::compile;
pub use lab::{Lab, Mode};
pub use page::Page;
pub use ports::Port;
pub use program::{Ended, Program, Running, account};
pub use shares::Share;
pub use status::{Connection, Direction, Status, Totals};
pub use wait::{PATIENCE, until};
