//! epoll_wait over a set with moved members: look, spin, sleep.

use crate::held::{self, Obligation};
use crate::kernel::{self, Errno};
use crate::readiness::epoll::release;
use crate::readiness::set::Set;
use crate::{descriptor, real, signals, wait};
use core::cell::Cell;
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use slipstream_ring::carrier::Ready;

/// The kernel's descriptors are asked whenever they were not in the last so many ns, and in every eighth call.
const FAIRNESS: u64 = 5_000;
/// So many ns after it has told of something, the kernel is asked in every call.
const LATELY: u64 = 1_000_000;

/// epoll_wait and its like on a set with managed members. `timeout` in ns, `None` for ever; `mask` for the wait.
pub fn wait(
    set: &'static Set,
    epoll: c_int,
    events: &mut [libc::epoll_event],
    timeout: Option<u64>,
    mask: Option<u64>,
) -> Result<usize, Errno> {
    let Some(mut found) = set.locked(|| set.look(epoll, events)) else {
        return in_handler(set, epoll, events, timeout, mask);
    };
    // What is not let go is not told of, whatever else is ready.
    if set.release_recalled() && found == 0 {
        found = set.locked(|| set.look(epoll, events)).unwrap_or(0);
    }
    if found > 0 || (timeout == Some(0) && mask.is_none()) {
        set.leave_to_sleepers();
        return Ok(found);
    }
    let deadline = timeout.map(|timeout| kernel::now_ns().saturating_add(timeout));
    let former = kernel::block_signals();
    let mask = mask.unwrap_or(former);
    let result = wait_blocked(set, epoll, events, deadline, mask);
    signals::restore(former);
    result
}

/// In a signal handler of the thread that is at the set's lists: what the kernel tells. The hub's news keep; a wait that they
/// end is one that a signal has ended.
#[cold]
fn in_handler(
    set: &'static Set,
    epoll: c_int,
    events: &mut [libc::epoll_event],
    timeout: Option<u64>,
    mask: Option<u64>,
) -> Result<usize, Errno> {
    let left = timeout.map(kernel::timespec);
    let former = kernel::block_signals();
    let told = real::cancellable(|| kernel::epoll_wait(epoll, events, left.as_ref(), mask.unwrap_or(former)));
    signals::restore(former);
    let told = told?;
    let mut kept = set.strip(events, told);
    if kept == 0 && told == events.len() {
        // The hub's event took the only place.
        let told = kernel::epoll_harvest(epoll, events)?;
        kept = set.strip(events, told);
    }
    if kept == 0 && told > 0 && timeout != Some(0) { Err(Errno(libc::EINTR)) } else { Ok(kept) }
}

/// With every signal blocked; `mask` is the one to sleep with.
fn wait_blocked(
    set: &'static Set,
    epoll: c_int,
    events: &mut [libc::epoll_event],
    deadline: Option<u64>,
    mask: u64,
) -> Result<usize, Errno> {
    loop {
        set.used();
        set.release_recalled();
        if spin(set, epoll, deadline, mask) {
            let found = set.locked(|| set.look(epoll, events)).unwrap_or(0);
            if found > 0 {
                set.leave_to_sleepers();
                return Ok(found);
            }
        }
        set.enter();
        let ready = set.locked(|| {
            set.arm_all();
            set.collect(events, set.begin())
        });
        let result = match ready {
            Some(count) if count > 0 => {
                set.leave();
                set.locked(|| set.disarm_all());
                Ok(count)
            }
            _ if set.recalled.load(Ordering::Relaxed) != 0 => {
                // Seen in this very look: the kernel is to know of it before the sleep.
                set.leave();
                Ok(0)
            }
            _ => {
                signals::leave_to_leader(mask);
                let left = deadline.map(|deadline| kernel::timespec(deadline.saturating_sub(kernel::now_ns())));
                let taken_over = set.taken_over();
                let asleep = wait::Asleep::now();
                let slept = held::during(Obligation::Sleeper(set), || {
                    real::cancellable(|| match set.is_closed() {
                        false => kernel::epoll_wait(epoll, events, left.as_ref(), mask),
                        true => set.wait_for_hub(left.as_ref(), mask),
                    })
                });
                asleep.until_now();
                set.leave();
                slept.map(|count| {
                    set.locked(|| {
                        set.disarm_all();
                        if set.is_closed() {
                            set.harvest();
                        }
                        let kept = set.without_token(events, count);
                        let kept = set.without_second_shots(events, kept, taken_over);
                        if kept > 0 && set.taken_over() != taken_over {
                            // What moved meanwhile may be among what the kernel has told: nothing is told twice at once.
                            return kept;
                        }
                        let (_, rest) = events.split_at_mut(kept);
                        kept + set.collect(rest, set.begin())
                    })
                    .unwrap_or(0)
                })
            }
        };
        match result {
            Ok(0) if deadline.is_none_or(|deadline| kernel::now_ns() < deadline) => {
                if set.is_inherited() {
                    // What is left to the parent is still there.
                    kernel::poll_for(-1, 0, 1);
                }
            }
            result => {
                set.leave_to_sleepers();
                set.take_apart();
                return result;
            }
        }
    }
}

