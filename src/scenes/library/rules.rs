//! How an act at a library becomes journal entries. Pure.

use std::sync::Arc;

use super::{Before, Declined, InquiryPolicy, LibraryAct, LibraryAnswer, LibraryOrder, Loan, PatronAccount};
use crate::model::{
    AggregateKey, AggregateKind, Assurance, CorruptAggregate, Decision, Detail, Fen, Jitter, Millis, Outcome,
    PairwiseHolder, Reason, Status, Subject, Task, TaskKind, TransactionId, View, Write,
    record::{LibraryCase, LibraryDetail, LoanDetail},
};

/// Whom an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    pub subject: Subject,
    pub pairwise: Option<PairwiseHolder>,
    pub assurance: Option<Assurance>,
}

impl Who {
    /// A return names nobody; its entry is sealed under a subject of its own, so
    /// that a list of returned items is not open to read either.
    pub fn nobody(transaction: TransactionId) -> Self {
        Who { subject: Subject::from_bytes(*transaction.as_bytes()), pairwise: None, assurance: None }
    }
}

/// What a due task does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Ask the library whether it happened: commit [`result`] when it did,
    /// [`not_happened`] when it did not, [`unresolved`] when nobody can tell.
    Inquire,
    /// Call this order: commit [`reversed`] when the library took or declined it,
    /// [`unresolved`] otherwise.
    Undo(LibraryOrder),
    /// Commit [`unresolved`], which reverses and calls for a person.
    GiveUp,
}

/// The aggregate of an open case.
pub fn case_key(transaction: TransactionId) -> AggregateKey {
    AggregateKey::of::<LibraryCase>(transaction.as_bytes())
}

/// Before the call: the case is opened and its task is due, so that a crash in
/// the middle of the call is settled like a call without an answer.
pub fn intent(
    who: &Who,
    order: &LibraryOrder,
    before: &Before,
    now: Millis,
    policy: &InquiryPolicy,
) -> Decision {
    let detail = LibraryDetail {
        observed: before.observed,
        item_was_charged: before.item_was_listed,
        due_at_ms: before.due_at_ms,
        fees_fen: before.fees.get(),
        ..detail_of(order)
    };
    let case = LibraryCase { detail: Some(detail), tries: 0, started_at_ms: now, open: true };
    let mut decision = Decision::new(Outcome::Pending);
    about(&mut decision, who);
    decision.detail = Detail::personal(&detail_of(order));
    decision.writes.push(Write::put(order.transaction.as_bytes(), &case));
    let due_at_ms = now.saturating_add(policy.wait_ms(0));
    decision.tasks.push(Task::ask(TaskKind::LibraryInquire, lane(&order.library), now, due_at_ms));
    decision
}

/// An act that changes nothing at the library: one entry, made after the answer.
pub fn read(who: &Who, order: &LibraryOrder, answer: Result<&LibraryAnswer, &Declined>) -> Decision {
    let mut detail = detail_of(order);
    let mut decision = conclude(&mut detail, answer);
    about(&mut decision, who);
    decision.detail = Detail::personal(&detail);
    decision
}

/// The library has answered, or an inquiry found that it did: the case and its
/// task are closed.
///
/// # Errors
/// When the case is missing or cannot be read.
pub fn result(
    view: &View,
    who: &Who,
    transaction: TransactionId,
    answer: Result<&LibraryAnswer, &Declined>,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let mut detail = closing_detail(&open_case(view, transaction)?);
    let mut decision = conclude(&mut detail, answer);
    close(&mut decision, who, transaction, &detail, now);
    Ok(decision)
}

/// Nothing reached the library: a safe failure.
///
/// # Errors
/// When the case is missing or cannot be read.
pub fn not_sent(
    view: &View,
    who: &Who,
    transaction: TransactionId,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let declined = Declined { reason: Reason::BackendUnavailable, screen_message: String::new() };
    result(view, who, transaction, Err(&declined), now)
}

/// An inquiry found that the act did not happen. The caller was told `PENDING`,
/// so it ends `REVERSED`.
///
/// # Errors
/// When the case is missing or cannot be read.
pub fn not_happened(
    view: &View,
    who: &Who,
    transaction: TransactionId,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    end_reversed(view, who, transaction, Reason::BackendUnavailable, false, now)
}

