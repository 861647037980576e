//! NetPIPE: round trips of every size up to half a mebibyte and around it, and its check that each byte is the right one.

use crate::{assert_same, modes};
use slipstream_tests::{Lab, Mode, PATIENCE, Port};

/// Its table, but not how quick it was.
fn sizes(said: &str) -> String {
    let lines = said.lines().filter(|line| line.contains(" bytes "));
    lines.fold(String::new(), |all, line| all + line.split("-->").next().unwrap_or(line).trim() + "\n")
}

/// Checked, back and forth, both at once, with buffers that are not aligned. Not one way (`-s`): it makes a socket for each
/// size and closes it with bytes unread, over plain TCP, too.
fn trips(mode: Mode) {
    let run = |mode| {
        let mut all = String::new();
        for way in [&["-i"][..], &[], &["-2", "-b", "262144"], &["-O", "1,3"]] {
            let (lab, port) = (Lab::new("NPtcp", mode), Port::free());
            let netpipe =
                || lab.program("NPtcp").args(["-P", &port.to_string(), "-n", "300", "-u", "524288"]).args(way);
            let server = crate::serve(netpipe().args(["-o", "server.out"]), &port);
            let client = netpipe().args(["-h", "127.0.0.1", "-o", "client.out"]).run(PATIENCE * 2);
            let said = String::from_utf8_lossy(&client.stderr).into_owned();
            client.good();
            server.finish(PATIENCE).good();
            let sizes = sizes(&said);
            assert!(sizes.lines().count() > 30, "{way:?}: {said}");
            if way == ["-i"] {
                assert_eq!(said.matches("Integrity check passed").count(), sizes.lines().count(), "{said}");
            }
            all += &sizes;
            lab.expect_moved_in_all(2);
        }
        all
    };
    assert_same(&run(Mode::Plain), &run(mode));
}

modes! {
    netpipe_sizes(super::trips);
}
