//! Promise 7: little is told. That no log and no metric tells anything personal is
//! checked after every test (`Stage::nothing_personal_is_told`).

use std::collections::BTreeMap;

use onecard::model::Purpose;

use crate::support::{
    acts::{self, Card},
    expect::approved,
    on_the_town,
};

/// What a terminal is told of a card's holder by a chip: attributes and the
/// pairwise id.
async fn told(
    stage: &crate::support::Stage,
    terminal: &str,
    card: &Card,
) -> (BTreeMap<String, String>, String) {
    let counter = stage.terminal(terminal).await;
    let finished = acts::chip(&counter, card).await.expect("answered");
    let holder = approved(&finished.answer).holder_id.clone();
    (finished.session.expect("a session").attributes.into_iter().collect(), holder)
}

#[test]
fn only_granted_attributes_are_told() {
    on_the_town(async |stage| {
        let card = stage.card("bj");
        let person = card.sample.holder.person.clone();
        let granted = |codes: &[&str]| -> BTreeMap<String, String> {
            let value = |code: &str| match code {
                "AAC003" => person.name.clone(),
                "AAC004" => person.sex.clone(),
                other => panic!("{other}"),
            };
            codes.iter().map(|code| ((*code).to_owned(), value(code))).collect()
        };
        // The home hall's line names two, the home policy's `abroad` grants one to
        // the halls of the others, and a library has no line at all.
        for (terminal, codes) in [
            ("bj-hall-counter-01", &["AAC003", "AAC004"][..]),
            ("tj-hall-counter-01", &["AAC003"]),
            ("he-hall-counter-01", &["AAC003"]),
            ("bj-capital-desk-01", &[]),
            ("tj-library-desk-01", &[]),
        ] {
            assert_eq!(told(stage, terminal, &card).await.0, granted(codes), "{terminal}");
        }
    });
}

#[test]
fn attributes_do_not_depend_on_the_credential() {
    on_the_town(async |stage| {
        let card = stage.card("he");
        let home = stage.terminal("he-hall-counter-01").await;
        let seen = home.present_document(acts::document(&home, &card)).await.expect("answered");
        approved(&seen.answer);
        let by_document = seen.session.expect("a session").attributes;
        let by_code = acts::session(stage, &card, &home, Purpose::IdentityCheck).await.attributes;
        assert_eq!(by_document, by_code);
        assert_eq!(by_document.len(), 2, "{by_document:?}");
        let library = stage.terminal("tj-library-desk-01").await;
        let session = acts::session(stage, &card, &library, Purpose::LibraryLoan).await;
        assert!(session.attributes.is_empty(), "{:?}", session.attributes);
    });
}

#[test]
fn two_participants_know_one_holder_under_two_ids_and_each_under_one() {
    on_the_town(async |stage| {
        let card = stage.card("bj");
        let terminals = [
            "bj-hall-counter-01",
            "bj-capital-desk-01",
            "tj-hall-counter-01",
            "tj-library-desk-01",
            "he-hall-counter-01",
        ];
        let mut ids = BTreeMap::new();
        for terminal in terminals {
            let (_, id) = told(stage, terminal, &card).await;
            assert_eq!(id.len(), 32, "{id}");
            assert_eq!(told(stage, terminal, &card).await.1, id, "stable for {terminal}");
            assert!(ids.insert(id, terminal).is_none(), "{terminal} sees another's id");
        }
        // The same participant at another of its terminals sees the same.
        let (_, at_the_desk) = told(stage, "bj-capital-desk-01", &card).await;
        let (_, at_the_kiosk) = told(stage, "bj-capital-kiosk-01", &card).await;
        assert_eq!(at_the_desk, at_the_kiosk);
        let other = stage.card("bj");
        assert!(!ids.contains_key(&told(stage, "bj-hall-counter-01", &other).await.1));
    });
}
