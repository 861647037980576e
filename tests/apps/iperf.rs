//! iperf3: streams in either direction, several at once.

use crate::{modes, serve};
use slipstream_tests::{Lab, Mode, PATIENCE, Port};

const BYTES: u64 = 256 << 20;

fn streams(mode: Mode) {
    for arguments in [&["-P", "1"][..], &["-P", "4"], &["-R"], &["--bidir"], &["-l", "64"], &["-w", "32K"]] {
        let (lab, port) = (Lab::new("iperf3", mode), Port::free());
        let server = serve(lab.program("iperf3").args(["-s", "-1", "-p", &port.to_string()]), &port);
        let small = arguments.contains(&"-l") || arguments.contains(&"-w");
        let bytes = if small { BYTES / 16 } else { BYTES };
        let client = lab.program("iperf3").args(["-c", "127.0.0.1", "--json", "-p", &port.to_string()]);
        let client = client.args(["-n", &bytes.to_string()]).args(arguments).start();
        let said = client.finish(PATIENCE * 2).good();
        let said: serde_json::Value = serde_json::from_str(&said).expect("iperf3's JSON");
        assert!(said.get("error").is_none(), "{arguments:?}: {said}");
        let sum = |side: &str| said["end"][side]["bytes"].as_f64().unwrap_or(0.0) as u64;
        let (sent, received) = (sum("sum_sent"), sum("sum_received"));
        // In both directions at once, the first to reach the sum ends it.
        assert!(sent >= bytes || arguments.contains(&"--bidir"), "{arguments:?}: {sent} sent");
        // The receiver stops counting when the control connection says so.
        assert!(received > 0 && received <= sent, "{arguments:?}: {received} of {sent} received");
        server.finish(PATIENCE).good();
        if mode.moves() {
            lab.expect_moved_in_all(4);
            let moved = lab.status().totals.moved_bytes;
            // How much depends on who is quicker: a sender that outruns its reader is TCP's for as long as the ring stays full.
            assert!(moved > 0, "{arguments:?}: none of {bytes} bytes moved");
        }
    }
}

modes! {
    all_directions(super::streams);
}
