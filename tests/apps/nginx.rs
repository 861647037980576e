//! nginx: files by sendfile, uploads, a proxy with kept connections, TLS and HTTP/2, reloads under load. The master is
//! root's, if the test is, and its workers somebody else's.

use crate::{assert_same, keys, modes};
use slipstream_tests::{Connection, Lab, Mode, PATIENCE, Port, Program, Running, account};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::chown;

const MIB: usize = 1 << 20;

/// The files that it serves, by size.
const FILES: [(&str, usize); 4] = [("small", 100), ("1", MIB), ("8", 8 * MIB), ("64", 64 * MIB)];

/// nginx with two workers: files on `ports[0]`, a proxy to them on `ports[1]`, TLS on `ports[2]`, HTTP/2 without it on
/// `ports[3]`.
pub(crate) struct Site {
    pub(crate) lab: Lab,
    pub(crate) ports: [Port; 4],
    pub(crate) server: Running,
}

impl Site {
    pub(crate) fn new(mode: Mode) -> Self {
        Self::with(mode, "")
    }

    /// With more said of the proxy's kept connections.
    pub(crate) fn with(mode: Mode, kept: &str) -> Self {
        let (lab, ports) = (Lab::new("nginx", mode), std::array::from_fn(|_| Port::free()));
        for folder in ["www", "www/up"] {
            fs::create_dir(lab.folder().join(folder)).expect("a folder");
        }
        if let Some((user, group)) = account("www-data") {
            chown(lab.folder().join("www/up"), Some(user), Some(group)).expect("a folder of the workers'");
        }
        for (name, size) in FILES {
            fs::write(lab.folder().join("www").join(name), body(size)).expect("a file");
        }
        fs::write(lab.folder().join("nginx.conf"), configuration(&lab, &ports, kept)).expect("a configuration");
        keys(&lab);
        let server = lab.program("nginx").arg("-c").arg(lab.folder().join("nginx.conf"));
        let mut server = server.start();
        server.wait_for("it listens", PATIENCE, |_| ports.iter().all(Port::is_listening).then_some(()));
        Self { lab, ports, server }
    }

    /// A curl that asks for all of these, one after the other on one connection, and keeps what it gets.
    fn curl(&self, port: usize, paths: impl IntoIterator<Item = impl AsRef<str>>) -> Program {
        let scheme = if port == 2 { "https" } else { "http" };
        let mut text = String::from("silent\nshow-error\ninsecure\n");
        for (i, path) in paths.into_iter().enumerate() {
            let (host, path) = (format!("{scheme}://127.0.0.1:{}", self.ports[port]), path.as_ref());
            let _ = writeln!(text, "url = {host}/{path}\noutput = got-{i}");
        }
        text += "write-out = \"%{http_code} %{num_connects} %{size_download} %{content_type}\\n\"\n";
        fs::write(self.lab.folder().join("curlrc"), text).expect("a file");
        self.lab.program("curl").args(["-K", "curlrc"])
    }

    /// What a curl left, against what nginx had.
    fn same(&self, number: usize, name: &str) {
        let got = format!("got-{number}");
        self.lab.program("cmp").arg(got).arg(format!("www/{name}")).run(PATIENCE).good();
    }

    /// The processes that serve.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.server.pid());
        let said = fs::read_to_string(path).unwrap_or_default();
        said.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    pub(crate) fn ends(mut self) {
        self.lab.expect_no_alarm();
        self.server.signal(libc::SIGQUIT);
        self.server.finish(PATIENCE).good();
    }
}