impl Set {
    /// Gives back the registrations of members that another holder has recalled, or that have nothing left in the ring;
    /// whether there were any. Not under the lock: it takes other sets'.
    fn release_recalled(&self) -> bool {
        let any = self.recalled.load(Ordering::Relaxed) != 0 && self.recalled.swap(0, Ordering::Relaxed) != 0;
        if any {
            descriptor::for_each_pinned(|endpoint| {
                let Some(link) = endpoint.link() else { return };
                if link.ready() != Ready::Ready {
                    endpoint.is_ready(link);
                }
                if link.has_recalled() {
                    release(endpoint);
                }
            });
        }
        any
    }

    /// The wait in a closed set, whose number may be another's: its members are in the hub all the same.
    #[cold]
    fn wait_for_hub(&self, timeout: Option<&libc::timespec>, mask: u64) -> Result<usize, Errno> {
        let fd = self.hub.load(Ordering::SeqCst);
        kernel::ppoll(&mut [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }], timeout, &raw const mask).map(|_| 0)
    }

    /// One look at everything. Under the lock.
    fn look(&self, epoll: c_int, events: &mut [libc::epoll_event]) -> usize {
        let now = kernel::now_ns();
        let look = self.begin();
        // A busy ring must not starve the kernel's descriptors, nor they the rings: when both are busy they take turns at
        // the first places. While the kernel has had something lately, it is asked each time, so that what happens there is
        // not told behind what happened later in a ring.
        let busy = now.wrapping_sub(self.kernel_told_ns.load(Ordering::Relaxed)) < LATELY;
        let due = busy || look.is_multiple_of(8) || now.wrapping_sub(self.asked_ns.load(Ordering::Relaxed)) >= FAIRNESS;
        let kernel_first = due && look.is_multiple_of(2);
        let mut count = if kernel_first { self.ask_kernel(epoll, events, now) } else { 0 };
        let (_, rest) = events.split_at_mut(count);
        count += self.collect(rest, look);
        if count == 0 || (due && !kernel_first) {
            let (_, rest) = events.split_at_mut(count);
            count += self.ask_kernel(epoll, rest, now);
            // The hub may have told of something.
            let (_, rest) = events.split_at_mut(count);
            count += self.collect(rest, look);
        }
        count
    }

    /// A thread that leaves with events while others sleep arms what it leaves behind, so that they wake for it.
    pub(super) fn leave_to_sleepers(&self) {
        if self.sleepers.load(Ordering::SeqCst) != 0 || self.is_foreign() {
            self.locked(|| {
                let mut left = None;
                self.each_hot(|member| {
                    let keep = !member.arm();
                    if keep {
                        left = Some(member);
                    }
                    keep
                });
                if let Some(member) = left {
                    kernel::ring(member.endpoint().own_bell());
                }
            });
        }
    }
}

/// Spins over the hot members, asking the kernel now and then; whether there may be something to report.
fn spin(set: &'static Set, epoll: c_int, deadline: Option<u64>, mask: u64) -> bool {
    // Where the peer of any of them runs tells whether spinning can pay.
    let mut warmest: Option<Option<u32>> = None;
    set.locked(|| {
        set.each_hot(|member| {
            warmest = warmest.or(member.endpoint().link().map(|link| link.peer_cpu()));
            true
        });
    });
    let Some(peer_cpu) = warmest else { return false };
    let looks = Cell::new(0u32);
    wait::spin_masked(peer_cpu, deadline, mask, || {
        looks.set(looks.get().wrapping_add(1));
        set.locked(|| set.glance()).unwrap_or(false)
            || (looks.get().is_multiple_of(64) && !set.is_closed() && kernel::poll_now(epoll, libc::POLLIN) != 0)
    })
}