/// The act was taken back by a further order because nobody could tell.
///
/// # Errors
/// When the case is missing or cannot be read.
pub fn reversed(
    view: &View,
    who: &Who,
    transaction: TransactionId,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    end_reversed(view, who, transaction, Reason::OutcomeReversed, false, now)
}

/// A turn brought nothing: the next one is put off a little longer, with `why` on
/// its task. When all are spent the transaction is reversed, and a task for people
/// is left, because the library may still hold what was ordered.
///
/// # Errors
/// When the case is missing or cannot be read.
pub fn unresolved(
    view: &View,
    who: &Who,
    transaction: TransactionId,
    now: Millis,
    policy: &InquiryPolicy,
    why: Reason,
    jitter: Jitter,
) -> Result<Decision, CorruptAggregate> {
    let mut case = open_case(view, transaction)?;
    let Some(act) = act_of(&case) else { return Err(corrupt()) };
    case.tries = case.tries.saturating_add(1);
    if case.tries >= turns_max(act, policy) {
        return end_reversed(view, who, transaction, Reason::OutcomeReversed, true, now);
    }
    let mut decision = Decision::new(Outcome::Pending);
    about(&mut decision, who);
    let mut detail = closing_detail(&case);
    detail.inquiries = case.tries;
    decision.detail = Detail::personal(&detail);
    let due_at_ms = now.saturating_add(policy.backoff().wait_ms(case.tries, jitter));
    decision.tasks.push(Task {
        tries: case.tries,
        last_error: Some(why),
        ..Task::ask(TaskKind::LibraryInquire, lane(&detail.library), case.started_at_ms, due_at_ms)
    });
    decision.writes.push(Write::put(transaction.as_bytes(), &case));
    Ok(decision)
}

/// People have settled it and closed its task: the transaction ends here. A case that
/// cannot be read leaves nothing to tell but the end.
pub fn closed_by_hand(view: &View, who: &Who, transaction: TransactionId, now: Millis) -> Decision {
    end_reversed(view, who, transaction, Reason::OutcomeReversed, false, now).unwrap_or_else(|_| {
        let mut decision = Decision::new(Outcome::Declined(Reason::OutcomeReversed));
        decision.status = Status::Reversed;
        about(&mut decision, who);
        decision.tasks.push(Task::done(TaskKind::LibraryInquire, now));
        decision
    })
}

/// What is to be done when the task of a case comes due.
pub fn turn(case: &LibraryCase, transaction: TransactionId, policy: &InquiryPolicy) -> Turn {
    if case.tries < policy.inquiries_max {
        return Turn::Inquire;
    }
    let undo = order_of(case, transaction).and_then(|(order, _)| {
        let act = order.act.undone_by()?;
        Some(LibraryOrder { act, ..order })
    });
    match undo {
        Some(order) if case.tries < policy.inquiries_max.saturating_add(policy.undo_tries_max) => {
            Turn::Undo(order)
        }
        Some(_) | None => Turn::GiveUp,
    }
}

/// The order of an open case and how things stood before it; `None` when the
/// case names an act this version does not know.
pub fn order_of(case: &LibraryCase, transaction: TransactionId) -> Option<(LibraryOrder, Before)> {
    let detail = case.detail.as_ref()?;
    let order = LibraryOrder {
        transaction,
        library: Arc::from(detail.library.as_str()),
        act: LibraryAct::from_number(detail.act)?,
        patron: detail.patron.clone(),
        item: detail.item.clone(),
        pickup_location: detail.pickup_location.clone(),
        amount: Fen::new(detail.amount_fen),
        fee: detail.fee.clone(),
        trace_id: None,
    };
    let before = Before {
        observed: detail.observed,
        item_was_listed: detail.item_was_charged,
        due_at_ms: detail.due_at_ms,
        fees: Fen::new(detail.fees_fen),
    };
    Some((order, before))
}

fn turns_max(act: LibraryAct, policy: &InquiryPolicy) -> u32 {
    match act.undone_by() {
        Some(_) => policy.inquiries_max.saturating_add(policy.undo_tries_max),
        None => policy.inquiries_max,
    }
}

