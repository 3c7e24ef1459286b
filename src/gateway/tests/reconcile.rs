//! Cases in a real journal.

use super::{super::*, rig::*};
use crate::{
    ledger::matching::{
        CaseId, ExceptionKind, Owner, Side,
        case::{self, NewCase, Resolution},
    },
    model::{Fen, Stored},
};

fn missing() -> NewCase {
    let participant = "bj-metro".parse().expect("well formed");
    let transaction = "110000-000-0192a3b4c5d6-9f8e7d6c5b4a".parse().expect("well formed");
    NewCase {
        id: CaseId::of_missing(&participant, Side::Participant, transaction, crate::crypto::sm3),
        participant,
        file: Side::Participant,
        kind: ExceptionKind::MissingAtParticipant,
        date: jiff::civil::Date::constant(2026, 11, 21),
        owner: Owner::Participant,
        transaction: Some(transaction),
        ours: Some(Fen::new(300)),
        theirs: None,
    }
}

#[test]
fn ids_of_cases_are_what_they_ever_were() {
    // SM3 of tag, participant, file, code and transaction, a zero byte between them; its
    // first half.
    assert_eq!(missing().id.to_string(), "c7678b55bf3324567feb263b9f3273a1");
}

#[tokio::test]
async fn a_case_that_is_opened_again_keeps_its_revision() {
    let (bj, _tj) = regions();
    let case = missing();
    let stored = async || -> Stored {
        bj.gateway.store().load(&case::key(case.id)).await.expect("readable").expect("there")
    };
    bj.gateway.keep_case(CaseWork::Open(case.clone())).await.expect("opened");
    let first = stored().await;
    assert_eq!(first.revision, 1);
    let again = bj.gateway.keep_case(CaseWork::Open(case.clone())).await.expect_err("nothing to open");
    assert_eq!(again.reason, Reason::StateUnchanged);
    assert_eq!(stored().await, first);

    let borne = |id| CaseWork::Resolve {
        id,
        resolution: Resolution::WrittenOff { reason: "borne".into() },
        operator: "li".into(),
    };
    bj.gateway.keep_case(borne(case.id)).await.expect("resolved");
    assert_eq!(stored().await.revision, 2);
    let again = bj.gateway.keep_case(borne(case.id)).await.expect_err("resolved already");
    assert_eq!(again.reason, Reason::CaseClosed);
    let unknown = CaseId::from_slice(&[7; 16]).expect("16 bytes");
    let unknown = bj.gateway.keep_case(borne(unknown)).await.expect_err("no such case");
    assert_eq!(unknown.reason, Reason::CaseUnknown);
    assert_eq!(stored().await.revision, 2);
}
