//! What all holders of an endpoint share before it has an outbox: memory that fork does not copy.

use crate::kernel::{self, Errno};
use crate::kin::{self, Census};
use crate::prefix::Direction;
use crate::slab::{Slab, Slot};
use crate::{broker, process};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use slipstream_ring::gate::Gate;

/// See the module. All zero is a family of nobody.
#[repr(C)]
pub struct Family {
    /// Processes that (may) have a descriptor. Raised before fork, lowered by close; and for those in the list, by whoever
    /// asks once they are gone without a close.
    holders: AtomicU32,
    /// Holders by their number among their [`kin`], each of them counted above; 0: a free place. Those that find no
    /// place count until they close.
    list: [AtomicU32; LISTED],
    /// 1 once there are holders that have no number in the same books: no more are listed, and no number is believed.
    closed: AtomicU32,
    /// Threads of all holders inside a TCP read, or inside a wait for one.
    pub readers: Gate,
    /// Threads of all holders inside a TCP write.
    pub writers: Gate,
    /// Bytes that all holders have counted, by [`Direction`].
    passed: [AtomicU64; 2],
    /// 1 once the order of bytes is unknown: two calls of one direction overlapped, or a holder does not count; by
    /// [`Direction`].
    mixed: [AtomicU32; 2],
    /// 1 once a holder has shut down the receiving side: TCP is looked at each time.
    pub shut: AtomicU32,
    /// SO_RCVLOWAT, at least 1: what a receive waits for.
    pub low_water: AtomicU32,
    /// An error of TCP's that was taken while the ring still had bytes; told after them, to whoever asks next.
    held_error: AtomicI32,
    /// Of the process that founded it: the only one that founds another one here.
    home: AtomicPtr<Home>,
    next: AtomicPtr<Family>,
}

/// What a process' families come back to when the last holder is another one, its child: in memory that they share.
#[repr(C)]
struct Home {
    returned: AtomicPtr<Family>,
}

/// Of this process; null before its first family, or without memory: each last holder has the family for itself then.
static HOME: AtomicPtr<Home> = AtomicPtr::new(core::ptr::null_mut());

fn home() -> *mut Home {
    // Relaxed, here and wherever it is read: the page is the kernel's zeroes, nothing of ours is to be seen there first.
    let known = HOME.load(Ordering::Relaxed);
    if !known.is_null() {
        return known;
    }
    let Ok(page) = kernel::map_anonymous(4096, true) else { return known };
    match HOME.compare_exchange(known, page.cast(), Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => page.cast(),
        Err(other) => {
            kernel::unmap(page, 4096);
            other
        }
    }
}

/// How many holders are known by their number: a parent and some children.
const LISTED: usize = 12;

impl Slot for Family {
    fn next_free(&self) -> &AtomicPtr<Self> {
        &self.next
    }
}

static FAMILIES: Slab<Family> = Slab::new(true);
// SAFETY: made of atomics and gates (which are atomics), for all of which zero is a valid value.
static NOBODY: Family = unsafe { core::mem::zeroed() };

