//! The rules of the card as tables.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    identity::{CardIdentifier, CardState},
    model::{
        AggregateBody, AggregateKey, Assurance, Decision, Millis, Outcome, PairwiseHolder, Reason, Stored,
        Subject, Token16, TransactionId, View,
        record::{
            CardDetail, CardFile, ChipSession, CodeUse, DenyFile, DenyListHead, DocumentFile, HolderFile,
            HolderSession,
        },
    },
};
use prost::Message as _;

const NOW: Millis = 1_790_000_000_000;
const TERM: i64 = 86_400_000;
const HOLDER: [u8; 16] = [7; 16];
const TOKEN: Token16 = Token16::from_bytes([3; 16]);
const PROVINCE: u32 = 110_000;
const DOCUMENT: [u8; 16] = [8; 16];

fn card_number(last: u8) -> CardIdentifier {
    let mut bytes = [0; 16];
    bytes[..3].copy_from_slice(&[0x11, 0x01, 0x01]);
    bytes[15] = last;
    CardIdentifier::from_bytes(bytes).expect("a region")
}

fn who() -> Who {
    Who {
        card: card_number(1),
        subject: Subject::from_bytes(HOLDER),
        pairwise: PairwiseHolder::from_bytes([9; 16]),
    }
}

fn file(state: CardState) -> CardFile {
    let expires = if state == CardState::TemporarilyLost { NOW + TERM } else { 0 };
    CardFile {
        state: state.digit(),
        state_expires_at_ms: expires,
        holder: HOLDER.to_vec(),
        region: 110_101,
        valid_until: 0,
    }
}

fn person() -> HolderFile {
    HolderFile {
        social_security_number: "11010119900307663X".into(),
        name: "样例甲".into(),
        sex: "1".into(),
        ethnicity: "01".into(),
        born: 19_900_307,
        card_number: "A00000001".into(),
        card: who().card.as_bytes().to_vec(),
    }
}

fn data() -> HolderData {
    let person = person();
    HolderData {
        social_security_number: person.social_security_number,
        card_number: person.card_number,
        name: person.name.parse().expect("a name"),
    }
}

fn new_session() -> NewSession {
    NewSession {
        token: Token16::from_bytes([4; 16]),
        participant: "bj-hall".parse().expect("well formed"),
        terminal: "counter-01".parse().expect("well formed"),
        life_ms: 600_000,
    }
}

fn begin() -> ChipBegin {
    ChipBegin {
        token: TOKEN,
        member: 0,
        participant: "bj-hall".parse().expect("well formed"),
        terminal: "counter-01".parse().expect("well formed"),
        life_ms: 60_000,
        internal_authenticator: [1; 16],
        external_authenticator: [2; 16],
        home_session: None,
    }
}

fn finish() -> ChipFinish {
    ChipFinish {
        chip_session: TOKEN,
        member: 0,
        participant: "bj-hall".parse().expect("well formed"),
        terminal: "counter-01".parse().expect("well formed"),
        session: Some(new_session()),
        granted: Granted::new(vec![AttributeCode::Name]),
    }
}

fn chip_session() -> ChipSession {
    ChipSession {
        card: who().card.as_bytes().to_vec(),
        member: String::new(),
        participant: "bj-hall".into(),
        terminal: "counter-01".into(),
        expires_at_ms: NOW + 1,
        used: false,
        home_session: Vec::new(),
    }
}

fn code() -> CodePresented {
    CodePresented {
        nonce: [5; 16],
        expires_at_ms: NOW + 90_000,
        transaction: TransactionId::from_bytes([6; 16]),
        session: Some(new_session()),
        granted: Granted::default(),
    }
}

fn document() -> DocumentPresented {
    DocumentPresented {
        document: DOCUMENT,
        name: data().name,
        session: new_session(),
        granted: Granted::default(),
    }
}

