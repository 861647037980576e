//! Microbenchmarks of the ring: one thread, wrapping, and two threads on two cores.
//!
//! `cargo bench -p slipstream-benches`

use std::hint::{black_box, spin_loop};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slipstream_benches::rings::{Nobody, Rings};
use slipstream_measure::host::{Cores, pin};
use slipstream_ring::role::{Entry, Exit};
use slipstream_ring::{Link, Look};

const CAPACITY: u32 = 64 << 10;
const ME: u32 = 1;

/// Sends all of `bytes`, as the shim's write does when nobody sleeps: lock, claim, copy, publish, unlock. Spins while full.
fn send(link: &Link, bytes: &[u8]) {
    let producer = link.producer();
    let mut sent = 0;
    while sent < bytes.len() {
        assert_eq!(link.tx_lock().try_lock(ME), Entry::Locked);
        let claim = producer.claim((bytes.len() - sent) as u32, Entry::Locked).expect("an honest peer");
        if claim.len() > 0 {
            // SAFETY: the claim is no longer than what is left of `bytes`.
            unsafe { claim.fill(0, bytes.as_ptr().add(sent), claim.len()) };
            sent += claim.len() as usize;
            link.deliver(producer.publish(), &Nobody);
        }
        assert_eq!(link.tx_lock().unlock(), Exit::Unlocked);
        if claim.len() == 0 {
            spin_loop();
        }
    }
}

/// Receives at most `buffer.len()` bytes, as the shim's read does when nobody sleeps. 0 when there are none.
fn receive(link: &Link, buffer: &mut [u8]) -> usize {
    let consumer = link.consumer();
    assert_eq!(link.rx_lock().try_lock(ME), Entry::Locked);
    let Look::Ring { head, available } = consumer.look().expect("an honest peer") else {
        unreachable!("both directions are on the ring")
    };
    let len = available.min(buffer.len() as u32);
    if len > 0 {
        // SAFETY: the buffer has at least `len` bytes, and the look found them.
        unsafe { consumer.copy_out(head, 0, buffer.as_mut_ptr(), len) };
        link.deliver(consumer.consume(head, len).expect("no signal handlers here"), &Nobody);
    }
    assert_eq!(link.rx_lock().unlock(), Exit::Unlocked);
    len as usize
}

fn receive_all(link: &Link, buffer: &mut [u8]) {
    let mut received = 0;
    while received < buffer.len() {
        match receive(link, &mut buffer[received..]) {
            0 => spin_loop(),
            count => received += count,
        }
    }
}

/// One thread pushes and pops in turn: what the instructions cost, the lines being in its cache.
fn push_pop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("push and pop, one thread");
    for size in [1, 64, 1 << 10, 16 << 10] {
        let rings = Rings::new(CAPACITY);
        let mut buffer = vec![0; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                send(rings.end(0), &buffer);
                receive_all(rings.end(1), black_box(&mut buffer));
            });
        });
    }
    group.finish();
}

/// The same with messages that cross the end of the ring nearly every time.
fn wrap(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("push and pop across the end");
    for (size, capacity) in [(3000, 4 << 10), (50_000, 64 << 10)] {
        let rings = Rings::new(capacity);
        let mut buffer = vec![0; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                send(rings.end(0), &buffer);
                receive_all(rings.end(1), black_box(&mut buffer));
            });
        });
    }
    group.finish();
}

/// Runs `measured` here and `other` on the other core until the former is done. Nothing on a single core.
fn on_two_cores(measured: impl FnOnce(), other: impl Fn(&AtomicBool) + Sync) {
    // Once: what has been pinned may use no other.
    static CORES: LazyLock<Cores> = LazyLock::new(Cores::pick);
    let cores = *CORES;
    if !cores.are_two() {
        eprintln!("skipped: one processor only");
        return;
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(cores.server).expect("an allowed processor");
            other(&over);
        });
        pin(cores.client).expect("an allowed processor");
        measured();
        over.store(true, Ordering::Relaxed);
    });
}

/// A message there and back between two spinning cores.
fn ping_pong(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round trip, two cores");
    for size in [64, 1 << 10] {
        let rings = Rings::new(CAPACITY);
        let echo = |over: &AtomicBool| {
            let mut buffer = vec![0; size];
            while !over.load(Ordering::Relaxed) {
                match receive(rings.end(1), &mut buffer) {
                    0 => spin_loop(),
                    count => send(rings.end(1), &buffer[..count]),
                }
            }
        };
        let mut buffer = vec![0; size];
        let measure = || {
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| {
                    send(rings.end(0), &buffer);
                    receive_all(rings.end(0), black_box(&mut buffer));
                });
            });
        };
        on_two_cores(measure, echo);
    }
    group.finish();
}

/// A producer and a consumer, each on its core, as fast as they can.
fn stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream, two cores");
    for capacity in [64 << 10, 1 << 20] {
        for size in [64, 1 << 10, 32 << 10, 1 << 20] {
            let rings = Rings::new(capacity);
            let sink = |over: &AtomicBool| {
                let mut buffer = vec![0; 256 << 10];
                while !over.load(Ordering::Relaxed) {
                    if receive(rings.end(1), black_box(&mut buffer)) == 0 {
                        spin_loop();
                    }
                }
            };
            let buffer = vec![0; size];
            group.throughput(Throughput::Bytes(size as u64));
            let measure = || {
                let name = format!("{} KiB ring", capacity >> 10);
                group.bench_function(BenchmarkId::new(name, size), |bencher| {
                    bencher.iter(|| send(rings.end(0), black_box(&buffer)));
                });
            };
            on_two_cores(measure, sink);
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = push_pop, wrap, ping_pong, stream
}
criterion_main!(benches);
