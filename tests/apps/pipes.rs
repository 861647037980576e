//! Programs that pass bytes on: netcat, socat, openssl's client and server.

use crate::{assert_same, modes, python, serve};
use slipstream_tests::{Connection, Lab, Mode, PATIENCE, Port};
use std::fmt::Write as _;

/// A body of so many bytes, each line another.
fn body(lab: &Lab, name: &str, lines: usize) -> std::path::PathBuf {
    let path = lab.folder().join(name);
    let mut text = String::new();
    for i in 0..lines {
        let _ = writeln!(text, "{name} {i} {}", i.wrapping_mul(2_654_435_761));
    }
    std::fs::write(&path, text).expect("a file");
    path
}

fn open(path: &std::path::Path) -> std::fs::File {
    std::fs::File::open(path).expect("a file that was just made")
}

/// Two netcats that send each other some 50 MiB at once, and end each direction by itself.
fn netcat(mode: Mode) {
    let (lab, port) = (Lab::new("nc", mode), Port::free());
    let (here, there) = (body(&lab, "here", 2_000_000), body(&lab, "there", 1_500_000));
    let netcat = || lab.program("nc.openbsd").arg("-N");
    let server = serve(netcat().args(["-l", "127.0.0.1", &port.to_string()]).input(open(&there)), &port);
    let client = netcat().args(["127.0.0.1", &port.to_string()]).input(open(&here)).run(PATIENCE).good();
    let got = server.finish(PATIENCE).good();
    assert_same(&std::fs::read_to_string(there).expect("the file"), &client);
    assert_same(&std::fs::read_to_string(here).expect("the file"), &got);
    lab.expect_moved_in_all(2);
}

/// socat between a client and a server: a process for each connection, forked when it is accepted, and select.
fn socat(mode: Mode) {
    let run = |mode| {
        let (lab, front, back) = (Lab::new("socat", mode), Port::free(), Port::free());
        let _echo = serve(python(&lab, "echo_server.py").args(["threads", &back.to_string()]), &back);
        let listen = format!("TCP-LISTEN:{front},bind=127.0.0.1,reuseaddr,fork");
        let _socat = serve(lab.program("socat").arg(listen).arg(format!("TCP:127.0.0.1:{back}")), &front);
        let mut client = python(&lab, "talk.py").arg(front.to_string()).piped().start();
        client.type_in("open 0\nopen 1\ntrips 0 100\ntrips 1 100\n");
        let ports = [front.number(), back.number()];
        let which =
            |c: &Connection| [c.local_port(), c.remote_port()].into_iter().flatten().any(|p| ports.contains(&p));
        lab.expect_moved(&mut client, 8, which, |client| client.type_in("trips 0 7\ntrips 1 7\n"));
        client.type_in("bulk 0 20000000\nbulk 1 20000000\ntrips 0 200\nclose 0\nclose 1\n");
        let said = client.finish(PATIENCE).good();
        lab.expect_moved_in_all(8);
        said.lines().filter(|line| !line.contains("made 7 trips")).collect::<Vec<_>>().join("\n")
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// s_server, which gives every line back reversed, and s_client; then its session is resumed.
fn openssl(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("openssl", mode), Port::free());
        let make = lab.program("openssl").bare().args(["req", "-x509", "-newkey", "ec", "-pkeyopt"]);
        let make = make.args(["ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost", "-days", "2"]);
        make.args(["-keyout", "key", "-out", "certificate"]).run(PATIENCE).good();
        let server = lab.program("openssl").args(["s_server", "-rev", "-cert", "certificate", "-key", "key"]);
        let _server = serve(server.args(["-accept", &format!("127.0.0.1:{port}")]), &port);
        let connect = || {
            let client = lab.program("openssl").args(["s_client", "-CAfile", "certificate", "-verify_return_error"]);
            client.args(["-servername", "localhost", "-connect", &format!("127.0.0.1:{port}")])
        };
        let mut said = String::new();
        for version in ["-tls1_2", "-tls1_3"] {
            let client = connect().args([version, "-quiet", "-no_ign_eof", "-sess_out", "session"]);
            let mut client = client.piped().start();
            client.type_in("first\n");
            client.wait_output("the first line back", PATIENCE, |said| said.contains("tsrif").then_some(()));
            let number = port.number();
            let which = |c: &Connection| [c.local_port(), c.remote_port()].contains(&Some(number));
            let mut turns = 0;
            lab.expect_moved(&mut client, 2, which, |client| {
                turns += 1;
                client.type_in(&format!("turn-{turns}\n"));
                let back: String = format!("turn-{turns}").chars().rev().collect();
                client.wait_output("a turn", PATIENCE, |said| said.lines().any(|line| line == back).then_some(()));
            });
            for i in 0..300 {
                client.type_in(&format!("{}{i}\n", "line".repeat(i % 90)));
            }
            client.type_in("last\n");
            client.wait_output("the last line back", PATIENCE, |said| said.contains("tsal").then_some(()));
            let lines = client.finish(PATIENCE).good();
            said.extend(lines.lines().filter(|line| !line.ends_with("-nrut")).flat_map(|line| [line, "\n"]));
            let again = connect().args([version, "-sess_in", "session"]).run(PATIENCE).good();
            assert!(again.contains("\nReused, TLSv1."), "{again}");
        }
        lab.expect_moved_in_all(4);
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

modes! {
    netcats(super::netcat);
    socat_forking(super::socat);
    openssl_lines(super::openssl);
}
