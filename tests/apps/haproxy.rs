//! HAProxy with two threads before two nginx: HTTP, TCP with splice, health checks, a new process that takes over.

use crate::{assert_same, keys, modes};
use slipstream_tests::{Lab, Mode, PATIENCE, Port, Program, Running};
use std::fmt::Write as _;
use std::fs;

/// HTTP on `ports[0]`, TCP on `ports[1]`, TLS before HTTP on `ports[2]`, TCP that is always spliced on `ports[3]`; behind
/// them two servers on their own ports.
struct Balanced {
    lab: Lab,
    ports: [Port; 4],
    servers: Vec<(Port, Running)>,
    proxy: Running,
}

impl Balanced {
    fn new(mode: Mode) -> Self {
        let (lab, ports) = (Lab::new("haproxy", mode), std::array::from_fn(|_| Port::free()));
        fs::create_dir(lab.folder().join("www")).expect("a folder");
        let body: Vec<u8> = (0..8_000_000u32).flat_map(|i| i.wrapping_mul(0x9e37_79b1).to_le_bytes()).collect();
        fs::write(lab.folder().join("www/big"), body).expect("a file");
        keys(&lab);
        let (key, certificate) = ("key.pem", "cert.pem");
        let read = |name: &str| fs::read_to_string(lab.folder().join(name)).expect("a key");
        fs::write(lab.folder().join("both.pem"), read(certificate) + &read(key)).expect("a file");
        let servers: Vec<_> = (0..2).map(|number| serve(&lab, number, Port::free())).collect();
        fs::write(lab.folder().join("haproxy.cfg"), configuration(&lab, &ports, &servers)).expect("a configuration");
        let mut proxy = haproxy(&lab).start();
        proxy.wait_for("it listens", PATIENCE, |_| ports.iter().all(Port::is_listening).then_some(()));
        Self { lab, ports, servers, proxy }
    }

    /// A curl that asks for all of these, one after the other on one connection.
    fn curl(&self, port: usize, paths: impl IntoIterator<Item = impl AsRef<str>>) -> Program {
        let scheme = if port == 2 { "https" } else { "http" };
        let mut text =
            String::from("silent\nshow-error\ninsecure\nwrite-out = \" %{http_code} %{size_download}\\n\"\n");
        for path in paths {
            let _ = writeln!(text, "url = {scheme}://127.0.0.1:{}/{}", self.ports[port], path.as_ref());
            let _ = writeln!(text, "output = {}", if path.as_ref() == "big" { "got" } else { "-" });
        }
        fs::write(self.lab.folder().join("curlrc"), text).expect("a file");
        self.lab.program("curl").args(["-K", "curlrc"])
    }

    /// How many of a server's health checks tell `state`, by the proxy's own word.
    fn servers_that_are(&self, state: &str) -> usize {
        let url = format!("http://127.0.0.1:{}/stats;csv", self.ports[0]);
        let said = self.lab.program("curl").args(["-sS", &url]).run(PATIENCE).good();
        let state = format!(",{state},");
        said.lines().filter(|line| line.starts_with("web,server") && line.contains(&state)).count()
    }

    fn ends(mut self) {
        self.lab.expect_no_alarm();
        self.proxy.signal(libc::SIGUSR1);
        self.proxy.finish(PATIENCE).good();
        for (_, server) in self.servers {
            server.stop().good();
        }
    }
}

fn haproxy(lab: &Lab) -> Program {
    lab.program("haproxy").args(["-db", "-f", "haproxy.cfg"])
}

/// An nginx that says its number, and has one large file.
fn serve(lab: &Lab, number: usize, port: Port) -> (Port, Running) {
    let folder = lab.folder().display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {folder}/{name}{number};")).concat();
    let text = format!(
        "daemon off; master_process off; pid {folder}/pid{number}; error_log stderr; events {{}}
        http {{
            {temporary} access_log off; keepalive_requests 1000000;
            server {{ listen 127.0.0.1:{port}; root {folder}/www; location /who {{ return 200 server{number}; }} }}
        }}"
    );
    let path = lab.folder().join(format!("nginx{number}.conf"));
    fs::write(&path, text).expect("a configuration");
    let server = crate::serve(lab.program("nginx").arg("-c").arg(path), &port);
    (port, server)
}

fn configuration(lab: &Lab, ports: &[Port; 4], servers: &[(Port, Running)]) -> String {
    let folder = lab.folder().display();
    let [http, tcp, tls, spliced] = ports;
    let servers: String = servers.iter().enumerate().fold(String::new(), |all, (i, (port, _))| {
        all + &format!(" server server{i} 127.0.0.1:{port} check inter 200ms fall 2 rise 1\n")
    });
    format!(
        "global
 nbthread 2
 maxconn 200
 stats socket {folder}/haproxy.sock mode 600 level admin expose-fd listeners
defaults
 mode http
 timeout connect 20s
 timeout client 60s
 timeout server 60s
 option redispatch
 retries 5
 http-reuse always
frontend http
 bind 127.0.0.1:{http}
 stats enable
 stats uri /stats
 default_backend web
frontend tls
 bind 127.0.0.1:{tls} ssl crt {folder}/both.pem alpn h2,http/1.1
 default_backend web
backend web
 option splice-request
 option splice-response
 balance roundrobin
 option httpchk GET /who
{servers}listen tcp
 mode tcp
 bind 127.0.0.1:{tcp}
{servers}listen spliced
 mode tcp
 option splice-request
 option splice-response
 bind 127.0.0.1:{spliced}
{servers}"
    )
}

