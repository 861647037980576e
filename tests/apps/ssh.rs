//! OpenSSH: commands, copies, forwarded ports, many sessions over one connection.
//!
//! sshd executes itself anew for every connection, and a socket that comes over exec is not watched: the connection
//! between ssh and sshd stays on TCP. What the two forward moves on either side of it.

use crate::{assert_same, modes, python, serve};
use slipstream_tests::{Connection, Lab, Mode, PATIENCE, Port, Program, Running};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

const BODY: usize = 200 << 20;

struct Ssh {
    lab: Lab,
    port: Port,
    user: String,
    _server: Running,
}

impl Ssh {
    /// A server with keys and a configuration of its own.
    fn new(mode: Mode) -> Self {
        let (lab, port) = (Lab::new("ssh", mode), Port::free());
        for name in ["host", "key"] {
            lab.program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", name]).run(PATIENCE).good();
        }
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/key.pub\nStrictModes no\n\
             PidFile none\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n",
            lab.folder().display()
        );
        std::fs::write(lab.folder().join("sshd_config"), config).expect("a file");
        let user = lab.program("id").arg("-un").run(PATIENCE).good().trim().to_owned();
        if user == "root" {
            // The unprivileged half's root, which Debian's service makes.
            std::fs::create_dir_all("/run/sshd").expect("a folder for sshd");
        }
        let server = lab.program("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(lab.folder().join("sshd_config"));
        let server = serve(server, &port);
        Self { lab, port, user, _server: server }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.lab.folder().join(name)
    }

    /// ssh or scp, with what both need.
    fn program(&self, name: &str) -> Program {
        let (key, known) = (self.file("key"), self.file("known"));
        let program = self.lab.program(name).args(["-F", "none", "-o", "BatchMode=yes", "-i"]).arg(key);
        let program = program.args(["-o", "StrictHostKeyChecking=accept-new", "-o"]);
        program.arg(format!("UserKnownHostsFile={}", known.display())).args(["-o", &format!("Port={}", self.port)])
    }

    fn ssh(&self) -> Program {
        self.program("ssh")
    }

    fn host(&self) -> String {
        format!("{}@127.0.0.1", self.user)
    }

    /// The connection between ssh and sshd: offered by its one end that is watched, alone.
    fn expect_alone(&self, ssh: u32) {
        if self.lab.mode().moves() {
            let status = self.lab.status();
            let own: Vec<_> = status.of_port(self.port.number()).filter(|c| c.pid == ssh).collect();
            assert!(matches!(own[..], [c] if c.state == "pre-opt"), "{own:#?}");
        }
    }
}

