//! Programs made to load sockets: stress-ng's stressors, sockperf, curl with many transfers at once, iperf3 broken off.

use crate::{assert_same, modes, serve};
use slipstream_tests::{Lab, Mode, PATIENCE, Port};
use std::fmt::Write as _;

/// Each socket stressor some hundred rounds, its own checks on: all ends well, as over plain TCP. One instance each: the
/// second would take the next port, which is another test's.
fn stress(mode: Mode) {
    let run = |mode| {
        let lab = Lab::new("stress-ng", mode);
        let mut said = String::new();
        let sock = ["--sock", "1", "--sock-ops", "300", "--sock-domain", "ipv4"];
        for (way, more) in [
            ("sock", &["--sock-opts", "send"][..]),
            ("sock", &["--sock-opts", "sendmsg"]),
            ("sock", &["--sock-opts", "sendmmsg"]),
            ("sock", &["--sock-opts", "random", "--sock-nodelay"]),
            ("sockmany", &["--sockmany", "1", "--sockmany-ops", "100"]),
            ("sockabuse", &["--sockabuse", "1", "--sockabuse-ops", "200"]),
            ("epoll", &["--epoll", "1", "--epoll-ops", "2000", "--epoll-domain", "ipv4"]),
        ] {
            // The epoll stressor listens on the three behind it, too.
            let [port, _second, _third, _fourth] = [(); 4].map(|()| Port::free());
            let program = lab.program("stress-ng").args(["--verify", "--timeout", "20", "--temp-path", "."]);
            let program = if way == "sock" { program.args(sock) } else { program };
            let ended = program.args(more).args([&format!("--{way}-port"), &port.to_string()]).run(PATIENCE * 2);
            let _ = writeln!(said, "{way} {more:?}: {}", ended.status);
            let complaints = String::from_utf8_lossy(&ended.stderr);
            assert!(!complaints.contains("fail:"), "{way} {more:?}: {complaints}");
        }
        lab.expect_moved_in_all(8);
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// 300 downloads, five at once: as many connections as the server lets wait for its accept.
fn curl(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("curl --parallel", mode), Port::free());
        for (name, size) in [("small", 10), ("middle", 50_000), ("large", 2_000_000)] {
            let text: String =
                (0..size).map(|i: u32| char::from(b'a' + (i.wrapping_mul(40503) >> 7) as u8 % 26)).collect();
            std::fs::write(lab.folder().join(name), text).expect("a file");
        }
        let server = lab.program("/usr/bin/python3").args(["-m", "http.server", "--bind", "127.0.0.1"]);
        let _server = serve(server.args(["--protocol", "HTTP/1.1", &port.to_string()]), &port);
        let curl = lab.program("curl").args(["-sS", "--parallel", "--parallel-max", "5", "--create-dirs"]);
        let curl = curl.args(["-o", "got/#1-#2", &format!("http://127.0.0.1:{port}/{{small,middle,large}}?[1-100]")]);
        curl.run(PATIENCE * 2).good();
        lab.expect_moved_in_all(2);
        let sums = lab.program("sh").bare().args(["-c", "cd got && sha256sum * | cut -c1-16,65- | sort -k2"]);
        sums.run(PATIENCE).good()
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// A client with four streams that is killed, and one that is told to end, leave a server that serves the next.
fn broken_off(mode: Mode) {
    let (lab, port) = (Lab::new("iperf3", mode), Port::free());
    let server = serve(lab.program("iperf3").args(["-s", "-p", &port.to_string()]), &port);
    let client = |seconds: &str| {
        let client = lab.program("iperf3").args(["-c", "127.0.0.1", "-p", &port.to_string(), "-P", "4", "-i", "0.1"]);
        client.args(["--forceflush", "-t", seconds])
    };
    for signal in [libc::SIGINT, libc::SIGKILL, libc::SIGTERM] {
        let mut broken = client("60").start();
        broken.wait_output("some intervals", PATIENCE, |said| (said.matches("[SUM]").count() > 3).then_some(()));
        broken.signal(signal);
        broken.finish(PATIENCE);
    }
    client("1").run(PATIENCE).good();
    lab.expect_moved_in_all(2);
    assert!(server.stop().status.code().is_some());
}

/// Round trips, as quick as they come and by a schedule: none lost, doubled or out of order, by sockperf's own books.
fn sockperf(mode: Mode) {
    let (lab, port) = (Lab::new("sockperf", mode), Port::free());
    let number = port.to_string();
    let server = lab.program("sockperf").args(["server", "--tcp", "-i", "127.0.0.1", "-p", &number]);
    let _server = serve(server, &port);
    for way in [
        &["ping-pong", "--data-integrity", "--mps", "100000"][..],
        &["under-load", "--mps", "2000"],
        &["ping-pong", "--mps", "100000", "-m", "5000"],
    ] {
        let client = lab.program("sockperf").args(way).args(["--tcp", "-i", "127.0.0.1", "-p", &number, "-t", "2"]);
        let said = client.run(PATIENCE).good();
        let lost = said.lines().find(|line| line.contains("# dropped messages"));
        assert!(lost.is_some_and(|line| line.contains("# dropped messages = 0")), "{said}");
        assert!(said.contains("# duplicated messages = 0; # out-of-order messages = 0"), "{said}");
    }
    lab.expect_moved_in_all(6);
}

modes! {
    stress_ng(super::stress);
    curl_parallel(super::curl);
    iperf_broken_off(super::broken_off);
    sockperf_trips(super::sockperf);
}
