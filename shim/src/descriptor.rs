//! Which descriptor names what: one load and one branch for everything that is not the shim's business.

mod closing;

pub use closing::{Ending, changed, changing, close_copy, closing};

use crate::endpoint::{self, Endpoint, Phase};
use crate::kernel;
use crate::kin::{self, Census};
use crate::readiness::epoll::{self, Set};
use crate::{foreign, held, process, thread};
use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use slipstream_protocol::Reason;

/// Descriptors from here on are never watched.
const LIMIT: usize = 1 << 20;
/// The table's words lie in leaves of so many, mapped when the first of their descriptors is entered: a program that counts
/// its address space (mlockall does) is to pay for what it uses.
const LEAF: usize = 1 << 13;

/// What a descriptor names: a tagged pointer.
#[derive(Clone, Copy)]
pub enum Entry {
    Endpoint(&'static Endpoint),
    Set(&'static Set),
}

/// The tag of a [`Set`]; endpoints have none.
const SET: usize = 1;
/// Instead of a pointer: a descriptor of the shim's own.
const OWN: usize = 2;
/// The same, of one that only this process' calls keep: a forked child has no use for it.
const KEPT: usize = 4 | OWN;

/// Instead of a pointer, with the name of the thread that does it: a descriptor whose meaning is changing. Whoever uses it
/// meanwhile waits; but for that thread's own signal handlers, to whom it is not ours.
const CHANGING: usize = 4;

/// The leaves: one word per descriptor, 0 for those that are not ours. The first is null before the constructor has run.
static TABLE: [AtomicPtr<AtomicUsize>; LIMIT / LEAF] = [const { AtomicPtr::new(core::ptr::null_mut()) }; LIMIT / LEAF];
/// The highest of the program's descriptors that was ever entered.
static HIGHEST: AtomicI32 = AtomicI32::new(-1);
/// Between these two are the shim's own.
static LOWEST_OWN: AtomicI32 = AtomicI32::new(LIMIT as c_int);
static HIGHEST_OWN: AtomicI32 = AtomicI32::new(-1);

/// Called once, by the constructor.
pub fn init() {
    grow(0);
}

#[inline(always)]
fn word(fd: c_int) -> Option<&'static AtomicUsize> {
    // A negative descriptor becomes a huge index. Relaxed: what a leaf holds at first are the kernel's zeroes.
    let leaf = TABLE.get(fd as u32 as usize / LEAF)?.load(Ordering::Relaxed);
    if leaf.is_null() {
        return None;
    }
    // SAFETY: `LEAF` words are mapped from `leaf` on, for ever.
    Some(unsafe { &*leaf.add(fd as usize % LEAF) })
}

/// A descriptor's word, to be written.
fn word_of(fd: c_int) -> Option<&'static AtomicUsize> {
    word(fd).or_else(|| {
        // Not before the constructor has run.
        word(0)?;
        grow(fd as u32 as usize / LEAF);
        word(fd)
    })
}

/// Maps a leaf.
#[cold]
fn grow(at: usize) {
    const BYTES: usize = LEAF * size_of::<AtomicUsize>();
    let Some(place) = TABLE.get(at) else { return };
    if let Ok(leaf) = kernel::map_anonymous(BYTES, false)
        && place.compare_exchange(core::ptr::null_mut(), leaf.cast(), Ordering::Release, Ordering::Relaxed).is_err()
    {
        // Another thread was quicker.
        kernel::unmap(leaf, BYTES);
    }
}

fn decode(word: usize) -> Option<Entry> {
    if word == 0 || word & (OWN | CHANGING) != 0 {
        return None;
    }
    // SAFETY: `enter` put a reference to a value there whose memory keeps its type for ever.
    Some(unsafe {
        if word & SET == 0 {
            Entry::Endpoint(&*(word as *const Endpoint))
        } else {
            Entry::Set(&*((word & !SET) as *const Set))
        }
    })
}

fn encode(entry: Entry) -> usize {
    match entry {
        Entry::Endpoint(endpoint) => core::ptr::from_ref(endpoint) as usize,
        Entry::Set(set) => core::ptr::from_ref(set) as usize | SET,
    }
}

/// What a descriptor names.
#[inline(always)]
pub fn get(fd: c_int) -> Option<Entry> {
    decode(word(fd)?.load(Ordering::Acquire))
}

