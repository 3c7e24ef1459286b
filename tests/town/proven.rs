//! A transaction of a running region is proven to somebody who has nothing but the
//! region's public key.

use std::{path::Path, process::Command};

use onecard::proto::common::v1::Answer;

use crate::support::{Stage, acts::Card, expect::approved, on_the_town, program, python};

/// Runs `onecard journal …`; exit status and what it said.
fn journal(args: &[&str]) -> (Option<i32>, String) {
    let ran = Command::new(program()).arg("journal").args(args).output().expect("the program runs");
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.code(), String::from_utf8_lossy(&said).into_owned())
}

async fn ride(stage: &Stage, card: &Card) -> Answer {
    let gate = stage.terminal("bj-metro-gate-01").await;
    let answered = gate.tap(card.ride(&gate, "beijing")).await.expect("answered");
    approved(&answered.answer).clone()
}

#[test]
fn a_transaction_of_a_running_region_is_proven_with_its_public_key_alone() {
    on_the_town(async |stage| {
        let card = stage.card("bj");
        let id = ride(stage, &card).await.transaction_id;
        // The signature of its batch comes to the disk with the next batch.
        ride(stage, &stage.card("bj")).await;
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let dir = stage.prepared.data.join("beijing/journal");
        let dir = dir.to_str().expect("UTF-8");
        let key = &stage.region("beijing").journal_key;

        let proof = at("proof.json");
        let (status, said) = journal(&["prove", &id, "--journal", dir, "--out", &proof]);
        assert_eq!(status, Some(0), "{said}");
        let (status, said) = journal(&["check", "--key", key, &proof]);
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains(&id) && said.contains("completed") && said.contains("transit.Tap"), "{said}");

        let text = std::fs::read_to_string(&proof).expect("written");
        let forged = at("forged.json");
        let step = text.find("\"sealed_digest\": \"").expect("a step") + 19;
        let other = if text.as_bytes()[step] == b'0' { "1" } else { "0" };
        std::fs::write(&forged, [&text[..step], other, &text[step + 1..]].concat()).expect("written");
        let (status, said) = journal(&["check", "--key", key, &proof, &forged]);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("path"), "{said}");
        let strangers = &stage.region("tianjin").journal_key;
        let (status, said) = journal(&["check", "--key", strangers, &proof]);
        assert!(status == Some(1) && said.contains("key"), "{said}");
        let (status, said) = journal(&["check", "--key", key, &at("nothing.json")]);
        assert_eq!(status, Some(2), "{said}");
        let (status, said) = journal(&[
            "prove",
            "110000-000-0192a3b4c5d6-9f8e7d6c5b4a",
            "--journal",
            dir,
            "--out",
            &at("none"),
        ]);
        assert!(status == Some(1) && said.contains("no such transaction"), "{said}");

        others_agree(&proof, &forged, key);
        told_in_lines(dir, &id, &card);
        let (status, said) = journal(&["verify", dir, "--key", key]);
        assert!(
            status == Some(0) && said.contains("the gateway runs") && said.contains("chain intact"),
            "{said}"
        );
    });
}

/// A checker that shares no code with onecard comes to the same end.
fn others_agree(proof: &str, forged: &str, key: &str) {
    let Some(python) = python() else { return };
    let checker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/proof_check.py");
    let ran = Command::new(python).arg(checker).args([key, proof, forged]).output().expect("Python runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("proof.json: holds") && said.contains("forged.json: proves nothing"), "{said}");
}

/// Export and tail tell the entry, and nothing of its holder.
fn told_in_lines(dir: &str, id: &str, card: &Card) {
    let (status, said) = journal(&["export", dir, "--scene", "transit", "--participant", "bj-metro"]);
    assert_eq!(status, Some(0), "{said}");
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.iter().all(|line| line["scene"] == "transit" && line["participant"] == "bj-metro"));
    let line = lines.iter().find(|line| line["transaction_id"] == id).expect("the ride");
    assert_eq!(line["status"], "completed");
    assert!(line["sealed_sm3"].as_str().is_some_and(|hash| hash.len() == 64), "{line}");
    assert!(line.get("subject").is_none(), "{line}");
    assert!(!said.contains(&card.identifier().to_lowercase()), "a card is named");
    let (status, said) = journal(&["tail", dir, "-n", "500"]);
    assert!(status == Some(0) && said.contains(id), "{said}");
    let (status, said) = journal(&["export", dir, "--to", "2001-01-01"]);
    assert_eq!((status, said.as_str()), (Some(0), ""));
}
