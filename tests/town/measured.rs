//! What operators see: metrics that a strict reader takes, with labels that are
//! bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::{Command, Stdio},
};

use onecard::proto::transit::v1::TapKind;

use crate::support::{acts::stations, expect::approved, on_the_town, python, until};

/// Every label that may appear, and how many values it may have.
const LABELS: &[(&str, usize)] = &[
    ("method", 64),
    ("participant", 16),
    ("outcome", 12),
    ("reason", 64),
    ("rank", 4),
    ("adapter", 4),
    ("peer", 3),
    ("region", 3),
    ("kind", 16),
    ("state", 2),
    ("end", 4),
    ("against", 2),
    ("le", 32),
    ("quantile", 8),
];

/// The labels of every sample, by a reader that knows the text format.
fn labels(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut labels = BTreeMap::<String, BTreeSet<String>>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, rest)) = line.split_once('{') else { continue };
        let (inside, _) = rest.rsplit_once('}').expect("closed");
        for pair in inside.split("\",") {
            let (name, value) = pair.split_once("=\"").expect("name and value");
            labels.entry(name.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
        }
    }
    labels
}

#[test]
fn the_labels_of_metrics_are_bounded() {
    on_the_town(async |stage| {
        let gate = stage.terminal("bj-metro-gate-01").await;
        let tap = stage.card("tj").tap(&gate, TapKind::Entry, stations("beijing").0);
        approved(&gate.tap(tap).await.expect("answered").answer);
        for region in ["beijing", "tianjin", "hebei"] {
            let (status, text) = stage.ops(region, "/metrics");
            assert!(status.contains("200"), "{status}");
            for (name, values) in labels(&text) {
                let bound = LABELS.iter().find(|(label, _)| *label == name);
                let (_, most) =
                    bound.unwrap_or_else(|| panic!("the label `{name}` has no bound: {values:?}"));
                assert!(values.len() <= *most, "{name} has {} values: {values:?}", values.len());
            }
        }
    });
}

#[test]
fn what_happens_is_seen_on_the_metrics() {
    on_the_town(async |stage| {
        let labels = ["TransitService/Tap\"", "participant=\"he-metro\"", "outcome=\"approved\""];
        let taps = || stage.metric("hebei", "onecard_requests_total", &labels);
        let before = taps();
        let gate = stage.terminal("he-metro-gate-01").await;
        let tap = stage.card("bj").tap(&gate, TapKind::Entry, stations("hebei").0);
        approved(&gate.tap(tap).await.expect("answered").answer);
        until("the tap is counted", || taps() >= before + 1.0);
        for name in [
            "onecard_commit_seconds_count",
            "onecard_commit_batch_entries_count",
            "onecard_handshake_seconds_count",
            "onecard_connections_open",
            "onecard_server_certificate_expires_timestamp_seconds",
        ] {
            assert!(stage.metric("hebei", name, &[]) > 0.0, "{name}");
        }
        until("the lines to the peers are measured", || {
            ["110000", "120000"].iter().all(|peer| {
                let peer = format!("peer=\"{peer}\"");
                stage.metric("hebei", "onecard_peer_calls_total", &[&peer, "answered"]) > 0.0
            })
        });
        until("the age of the deny lists is known", || {
            let (_, text) = stage.ops("hebei", "/metrics");
            text.contains("onecard_deny_list_age_seconds{region=\"110000\"}")
        });
    });
}

#[test]
fn a_strict_reader_takes_the_metrics() {
    let Some(python) = python() else { return };
    on_the_town(async |stage| {
        const READ: &str = "
import sys
from prometheus_client.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.read()))
for family in families:
    assert family.name.startswith('onecard_'), family.name
    assert family.documentation, family.name + ' has no description'
    assert family.type in ('counter', 'gauge', 'histogram'), (family.name, family.type)
print(len(families))
";
        for region in ["beijing", "tianjin", "hebei"] {
            let mut reader = Command::new(&python)
                .args(["-c", READ])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("Python runs");
            let (_, text) = stage.ops(region, "/metrics");
            reader.stdin.take().expect("piped").write_all(text.as_bytes()).expect("read");
            let read = reader.wait_with_output().expect("it ends");
            assert!(read.status.success(), "{region}: {}", String::from_utf8_lossy(&read.stderr));
            let families: usize = String::from_utf8_lossy(&read.stdout).trim().parse().expect("a number");
            assert!(families >= 12, "{families} families");
        }
    });
}
