//! RabbitMQ, and with it Erlang's virtual machine, by way of pika.

use crate::{assert_same, modes, python};
use slipstream_tests::{Lab, Mode, PATIENCE, Port, Program, Running, account, until};
use std::os::unix::fs::chown;

/// The names of running nodes, without which none starts. It would go to the background by itself.
fn names(lab: &Lab, port: &Port) -> Running {
    let program = lab.program("epmd").args(["-port", &port.to_string()]).env("ERL_EPMD_ADDRESS", "127.0.0.1");
    crate::serve(program, port)
}

/// A node of its own in the lab's folder.
fn node(lab: &Lab, names: &Port, ports: [&Port; 2]) -> Running {
    let home = lab.folder().join("home");
    std::fs::create_dir(&home).expect("a folder");
    let (user, group) = account("rabbitmq").unzip();
    chown(&home, user, group).expect("a new owner");
    // Debian's command in /usr/sbin changes users, and the environment with them.
    let program: Program = lab.program("/usr/lib/rabbitmq/bin/rabbitmq-server").user("rabbitmq").env("HOME", &home);
    let program = program.env("RABBITMQ_NODENAME", "test@localhost").env("ERL_EPMD_PORT", names.to_string());
    let program = program.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1").env("RABBITMQ_NODE_PORT", ports[0].to_string());
    let program = program.env("RABBITMQ_DIST_PORT", ports[1].to_string()).env("RABBITMQ_LOGS", "-");
    let places = ["MNESIA_BASE", "LOG_BASE", "ENABLED_PLUGINS_FILE", "CONFIG_FILE"];
    let paths = [home.clone(), home.clone(), home.join("plugins"), home.join("none")];
    let program =
        places.iter().zip(paths).fold(program, |program, (name, path)| program.env(format!("RABBITMQ_{name}"), path));
    let mut node = program.start();
    node.wait_for("it is up", PATIENCE * 2, |this| this.stdout().contains("Server startup complete").then_some(()));
    node
}

/// Eight connections at once with confirmations and acknowledgements, 8 MiB in one message, a consumer that vanishes.
fn messages(mode: Mode) {
    let run = |mode| {
        let (lab, names_at) = (Lab::new("rabbitmq", mode), Port::free());
        let ports = [Port::free(), Port::free()];
        let _names = names(&lab, &names_at);
        let node = node(&lab, &names_at, [&ports[0], &ports[1]]);
        let said = python(&lab, "amqp_client.py").arg(ports[0].to_string()).run(PATIENCE * 2).good();
        assert_eq!(said.matches(": 300 True").count(), 4, "{said}");
        lab.expect_moved_in_all(2 * 8);
        lab.expect_no_alarm();
        node.stop().good();
        let gone = until(PATIENCE, || (!ports[1].is_listening()).then_some(()));
        assert!(gone.is_some(), "Erlang stays");
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

modes! {
    publishers_and_consumers(super::messages);
}
