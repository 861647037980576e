//! Node: net, http with connections kept alive, worker threads, cluster. Both ends are Node's.

use crate::{assert_same, modes, serve};
use slipstream_tests::{Connection, Lab, Mode, PATIENCE, Port, Program};

fn node(lab: &Lab, way: &str, role: &str, port: &Port) -> Program {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/apps/scripts/talk.js");
    lab.program("node").arg(script).args([way, role, &port.to_string()])
}

/// Talks; with `least` endpoints, both sides counted, seen moved while it does.
fn talk(mode: Mode, way: &str, least: usize) {
    let run = |mode| {
        let (lab, port) = (Lab::new(way, mode), Port::free());
        let server = serve(node(&lab, way, "serve", &port), &port);
        let mut client = node(&lab, way, "talk", &port).piped().start();
        let number = port.number();
        let which = |c: &Connection| [c.local_port(), c.remote_port()].contains(&Some(number));
        lab.expect_moved(&mut client, least, which, |_| ());
        client.type_in("end\n");
        let said = client.finish(PATIENCE * 2).good();
        assert_eq!(server.stderr(), "");
        lab.expect_moved_in_all(least as u64);
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

fn net(mode: Mode) {
    talk(mode, "net", 8);
}

fn http(mode: Mode) {
    talk(mode, "http", 8);
}

fn workers(mode: Mode) {
    talk(mode, "workers", 12);
}

/// The primary accepts and sends each connection to a worker over a Unix socket: such a socket is not watched, so only
/// the client's ends are known, and stay alone.
fn cluster(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("cluster", mode), Port::free());
        let server = serve(node(&lab, "cluster", "serve", &port), &port);
        let mut client = node(&lab, "cluster", "talk", &port).piped().start();
        if mode.moves() {
            client.wait_for("four offers without a peer", PATIENCE, |this| {
                let status = lab.status();
                let own: Vec<_> = status.connections.iter().filter(|c| c.pid == this.pid()).collect();
                (own.len() == 4 && own.iter().all(|c| c.state == "pre-opt")).then_some(())
            });
        }
        client.type_in("end\n");
        let said = client.finish(PATIENCE * 2).good();
        assert_eq!(server.stderr(), "");
        lab.expect_no_alarm();
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

modes! {
    net_sockets(super::net);
    http_kept_alive(super::http);
    worker_threads(super::workers);
    cluster_of_processes(super::cluster);
}
