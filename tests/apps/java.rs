//! Java: blocking sockets, NIO selectors, asynchronous channels, HttpServer with HttpClient. Both ends are Java's.

use crate::{assert_same, modes, serve};
use slipstream_tests::{Connection, Lab, Mode, PATIENCE, Port, Program};

/// The script beside this file, compiled.
fn compile(lab: &Lab) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/apps/scripts/Talk.java");
    lab.program("javac").bare().args(["-d", "."]).arg(source).run(PATIENCE * 2).good();
}

fn java(lab: &Lab, way: &str, role: &str, port: &Port) -> Program {
    // A small machine's Java: what it does about sockets is the same.
    let java = lab.program("java").args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "Talk"]);
    java.args([way, role, &port.to_string()])
}

/// `least` endpoints move, both sides counted.
fn talk(mode: Mode, way: &str, least: usize) {
    let run = |mode| {
        let (lab, port) = (Lab::new(way, mode), Port::free());
        compile(&lab);
        let server = serve(java(&lab, way, "serve", &port), &port);
        let mut client = java(&lab, way, "talk", &port).piped().start();
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

fn blocking(mode: Mode) {
    talk(mode, "blocking", 2);
}

fn selector(mode: Mode) {
    talk(mode, "selector", 16);
}

fn channels(mode: Mode) {
    talk(mode, "async", 8);
}

fn http(mode: Mode) {
    talk(mode, "http", 2);
}

modes! {
    blocking_sockets(super::blocking);
    nio_selectors(super::selector);
    asynchronous_channels(super::channels);
    http_server_and_client(super::http);
}
