use super::{super::*, rig::*};
use crate::{identity::CardIdentifier, scenes::card::DenyFact, trust::DenyPosition};

fn card(number: u32) -> CardIdentifier {
    format!("120101{number:026}").parse().expect("a region")
}

fn lost(number: u32) -> DenyFact {
    DenyFact { card: card(number), denied: true, card_state: 2, expires_at_ms: 0, since_ms: 0 }
}

#[allow(clippy::unnecessary_wraps)] // what a delta is answered with
fn at(version: u64) -> Result<DenyPosition, Refusal> {
    Ok(DenyPosition { epoch: 0, version })
}

fn delta(since: u64, version: u64) -> DenyDelta {
    let facts = (since + 1..=version).map(|made_at| (made_at, lost(made_at as u32))).collect();
    DenyDelta { province: TIANJIN, epoch: 0, since, version, facts }
}

#[tokio::test]
async fn a_long_list_travels_in_parts_and_arrives_whole() {
    let (bj, tj) = regions();
    let mut lines = String::new();
    for number in 0..250 {
        // 250 people four times over would be four cards of one holder; the list
        // does not care.
        let mut person = Person::of(TIANJIN, number);
        person.line.state = 2;
        for issue in 0..5_u32 {
            person.line.card_identifier = format!("120101{issue:013}{number:013}");
            lines += &(person.line() + "\n");
        }
    }
    let report = tj.gateway.import_cards(&lines).await.expect("a journal");
    let at = tj.gateway.deny_list_at();
    assert_eq!((report.taken, report.wrong.len(), at.version - at.epoch), (1_250, 0, 1_250));

    let mut known = 0;
    let mut parts = Vec::new();
    while known < at.version {
        let part = tj.gateway.deny_delta(known).await.expect("a delta");
        parts.push(part.facts.len());
        known = bj.gateway.take_deny_delta(part).await.expect("taken").version;
    }
    assert_eq!(parts, [1_000, 250]);
    for (_, fact) in tj.gateway.deny_delta(at.version - 1).await.expect("a delta").facts {
        assert_eq!(bj.gateway.not_denied(&fact.card), Err(Reason::CardLost));
    }
    assert_eq!(bj.gateway.deny.len(), 1_250);
}

#[tokio::test]
async fn a_gap_is_answered_with_where_to_begin() {
    let (bj, _tj) = regions();
    assert_eq!(bj.gateway.take_deny_delta(delta(5, 7)).await, at(0));
    assert_eq!(bj.gateway.not_denied(&card(6)), Ok(()));
    assert_eq!(bj.gateway.take_deny_delta(delta(0, 9)).await, at(9));
    assert_eq!(bj.gateway.take_deny_delta(delta(0, 3)).await, at(9), "an old delta changes nothing");
    assert_eq!(bj.gateway.take_deny_delta(delta(7, 20)).await, at(20), "an overlap is no fault");
    for number in 1..=20 {
        assert_eq!(bj.gateway.not_denied(&card(number)), Err(Reason::CardLost), "{number}");
    }
}

#[tokio::test]
async fn a_sign_of_life_writes_nothing() {
    let (bj, _tj) = regions();
    bj.gateway.take_deny_delta(delta(0, 2)).await.expect("taken");
    let before = bj.entries();
    bj.clock.advance_ms(5_000);
    assert_eq!(bj.gateway.take_deny_delta(delta(2, 2)).await, at(2));
    assert_eq!(bj.gateway.deny_list_heard(TIANJIN), (2, Some(START + 5_000)));
    assert_eq!(bj.entries(), before);
}

#[tokio::test]
async fn the_lists_outlive_a_restart() {
    let (bj, tj) = regions();
    let person = bj.import(1).await;
    bj.lose(1, person.card).await.expect("reported");
    bj.gateway.take_deny_delta(delta(0, 9)).await.expect("taken");
    drop(tj);
    let version = bj.gateway.deny_list_version();
    let gateway = std::sync::Arc::downgrade(&bj.gateway);
    let bj = bj.restart();
    assert!(gateway.upgrade().is_none(), "the old one is gone");
    assert_eq!(bj.gateway.not_denied(&person.card), Err(Reason::CardLost));
    assert_eq!(bj.gateway.not_denied(&card(9)), Err(Reason::CardLost));
    assert_eq!((bj.gateway.deny_list_version(), bj.gateway.deny_list_heard(TIANJIN).0), (version, 9));
}

