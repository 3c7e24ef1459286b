//! The checkers themselves, on small trees that are wrong on purpose.

use crate::{
    contract, imports,
    tidy::{self, TextFile},
    tree::Tree,
};

/// A house of a few rooms with `text` standing at `path`, and what is found there,
/// without the file's name.
fn found(path: &str, text: &str) -> Vec<String> {
    let house = [
        ("src/lib.rs", "pub mod api; pub mod gateway; pub mod scenes; pub mod model; pub mod store;"),
        ("src/api/mod.rs", "pub struct Service;"),
        ("src/net/mod.rs", "pub struct Server; pub use tonic::Status as Refused;"),
        ("src/gateway/mod.rs", "pub mod port; pub use port::Peers; pub struct Gateway;"),
        ("src/gateway/port.rs", "pub trait Peers {}"),
        ("src/store/mod.rs", "pub mod journal; pub use crate::trust::List; pub use crate::identity as who;"),
        ("src/store/journal.rs", "pub struct Segment; #[macro_export] macro_rules! seal { () => {} }"),
        ("src/adapters/mod.rs", "pub mod sip2;"),
        ("src/adapters/sip2/mod.rs", "mod wire; pub use wire::Frame; pub struct Library;"),
        ("src/adapters/sip2/wire.rs", "pub struct Frame;"),
        ("src/trust/mod.rs", "pub struct List;"),
        ("src/identity/mod.rs", "pub use crate::config::Options; pub type Loaded = crate::config::Options;"),
        ("src/config/mod.rs", "pub struct Options;"),
        ("src/model/mod.rs", "mod money; pub use money::Fen;"),
        ("src/model/money.rs", "pub struct Fen;"),
        ("src/limits.rs", "pub const MOST: usize = 1;"),
    ];
    let others = house.into_iter().filter(|(other, _)| *other != path);
    let tree = Tree::from_sources(others.chain([(path, text)]));
    let findings = imports::check(&tree).into_iter().filter(|finding| finding.file == path);
    findings.map(|finding| format!("{}: {}", finding.line, finding.what)).collect()
}

/// Exactly one finding, which contains `expected`.
#[track_caller]
fn red(path: &str, text: &str, expected: &str) {
    let found = found(path, text);
    assert!(found.len() == 1 && found[0].contains(expected), "wanted `{expected}`, found {found:#?}");
}

#[track_caller]
fn clean(path: &str, text: &str) {
    assert_eq!(found(path, text), Vec::<String>::new());
}

#[test]
fn what_points_down_is_allowed() {
    clean("src/gateway/mod.rs", "use crate::{store::journal::Segment, scenes, model::Fen};");
    clean("src/scenes/mod.rs", "use crate::{limits, model::*}; fn f(_: Fen) -> usize { limits::MOST }");
    clean("src/store/mod.rs", "mod tests { use super::*; use crate::model::Fen; }");
    clean("src/main.rs", "fn main() { onecard::cli::main() }");
}

#[test]
fn an_upward_import_is_seen() {
    red("src/store/mod.rs", "\nuse crate::gateway::Gateway;", "2: store -> gateway points up");
    red("src/model/money.rs", "fn f(_: crate::config::Options) {}", "model -> config points up");
    red("src/model/money.rs", "fn f() { let _ = crate::config::Options; }", "model -> config points up");
    red("src/model/money.rs", "#[cfg(test)] mod tests { use crate::store; }", "model -> store points up");
}

#[test]
fn a_sideways_import_is_seen() {
    red("src/api/mod.rs", "use crate::net::Server;", "api -> net points sideways");
    red("src/model/mod.rs", "use crate::limits::MOST;", "model -> limits points sideways");
    red("src/adapters/sip2/mod.rs", "use crate::store;", "adapters -> store points sideways");
}

#[test]
fn a_room_with_a_short_list_keeps_to_it() {
    red("src/scenes/mod.rs", "use crate::trust::List;", "scenes -> trust may import only");
    red("src/scenes/transit/fare.rs", "use crate::config;", "scenes -> config may import only");
}

#[test]
fn an_unknown_room_is_seen() {
    red("src/misc/mod.rs", "use crate::model::Fen;", "room `misc` stands on no floor");
}

#[test]
fn a_group_is_taken_apart_and_each_line_named() {
    let text = "use crate::{\n    model::Fen,\n    gateway::{\n        self,\n        port::Peers as Others,\n    },\n};";
    let found = found("src/store/journal.rs", text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("4: store -> gateway"), "{found:#?}");
    assert!(found[1].starts_with("5: store -> gateway"), "{found:#?}");
}

