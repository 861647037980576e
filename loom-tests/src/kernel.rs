//! The kernel, as far as the ring relies on it: futexes, one direction of a TCP connection, and doorbells in epoll sets.
//!
//! Each object has a lock of its own, as in the kernel, so that no order between two system calls comes from the model
//! alone.

use loom::sync::Mutex;
use loom::thread::{self, Thread};
use slipstream_ring::sync::AtomicU32;
use std::collections::VecDeque;

struct Sleeper {
    words: Vec<usize>,
    thread: Thread,
    ticket: u64,
}

#[derive(Default)]
struct Beds {
    sleepers: Vec<Sleeper>,
    tickets: u64,
    ticking: bool,
}

/// FUTEX_WAIT, futex_waitv and FUTEX_WAKE.
#[derive(Default)]
pub struct Futexes(Mutex<Beds>);

fn address(word: &AtomicU32) -> usize {
    core::ptr::from_ref(word).addr()
}

impl Futexes {
    /// Sleeps while every word has the value beside it, until one of them is woken.
    pub fn wait(&self, words: &[(&AtomicU32, u32)]) {
        let mut beds = self.0.lock().unwrap();
        // Relaxed: the kernel compares under its lock, which a waker takes after it changed the word.
        if words.iter().any(|(word, value)| word.load_in_kernel() != *value) {
            return;
        }
        if beds.ticking {
            drop(beds);
            thread::yield_now();
            return;
        }
        beds.tickets += 1;
        let ticket = beds.tickets;
        let words = words.iter().map(|(word, _)| address(word)).collect();
        beds.sleepers.push(Sleeper { words, thread: thread::current(), ticket });
        while beds.sleepers.iter().any(|sleeper| sleeper.ticket == ticket) {
            drop(beds);
            thread::park();
            beds = self.0.lock().unwrap();
        }
    }

    fn wake(beds: &mut Beds, count: usize, whom: impl Fn(&Sleeper) -> bool) {
        let mut left = count;
        beds.sleepers.retain(|sleeper| {
            let wake = left > 0 && whom(sleeper);
            if wake {
                left -= 1;
                sleeper.thread.unpark();
            }
            !wake
        });
    }

    /// Wakes up to `count` sleepers on `word`.
    pub fn wake_some(&self, word: &AtomicU32, count: usize) {
        let key = address(word);
        Self::wake(&mut self.0.lock().unwrap(), count, |sleeper| sleeper.words.contains(&key));
    }

    /// Wakes all who sleep on `word`.
    pub fn wake_all(&self, word: &AtomicU32) {
        self.wake_some(word, usize::MAX);
    }

    /// From here on every sleep ends by itself: the tick of timed sleeps, which comes again and again.
    pub fn tick(&self) {
        let mut beds = self.0.lock().unwrap();
        beds.ticking = true;
        Self::wake(&mut beds, usize::MAX, |_| true);
    }
}

#[derive(Default)]
struct Stream {
    queue: VecDeque<u8>,
    written: u64,
    taken: u64,
    fin: bool,
    pollers: Vec<Thread>,
}

impl Stream {
    fn wake(&mut self) {
        self.pollers.drain(..).for_each(|thread| thread.unpark());
    }
}

/// One direction of a TCP connection.
#[derive(Default)]
pub struct Tcp(Mutex<Stream>);

impl Tcp {
    /// send(2).
    pub fn write(&self, bytes: &[u8]) {
        let mut stream = self.0.lock().unwrap();
        stream.queue.extend(bytes);
        stream.written += bytes.len() as u64;
        stream.wake();
    }

    /// shutdown(2), or the end of the sender.
    pub fn shutdown(&self) {
        let mut stream = self.0.lock().unwrap();
        stream.fin = true;
        stream.wake();
    }

    /// Bytes ever written.
    pub fn written(&self) -> u64 {
        self.0.lock().unwrap().written
    }

    /// Bytes ever taken, and bytes that wait (MSG_PEEK).
    pub fn peek(&self) -> (u64, usize) {
        let stream = self.0.lock().unwrap();
        (stream.taken, stream.queue.len())
    }

    /// recv(2) of up to `len` bytes.
    pub fn take(&self, len: usize) -> Vec<u8> {
        let mut stream = self.0.lock().unwrap();
        let len = len.min(stream.queue.len());
        stream.taken += len as u64;
        stream.queue.drain(..len).collect()
    }

    /// Whether the sender has ended and nothing waits before the end.
    pub fn has_ended(&self) -> bool {
        let stream = self.0.lock().unwrap();
        stream.fin && stream.queue.is_empty()
    }

    /// Registers this thread in the wait queue, unless it need not wait.
    fn is_ready_or_enqueue(&self) -> bool {
        let mut stream = self.0.lock().unwrap();
        let ready = stream.fin || !stream.queue.is_empty();
        if !ready {
            stream.pollers.push(thread::current());
        }
        ready
    }
}

struct Ears {
    edges: Vec<bool>,
    pollers: Vec<Thread>,
}

/// A doorbell, edge-triggered in a number of epoll sets (hubs), never read.
pub struct Bell(Mutex<Ears>);

impl Bell {
    /// A bell in so many hubs.
    pub fn new(hubs: usize) -> Self {
        Self(Mutex::new(Ears { edges: vec![false; hubs], pollers: Vec::new() }))
    }

    /// Rings: an edge in every hub.
    pub fn ring(&self) {
        let mut ears = self.0.lock().unwrap();
        ears.edges.fill(true);
        ears.pollers.drain(..).for_each(|thread| thread.unpark());
    }

    /// epoll_wait(hub, timeout 0): takes the edge.
    pub fn harvest(&self, hub: usize) {
        self.0.lock().unwrap().edges[hub] = false;
    }

    fn has_edge_or_enqueue(&self, hub: usize) -> bool {
        let mut ears = self.0.lock().unwrap();
        let edge = ears.edges[hub];
        if !edge {
            ears.pollers.push(thread::current());
        }
        edge
    }
}

/// epoll_wait on a hub and, level-triggered, on TCP.
pub fn poll(bell: &Bell, hub: usize, tcp: Option<&Tcp>) {
    // A thread may be unparked for an earlier enqueueing: it looks again and enqueues again.
    while !bell.has_edge_or_enqueue(hub) && !tcp.is_some_and(Tcp::is_ready_or_enqueue) {
        thread::park();
    }
}
