//! ZeroMQ and gRPC: libraries with threads and event loops of their own.

use crate::{assert_same, modes, python, serve};
use slipstream_tests::{Connection, Lab, Mode, PATIENCE, Port};

/// What becomes of the connections, both of whose ends count.
#[derive(Clone, Copy)]
enum Fate {
    /// At least so many endpoints move.
    Move(usize),
    /// At least so many stay on TCP for this reason, and none moves.
    Stay(usize, &'static str),
}

fn talk(mode: Mode, script: &str, ports: u16, fate: Fate) {
    let run = |mode| {
        let (lab, first) = (Lab::new(script, mode), ports_in_a_row(ports));
        let port = first[0].number();
        let _server = serve(python(&lab, script).args(["serve", &port.to_string()]), &first[0]);
        let mut client = python(&lab, script).args(["talk", &port.to_string()]).piped().start();
        // On the others, if there are any, messages go one way only.
        let which = |c: &Connection| [c.local_port(), c.remote_port()].contains(&Some(port));
        match fate {
            Fate::Move(least) => lab.expect_moved(&mut client, least, which, |_| ()),
            Fate::Stay(least, reason) if mode.moves() => client.wait_for("the reason", PATIENCE, |_| {
                let all = lab.status().connections;
                let ours: Vec<_> = all.iter().filter(|c| which(c)).collect();
                let stay = ours.iter().all(|c| c.state == "no-opt" && c.reason.as_deref() == Some(reason));
                (ours.len() >= least && stay).then_some(())
            }),
            Fate::Stay(..) => {}
        }
        client.type_in("end\n");
        let said = client.finish(PATIENCE * 2).good();
        match fate {
            Fate::Move(least) => lab.expect_moved_in_all(least as u64),
            Fate::Stay(..) => lab.expect_no_alarm(),
        }
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// So many free ports, one after the other.
fn ports_in_a_row(count: u16) -> Vec<Port> {
    let mut row: Vec<Port> = Vec::new();
    while row.len() < usize::from(count) {
        let next = Port::free();
        if row.last().is_some_and(|last| last.number() + 1 != next.number()) {
            row.clear();
        }
        row.push(next);
    }
    row
}

fn zmq(mode: Mode) {
    talk(mode, "talk_zmq.py", 3, Fate::Move(6));
}

/// It asks each of its sockets for TCP_INQ: how much more there is, with every receive.
fn grpc(mode: Mode) {
    talk(mode, "talk_grpc.py", 1, Fate::Stay(4, "tcp-option"));
}

modes! {
    zeromq(super::zmq);
    grpc_streams(super::grpc);
}
