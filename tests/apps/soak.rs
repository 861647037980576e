//! redis, memcached and nginx under one load of many kinds, round after round: what they and the broker hold when a round
//! is over stays what it was after the first. Half a minute in every run; `tests/run soak` goes on for ten, or for
//! `SLIPSTREAM_SOAK_MINUTES`.

use crate::nginx::Site;
use crate::{modes, python, serve};
use slipstream_tests::{Mode, PATIENCE, Port, Program, Running, until};
use std::time::{Duration, Instant};

/// What a process holds: descriptors, mappings, KiB of memory.
type Held = [u64; 3];

/// By how much more the least of the last quarter may be than the most of the first.
///
/// A round makes some hundred connections that move and a thousand that do not. A descriptor or a mapping lost with one
/// in a hundred comes to more than this within the shortest run; 4 MiB are less than a KiB per connection there, and less
/// than 100 bytes in ten minutes. What is allowed is what allocators and idle threads do by themselves.
fn allowed(most: Held) -> Held {
    [most[0] + 4, most[1] + 8, most[2] + most[2] / 20 + 4096]
}

fn held(pid: u32) -> Option<Held> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    let mappings = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?.lines().count();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let memory =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
    Some([descriptors as u64, mappings as u64, memory])
}

/// Three servers, and a client that keeps eight threads and as many connections busy throughout.
struct Mix {
    site: Site,
    redis: (Port, Running),
    memcached: (Port, Running),
    kept: Running,
}

impl Mix {
    fn new(mode: Mode) -> Self {
        let (site, ports) = (Site::with(mode, "keepalive_timeout 200ms;"), [Port::free(), Port::free()]);
        let [redis, memcached] = ports.each_ref().map(Port::to_string);
        let redis = site.lab.program("redis-server").args(["--bind", "127.0.0.1", "--save", "", "--port", &redis]);
        let redis = serve(redis, &ports[0]);
        let memcached = ["-u", "root", "-l", "127.0.0.1", "-U", "0", "-t", "4", "-m", "16", "-p", &memcached];
        let memcached = serve(site.lab.program("memcached").args(memcached), &ports[1]);
        let kept = python(&site.lab, "memcache_client.py").arg(ports[1].to_string()).piped().start();
        let [first, second] = ports;
        Self { site, redis: (first, redis), memcached: (second, memcached), kept }
    }

    /// Everybody who stays.
    fn everybody(&self) -> Vec<(&'static str, u32)> {
        let broker = self.site.lab.broker.as_ref().expect("a lab with a broker").pid();
        let mut all = vec![("broker", broker), ("redis", self.redis.1.pid()), ("memcached", self.memcached.1.pid())];
        all.extend([("client", self.kept.pid()), ("nginx", self.site.server.pid())]);
        all.extend(self.site.workers().into_iter().map(|pid| ("nginx worker", pid)));
        all
    }

    /// All at once: few connections with many requests and many with one, over TLS, through a proxy.
    fn round(&self) {
        let (lab, ports) = (&self.site.lab, &self.site.ports);
        let redis = || lab.program("redis-benchmark").args(["-p", &self.redis.0.to_string(), "-q", "-r", "1000"]);
        let memcached = format!("--servers=127.0.0.1:{}", self.memcached.0);
        let http = |port: usize| format!("http://127.0.0.1:{}/said", ports[port]);
        let tls = format!("https://127.0.0.1:{}/said", ports[2]);
        let slap = |test: &str| lab.program("memcslap").args([&memcached, test, "-c", "4", "--execute-number=1000"]);
        let programs: Vec<Program> = vec![
            redis().args(["-t", "set,get,incr,mset", "-d", "100", "-c", "20", "-n", "5000"]),
            redis().args(["-t", "get", "-c", "10", "-P", "16", "-n", "20000"]),
            redis().args(["-t", "get", "-c", "10", "-k", "0", "-n", "500"]),
            slap("--test=set"),
            slap("--test=get"),
            lab.program("ab").args(["-q", "-k", "-c", "8", "-n", "4000", &http(0)]),
            lab.program("ab").args(["-q", "-k", "-c", "8", "-n", "2000", &http(1)]),
            lab.program("ab").args(["-q", "-c", "8", "-n", "500", &http(0)]),
            lab.program("wrk").args(["-t", "1", "-c", "8", "-d", "1s", &tls]),
            lab.program("h2load").args(["-c", "4", "-m", "10", "-n", "4000", &tls]),
        ];
        let running: Vec<_> = programs.into_iter().map(Program::start).collect();
        let said: Vec<_> = running.into_iter().map(|one| one.finish(PATIENCE * 2).good()).collect();
        for (said, count) in said[5..8].iter().zip([4000, 2000, 500]) {
            assert!(said.contains(&format!("Complete requests:      {count}\nFailed requests:        0")), "{said}");
        }
        assert!(!said[8].contains("Socket errors") && !said[8].contains("Non-2xx"), "{}", said[8]);
        assert!(said[9].contains("4000 succeeded, 0 failed, 0 errored, 0 timeout"), "{}", said[9]);
    }

