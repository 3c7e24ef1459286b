//! What the journal says of movements, and what is kept of exceptions.

use super::{super::case::NewCase, *};
use crate::model::{AggregateKind, Decision, Outcome as Said, Reason, RequestId, Status, View, record};

fn entry(number: u8, step: u32, status: Status, fen: i64, at: Millis) -> record::Entry {
    let posting = |account: &str, fen| record::Posting { account: account.into(), amount_fen: fen };
    record::Entry {
        transaction_id: id(number).as_bytes().to_vec(),
        step,
        committed_at_ms: at,
        participant: "bj-metro".into(),
        terminal: "gate-01".into(),
        request_id: if step == 0 { vec![number; 16] } else { Vec::new() },
        scene: "transit".into(),
        method: "Tap".into(),
        status: status.number(),
        terminal_time_ms: at - 500,
        postings: vec![posting("purse/110000", fen), posting("participant/bj-metro/fares", -fen)],
        ..record::Entry::default()
    }
}

#[test]
fn the_journal_is_folded_to_what_is_due() {
    let mut side = JournalSide::new(metro(), DAY, Wanted::default());
    let next_day = business_day_start_ms(day(1));
    for entry in [
        entry(1, 0, Status::Completed, 300, noon(1)),
        entry(2, 0, Status::Completed, 400, noon(2)),
        entry(2, 1, Status::Reversed, -400, noon(3)),
        entry(3, 0, Status::Completed, 500, next_day),
        // Reversed on the next day: due today, and taken back tomorrow.
        entry(4, 0, Status::Completed, 600, next_day - 1),
        entry(4, 1, Status::Reversed, -600, next_day),
        record::Entry { postings: Vec::new(), ..entry(5, 0, Status::Completed, 0, noon(1)) },
    ] {
        side.take(&entry).expect("readable");
    }
    let read = side.finish();
    let said: Vec<_> =
        read.records.iter().map(|record| (record.transaction, record.amount.get(), record.state)).collect();
    let (captured, reversed) = (State::Captured, State::Reversed);
    assert_eq!(
        said,
        [(Some(id(1)), 300, captured), (Some(id(2)), 400, reversed), (Some(id(4)), 600, captured)]
    );
    let first = &read.records[0];
    let request = RequestId::from_bytes([1; 16]).to_string();
    assert_eq!(first.reference.as_deref(), Some(request.as_str()));
    assert_eq!((first.at, first.terminal.as_deref()), (Some(noon(1) - 500), Some("gate-01")));
    assert_eq!(first.account.as_deref(), Some("participant/bj-metro/fares"));
}

#[test]
fn of_other_days_only_what_the_files_name_is_kept() {
    let wanted = Wanted { keys: [Key::Transaction(id(2))].into(), ..Wanted::default() };
    let mut side = JournalSide::new(metro(), DAY, wanted);
    for number in [1, 2] {
        let entry = entry(number, 0, Status::Completed, 300, business_day_start_ms(day(1)));
        side.take(&entry).expect("readable");
    }
    let kept: Vec<_> = side.finish().records.into_iter().map(|record| record.transaction).collect();
    assert_eq!(kept, [Some(id(2))]);
}

fn exception() -> Exception {
    run(input(vec![ours(1, 300)], vec![])).exceptions.remove(0)
}

/// What the store has after a decision.
fn stored(decision: &Decision) -> View {
    let write = decision.writes.first().expect("a write");
    assert_eq!(write.key.kind, AggregateKind::ReconciliationCase);
    let body = write.body.clone().expect("a body");
    View::default()
        .with(write.key.clone(), Some(crate::model::Stored { revision: 1, schema: write.schema, body }))
}

#[test]
fn a_case_is_opened_once_and_resolved_once() {
    let new = NewCase::of(&metro(), &exception());
    let nothing = View::default().missing::<record::ReconciliationCase>(new.id.as_bytes());
    let opened = case::open(&nothing, &new, 1).expect("decided");
    assert_eq!(opened.outcome, Said::Approved);
    let view = stored(&opened);
    let again = case::open(&view, &new, 2).expect("decided");
    assert_eq!((again.outcome, again.writes.len()), (Said::Declined(Reason::StateUnchanged), 0));

    let borne = case::Resolution::WrittenOff { reason: "gate replaced".into() };
    let unknown = case::resolve(&nothing, new.id, &borne, "li", 3).expect("decided");
    assert_eq!((unknown.outcome, unknown.writes.len()), (Said::Declined(Reason::CaseUnknown), 0));
    let resolved = case::resolve(&view, new.id, &borne, "li", 3).expect("decided");
    assert_eq!(resolved.outcome, Said::Approved);
    let view = stored(&resolved);
    let case: record::ReconciliationCase = view.get(new.id.as_bytes()).expect("readable").expect("there");
    assert!(!case::is_open(&case));
    assert_eq!((case.explanation.as_str(), case.operator_id.as_str()), ("gate replaced", "li"));
    assert_eq!((case.opened_at_ms, case.resolved_at_ms, case.business_date), (1, 3, 20_261_121));
    for decision in [
        case::resolve(&view, new.id, &borne, "li", 4),
        case::open(&view, &new, 4),
        case::settle(&view, &new, DAY, 4),
    ] {
        let decision = decision.expect("decided");
        assert!(matches!(decision.outcome, Said::Declined(_)) && decision.writes.is_empty());
    }
}

#[test]
fn another_days_file_explains_what_was_missing() {
    let new = NewCase::of(&metro(), &exception());
    let nothing = View::default().missing::<record::ReconciliationCase>(new.id.as_bytes());
    let open = stored(&case::open(&nothing, &new, 1).expect("decided"));
    for before in [nothing, open] {
        let view = stored(&case::settle(&before, &new, day(1), 2).expect("decided"));
        let case: record::ReconciliationCase = view.get(new.id.as_bytes()).expect("readable").expect("there");
        assert!(!case::is_open(&case));
        assert_eq!(crate::identity::date_of_yyyymmdd(case.filed_under), Some(day(1)));
    }
}
