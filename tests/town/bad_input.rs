//! What was not understood is refused with every violation named in two languages;
//! what is not genuine is refused with its reason, and counted.

use onecard::{
    client::{CallError, Terminal},
    limits,
    model::Purpose,
    proto::{
        auth::v1::{
            BeginChipRequest, ChipChallenge, FinishChipRequest, PresentCodeRequest, PresentDocumentRequest,
        },
        card::v1::{GetCardStateRequest, IssueCodeRequest, LiftLossRequest, ReportLossRequest},
        common::v1::RequestHeader,
        library::v1::{
            CancelHoldRequest, CheckinRequest, CheckoutRequest, EndSessionRequest, GetPatronRequest,
            PayFeeRequest, PlaceHoldRequest, RenewRequest,
        },
        transaction::v1::{GetTransactionRequest, get_transaction_request::By},
        transit::v1::{ListJourneysRequest, Tap, TapKind, TapRequest, TransitRead, UploadTapsRequest},
    },
};
use tonic::Code;

use crate::support::{
    Stage,
    acts::{self, checkout, chip, finish, session},
    expect::{approved, declined, refused},
    on_the_town, until,
};

/// The call is refused and names exactly these fields, each in both languages.
#[track_caller]
fn names<T: std::fmt::Debug>(result: Result<T, CallError>, fields: &[&str]) {
    let error = refused(result, Code::InvalidArgument, "FIELD_INVALID");
    let named: Vec<_> = error.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(named, fields, "{error:?}");
    for violation in &error.violations {
        let (zh, en) = violation.description.split_once(" / ").expect("two languages");
        assert!(zh.chars().any(|c| c > '\u{2e80}') && en.is_ascii() && !en.is_empty(), "{violation:?}");
    }
}

/// A header in which everything is wrong, and what is said of it.
fn wrong_header() -> Option<RequestHeader> {
    Some(RequestHeader {
        request_id: "1234".to_owned(),
        terminal_time_ms: -1,
        purpose: 0,
        operator_id: "x".repeat(33),
        holder_session: "short".to_owned(),
    })
}

const HEADER: [&str; 5] = [
    "header.request_id",
    "header.purpose",
    "header.terminal_time_ms",
    "header.operator_id",
    "header.holder_session",
];

