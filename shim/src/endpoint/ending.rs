//! An endpoint's end: close, exit, shutdown, and what the last call leaves behind.

use super::{ENDPOINTS, Endpoint, Phase};
use crate::family::Family;
use crate::kin::Census;
use crate::readiness::{epoll, levels, member};
use crate::{broker, descriptor, kernel, recall, sender, tcp};
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use slipstream_protocol::Reason;
use slipstream_ring::verify::Verdict;
use slipstream_ring::{Leftover, Link};

impl Endpoint {
    /// The table is about to forget a descriptor, which stays open until [`Endpoint::close`] has been called: calls that are
    /// inside are to find it.
    pub fn leaves_table(&self, fd: c_int) {
        // Relaxed: the change of the table's word (SeqCst) publishes it to whoever does not find the descriptor there any
        // more (`descriptor::is`, Acquire).
        self.kept.store(fd, Ordering::Relaxed);
    }

    /// It is about to be closed, or was somebody else's to close.
    pub fn has_left_table(&self, fd: c_int) {
        // Relaxed: who still has it from here finds it closed, as who had it from the table.
        let _ = self.kept.compare_exchange(fd, -1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// One descriptor less. Before the real close; the returned [`Closing`] is to be finished after it.
    pub fn close(&'static self, fd: c_int) -> Closing {
        let closing = Closing { endpoint: self, last_holder: None };
        if self.refs.fetch_sub(1, Ordering::SeqCst) != 1 {
            self.has_left_table(fd);
            // The registrations under this number live on, as the socket does.
            member::number_gone(self, fd);
            return closing;
        }
        // While the number is nobody else's.
        epoll::forget(self);
        self.keep_after_all_by(fd);
        let last_holder = if !self.is_pinned() {
            // The table does not know it any more.
            self.kept.store(fd, Ordering::SeqCst);
            self.leave_family(&mut Census::new(), |link| self.before_end(link, fd))
        } else {
            let alone = self.is_alone();
            if let Some(link) = self.link().filter(|_| !broker::is_silent()) {
                match descriptor::keep(fd) {
                    // A call is inside: over TCP it would keep the socket open until it returns, so do we.
                    Ok(kept) => {
                        self.kept.store(kept, Ordering::SeqCst);
                        // Who sleeps on the number that goes is to sleep on this one.
                        self.wake_own(link);
                    }
                    // Without a descriptor for that it ends now.
                    Err(_) if alone => self.before_end(link, fd),
                    Err(_) => {}
                }
            }
            alone
        };
        self.has_left_table(fd);
        Closing { last_holder: Some(last_holder), ..closing }
    }

    /// The process exits with this descriptor open: as much of a close as the kernel's own needs.
    pub fn exit(&'static self, census: &mut Census) {
        self.keep_after_all_by(self.descriptor(-1));
        self.leave_family(census, |link| {
            // Another thread may be closing the number.
            self.with_descriptor(|fd| self.before_end(link, fd));
            // The kernel tells the peer all that there is to tell: this is no death.
            let wake = link.mark_end();
            self.deliver(link, wake);
        });
    }

    /// This process holds it no more. If it was the last, it does `last` for a connection that has moved. Once, whoever calls;
    /// and no call may be inside, which counts there, and stands behind its gates (unless the process exits).
    fn leave_family(&self, census: &mut Census, last: impl FnOnce(&Link)) -> bool {
        if self.left.swap(1, Ordering::SeqCst) != 0 {
            return false;
        }
        // No handler forks in between: there would be two that do it.
        let mask = self.link().filter(|_| !broker::is_silent()).map(|_| kernel::block_foreign_signals());
        let number = self.listed.swap(0, Ordering::SeqCst);
        let family = self.family();
        let was_last = family.leave((number != 0).then_some(number), census);
        if was_last {
            self.link().inspect(|link| last(link));
            // For other threads' calls, destructors, children of one that exits: the family may soon be another connection's.
            self.set_family(Family::nobody());
            family.give_back();
        }
        mask.inspect(|mask| kernel::restore_signals(*mask));
        was_last
    }

    /// exec is about to put an image into this process' place that has the descriptor, but is no holder that says goodbye, or
    /// that the kernel could be asked about: it counts for good.
    pub fn bequeath(&self) {
        if self.bequeathed.swap(1, Ordering::Relaxed) == 0 {
            self.family().raise();
        }
    }

    /// There was no exec. Its end, which the peer was told of, is yet to come, and for the kernel to tell. (One by a hook that
    /// does not come back, execl's, is noticed by the end.)
    pub fn keep_after_all(&'static self) {
        self.keep_after_all_by(self.descriptor(-1));
        if self.link().is_some_and(Link::has_ended) {
            recall::detach(self, Reason::Exec);
        }
    }

    fn keep_after_all_by(&self, fd: c_int) {
        if self.bequeathed.swap(0, Ordering::Relaxed) != 0 {
            self.family().lower();
        }
        if self.lingers.swap(0, Ordering::Relaxed) != 0 {
            let before = self.linger.load(Ordering::Relaxed);
            let _ = kernel::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, &before);
        }
    }

    pub fn is_bequeathed(&self) -> bool {
        self.bequeathed.load(Ordering::Relaxed) != 0
    }

    /// exec is about to close this process' last descriptor, as the kernel's own close does; if it succeeds.
    pub fn before_closing_exec(&'static self, census: &mut Census) {
        let Some(link) = self.link() else { return };
        if self.is_known_to_broker() {
            broker::withdraw(self);
            // If it does not succeed, the broker is to hear of it again.
            self.inherited.store(1, Ordering::Relaxed);
        }
        if !self.family().has_one_holder(census) {
            return;
        }
        if !link.has_recalled() && self.has_unread(link) {
            let fd = self.descriptor(-1);
            let mut before = 0u64;
            if kernel::getsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, &mut before).is_ok() {
                self.linger.store(before, Ordering::Relaxed);
                self.lingers.store(1, Ordering::Relaxed);
                reset_by_close(fd);
            }
        }
        let wake = link.mark_end();
        self.deliver(link, wake);
    }

