//! The program takes a number of its own choice, at which a descriptor of the shim's stands: that one makes way.

use crate::readiness::set;
use crate::{broker, descriptor, hub, kin};
use core::ffi::c_int;

/// To be called before something else is put at `fd`. Whoever knows the shim's descriptor by this number learns the new
/// one; but for another thread's hub, which that thread finds lost at its next wait.
pub fn make(fd: c_int) {
    if !descriptor::is_own(fd) {
        return;
    }
    let Ok(moved) = descriptor::highest(fd) else { return };
    let mut known = broker::relocate(fd, moved) || hub::relocate(fd, moved) || kin::relocate(fd, moved);
    descriptor::for_each(|number, entry| match entry {
        descriptor::Entry::Endpoint(endpoint) => known |= endpoint.relocate(fd, moved),
        descriptor::Entry::Set(set) => known |= set::relocate(set, number, fd, moved),
    });
    descriptor::disown(fd);
    if !known {
        descriptor::close_own(moved);
    }
}
