//! Real programs from Debian's packages, plain and under the shim: the same output, and their connections moved.

mod apache;
mod curl;
mod haproxy;
mod http_load;
mod iperf;
mod java;
mod load;
mod mariadb;
mod memcached;
mod messages;
mod netpipe;
mod nginx;
mod node;
mod pipes;
mod postgres;
mod python;
mod python_web;
mod rabbitmq;
mod redis;
mod redis_nodes;
mod run;
mod scripting;
mod soak;
mod ssh;
mod table;
mod tokio;
mod transfer;
mod untouched;

use slipstream_tests::{Lab, PATIENCE, Port, Program, Running};

/// One test per mode, each compared with the plain run.
#[macro_export]
macro_rules! modes {
    ($($(#[$doc:meta])* $name:ident($body:path);)+) => {
        $(
            $(#[$doc])*
            mod $name {
                #[test]
                fn shm() {
                    $body(slipstream_tests::Mode::Shm);
                }

                #[test]
                fn uds() {
                    $body(slipstream_tests::Mode::Uds);
                }
            }
        )+
    };
}

/// Starts a server and waits until it listens on its port.
#[track_caller]
fn serve(program: Program, port: &Port) -> Running {
    let mut server = program.start();
    server.wait_for("it listens", PATIENCE, |_| port.is_listening().then_some(()));
    server
}

/// One of the python scripts beside this file.
fn python(lab: &Lab, script: &str) -> Program {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("apps/scripts").join(script);
    lab.program("/usr/bin/python3").arg(path)
}

/// Makes `key.pem` and `cert.pem` in a lab's folder, for nobody in particular.
fn keys(lab: &Lab) {
    let openssl = lab.program("openssl").bare().args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"]);
    let openssl = openssl.args(["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"]);
    openssl.run(PATIENCE).good();
}

/// Asserts that two outputs are equal, and shows where they are not.
#[track_caller]
fn assert_same(plain: &str, shimmed: &str) {
    if plain == shimmed {
        return;
    }
    let at = plain.lines().zip(shimmed.lines()).position(|(a, b)| a != b);
    let at = at.unwrap_or(plain.lines().count().min(shimmed.lines().count()));
    let line = |text: &str| text.lines().nth(at).map(|line| line.chars().take(200).collect::<String>());
    panic!("line {}: plain {:?}, under the shim {:?}", at + 1, line(plain), line(shimmed));
}