    /// Whether the broker has it in its books as this process'.
    fn is_known_to_broker(&self) -> bool {
        match self.phase() {
            Phase::Offered | Phase::Prepared | Phase::Attaching => true,
            Phase::Linked => self.inherited.load(Ordering::Relaxed) == 0,
            Phase::Settled => self.told.load(Ordering::Relaxed) != 0,
            Phase::Idle | Phase::Counting => false,
        }
    }

    /// How many bytes that this side left in the ring are still to come again, over TCP.
    pub fn owed(&'static self, link: &Link) -> u64 {
        let consumer = link.consumer();
        if consumer.leftover() != Leftover::Resent {
            return 0;
        }
        // What has come since the sender left TCP for the ring is some of them. The sender notes it a little later.
        let again = tcp::received(self.descriptor(-1)).map_or(0, |all| all.saturating_sub(consumer.switched_at()));
        u64::from(consumer.unread()).saturating_sub(again)
    }

    /// Whether bytes came that nobody has read, and of which the kernel does not know.
    fn has_unread(&'static self, link: &Link) -> bool {
        if link.has_recalled() {
            // What is on its way again may be for another image, or for who got the descriptor.
            !matches!(self.reason(), Reason::Passed | Reason::Exec) && self.owed(link) > 0
        } else {
            link.consumer().unread() > 0
        }
    }

    /// One holder more: a child is about to be forked.
    pub fn raise(&self) {
        if self.has_left() {
            return;
        }
        self.family().raise();
        self.raised.store(1, Ordering::Relaxed);
        if let Some(link) = self.link().filter(|link| link.has_ended()) {
            link.mark_shared();
        }
    }