#[tokio::test]
async fn what_a_dropped_call_left_untold_is_told_later() {
    let (bj, _tj) = regions();
    let (first, second) = (bj.import(1).await, bj.import(2).await);
    // A caller that gives up between its commit and the change of the list.
    let untold = async |request, person: &Person| {
        let call = bj.call("hall:desk", &method::REPORT_LOSS);
        let ask = bj.gateway.ask(&call, &bj.header(request, crate::model::Purpose::CardService));
        let who = bj.gateway.known_card(person.card, ask.participant()).await.expect("known").who;
        let id = person.card.as_bytes();
        let touches = vec![
            crate::model::AggregateKey::of::<crate::model::record::CardFile>(id),
            crate::model::AggregateKey::of::<crate::model::record::DenyFile>(id),
            crate::model::AggregateKey::of::<crate::model::record::DenyListHead>(
                &crate::scenes::card::deny_head_id(BEIJING),
            ),
        ];
        let kind = crate::scenes::card::LossKind::Formal;
        bj.gateway
            .commit(&ask, touches, move |view, now| {
                crate::scenes::card::report_loss(view, &who, kind, 1, now)
            })
            .await
            .expect("reported");
    };
    untold(1, &first).await;
    assert_eq!(bj.gateway.not_denied(&first.card), Ok(()), "memory does not know yet");
    // The next loss must not hide it behind its own version.
    bj.lose(2, second.card).await.expect("reported");
    assert_eq!(bj.gateway.not_denied(&first.card), Err(Reason::CardLost));

    let third = bj.import(3).await;
    untold(3, &third).await;
    bj.gateway.refresh_deny_list().await.expect("readable");
    assert_eq!(bj.gateway.not_denied(&third.card), Err(Reason::CardLost));
    let version = bj.gateway.deny_list_version();
    assert_eq!(bj.line.versions.lock().expect("no panic").last(), Some(&version));
}

#[tokio::test]
async fn a_delta_acknowledged_between_look_up_and_commit_stops_a_foreign_card() {
    let (bj, tj) = regions();
    let person = tj.import(1).await;
    // What the store knows and memory does not is what a race leaves.
    let mut keys = vec![crate::model::AggregateKey::of::<crate::model::record::DenyListHead>(
        &crate::scenes::card::deny_head_id(TIANJIN),
    )];
    keys.push(crate::model::AggregateKey::of::<crate::model::record::DenyFile>(person.card.as_bytes()));
    let fact = DenyFact { card: person.card, denied: true, card_state: 2, expires_at_ms: 0, since_ms: 0 };
    let subject = bj.gateway.foreign_subject(&person.card).expect("a key");
    let meta = bj.gateway.own_meta(crate::model::Scene::Federation, "DenyListDelta");
    bj.gateway
        .note(meta, keys, move |view, now| {
            crate::scenes::card::apply_denial(view, TIANJIN, (1, 1), Some((subject, fact)), now)
        })
        .await
        .expect("taken");
    assert_eq!(bj.gateway.not_denied(&person.card), Ok(()));
    let tap = bj.tap(1, &person, 1).await.expect("an answer");
    assert_ended(&tap, crate::model::Status::Declined, "CARD_LOST");
    let scan = bj.scan(2, &tj.code(1, person.card).await).await.expect("an answer");
    assert_ended(&scan, crate::model::Status::Declined, "CARD_LOST");
}

