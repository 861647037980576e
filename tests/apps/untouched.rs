//! Programs that the library never gets into: they work with those under it, and nothing of theirs moves.

use crate::{assert_same, modes, python, serve};
use slipstream_tests::{Lab, Mode, PATIENCE, Port};
use std::os::unix::fs::PermissionsExt;

/// Nothing is paired: whoever has no shim makes no offer.
fn expect_none_moved(lab: &Lab) {
    if lab.mode().moves() {
        let totals = lab.status().totals;
        assert!(totals.connections > 0 && totals.matched == 0 && totals.moved_bytes == 0, "{totals:#?}");
        lab.expect_no_alarm();
    }
}

/// A static Go program: the client of a shimmed server, and the server of a shimmed client.
fn go(mode: Mode) {
    let run = |mode| {
        let (lab, ports) = (Lab::new("go", mode), [Port::free(), Port::free()]);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/apps/scripts/fetch.go");
        let build = lab.program("go").bare().args(["build", "-o", "fetch", source]).env("CGO_ENABLED", "0");
        build.env("GO111MODULE", "off").env("GOFLAGS", "-p=1").run(PATIENCE * 4).good();
        let fetch = lab.folder().join("fetch");
        std::fs::write(lab.folder().join("body"), "a line of text\n".repeat(200_000)).expect("a file");
        let server = lab.program("/usr/bin/python3").args(["-m", "http.server", "--bind", "127.0.0.1"]);
        let _server = serve(server.args(["--protocol", "HTTP/1.1", &ports[0].to_string()]), &ports[0]);
        let mut said = lab.program(&fetch).arg(format!("http://127.0.0.1:{}/body", ports[0])).run(PATIENCE).good();
        let _static = serve(lab.program(&fetch).args(["serve", &ports[1].to_string()]), &ports[1]);
        for _ in 0..3 {
            let curl = lab.program("curl").args(["-sS", "--data-binary", "@body"]);
            said += &curl.arg(format!("http://127.0.0.1:{}/", ports[1])).run(PATIENCE).good();
        }
        expect_none_moved(&lab);
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// A setuid copy of netcat, run by another user: the loader leaves the library out.
fn setuid(mode: Mode) {
    let run = |mode| {
        // SAFETY: plain system call.
        assert_eq!(unsafe { libc::geteuid() }, 0, "only root can make a program setuid and run it as another user");
        let (lab, port) = (Lab::new("setuid", mode), Port::free());
        let open = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
        };
        open(lab.folder(), 0o755);
        let copy = lab.folder().join("netcat");
        std::fs::copy("/usr/bin/nc.openbsd", &copy).expect("a copy");
        open(&copy, 0o4755);
        let body = lab.folder().join("body");
        std::fs::write(&body, "a line of text\n".repeat(200_000)).expect("a file");
        let _echo = serve(python(&lab, "echo_server.py").args(["threads", &port.to_string()]), &port);
        let netcat = lab.program("setpriv").args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        let netcat = netcat.arg(copy).args(["-N", "127.0.0.1", &port.to_string()]);
        let said = netcat.input(std::fs::File::open(&body).expect("the body")).run(PATIENCE).good();
        assert_same(&std::fs::read_to_string(&body).expect("the body"), &said);
        expect_none_moved(&lab);
    };
    run(mode);
}

modes! {
    go_static(super::go);
    setuid_program(super::setuid);
}
