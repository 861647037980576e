//! memcached with four threads, a python client and libmemcached's own load.

use crate::{assert_same, modes, python, serve};
use slipstream_tests::{Lab, Mode, PATIENCE, Port, Running};

fn server(lab: &Lab, port: &Port) -> Running {
    let program = lab.program("memcached").args(["-u", "root", "-l", "127.0.0.1", "-p", &port.to_string()]);
    serve(program.args(["-U", "0", "-t", "4", "-m", "256", "-I", "2m"]), port)
}

/// Eight threads of a real client, held while the broker is asked.
fn python_client(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("memcached", mode), Port::free());
        let _server = server(&lab, &port);
        let mut client = python(&lab, "memcache_client.py").arg(port.to_string()).piped().start();
        let number = port.number();
        lab.expect_moved(&mut client, 16, |c| [c.local_port(), c.remote_port()].contains(&Some(number)), |_| ());
        let said = client.finish(PATIENCE).good();
        lab.expect_moved_in_all(16);
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// memcslap: sets, then gets that are checked.
fn load(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("memcslap", mode), Port::free());
        let _server = server(&lab, &port);
        let servers = format!("--servers=127.0.0.1:{port}");
        for test in ["--test=set", "--test=get", "--test=mget"] {
            let program = lab.program("memcslap").args([&servers, test, "--concurrency=4", "--execute-number=2000"]);
            program.run(PATIENCE * 2).good();
        }
        lab.expect_moved_in_all(2 * 4);
        // Small tools, a connection each.
        let file = lab.folder().join("value");
        std::fs::write(&file, "v".repeat(300_000)).expect("a file");
        lab.program("memccp").args([&servers, "--expire=0"]).arg(&file).run(PATIENCE).good();
        lab.program("memccat").args([&servers, "value"]).run(PATIENCE).good()
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

modes! {
    threads(super::python_client);
    slap(super::load);
}