fn act_of(case: &LibraryCase) -> Option<LibraryAct> {
    LibraryAct::from_number(case.detail.as_ref()?.act)
}

fn corrupt() -> CorruptAggregate {
    CorruptAggregate { kind: AggregateKind::LibraryCase }
}

fn open_case(view: &View, transaction: TransactionId) -> Result<LibraryCase, CorruptAggregate> {
    let case = view.get::<LibraryCase>(transaction.as_bytes())?;
    case.filter(|case| case.open && case.detail.is_some()).ok_or_else(corrupt)
}

/// The case's detail without how things stood before: in a final entry these
/// fields speak of the answer.
fn closing_detail(case: &LibraryCase) -> LibraryDetail {
    let mut detail = case.detail.clone().unwrap_or_default();
    detail.observed = false;
    detail.item_was_charged = false;
    detail.due_at_ms = 0;
    detail.fees_fen = 0;
    detail.inquiries = case.tries;
    detail
}

fn detail_of(order: &LibraryOrder) -> LibraryDetail {
    LibraryDetail {
        library: order.library.to_string(),
        act: order.act.number(),
        patron: order.patron.clone(),
        item: order.item.clone(),
        pickup_location: order.pickup_location.clone(),
        amount_fen: order.amount.get(),
        fee: order.fee.clone(),
        ..LibraryDetail::default()
    }
}

/// Writes the answer into the detail and says how it ended.
fn conclude(detail: &mut LibraryDetail, answer: Result<&LibraryAnswer, &Declined>) -> Decision {
    match answer {
        Err(declined) => {
            detail.screen_message = declined.screen_message.clone();
            Decision::new(Outcome::Declined(declined.reason))
        }
        Ok(answer) => {
            detail.title = answer.title.clone();
            detail.due_at_ms = answer.due_at_ms;
            detail.screen_message = answer.screen_message.clone();
            detail.permanent_location = answer.permanent_location.clone();
            detail.alert = answer.alert;
            detail.queue_position = answer.queue_position;
            detail.available = answer.available;
            if let Some(account) = &answer.account {
                put_account(detail, account);
            }
            Decision::new(Outcome::Approved)
        }
    }
}

fn put_account(detail: &mut LibraryDetail, account: &PatronAccount) {
    let loan = |loan: &Loan| LoanDetail {
        item: loan.item.clone(),
        title: loan.title.clone(),
        due_at_ms: loan.due_at_ms,
    };
    detail.loans = account.loans.iter().map(loan).collect();
    detail.holds = account.holds;
    detail.overdue = account.overdue;
    detail.fees_fen = account.fees.get();
    detail.may_borrow = account.may_borrow;
}

fn end_reversed(
    view: &View,
    who: &Who,
    transaction: TransactionId,
    reason: Reason,
    alert: bool,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let mut detail = closing_detail(&open_case(view, transaction)?);
    detail.alert = alert;
    let mut decision = Decision::new(Outcome::Declined(reason));
    decision.status = Status::Reversed;
    close(&mut decision, who, transaction, &detail, now);
    if alert {
        decision.tasks.push(Task::by_hand(TaskKind::LibraryByHand, lane(&detail.library), now, reason));
    }
    Ok(decision)
}

/// The case is deleted, not kept closed: the sealed detail of the entry is the
/// one place where the story stays.
fn close(
    decision: &mut Decision,
    who: &Who,
    transaction: TransactionId,
    detail: &LibraryDetail,
    now: Millis,
) {
    about(decision, who);
    decision.detail = Detail::personal(detail);
    decision.writes.push(Write::delete::<LibraryCase>(transaction.as_bytes()));
    decision.tasks.push(Task::done(TaskKind::LibraryInquire, now));
}

fn about(decision: &mut Decision, who: &Who) {
    decision.subject = Some(who.subject);
    decision.pairwise = who.pairwise;
    decision.assurance = who.assurance;
}

/// A library that does not answer keeps nobody else's tasks waiting.
fn lane(library: &str) -> String {
    format!("library/{library}")
}