impl Family {
    /// A family with one holder.
    pub fn found() -> Option<&'static Self> {
        // Before anything of a parent's is touched.
        process::check();
        let home = home();
        // SAFETY: null, or a page that is never unmapped; zero is a valid value of it.
        if let Some(home) = unsafe { home.as_ref() } {
            home.sweep();
        }
        let family = FAMILIES.take()?;
        // A handler may have forked, and this be the child.
        family.home.store(HOME.load(Ordering::Relaxed), Ordering::Relaxed);
        family.readers.reset();
        family.writers.reset();
        family.passed.iter().for_each(|passed| passed.store(0, Ordering::Relaxed));
        family.mixed.iter().for_each(|mixed| mixed.store(0, Ordering::Relaxed));
        family.shut.store(0, Ordering::Relaxed);
        family.low_water.store(1, Ordering::Relaxed);
        family.held_error.store(0, Ordering::Relaxed);
        family.list.iter().for_each(|place| place.store(0, Ordering::Relaxed));
        family.closed.store(0, Ordering::Relaxed);
        family.holders.store(1, Ordering::Relaxed);
        Some(family)
    }

    /// The gate of a direction.
    #[inline]
    pub fn gate(&self, direction: Direction) -> &Gate {
        match direction {
            Direction::Tx => &self.writers,
            Direction::Rx => &self.readers,
        }
    }

    /// Goes through a direction's gate, unless it is shut.
    #[inline]
    pub fn enter(&self, direction: Direction) -> bool {
        let gate = self.gate(direction);
        let entered = gate.enter();
        if entered && gate.is_crowded() {
            self.mixed[direction as usize].store(1, Ordering::Relaxed);
        }
        entered
    }

    /// Counts bytes, still inside the gate. How many had passed before; `None`: their order is unknown.
    pub fn pass(&self, direction: Direction, bytes: u64) -> Option<u64> {
        // Relaxed: whoever comes next through the gate alone comes after this one's leaving it.
        let before = self.passed[direction as usize].fetch_add(bytes, Ordering::Relaxed);
        (self.mixed[direction as usize].load(Ordering::Relaxed) == 0).then_some(before)
    }

    /// A holder counts no more: nobody knows the order of the bytes from here on.
    pub fn lose_count(&self) {
        self.mixed.iter().for_each(|mixed| mixed.store(1, Ordering::Relaxed));
    }

    /// Keeps an error for whoever asks next.
    pub fn hold_error(&self, errno: Errno) {
        if core::ptr::eq(self, &raw const NOBODY) {
            // It would be another connection's, too.
            return;
        }
        self.held_error.store(errno.0, Ordering::Relaxed);
    }

    /// Whether there is one to be told.
    pub fn has_error(&self) -> bool {
        self.held_error.load(Ordering::Relaxed) != 0
    }

    /// Takes the error that is to be told.
    pub fn take_error(&self) -> Option<Errno> {
        match self.held_error.load(Ordering::Relaxed) {
            0 => None,
            _ => Some(Errno(self.held_error.swap(0, Ordering::Relaxed))).filter(|errno| errno.0 != 0),
        }
    }

    /// One holder more: a child is about to be forked.
    pub fn raise(&self) {
        self.holders.fetch_add(1, Ordering::SeqCst);
    }

    /// That holder does not come.
    pub fn lower(&self) {
        self.holders.fetch_sub(1, Ordering::SeqCst);
    }

    /// The caller, which is listed under `number`, is no holder from here on. Whether it was the last, who is to give the family
    /// [back](Self::give_back): of several that go at once, one is; none that has gone without a word.
    pub fn leave(&self, number: Option<u32>, census: &mut Census) -> bool {
        if self.holders.load(Ordering::SeqCst) != 1 && self.closed.load(Ordering::SeqCst) == 0 {
            // Not only until one is found that lives: it may be leaving, too.
            for other in self.listed().filter(|other| Some(*other) != number) {
                self.has_gone(other, census);
            }
        }
        // Somebody may have taken it for gone, and counted so.
        let counts = number.is_none_or(|number| self.strike(number));
        counts && self.holders.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Of all endpoints of a process that count no more: what is done here is nobody's.
    pub fn nobody() -> &'static Self {
        NOBODY.lose_count();
        NOBODY.low_water.store(1, Ordering::Relaxed);
        &NOBODY
    }

    /// Nobody holds it.
    pub fn give_back(&'static self) {
        let home = self.home.load(Ordering::Relaxed);
        // SAFETY: as in `found`; who has the family has its founder's page.
        match unsafe { home.as_ref() } {
            Some(other) if home != HOME.load(Ordering::Relaxed) => other.take_in(self),
            _ => FAMILIES.give(self),
        }
    }

    /// Lists a holder that is counted already. `false`: there is no place for it.
    pub fn list(&self, number: u32, census: &mut Census) -> bool {
        if self.closed.load(Ordering::SeqCst) != 0 {
            return false;
        }
        let known = |place: &AtomicU32| place.load(Ordering::SeqCst) == number;
        let enter = |place: &AtomicU32| place.compare_exchange(0, number, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        self.list.iter().any(known)
            || self.list.iter().any(enter)
            || (self.listed().any(|other| self.has_gone(other, census)) && self.list.iter().any(enter))
    }

    /// A holder goes on without being listed.
    pub fn unlist(&self, number: u32) {
        if !self.strike(number) {
            self.raise();
        }
    }

    /// There is a holder that cannot be listed by those who come.
    pub fn close_list(&self) {
        self.closed.store(1, Ordering::SeqCst);
    }

    /// Whether the caller, which is a holder, is the only one. Asks the kernel after those that have not said goodbye.
    pub fn has_one_holder(&self, census: &mut Census) -> bool {
        let is_one = || self.holders.load(Ordering::SeqCst) == 1;
        if is_one() || self.closed.load(Ordering::SeqCst) != 0 {
            return is_one();
        }
        let me = kin::known_number();
        // One that lives is answer enough.
        self.listed().all(|holder| holder == me || self.has_gone(holder, census)) && is_one()
    }

    fn listed(&self) -> impl Iterator<Item = u32> {
        self.list.iter().map(|place| place.load(Ordering::SeqCst)).filter(|number| *number != 0)
    }

    /// Whether a holder has gone; it is not counted any more then.
    fn has_gone(&self, number: u32, census: &mut Census) -> bool {
        let gone = !census.lives(number);
        if gone && self.strike(number) {
            self.holders.fetch_sub(1, Ordering::SeqCst);
        }
        gone
    }

    /// Takes a number off the list. `false`: it is not there.
    pub fn strike(&self, number: u32) -> bool {
        self.list.iter().any(|place| place.compare_exchange(number, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok())
    }
}

impl Home {
    /// A family whose last holder is another process. A stack, which only ever is taken whole.
    fn take_in(&self, family: &'static Family) {
        let mut first = self.returned.load(Ordering::Relaxed);
        loop {
            family.next.store(first, Ordering::Relaxed);
            // Release: pairs with the Acquire in `sweep`, for the link; what the last holder did to it is done.
            let new = core::ptr::from_ref(family).cast_mut();
            match self.returned.compare_exchange(first, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => first = other,
            }
        }
    }

    /// What has come back can be founded anew.
    fn sweep(&self) {
        if self.returned.load(Ordering::Relaxed).is_null() || broker::is_silent() {
            return;
        }
        // A handler that forks would leave them to both; one that founds another would lose them.
        let mask = kernel::block_foreign_signals();
        // Acquire: pairs with the Release in `take_in`.
        let mut next = self.returned.swap(core::ptr::null_mut(), Ordering::Acquire);
        // SAFETY: families live in memory that is never unmapped.
        while let Some(family) = unsafe { next.as_ref() } {
            next = family.next.load(Ordering::Relaxed);
            FAMILIES.give(family);
        }
        kernel::restore_signals(mask);
    }
}

/// In a forked child.
pub fn after_fork() {
    FAMILIES.after_fork();
    HOME.store(core::ptr::null_mut(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_whose_last_holder_is_a_child_comes_back_to_its_founder() {
        let _alone = crate::broker::tests::ALONE.lock();
        let family = Family::found().unwrap();
        family.raise();
        assert!(!family.leave(None, &mut Census::new()));
        // SAFETY: the child makes only calls that any thread's child may.
        let child = unsafe { libc::fork() };
        if child == 0 {
            after_fork();
            let last = family.leave(None, &mut Census::new());
            if last {
                family.give_back();
            }
            let kept = Family::found().is_some_and(|other| !core::ptr::eq(other, family));
            // SAFETY: as above.
            unsafe { libc::_exit(i32::from(!(last && kept))) };
        }
        let mut status = 0;
        // SAFETY: a child of ours.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert!(core::ptr::eq(Family::found().unwrap(), family));
    }
}
