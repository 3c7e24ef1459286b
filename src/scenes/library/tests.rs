#![allow(clippy::unwrap_used)]
use prost::Message as _;

use super::*;
use crate::model::{
    AggregateBody as _, Assurance, Decision, Fen, Jitter, Millis, Outcome, PairwiseHolder, Reason, Status,
    Stored, Subject, TaskKind, TaskName, TaskState, TransactionId, View,
    record::{LibraryCase, LibraryDetail},
};

const NOW: Millis = 1_795_000_000_000;

const INQUIRE: TaskName = TaskName::Known(TaskKind::LibraryInquire);

fn policy() -> InquiryPolicy {
    InquiryPolicy { first_after_ms: 1_000, at_most_ms: 4_000, inquiries_max: 3, undo_tries_max: 2 }
}

fn who() -> Who {
    Who {
        subject: Subject::from_bytes([1; 16]),
        pairwise: Some(PairwiseHolder::from_bytes([2; 16])),
        assurance: Some(Assurance::Code),
    }
}

fn tx() -> TransactionId {
    TransactionId::from_bytes([9; 16])
}

fn order(act: LibraryAct) -> LibraryOrder {
    LibraryOrder {
        transaction: tx(),
        library: "lib".into(),
        act,
        patron: "X1".into(),
        item: "B1".into(),
        pickup_location: "东馆".into(),
        amount: Fen::new(250),
        fee: "F1".into(),
        trace_id: None,
    }
}

fn before() -> Before {
    Before { observed: true, item_was_listed: true, due_at_ms: 77, fees: Fen::new(500) }
}

/// The view after a decision's writes.
fn after(decision: &Decision) -> View {
    let write = decision.writes.iter().find(|write| write.key == case_key(tx())).unwrap();
    let stored = |body: bytes::Bytes| Stored { revision: 1, schema: LibraryCase::SCHEMA, body };
    View::default().with(case_key(tx()), write.body.clone().map(stored))
}

fn case_in(view: &View) -> LibraryCase {
    view.get::<LibraryCase>(tx().as_bytes()).unwrap().unwrap()
}

fn detail(decision: &Decision) -> LibraryDetail {
    assert!(decision.detail.personal, "what somebody reads is sealed");
    LibraryDetail::decode(decision.detail.bytes.clone()).unwrap()
}

fn opened(act: LibraryAct) -> View {
    after(&intent(&who(), &order(act), &before(), NOW, &policy()))
}

#[track_caller]
fn ended(decision: &Decision, outcome: Outcome, status: Status) {
    assert_eq!((decision.outcome, decision.status), (outcome, status));
    assert!(decision.status.is_final());
    assert_eq!(decision.subject, Some(who().subject));
    assert!(decision.writes.iter().any(|write| write.key == case_key(tx()) && write.body.is_none()));
    assert!(decision.tasks.iter().any(|task| task.kind == INQUIRE && task.state == TaskState::Done));
}

#[test]
fn an_intent_is_pending_and_its_task_is_due_before_the_call() {
    let decision = intent(&who(), &order(LibraryAct::Checkout), &before(), NOW, &policy());
    assert_eq!((decision.outcome, decision.status), (Outcome::Pending, Status::Pending));
    let task = &decision.tasks[0];
    assert_eq!((&task.kind, task.due_at_ms, task.state), (&INQUIRE, NOW + 1_000, TaskState::Waiting));
    assert_eq!((task.lane.as_str(), task.asked_at_ms, task.tries), ("library/lib", NOW, 0));
    assert_eq!(decision.pairwise, who().pairwise);
    let view = after(&decision);
    assert_eq!(order_of(&case_in(&view), tx()), Some((order(LibraryAct::Checkout), before())));
}

#[test]
fn an_answer_closes_case_and_task() {
    let answer = LibraryAnswer { title: "红楼梦".into(), due_at_ms: 99, ..LibraryAnswer::default() };
    let decision = result(&opened(LibraryAct::Checkout), &who(), tx(), Ok(&answer), NOW).unwrap();
    ended(&decision, Outcome::Approved, Status::Completed);
    let told = detail(&decision);
    assert_eq!((told.title.as_str(), told.due_at_ms, told.item.as_str()), ("红楼梦", 99, "B1"));
    assert!(!told.item_was_charged && told.fees_fen == 0, "how things stood before is not the answer");
}

#[test]
fn a_decline_carries_the_librarys_words() {
    let declined = Declined { reason: Reason::PatronBlocked, screen_message: "读者证受限".into() };
    let decision = result(&opened(LibraryAct::Renew), &who(), tx(), Err(&declined), NOW).unwrap();
    ended(&decision, Outcome::Declined(Reason::PatronBlocked), Status::Declined);
    assert_eq!(detail(&decision).screen_message, "读者证受限");
}

#[test]
fn what_was_not_sent_fails_safely_and_what_did_not_happen_is_reversed() {
    let view = opened(LibraryAct::PayFee);
    let decision = not_sent(&view, &who(), tx(), NOW).unwrap();
    ended(&decision, Outcome::Declined(Reason::BackendUnavailable), Status::Declined);
    let decision = not_happened(&view, &who(), tx(), NOW).unwrap();
    ended(&decision, Outcome::Declined(Reason::BackendUnavailable), Status::Reversed);
}