/// Every 8 bytes different.
fn body(size: usize) -> Vec<u8> {
    (0..size as u64).map(|i| ((i / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (8 * (i % 8))) as u8).collect()
}

fn configuration(lab: &Lab, ports: &[Port; 4], kept: &str) -> String {
    let folder = lab.folder().display();
    let user = if account("www-data").is_some() { "user www-data;" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {folder}/{name};")).concat();
    let [files, proxy, tls, bare] = ports;
    format!(
        "{user} worker_processes 2; daemon off; pid {folder}/pid; error_log stderr;
        events {{ worker_connections 256; }}
        http {{
            {temporary} access_log off; root {folder}/www; sendfile on; tcp_nopush on; keepalive_requests 1000000;
            client_max_body_size 1g;
            upstream files {{ server 127.0.0.1:{files}; keepalive 8; {kept} }}
            server {{
                listen 127.0.0.1:{files};
                location /said {{ return 200 said; }}
                location /up {{ dav_methods PUT; }}
            }}
            server {{
                listen 127.0.0.1:{proxy};
                location / {{ proxy_pass http://files; proxy_http_version 1.1; proxy_set_header Connection ''; }}
                location /up {{ proxy_pass http://files; proxy_http_version 1.1; proxy_request_buffering off; }}
            }}
            server {{
                listen 127.0.0.1:{tls} ssl http2;
                ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
                location /said {{ return 200 said; }}
            }}
            server {{
                listen 127.0.0.1:{bare} http2;
                location /said {{ return 200 said; }}
            }}
        }}"
    )
}

/// Small requests after which a connection has moved, even where the broker does not get to run for a while.
const WARM: usize = 2000;

/// Files on one connection that has moved before: each sendfile takes it to TCP, each header back.
fn files(mode: Mode) {
    let run = |mode| {
        let site = Site::new(mode);
        let mut paths = vec!["said"; WARM];
        paths.extend(["1", "8", "small", "64", "none", "small", "said", "1"]);
        paths.extend(["small", "said", "small", "small"].repeat(50));
        let said = site.curl(0, &paths).run(PATIENCE * 2).good();
        for (number, name) in [(0, "1"), (1, "8"), (2, "small"), (3, "64"), (7, "1"), (207, "small")] {
            site.same(WARM + number, name);
        }
        site.lab.expect_moved_in_all(2);
        // A part of a file, slowly, so that nginx waits.
        let part = site.curl(0, ["said", "said", "said", "64"]).args(["-r", "1000-20000000", "--limit-rate", "20M"]);
        let said = said + &part.run(PATIENCE).good();
        // One broken off: nginx hears of it.
        let broken = site.curl(0, ["said", "said", "said", "64"]).args(["--max-filesize", "1000"]).run(PATIENCE);
        let said = said + &format!("{}", broken.status);
        site.ends();
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// A connection that begins with sendfile stays on TCP under that name.
fn unhashable(mode: Mode) {
    let site = Site::new(mode);
    site.curl(0, ["1", "8", "small"]).run(PATIENCE).good();
    [(0, "1"), (1, "8"), (2, "small")].into_iter().for_each(|(number, name)| site.same(number, name));
    let url = format!("http://127.0.0.1:{}/small?[1-1000000]", site.ports[0]);
    let mut endless = site.lab.program("curl").args(["-sS", "-o", "/dev/null", &url]).start();
    let port = site.ports[0].number();
    let why = |c: &Connection| (c.local_port() == Some(port)).then(|| c.reason.clone()).flatten();
    let why = endless.wait_for("the reason", PATIENCE, |_| site.lab.status().connections.iter().find_map(why));
    assert_eq!(why, "unhashable");
    assert_eq!(site.lab.status().totals.moved_bytes, 0);
    drop(endless);
    site.ends();
}

/// Through the proxy: both of its sides, with requests ahead of each other, bodies of 64 MiB down and up.
fn proxy(mode: Mode) {
    let run = |mode| {
        let site = Site::new(mode);
        let mut paths = vec!["said"; WARM];
        paths.extend(["1", "64", "small", "none", "said"]);
        let mut said = site.curl(1, &paths).run(PATIENCE * 2).good();
        [(0, "1"), (1, "64"), (2, "small")].into_iter().for_each(|(number, name)| site.same(WARM + number, name));
        let put = site.curl(1, ["up/"]).args(["-T", "{www/64,www/8}"]);
        said += &put.run(PATIENCE * 2).good();
        for (name, original) in [("up/64", "www/64"), ("up/8", "www/8")] {
            said += &site.lab.program("cmp").arg(format!("www/{name}")).arg(original).run(PATIENCE).good();
        }
        let url = format!("http://127.0.0.1:{}/said", site.ports[1]);
        said += &ab(&site, &["-k", "-c", "8", "-n", "5000", &url]);
        // curl's two, and each of ab's eight; the connections behind them.
        site.lab.expect_moved_in_all(2 * (2 + 8 + 2));
        site.ends();
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// What ab says of its requests, but not how quick they were.
fn ab(site: &Site, arguments: &[&str]) -> String {
    let said = site.lab.program("ab").arg("-q").args(arguments).run(PATIENCE * 2).good();
    let heads = ["Complete", "Failed", "Non-2xx", "Keep-Alive", "Total transferred", "HTML"];
    let lines = said.lines().filter(|line| heads.iter().any(|head| line.starts_with(head)));
    lines.fold(String::new(), |all, line| all + line + "\n")
}

/// TLS by HTTP/1.1 and HTTP/2, many streams on one connection.
fn encrypted(mode: Mode) {
    let run = |mode| {
        let site = Site::new(mode);
        let mut said = String::new();
        for version in ["--http1.1", "--http2"] {
            let paths = ["said", "1", "small", "8", "none", "64", "small"];
            said += &site.curl(2, paths).arg(version).run(PATIENCE).good();
            [(1, "1"), (3, "8"), (5, "64"), (6, "small")].into_iter().for_each(|(n, name)| site.same(n, name));
        }
        // Twenty at a time.
        let paths = ["1", "small"].repeat(20);
        let parallel = site.curl(2, &paths).args(["--http2", "--parallel", "--parallel-max", "20"]);
        let parallel = parallel.run(PATIENCE).good();
        assert_eq!(parallel.lines().filter(|line| line.starts_with("200 ")).count(), paths.len(), "{parallel}");
        (0..40).for_each(|number| site.same(number, paths[number]));
        site.lab.expect_moved_in_all(2 * 3);
        site.ends();
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// The configuration is read again, and workers replaced, five times while requests come: none fails.
fn reload(mode: Mode) {
    let mut site = Site::new(mode);
    // One after the other on a connection that is kept until a worker leaves, and new ones, four at a time.
    let kept = site.curl(1, vec!["said"; 20_000]).start();
    let url = format!("http://127.0.0.1:{}/said", site.ports[0]);
    let fresh = site.lab.program("ab").args(["-q", "-c", "4", "-n", "10000", &url]).start();
    for _ in 0..5 {
        let before = site.workers();
        site.server.signal(libc::SIGHUP);
        let gone = slipstream_tests::until(PATIENCE, || {
            let now = site.workers();
            (now.len() == 2 && before.iter().all(|pid| !now.contains(pid))).then_some(())
        });
        assert!(gone.is_some(), "workers that stay\n{}", site.server.report());
    }
    let kept = kept.finish(PATIENCE).good();
    let good = kept.lines().filter(|line| line.starts_with("200 ") && line.contains(" 4 ")).count();
    assert_eq!(good, 20_000, "{kept}");
    let fresh = fresh.finish(PATIENCE).good();
    assert!(fresh.contains("Complete requests:      10000\nFailed requests:        0"), "{fresh}");
    site.lab.expect_moved_in_all(2 * 2 * 3);
    site.ends();
}

modes! {
    sendfile(super::files);
    sendfile_first(super::unhashable);
    kept_upstreams(super::proxy);
    http2(super::encrypted);
    reloads(super::reload);
}
