use std::sync::atomic::Ordering;

use super::{super::*, rig::*};
use crate::{
    crypto::VirtualChip,
    identity::{DocumentKind, DocumentNumber},
    model::{Purpose, Status, SystemRng, Token16},
    store::Committed,
    trust::{EcardCode, TrustList},
};

#[tokio::test]
async fn a_loss_is_known_before_it_is_answered() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let lost = bj.lose(1, person.card).await.expect("reported");
    assert_ended(&lost, Status::Completed, "");
    assert_eq!(card_detail(&lost).deny_list_version, bj.gateway.deny_list_at().epoch + 1);
    assert_eq!(bj.gateway.not_denied(&person.card), Err(Reason::CardLost));
    let version = bj.gateway.deny_list_version();
    assert_eq!(*bj.line.versions.lock().expect("no panic"), [version], "the peers are told at once");
    assert_ended(&bj.tap(2, &person, 1).await.expect("an answer"), Status::Declined, "CARD_LOST");
}

#[tokio::test]
async fn a_loss_told_abroad_is_repeated_without_a_second_effect() {
    let (bj, tj) = regions();
    let person = tj.import(1).await;
    bj.line.set(Mode::Away);
    let away = assert_refused(
        bj.lose(1, person.card).await,
        RefusalKind::Unavailable,
        Reason::HomeRegionUnavailable,
    );
    assert!(away.retry_after.is_some());
    assert!(bj.answered("hall:desk", 1).await.is_none());
    // It arrives, and the answer is lost: the worst case.
    bj.line.set(Mode::LosesAnswers);
    assert_refused(bj.lose(1, person.card).await, RefusalKind::Unavailable, Reason::HomeRegionUnavailable);
    let first = tj.gateway.deny_list_at().epoch + 1;
    assert_eq!(tj.gateway.deny_list_version(), first);
    bj.line.set(Mode::Up);
    let lost = bj.lose(1, person.card).await.expect("reported");
    assert_ended(&lost, Status::Completed, "");
    assert_eq!((card_detail(&lost).deny_list_version, tj.gateway.deny_list_version()), (first, first));
    let again = bj.lose(1, person.card).await.expect("the same");
    assert!(again.replayed);
    // Answered once, it is answered also when the home region is away.
    bj.line.set(Mode::Away);
    assert!(bj.lose(1, person.card).await.is_err());
    assert_eq!(bj.answered("hall:desk", 1).await.expect("answered").entry, lost.entry);
}

#[tokio::test]
async fn a_decline_of_the_home_region_is_an_answer() {
    let (bj, tj) = regions();
    let person = tj.import(1).await;
    let call = bj.call("hall:desk", &method::LIFT_LOSS);
    let lift = bj.gateway.lift_loss(&call, bj.header(1, Purpose::CardService), person.card).await;
    assert_ended(&lift.expect("an answer"), Status::Declined, "NOT_LOST");
    let nobody = Person::of(TIANJIN, 9);
    assert_refused(bj.lose(2, nobody.card).await, RefusalKind::Forbidden, Reason::CardUnknown);
}

async fn begin(region: &Region, request: u8, chip: &VirtualChip) -> Result<Committed, Refusal> {
    let call = region.call("lib:desk", &method::BEGIN_CHIP);
    let ask = ChipAsk {
        card: chip
            .card
            .to_vec()
            .try_into()
            .ok()
            .and_then(|card| crate::identity::CardIdentifier::from_bytes(card).ok())
            .expect("a card"),
        challenge: chip.challenge(&SystemRng),
    };
    region.gateway.begin_chip(&call, region.header(request, Purpose::IdentityCheck), ask).await
}

async fn finish(
    region: &Region,
    request: u8,
    begun: &Committed,
    person: &Person,
) -> Result<Committed, Refusal> {
    let token = Token16::from_slice(&card_detail(begun).chip_session).expect("a session");
    let call = region.call("lib:desk", &method::FINISH_CHIP);
    let header = region.header(request, Purpose::IdentityCheck);
    region.gateway.finish_chip(&call, header, token, person.data()).await
}