/// Everything an act may look at, with the card in `state`.
fn world(state: CardState) -> View {
    View::default()
        .holding(who().card.as_bytes(), &file(state))
        .holding(&HOLDER, &person())
        .holding(&DOCUMENT, &DocumentFile { holder: HOLDER.to_vec() })
        .missing::<DenyFile>(who().card.as_bytes())
        .missing::<DenyListHead>(&deny_head_id(PROVINCE))
        .missing::<CodeUse>(&[5; 16])
}

fn detail(decision: &Decision) -> CardDetail {
    CardDetail::decode(decision.detail.bytes.clone()).expect("its own detail")
}

fn written<T: AggregateBody>(decision: &Decision) -> Option<T> {
    let write = decision.writes.iter().find(|write| write.key.kind == T::KIND)?;
    Some(T::decode(write.body.clone().expect("nothing is deleted")).expect("its own body"))
}

type Act = fn(&View) -> Decision;

const ACTS: [(&str, Act); 8] = [
    ("temporary loss", |view| report_loss(view, &who(), LossKind::Temporary, TERM, NOW).expect("readable")),
    ("formal loss", |view| report_loss(view, &who(), LossKind::Formal, TERM, NOW).expect("readable")),
    ("lift", |view| lift_loss(view, &who(), NOW).expect("readable")),
    ("read", |view| read_state(view, &who(), NOW).expect("readable")),
    ("code", |view| issue_code(view, &who(), "OC1.", NOW + 60_000, NOW).expect("readable")),
    ("chip begin", |view| {
        let view = view.clone().missing::<ChipSession>(TOKEN.as_bytes());
        begin_chip(&view, &who(), &begin(), NOW).expect("readable")
    }),
    ("chip finish", |view| {
        let view = view.clone().holding(TOKEN.as_bytes(), &chip_session());
        finish_chip(&view, &who(), &HOLDER, &finish(), &data(), NOW).expect("readable")
    }),
    ("code present", |view| present_code(view, &who(), &HOLDER, &code(), NOW).expect("readable")),
];

#[test]
fn every_state_answers_every_act() {
    use CardState::{Cancelled, Issued, Locked, Lost, Normal, TemporarilyLost};
    use Reason::{
        CardCancelled, CardLocked, CardLost, CardNotActivated, CardTemporarilyLost, LossIsFinal, NotLost,
    };
    #[track_caller]
    fn check(state: CardState, expect: [Option<Reason>; 8]) {
        for ((act, run), expect) in ACTS.into_iter().zip(expect) {
            let outcome = expect.map_or(Outcome::Approved, Outcome::Declined);
            assert_eq!(run(&world(state)).outcome, outcome, "{act} of a card that is {}", state.name());
        }
    }
    let no = Some;
    let dead = |reason| [no(reason); 4];
    #[rustfmt::skip]
    let rows = [
        (Issued, [no(CardNotActivated), None, no(NotLost), None], dead(CardNotActivated)),
        (Normal, [None, None, no(NotLost), None], [None; 4]),
        (Lost, [None, None, no(LossIsFinal), None], dead(CardLost)),
        (Locked, [no(CardLocked), None, no(NotLost), None], dead(CardLocked)),
        (TemporarilyLost, [None, None, None, None], dead(CardTemporarilyLost)),
        (Cancelled, [no(CardCancelled), no(CardCancelled), no(CardCancelled), None], dead(CardCancelled)),
    ];
    for (state, changes, uses) in rows {
        check(state, [changes[0], changes[1], changes[2], changes[3], uses[0], uses[1], uses[2], uses[3]]);
    }
}