    /// Whether it was, for the last fork as for those before: not what another thread's accept has made since.
    pub fn was_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed) != 0 && !self.has_left()
    }

    /// Whether this process counts no more: it exits. A child that another of its threads makes does not, either.
    pub fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed) != 0
    }

    /// The last descriptor is about to be closed.
    fn before_end(&'static self, link: &Link, fd: c_int) {
        if broker::is_silent() {
            // A filter may end the process for more. The peer is to look for what is unread as after a death.
            if !link.has_recalled() && link.consumer().unread() > 0 {
                link.mark_shared();
            }
            let _ = link.mark_end();
            return;
        }
        let mut unread = self.has_unread(link);
        if !unread && !link.has_recalled() {
            // What the peer asked for once more and TCP has no room for, is lost: no silent gap.
            unread = !sender::depart(self, fd, link);
            self.stop_reading(link, fd);
        }
        if unread {
            reset_by_close(fd);
        }
        // Before the FIN: one without this mark is a dead process'. Once more after it, and then whoever sleeps is woken:
        // only then there is something to see.
        let _ = link.mark_end();
    }

    /// Before the real shutdown.
    pub fn before_shutdown(&'static self, link: &Link, fd: c_int, how: c_int) {
        let was_shut = self.family().shut.load(Ordering::Relaxed) != 0;
        let both = match how {
            libc::SHUT_RDWR => true,
            libc::SHUT_WR => was_shut,
            _ => tcp::has_sent_fin(fd),
        };
        // With both sides shut TCP answers whatever comes with a reset: also the copy of what is here already.
        if both && !link.has_recalled() {
            self.stop_reading(link, fd);
        }
        if how != libc::SHUT_RD {
            if !self.is_alone() {
                link.mark_shared();
            }
            // Before the FIN, as in `before_end`; and before the departure, so that nobody enters the ring again.
            let _ = link.mark_end();
            // What follows a shutdown (EPIPE) is the kernel's to tell.
            if !sender::depart(self, fd, link) {
                kernel::reset(self.descriptor(fd));
            }
        }
    }

    /// After it.
    pub fn after_shutdown(&self, link: Option<&Link>, how: c_int) {
        if how != libc::SHUT_WR {
            self.family().shut.store(1, Ordering::Relaxed);
        }
        let Some(link) = link else { return };
        if how != libc::SHUT_RD {
            let wake = link.mark_end();
            self.deliver(link, wake);
        }
        self.hint();
        self.wake_own(link);
    }

    /// Whether a sender that has departed is just sending its copy.
    fn is_copy_due(&'static self, link: &Link, fd: c_int) -> bool {
        let consumer = link.consumer();
        let copied = consumer.copied();
        copied > 0
            && !tcp::has_received_fin(self.descriptor(fd))
            && tcp::received(self.descriptor(fd)).is_some_and(|all| all < consumer.switched_at() + copied)
    }

    /// TCP is about to receive no more.
    pub fn stop_reading(&'static self, link: &Link, fd: c_int) {
        // It would answer bytes that come from now on with a reset, and those that are there, unread, too: those that the
        // ring has given, and that a sender that departs leaves there as well.
        link.mark_closed();
        for _ in 0..recall::LAST_WORDS {
            if levels::has_void(self, link, fd) {
                kernel::poll_for(fd, libc::POLLIN, 1);
            } else if self.is_copy_due(link, fd) {
                kernel::poll_for(-1, 0, 1);
            } else {
                break;
            }
        }
    }

    /// Takes apart what the last call has left.
    #[cold]
    pub(super) fn bury(&'static self) {
        let kept = self.kept.load(Ordering::SeqCst);
        let is_kept = descriptor::is_own(kept);
        let ending = self.leave_family(&mut Census::new(), |link| {
            if is_kept {
                // Only now does the connection end.
                self.before_end(link, kept);
            }
        });
        if is_kept {
            self.kept.store(-1, Ordering::SeqCst);
            descriptor::close_copy(kept);
            if let (true, Some(link)) = (ending, self.link()) {
                let wake = link.mark_end();
                self.deliver(link, wake);
            }
        }
        self.phase.store(Phase::Settled as u8, Ordering::SeqCst);
        self.put_back();
        self.drop_prefixes();
        ENDPOINTS.give(self);
    }

    /// Lets go of what the broker handed out. Nobody may be using it.
    pub fn put_back(&self) {
        self.own_map.release();
        self.peer_map.release();
        for fd in [&self.own_bell, &self.peer_bell, &self.socket] {
            let fd = fd.swap(-1, Ordering::Relaxed);
            if fd >= 0 {
                descriptor::close_own(fd);
            }
        }
    }
}

/// TCP answers a close with bytes unread with a reset.
fn reset_by_close(fd: c_int) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let _ = kernel::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

/// A close under way.
#[must_use]
pub struct Closing {
    endpoint: &'static Endpoint,
    /// Whether this process was its last holder. `None`: this was not its last descriptor.
    last_holder: Option<bool>,
}

impl Closing {
    /// After the real close.
    pub fn finish(self) {
        let endpoint = self.endpoint;
        let Some(last_holder) = self.last_holder else { return };
        // While a call is inside, the connection lives on; `bury` ends it.
        if let Some(link) = endpoint.link()
            && last_holder
            && endpoint.kept.load(Ordering::SeqCst) < 0
        {
            let wake = link.mark_end();
            endpoint.deliver(link, wake);
        }
        // A pair whose other side is not there yet would be taken apart, from under the holders that are left.
        let awaited = |link: &Link| link.verdict() == Verdict::Wait;
        if endpoint.is_known_to_broker() && (last_holder || !endpoint.link().is_some_and(awaited)) {
            broker::withdraw(endpoint);
        }
        // The descriptors' own pin, last.
        endpoint.unpin();
    }
}
