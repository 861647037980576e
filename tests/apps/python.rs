//! Python's ways to use sockets: blocking with threads, forks, select, asyncio.

use crate::{assert_same, modes, python, serve};
use slipstream_tests::{Connection, Lab, Mode, PATIENCE, Port};

fn blocking_client(mode: Mode, way: &str) -> String {
    let (lab, port) = (Lab::new("python", mode), Port::free());
    let _server = serve(python(&lab, "echo_server.py").args([way, &port.to_string()]), &port);
    let mut client = python(&lab, "talk.py").arg(port.to_string()).piped().start();
    let number = port.number();
    for one in 0..3 {
        client.type_in(&format!("open {one}\ntrips {one} 200\n"));
    }
    client.wait_output("the trips", PATIENCE, |said| said.contains("200 trips on 2").then_some(()));
    let which = |c: &Connection| [c.local_port(), c.remote_port()].contains(&Some(number));
    lab.expect_moved(&mut client, 6, which, |client| client.type_in("trips 0 7\ntrips 1 7\ntrips 2 7\n"));
    for one in 0..3 {
        client.type_in(&format!("bulk {one} 20000000\nfile {one}\ntrips {one} 1000\nclose {one}\n"));
    }
    let said = client.finish(PATIENCE).good();
    lab.expect_moved_in_all(6);
    said.lines().filter(|line| !line.contains("made 7 trips")).collect::<Vec<_>>().join("\n")
}

fn threads(mode: Mode) {
    assert_same(&blocking_client(Mode::Plain, "threads"), &blocking_client(mode, "threads"));
}

fn forks(mode: Mode) {
    assert_same(&blocking_client(Mode::Plain, "forking"), &blocking_client(mode, "forking"));
}

fn select(mode: Mode) {
    assert_same(&blocking_client(Mode::Plain, "select"), &blocking_client(mode, "select"));
}

fn asyncio_server(mode: Mode) {
    assert_same(&blocking_client(Mode::Plain, "asyncio"), &blocking_client(mode, "asyncio"));
}

fn asyncio_both(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("asyncio", mode), Port::free());
        let _server = serve(python(&lab, "echo_server.py").args(["asyncio", &port.to_string()]), &port);
        let mut client = python(&lab, "asyncio_client.py").arg(port.to_string()).piped().start();
        client.wait_output("it started", PATIENCE, |said| said.contains("started").then_some(()));
        let number = port.number();
        let which = |c: &Connection| [c.local_port(), c.remote_port()].contains(&Some(number));
        lab.expect_moved(&mut client, 16, which, |_| ());
        let said = client.finish(PATIENCE).good();
        lab.expect_moved_in_all(16);
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

modes! {
    server_with_threads(super::threads);
    server_that_forks(super::forks);
    server_with_select(super::select);
    server_with_asyncio(super::asyncio_server);
    asyncio_on_both_sides(super::asyncio_both);
}
