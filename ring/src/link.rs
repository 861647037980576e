//! One endpoint's view of its pair: its own outbox, and its peer's.

use crate::carrier::Ready;
use crate::data::Data;
use crate::layout::{MARK_END, MARK_SHARED, Outbox};
use crate::role::RoleLock;
use crate::sync::{AtomicU32, Ordering, at, ticks, total_order};
use crate::wait::{self, Armed, Sleep, Wake, Waker};
use crate::{Consumer, Producer};

#[cfg(not(loom))]
type Shared = core::ptr::NonNull<Outbox>;
#[cfg(loom)]
type Shared = std::rc::Rc<Outbox>;

/// Both outboxes as one side sees them.
#[derive(Clone)]
pub struct Link {
    own: Shared,
    peer: Shared,
    pub(crate) own_data: Data,
    pub(crate) peer_data: Data,
}

// SAFETY: everything reachable is an atomic or is guarded by the role locks and the cursors (see `producer`, `consumer`).
#[cfg(not(loom))]
unsafe impl Send for Link {}
// SAFETY: as above.
#[cfg(not(loom))]
unsafe impl Sync for Link {}

impl Link {
    /// The link of the endpoint that owns `own`.
    ///
    /// # Safety
    /// Both are mapped, `own` writable, both of `size(capacity)` bytes and checked by [`Outbox::check`]; both stay
    /// mapped for as long as the link is used.
    #[cfg(not(loom))]
    pub unsafe fn new(own: Shared, peer: Shared, capacity: u32) -> Self {
        // SAFETY: the ring follows the header in both mappings, by contract.
        unsafe {
            let ring = |outbox: Shared| Data::new(outbox.as_ptr().cast::<u8>().add(crate::layout::HEADER), capacity);
            Self { own, peer, own_data: ring(own), peer_data: ring(peer) }
        }
    }

    /// The link of the endpoint that owns `own`, in a model.
    #[cfg(loom)]
    pub fn new(own: (Shared, Data), peer: (Shared, Data)) -> Self {
        Self { own: own.0, peer: peer.0, own_data: own.1, peer_data: peer.1 }
    }

    /// The own outbox.
    #[inline]
    pub fn own(&self) -> &Outbox {
        #[cfg(not(loom))]
        // SAFETY: mapped for as long as the link is used, by the contract of `new`.
        return unsafe { self.own.as_ref() };
        #[cfg(loom)]
        &self.own
    }

    /// The peer's outbox: every word read from it is the peer's to forge.
    #[inline]
    pub fn peer(&self) -> &Outbox {
        #[cfg(not(loom))]
        // SAFETY: as in `own`.
        return unsafe { self.peer.as_ref() };
        #[cfg(loom)]
        &self.peer
    }

    /// Bytes of one ring.
    pub fn capacity(&self) -> u32 {
        self.own_data.capacity()
    }