/// 32 MB through each door, on connections that have moved and on new ones; who answers, in turn.
fn bodies(mode: Mode) {
    let run = |mode| {
        let site = Balanced::new(mode);
        let mut said = String::new();
        for port in 0..4 {
            for before in [500, 0] {
                let mut paths = vec!["who"; before];
                paths.extend(["big", "who", "none", "big", "who"]);
                let answers = site.curl(port, paths).run(PATIENCE).good();
                // In turn for HTTP; for TCP whoever took the connection.
                said += &answers.replace("server0", "server").replace("server1", "server");
                said += &site.lab.program("cmp").args(["got", "www/big"]).run(PATIENCE).good();
            }
        }
        let h2 = site.curl(2, ["who", "big"].repeat(10)).args(["--http2", "--parallel"]).run(PATIENCE).good();
        said += &format!("{} of 32000000\n", h2.matches("200 32000000").count());
        // The first at each of three doors, and those behind.
        site.lab.expect_moved_in_all(2 * 3 * 2);
        // What begins with splice stays.
        assert!(!mode.moves() || site.lab.status().totals.reason("unhashable") > 0);
        site.ends();
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// ab, connections kept and not, through both kinds of proxy.
fn load(mode: Mode) {
    let site = Balanced::new(mode);
    for port in [0, 1, 3] {
        for (kept, count) in [("-k", "5000"), ("-q", "1000")] {
            let url = format!("http://127.0.0.1:{}/who", site.ports[port]);
            let said = site.lab.program("ab").args(["-q", kept, "-c", "8", "-n", count, &url]).run(PATIENCE).good();
            assert!(said.contains(&format!("Complete requests:      {count}\nFailed requests:        0")), "{said}");
            assert!(!said.contains("Non-2xx"), "{said}");
        }
    }
    // Eight kept connections at each door, and those behind the second.
    site.lab.expect_moved_in_all(2 * (8 + 8 + 8));
    site.ends();
}

/// A server dies and comes back, by the word of the health checks; meanwhile the other one answers.
fn health(mode: Mode) {
    let run = |mode| {
        let mut site = Balanced::new(mode);
        let are = |site: &Balanced, state: &str, count: usize| {
            let so = slipstream_tests::until(PATIENCE, || (site.servers_that_are(state) == count).then_some(()));
            assert!(so.is_some(), "not {count} servers are {state}\n{}", site.proxy.report());
        };
        are(&site, "UP", 2);
        let mut said = site.curl(0, vec!["who"; 100]).run(PATIENCE).good();
        let (port, server) = site.servers.pop().expect("the second");
        drop(server);
        are(&site, "DOWN", 1);
        said += &site.curl(0, vec!["who"; 100]).run(PATIENCE).good();
        site.servers.push(serve(&site.lab, 1, port));
        are(&site, "UP", 2);
        said += &site.curl(0, vec!["who"; 100]).run(PATIENCE).good();
        site.lab.expect_moved_in_all(2 * 3);
        site.ends();
        // Two threads take turns at whose turn it is.
        let mut lines: Vec<_> = said.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// New processes take over three times while requests come: none fails.
fn reload(mode: Mode) {
    let mut site = Balanced::new(mode);
    let url = format!("http://127.0.0.1:{}/who", site.ports[0]);
    let kept = site.curl(0, vec!["who"; 10_000]).start();
    let fresh = site.lab.program("ab").args(["-q", "-c", "4", "-n", "4000", &url]).start();
    for _ in 0..3 {
        // It asks for the listeners: what waits in one that is closed would be reset.
        let new = haproxy(&site.lab).args(["-x", "haproxy.sock", "-sf", &site.proxy.pid().to_string()]).start();
        // The old one takes no more connections, and ends with its last.
        std::mem::replace(&mut site.proxy, new).finish(PATIENCE).good();
    }
    let kept = kept.finish(PATIENCE).good();
    let good = kept.lines().filter(|line| line.starts_with("server") && line.ends_with(" 200 7")).count();
    assert_eq!(good, 10_000, "{kept}");
    let fresh = fresh.finish(PATIENCE).good();
    assert!(fresh.contains("Complete requests:      4000\nFailed requests:        0"), "{fresh}");
    assert!(!fresh.contains("Non-2xx"), "{fresh}");
    site.ends();
}

modes! {
    doors(super::bodies);
    many_requests(super::load);
    health_checks(super::health);
    take_over(super::reload);
}
