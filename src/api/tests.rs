//! Wire to domain and back: what is refused is named, what is answered is told.

use std::{collections::HashSet, sync::Arc, time::Duration};

use prost::Message as _;
use tonic_types::StatusExt as _;

use super::{
    answer::{answer, outcome_of},
    door::{fingerprint, refusal_label},
    parse::{self, Fields},
    status::{ERROR_DOMAIN, code_of, to_status},
};
use crate::{
    gateway::{Refusal, RefusalKind, Violation},
    model::{Outcome, Reason, Receipt, Status, record},
    proto::{
        common::v1::{self as common, RequestHeader},
        library::v1 as library,
        transit::v1 as transit,
    },
    store::Committed,
};

mod doors;

const KINDS: [(RefusalKind, i32); 9] = [
    (RefusalKind::Invalid, 3),
    (RefusalKind::Unauthenticated, 16),
    (RefusalKind::Forbidden, 7),
    (RefusalKind::NotFound, 5),
    (RefusalKind::Misused, 6),
    (RefusalKind::Exhausted, 8),
    (RefusalKind::Unavailable, 14),
    (RefusalKind::DeadlineExceeded, 4),
    (RefusalKind::Internal, 13),
];

#[test]
fn every_kind_of_refusal_has_its_code_and_says_why_in_two_languages() {
    for (kind, code) in KINDS {
        assert_eq!(i32::from(code_of(kind)), code, "{kind:?}");
        let _ = refusal_label(kind);
        for reason in Reason::ALL {
            let status = to_status(&Refusal::new(kind, *reason));
            assert_eq!((i32::from(status.code()), status.message()), (code, reason.en()));
            let details = status.get_error_details();
            let info = details.error_info().expect("every refusal has a stable code");
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.code(), ERROR_DOMAIN));
            let text = details.localized_message().expect("and a Chinese text");
            assert_eq!((text.locale.as_str(), text.message.as_str()), ("zh-CN", reason.zh()));
            assert!(details.retry_info().is_none() && details.bad_request().is_none());
        }
    }
}

#[test]
fn who_may_come_back_is_told_when() {
    let wait = Duration::from_millis(300);
    let status = to_status(&Refusal::later(RefusalKind::Exhausted, Reason::Overloaded, wait));
    let details = status.get_error_details();
    assert_eq!(details.retry_info().and_then(|info| info.retry_delay), Some(wait));
}

#[test]
fn every_wrong_field_is_in_the_details() {
    let violations = vec![Violation::new("a.b", "中文", "English"), Violation::new("c", "丙", "see")];
    let status = to_status(&Refusal::invalid(violations));
    assert_eq!(status.message(), "a.b: English");
    let details = status.get_error_details();
    let fields = &details.bad_request().expect("the fields").field_violations;
    let told: Vec<_> =
        fields.iter().map(|field| (field.field.as_str(), field.description.as_str())).collect();
    assert_eq!(told, [("a.b", "中文 / English"), ("c", "丙 / see")]);
    assert_eq!(fields[1].localized_message.as_ref().map(|text| text.message.as_str()), Some("丙"));
}

fn good() -> RequestHeader {
    RequestHeader {
        request_id: "67e55044-10b1-426f-9247-bb680e5fe0c8".into(),
        terminal_time_ms: 1,
        purpose: 1,
        operator_id: "柜员一".into(),
        holder_session: "ab".repeat(16),
    }
}

