use std::fs;

use super::*;
use crate::{
    crypto::{KeyName, KeyVault, Sm2PublicKey, SoftVault},
    model::SystemRng,
    sandbox,
    trust::Member,
};

const REGIONS: [(&str, u32); 3] = [("beijing", 110_000), ("tianjin", 120_000), ("hebei", 130_000)];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the configuration").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn trust() -> TrustList {
    let vault = SoftVault::generate(&SystemRng);
    let key = |name| Sm2PublicKey::from_bytes(&vault.public_key(name).expect("a key")).expect("a point");
    let members = REGIONS.map(|(name, region)| Member {
        region,
        name_zh: "样例".into(),
        name_en: name.into(),
        endpoint: "https://127.0.0.1:7112".into(),
        tls_name: format!("peer.{name}.onecard"),
        journal_key: key(KeyName::Journal),
        federation_key: key(KeyName::Federation),
        ecard_key: key(KeyName::Ecard),
        standard_min: 1,
        standard_max: 1,
    });
    TrustList::new(1, 0, 4_000_000_000_000, members.into()).expect("a list")
}

/// The repository's configuration with a trust list in its data root.
fn configuration() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config"), &folder.path().join("config"));
    let data = folder.path().join(".onecard");
    fs::create_dir_all(&data).expect("a folder");
    fs::write(data.join("trust.toml"), trust().to_toml()).expect("written");
    folder
}

/// Replaces a piece of a file of Beijing's configuration.
#[track_caller]
fn alter(folder: &tempfile::TempDir, file: &str, from: &str, to: &str) {
    let path = folder.path().join("config/beijing").join(file);
    let text = fs::read_to_string(&path).expect("is there");
    assert!(text.contains(from), "the case changes nothing: {from}");
    fs::write(path, text.replacen(from, to, 1)).expect("written");
}

fn beijing(folder: &tempfile::TempDir) -> Result<Loaded, WrongConfiguration> {
    load(&folder.path().join("config/beijing"))
}

#[test]
fn the_three_regions_load_and_find_their_files() {
    let folder = configuration();
    for (name, province) in REGIONS {
        let loaded = load(&folder.path().join("config").join(name)).expect(name);
        assert_eq!(loaded.file.region.province, province);
        assert!(loaded.live.registry.terminal_count() > 0, "{name}");
        assert!(loaded.file.vault.file.starts_with(folder.path()), "paths follow the file");
        for library in &loaded.live.libraries.libraries {
            assert!(loaded.sip2.contains_key(&library.code), "{name}: {}", library.code);
        }
        for institution in &loaded.live.medical.institution {
            assert!(loaded.nhsa.contains_key(&institution.insurer), "{name}: {}", institution.insurer);
            let known = sandbox::insurer::institutions(province);
            let named = (institution.code.as_str(), institution.name.as_str());
            assert!(known.contains(&named), "{name}: the sandbox's insurer does not know {named:?}");
        }
    }
}