#[tokio::test]
async fn a_chip_is_authenticated_at_home_and_through_the_relay() {
    let (bj, tj) = regions();
    let person = tj.import(1).await;
    let chip = VirtualChip::personalise(&*tj.vault, *person.card.as_bytes()).expect("roots");
    for (serving, told) in [(&tj, "AAC003"), (&bj, "")] {
        let begun = begin(serving, 1, &chip).await.expect("genuine");
        assert_ended(&begun, Status::Completed, "");
        let done = finish(serving, 2, &begun, &person).await.expect("an answer");
        assert_ended(&done, Status::Completed, "");
        let said = card_detail(&done);
        assert_eq!(said.holder_session.len(), 16);
        // Abroad nobody named a line for Beijing's library.
        assert_eq!(said.attributes_told.join(","), told);
        // The session is used up; the same request is answered as before.
        assert_refused(
            finish(serving, 3, &begun, &person).await,
            RefusalKind::Forbidden,
            Reason::SessionUsed,
        );
        assert_eq!(serving.answered("lib:desk", 2).await.expect("answered").entry, done.entry);
    }
}

#[tokio::test]
async fn a_relay_is_told_what_the_policy_line_abroad_names() {
    let (bj, tj) = regions();
    let person = bj.import(1).await;
    let chip = VirtualChip::personalise(&*bj.vault, *person.card.as_bytes()).expect("roots");
    let begun = begin(&tj, 1, &chip).await.expect("genuine");
    let done = finish(&tj, 2, &begun, &person).await.expect("an answer");
    assert_eq!(card_detail(&done).attributes, [("AAC004".to_owned(), "1".to_owned())].into());
}

#[tokio::test]
async fn what_home_declines_at_the_first_call_is_an_answer() {
    let (bj, tj) = regions();
    let person = tj.import(1).await;
    let chip = VirtualChip::personalise(&*tj.vault, *person.card.as_bytes()).expect("roots");
    // Beijing has not heard of it yet.
    tj.lose(1, person.card).await.expect("reported");
    let told = begin(&bj, 1, &chip).await.expect("an answer");
    assert_ended(&told, Status::Declined, "CARD_LOST");
    assert!(card_detail(&told).chip_session.is_empty());
    assert!(begin(&bj, 1, &chip).await.expect("as before").replayed);
}

#[tokio::test]
async fn a_relay_whose_answer_was_lost_goes_on() {
    let (bj, tj) = regions();
    let person = tj.import(1).await;
    let chip = VirtualChip::personalise(&*tj.vault, *person.card.as_bytes()).expect("roots");
    let begun = begin(&bj, 1, &chip).await.expect("genuine");
    bj.line.set(Mode::LosesAnswers);
    assert!(finish(&bj, 2, &begun, &person).await.is_err());
    bj.line.set(Mode::Up);
    // The home region used its session up the first time, and says the same again.
    assert_ended(&finish(&bj, 2, &begun, &person).await.expect("an answer"), Status::Completed, "");
}

#[tokio::test]
async fn a_chip_that_is_not_genuine_and_a_late_second_call_are_refused() {
    let (bj, tj) = regions();
    let person = bj.import(1).await;
    let foreign = VirtualChip::personalise(&*tj.vault, *person.card.as_bytes()).expect("roots");
    assert_refused(begin(&bj, 1, &foreign).await, RefusalKind::Forbidden, Reason::ChipNotGenuine);
    let chip = VirtualChip::personalise(&*bj.vault, *person.card.as_bytes()).expect("roots");
    let begun = begin(&bj, 2, &chip).await.expect("genuine");
    bj.clock.advance_ms(60_000);
    assert_refused(finish(&bj, 3, &begun, &person).await, RefusalKind::Forbidden, Reason::SessionExpired);
}

#[tokio::test]
async fn wrong_data_on_a_chip_is_a_decline_that_ends_the_session() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let chip = VirtualChip::personalise(&*bj.vault, *person.card.as_bytes()).expect("roots");
    let begun = begin(&bj, 1, &chip).await.expect("genuine");
    let mut other = person.clone();
    other.line.name = "样例乙".into();
    let declined = finish(&bj, 2, &begun, &other).await.expect("an answer");
    assert_ended(&declined, Status::Declined, "CHIP_DATA_DIFFERS");
    assert_refused(finish(&bj, 3, &begun, &person).await, RefusalKind::Forbidden, Reason::SessionUsed);
}