#[test]
fn each_field_of_a_header_is_looked_at() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut RequestHeader), expect: &[&str]) {
        let mut wire = good();
        change(&mut wire);
        let mut fields = Fields::default();
        let header = parse::header(&mut fields, Some(&wire), [0; 32]);
        assert_eq!(header.is_some() && fields.is_clean(), expect.is_empty());
        if expect.is_empty() {
            return;
        }
        let violations = fields.into_violations();
        let named: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, expect);
        for violation in &violations {
            assert!(!violation.zh.is_ascii(), "{violation:?}");
            assert!(!violation.en.is_empty() && violation.en.is_ascii(), "{violation:?}");
        }
    }
    check(|_| (), &[]);
    check(|header| header.holder_session.clear(), &[]);
    check(|header| header.operator_id = "员".repeat(32), &[]);
    check(|header| header.operator_id = "员".repeat(33), &["header.operator_id"]);
    check(|header| header.operator_id = "a\nb".into(), &["header.operator_id"]);
    check(|header| header.request_id = "1".into(), &["header.request_id"]);
    check(|header| header.purpose = 0, &["header.purpose"]);
    check(|header| header.purpose = -1, &["header.purpose"]);
    check(|header| header.terminal_time_ms = 0, &["header.terminal_time_ms"]);
    check(|header| header.terminal_time_ms = i64::MIN, &["header.terminal_time_ms"]);
    check(|header| header.holder_session = "xy".into(), &["header.holder_session"]);
    check(
        |header| *header = RequestHeader::default(),
        &["header.request_id", "header.purpose", "header.terminal_time_ms"],
    );
    let mut fields = Fields::default();
    assert!(parse::header(&mut fields, None, [0; 32]).is_none());
    assert_eq!(fields.into_violations()[0].field, "header");
}

#[test]
fn texts_and_bytes_are_bounded_in_characters_and_name_their_field() {
    #[track_caller]
    fn check(value: &str, least: usize, most: usize, fits: bool) {
        let parsed = parse::text("tap.station", value, least, most);
        assert_eq!(parsed.is_ok(), fits, "{value:?}");
        if let Err(violation) = parsed {
            assert_eq!(violation.field, "tap.station");
            assert!(violation.en.contains(&least.to_string()) && violation.zh.contains(&most.to_string()));
        }
    }
    check("", 0, 64, true);
    check("", 1, 64, false);
    check(&"站".repeat(64), 1, 64, true);
    check(&"站".repeat(65), 1, 64, false);
    check("a\u{7}b", 1, 64, false);
    assert!(parse::exactly::<8>("mac", &[0; 8]).is_ok());
    assert!(parse::exactly::<8>("mac", &[0; 9]).is_err_and(|violation| violation.en.ends_with("has 9")));
    assert!(parse::card_bytes("card", &[0x11; 15]).is_err());
    assert!(parse::card_bytes("card", &[0xff; 16]).is_err());
    assert!(parse::card_text("card", &"11".repeat(16)).is_ok());
    assert!(parse::token("session", &"0".repeat(31)).is_err());
}

#[test]
fn nothing_understood_is_still_something_told() {
    assert_eq!(Fields::default().into_violations().len(), 1);
}

fn tap() -> transit::TapRequest {
    transit::TapRequest {
        header: Some(good()),
        tap: Some(transit::Tap {
            kind: 1,
            station: "沙河".into(),
            line: "昌平线".into(),
            tapped_at_ms: 1,
            read: Some(transit::TransitRead {
                card_identifier: vec![0x11; 16],
                counter: 1,
                mac: vec![1; 8],
                valid_until: 0,
            }),
        }),
    }
}

#[test]
fn two_requests_that_differ_anywhere_have_two_fingerprints() {
    let mut seen = HashSet::new();
    let mut differs = |change: &dyn Fn(&mut transit::TapRequest)| {
        let mut request = tap();
        change(&mut request);
        assert!(seen.insert(fingerprint(&request)));
    };
    differs(&|_| ());
    differs(&|request| request.header = None);
    differs(&|request| request.tap = None);
    let headers: [fn(&mut RequestHeader); 5] = [
        |header| header.request_id = "67e55044-10b1-426f-9247-bb680e5fe0c9".into(),
        |header| header.terminal_time_ms = 2,
        |header| header.purpose = 2,
        |header| header.operator_id = "柜员二".into(),
        |header| header.holder_session.clear(),
    ];
    for change in headers {
        differs(&|request| change(request.header.as_mut().expect("a header")));
    }
    let taps: [fn(&mut transit::Tap); 5] = [
        |tap| tap.kind = 2,
        |tap| tap.station = "沙".into(),
        |tap| tap.line = "河昌平线".into(),
        |tap| tap.tapped_at_ms = 2,
        |tap| tap.read = None,
    ];
    for change in taps {
        differs(&|request| change(request.tap.as_mut().expect("a tap")));
    }
    let reads: [fn(&mut transit::TransitRead); 3] =
        [|read| read.card_identifier = vec![0x12; 16], |read| read.counter = 2, |read| read.mac = vec![2; 8]];
    for change in reads {
        differs(&|request| {
            let tap = request.tap.as_mut().expect("a tap");
            change(tap.read.as_mut().expect("a read"));
        });
    }
    let (checkout, checkin) = (library::CheckoutRequest::default(), library::CheckinRequest::default());
    assert_eq!(checkout.encode_to_vec(), checkin.encode_to_vec());
    assert_ne!(fingerprint(&checkout), fingerprint(&checkin), "another method is another request");
    assert_eq!(fingerprint(&tap()), fingerprint(&tap()));
}