#[test]
fn a_document_stands_for_its_holder_under_the_right_name_and_a_good_card() {
    #[track_caller]
    fn check(view: View, presented: DocumentPresented, expect: Outcome) -> Decision {
        let decision = present_document(&view, &who(), &HOLDER, &presented, NOW).expect("readable");
        assert_eq!(decision.outcome, expect);
        decision
    }
    for state in CardState::ALL {
        let expect = state.usable().map_or_else(Outcome::Declined, |()| Outcome::Approved);
        check(world(*state), document(), expect);
    }
    let other = DocumentPresented { name: "样例乙".parse().expect("a name"), ..document() };
    check(world(CardState::Normal), other, Outcome::Declined(Reason::DocumentMismatch));
    let nobody = View::default().missing::<DocumentFile>(&DOCUMENT);
    check(nobody, document(), Outcome::Declined(Reason::DocumentUnknown));
    let moved = View::default().holding(&DOCUMENT, &DocumentFile { holder: vec![1; 16] });
    check(moved, document(), Outcome::Declined(Reason::DocumentUnknown));
    let decision = check(world(CardState::Normal), document(), Outcome::Approved);
    assert_eq!(decision.assurance, Some(Assurance::Document));
}

#[test]
fn a_card_is_good_to_the_end_of_its_last_day_in_shanghai() {
    #[track_caller]
    fn check(valid_until: u32, now: Millis, expect: Result<(), Reason>) {
        let file = CardFile { valid_until, ..file(CardState::Normal) };
        assert_eq!(standing::usable(&file, now), expect, "{valid_until} at {now}");
    }
    // 2026-09-22T00:00+08:00.
    let midnight = 1_790_006_400_000;
    check(20_260_921, midnight - 1, Ok(()));
    check(20_260_921, midnight, Err(Reason::CardExpired));
    check(20_260_922, midnight, Ok(()));
    check(0, Millis::MAX / 2, Ok(()));
}

#[test]
fn a_state_that_is_none_opens_nothing() {
    let broken = CardFile { state: 7, ..file(CardState::Normal) };
    assert_eq!(standing::usable(&broken, NOW), Err(Reason::CardLocked));
}

#[test]
fn a_chip_session_is_for_one_card_one_terminal_and_one_use() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut ChipSession), expect: Reason) {
        let mut session = chip_session();
        change(&mut session);
        let view = world(CardState::Normal).holding(TOKEN.as_bytes(), &session);
        let decision = finish_chip(&view, &who(), &HOLDER, &finish(), &data(), NOW).expect("readable");
        assert_eq!(decision.outcome, Outcome::Declined(expect));
        assert!(decision.writes.is_empty(), "what is not ours or over is left as it is");
        let view = view.missing::<DenyFile>(&[0; 16]);
        let foreign =
            finish_foreign_chip(&view, &who(), &finish(), Ok(Vouched::default()), NOW).expect("readable");
        assert_eq!(foreign.outcome, Outcome::Declined(expect));
    }
    check(|session| session.terminal = "counter-02".into(), Reason::SessionUnknown);
    check(|session| session.participant = "other".into(), Reason::SessionUnknown);
    check(|session| session.member = "120000".into(), Reason::SessionUnknown);
    check(|session| session.card = vec![1; 16], Reason::SessionUnknown);
    check(|session| session.used = true, Reason::SessionUsed);
    check(|session| session.expires_at_ms = NOW, Reason::SessionExpired);
    let view = world(CardState::Normal).missing::<ChipSession>(TOKEN.as_bytes());
    let decision = finish_chip(&view, &who(), &HOLDER, &finish(), &data(), NOW).expect("readable");
    assert_eq!(decision.outcome, Outcome::Declined(Reason::SessionUnknown));
}

