//! Why an endpoint stays on TCP, or goes back there, and who is told.

use super::{Endpoint, Phase};
use crate::log::{self, Level};
use crate::{broker, config};
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use slipstream_protocol::Reason;
use slipstream_ring::Link;
use slipstream_ring::carrier::Ready;

impl Endpoint {
    /// That it is to stay out of the ring is known before it has left it: nobody enters it meanwhile.
    pub fn stay_out(&self, reason: Reason) {
        if self.phase() == Phase::Linked && !self.is_retired() {
            self.reason.store(reason as u16, Ordering::Relaxed);
        }
    }

    /// The link, for a call that passes bytes uncounted: where there is none the endpoint stays on TCP.
    pub fn link_or_settle(&self) -> Option<&Link> {
        if !matches!(self.phase(), Phase::Idle | Phase::Linked) {
            self.settle(Reason::Unhashable);
        }
        // Or another thread has just linked it.
        self.link()
    }

    /// Stays on TCP for good. Who offered it takes that back; of the others the broker hears once they have proved worth
    /// moving, see [`Endpoint::regret`].
    pub fn settle(&self, reason: Reason) {
        if self.give_up(reason) {
            broker::decline(self, reason);
        }
    }

    /// As [`Endpoint::settle`], without a word to the broker. Whether it has an offer, and so is owed one.
    pub fn give_up(&self, reason: Reason) -> bool {
        loop {
            let phase = self.phase();
            if matches!(phase, Phase::Linked | Phase::Settled) {
                return false;
            }
            let offered = matches!(phase, Phase::Offered | Phase::Prepared | Phase::Attaching);
            if offered {
                // Before another thread's call finds it settled, and tells the broker what it knows already.
                self.told.store(1, Ordering::Relaxed);
            }
            if !self.advance(phase, Phase::Settled) {
                // Another thread has moved it on.
                continue;
            }
            self.reason.store(reason as u16, Ordering::Relaxed);
            log::say(Level::Info, |line| {
                line.text("endpoint ").number(self.id()).text(" stays on TCP: ").text(reason.name())
            });
            // What this process sends and receives from here on is not counted.
            self.family().lose_count();
            self.drop_prefixes();
            if phase == Phase::Prepared {
                self.put_back();
            }
            return offered;
        }
    }

    /// A call on an endpoint that stays on TCP: after as many as would have made an offer the status is to say why.
    #[inline]
    pub fn regret(&'static self, fd: c_int) {
        if self.told.load(Ordering::Relaxed) == 0 && self.phase() == Phase::Settled {
            self.regret_slowly(fd);
        }
    }

    #[cold]
    fn regret_slowly(&'static self, fd: c_int) {
        let ops = self.ops.fetch_add(1, Ordering::Relaxed) + 1;
        if ops >= config::min_ops() && broker::is_reachable() && self.told.swap(1, Ordering::Relaxed) == 0 {
            broker::tell(self, fd, self.reason());
        }
    }

    /// Why it stays on TCP, if it does.
    pub fn reason(&self) -> Reason {
        Reason::from_wire(self.reason.load(Ordering::Relaxed)).unwrap_or(Reason::None)
    }

    /// Gives up the ring for good, whatever the phase: both directions go back to TCP, or never leave it.
    pub fn retire(&'static self, reason: Reason) {
        if reason == Reason::None {
            // Retired before, for a reason that was named then.
            return;
        }
        self.settle(reason);
        if let Some(link) = self.link()
            && link.ready() != Ready::Never
        {
            self.reason.store(reason as u16, Ordering::Relaxed);
            let wake = link.set_ready(Ready::Never);
            self.deliver(link, wake);
            log::say(Level::Info, |line| {
                line.text("endpoint ").number(self.id()).text(" goes back to TCP: ").text(reason.name())
            });
            broker::retired(self, reason);
        }
    }

    /// Whether the ring was given up for good.
    pub fn is_retired(&self) -> bool {
        self.reason() != Reason::None
    }
}
