//! Real signals at any instruction, whose handler uses the endpoint that its thread is inside.
#![cfg(not(any(loom, miri)))]

mod support;

use slipstream_ring::role::{Entry, Exit};
use slipstream_ring::{Link, Look};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::thread;
use support::{Nobody, Pair, byte_at};

const CAPACITY: u32 = 4096;
/// Bytes of a message: who sent it, its number of that sender's, and a check of both.
const MESSAGE: u32 = 10;
const MESSAGES: u64 = 1_000_000;

static LINKS: [AtomicPtr<Link>; 2] = [AtomicPtr::new(core::ptr::null_mut()), AtomicPtr::new(core::ptr::null_mut())];
static THREADS: [AtomicI32; 2] = [AtomicI32::new(0), AtomicI32::new(0)];
/// Messages sent by the thread itself, and by its handler; bytes received by each.
static SENT: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
static RECEIVED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// Messages found whole, of each sender.
static SEEN: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// Messages staged since the lock was taken.
static STAGED: AtomicU64 = AtomicU64::new(0);
static RACED: AtomicU64 = AtomicU64::new(0);

const SELF: usize = 0;
const HANDLER: usize = 1;

fn link(side: usize) -> &'static Link {
    // SAFETY: set before the threads start, and alive until they have ended.
    unsafe { &*LINKS[side].load(Ordering::Relaxed) }
}

fn message(who: usize, number: u64) -> [u8; MESSAGE as usize] {
    let mut bytes = [0; MESSAGE as usize];
    bytes[0] = who as u8;
    bytes[1..9].copy_from_slice(&number.to_le_bytes());
    bytes[9] = byte_at(number * 2 + who as u64);
    bytes
}

/// Sends a message if the ring has room for all of it.
fn send(who: usize) -> bool {
    let (link, lock) = (link(0), link(0).tx_lock());
    let tx = link.producer();
    let entry = lock.try_lock(1);
    // Room for all that is staged behind a claim, so that none is cut short.
    if entry == Entry::Locked {
        STAGED.store(0, Ordering::Relaxed);
    }
    let room = tx.unread() < u64::from(CAPACITY) / 2 && STAGED.fetch_add(1, Ordering::Relaxed) < 100;
    if room {
        let claim = tx.claim(MESSAGE, entry).unwrap();
        assert_eq!(claim.len(), MESSAGE);
        let bytes = message(who, SENT[who].fetch_add(1, Ordering::Relaxed));
        // SAFETY: as long as the claim; in two pieces, for the handler to come between.
        unsafe {
            claim.fill(0, bytes.as_ptr(), 4);
            claim.fill(4, bytes.as_ptr().add(4), MESSAGE - 4);
        }
        if entry == Entry::Locked {
            link.deliver(tx.publish(), &Nobody);
        }
    }
    match entry {
        Entry::Locked => {
            while lock.unlock() == Exit::Noted {
                link.deliver(tx.publish(), &Nobody);
            }
        }
        Entry::Reentered if room => lock.note(),
        Entry::Reentered => {}
        Entry::Held(_) => panic!("one thread sends"),
    }
    room
}

/// Receives some whole messages and counts them.
fn receive(who: usize) {
    let (link, lock) = (link(1), link(1).rx_lock());
    let rx = link.consumer();
    let entry = lock.try_lock(1);
    let Ok(Look::Ring { head, available }) = rx.look() else { panic!("an honest peer in the ring") };
    let mut bytes = [0; 3 * MESSAGE as usize];
    let len = (available / MESSAGE).min(3) * MESSAGE;
    // SAFETY: `bytes` are as long, and `len` is available.
    unsafe { rx.copy_out(head, 0, bytes.as_mut_ptr(), len) };
    match rx.consume(head, len) {
        Ok(wake) => {
            link.deliver(wake, &Nobody);
            RECEIVED[who].fetch_add(len.into(), Ordering::Relaxed);
            for one in bytes[..len as usize].chunks(MESSAGE as usize) {
                let sender = usize::from(one[0]);
                let number = u64::from_le_bytes(one[1..9].try_into().unwrap());
                assert_eq!(one, message(sender, number), "at {head}");
                SEEN[sender].fetch_add(1, Ordering::Relaxed);
            }
        }
        Err(_) => _ = RACED.fetch_add(1, Ordering::Relaxed),
    }
    if entry == Entry::Locked {
        assert_eq!(lock.unlock(), Exit::Unlocked);
    }
}

extern "C" fn handler(_: i32) {
    // SAFETY: asks for the own thread's id.
    let me = unsafe { libc::gettid() };
    if me == THREADS[0].load(Ordering::Relaxed) {
        send(HANDLER);
    } else {
        receive(HANDLER);
    }
}

/// Signals the thread that started it, again and again.
struct Timer(libc::timer_t);

impl Timer {
    fn start(side: usize) -> Self {
        // SAFETY: a timer for the own thread; the handler is installed.
        unsafe {
            let me = libc::gettid();
            THREADS[side].store(me, Ordering::SeqCst);
            let mut event: libc::sigevent = core::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGUSR1;
            event.sigev_notify_thread_id = me;
            let mut timer = core::mem::zeroed();
            assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer), 0);
            // No multiple of anything that the threads do.
            let often = libc::timespec { tv_sec: 0, tv_nsec: 39_989 };
            let often = libc::itimerspec { it_interval: often, it_value: often };
            assert_eq!(libc::timer_settime(timer, 0, &often, core::ptr::null_mut()), 0);
            Self(timer)
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: made in `start`.
        unsafe { libc::timer_delete(self.0) };
    }
}

#[test]
fn handlers_use_what_their_threads_are_inside() {
    let pair = Pair::moved(CAPACITY);
    for (slot, link) in LINKS.iter().zip(&pair.links) {
        slot.store(core::ptr::from_ref(link).cast_mut(), Ordering::Relaxed);
    }
    // SAFETY: the handler is made of atomics and copies; nothing else here uses this signal.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, core::ptr::null_mut()), 0);
    }
    let all_sent = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let timer = Timer::start(0);
            let mut own = 0;
            while own < MESSAGES {
                own += u64::from(send(SELF));
            }
            drop(timer);
            all_sent.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            let _timer = Timer::start(1);
            while !all_sent.load(Ordering::SeqCst) || link(1).consumer().glance() {
                receive(SELF);
            }
        });
    });
    receive(SELF);
    let [sent, seen, received] =
        [&SENT, &SEEN, &RECEIVED].map(|pair| [0, 1].map(|who| pair[who].load(Ordering::SeqCst)));
    assert_eq!(sent, seen);
    assert_eq!(received[0] + received[1], (sent[0] + sent[1]) * u64::from(MESSAGE));
    println!("sent {sent:?}, received {received:?}, {} receives started over", RACED.load(Ordering::SeqCst));
}