#[test]
fn each_field_of_the_chip_must_agree_and_a_try_uses_the_session_up() {
    #[track_caller]
    fn check(data: HolderData, expect: Outcome) {
        let view = world(CardState::Normal).holding(TOKEN.as_bytes(), &chip_session());
        let decision = finish_chip(&view, &who(), &HOLDER, &finish(), &data, NOW).expect("readable");
        assert_eq!(decision.outcome, expect);
        assert!(written::<ChipSession>(&decision).expect("used up").used, "{expect:?}");
        let made = written::<HolderSession>(&decision).is_some();
        assert_eq!(made, expect == Outcome::Approved, "a session comes with an approval only");
    }
    let differs = Outcome::Declined(Reason::ChipDataDiffers);
    check(data(), Outcome::Approved);
    check(HolderData { social_security_number: "110101199003076630".into(), ..data() }, differs);
    check(HolderData { card_number: "A00000002".into(), ..data() }, differs);
    check(HolderData { name: "样例乙".parse().expect("a name"), ..data() }, differs);
    for state in [CardState::Lost, CardState::Cancelled] {
        let view = world(state).holding(TOKEN.as_bytes(), &chip_session());
        let decision = finish_chip(&view, &who(), &HOLDER, &finish(), &data(), NOW).expect("readable");
        assert!(written::<ChipSession>(&decision).expect("used up").used);
    }
}

#[test]
fn a_register_without_a_name_matches_nobody() {
    let nameless = HolderFile { name: String::new(), ..person() };
    let view = View::default()
        .holding(TOKEN.as_bytes(), &chip_session())
        .holding(who().card.as_bytes(), &file(CardState::Normal))
        .holding(&HOLDER, &nameless);
    let decision = finish_chip(&view, &who(), &HOLDER, &finish(), &data(), NOW).expect("readable");
    assert_eq!(decision.outcome, Outcome::Declined(Reason::ChipDataDiffers));
}

#[test]
fn a_code_is_used_once_and_a_dead_card_does_not_use_it_up() {
    let fresh = present_code(&world(CardState::Normal), &who(), &HOLDER, &code(), NOW).expect("readable");
    assert_eq!(fresh.outcome, Outcome::Approved);
    let used: CodeUse = written(&fresh).expect("remembered");
    assert_eq!((used.used_at_ms, used.expires_at_ms), (NOW, NOW + 90_000));
    let again = View::default().holding(&[5; 16], &used);
    let decision = present_code(&again, &who(), &HOLDER, &code(), NOW).expect("readable");
    assert_eq!(decision.outcome, Outcome::Declined(Reason::CodeUsed));
    let foreign = present_foreign_code(&again, &who(), &code(), Ok(Vouched::default()), NOW);
    assert_eq!(foreign.expect("readable").outcome, Outcome::Declined(Reason::CodeUsed));
    let lost = present_code(&world(CardState::Lost), &who(), &HOLDER, &code(), NOW).expect("readable");
    assert!(written::<CodeUse>(&lost).is_none());
}

#[test]
fn what_a_home_region_vouched_for_does_not_outlive_the_deny_list() {
    #[track_caller]
    fn check(denied: Option<DenyFile>, vouched: Result<Vouched, Reason>, expect: Outcome) {
        let view = View::default().missing::<CodeUse>(&[5; 16]).holding(TOKEN.as_bytes(), &chip_session());
        let id = *who().card.as_bytes();
        let view = match &denied {
            Some(file) => view.holding(&id, file),
            None => view.missing::<DenyFile>(&id),
        };
        let code = present_foreign_code(&view, &who(), &code(), vouched.clone(), NOW).expect("readable");
        assert_eq!(code.outcome, expect, "{denied:?}");
        assert!(written::<CodeUse>(&code).is_some(), "scanned is scanned");
        let chip = finish_foreign_chip(&view, &who(), &finish(), vouched, NOW).expect("readable");
        assert_eq!(chip.outcome, expect, "{denied:?}");
        assert!(written::<ChipSession>(&chip).expect("used up").used);
    }
    let fact = |denied, card_state, expires_at_ms| {
        Some(DenyFile {
            region: PROVINCE,
            card_state,
            expires_at_ms,
            denied,
            version: 1,
            ..DenyFile::default()
        })
    };
    let good = || Ok(Vouched { state: 1, ..Vouched::default() });
    check(None, good(), Outcome::Approved);
    check(None, Err(Reason::ChipDataDiffers), Outcome::Declined(Reason::ChipDataDiffers));
    check(fact(true, 2, 0), good(), Outcome::Declined(Reason::CardLost));
    check(fact(true, 4, NOW + 1), good(), Outcome::Declined(Reason::CardTemporarilyLost));
    check(fact(true, 4, NOW), good(), Outcome::Approved);
    check(fact(false, 1, 0), good(), Outcome::Approved);
    // Nonsense on the list is no way in.
    check(fact(true, 1, 0), good(), Outcome::Declined(Reason::CardLost));
    check(fact(true, 77, 0), good(), Outcome::Declined(Reason::CardLost));
}