#[tokio::test]
async fn a_list_begun_anew_travels_in_parts_over_a_restart_and_forgets_nothing() {
    let (bj, tj) = regions();
    bj.gateway.take_deny_delta(delta(0, 20)).await.expect("taken");
    // Tianjin's store was put back to before the last ten.
    let epoch = 1_000;
    let part = |since, version, facts: std::ops::RangeInclusive<u64>| {
        let facts = facts.map(|made_at| (made_at, lost(made_at as u32))).collect();
        DenyDelta { province: TIANJIN, epoch, since, version, facts }
    };
    assert_eq!(
        bj.gateway.take_deny_delta(part(20, 1_001, 1_001..=1_001)).await,
        at(20),
        "from its beginning"
    );
    let first = DenyPosition { epoch, version: 6 };
    assert_eq!(bj.gateway.take_deny_delta(part(0, 6, 1..=6)).await, Ok(first));
    drop(tj);
    let bj = bj.restart();
    assert_eq!(bj.gateway.deny_list_heard(TIANJIN).0, 6, "half of it is known as half of it");
    let rest = DenyPosition { epoch, version: 1_001 };
    assert_eq!(bj.gateway.take_deny_delta(part(6, 1_001, 7..=10)).await, Ok(rest));
    for number in 1..=20 {
        assert_eq!(bj.gateway.not_denied(&card(number)), Err(Reason::CardLost), "{number}");
    }
    // One that is behind kills, lifts nothing and moves nothing.
    assert_eq!(bj.gateway.take_deny_delta(delta(20, 21)).await, Ok(rest));
    let lifted = DenyFact { denied: false, card_state: 1, ..lost(3) };
    let lifting = DenyDelta { facts: vec![(22, lifted)], ..delta(21, 22) };
    assert_eq!(bj.gateway.take_deny_delta(lifting).await, Ok(rest));
    for number in [3, 21] {
        assert_eq!(bj.gateway.not_denied(&card(number)), Err(Reason::CardLost), "{number}");
    }
}

#[tokio::test]
async fn what_a_peer_knows_of_our_list_is_taken_up_in_parts_and_once() {
    let (bj, tj) = regions();
    let person = tj.import(1).await;
    assert_eq!(person.card, card(1), "one of those that Beijing knows to be lost");
    bj.gateway.take_deny_delta(delta(0, 1_100)).await.expect("taken");
    assert_eq!(tj.gateway.not_denied(&person.card), Ok(()), "Tianjin's store has lost it");

    let (mut after, mut taken, mut parts) = (None, Vec::new(), 0);
    loop {
        let told = bj.gateway.deny_list_known_of(TIANJIN, after).await.expect("readable");
        taken.push(tj.gateway.take_up_denials(BEIJING, &told.facts).await.expect("taken up"));
        assert_eq!(tj.gateway.take_up_denials(BEIJING, &told.facts).await, Ok(0), "once");
        after = told.facts.last().map(|(_, fact)| *fact.card.as_bytes());
        parts += 1;
        if !told.more {
            break;
        }
    }
    assert_eq!((parts, taken), (2, vec![1_000, 100]));
    assert_eq!(tj.gateway.not_denied(&person.card), Err(Reason::CardLost));
    let file: crate::model::record::CardFile =
        tj.gateway.peek(person.card.as_bytes()).await.expect("readable").expect("known");
    assert_eq!(file.state, 2, "the card's own file says so too");
    let at = tj.gateway.deny_list_at();
    assert_eq!(at.version - at.epoch, 1_100, "and the other regions are told");

    assert_eq!(tj.gateway.deny_list_told_by(BEIJING).await, Ok(false));
    tj.gateway.note_deny_list_told(BEIJING, at.epoch).await.expect("noted");
    assert_eq!(tj.gateway.deny_list_told_by(BEIJING).await, Ok(true));
    // A peer that knows more than we do has it from a store that we are not.
    let heard = DenyPosition { epoch: at.epoch + 5, version: at.version + 9 };
    tj.gateway.was_put_back(BEIJING, heard).await.expect("begun");
    assert!(tj.gateway.deny_list_at() > heard && tj.gateway.deny_list_at().epoch > heard.version);
    assert_eq!(tj.gateway.deny_list_told_by(BEIJING).await, Ok(false), "and is asked again");
    let before = tj.gateway.deny_list_at();
    let lie = DenyPosition { epoch: u64::MAX, version: u64::MAX };
    tj.gateway.was_put_back(BEIJING, lie).await.expect("refused");
    assert_eq!(tj.gateway.deny_list_at(), before, "nobody uses up our numbers");
    let tj = tj.restart();
    assert_eq!(tj.gateway.deny_list_at(), before, "a restart begins nothing");
}