#[tokio::test]
async fn a_code_lives_a_minute_and_is_scanned_once() {
    let (bj, tj) = regions();
    let person = bj.import(1).await;
    let code = bj.code(1, person.card).await;
    bj.clock.advance_ms(89_999);
    let done = tj.scan(1, &code).await.expect("within life and skew");
    assert_ended(&done, Status::Completed, "");
    assert_refused(tj.scan(2, &code).await, RefusalKind::Forbidden, Reason::CodeUsed);
    // Used in Tianjin is used in Beijing.
    assert_refused(bj.scan(3, &code).await, RefusalKind::Forbidden, Reason::CodeUsed);
    bj.clock.advance_ms(1);
    assert_refused(tj.scan(1, &code).await, RefusalKind::Forbidden, Reason::CodeExpired);
    assert_eq!(tj.answered("lib:desk", 1).await.expect("answered").entry, done.entry);
    assert_refused(tj.scan(4, "OC1.NONSENSE").await, RefusalKind::Forbidden, Reason::CodeMalformed);
}

#[tokio::test]
async fn a_code_of_the_future_is_refused() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let code = bj.code(1, person.card).await;
    bj.clock.advance_ms(-30_001);
    assert_refused(bj.scan(2, &code).await, RefusalKind::Forbidden, Reason::CodeNotYetValid);
}

#[tokio::test]
async fn a_region_signs_codes_for_its_own_cards_only() {
    let (bj, tj) = regions();
    let person = bj.import(1).await;
    for (card, nonce) in [(*person.card.as_bytes(), 1), ([0xff; 16], 2)] {
        let forged = EcardCode { issuer: TIANJIN, card, nonce: [nonce; 16], issued_at_ms: START };
        let text = forged.issue(&*tj.vault).expect("signs").to_text();
        for (serving, request) in [(&bj, 10 + nonce), (&tj, 20 + nonce)] {
            assert_refused(
                serving.scan(request, &text).await,
                RefusalKind::Forbidden,
                Reason::CodeSignatureWrong,
            );
        }
    }
}

#[tokio::test]
async fn the_policy_says_what_a_code_is_worth_while_its_home_is_away() {
    let (bj, tj) = regions();
    let person = bj.import(1).await;
    let mut request = 0;
    let mut live_with = |code_home| {
        let mut live = live(tj.gateway.live().trust.clone());
        live.policy.code_home = code_home;
        tj.gateway.replace_live(live);
        request += 2;
        request
    };
    let unavailable = (RefusalKind::Unavailable, Reason::HomeRegionUnavailable);
    tj.line.set(Mode::Away);
    let at = live_with(CodeHome::Must);
    assert_refused(tj.scan(at, &bj.code(at, person.card).await).await, unavailable.0, unavailable.1);
    let at = live_with(CodeHome::Ask);
    let stood_in = tj.scan(at, &bj.code(at, person.card).await).await.expect("stand-in");
    assert_ended(&stood_in, Status::Completed, "");
    assert!(card_detail(&stood_in).attributes.is_empty(), "nobody at home granted any");
    let asked = tj.line.asked.load(Ordering::SeqCst);
    let at = live_with(CodeHome::Never);
    let code = bj.code(at, person.card).await;
    assert_ended(&tj.scan(at, &code).await.expect("not asked"), Status::Completed, "");
    assert_eq!(tj.line.asked.load(Ordering::SeqCst), asked);
    assert_refused(tj.scan(at + 1, &code).await, RefusalKind::Forbidden, Reason::CodeUsed);
    // A lost card is dead also where nobody is asked.
    bj.lose(99, person.card).await.expect("reported");
    let code =
        EcardCode { issuer: BEIJING, card: *person.card.as_bytes(), nonce: [77; 16], issued_at_ms: START };
    let code = code.issue(&*bj.vault).expect("signs").to_text();
    tj.gateway.take_deny_delta(bj.gateway.deny_delta(0).await.expect("a delta")).await.expect("taken");
    assert_refused(tj.scan(100, &code).await, RefusalKind::Forbidden, Reason::CardLost);
}