    /// What everybody holds, when for a while nobody has let go of a descriptor.
    fn settled(&self, everybody: &[(&str, u32)]) -> Vec<Held> {
        let look = || -> Vec<Held> {
            let held = everybody.iter().map(|&(name, pid)| held(pid).unwrap_or_else(|| panic!("{name} is gone")));
            held.collect()
        };
        let mut last = look();
        let settled = until(PATIENCE, || {
            std::thread::sleep(Duration::from_millis(400));
            let now = look();
            let same = now.iter().zip(&last).all(|(now, last)| now[..2] == last[..2]);
            last.clone_from(&now);
            same.then_some(now)
        });
        settled.unwrap_or(last)
    }
}

fn soak(mode: Mode, length: Duration) {
    let mix = Mix::new(mode);
    let everybody = mix.everybody();
    let (start, mut samples) = (Instant::now(), Vec::new());
    while start.elapsed() < length || samples.len() < 8 {
        mix.round();
        samples.push(mix.settled(&everybody));
    }
    assert_eq!(mix.everybody(), everybody);
    let (quarter, mut said, mut grown) = (samples.len() / 4, String::new(), false);
    for (i, (name, _)) in everybody.iter().enumerate() {
        let (first, last) = (&samples[..quarter], &samples[samples.len() - quarter..]);
        let most: Held = std::array::from_fn(|what| first.iter().map(|held| held[i][what]).max().unwrap_or(0));
        let least: Held = std::array::from_fn(|what| last.iter().map(|held| held[i][what]).min().unwrap_or(0));
        grown |= least.iter().zip(allowed(most)).any(|(&least, allowed)| least > allowed);
        said += &format!("{name}: at first {:?}, then at most {most:?}, at last at least {least:?}\n", samples[0][i]);
    }
    let totals = mix.site.lab.status().totals;
    let (rounds, moved) = (samples.len() as u64, totals.state("opt"));
    println!(
        "{} rounds in {} s over {}, {moved} of {} endpoints moved; descriptors, mappings, KiB:\n{said}",
        rounds,
        start.elapsed().as_secs(),
        mode.name(),
        totals.connections
    );
    assert!(!grown, "descriptors, mappings, KiB that grow:\n{said}{samples:?}");
    // In each round at least redis-benchmark's thirty, and eight of the others'.
    mix.site.lab.expect_moved_in_all(2 * 38 * rounds);
    mix.kept.finish(PATIENCE).good();
    assert!(mix.redis.1.stop().status.success());
    mix.site.ends();
}

fn short(mode: Mode) {
    soak(mode, Duration::from_secs(25));
}

fn long(mode: Mode) {
    let minutes = std::env::var("SLIPSTREAM_SOAK_MINUTES").unwrap_or_else(|_| "10".to_owned());
    let minutes: f64 = minutes.parse().expect("SLIPSTREAM_SOAK_MINUTES, a number");
    soak(mode, Duration::from_secs_f64(60.0 * minutes));
}

#[test]
#[ignore = "takes minutes: tests/run soak"]
fn long_shm() {
    long(Mode::Shm);
}

#[test]
#[ignore = "takes minutes: tests/run soak"]
fn long_uds() {
    long(Mode::Uds);
}

modes! {
    nothing_grows(super::short);
}
