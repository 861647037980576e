//! Programs made to load HTTP servers, against nginx: wrk, and h2load over TLS, without it, and by HTTP/1.1. No request of
//! theirs fails.

use crate::modes;
use crate::nginx::Site;
use slipstream_tests::{Mode, PATIENCE};

const MIB: u64 = 1 << 20;

/// Two threads with sixteen connections: kept, through the proxy, over TLS, and a new one for each request.
fn wrk(mode: Mode) {
    let site = Site::new(mode);
    for (port, scheme, path, more) in [
        (0, "http", "said", &[][..]),
        (1, "http", "said", &[]),
        (1, "http", "1", &[]),
        (2, "https", "said", &[]),
        (0, "http", "said", &["-H", "Connection: close"]),
    ] {
        let wrk = site.lab.program("wrk").args(["-t", "2", "-c", "16", "-d", "2s", "--timeout", "20s"]).args(more);
        let said = wrk.arg(format!("{scheme}://127.0.0.1:{}/{path}", site.ports[port])).run(PATIENCE).good();
        let done = said.lines().find_map(|line| line.trim().split_once(" requests in "));
        let done = done.and_then(|(count, _)| count.parse().ok()).unwrap_or(0);
        assert!(done >= 16, "{said}");
        assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    }
    // Those that were kept for small answers. The files' may begin with one.
    site.lab.expect_moved_in_all(2 * (16 + 16 + 16));
    site.ends();
}

/// Ten streams on each of eight connections: small answers, files of a mebibyte to their last byte, uploads.
fn h2load(mode: Mode) {
    let site = Site::new(mode);
    std::fs::write(site.lab.folder().join("sent"), "sent ".repeat(20_000)).expect("a file");
    for (port, scheme, more) in [(2, "https", &[][..]), (3, "http", &[]), (0, "http", &["--h1"])] {
        for (path, count, size) in [("said", 24_000, 4), ("1", 160, MIB)] {
            let load = site.lab.program("h2load").args(["-t", "2", "-c", "8", "-m", "10", "-n", &count.to_string()]);
            let load = load.args(more).arg(format!("{scheme}://127.0.0.1:{}/{path}", site.ports[port]));
            let said = load.run(PATIENCE * 2).good();
            let all = format!(
                "requests: {count} total, {count} started, {count} done, {count} succeeded, 0 failed, 0 errored, 0 timeout"
            );
            assert!(said.contains(&all), "{said}");
            assert!(said.contains(&format!("status codes: {count} 2xx, 0 3xx, 0 4xx, 0 5xx")), "{said}");
            let traffic = said.lines().find(|line| line.starts_with("traffic:")).unwrap_or("none");
            assert!(traffic.ends_with(&format!("({}) data", count * size)), "{said}");
        }
    }
    // Through the proxy by HTTP/1.1, a body with each.
    let load = site.lab.program("h2load").args(["--h1", "-c", "4", "-n", "200", "-d", "sent"]);
    let said = load.arg(format!("http://127.0.0.1:{}/said", site.ports[1])).run(PATIENCE * 2).good();
    assert!(said.contains("200 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("status codes: 200 2xx"), "{said}");
    // The small answers' connections. The files' may begin with one, and the uploads' be over before they can move.
    site.lab.expect_moved_in_all(2 * (8 + 8 + 8));
    site.ends();
}

modes! {
    wrk_requests(super::wrk);
    h2load_streams(super::h2load);
}