    /// The sending role. Only its cursors' readers are safe to call without [`Link::tx_lock`].
    #[inline]
    pub fn producer(&self) -> Producer<'_> {
        Producer(self)
    }

    /// The receiving role. Only its looks are safe to call without [`Link::rx_lock`].
    #[inline]
    pub fn consumer(&self) -> Consumer<'_> {
        Consumer(self)
    }

    /// Who may send.
    #[inline]
    pub fn tx_lock(&self) -> &RoleLock {
        &self.own().tx.lock
    }

    /// Who may receive.
    #[inline]
    pub fn rx_lock(&self) -> &RoleLock {
        &self.own().rx.lock
    }

    /// Carries a wake out.
    #[inline]
    pub fn deliver(&self, wake: Wake, waker: &impl Waker) {
        if !wake.is_none() {
            let own = self.own();
            let wakes = if wake.is_for_writers() { &own.rx.wakes } else { &own.tx.wakes };
            wakes.fetch_add(1, Ordering::Relaxed);
            wake.deliver(self.own(), waker);
        }
    }

    /// Announces a sleep for `kind`; look once more after it.
    pub fn arm(&self, kind: Sleep) -> Armed {
        let own = self.own();
        let sleeps = if kind == Sleep::Space { &own.tx.sleeps } else { &own.rx.sleeps };
        sleeps.fetch_add(1, Ordering::Relaxed);
        wait::arm(own, self.peer(), kind)
    }

    /// Takes the announcement back, after a sleep that something else has ended.
    pub fn disarm(&self, kind: Sleep, armed: Armed) {
        wait::disarm(self.own(), kind, armed);
    }

    /// A timer has ended a sleep for `kind`, and what it waited for is there: its wake is late, or lost.
    pub fn note_late(&self, kind: Sleep) {
        let own = self.own();
        let late = if kind == Sleep::Space { &own.tx.late } else { &own.rx.late };
        // Relaxed: a count, for the status.
        late.fetch_add(1, Ordering::Relaxed);
    }

    /// The peer's futex word for `kind` ([`Sleep::Poll`] has none and gives the data word). Read its value, [arm](Link::arm),
    /// look, then wait for it to change.
    pub fn futex(&self, kind: Sleep) -> &AtomicU32 {
        match kind {
            Sleep::Space => &self.peer().wakes.space,
            Sleep::Data | Sleep::Poll => &self.peer().wakes.data,
        }
    }

    /// The own futex word for local events (another thread's shutdown, a crossing). Waited on beside [`Link::futex`].
    pub fn local(&self) -> &AtomicU32 {
        &self.own().wakes.local
    }

    /// Announces to the peer that it should look at TCP: this side has ended, wholly or in part. To be called before the
    /// kernel's own shutdown or close, so that a FIN without the mark is a dead process', and where that is possible after
    /// it, too, for whoever must look then.
    pub fn mark_end(&self) -> Wake {
        self.note_news();
        self.own().state.marks.fetch_or(MARK_END, at("marks/end", Ordering::SeqCst));
        total_order("sleep/end");
        Wake::after_publishing(self.own(), self.peer(), &[Sleep::Data, Sleep::Space, Sleep::Poll])
    }

    /// Whether this side has announced its end.
    pub fn has_ended(&self) -> bool {
        // Relaxed: own word; a process forked since sees what was before.
        self.own().state.marks.load(Ordering::Relaxed) & MARK_END != 0
    }

    /// Several processes hold this endpoint, which has ended, or is about to.
    pub fn mark_shared(&self) {
        // Relaxed: a bit of the word that says so; who sees an end that is marked later sees this, too.
        self.own().state.marks.fetch_or(MARK_SHARED, Ordering::Relaxed);
    }

    /// Notes that something is about to be published.
    #[inline(always)]
    pub(crate) fn note_news(&self) {
        // Relaxed, here and in `peer_news`: a hint. Whoever sees what is published next sees this, too.
        self.own().producer.news.store(ticks(), Ordering::Relaxed);
    }

    /// When the peer last published something, in ticks of the CPU's counter: to compare with other links' only.
    #[inline]
    pub fn peer_news(&self) -> u64 {
        self.peer().producer.news.load(Ordering::Relaxed)
    }

    /// The peer's marks: a reason to look at TCP, never believed.
    #[inline]
    pub fn peer_marks(&self) -> u32 {
        // Acquire: what the peer published before it ended is visible to whoever sees the mark.
        self.peer().state.marks.load(at("marks/look", Ordering::Acquire))
    }

    /// Tells the peer on which CPU this side works.
    #[inline]
    pub fn set_cpu(&self, cpu: u32) {
        // Relaxed, here and in `peer_cpu`: a hint. Written only when it changes, so that the line stays shared.
        let word = &self.own().state.cpu;
        if word.load(Ordering::Relaxed) != cpu.wrapping_add(1) {
            word.store(cpu.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// The CPU that the peer last worked on, if it said so.
    #[inline]
    pub fn peer_cpu(&self) -> Option<u32> {
        self.peer().state.cpu.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Says whether this side's reading is ready for the ring. It only ever rises: what is said is not taken back but by
    /// [`Ready::Never`], and that is for ever.
    pub fn set_ready(&self, ready: Ready) -> Wake {
        // SYNC POINT ready: Release, so that the peer that sees it also sees what was prepared; partner in
        // `Producer::may_switch`. A maximum, because another thread may have given the ring up meanwhile.
        self.own().state.ready.fetch_max(ready as u32, at("ready/set", Ordering::SeqCst));
        total_order("ready/withdraw");
        // A peer whose writer waits for space must hear that this side gives up the ring.
        if ready == Ready::Never {
            Wake::after_publishing(self.own(), self.peer(), &[Sleep::Space])
        } else {
            Wake::default()
        }
    }

    /// What this side last said by [`Link::set_ready`].
    pub fn ready(&self) -> Ready {
        Ready::from_word(self.own().state.ready.load(Ordering::Relaxed))
    }
}