fn holder_session() -> HolderSession {
    let (_, write) = new_session().write(&who(), Assurance::Code, false, NOW);
    HolderSession::decode(write.body.expect("a body")).expect("its own body")
}

#[test]
fn a_session_serves_its_own_terminal_until_it_ends() {
    let (participant, terminal) = ("bj-hall".parse().expect("id"), "counter-01".parse().expect("id"));
    let ask = |minimum| SessionAsk { participant: &participant, terminal: &terminal, minimum };
    let check = |change: fn(&mut HolderSession), minimum, now, expect: Result<(), Reason>| {
        let mut session = holder_session();
        change(&mut session);
        let told = live_session(Some(&session), ask(minimum), now).map(|_| ());
        assert_eq!(told, expect);
        // At commitment the same, and then the card.
        let view = View::default()
            .holding(TOKEN.as_bytes(), &session)
            .holding(who().card.as_bytes(), &file(CardState::Normal));
        assert_eq!(still_live(&view, TOKEN, true, ask(minimum), now), Ok(expect));
    };
    let (code, chip) = (Assurance::Code, Assurance::Chip);
    check(|_| (), code, NOW, Ok(()));
    check(|_| (), code, NOW + 599_999, Ok(()));
    check(|_| (), code, NOW + 600_000, Err(Reason::SessionExpired));
    check(|_| (), chip, NOW, Err(Reason::AssuranceTooLow));
    check(|session| session.ended = true, code, NOW, Err(Reason::SessionUsed));
    check(|session| session.terminal = "counter-02".into(), code, NOW, Err(Reason::SessionUnknown));
    check(|session| session.participant = "x".into(), code, NOW, Err(Reason::SessionUnknown));
    check(|session| session.assurance = 99, code, NOW, Err(Reason::SessionUnknown));
    check(|session| session.card.clear(), code, NOW, Err(Reason::SessionUnknown));
    check(|session| session.subject.clear(), code, NOW, Err(Reason::SessionUnknown));
    assert_eq!(live_session(None, ask(code), NOW).map(|_| ()), Err(Reason::SessionUnknown));

    let lost = View::default()
        .holding(TOKEN.as_bytes(), &holder_session())
        .holding(who().card.as_bytes(), &file(CardState::Lost));
    assert_eq!(still_live(&lost, TOKEN, true, ask(code), NOW), Ok(Err(Reason::CardLost)));
}

#[test]
fn an_ended_session_is_over_and_ending_it_again_is_no_fault() {
    let view = View::default().holding(TOKEN.as_bytes(), &holder_session());
    let decision = end_session(&view, TOKEN, &who()).expect("readable");
    let ended: HolderSession = written(&decision).expect("written");
    assert!(ended.ended);
    let again = View::default().holding(TOKEN.as_bytes(), &ended);
    assert_eq!(end_session(&again, TOKEN, &who()).expect("readable").outcome, Outcome::Approved);
    let none = View::default().missing::<HolderSession>(TOKEN.as_bytes());
    let unknown = end_session(&none, TOKEN, &who()).expect("readable");
    assert_eq!(unknown.outcome, Outcome::Declined(Reason::SessionUnknown));
}

