use super::{super::*, rig::*};
use crate::{identity::CardIdentifier, scenes::card::DenyFact};

fn card(number: u32) -> CardIdentifier {
    format!("120101{number:026}").parse().expect("a region")
}

fn lost(number: u32) -> DenyFact {
    DenyFact { card: card(number), denied: true, card_state: 2, expires_at_ms: 0, since_ms: 0 }
}

fn delta(since: u64, version: u64) -> DenyDelta {
    let facts = (since + 1..=version).map(|made_at| (made_at, lost(made_at as u32))).collect();
    DenyDelta { province: TIANJIN, since, version, facts }
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
    assert_eq!((report.taken, report.wrong.len(), tj.gateway.deny_list_version()), (1_250, 0, 1_250));

    let mut known = 0;
    let mut parts = Vec::new();
    while known < 1_250 {
        let part = tj.gateway.deny_delta(known).await.expect("a delta");
        parts.push(part.facts.len());
        known = bj.gateway.take_deny_delta(part).await.expect("taken");
    }
    assert_eq!(parts, [1_000, 250]);
    for (_, fact) in tj.gateway.deny_delta(1_249).await.expect("a delta").facts {
        assert_eq!(bj.gateway.not_denied(&fact.card), Err(Reason::CardLost));
    }
    assert_eq!(bj.gateway.deny.len(), 1_250);
}

#[tokio::test]
async fn a_gap_is_answered_with_where_to_begin() {
    let (bj, _tj) = regions();
    assert_eq!(bj.gateway.take_deny_delta(delta(5, 7)).await, Ok(0));
    assert_eq!(bj.gateway.not_denied(&card(6)), Ok(()));
    assert_eq!(bj.gateway.take_deny_delta(delta(0, 9)).await, Ok(9));
    assert_eq!(bj.gateway.take_deny_delta(delta(0, 3)).await, Ok(9), "an old delta changes nothing");
    assert_eq!(bj.gateway.take_deny_delta(delta(7, 20)).await, Ok(20), "an overlap is no fault");
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
    assert_eq!(bj.gateway.take_deny_delta(delta(2, 2)).await, Ok(2));
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
    let gateway = std::sync::Arc::downgrade(&bj.gateway);
    let bj = bj.restart();
    assert!(gateway.upgrade().is_none(), "the old one is gone");
    assert_eq!(bj.gateway.not_denied(&person.card), Err(Reason::CardLost));
    assert_eq!(bj.gateway.not_denied(&card(9)), Err(Reason::CardLost));
    assert_eq!((bj.gateway.deny_list_version(), bj.gateway.deny_list_heard(TIANJIN).0), (1, 9));
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
    assert_eq!(bj.line.versions.lock().expect("no panic").last(), Some(&3));
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
            crate::scenes::card::apply_denial(view, TIANJIN, 1, Some((subject, fact)), now)
        })
        .await
        .expect("taken");
    assert_eq!(bj.gateway.not_denied(&person.card), Ok(()));
    let tap = bj.tap(1, &person, 1).await.expect("an answer");
    assert_ended(&tap, crate::model::Status::Declined, "CARD_LOST");
    let scan = bj.scan(2, &tj.code(1, person.card).await).await.expect("an answer");
    assert_ended(&scan, crate::model::Status::Declined, "CARD_LOST");
}
