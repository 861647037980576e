//! Python's web servers and clients: uvicorn and gunicorn's prefork with httpx, aiohttp on both sides.

use crate::{assert_same, modes, python, serve};
use slipstream_tests::{Connection, Lab, Mode, PATIENCE, Port, Program};

/// Four connections, kept alive, all moved while they work.
fn talk(mode: Mode, client: &str, server: impl Fn(&Lab, &Port) -> Program) {
    let run = |mode| {
        let (lab, port) = (Lab::new(client, mode), Port::free());
        let _server = serve(server(&lab, &port), &port);
        let mut client = python(&lab, "web_client.py").args([client, &port.to_string()]).piped().start();
        let number = port.number();
        let which = |c: &Connection| [c.local_port(), c.remote_port()].contains(&Some(number));
        lab.expect_moved(&mut client, 8, which, |_| ());
        client.type_in("end\n");
        let said = client.finish(PATIENCE * 2).good();
        lab.expect_moved_in_all(8);
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/apps/scripts");

/// Python, which leaves nothing beside the scripts.
fn interpreter(lab: &Lab) -> Program {
    lab.program("/usr/bin/python3").env("PYTHONDONTWRITEBYTECODE", "1")
}

fn uvicorn(mode: Mode) {
    talk(mode, "httpx", |lab, port| {
        let uvicorn = interpreter(lab).args(["-m", "uvicorn", "--app-dir", SCRIPTS, "web_app:asgi"]);
        uvicorn.args(["--log-level", "error", "--lifespan", "off", "--port", &port.to_string()])
    });
}

/// Two processes that accept on one listener, each with threads and a selector.
fn gunicorn(mode: Mode) {
    talk(mode, "httpx", |lab, port| {
        let gunicorn = interpreter(lab).args(["-m", "gunicorn", "--chdir", SCRIPTS, "web_app:wsgi"]);
        let gunicorn = gunicorn.args(["--worker-class", "gthread", "--workers", "2", "--threads", "4"]);
        gunicorn.args(["--keep-alive", "60", "--log-level", "error", "--bind", &format!("127.0.0.1:{port}")])
    });
}

fn aiohttp(mode: Mode) {
    talk(mode, "aiohttp", |lab, port| python(lab, "web_app.py").arg(port.to_string()));
}

modes! {
    uvicorn_and_httpx(super::uvicorn);
    gunicorn_prefork(super::gunicorn);
    aiohttp_and_websockets(super::aiohttp);
}