fn committed(status: i32, reason: &str) -> Committed {
    let entry = record::Entry {
        transaction_id: vec![0; 16],
        status,
        reason: reason.into(),
        committed_at_ms: 5,
        assurance: 3,
        pairwise_holder: vec![0xab; 16],
        ..record::Entry::default()
    };
    let receipt = Receipt {
        leaf: [1; 32],
        path: vec![[2; 32]],
        index: 1,
        batch_header: vec![3].into(),
        signature: [4; 64],
    };
    Committed {
        entry: Arc::new(entry),
        detail: Default::default(),
        parts: Vec::new(),
        receipt,
        replayed: false,
    }
}

#[test]
fn an_answer_says_how_it_ended_and_why() {
    #[track_caller]
    fn check(status: i32, reason: &str, decision: common::Decision, told: &str) {
        let committed = committed(status, reason);
        let answer = answer(&committed);
        assert_eq!((answer.decision, answer.reason.as_str()), (i32::from(decision), told));
        assert_eq!(answer.text_zh.is_empty() && answer.text_en.is_empty(), told.is_empty());
        assert_eq!((answer.status, answer.committed_at_ms, answer.assurance), (status, 5, 3));
        assert_eq!(answer.holder_id, "ab".repeat(16));
        let receipt = answer.receipt.clone().expect("every answer has one");
        assert_eq!((receipt.leaf, receipt.path.len(), receipt.index), (vec![1; 32], 1, 1));
        // A repeat is projected from the same bytes, so it says the same.
        let again = Committed { replayed: true, ..committed };
        assert_eq!(super::answer::answer(&again).encode_to_vec(), answer.encode_to_vec());
    }
    use common::Decision::{Approved, Declined, Pending};
    check(Status::Completed.number(), "", Approved, "");
    check(Status::Pending.number(), "", Pending, "OUTCOME_PENDING");
    check(Status::Declined.number(), "CARD_LOST", Declined, "CARD_LOST");
    check(Status::Reversed.number(), "OUTCOME_REVERSED", Declined, "OUTCOME_REVERSED");
    // Written by a later version: no is no, and what is unknown is not yes.
    check(Status::Declined.number(), "NEVER_HEARD", Declined, "INTERNAL");
    check(77, "", Pending, "OUTCOME_PENDING");
    assert_eq!(outcome_of(&committed(1, "").entry), Outcome::Approved);
}

#[test]
fn a_transaction_tells_the_request_of_its_first_step_and_the_end_of_its_last() {
    let step = |status: Status, reason: &str, request_id: Vec<u8>, method: &str| {
        let committed = committed(status.number(), reason);
        let entry = record::Entry {
            request_id,
            method: method.into(),
            terminal: "desk".into(),
            ..(*committed.entry).clone()
        };
        Committed { entry: Arc::new(entry), ..committed }
    };
    let steps = [
        step(Status::Pending, "", vec![0x11; 16], "Checkout"),
        step(Status::Reversed, "BACKEND_UNAVAILABLE", Vec::new(), "Inquire"),
    ];
    let told = super::transaction::told(&steps).expect("there are steps");
    assert_eq!(told.request_id, "11111111-1111-1111-1111-111111111111");
    assert_eq!((told.method.as_str(), told.terminal.as_str()), ("Checkout", "desk"));
    assert_eq!(told.answer.expect("an answer").reason, "BACKEND_UNAVAILABLE");
    assert_eq!(told.steps.len(), 2);
    assert!(super::transaction::told(&[]).is_none());
}