/// Whether a descriptor names that endpoint.
pub fn is(fd: c_int, endpoint: &'static Endpoint) -> bool {
    word(fd).is_some_and(|word| word.load(Ordering::Acquire) == encode(Entry::Endpoint(endpoint)))
}

/// The endpoint of that name, pinned, and a descriptor of it.
pub fn pin_by_id(id: u64) -> Option<(&'static Endpoint, c_int)> {
    let (_, fd) = by_id(id)?;
    let endpoint = pin(fd)?;
    if endpoint.id() == id {
        return Some((endpoint, fd));
    }
    endpoint.unpin();
    None
}

/// The endpoint that a descriptor names, pinned; the caller unpins it.
#[inline(always)]
pub fn pin(fd: c_int) -> Option<&'static Endpoint> {
    let word = word(fd)?;
    loop {
        let value = word.load(Ordering::Acquire);
        if value & (SET | OWN | CHANGING) != 0 || value == 0 {
            if is_changing_elsewhere(value) {
                kernel::yield_now();
                continue;
            }
            return None;
        }
        if !process::is_known() {
            // A fork that nobody announced starts the pins anew: before the first of the child's.
            process::check();
        }
        // SAFETY: as in `decode`.
        let endpoint = unsafe { &*(value as *const Endpoint) };
        if !endpoint.pin() {
            // Buried meanwhile: the word has changed, or is about to.
            core::hint::spin_loop();
            continue;
        }
        // SeqCst on both sides (here: pin, then look; in close: remove, then look at the pins).
        if word.load(Ordering::SeqCst) == value {
            return Some(endpoint);
        }
        endpoint.unpin();
    }
}

/// Whether another thread is at it.
fn is_changing_elsewhere(word: usize) -> bool {
    word & (SET | OWN | CHANGING) == CHANGING && word >> 3 != thread::current().tid() as usize
}

/// Whether another thread is just giving a descriptor another meaning.
#[inline]
pub fn is_changing(fd: c_int) -> bool {
    word(fd).is_some_and(|word| is_changing_elsewhere(word.load(Ordering::Acquire)))
}

/// The epoll set that a descriptor names.
#[inline(always)]
pub fn set(fd: c_int) -> Option<&'static Set> {
    match get(fd) {
        Some(Entry::Set(set)) => Some(set),
        _ => None,
    }
}

/// Enters a fresh descriptor; `false` when it cannot be watched. What a close that the shim did not see left there goes.
pub fn enter(fd: c_int, entry: Entry) -> bool {
    // At a vfork child's descriptor its parent has another.
    let Some(word) = word_of(fd).filter(|_| process::owns_tables()) else { return false };
    forget_stale(fd);
    HIGHEST.fetch_max(fd, Ordering::Relaxed);
    word.store(encode(entry), Ordering::SeqCst);
    true
}

/// Takes a descriptor out; what it named.
pub fn remove(fd: c_int) -> Option<Entry> {
    decode(word(fd)?.swap(0, Ordering::SeqCst))
}

/// A descriptor turns out to be somebody else's now: the one that we knew was closed by a way that we cannot see.
pub fn forget_stale(fd: c_int) {
    match get(fd).filter(|_| process::owns_tables()) {
        Some(Entry::Endpoint(endpoint)) => {
            remove(fd);
            endpoint.close(-1).finish();
        }
        Some(Entry::Set(set)) => {
            remove(fd);
            epoll::closed(set);
        }
        None => {}
    }
}

/// Whether libc's own stdio reads or writes what is at this number, whatever that is.
pub fn is_standard(fd: c_int) -> bool {
    (libc::STDIN_FILENO..=libc::STDERR_FILENO).contains(&fd)
}

/// Starts to watch a socket of TCP's.
pub fn track(fd: c_int, phase: Phase) -> Option<&'static Endpoint> {
    let endpoint = Endpoint::found(fd, phase)?;
    if !enter(fd, Entry::Endpoint(endpoint)) {
        endpoint.close(-1).finish();
        return None;
    }
    if is_standard(fd) {
        endpoint.settle(Reason::Stdio);
    }
    Some(endpoint)
}

/// The socket of a descriptor has been disconnected: another endpoint begins.
pub fn renew(fd: c_int) {
    if let Some(Entry::Endpoint(endpoint)) = remove(fd) {
        endpoint.close(-1).finish();
        track(fd, Phase::Idle);
    }
}

