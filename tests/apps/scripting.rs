//! Ruby, Perl, Erlang, and PHP behind FastCGI.

use crate::{assert_same, modes, python, serve};
use slipstream_tests::{Connection, Lab, Mode, PATIENCE, Port, Program};

fn script(name: &str) -> String {
    format!("{}/apps/scripts/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Talks over four connections until both ends of all have moved, then says what is compared.
fn talk(mode: Mode, server: impl Fn(&Lab, &Port) -> Program, client: impl Fn(&Lab, &Port) -> Program) {
    let run = |mode| {
        let (lab, port) = (Lab::new("script", mode), Port::free());
        let _server = serve(server(&lab, &port), &port);
        let mut client = client(&lab, &port).piped().start();
        let number = port.number();
        let which = |c: &Connection| [c.local_port(), c.remote_port()].contains(&Some(number));
        lab.expect_moved(&mut client, 8, which, |_| ());
        client.type_in("end\n");
        let said = client.finish(PATIENCE).good();
        lab.expect_moved_in_all(8);
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

fn ruby(mode: Mode) {
    let run =
        |lab: &Lab, role: &str, port: &Port| lab.program("ruby").arg(script("talk.rb")).arg(role).arg(port.to_string());
    talk(mode, |lab, port| run(lab, "serve", port), |lab, port| run(lab, "talk", port));
}

fn perl(mode: Mode) {
    let run =
        |lab: &Lab, role: &str, port: &Port| lab.program("perl").arg(script("talk.pl")).arg(role).arg(port.to_string());
    talk(mode, |lab, port| run(lab, "serve", port), |lab, port| run(lab, "talk", port));
}

fn erlang(mode: Mode) {
    let run = |lab: &Lab, role: &str, port: &Port| {
        // Two schedulers, whatever the machine has.
        let escript = lab.program("escript").env("ERL_FLAGS", "+S 2:2 +sbwt none");
        escript.arg(script("talk.erl")).arg(role).arg(port.to_string())
    };
    talk(mode, |lab, port| run(lab, "serve", port), |lab, port| run(lab, "talk", port));
}

/// Four processes that each serve one connection at a time.
fn php(mode: Mode) {
    let server = |lab: &Lab, port: &Port| {
        let user = lab.program("id").bare().arg("-un").run(PATIENCE).good();
        let config = format!(
            "[global]\nerror_log = /dev/stderr\ndaemonize = no\n[www]\nuser = {}\nlisten = 127.0.0.1:{port}\npm = static\n\
             pm.max_children = 4\nclear_env = no\n",
            user.trim()
        );
        let path = lab.folder().join("fpm.conf");
        std::fs::write(&path, config).expect("a file");
        lab.program("php-fpm8.2").args(["--nodaemonize", "--allow-to-run-as-root", "--fpm-config"]).arg(path)
    };
    talk(mode, server, |lab, port| python(lab, "fastcgi.py").args([port.to_string(), script("app.php")]));
}

modes! {
    ruby_threads_and_select(super::ruby);
    perl_forks_and_buffers(super::perl);
    erlang_processes(super::erlang);
    php_fpm(super::php);
}
