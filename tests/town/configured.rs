//! Promise 9: a configuration is checked whole before it is taken, and taken
//! without dropping a call.

use std::{
    fs,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use onecard::{
    client::Terminal,
    model::Purpose,
    proto::{card::v1::GetCardStateRequest, library::v1::CheckoutRequest},
};
use secrecy::ExposeSecret as _;
use tonic::Code;

use crate::support::{
    Stage,
    acts::{self, Card},
    edit,
    expect::{approved, refused},
    folder, in_a_town_of_its_own, prepare, program, until, until_asked,
};

/// Taps without a pause until told to stop; every call must be answered.
async fn load(gate: Terminal, card: Card, stop: Arc<AtomicBool>, calls: Arc<AtomicUsize>) {
    while !stop.load(Ordering::Relaxed) {
        let tapped = gate.tap(card.ride(&gate, "beijing")).await.expect("no call is dropped");
        approved(&tapped.answer);
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sets a line of a table of the configuration.
fn set(table: &mut toml::Value, key: &str, value: impl Into<toml::Value>) {
    table.as_table_mut().expect("a table").insert(key.to_owned(), value.into());
}

/// How often a text stands in the log.
fn logged(stage: &Stage, text: &str) -> usize {
    stage.log("beijing").matches(text).count()
}

pub fn reload(stage: &Stage, says: &str) {
    let before = logged(stage, says);
    stage.signal("beijing", "-HUP");
    until(says, || logged(stage, says) > before);
}

#[test]
fn a_wrong_configuration_is_refused_whole_and_a_right_one_taken_without_dropping_a_call() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
            let mut loads = Vec::new();
            for _ in 0..4 {
                let gate = stage.terminal("bj-metro-gate-01").await;
                loads.push(tokio::spawn(load(gate, stage.card("tj"), Arc::clone(&stop), Arc::clone(&calls))));
            }
            let under_load = async || {
                let seen = calls.load(Ordering::Relaxed);
                until_asked("load", async || calls.load(Ordering::Relaxed) > seen + 20).await;
            };
            under_load().await;

            let card = stage.card("bj");
            let hall = stage.terminal("bj-hall-counter-01").await;
            let read = async |purpose| {
                let header = Some(hall.header(purpose));
                hall.card_state(GetCardStateRequest { header, card_identifier: card.identifier() }).await
            };
            approved(&read(Purpose::CardService).await.expect("answered").answer);

            // Two files change; one of them is wrong: neither is taken.
            let config = stage.config("beijing");
            let (policy, participants) = (config.join("policy.toml"), config.join("participants.toml"));
            let right_participants = fs::read(&participants).expect("read");
            edit(&policy, |policy| {
                set(&mut policy["scene"]["card"], "purposes", vec!["benefit"]);
            });
            edit(&participants, |registry| {
                set(&mut registry["participant"][0], "scenes", vec!["transport"]);
                set(&mut registry["participant"][1], "attributes", vec!["AAC999"]);
            });
            reload(stage, "the configuration was not reloaded");
            approved(&read(Purpose::CardService).await.expect("the old one is in force").answer);
            under_load().await;

            // Mended: the change is taken, the load goes on.
            fs::write(&participants, right_participants).expect("written");
            reload(stage, "the configuration was reloaded");
            refused(read(Purpose::CardService).await, Code::PermissionDenied, "PURPOSE_NOT_PERMITTED");
            approved(&read(Purpose::Benefit).await.expect("answered").answer);
            under_load().await;

            // A terminal that is struck from the register is shut out on the
            // connection it has.
            edit(&participants, |registry| {
                let lines = registry["participant"].as_array_mut().expect("a list");
                lines.retain(|line| line["id"].as_str() != Some("bj-hall"));
            });
            reload(stage, "the configuration was reloaded");
            refused(read(Purpose::Benefit).await, Code::Unauthenticated, "CERTIFICATE_UNKNOWN");
            under_load().await;

            stop.store(true, Ordering::Relaxed);
            for load in loads {
                load.await.expect("no call was dropped");
            }
        },
    );
}