#[test]
fn every_problem_of_every_file_is_told_at_once() {
    let folder = configuration();
    alter(&folder, "policy.toml", "chip_session_seconds = 60", "chip_session_seconds = 0");
    alter(&folder, "policy.toml", "temporary_loss_days = 15", "temporary_loss_days = 91");
    alter(&folder, "participants.toml", "library = \"bj-capital\"", "library = \"bj-nowhere\"");
    alter(&folder, "libraries.toml", "[sip2.bj-capital]", "[sip2.other]");
    alter(&folder, "gateway.toml", "segment_mib = 64", "segment_mib = 0");
    alter(&folder, "gateway.toml", "checkpoint_entries = 65536", "checkpoint_entries = 0");
    alter(&folder, "gateway.toml", "passphrase_env = \"ONECARD_VAULT_PASSPHRASE\"", "");
    fs::write(folder.path().join(".onecard/trust.toml"), "version = 1").expect("written");
    fs::remove_file(folder.path().join("config/codes/sex.toml")).expect("was there");
    let WrongConfiguration(problems) = beijing(&folder).expect_err("it is wrong");
    for part in [
        "chip_session_seconds",
        "temporary_loss_days",
        "bj-nowhere",
        "[sip2.bj-capital]",
        "segment_mib",
        "checkpoint_entries",
        "passphrase_env",
        "trust.toml",
        "codes: ",
    ] {
        let named = problems.iter().filter(|problem| problem.contains(part)).count();
        assert_eq!(named, 1, "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 9, "{problems:#?}");
}

#[test]
fn an_institution_without_participant_or_line_is_named() {
    #[track_caller]
    fn check(file: &str, from: &str, to: &str, named: &[&str]) {
        let folder = configuration();
        alter(&folder, file, from, to);
        let WrongConfiguration(problems) = beijing(&folder).expect_err("it is wrong");
        assert_eq!(problems.len(), named.len(), "{problems:#?}");
        for (problem, words) in problems.iter().zip(named) {
            assert!(problem.contains(words), "{words}: {problem}");
        }
    }
    let no_line = "[nhsa.bj-nhsa] to insurers.toml";
    check("insurers.toml", "[nhsa.bj-nhsa]", "[nhsa.other]", &[no_line, no_line]);
    check("gateway.toml", "insurers = \"insurers.toml\"", "", &[no_line, no_line]);
    check("insurers.toml", "http://", "ftp://", &["platform bj-nhsa: url"]);
    check("insurers.toml", "url = ", "account = \"bj\"\nurl = ", &["give token_env or token_file"]);
    check("medical.toml", "participant = \"bj-pharmacy\"", "participant = \"bj-clinic\"", &["`bj-clinic`"]);
    let scenes = "scenes = [\"medical\", \"authentication\"]";
    check("participants.toml", scenes, "scenes = [\"authentication\"]", &["`bj-hospital` is no participant"]);
    check("medical.toml", "[sums]", "[home]\n13 = \"he-nhsa\"\n\n[sums]", &["`13` has no line"]);
}

#[test]
fn the_code_tables_of_the_folder_are_the_ones_in_force() {
    let folder = configuration();
    let codes = folder.path().join("config/codes/ethnicity.toml");
    let text = fs::read_to_string(&codes).expect("is there");
    assert!(!beijing(&folder).expect("right").live.codes.ethnicity().contains("60"));
    fs::write(&codes, format!("{text}\n60 = {{ zh = \"样例族\", en = \"Sample\" }}\n")).expect("written");
    assert!(beijing(&folder).expect("right").live.codes.ethnicity().contains("60"));
}

#[test]
fn a_region_that_is_not_on_the_list_does_not_start() {
    let folder = configuration();
    let others = trust().members().filter(|member| member.region != 110_000).cloned().collect();
    let list = TrustList::new(1, 0, 4_000_000_000_000, others).expect("a list");
    fs::write(folder.path().join(".onecard/trust.toml"), list.to_toml()).expect("written");
    let WrongConfiguration(problems) = beijing(&folder).expect_err("it is wrong");
    assert!(problems.len() == 1 && problems[0].contains("trust list"), "{problems:?}");
}

#[test]
fn a_word_that_nobody_knows_is_named_with_its_file() {
    let folder = configuration();
    alter(&folder, "policy.toml", "code_home = \"must\"", "code_hone = \"must\"");
    alter(&folder, "participants.toml", "role = \"terminal\"", "role = \"king\"");
    let WrongConfiguration(problems) = beijing(&folder).expect_err("it is wrong");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("code_hone")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("king")), "{problems:?}");
}

#[test]
fn without_its_first_file_there_is_nothing_to_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let WrongConfiguration(problems) = load(folder.path()).expect_err("there is nothing");
    assert!(problems.len() == 1 && problems[0].contains("gateway.toml"), "{problems:?}");
}