fn with_header(fields: &[&'static str]) -> Vec<&'static str> {
    HEADER.iter().copied().chain(fields.iter().copied()).collect()
}

#[test]
fn every_violation_of_a_tap_is_named() {
    on_the_town(async |stage| {
        let gate = stage.terminal("bj-metro-gate-01").await;
        names(gate.tap(TapRequest::default()).await, &["header", "tap"]);
        let header = Some(gate.header(Purpose::TransitRide));
        let tap = |tap| TapRequest { header: header.clone(), tap: Some(tap) };
        names(
            gate.tap(tap(Tap::default())).await,
            &["tap.kind", "tap.station", "tap.tapped_at_ms", "tap.read"],
        );
        let wrong = Tap {
            kind: 9,
            station: "长".repeat(65),
            line: "a\nb".to_owned(),
            tapped_at_ms: -5,
            read: Some(TransitRead {
                card_identifier: vec![1; 15],
                counter: 0,
                mac: vec![0; 9],
                valid_until: 0,
            }),
        };
        let fields = [
            "tap.kind",
            "tap.station",
            "tap.line",
            "tap.tapped_at_ms",
            "tap.read.card_identifier",
            "tap.read.mac",
        ];
        names(gate.tap(tap(wrong.clone())).await, &fields);
        names(gate.tap(TapRequest { header: wrong_header(), tap: Some(wrong) }).await, &with_header(&fields));
        let journeys = ListJourneysRequest { purpose: 0, card_identifier: "zz".to_owned(), page_size: 101 };
        names(gate.list_journeys(journeys).await, &["card_identifier", "purpose", "page_size"]);
        let upload = UploadTapsRequest { taps: vec![TapRequest::default(); limits::UPLOAD_TAPS_MAX + 1] };
        names(gate.upload_taps(upload).await, &["taps"]);
        names(
            gate.get_transaction(GetTransactionRequest { by: None, purpose: 99 }).await,
            &["by", "purpose"],
        );
        for (by, field) in [
            (By::TransactionId("110000-1".to_owned()), "transaction_id"),
            (By::RequestId("no".to_owned()), "request_id"),
        ] {
            names(gate.get_transaction(GetTransactionRequest { by: Some(by), purpose: 0 }).await, &[field]);
        }
    });
}

#[test]
fn every_violation_at_a_counter_is_named() {
    on_the_town(async |stage| {
        let hall = stage.terminal("bj-hall-counter-01").await;
        let header = wrong_header();
        names(hall.begin_chip(BeginChipRequest::default()).await, &["header", "challenge"]);
        let challenge = ChipChallenge {
            region: "11".to_owned(),
            card_identifier: "12".to_owned(),
            reset_information: "xyz".to_owned(),
            algorithm: "DES".to_owned(),
            internal_factor: vec![0; 7],
            internal_data: vec![0; 15],
            internal_cryptogram: vec![],
            external_factor: vec![0; 9],
            external_data: vec![0; 17],
        };
        let begin = BeginChipRequest { header: header.clone(), challenge: Some(challenge) };
        names(
            hall.begin_chip(begin).await,
            &with_header(&[
                "challenge.region",
                "challenge.card_identifier",
                "challenge.algorithm",
                "challenge.reset_information",
                "challenge.internal_factor",
                "challenge.internal_data",
                "challenge.internal_cryptogram",
                "challenge.external_factor",
                "challenge.external_data",
            ]),
        );
        let finish = FinishChipRequest {
            header: header.clone(),
            chip_session: "1".to_owned(),
            social_security_number: "110101199001011234".to_owned(),
            card_number: "123".to_owned(),
            name: String::new(),
        };
        names(
            hall.finish_chip(finish).await,
            &with_header(&["chip_session", "social_security_number", "card_number", "name"]),
        );
        names(
            hall.present_code(PresentCodeRequest { header: header.clone(), code: String::new() }).await,
            &with_header(&["code"]),
        );
        let document = PresentDocumentRequest {
            header: Some(hall.header(Purpose::IdentityCheck)),
            document_kind: "01".to_owned(),
            document_number: "110101199001011234".to_owned(),
            name: "\u{7}".to_owned(),
        };
        names(hall.present_document(document).await, &["header.operator_id", "name", "document_number"]);
        let card_identifier = "0".repeat(31);
        names(
            hall.report_loss(ReportLossRequest {
                header: header.clone(),
                card_identifier: card_identifier.clone(),
                kind: 0,
            })
            .await,
            &with_header(&["card_identifier", "kind"]),
        );
        names(
            hall.card_state(GetCardStateRequest {
                header: header.clone(),
                card_identifier: card_identifier.clone(),
            })
            .await,
            &with_header(&["card_identifier"]),
        );
        let app = stage.terminal("bj-ecard-app-01").await;
        names(
            app.lift_loss(LiftLossRequest {
                header: header.clone(),
                card_identifier: card_identifier.clone(),
            })
            .await,
            &with_header(&["card_identifier"]),
        );
        names(
            app.issue_code(IssueCodeRequest { header, card_identifier }).await,
            &with_header(&["card_identifier"]),
        );
    });
}

#[test]
fn every_violation_at_a_library_is_named() {
    on_the_town(async |stage| {
        let desk = stage.terminal("bj-capital-desk-01").await;
        let (header, library, item) = (wrong_header(), "x".repeat(65), String::new());
        let with_item = with_header(&["library", "item"]);
        macro_rules! check {
            ($call:ident, $request:ident { $($field:ident: $value:expr),* }, $fields:expr) => {
                let request = $request { header: header.clone(), library: library.clone(), $($field: $value),* };
                names(desk.$call(request).await, $fields);
            };
        }
        check!(checkout, CheckoutRequest { item: item.clone() }, &with_item);
        check!(checkin, CheckinRequest { item: item.clone() }, &with_item);
        check!(renew, RenewRequest { item: item.clone() }, &with_item);
        check!(cancel_hold, CancelHoldRequest { item: item.clone() }, &with_item);
        check!(
            place_hold,
            PlaceHoldRequest { item: item.clone(), pickup_location: "x".repeat(65) },
            &with_header(&["library", "item", "pickup_location"])
        );
        check!(
            pay_fee,
            PayFeeRequest { amount_fen: 0, fee: "x".repeat(65) },
            &with_header(&["library", "fee", "amount_fen"])
        );
        check!(patron, GetPatronRequest {}, &with_header(&["library"]));
        check!(end_session, EndSessionRequest {}, &with_header(&["library"]));
    });
}

#[test]
fn what_is_not_genuine_is_refused_with_its_reason() {
    on_the_town(async |stage| {
        let (gate, hall, desk) = (
            stage.terminal("bj-metro-gate-01").await,
            stage.terminal("bj-hall-counter-01").await,
            stage.terminal("bj-capital-desk-01").await,
        );
        let card = stage.card("bj");
        let counted = |reason: &str| {
            stage.metric("beijing", "onecard_refusals_total", &[&format!("reason=\"{reason}\"")])
        };
        let wrong_macs = counted("MAC_WRONG");

        // A wrong MAC, and a right one over something else.
        let right = card.tap(&gate, TapKind::Entry, "西直门");
        let mut forged = right.clone();
        forged.header = Some(gate.header(Purpose::TransitRide));
        forged.tap.as_mut().and_then(|tap| tap.read.as_mut()).expect("a read").mac[0] ^= 1;
        refused(gate.tap(forged).await, Code::PermissionDenied, "MAC_WRONG");
        let mut moved = right.clone();
        moved.header = Some(gate.header(Purpose::TransitRide));
        moved.tap.as_mut().expect("a tap").station = "国贸".to_owned();
        refused(gate.tap(moved).await, Code::PermissionDenied, "MAC_WRONG");
        until("the refusals are counted", || counted("MAC_WRONG") >= wrong_macs + 2.0);

        // The same counter again, under a new request: a replay, declined.
        approved(&gate.tap(right.clone()).await.expect("answered").answer);
        let replayed = TapRequest { header: Some(gate.header(Purpose::TransitRide)), ..right };
        declined(&gate.tap(replayed).await.expect("answered").answer, "COUNTER_REPLAYED");

        // A card nobody issued, in the right form.
        let unknown = "110101D156000005FFFFFFFFFFFFFFFF".to_owned();
        let ask = |card_identifier: String| GetCardStateRequest {
            header: Some(hall.header(Purpose::CardService)),
            card_identifier,
        };
        refused(hall.card_state(ask(unknown)).await, Code::NotFound, "CARD_UNKNOWN");
        let abroad = "120101D156000005FFFFFFFFFFFFFFFF".to_owned();
        let error = hall.card_state(ask(abroad)).await.expect_err("unknown at home too");
        assert_eq!(error.reason, "CARD_UNKNOWN", "{error:?}");
        let nowhere = "310101D156000005FFFFFFFFFFFFFFFF".to_owned();
        refused(hall.card_state(ask(nowhere)).await, Code::NotFound, "CARD_UNKNOWN");

        // Codes: not one, altered, used.
        let present = |code: &str| PresentCodeRequest {
            header: Some(desk.header(Purpose::LibraryLoan)),
            code: code.to_owned(),
        };
        refused(desk.present_code(present("OC1.NOT-A-CODE")).await, Code::PermissionDenied, "CODE_MALFORMED");
        let code = acts::code(stage, &card).await;
        let last = if code.ends_with('A') { "Q" } else { "A" };
        let altered = format!("{}{last}", &code[..code.len() - 1]);
        let error = desk.present_code(present(&altered)).await.expect_err("altered");
        assert!(["CODE_SIGNATURE_WRONG", "CODE_MALFORMED"].contains(&error.reason.as_str()), "{error:?}");
        let middle = code.len() / 2;
        let other = if &code[middle..=middle] == "A" { "B" } else { "A" };
        let altered = format!("{}{other}{}", &code[..middle], &code[middle + 1..]);
        refused(desk.present_code(present(&altered)).await, Code::PermissionDenied, "CODE_SIGNATURE_WRONG");
        approved(&desk.present_code(present(&code)).await.expect("answered").answer);
        refused(desk.present_code(present(&code)).await, Code::PermissionDenied, "CODE_USED");

        // Sessions: invented, ended, of the chip and used.
        let mut invented = session(stage, &card, &desk, Purpose::LibraryLoan).await;
        let real = invented.clone();
        invented.session = "0123456789abcdef0123456789abcdef".to_owned();
        refused(
            desk.checkout(checkout(&desk, &invented, "B0004")).await,
            Code::PermissionDenied,
            "SESSION_UNKNOWN",
        );
        let end = EndSessionRequest {
            header: Some(acts::in_session(&desk, Purpose::LibraryLoan, &real)),
            library: String::new(),
        };
        approved(&desk.end_session(end).await.expect("answered").answer);
        let error = desk.checkout(checkout(&desk, &real, "B0004")).await.expect_err("the session has ended");
        assert!(error.reason.starts_with("SESSION_"), "{error:?}");

        fake_chips(stage, &hall, &card).await;
    });
}

/// A chip without its keys, a session used twice, data that differ.
async fn fake_chips(stage: &Stage, hall: &Terminal, card: &acts::Card) {
    let mut fake = card.challenge();
    fake.internal_cryptogram[3] ^= 1;
    let begin = |challenge| BeginChipRequest {
        header: Some(hall.header(Purpose::IdentityCheck)),
        challenge: Some(challenge),
    };
    refused(hall.begin_chip(begin(fake)).await, Code::PermissionDenied, "CHIP_NOT_GENUINE");
    let begun = hall.begin_chip(begin(card.challenge())).await.expect("answered");
    let first = hall.finish_chip(finish(hall, card, begun.chip_session.clone())).await.expect("answered");
    approved(&first.answer);
    let reason = match hall.finish_chip(finish(hall, card, begun.chip_session)).await {
        Ok(again) => again.answer.expect("an answer").reason,
        Err(error) => error.reason,
    };
    assert_eq!(reason, "SESSION_USED");

    let begun = hall.begin_chip(begin(card.challenge())).await.expect("answered");
    let other = stage.card("bj");
    let differs = hall.finish_chip(finish(hall, &other, begun.chip_session)).await.expect("answered");
    declined(&differs.answer, "CHIP_DATA_DIFFERS");
    assert!(differs.session.is_none());

    // Its issuer in another region says the same through the relay.
    let abroad = stage.terminal("he-hall-counter-01").await;
    let mut fake = card.challenge();
    fake.internal_cryptogram[3] ^= 1;
    let begin =
        BeginChipRequest { header: Some(abroad.header(Purpose::IdentityCheck)), challenge: Some(fake) };
    refused(abroad.begin_chip(begin).await, Code::PermissionDenied, "CHIP_NOT_GENUINE");
    approved(&chip(&abroad, card).await.expect("answered").answer);
}

#[test]
fn special_cards_are_declined_for_what_they_are() {
    on_the_town(async |stage| {
        let gate = stage.terminal("bj-metro-gate-02").await;
        for (name, reason) in [
            ("bj-lost", "CARD_TEMPORARILY_LOST"),
            ("bj-new", "CARD_NOT_ACTIVATED"),
            ("bj-expired", "CARD_EXPIRED"),
        ] {
            let card = stage.named_card(name);
            let tapped = gate.tap(card.tap(&gate, TapKind::Entry, "西直门")).await.expect("answered");
            declined(&tapped.answer, reason);
        }
    });
}

#[test]
fn a_message_that_is_too_long_is_refused() {
    on_the_town(async |stage| {
        let gate = stage.terminal("bj-metro-gate-01").await;
        let mut tap = stage.card("tj").tap(&gate, TapKind::Entry, "西直门");
        tap.tap.as_mut().expect("a tap").station = "x".repeat(limits::MESSAGE_BYTES_MAX + 1);
        let before = stage.metric("beijing", "onecard_requests_refused_total", &["too-large"]);
        let error = gate.tap(tap.clone()).await.expect_err("too long");
        assert_eq!(error.code, Code::ResourceExhausted, "{error:?}");
        assert!(!error.may_pass(), "a message too long stays too long");
        until("it is counted", || {
            stage.metric("beijing", "onecard_requests_refused_total", &["too-large"]) > before
        });
        let upload = UploadTapsRequest { taps: vec![tap; 20] };
        let error = gate.upload_taps(upload).await.expect_err("too long");
        assert_eq!(error.code, Code::ResourceExhausted, "{error:?}");
    });
}