/// A command with its input, its output and its exit status; 1 GiB there and back.
fn copies(mode: Mode) {
    // Once is enough: it stays on TCP.
    let large = if mode == Mode::Shm { 1 << 30 } else { BODY };
    let run = |mode| {
        let ssh = Ssh::new(mode);
        let block: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for (name, size) in [("body", BODY), ("large", large)] {
            let mut file = std::fs::File::create(ssh.file(name)).expect("a file");
            (0..size >> 20).for_each(|_| file.write_all(&block).expect("room for the body"));
        }
        let mut said = String::new();
        for command in
            ["sha256sum; exit 7", "head -c 1000 | sha256sum", "kill -9 $$", "yes | head -c 50000000 | sha256sum"]
        {
            let input = std::fs::File::open(ssh.file("body")).expect("the body");
            let ended = ssh.ssh().arg(ssh.host()).arg(command).input(input).run(PATIENCE * 2);
            let _ = writeln!(said, "{command}: {} {}", ended.status, String::from_utf8_lossy(&ended.stdout));
        }
        let (large, there, back) = (ssh.file("large"), ssh.file("there"), ssh.file("back"));
        let remote = |path: &PathBuf| format!("{}:{}", ssh.host(), path.display());
        said += &ssh.program("scp").arg(&large).arg(remote(&there)).run(PATIENCE * 4).good();
        said += &ssh.program("scp").arg(remote(&there)).arg(&back).run(PATIENCE * 4).good();
        said += &ssh.lab.program("cmp").arg(&large).arg(&back).run(PATIENCE * 2).good();
        ssh.lab.expect_no_alarm();
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// Talks through a forwarded port, and says what came of it.
fn talk(ssh: &Ssh, through: &Port, behind: &Port) -> String {
    let mut client = python(&ssh.lab, "talk.py").arg(through.to_string()).piped().start();
    for one in 0..3 {
        client.type_in(&format!("open {one}\ntrips {one} 100\n"));
    }
    client.wait_output("the trips", PATIENCE, |said| said.contains("100 trips on 2").then_some(()));
    // Both ends of each connection, before and behind the tunnel.
    let ports = [through.number(), behind.number()];
    let which = |c: &Connection| [c.local_port(), c.remote_port()].into_iter().flatten().any(|p| ports.contains(&p));
    ssh.lab.expect_moved(&mut client, 12, which, |client| client.type_in("trips 0 7\ntrips 1 7\ntrips 2 7\n"));
    for one in 0..3 {
        client.type_in(&format!("bulk {one} 5000000\ntrips {one} 200\nclose {one}\n"));
    }
    let said = client.finish(PATIENCE).good();
    said.lines().filter(|line| !line.contains("made 7 trips")).collect::<Vec<_>>().join("\n")
}

/// A port of ours that leads to a server on the other side.
fn local_forward(mode: Mode) {
    let run = |mode| {
        let (ssh, through, behind) = (Ssh::new(mode), Port::free(), Port::free());
        let _echo = serve(python(&ssh.lab, "echo_server.py").args(["threads", &behind.to_string()]), &behind);
        let tunnel = ssh.ssh().args(["-N", "-L", &format!("127.0.0.1:{through}:127.0.0.1:{behind}")]).arg(ssh.host());
        let tunnel = serve(tunnel, &through);
        let said = talk(&ssh, &through, &behind);
        ssh.expect_alone(tunnel.pid());
        ssh.lab.expect_no_alarm();
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

/// One connection, whose master serves the sessions of others, and forwards a port when told.
fn multiplexed(mode: Mode) {
    let run = |mode| {
        let (ssh, through, behind) = (Ssh::new(mode), Port::free(), Port::free());
        let _echo = serve(python(&ssh.lab, "echo_server.py").args(["select", &behind.to_string()]), &behind);
        let mut master = ssh.ssh().args(["-M", "-N", "-S", "control"]).arg(ssh.host()).start();
        let control = ssh.file("control");
        master.wait_for("the control socket", PATIENCE, |_| control.exists().then_some(()));
        let session = || ssh.ssh().args(["-S", "control"]);
        let mut sessions: Vec<_> = (0..5)
            .map(|i| session().arg(ssh.host()).arg(format!("head -c 3000000 /dev/zero | sha256sum; exit {i}")).start())
            .collect();
        let forward = format!("127.0.0.1:{through}:127.0.0.1:{behind}");
        let asked = session().args(["-O", "forward", "-L", &forward]).arg(ssh.host()).run(PATIENCE);
        let mut said = format!("forward: {}\n", asked.status);
        said += &talk(&ssh, &through, &behind);
        for one in sessions.drain(..) {
            let ended = one.finish(PATIENCE);
            let _ = writeln!(said, "{} {}", ended.status, String::from_utf8_lossy(&ended.stdout));
        }
        ssh.expect_alone(master.pid());
        let asked = session().args(["-O", "exit"]).arg(ssh.host()).run(PATIENCE);
        let _ = writeln!(said, "exit: {}, {}", asked.status, master.finish(PATIENCE).status);
        ssh.lab.expect_no_alarm();
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

modes! {
    commands_and_copies(super::copies);
    forwarded_port(super::local_forward);
    many_sessions(super::multiplexed);
}
