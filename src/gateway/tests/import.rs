use super::{super::*, rig::*};
use crate::{config::assets, identity::CodeTables};

async fn fields(bj: &Region, line: &str) -> Vec<String> {
    let report = bj.gateway.import_cards(line).await.expect("a journal");
    report.wrong.get(&1).into_iter().flatten().map(|violation| violation.field.clone()).collect()
}

#[tokio::test]
async fn every_wrong_field_of_a_line_is_named() {
    let (bj, _tj) = regions();
    let good = Person::of(BEIJING, 1).line;
    type Break = fn(&mut CardLine);
    let cases: [(&str, Break); 12] = [
        ("card_identifier", |line| line.card_identifier = "11".into()),
        ("card_number", |line| line.card_number = "A-0000001".into()),
        ("state", |line| line.state = 5),
        ("holder", |line| line.holder = "x".into()),
        ("social_security_number", |line| line.social_security_number = "110101199003070000".into()),
        ("name", |line| line.name = String::new()),
        ("sex", |line| line.sex = "3".into()),
        ("ethnicity", |line| line.ethnicity = "60".into()),
        ("born", |line| line.born = 19_900_230),
        ("valid_until", |line| line.valid_until = 20_261_301),
        ("region", |line| line.region = 110_102),
        ("card_identifier", |line| {
            line.card_identifier = Person::of(TIANJIN, 1).line.card_identifier;
            line.region = 120_101;
        }),
    ];
    let mut all = good.clone();
    for (field, break_it) in cases {
        let mut line = good.clone();
        break_it(&mut line);
        let text = serde_json::to_string(&line).expect("strings and numbers");
        assert_eq!(fields(&bj, &text).await, [field]);
        if line.region == 110_101 || field == "region" {
            break_it(&mut all);
        }
    }
    let text = serde_json::to_string(&all).expect("strings and numbers");
    let told = fields(&bj, &text).await;
    // A card that cannot be read names no region to compare with.
    assert_eq!(told.len(), 10, "{told:?}");
}

#[tokio::test]
async fn a_wrong_line_leaves_the_others_alone_and_is_not_quoted() {
    let (bj, _tj) = regions();
    let (one, two) = (Person::of(BEIJING, 1), Person::of(BEIJING, 2));
    let quoted = one.line().replace("\"born\":19900307", "\"born\":\"11010119900307663X\"");
    let short = "{\"card_identifier\":\"x\"}";
    let text = format!("{}\n\n{quoted}\n{short}\n{}\n", one.line(), two.line());
    let report = bj.gateway.import_cards(&text).await.expect("a journal");
    assert_eq!((report.taken, report.known), (2, 0));
    assert_eq!(report.wrong.keys().copied().collect::<Vec<_>>(), [3, 4]);
    assert!(!format!("{report:?}").contains("11010119900307663X"), "{report:?}");
    assert!(report.wrong[&4][0].en.contains("missing field `card_number`"), "{report:?}");
    let again = bj.gateway.import_cards(&text).await.expect("a journal");
    assert_eq!((again.taken, again.known), (0, 2));
}

#[tokio::test]
async fn an_import_does_not_revive_a_lost_card() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    bj.lose(1, person.card).await.expect("reported");
    let report = bj.gateway.import_cards(&person.line()).await.expect("a journal");
    assert_eq!((report.taken, report.known), (0, 1));
    assert_eq!(bj.gateway.not_denied(&person.card), Err(Reason::CardLost));
}

#[tokio::test]
async fn small_letters_in_a_register_are_the_same_card() {
    let (bj, _tj) = regions();
    let mut person = Person::of(BEIJING, 1);
    person.line.card_number = person.line.card_number.to_lowercase();
    let report = bj.gateway.import_cards(&person.line()).await.expect("a journal");
    assert_eq!(report.taken, 1);
    let holder: crate::model::HolderId = person.line.holder.parse().expect("a holder");
    let file: crate::model::record::HolderFile =
        bj.gateway.peek(holder.as_bytes()).await.expect("readable").expect("there");
    assert_eq!(file.card_number, "A00000001");
}

#[tokio::test]
async fn a_second_holder_under_the_same_number_is_reported_and_changes_nothing() {
    let (bj, _tj) = regions();
    let first = bj.import(1).await;
    let mut second = Person::of(BEIJING, 2);
    second.line.social_security_number = first.line.social_security_number.clone();
    assert_eq!(fields(&bj, &second.line()).await, ["social_security_number"]);
    let card: Option<crate::model::record::CardFile> =
        bj.gateway.peek(second.card.as_bytes()).await.expect("readable");
    assert!(card.is_none(), "nothing of the second holder was taken");
    let document = bj.gateway.document_hash("01", &first.line.social_security_number).expect("a key");
    let file: crate::model::record::DocumentFile =
        bj.gateway.peek(&document).await.expect("readable").expect("there");
    assert_eq!(hex::encode(file.holder), first.line.holder);
    // The same holder's next card comes in under the same document.
    let mut next = second;
    next.line.holder = first.line.holder.clone();
    assert!(fields(&bj, &next.line()).await.is_empty());
}

#[tokio::test]
async fn a_code_is_good_when_the_configured_table_has_it() {
    let (bj, _tj) = regions();
    let line = Person::of(BEIJING, 1).line().replace("\"ethnicity\":\"01\"", "\"ethnicity\":\"60\"");
    assert_eq!(fields(&bj, &line).await, ["ethnicity"]);
    let tables = CodeTables::read(|path| {
        let text = assets::read_text(path).ok_or("is not built in")?;
        let more = "\n60 = { zh = \"样例族\", en = \"Sample\" }\n";
        Ok::<_, &str>(if path.ends_with("ethnicity.toml") { text + more } else { text })
    });
    let trust = bj.gateway.live().trust.clone();
    bj.gateway.replace_live(Live { codes: tables.expect("right tables"), ..live(trust) });
    let report = bj.gateway.import_cards(&line).await.expect("a journal");
    assert_eq!((report.taken, report.wrong.len()), (1, 0), "{report:?}");
}