#[tokio::test]
async fn an_expired_trust_list_vouches_for_nobody_abroad() {
    let (bj, tj) = regions();
    let person = bj.import(1).await;
    let live = live(
        TrustList::new(2, 0, START, tj.gateway.live().trust.members().cloned().collect()).expect("a list"),
    );
    tj.gateway.replace_live(live);
    let code = bj.code(1, person.card).await;
    assert_refused(tj.scan(1, &code).await, RefusalKind::Unavailable, Reason::HomeRegionUnavailable);
}

#[tokio::test]
async fn a_home_region_that_vouches_for_another_card_is_not_believed() {
    let (bj, _tj) = regions();
    let (asked, told) = (Person::of(TIANJIN, 1), Person::of(TIANJIN, 2));
    let call = bj.call("lib:desk", &method::PRESENT_CODE);
    let ask = bj.gateway.ask(&call, &bj.header(1, Purpose::LibraryLoan));
    let confirmed = HolderConfirmed {
        card: told.card,
        pairwise: crate::model::PairwiseHolder::from_bytes([1; 16]),
        state: 1,
        attributes: Default::default(),
    };
    let refused = bj.gateway.vouched(&ask, asked.card, Ok(confirmed)).expect_err("another card");
    assert_eq!(refused.reason, Reason::PeerNotTrusted);
}

#[tokio::test]
async fn a_document_finds_its_holder_at_home() {
    let (bj, tj) = regions();
    let person = bj.import(1).await;
    let ask = |name: &str| DocumentAsk {
        kind: DocumentKind::ResidentIdentityCard,
        number: DocumentNumber::parse(
            DocumentKind::ResidentIdentityCard,
            &person.line.social_security_number,
        )
        .expect("valid"),
        name: name.parse().expect("a name"),
    };
    let present = async |region: &Region, request, name| {
        let call = region.call("lib:desk", &method::PRESENT_DOCUMENT);
        region
            .gateway
            .present_document(&call, region.header(request, Purpose::IdentityCheck), ask(name))
            .await
    };
    assert_ended(&present(&bj, 1, "样例甲").await.expect("an answer"), Status::Completed, "");
    let mismatch = present(&bj, 2, "样例乙").await.expect("an answer");
    assert_ended(&mismatch, Status::Declined, "DOCUMENT_MISMATCH");
    assert_refused(present(&tj, 3, "样例甲").await, RefusalKind::NotFound, Reason::DocumentUnknown);
}

#[tokio::test]
async fn a_purpose_the_scene_does_not_know_and_a_wrong_clock_are_refused() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let call = bj.call("hall:desk", &method::GET_CARD_STATE);
    let header = bj.header(1, Purpose::LibraryLoan);
    assert_refused(
        bj.gateway.card_state(&call, header, person.card).await,
        RefusalKind::Forbidden,
        Reason::PurposeNotPermitted,
    );
    let header = Header { terminal_time_ms: START - 86_400_001, ..bj.header(1, Purpose::CardService) };
    let refusal = assert_refused(
        bj.gateway.card_state(&call, header, person.card).await,
        RefusalKind::Invalid,
        Reason::FieldInvalid,
    );
    assert_eq!(refusal.violations[0].field, "header.terminal_time_ms");
}

#[tokio::test]
async fn a_peer_cannot_ask_about_cards_of_others() {
    let (bj, tj) = regions();
    let person = Person::of(TIANJIN, 1);
    let call = tj.call("hall:desk", &method::REPORT_LOSS);
    let origin =
        super::super::cards::origin(&tj.gateway.ask(&call, &tj.header(1, Purpose::CardService)), &call);
    let asker = PeerAsker { province: TIANJIN, origin, fingerprint: [0; 32] };
    let asked = bj.gateway.peer_ask_card(asker, person.card, CardAsk::ReadState).await;
    assert_eq!(
        asked.expect_err("not Beijing's").to_string(),
        PeerError::Refused(Reason::HomeRegionOnly).to_string()
    );
}
