//! A person who was erased stays erased: over a restart, and over a store that is put
//! back from a copy made before.

use std::{fs, path::Path, process::Command};

use onecard::{client::Terminal, proto::transit::v1::TapKind};
use tonic::Code;

use crate::support::{
    Stage,
    acts::Card,
    edit,
    expect::{approved, refused},
    in_a_town_of_its_own, program, until_asked,
};

const REGION: &str = "beijing";

fn onecard(args: &[&str]) -> String {
    let ran = Command::new(program()).args(args).output().expect("the program runs");
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert!(ran.status.success(), "{args:?}: {said}");
    said
}

async fn ride(gate: &Terminal, card: &Card) -> String {
    let answered = gate.tap(card.ride(gate, REGION)).await.expect("answered");
    approved(&answered.answer).transaction_id.clone()
}

/// What has become of the sealed part of a transaction's entry.
fn sealed(journal: &str, id: &str) -> String {
    let lines = onecard(&["journal", "export", journal, "--scene", "transit"]);
    let line = lines.lines().find(|line| line.contains(id)).expect("the entry stands");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    line["sealed"].as_str().expect("sealed").to_owned()
}

async fn nobody_serves(stage: &Stage, card: &Card) {
    let gate = stage.terminal("bj-metro-gate-01").await;
    let tapped = gate.tap(card.tap(&gate, TapKind::Entry, "西直门")).await;
    refused(tapped, Code::PermissionDenied, "HOLDER_ERASED");
}

#[test]
fn an_erased_holder_does_not_come_back_with_an_older_copy() {
    let with_witness = |prepared: &onecard::sandbox::town::Prepared| {
        edit(&prepared.data.join("config").join(REGION).join("gateway.toml"), |gateway| {
            let store = gateway["store"].as_table_mut().expect("a table");
            store.insert("head_file".into(), "beijing.head".into());
        });
    };
    in_a_town_of_its_own(with_witness, async |stage| {
        let gate = stage.terminal("bj-metro-gate-01").await;
        let (card, other) = (stage.card("bj"), stage.card("bj"));
        let id = ride(&gate, &card).await;
        ride(&gate, &other).await;
        let home = stage.prepared.data.join(REGION);
        let journal = home.join("journal").to_str().expect("UTF-8").to_owned();
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let (ok, said) = stage.run_on(REGION, &["store", "backup", "--to", &at("copy")]);
        assert!(ok, "{said}");
        assert_eq!(sealed(&journal, &id), "kept");

        let erase = |second: &str| {
            let by = ["--operator", "li.na", "--second", second, "--reason", "asked for it"];
            stage.run_on(REGION, &[["holder", "erase", "--transaction", &id].as_slice(), &by].concat())
        };
        let (ok, said) = erase("li.na");
        assert!(!ok && said.contains("another operator"), "{said}");
        let (ok, said) = erase("wang.lei");
        assert!(ok && said.contains("1 cards closed"), "{said}");
        let (ok, said) = erase("wang.lei");
        assert!(!ok && said.contains("erased already"), "{said}");
        nobody_serves(stage, &card).await;
        assert_eq!(sealed(&journal, &id), "erased");
        let away = stage.terminal("tj-metro-gate-01").await;
        until_asked("Tianjin turns the card away", async || {
            let tapped = away.tap(card.ride(&away, "tianjin")).await.expect("answered");
            tapped.answer.expect("an answer").reason == "CARD_CANCELLED"
        })
        .await;
        // The proof of what happened stays one.
        let key = &stage.region(REGION).journal_key;
        onecard(&["journal", "prove", &id, "--journal", &journal, "--out", &at("proof.json")]);
        onecard(&["journal", "check", "--key", key, &at("proof.json")]);
        stage.verified(REGION);

        stage.kill(REGION).await;
        stage.restart(REGION).await;
        nobody_serves(stage, &card).await;

        stage.kill(REGION).await;
        put_back(&home, &at("copy"), &at("new"));
        stage.restart(REGION).await;
        nobody_serves(stage, &card).await;
        assert_eq!(sealed(&journal, &id), "erased");
        let (ok, said) = erase("wang.lei");
        assert!(!ok && said.contains("erased already"), "{said}");
        ride(&stage.terminal("bj-metro-gate-01").await, &other).await;
        stage.verified(REGION);
    });
}

/// Puts the copy in the place of the store, without a newer list of the erased.
fn put_back(home: &Path, copy: &str, new: &str) {
    onecard(&["store", "restore", "--from", copy, "--to", new]);
    for part in ["journal", "index", "holder-keys"] {
        fs::remove_dir_all(home.join(part)).expect("removed");
    }
    for part in ["journal", "holder-keys"] {
        let (from, to) = (Path::new(new).join(part), home.join(part));
        fs::create_dir(&to).expect("made");
        for entry in fs::read_dir(from).expect("restored").flatten() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}
