use super::{super::*, rig::*};
use crate::model::{Purpose, RequestId, Status};

fn forged(person: &Person, at: i64) -> TapAsk {
    TapAsk {
        side: TapSide::Entry,
        station: "沙河".into(),
        line: "昌平线".into(),
        tapped_at_ms: at,
        card: person.card,
        counter: 1,
        mac: [0; 8],
        valid_until: 0,
        offline: false,
    }
}

#[tokio::test]
async fn forged_taps_cannot_fill_the_journal() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let before = bj.entries();
    for request in 1..=40 {
        let call = bj.call("metro:gate", &method::TAP);
        let header = bj.header(request, Purpose::TransitRide);
        let result = bj.gateway.tap(&call, header, forged(&person, START)).await;
        assert_eq!(bj.entries().min(before), before);
        let refusal = assert_refused(result, RefusalKind::Forbidden, Reason::MacWrong);
        bj.gateway.audit_refusal(&call, &refusal);
        assert!(bj.answered("metro:gate", request).await.is_none());
    }
    // The refusals are written behind the callers' backs; a tap waits for them.
    for request in 50..53 {
        bj.tap(request, &person, u32::from(request)).await.expect("a good tap");
    }
    let journalled = bj.entries() - before - 3;
    assert_eq!(journalled, crate::limits::REFUSALS_JOURNALLED_PER_MINUTE as usize);
}

#[tokio::test]
async fn a_repeat_is_answered_as_before_and_another_payload_is_misuse() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let first = bj.tap(1, &person, 1).await.expect("a good tap");
    assert_ended(&first, Status::Completed, "");
    let again = bj.tap(1, &person, 1).await.expect("the same again");
    assert!(again.replayed && !first.replayed);
    assert_eq!((&again.entry, &again.detail), (&first.entry, &first.detail));
    assert_eq!(again.receipt.leaf, first.receipt.leaf);
    let call = bj.call("metro:gate", &method::TAP);
    let misused = bj.gateway.answered_before(&call, RequestId::from_bytes([1; 16]), &[9; 32]).await;
    assert_eq!(misused.expect_err("another payload").kind, RefusalKind::Misused);
}

#[tokio::test]
async fn a_foreign_card_that_the_list_names_is_declined() {
    let (bj, tj) = regions();
    let person = tj.import(1).await;
    assert_ended(&bj.tap(1, &person, 1).await.expect("a good tap"), Status::Completed, "");
    tj.lose(1, person.card).await.expect("reported");
    let delta = tj.gateway.deny_delta(0).await.expect("a delta");
    assert_eq!(bj.gateway.take_deny_delta(delta).await, Ok(tj.gateway.deny_list_at()));
    assert_ended(&bj.tap(2, &person, 2).await.expect("an answer"), Status::Declined, "CARD_LOST");
}

#[tokio::test]
async fn an_upload_stands_that_was_tapped_before_the_report_at_home_and_abroad() {
    let (bj, tj) = regions();
    let person = tj.import(1).await;
    let before = tj.gateway.now_ms();
    tj.clock.advance_ms(1_000);
    tj.lose(1, person.card).await.expect("reported");
    let delta = tj.gateway.deny_delta(0).await.expect("a delta");
    assert_eq!(bj.gateway.take_deny_delta(delta).await, Ok(tj.gateway.deny_list_at()));
    for region in [&bj.restart(), &tj.restart()] {
        let upload = async |request: u8, tapped_at_ms| {
            let taken = region.tap_as(request, &person, u32::from(request), |tap| {
                (tap.offline, tap.tapped_at_ms) = (true, tapped_at_ms);
            });
            taken.await.expect("an answer")
        };
        assert_ended(&upload(11, before).await, Status::Completed, "");
        assert_ended(&upload(12, before + 1_000).await, Status::Declined, "CARD_LOST");
    }
}

#[tokio::test]
async fn a_foreign_card_past_its_last_good_day_does_not_ride() {
    let (bj, tj) = regions();
    let person = tj.import(1).await;
    let expired = bj.tap_as(1, &person, 1, |tap| tap.valid_until = 20_201_231).await.expect("an answer");
    assert_ended(&expired, Status::Declined, "CARD_EXPIRED");
    let good = bj.tap_as(2, &person, 2, |tap| tap.valid_until = 20_991_231).await.expect("an answer");
    assert_ended(&good, Status::Completed, "");
}

#[tokio::test]
async fn a_tap_of_a_card_nobody_registered_is_refused() {
    let (bj, _tj) = regions();
    let nobody = Person::of(BEIJING, 9);
    assert_refused(bj.tap(1, &nobody, 1).await, RefusalKind::NotFound, Reason::CardUnknown);
}

#[tokio::test]
async fn participants_know_one_holder_under_different_names() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let tap = bj.tap(1, &person, 1).await.expect("a good tap");
    let scanned = bj.scan(2, &bj.code(1, person.card).await).await.expect("a good code");
    assert_ne!(tap.entry.pairwise_holder, scanned.entry.pairwise_holder);
    let again = bj.scan(4, &bj.code(3, person.card).await).await.expect("a good code");
    assert_eq!(again.entry.pairwise_holder, scanned.entry.pairwise_holder);
}

#[tokio::test]
async fn what_is_open_in_an_entry_is_about_nobody() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let scanned = bj.scan(2, &bj.code(1, person.card).await).await.expect("a good code");
    assert_eq!(card_detail(&scanned).attributes.get("AAC003").map(String::as_str), Some("样例甲"));
    for committed in [scanned, bj.tap(3, &person, 1).await.expect("a tap")] {
        let open = prost::Message::encode_to_vec(&*committed.entry);
        let holds = |secret: &[u8]| open.windows(secret.len()).any(|window| window == secret);
        assert!(!holds("样例甲".as_bytes()));
        assert!(!holds(person.line.social_security_number.as_bytes()));
        assert!(!holds(person.line.card_number.as_bytes()));
        assert!(committed.entry.detail.is_empty(), "personal detail is sealed");
    }
}