/// Runs a case whose inquiries bring nothing and says which turns were taken.
fn run_out(act: LibraryAct) -> (Vec<Turn>, Vec<Millis>, Decision) {
    let (mut view, mut turns, mut waits) = (opened(act), Vec::new(), Vec::new());
    loop {
        turns.push(turn(&case_in(&view), tx(), &policy()));
        let decision =
            unresolved(&view, &who(), tx(), NOW, &policy(), Reason::BackendUnavailable, Jitter::NONE)
                .unwrap();
        if decision.status.is_final() {
            return (turns, waits, decision);
        }
        assert_eq!(decision.outcome, Outcome::Pending);
        waits.push(decision.tasks[0].due_at_ms - NOW);
        view = after(&decision);
    }
}

#[test]
fn an_outcome_nobody_can_tell_is_undone_where_it_can_be() {
    let (turns, waits, decision) = run_out(LibraryAct::Checkout);
    let undo = Turn::Undo(order(LibraryAct::Checkin));
    assert_eq!(turns, [Turn::Inquire, Turn::Inquire, Turn::Inquire, undo.clone(), undo]);
    assert_eq!(waits, [2_000, 4_000, 4_000, 4_000], "waits double up to their bound");
    ended(&decision, Outcome::Declined(Reason::OutcomeReversed), Status::Reversed);
    assert!(detail(&decision).alert, "nobody took it back, so a person must look");
    assert_eq!(detail(&decision).inquiries, 4);
}

#[test]
fn money_is_never_undone_by_the_machine() {
    let (turns, _, decision) = run_out(LibraryAct::PayFee);
    assert_eq!(turns, [Turn::Inquire, Turn::Inquire, Turn::Inquire]);
    ended(&decision, Outcome::Declined(Reason::OutcomeReversed), Status::Reversed);
    assert!(detail(&decision).alert);
}

#[test]
fn what_was_taken_back_is_reversed_without_alert() {
    let decision = reversed(&opened(LibraryAct::PlaceHold), &who(), tx(), NOW).unwrap();
    ended(&decision, Outcome::Declined(Reason::OutcomeReversed), Status::Reversed);
    assert!(!detail(&decision).alert);
}

#[test]
fn a_pending_case_ends_within_the_bound_that_is_shown() {
    for act in LibraryAct::ALL {
        let (_, waits, _) = run_out(*act);
        assert!(policy().wait_ms(0) + waits.iter().sum::<i64>() <= policy().bound_ms(), "{act:?}");
    }
}

#[test]
fn a_case_that_is_gone_is_an_error_not_a_guess() {
    let view = View::default().missing::<LibraryCase>(tx().as_bytes());
    assert!(result(&view, &who(), tx(), Ok(&LibraryAnswer::default()), NOW).is_err());
    assert!(
        unresolved(&view, &who(), tx(), NOW, &policy(), Reason::BackendUnavailable, Jitter::NONE).is_err()
    );
}

#[test]
fn a_read_keeps_the_account_as_told() {
    let account = PatronAccount {
        loans: vec![Loan { item: "B1".into(), title: "边城".into(), due_at_ms: 5 }],
        holds: 2,
        overdue: 1,
        fees: Fen::new(30),
        may_borrow: true,
    };
    let answer = LibraryAnswer { account: Some(account), ..LibraryAnswer::default() };
    let decision = read(&who(), &order(LibraryAct::GetPatron), Ok(&answer));
    assert_eq!((decision.status, decision.writes.len(), decision.tasks.len()), (Status::Completed, 0, 0));
    let told = detail(&decision);
    assert_eq!((told.loans[0].title.as_str(), told.holds, told.overdue), ("边城", 2, 1));
    assert_eq!((told.fees_fen, told.may_borrow), (30, true));
}

#[test]
fn acts_say_what_they_need() {
    for act in LibraryAct::ALL {
        assert_eq!(LibraryAct::from_number(act.number()), Some(*act));
        assert_eq!(act.needs_holder(), *act != LibraryAct::Checkin, "{act:?}");
        assert!(!(act.is_read() && act.undone_by().is_some()), "{act:?}");
    }
    assert_eq!(LibraryAct::from_number(0), None);
}

#[test]
fn an_order_does_not_say_who_reads_what() {
    let shown = format!("{:?}", order(LibraryAct::Checkout));
    assert!(!shown.contains("B1") && !shown.contains("X1"), "{shown}");
}

#[test]
fn a_policy_is_read_and_checked_whole() {
    let text = r#"
        [[libraries]]
        code = "capital-library"
        name_zh = "首都图书馆"
        [[libraries]]
        code = "tianjin-library"
        name_zh = "天津图书馆"
        minimum_assurance = "chip"
        patron = { table = { "02020202020202020202020202020202" = "TJ1" } }
        [inquiry]
        first_after_ms = 2000
    "#;
    let policy: LibraryPolicy = toml::from_str(text).unwrap();
    assert_eq!(policy.check(), Ok(()));
    let holder = PairwiseHolder::from_bytes([2; 16]);
    let patron = |code| policy.library(code).unwrap().patron_of(&holder);
    assert_eq!(patron("capital-library"), Some(holder.to_string()));
    assert_eq!(patron("tianjin-library"), Some("TJ1".into()));
    assert_eq!(policy.library("tianjin-library").unwrap().minimum_assurance, Assurance::Chip);

    let mut twice = policy.clone();
    twice.libraries.push(policy.libraries[0].clone());
    assert_eq!(twice.check(), Err(BadLibraryPolicy::Twice("capital-library".into())));
    let mut waits = policy.clone();
    waits.inquiry.inquiries_max = 0;
    assert_eq!(waits.check(), Err(BadLibraryPolicy::Waits));
    assert!(toml::from_str::<LibraryPolicy>("speed = 1").is_err(), "unknown keys are refused");
}
