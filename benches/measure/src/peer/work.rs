//! The loops that are measured.
//!
//! Client and server agree on the end through the data itself: the first byte of the last message, and the last byte of
//! a stream, is [`LAST`]; every other byte is zero.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::wire::{Churned, Park, RoundTrips, Served, Streamed};
use crate::socket::{Address, Listener, Stream};

const LAST: u8 = 1;
/// How much the reader of a stream asks for in one call.
const READ_BUFFER: usize = 256 << 10;
/// How much a writer writes between two looks at the clock.
const CLOCK_STRIDE: usize = 32 << 10;

/// CPU time, user and system, of all threads of this process.
pub fn cpu_nanos() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return 0;
    };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    u64::try_from(micros).unwrap_or(0) * 1000
}

/// Times every round trip; one reading of the clock ends a trip and starts the next.
pub fn round_trips(stream: &mut Stream, size: usize, millis: u64) -> Result<RoundTrips> {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let mut message = vec![0; size];
    let wanted = Duration::from_millis(millis);
    let cpu = cpu_nanos();
    let begin = Instant::now();
    let mut previous = begin;
    loop {
        let last = previous - begin >= wanted;
        message[0] = u8::from(last);
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        let now = Instant::now();
        histogram.saturating_record(nanos(now - previous));
        previous = now;
        if last {
            break;
        }
    }
    Ok(RoundTrips {
        ops: histogram.len(),
        elapsed_ns: nanos(previous - begin),
        cpu_ns: cpu_nanos() - cpu,
        p50_ns: histogram.value_at_quantile(0.5),
        p90_ns: histogram.value_at_quantile(0.9),
        p99_ns: histogram.value_at_quantile(0.99),
        p999_ns: histogram.value_at_quantile(0.999),
        max_ns: histogram.max(),
    })
}

/// Sends every message back.
pub fn echo(stream: &mut Stream, size: usize) -> Result<Served> {
    let mut message = vec![0; size];
    let cpu = cpu_nanos();
    let mut served = Served { bytes: 0, reads: 0, cpu_ns: 0 };
    loop {
        stream.read_exact(&mut message)?;
        let last = message[0] == LAST;
        stream.write_all(&message)?;
        served.bytes += size as u64;
        served.reads += 1;
        if last {
            break;
        }
    }
    served.cpu_ns = cpu_nanos() - cpu;
    Ok(served)
}

/// Writes zeros until the time is over, one last write that ends in [`LAST`], and waits for the reader's byte.
pub fn stream(stream: &mut Stream, size: usize, millis: u64) -> Result<Streamed> {
    let mut buffer = vec![0; size];
    let wanted = Duration::from_millis(millis);
    let stride = (CLOCK_STRIDE / size).max(1);
    let cpu = cpu_nanos();
    let begin = Instant::now();
    let mut writes = 1;
    while begin.elapsed() < wanted {
        for _ in 0..stride {
            stream.write_all(&buffer)?;
        }
        writes += stride as u64;
    }
    buffer[size - 1] = LAST;
    stream.write_all(&buffer)?;
    stream.read_exact(&mut [0])?;
    Ok(Streamed { bytes: writes * size as u64, writes, elapsed_ns: nanos(begin.elapsed()), cpu_ns: cpu_nanos() - cpu })
}

/// Reads a stream to its last byte and sends one byte back.
pub fn sink(stream: &mut Stream) -> Result<Served> {
    let mut buffer = vec![0; READ_BUFFER];
    let cpu = cpu_nanos();
    let mut served = Served { bytes: 0, reads: 0, cpu_ns: 0 };
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, io::Error::from(io::ErrorKind::UnexpectedEof));
        served.bytes += count as u64;
        served.reads += 1;
        if buffer[count - 1] == LAST {
            break;
        }
    }
    stream.write_all(&[LAST])?;
    served.cpu_ns = cpu_nanos() - cpu;
    Ok(served)
}

/// Opens a connection, asks, hears the reply, closes: `count` times.
pub fn churn(address: &Address, size: usize, count: u64) -> Result<Churned> {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let mut message = vec![0; size];
    let cpu = cpu_nanos();
    let begin = Instant::now();
    let mut previous = begin;
    for _ in 0..count {
        let mut stream = Stream::connect(address, None)?;
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        drop(stream);
        let now = Instant::now();
        histogram.saturating_record(nanos(now - previous));
        previous = now;
    }
    Ok(Churned {
        connections: count,
        elapsed_ns: nanos(previous - begin),
        cpu_ns: cpu_nanos() - cpu,
        p50_ns: histogram.value_at_quantile(0.5),
        p99_ns: histogram.value_at_quantile(0.99),
    })
}

/// Accepts, answers one request and hears the end: `count` times.
pub fn accept_churn(listener: &Listener, size: usize, count: u64) -> Result<Served> {
    let mut message = vec![0; size];
    let cpu = cpu_nanos();
    for _ in 0..count {
        let mut stream = listener.accept()?;
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
        ensure!(stream.read(&mut message)? == 0, "more than one request");
    }
    Ok(Served { bytes: count * size as u64, reads: count, cpu_ns: cpu_nanos() - cpu })
}

/// Sleeps on the connection, until it has something to read or ends.
pub fn park(mut stream: Stream, how: Park) -> Result<()> {
    match how {
        Park::Read => {
            let _ = stream.read(&mut [0])?;
        }
        Park::Epoll => {
            let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
            epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
            epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE)?;
        }
    }
    Ok(())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