/// `copy` is a new descriptor of what `fd` names (dup and its like).
pub fn duplicate(fd: c_int, copy: c_int) {
    forget_stale(copy);
    match get(fd) {
        Some(Entry::Endpoint(_)) => {
            let Some(endpoint) = pin(fd) else { return };
            held::call(endpoint, || {
                if endpoint.add_ref() && !enter(copy, Entry::Endpoint(endpoint)) {
                    endpoint.close(-1).finish();
                }
            });
        }
        Some(entry @ Entry::Set(set)) => {
            set.add_ref();
            enter(copy, entry);
        }
        None => {}
    }
}

/// Some descriptor of an endpoint.
pub fn find(endpoint: &'static Endpoint) -> Option<c_int> {
    (0..=HIGHEST.load(Ordering::Relaxed)).find(|fd| is(*fd, endpoint))
}

/// Some descriptor of a set.
pub fn find_set(set: &'static Set) -> Option<c_int> {
    let wanted = encode(Entry::Set(set));
    (0..=HIGHEST.load(Ordering::Relaxed))
        .find(|fd| word(*fd).is_some_and(|word| word.load(Ordering::Acquire) == wanted))
}

/// Calls `work` once for each descriptor that is watched.
pub fn for_each(mut work: impl FnMut(c_int, Entry)) {
    for fd in 0..=HIGHEST.load(Ordering::Relaxed) {
        if let Some(entry) = get(fd) {
            work(fd, entry);
        }
    }
}

/// Whether a walk that meets an endpoint at `fd` meets it there for the first time.
fn is_first(endpoint: &'static Endpoint, fd: c_int) -> bool {
    !endpoint.is_shared_here() || find(endpoint) == Some(fd)
}