#[test]
fn what_the_sandbox_would_make_is_named_with_what_to_do() {
    let folder = configuration();
    let loaded = load(&folder.path().join("config/beijing")).expect("a right configuration");
    let told = check_material(&loaded.file).expect_err("no keys yet").to_string();
    for words in
        ["vault.sealed", "beijing.key", "ca.pem", "revoked.crl", "先运行一次", "run `onecard sandbox` once"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    fs::remove_file(folder.path().join(".onecard/trust.toml")).expect("was there");
    let told = load(&folder.path().join("config/beijing")).expect_err("no trust list").to_string();
    for words in ["trust.toml", "先运行一次", "签署", "run `onecard sandbox` once", "signed"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let section = &loaded.file.tls;
    for path in [&section.terminals, &section.peers].into_iter().flat_map(|section| {
        [&section.certificate, &section.key, &section.client_roots]
            .into_iter()
            .chain(&section.revocation_lists)
    }) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "").expect("written");
    }
    let told = check_material(&loaded.file).expect_err("no vault yet").to_string();
    assert!(told.contains("vault.sealed") && !told.contains("beijing.key"), "{told}");
}

/// What a change to Beijing's files asks a restart for.
#[track_caller]
fn needs_restart(file: &str, from: &str, to: &str) -> Vec<String> {
    let folder = configuration();
    let beijing = folder.path().join("config/beijing");
    let fixed = || Fixed::of(&load(&beijing).expect("a good configuration")).expect("written");
    let started = fixed();
    assert_eq!(started.needs_restart(&fixed()), Ok(Vec::new()), "nothing was changed");
    alter(&folder, file, from, to);
    let changes = started.needs_restart(&fixed()).expect("the same region");
    changes.iter().map(ToString::to_string).collect()
}

#[test]
fn what_only_a_restart_changes_is_named() {
    let check = |file: &str, from: &str, to: &str, named: &str| {
        let changes = needs_restart(file, from, to);
        assert!(changes.len() == 1 && changes[0].starts_with(named), "{named}: {changes:?}");
    };
    check("gateway.toml", "127.0.0.1:7112", "127.0.0.1:7199", "listen.peers: ");
    check("gateway.toml", "beijing/vault.sealed", "beijing/other.sealed", "vault.file: ");
}

#[test]
fn what_a_reload_takes_asks_for_no_restart() {
    let check = |file: &str, from: &str, to: &str| {
        assert_eq!(needs_restart(file, from, to), Vec::<String>::new(), "{file}: {to}");
    };
    check("libraries.toml", "首都图书馆", "首图");
    check("libraries.toml", "127.0.0.1:7161", "127.0.0.1:7169");
    check("insurers.toml", "127.0.0.1:7171", "127.0.0.1:7179");
    check("../../.onecard/trust.toml", "127.0.0.1:7112", "127.0.0.1:7199");
}

#[test]
fn a_running_gateway_does_not_become_another_region() {
    let folder = configuration();
    let fixed = |region: &str| {
        Fixed::of(&load(&folder.path().join("config").join(region)).expect("a good configuration"))
            .expect("written")
    };
    let refused = fixed("beijing").needs_restart(&fixed("hebei")).expect_err("another region");
    assert!(refused.to_string().contains("110000 → 130000"), "{refused}");
}

#[test]
fn every_wrong_line_of_the_reconciliation_is_named() {
    let folder = configuration();
    let loaded = load(&folder.path().join("config/beijing")).expect("right");
    let rules = loaded.reconciliation.expect("named in gateway.toml");
    let metro = "bj-metro".parse().expect("well formed");
    assert!(rules.participant_file(&metro).is_some_and(|format| format.columns.amount == "金额"));
    assert!(rules.bank_file(&metro).is_some());

    let file = "reconciliation.toml";
    alter(&folder, file, "time_minutes = 3", "time_minutes = 9999");
    alter(
        &folder,
        file,
        "[files.bj-metro]\nparticipant = \"metro\"",
        "[files.bj-metro]\nparticipant = \"tram\"",
    );
    alter(&folder, file, "missing-at-bank = \"bank\"\n", "");
    alter(&folder, file, "time = \"%Y%m%d%H%M%S\"", "time = \"%H:%M\"");
    let WrongConfiguration(problems) = load(&folder.path().join("config/beijing")).expect_err("wrong");
    for words in
        ["tolerance.transit.time_minutes", "files.bj-metro", "owner.missing-at-bank", "format.metro.time"]
    {
        assert!(problems.iter().any(|problem| problem.contains(words)), "{words}: {problems:?}");
    }
}
