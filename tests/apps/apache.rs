//! Apache with processes (prefork) and with threads (event): files, kept connections, sendfile, a proxy, restarts.

use crate::{assert_same, modes};
use slipstream_tests::{Lab, Mode, PATIENCE, Port, Program, Running, until};
use std::fmt::Write as _;
use std::fs;

const MIB: usize = 1 << 20;

/// The files that it serves, by size.
const FILES: [(&str, usize); 4] = [("small", 100), ("1", MIB), ("8", 8 * MIB), ("64", 64 * MIB)];

/// Files on `ports[0]`, the same by sendfile on `ports[1]`, a proxy to the first on `ports[2]`.
struct Site {
    lab: Lab,
    ports: [Port; 3],
    server: Running,
}

impl Site {
    fn new(mode: Mode, model: &str) -> Self {
        let (lab, ports) = (Lab::new("apache", mode), [Port::free(), Port::free(), Port::free()]);
        fs::create_dir(lab.folder().join("www")).expect("a folder");
        for (name, size) in FILES {
            let body: Vec<u8> =
                (0..size as u32 / 4 + 1).flat_map(|i| i.wrapping_mul(0x9e37_79b1).to_le_bytes()).collect();
            fs::write(lab.folder().join("www").join(name), &body[..size]).expect("a file");
        }
        fs::write(lab.folder().join("apache.conf"), configuration(&lab, &ports, model)).expect("a configuration");
        let apache = lab.program("apache2").args(["-D", "FOREGROUND", "-d"]).arg(lab.folder());
        let mut server = apache.args(["-f", "apache.conf"]).start();
        server.wait_for("it listens", PATIENCE, |_| ports.iter().all(Port::is_listening).then_some(()));
        Self { lab, ports, server }
    }

    /// A curl that asks for all of these, one after the other on one connection, and keeps what it gets.
    fn curl(&self, port: usize, paths: impl IntoIterator<Item = impl AsRef<str>>) -> Program {
        let mut text = String::from("silent\nshow-error\n");
        for (i, path) in paths.into_iter().enumerate() {
            let _ = writeln!(text, "url = http://127.0.0.1:{}/{}\noutput = got-{i}", self.ports[port], path.as_ref());
        }
        text += "write-out = \"%{http_code} %{num_connects} %{size_download}\\n\"\n";
        fs::write(self.lab.folder().join("curlrc"), text).expect("a file");
        self.lab.program("curl").args(["-K", "curlrc"])
    }

    fn ends(self) {
        self.lab.expect_no_alarm();
        self.server.stop().good();
    }
}

fn configuration(lab: &Lab, ports: &[Port; 3], model: &str) -> String {
    let folder = lab.folder().display();
    let names = ["authz_core", "proxy", "proxy_http", &format!("mpm_{model}")];
    let modules =
        names.map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")).concat();
    let [files, sendfile, proxy] = ports;
    // Its children are the test's user's: `User` is a module of its own, which is not loaded.
    format!(
        "{modules}
        ServerName localhost
        PidFile {folder}/pid
        ErrorLog /dev/stderr
        DefaultRuntimeDir {folder}
        DocumentRoot {folder}/www
        StartServers 2
        ServerLimit 32
        {workers}
        KeepAlive On
        MaxKeepAliveRequests 0
        KeepAliveTimeout 30
        Listen 127.0.0.1:{files}
        Listen 127.0.0.1:{sendfile}
        Listen 127.0.0.1:{proxy}
        <VirtualHost 127.0.0.1:{sendfile}>
            EnableSendfile On
        </VirtualHost>
        <VirtualHost 127.0.0.1:{proxy}>
            ProxyPass / http://127.0.0.1:{files}/
        </VirtualHost>",
        // Enough of them that none has to leave a kept connection, and none is one too many.
        workers = match model {
            "event" => "MaxRequestWorkers 64\nThreadsPerChild 16\nMinSpareThreads 1\nMaxSpareThreads 64",
            _ => "MaxRequestWorkers 32\nMinSpareServers 1\nMaxSpareServers 32",
        },
    )
}

/// Bodies through each door, on connections that have moved and on new ones; many requests.
fn bodies(mode: Mode, model: &str) {
    let run = |mode| {
        let site = Site::new(mode, model);
        let mut said = String::new();
        for port in 0..3 {
            for before in [300, 0] {
                let mut paths = vec!["none"; before];
                paths.extend(["1", "small", "64", "none", "8", "small"]);
                said += &site.curl(port, paths).run(PATIENCE).good();
                for (number, name) in [(0, "1"), (1, "small"), (2, "64"), (4, "8"), (5, "small")] {
                    let got = format!("got-{}", before + number);
                    site.lab.program("cmp").arg(got).arg(format!("www/{name}")).run(PATIENCE).good();
                }
            }
        }
        let part = site.curl(0, ["none", "none", "none", "64"]).args(["-r", "1000-20000000", "--limit-rate", "20M"]);
        said += &part.run(PATIENCE).good();
        site.lab.expect_moved_in_all(2 * 5);
        site.ends();
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// ab, connections kept and not; a graceful restart in the middle fails none.
fn load(mode: Mode, model: &str) {
    let mut site = Site::new(mode, model);
    for port in 0..3 {
        let url = format!("http://127.0.0.1:{}/small", site.ports[port]);
        let said = site.lab.program("ab").args(["-q", "-k", "-c", "6", "-n", "3000", &url]).run(PATIENCE).good();
        assert!(said.contains("Complete requests:      3000\nFailed requests:        0"), "{said}");
        assert!(said.contains("Keep-Alive requests:    3000"), "{said}");
    }
    let url = format!("http://127.0.0.1:{}/small", site.ports[0]);
    let fresh = site.lab.program("ab").args(["-q", "-c", "4", "-n", "4000", &url]).start();
    let kept = site.curl(0, vec!["small"; 4000]).start();
    for _ in 0..3 {
        let marks = site.server.stderr().matches("resuming normal operations").count();
        site.server.signal(libc::SIGUSR1);
        let again = until(PATIENCE, || {
            (site.server.stderr().matches("resuming normal operations").count() > marks).then_some(())
        });
        assert!(again.is_some(), "no restart\n{}", site.server.report());
    }
    let fresh = fresh.finish(PATIENCE).good();
    assert!(fresh.contains("Complete requests:      4000\nFailed requests:        0"), "{fresh}");
    let kept = kept.finish(PATIENCE).good();
    assert_eq!(kept.lines().filter(|line| line.starts_with("200 ")).count(), 4000, "{kept}");
    site.lab.expect_moved_in_all(2 * 6);
    site.ends();
}

modes! {
    prefork_files(super::prefork_files);
    prefork_requests(super::prefork_requests);
    event_files(super::event_files);
    event_requests(super::event_requests);
}

fn prefork_files(mode: Mode) {
    bodies(mode, "prefork");
}

fn prefork_requests(mode: Mode) {
    load(mode, "prefork");
}

fn event_files(mode: Mode) {
    bodies(mode, "event");
}

fn event_requests(mode: Mode) {
    load(mode, "event");
}