#[test]
fn a_library_is_added_moved_and_removed_without_dropping_a_call() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
            let mut loads = Vec::new();
            for _ in 0..2 {
                let gate = stage.terminal("bj-metro-gate-01").await;
                loads.push(tokio::spawn(load(gate, stage.card("tj"), Arc::clone(&stop), Arc::clone(&calls))));
            }
            let under_load = async || {
                let seen = calls.load(Ordering::Relaxed);
                until_asked("load", async || calls.load(Ordering::Relaxed) > seen + 20).await;
            };
            let desk = stage.terminal("bj-capital-desk-01").await;
            let card = stage.card("bj");
            let borrow = async |library: &str, item: &str| {
                let session = acts::session(stage, &card, &desk, Purpose::LibraryLoan).await;
                let request =
                    CheckoutRequest { library: library.to_owned(), ..acts::checkout(&desk, &session, item) };
                desk.checkout(request).await
            };
            refused(borrow("bj-branch", "B0001").await, Code::NotFound, "LIBRARY_UNKNOWN");
            under_load().await;

            // The system of another region stands in for the new branch.
            let libraries = stage.config("beijing").join("libraries.toml");
            let elsewhere = fs::read_to_string(stage.config("hebei").join("libraries.toml")).expect("read");
            let elsewhere: toml::Table = elsewhere.parse().expect("TOML");
            let (_, line) =
                elsewhere["sip2"].as_table().and_then(|lines| lines.iter().next()).expect("a line");
            edit(&libraries, |file| {
                let mut branch = file["library"][0].clone();
                set(&mut branch, "code", "bj-branch");
                file["library"].as_array_mut().expect("a list").push(branch);
                set(&mut file["sip2"], "bj-branch", line.clone());
            });
            reload(stage, "the configuration was reloaded");
            let lent = borrow("bj-branch", "B0001").await.expect("answered").answer;
            let holder = approved(&lent).holder_id.clone();
            assert_eq!(stage.library("hebei").holder_of("B0001"), Some(holder.clone()));
            assert_eq!(stage.library("beijing").holder_of("B0001"), None);
            under_load().await;

            // The library's own system moves: what is lent from now on is lent there.
            approved(&borrow("", "B0002").await.expect("answered").answer);
            assert_eq!(stage.library("beijing").holder_of("B0002"), Some(holder.clone()));
            edit(&libraries, |file| set(&mut file["sip2"], "bj-capital", line.clone()));
            reload(stage, "the configuration was reloaded");
            approved(&borrow("", "B0003").await.expect("answered").answer);
            assert_eq!(stage.library("hebei").holder_of("B0003"), Some(holder));
            under_load().await;

            edit(&libraries, |file| {
                let list = file["library"].as_array_mut().expect("a list");
                list.retain(|library| library["code"].as_str() != Some("bj-branch"));
            });
            reload(stage, "the configuration was reloaded");
            refused(borrow("bj-branch", "B0004").await, Code::NotFound, "LIBRARY_UNKNOWN");
            under_load().await;
            assert_eq!(logged(stage, "needs a restart"), 0, "nothing of it waits for a restart");

            stop.store(true, Ordering::Relaxed);
            for load in loads {
                load.await.expect("no call was dropped");
            }
        },
    );
}

/// Runs the program over a prepared town until it ends.
fn ends(prepared: &onecard::sandbox::town::Prepared, word: &str, passphrase: Option<&str>) -> Output {
    let mut command = Command::new(program());
    command.args([word, "--config"]).arg(prepared.data.join("config/beijing")).stdin(Stdio::null());
    match passphrase {
        Some(passphrase) => command.env("ONECARD_VAULT_PASSPHRASE", passphrase),
        None => command.env_remove("ONECARD_VAULT_PASSPHRASE"),
    };
    command.output().expect("it runs and ends")
}

#[test]
fn a_gateway_without_its_keys_says_so_and_ends() {
    let folder = folder();
    let prepared = prepare(folder.path());
    for (passphrase, says) in [(Some("not the passphrase"), "vault"), (None, "ONECARD_VAULT_PASSPHRASE")] {
        let ended = ends(&prepared, "serve", passphrase);
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success(), "{told}");
        assert!(told.lines().any(|line| line.starts_with("onecard: ") && line.contains(says)), "{told}");
        let secret = prepared.passphrase.expose_secret();
        assert!(!told.contains(secret) && !told.contains("not the passphrase"), "{told}");
    }
}

#[test]
fn every_problem_of_a_configuration_is_told_at_once() {
    let folder = folder();
    let prepared = prepare(folder.path());
    let config = prepared.data.join("config/beijing");
    let passphrase = prepared.passphrase.expose_secret().to_owned();
    let right = ends(&prepared, "check", Some(&passphrase));
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stderr));
    let told = String::from_utf8_lossy(&right.stdout).into_owned();
    let url = format!("http://127.0.0.1:{}/hsa/api", prepared.plan.regions[0].insurer);
    for words in ["bj-hospital", "H11010100001", "bj-pharmacy", "over bj-nhsa", &url] {
        assert!(told.contains(words), "{words}: {told}");
    }

    edit(&config.join("policy.toml"), |policy| {
        policy["temporary_loss_days"] = 0.into();
        policy["holder_session_seconds"] = 9_999.into();
    });
    edit(&config.join("participants.toml"), |registry| {
        set(&mut registry["participant"][1], "attributes", vec!["AAC999"]);
        set(&mut registry["participant"][2], "id", "Not An Id");
    });
    edit(&config.join("libraries.toml"), |libraries| {
        libraries.remove("sip2");
    });
    edit(&config.join("insurers.toml"), |insurers| {
        insurers.remove("nhsa");
    });
    for word in ["check", "serve"] {
        let ended = ends(&prepared, word, Some(&passphrase));
        assert!(!ended.status.success());
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        for problem in [
            "temporary_loss_days",
            "holder_session_seconds",
            "AAC999",
            "Not An Id",
            "[sip2.bj-capital]",
            "[nhsa.bj-nhsa]",
        ] {
            assert!(told.contains(problem), "{word} does not tell of {problem}:\n{told}");
        }
    }
}
