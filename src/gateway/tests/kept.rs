//! What is kept and for how long: tries at documents, reads, sums of refusals, rows
//! past their use, codes until they expire.

use std::time::Duration;

use super::{super::*, rig::*};
use crate::{
    crypto::VirtualChip,
    identity::{DocumentKind, DocumentNumber},
    model::{
        AggregateKey, Purpose, RequestId, Scene, Status, Subject, SystemRng, Token16,
        record::{ChipSession, CodeUse, HolderSession},
    },
    store::Committed,
    trust::SignedCode,
};

async fn present(
    region: &Region,
    terminal: &str,
    request: u8,
    person: &Person,
    name: &str,
) -> Result<Committed, Refusal> {
    let kind = DocumentKind::ResidentIdentityCard;
    let number = DocumentNumber::parse(kind, &person.line.social_security_number).expect("valid");
    let ask = DocumentAsk { kind, number, name: name.parse().expect("a name") };
    let call = region.call(terminal, &method::PRESENT_DOCUMENT);
    region.gateway.present_document(&call, region.header(request, Purpose::IdentityCheck), ask).await
}

#[tokio::test]
async fn a_name_cannot_be_guessed_at_any_terminal() {
    let (bj, _tj) = regions();
    let (person, other) = (bj.import(1).await, bj.import(2).await);
    let tries = u8::try_from(limits::DOCUMENT_TRIES_PER_NUMBER).expect("a few");
    for guess in 0..tries {
        let terminal = if guess % 2 == 0 { "lib:desk" } else { "lib:kiosk" };
        let declined = present(&bj, terminal, guess + 1, &person, "样例乙").await.expect("an answer");
        assert_ended(&declined, Status::Declined, "DOCUMENT_MISMATCH");
    }
    // Not even the right name: whoever guesses must not learn that it is.
    for terminal in ["lib:desk", "lib:kiosk"] {
        let refused = assert_refused(
            present(&bj, terminal, 50, &person, "样例甲").await,
            RefusalKind::Exhausted,
            Reason::DocumentTriesExceeded,
        );
        let back = Duration::from_millis(limits::DOCUMENT_TRY_BACK_PER_NUMBER_MS.unsigned_abs());
        assert_eq!(refused.retry_after, Some(back));
    }
    // A repeat of what was answered tells nothing new and is told again.
    assert_eq!(bj.answered("lib:desk", 1).await.expect("answered").entry.reason, "DOCUMENT_MISMATCH");
    let fits = present(&bj, "lib:desk", 60, &other, "样例甲").await.expect("an answer");
    assert_ended(&fits, Status::Completed, "");
    bj.clock.advance_ms(limits::DOCUMENT_TRY_BACK_PER_NUMBER_MS);
    let fits = present(&bj, "lib:desk", 61, &person, "样例甲").await.expect("an answer");
    assert_ended(&fits, Status::Completed, "");
}

#[tokio::test]
async fn a_terminal_cannot_try_a_list_of_numbers() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    for request in 0..100 {
        let fits = present(&bj, "lib:desk", request, &person, "样例甲").await.expect("what fits is free");
        assert_ended(&fits, Status::Completed, "");
    }
    let unknown = |number| Person::of(BEIJING, number);
    for number in 0..u8::try_from(limits::DOCUMENT_TRIES_PER_TERMINAL).expect("some") {
        assert_refused(
            present(&bj, "lib:desk", 100 + number, &unknown(10 + number), "样例甲").await,
            RefusalKind::NotFound,
            Reason::DocumentUnknown,
        );
    }
    assert_refused(
        present(&bj, "lib:desk", 200, &person, "样例甲").await,
        RefusalKind::Exhausted,
        Reason::DocumentTriesExceeded,
    );
    let elsewhere =
        present(&bj, "lib:kiosk", 201, &person, "样例甲").await.expect("another terminal's tries");
    assert_ended(&elsewhere, Status::Completed, "");
}