#[test]
fn only_what_a_policy_names_is_told() {
    #[track_caller]
    fn check(codes: &[&str], expect: &[(&str, &str)]) {
        let granted = Granted::new(codes.iter().map(|code| code.parse().expect("known")).collect());
        let expect: BTreeMap<_, _> =
            expect.iter().map(|(code, value)| ((*code).to_owned(), (*value).to_owned())).collect();
        assert_eq!(granted.tell(&person()), expect);
    }
    check(&[], &[]);
    check(&["AAC003"], &[("AAC003", "样例甲")]);
    check(&["AAC006", "AAC004", "AAC006"], &[("AAC004", "1"), ("AAC006", "19900307")]);
    check(
        &["AAC002", "AAC005", "AAZ500"],
        &[("AAC002", "11010119900307663X"), ("AAC005", "01"), ("AAZ500", "A00000001")],
    );
    assert!("AAC999".parse::<AttributeCode>().is_err());
    let decision = ACTS[6].1(&world(CardState::Normal));
    let told = detail(&decision);
    assert_eq!(told.attributes_told, ["AAC003"]);
    assert!(decision.detail.personal, "what was told is sealed");
}

fn new_card(state: CardState) -> NewCard {
    let expires = (state == CardState::TemporarilyLost).then_some(NOW + TERM);
    NewCard {
        card: who().card,
        holder: crate::model::HolderId::from_bytes(HOLDER),
        subject: who().subject,
        state,
        state_expires_at_ms: expires,
        valid_until: 0,
        person: person(),
        document: DOCUMENT,
    }
}

fn empty_register() -> View {
    no_card().missing::<DocumentFile>(&DOCUMENT)
}

fn no_card() -> View {
    View::default()
        .missing::<CardFile>(who().card.as_bytes())
        .missing::<DenyFile>(who().card.as_bytes())
        .missing::<DenyListHead>(&deny_head_id(PROVINCE))
}

#[test]
fn an_import_run_twice_leaves_a_lost_card_lost() {
    let first = issue(&empty_register(), &new_card(CardState::Normal), NOW).expect("readable");
    assert_eq!(first.outcome, Outcome::Approved);
    assert_eq!((first.writes.len(), detail(&first).deny_list_version), (3, 0));
    let lost = View::default().holding(who().card.as_bytes(), &file(CardState::Lost));
    let again = issue(&lost, &new_card(CardState::Normal), NOW).expect("readable");
    assert_eq!(again.outcome, Outcome::Declined(Reason::StateUnchanged));
    assert!(again.writes.is_empty());
}

#[test]
fn a_document_opens_one_holders_sessions_only() {
    #[track_caller]
    fn check(holder: [u8; 16], outcome: Outcome, writes: usize) {
        let new = new_card(CardState::Normal);
        let named = DocumentFile { holder: holder.to_vec() };
        let decision = issue(&no_card().holding(&DOCUMENT, &named), &new, NOW).expect("readable");
        assert_eq!((decision.outcome, decision.writes.len()), (outcome, writes));
    }
    let own = *new_card(CardState::Normal).holder.as_bytes();
    check(own, Outcome::Approved, 3);
    check([0xee; 16], Outcome::Declined(Reason::DocumentTaken), 0);
}

#[test]
fn a_card_that_comes_in_dead_goes_on_the_deny_list() {
    for state in CardState::ALL {
        let decision = issue(&empty_register(), &new_card(*state), NOW).expect("readable");
        let fact: Option<DenyFile> = written(&decision);
        assert_eq!(fact.is_some(), state.usable().is_err(), "{}", state.name());
        if let Some(fact) = fact {
            assert_eq!((fact.denied, fact.card_state, fact.version), (true, state.digit(), 1));
            assert_eq!(fact.expires_at_ms, file(*state).state_expires_at_ms);
        }
    }
}

mod deny_list;
