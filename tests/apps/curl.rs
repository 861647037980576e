//! curl against python's http.server.

use crate::{assert_same, modes, serve};
use slipstream_tests::{Lab, Mode, PATIENCE, Port};
use std::fs::File;
use std::io::{BufWriter, Write};

const BODY: u64 = 256 << 20;

/// 256 MiB, every 8 bytes different.
fn body(lab: &Lab) {
    let file = File::create(lab.folder().join("body")).expect("a file for the body");
    let mut file = BufWriter::new(file);
    for i in 0..BODY / 8 {
        file.write_all(&i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).expect("room for the body");
    }
    file.flush().expect("room for the body");
}

fn download(mode: Mode) {
    let run = |mode| {
        let (lab, port) = (Lab::new("curl", mode), Port::free());
        body(&lab);
        std::fs::write(lab.folder().join("small"), "small").expect("a file");
        let server = lab.program("/usr/bin/python3").args(["-m", "http.server", "--bind", "127.0.0.1"]);
        let _server = serve(server.arg(port.to_string()), &port);
        let got = lab.folder().join("got");
        let curl = lab.program("curl").args(["-sS", "-o"]).arg(&got).args(["-w", "%{http_code} %{size_download}\n"]);
        let mut said = curl.arg(format!("http://127.0.0.1:{port}/body")).run(PATIENCE * 2).good();
        said += &lab.program("cmp").arg("body").arg(&got).run(PATIENCE).good();
        if mode.moves() {
            lab.expect_moved_in_all(2);
            let moved = lab.status().totals.moved_bytes;
            assert!(moved > BODY / 4, "only {moved} of {BODY} bytes moved");
        }
        // Slowly, so that the server waits; many small ones; one that is not there; one broken off.
        let slow =
            lab.program("curl").args(["-sS", "--limit-rate", "20M", "-r", "0-10000000", "-o", "/dev/null", "-w"]);
        said += &slow.arg("%{http_code}\n").arg(format!("http://127.0.0.1:{port}/body")).run(PATIENCE * 2).good();
        for name in ["small", "none"] {
            let one = lab.program("curl").args(["-sS", "-w", "%{http_code}\n", "-o", "/dev/null"]);
            said += &one.arg(format!("http://127.0.0.1:{port}/{name}?[1-50]")).run(PATIENCE).good();
        }
        let broken = lab.program("curl").args(["-sS", "--max-filesize", "1000", "-o", "/dev/null"]);
        said += &format!("{}\n", broken.arg(format!("http://127.0.0.1:{port}/body")).run(PATIENCE).status);
        lab.expect_no_alarm();
        said
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

modes! {
    http_download(super::download);
}
