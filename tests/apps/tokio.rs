//! A server and a client on tokio: large writes that find no room, connections by the dozen, time-outs.

use crate::{assert_same, modes, serve};
use slipstream_tests::{Lab, Mode, PATIENCE, Port};

fn ask(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("tokio", mode), Port::free());
        let peer = env!("CARGO_BIN_EXE_tokio-peer");
        let _server = serve(lab.program(peer).args(["serve", &port.to_string()]), &port);
        let said = lab.program(peer).args(["ask", &port.to_string()]).run(PATIENCE * 2).good();
        lab.expect_moved_in_all(40);
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

modes! {
    large_and_many(super::ask);
}
