//! A gate without a line of our Rust: the Python example, against the town.

use std::{path::Path, process::Command};

use crate::support::{on_the_town, python};

#[test]
fn the_python_gate_taps_in_and_out() {
    let Some(python) = python() else { return };
    on_the_town(async |stage| {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python/tap.py");
        let card = stage.card("tj");
        let tap = |station: &str, side: &str| {
            let ran = Command::new(&python)
                .arg(&example)
                .arg("--data")
                .arg(&stage.prepared.data)
                .args(["--region", "beijing", "--card", &card.name, "--station", station, side, "--repeat"])
                .output()
                .expect("Python runs");
            let told = String::from_utf8_lossy(&ran.stdout).into_owned();
            (ran.status.code(), told, String::from_utf8_lossy(&ran.stderr).into_owned())
        };
        let (status, told, errors) = tap("西直门", "--in");
        assert_eq!(status, Some(0), "{told}{errors}");
        assert!(told.contains("APPROVED") && told.contains("the same answer"), "{told}{errors}");
        let (status, told, errors) = tap("国贸", "--out");
        assert_eq!(status, Some(0), "{told}{errors}");
        assert!(told.contains("西直门 → 国贸") && told.contains("fen"), "{told}{errors}");
        // A decline is an answer and has its own exit status.
        let (status, told, errors) = tap("国贸", "--out");
        assert_eq!(status, Some(1), "{told}{errors}");
        assert!(told.contains("NO_ENTRY"), "{told}{errors}");
    });
}