#[tokio::test]
async fn a_transaction_of_a_holder_is_read_under_a_purpose_and_in_the_access_log() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let tapped = bj.tap(1, &person, 1).await.expect("an answer");
    let subject = Subject::from_slice(&tapped.entry.subject).expect("a holder");
    let key = TransactionKey::Request(RequestId::from_bytes([1; 16]));
    let read = async |purpose| {
        let call = bj.call("metro:gate", &method::GET_TRANSACTION);
        bj.gateway
            .transaction(&call, TransactionAsk { key: key.clone(), purpose })
            .await
            .map_err(|refusal| refusal.reason)
    };
    let log = async || bj.gateway.store.about(subject, Scene::Transaction, 10).await.expect("readable");
    assert!(log().await.is_empty());

    assert_eq!(
        read(Some(Purpose::MedicalCare)).await.expect_err("not a ride's"),
        Reason::PurposeNotPermitted
    );
    assert!(log().await.is_empty(), "nothing was told");
    for purpose in [None, Some(Purpose::TransitRide)] {
        assert_eq!(read(purpose).await.expect("its own")[0].entry, tapped.entry);
    }
    let reads = log().await;
    assert_eq!(reads.len(), 2);
    for Committed { entry, detail, .. } in reads {
        assert_eq!((entry.method.as_str(), entry.participant.as_str()), ("GetTransaction", "metro"));
        assert_eq!(entry.purpose, Purpose::TransitRide.number());
        assert_eq!(entry.pairwise_holder, tapped.entry.pairwise_holder);
        let which = <Vec<u8> as prost::Message>::decode(detail).expect("an id");
        assert_eq!(which, tapped.entry.transaction_id);
    }
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let soon = Duration::from_secs(20);
    let waited = tokio::time::timeout(soon, async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

#[tokio::test]
async fn a_sum_of_refusals_is_journalled_when_its_minute_has_ended() {
    let (bj, _tj) = regions();
    let call = bj.call("metro:gate", &method::TAP);
    let refusal = Refusal::forbidden(Reason::MacWrong);
    let journalled = limits::REFUSALS_JOURNALLED_PER_MINUTE as usize;
    let before = bj.entries();
    let entries = || bj.entries() - before;
    for _ in 0..journalled + 4 {
        bj.gateway.audit_refusal(&call, &refusal);
    }
    until("the first are journalled", async || entries() == journalled).await;
    bj.gateway.journal_sums(false).await;
    assert_eq!(entries(), journalled, "the minute has not ended");
    bj.clock.advance_ms(60_000);
    bj.gateway.journal_sums(false).await;
    bj.gateway.journal_sums(true).await;
    assert_eq!(entries(), journalled + 1, "once");
    // And what is left at the end, by whoever keeps house.
    for _ in 0..journalled + 1 {
        bj.gateway.audit_refusal(&call, &refusal);
    }
    until("the first are journalled", async || entries() == 2 * journalled + 1).await;
    let told_to_stop = tokio_util::sync::CancellationToken::new();
    told_to_stop.cancel();
    Housekeeper::new(Arc::clone(&bj.gateway), Duration::from_secs(3_600)).run(told_to_stop).await;
    assert_eq!(entries(), 2 * journalled + 2);
}

#[tokio::test]
async fn rows_are_removed_some_time_after_their_use_and_no_others() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let chip = VirtualChip::personalise(&*bj.vault, *person.card.as_bytes()).expect("roots");
    let visit = async |request: u8| -> [AggregateKey; 3] {
        let text = bj.code(request, person.card).await;
        let code = SignedCode::parse(&text).expect("a code").claimed().nonce;
        let scanned = card_detail(&bj.scan(request + 1, &text).await.expect("an answer"));
        let held = Token16::from_slice(&scanned.holder_session).expect("a session");
        let call = bj.call("lib:desk", &method::BEGIN_CHIP);
        let ask = ChipAsk { card: person.card, challenge: chip.challenge(&SystemRng) };
        let header = bj.header(request + 2, Purpose::IdentityCheck);
        let begun = card_detail(&bj.gateway.begin_chip(&call, header, ask).await.expect("genuine"));
        let begun = Token16::from_slice(&begun.chip_session).expect("a session");
        [
            AggregateKey::of::<CodeUse>(&code),
            AggregateKey::of::<HolderSession>(held.as_bytes()),
            AggregateKey::of::<ChipSession>(begun.as_bytes()),
        ]
    };
    let kept = async |rows: &[AggregateKey]| {
        let mut kept = 0;
        for row in rows {
            kept += usize::from(bj.gateway.store.load(row).await.expect("readable").is_some());
        }
        kept
    };
    let mut old = Vec::new();
    for number in 0..12 {
        old.extend(visit(10 * number).await);
    }
    // A used code outlives the sessions: a stand-in for it may be told of that late.
    bj.clock.advance_ms(limits::STAND_IN_SETTLE_MAX_MS + limits::SWEPT_AFTER_MS);
    let new = visit(200).await;
    let mut housekeeper = Housekeeper::new(Arc::clone(&bj.gateway), Duration::from_secs(1));
    assert_eq!(kept(&old).await, old.len());
    let mut swept = 0;
    // Rows are found once they are indexed.
    until("every old row is removed", async || {
        swept += housekeeper.turn().await;
        kept(&old).await == 0
    })
    .await;
    assert_eq!((swept, kept(&new).await), (old.len(), new.len()));
    drop(housekeeper);
    let again = bj.restart();
    for row in &old {
        assert!(again.gateway.store.load(row).await.expect("readable").is_none(), "removed for good");
    }
}

#[tokio::test]
async fn a_repeat_is_told_the_same_code() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let code = bj.code(1, person.card).await;
    SignedCode::parse(&code).expect("a code");
    bj.clock.advance_ms(limits::CODE_LIFE_MS - 1);
    assert_eq!(bj.code(1, person.card).await, code, "its answer may have been lost");
    assert_ne!(bj.code(2, person.card).await, code, "another request has its own");
}