/// Calls `work` once for each endpoint.
pub fn for_each_endpoint(mut work: impl FnMut(&'static Endpoint)) {
    for_each(|fd, entry| {
        if let Entry::Endpoint(endpoint) = entry
            && is_first(endpoint, fd)
        {
            work(endpoint);
        }
    });
}

/// The same, each in a call of its own: another thread may close it meanwhile.
pub fn for_each_pinned(mut work: impl FnMut(&'static Endpoint)) {
    for_each(|fd, entry| {
        if let Entry::Endpoint(_) = entry
            && let Some(endpoint) = pin(fd)
        {
            held::call(endpoint, || {
                if is_first(endpoint, fd) {
                    work(endpoint);
                }
            });
        }
    });
}

/// The endpoint with a name towards the broker, and a descriptor of it.
fn by_id(id: u64) -> Option<(&'static Endpoint, c_int)> {
    let quick = (id & 0xf_ffff) as c_int;
    if let Some(Entry::Endpoint(endpoint)) = get(quick)
        && endpoint.id() == id
    {
        return Some((endpoint, quick));
    }
    let mut found = None;
    for_each(|fd, entry| {
        if let Entry::Endpoint(endpoint) = entry
            && endpoint.id() == id
        {
            found = Some((endpoint, fd));
        }
    });
    found
}

/// A copy of `fd` above the program's own descriptors, in the top quarter of what it may have: the program sees its
/// descriptors numbered as without the shim. It is the shim's own: the program cannot close it.
pub fn high(fd: c_int) -> kernel::Result<c_int> {
    high_from(fd, 0, OWN)
}

/// The same, from `least` on.
fn high_from(fd: c_int, least: c_int, mark: usize) -> kernel::Result<c_int> {
    let limit = kernel::descriptor_limit().min(LIMIT as u64) as c_int;
    own_above(fd, least.max(limit - limit / 4), mark)
}

/// A copy of `fd`, the shim's own, at the highest number that is free.
pub fn highest(fd: c_int) -> kernel::Result<c_int> {
    let limit = kernel::descriptor_limit().min(LIMIT as u64) as c_int;
    let free = (0..limit).rev().find(|number| kernel::status_flags(*number).is_err());
    own_above(fd, free.ok_or(kernel::Errno(libc::EMFILE))?, OWN)
}

fn own_above(fd: c_int, least: c_int, mark: usize) -> kernel::Result<c_int> {
    process::undisturbed(|| {
        let high = kernel::dup_above(fd, least)?;
        if let Some(word) = word_of(high) {
            forget_stale(high);
            LOWEST_OWN.fetch_min(high, Ordering::Relaxed);
            HIGHEST_OWN.fetch_max(high, Ordering::Relaxed);
            word.store(mark, Ordering::SeqCst);
        }
        Ok(high)
    })
}

/// A high copy of `fd` for the calls that are inside while the program closes it.
pub fn keep(fd: c_int) -> kernel::Result<c_int> {
    keep_from(fd, 0)
}

/// The same, from `least` on.
pub fn keep_from(fd: c_int, least: c_int) -> kernel::Result<c_int> {
    high_from(fd, least, KEPT)
}

/// The numbers between which the shim's own descriptors are.
fn own_range() -> core::ops::RangeInclusive<c_int> {
    LOWEST_OWN.load(Ordering::Relaxed)..=HIGHEST_OWN.load(Ordering::Relaxed)
}

/// Moves a fresh descriptor of the shim's own up there.
pub fn raise(fd: c_int) -> kernel::Result<c_int> {
    let high = high(fd);
    kernel::close(fd);
    high
}

/// An epoll set of the shim's own.
pub fn own_set() -> kernel::Result<c_int> {
    foreign::renaming(|| raise(kernel::epoll_create()?))
}

/// Closes a descriptor of the shim's own, if it still is: the program may have taken its number.
pub fn close_own(fd: c_int) {
    foreign::renaming(|| {
        process::undisturbed(|| {
            if is_own(fd) {
                disown(fd);
                kernel::close(fd);
            }
        });
    });
}

/// What stands at this number is no longer the shim's.
pub fn disown(fd: c_int) {
    if let Some(word) = word(fd) {
        word.store(0, Ordering::SeqCst);
    }
}

/// Whether a descriptor is one of the shim's own.
#[inline]
pub fn is_own(fd: c_int) -> bool {
    word(fd).is_some_and(|word| word.load(Ordering::Relaxed) & OWN != 0)
}

/// The set that a descriptor names, or one made for it: an epoll set that came by a way that the shim did not see.
pub fn set_or_found(fd: c_int) -> Option<&'static Set> {
    if let Some(entry) = get(fd) {
        return match entry {
            Entry::Set(set) => Some(set),
            Entry::Endpoint(_) => None,
        };
    }
    let set = Set::found()?;
    if enter(fd, Entry::Set(set)) {
        return Some(set);
    }
    set.release();
    None
}

/// close_range, around the shim's own descriptors, and around those that are watched: a number that was closed may be another
/// thread's by now.
pub fn close_range(first: u32, last: u32) -> kernel::Result<()> {
    let highest = HIGHEST.load(Ordering::Relaxed);
    let mut start = first;
    for fd in (0..=highest).chain(own_range().skip_while(|fd| *fd <= highest)) {
        let own = is_own(fd);
        if !(first..=last).contains(&(fd as u32)) || (!own && get(fd).is_none()) {
            continue;
        }
        if fd as u32 > start {
            kernel::close_range(start, fd as u32 - 1)?;
        }
        start = fd as u32 + 1;
        if !own {
            foreign::renaming(|| match closing(fd) {
                Some(ending) => ending.by_close(|| kernel::close(fd)),
                None => kernel::close(fd),
            });
        }
    }
    if start <= last { kernel::close_range(start, last) } else { Ok(()) }
}

/// In a forked child. A fork that no handler announced has not raised the holders yet. `comparable`: whether the parent has a
/// number among its kin.
pub fn after_fork(announced: bool, comparable: bool) {
    foreign::after_fork();
    endpoint::after_fork();
    let mut census = Census::new();
    let mut number = None;
    for_each_endpoint(|endpoint| {
        endpoint.after_fork();
        if endpoint.has_left() {
            return;
        }
        if !announced || !endpoint.was_raised() {
            endpoint.family().raise();
        }
        let number = *number.get_or_insert_with(|| if comparable { kin::number() } else { None });
        if comparable && number.is_none() {
            // Counted, but not by name.
            return;
        }
        endpoint.list(number, &mut census);
    });
    for fd in 0..=HIGHEST.load(Ordering::Relaxed) {
        // Another thread of the parent's was at it: what it names here is not known.
        if word(fd).is_some_and(|word| word.load(Ordering::Relaxed) & (SET | OWN | CHANGING) == CHANGING) {
            disown(fd);
        }
    }
    for fd in own_range() {
        if word(fd).is_some_and(|word| word.load(Ordering::Relaxed) == KEPT) {
            close_own(fd);
        }
    }
    epoll::after_fork();
    held::after_fork();
}