#[tokio::test]
async fn an_epoch_from_the_future_is_not_taken() {
    let (bj, _tj) = regions();
    bj.gateway.take_deny_delta(delta(0, 9)).await.expect("taken");
    let latest = START as u64 + crate::limits::DENY_EPOCH_AHEAD_MAX_MS;
    let told = |epoch, version| DenyDelta { epoch, version, ..delta(0, 10) };
    for (epoch, version) in [(latest + 1, latest + 1), (u64::MAX, u64::MAX), (1, latest + 1)] {
        assert_eq!(bj.gateway.take_deny_delta(told(epoch, version)).await, at(9), "{epoch} {version}");
    }
    let last = DenyPosition { epoch: latest, version: latest };
    assert_eq!(bj.gateway.take_deny_delta(told(latest, latest)).await, Ok(last));
}

#[tokio::test]
async fn what_another_node_over_our_store_has_told_begins_nothing() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    // Another node takes a loss and tells it; our memory does not know yet.
    let head = bj.gateway.deny_list_at();
    let id = person.card.as_bytes();
    let touches = vec![
        crate::model::AggregateKey::of::<crate::model::record::CardFile>(id),
        crate::model::AggregateKey::of::<crate::model::record::DenyFile>(id),
        crate::model::AggregateKey::of::<crate::model::record::DenyListHead>(
            &crate::scenes::card::deny_head_id(BEIJING),
        ),
    ];
    let subject = bj.gateway.foreign_subject(&person.card).expect("a key");
    let lost = (1, DenyFact { card: person.card, ..lost(1) });
    let meta = bj.gateway.own_meta(crate::model::Scene::Federation, "DenyListTakenUp");
    bj.gateway
        .note(meta, touches, move |view, now| {
            crate::scenes::card::take_up_denial(view, subject, lost, TIANJIN, now)
        })
        .await
        .expect("taken");
    assert_eq!(bj.gateway.deny_list_at(), head, "memory does not know");
    let heard = DenyPosition { version: head.version + 1, ..head };
    assert_eq!(bj.gateway.was_put_back(TIANJIN, heard).await, Ok(Heard::ToldByAnotherNode));
    assert_eq!(bj.gateway.deny_list_at(), heard, "and now it does");
    assert_eq!(bj.gateway.not_denied(&person.card), Err(Reason::CardLost));
}

#[tokio::test]
async fn a_peer_cannot_make_us_begin_without_end_nor_break_a_cards_file() {
    let (_bj, tj) = regions();
    let person = tj.import(1).await;
    let ahead = |by| DenyPosition { epoch: tj.gateway.deny_list_at().version + by, version: 0 };
    assert_eq!(tj.gateway.was_put_back(BEIJING, ahead(1)).await, Ok(Heard::Begun));
    let begun = tj.gateway.deny_list_at();
    assert_eq!(tj.gateway.was_put_back(BEIJING, ahead(1)).await, Ok(Heard::NotBelieved));
    assert_eq!(tj.gateway.deny_list_at(), begun);
    assert_eq!(tj.gateway.was_put_back(130_000, ahead(1)).await, Ok(Heard::Begun), "another may be right");

    for card_state in [0, 1, 5, 7, 255] {
        let told = [(u64::MAX, DenyFact { card: person.card, card_state, ..lost(1) })];
        assert_eq!(tj.gateway.take_up_denials(BEIJING, &told).await, Ok(0), "{card_state}");
    }
    assert_eq!(tj.gateway.not_denied(&person.card), Ok(()));
    let told = [(1, DenyFact { card: person.card, card_state: 7, ..lost(1) }), (2, lost(2))];
    assert_eq!(tj.gateway.take_up_denials(BEIJING, &told).await, Ok(1), "and the others are taken up");
}