#[test]
fn an_alias_is_followed() {
    red("src/store/journal.rs", "use crate as c;\nfn f(_: c::gateway::Gateway) {}", "2: store -> gateway");
    red("src/store/journal.rs", "use super::super::gateway as g;", "1: store -> gateway");
    red("src/store/journal.rs", "use super::super as up;\nuse up::gateway::Gateway;", "2: store -> gateway");
    red(
        "src/store/journal.rs",
        "fn f() { use crate as c;\nlet _ = c::gateway::Gateway; }",
        "2: store -> gateway",
    );
    red("src/store/journal.rs", "use crate::*;\nfn f(_: gateway::Gateway) {}", "2: store -> gateway");
}

#[test]
fn a_re_export_is_followed_to_where_it_ends() {
    red("src/scenes/mod.rs", "use crate::identity::Options;", "scenes -> config");
    red("src/scenes/mod.rs", "use crate::identity::Loaded;", "scenes -> config");
    red("src/scenes/mod.rs", "use crate::identity::*;\nfn f(_: Options) {}", "2: scenes -> config");
    let found = found("src/ledger/mod.rs", "use crate::store::who::Options;");
    assert!(found.iter().any(|one| one.contains("ledger -> config")), "{found:#?}");
    assert!(found.iter().any(|one| one.contains("ledger -> store points up")), "{found:#?}");
}

#[test]
fn globs_that_lead_nowhere_end() {
    clean(
        "src/store/mod.rs",
        "mod a { pub use super::b::*; use Kind::*; } mod b { pub use super::a::*; fn f() { g() } } mod c { use time::time; type A = B::C; type B = A::C; fn f(_: A) { time() } }",
    );
}

#[test]
fn a_path_in_a_macro_call_is_seen() {
    red("src/store/mod.rs", "fn f() { println!(\"{:?}\", crate::gateway::Gateway); }", "store -> gateway");
    red("src/store/mod.rs", "fn f() { vec![0..super::gateway::MOST] ; }", "store -> gateway");
    red(
        "src/store/mod.rs",
        "macro_rules! m { () => { use $crate::gateway::{Gateway}; } }",
        "store -> gateway",
    );
    red("src/model/mod.rs", "fn f() { crate::seal!(); }", "model -> store");
    red(
        "src/store/mod.rs",
        "#[derive(serde::Serialize)] struct S { #[serde(with = \"crate::gateway::port\")] a: u8 }",
        "store -> gateway",
    );
}

#[test]
fn the_contract_is_for_the_edges() {
    red("src/gateway/port.rs", "use crate::proto::card::v1::CardState;", "gateway -> proto only the edges");
    clean("src/api/mod.rs", "use crate::proto::card::v1::CardState;");
}

#[test]
fn libraries_stay_where_they_belong() {
    red("src/gateway/mod.rs", "use tonic::Status;", "gateway names `tonic::Status`");
    red("src/cli/mod.rs", "use tonic_types::ErrorDetails;", "cli names `tonic_types::ErrorDetails`");
    red("src/cli/mod.rs", "use crate::net::Refused;", "cli names `tonic::Status`");
    red("src/trust/mod.rs", "fn f() { ::prost::Message::encode(); }", "trust names `prost::Message::encode`");
    red("src/scenes/mod.rs", "use std::{fs, fmt};", "scenes names `std::fs`");
    red(
        "src/scenes/mod.rs",
        "use std as s;\nfn f() { s::time::Instant::now(); }",
        "2: scenes names `std::time",
    );
    red(
        "src/ledger/mod.rs",
        "fn f() { assert!(jiff::Timestamp::now() > t); }",
        "ledger names `jiff::Timestamp",
    );
    red("src/identity/mod.rs", "async fn f() { tokio::time::sleep(d).await }", "identity names `tokio");
    clean("src/model/mod.rs", "fn f() { rand::rng(); std::time::SystemTime::now(); }");
    clean("src/scenes/mod.rs", "#[cfg(test)] mod tests { use std::fs; }");
}

#[test]
fn wire_types_stay_in_their_adapter() {
    red(
        "src/gateway/mod.rs",
        "use crate::adapters::sip2::wire::Frame;",
        "`adapters::sip2::wire` never leaves",
    );
    red("src/gateway/mod.rs", "use crate::adapters::sip2::Frame;", "`adapters::sip2::wire` never leaves");
    clean("src/gateway/mod.rs", "use crate::adapters::sip2::Library;");
    clean("src/adapters/sip2/map.rs", "use super::wire::Frame;");
}

#[test]
fn a_panic_without_a_reason_is_seen() {
    red("src/store/mod.rs", "fn f() { g().unwrap(); }", "`unwrap()` outside tests");
    red("src/store/mod.rs", "fn f() { g().expect(\"\"); }", "`expect(\"\")` outside tests");
    red("src/store/mod.rs", "fn f() { assert!(g().unwrap()); }", "`unwrap()` outside tests");
    clean("src/store/mod.rs", "fn f() { g().expect(\"a reason\"); } #[test] fn t() { g().unwrap(); }");
}

#[test]
fn the_root_defines_nothing() {
    red("src/lib.rs", "pub mod model; pub use model::Fen;", "`Fen`: the root declares rooms");
}

#[test]
fn untidy_files_are_seen() {
    let check = |path: &str, text: &str| {
        tidy::check(&[TextFile { path: path.to_owned(), text: text.to_owned() }]).len()
    };
    assert_eq!(check("src/a.rs", "fine\n"), 0);
    assert_eq!(check("src/a.rs", "blank \n"), 1);
    assert_eq!(check("src/a.rs", "no newline"), 1);
    assert_eq!(check("src/a.rs", &"line\n".repeat(601)), 1);
    assert_eq!(check("docs/a.md", concat!("TO", "DO: later\n")), 1);
    assert_eq!(check("src/a.rs", concat!("db", "g!(x)\n")), 1);
    assert_eq!(check("README.md", concat!("see /ho", "me/me/notes\n")), 1);
    assert_eq!(check("README.md", concat!("https://example.org/ho", "me/notes\n")), 0);
}

#[test]
fn a_source_without_a_head_is_seen() {
    let heads = |text: &str| tidy::heads(&Tree::from_sources([("src/store/mod.rs", text)])).len();
    assert_eq!(heads("//! The journal and the state behind it.\nfn f() {}\n"), 0);
    assert_eq!(heads("fn f() {}\n"), 1);
    assert_eq!(heads("//! Store.\nfn f() {}\n"), 1);
    assert_eq!(heads("//! (room under construction)\n"), 0);
    assert_eq!(heads("//! (room under construction)\nfn f() {}\n"), 1);
}

#[test]
fn a_broken_promise_of_the_contract_is_seen() {
    let golden = contract::compiled();
    assert_eq!(contract::compare(&golden, &golden), Vec::<String>::new());
    type Edit = fn(&mut prost_types::FileDescriptorProto);
    let edits: [(&str, Edit); 6] = [
        ("is gone", |file| drop(file.message_type[0].field.remove(0))),
        ("is gone", |file| file.message_type[0].field[0].number = Some(1_000)),
        ("and is", |file| file.message_type[0].field[0].name = Some("other".to_owned())),
        ("and is", |file| {
            file.message_type[0].field[0].set_type(prost_types::field_descriptor_proto::Type::Fixed32)
        }),
        ("message is gone", |file| drop(file.message_type.remove(0))),
        ("the package was", |file| file.package = Some("onecard.other.v1".to_owned())),
    ];
    for (expected, edit) in edits {
        for index in 0..golden.file.len() {
            let mut current = golden.clone();
            edit(&mut current.file[index]);
            let broken = contract::compare(&golden, &current);
            assert!(broken.iter().any(|one| one.contains(expected)), "{expected}: {broken:#?}");
        }
    }
    let with_service =
        golden.file.iter().position(|file| !file.service.is_empty()).expect("there are services");
    let mut current = golden.clone();
    current.file[with_service].service[0].method[0].server_streaming = Some(true);
    assert_eq!(contract::compare(&golden, &current).len(), 1);
    current.file[with_service].service[0].method.remove(0);
    assert_eq!(contract::compare(&golden, &current).len(), 1);
}

#[test]
fn a_feature_for_tests_that_a_plain_build_has_is_found() {
    for manifest in [
        "[features]\ndefault = [\"fault-points\"]\nfault-points = []",
        "[features]\nfast = [\"onecard/fault-points\"]",
        "[dependencies]\nonecard = { path = \"..\", features = [\"fault-points\"] }",
    ] {
        let wrong = crate::features::wrong_in(&manifest.parse().expect("TOML"));
        assert_eq!(wrong.len(), 1, "{manifest}: {wrong:?}");
    }
    let right = "[features]\nfault-points = []\n[dependencies]\nonecard = { path = \"..\" }";
    assert!(crate::features::wrong_in(&right.parse().expect("TOML")).is_empty());
}
