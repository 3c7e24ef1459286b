//! How a step becomes journal entries. Pure.

use super::{
    Broken, Effect, Expected, MedicalAct, MedicalAnswer, MedicalPolicy, MsgId, OpenOrder, Refused, Said,
    Stage, SumRules, UnknownPolicy, VisitKind, bill::postings, bill_of, detail,
};
use crate::model::{
    AggregateKey, AggregateKind, Assurance, CorruptAggregate, Decision, Detail, Fen, Jitter, Millis, Outcome,
    PairwiseHolder, Reason, Status, Subject, Task, TaskKind, TaskState, TransactionId, View, Write,
    record::{MedicalBatch, MedicalCase, MedicalDetail, MedicalFeeMark, MedicalVisit},
};

/// Whom an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    pub subject: Subject,
    pub pairwise: Option<PairwiseHolder>,
    pub assurance: Option<Assurance>,
}

/// A step on its way to the insurer.
#[derive(Debug, Clone)]
pub struct Intent {
    pub act: MedicalAct,
    pub msgid: MsgId,
    /// The visit's id: this transaction's own where it opens the visit.
    pub visit: TransactionId,
    /// The visit to be, where the step opens one.
    pub opens: Option<MedicalVisit>,
    pub batch: String,
    pub setl_id: String,
    /// The lines of a 2204 or 2301.
    pub lines: Vec<MedicalFeeMark>,
    /// A 2203 that changes it; empty otherwise.
    pub med_type: String,
}

/// What a due task does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Ask whether it happened.
    Inquire(OpenOrder),
    /// 2601
    Reverse(OpenOrder),
    /// Cancel the batch: a fee upload is taken back by its own cancellation, and a
    /// cancellation is said again until the batch is gone.
    CancelBatch(OpenOrder),
    /// Nothing at the insurer can be done: see [`ends_when_given_up`].
    GiveUp,
}

/// How a step ends that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing reached the insurer.
    NotSent,
    /// It was taken back, or was never there.
    TakenBack,
    /// The batch that the lines were to join was cancelled as a whole.
    BatchGone,
    /// People have settled it at the insurer.
    ByHand,
}

/// Who brings the insurer's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The call that carried the step out.
    ByCall,
    /// The step's task.
    ByTask,
}

/// What a turn brought that settled nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// Nothing: one try is spent.
    Nothing,
    /// An inquiry that says that there is no more to ask.
    Inquired,
    /// Nothing left the gateway, so that no try is spent.
    NotSent,
    /// There is nothing that could be done at the insurer.
    GaveUp,
}

pub fn visit_key(visit: TransactionId) -> AggregateKey {
    AggregateKey::of::<MedicalVisit>(visit.as_bytes())
}

pub fn case_key(transaction: TransactionId) -> AggregateKey {
    AggregateKey::of::<MedicalCase>(transaction.as_bytes())
}

/// Before the call: visit and case are opened and the task is due.
///
/// # Errors
/// When the visit cannot be read.
pub fn intent(
    view: &View,
    who: &Who,
    transaction: TransactionId,
    intent: &Intent,
    now: Millis,
    policy: &UnknownPolicy,
) -> Result<Decision, CorruptAggregate> {
    let mut visit = match &intent.opens {
        Some(visit) => visit.clone(),
        None => view.get::<MedicalVisit>(intent.visit.as_bytes())?.ok_or_else(corrupt_visit)?,
    };
    visit.pending = transaction.as_bytes().to_vec();
    let case = MedicalCase {
        infno: intent.act.infno(),
        msgid: intent.msgid.as_str().to_owned(),
        visit: intent.visit.as_bytes().to_vec(),
        institution: visit.institution.clone(),
        insured_region: visit.insured_region.clone(),
        psn_no: visit.psn_no.clone(),
        mdtrt_id: visit.mdtrt_id.clone(),
        ipt_otp_no: visit.ipt_otp_no.clone(),
        setl_id: intent.setl_id.clone(),
        batch: intent.batch.clone(),
        sent_at_ms: now,
        lines: intent.lines.clone(),
        med_type: intent.med_type.clone(),
        ..MedicalCase::default()
    };
    let mut decision = Decision::new(Outcome::Pending);
    about(&mut decision, who);
    decision.detail = Detail::personal(&told(&case, &visit));
    let due_at_ms = now.saturating_add(policy.wait_ms(0));
    decision.tasks.push(Task::ask(TaskKind::MedicalSettle, lane(&case), now, due_at_ms));
    decision.writes.push(Write::put(intent.visit.as_bytes(), &visit));
    decision.writes.push(Write::put(transaction.as_bytes(), &case));
    Ok(decision)
}

/// A step that leaves nothing at the insurer, or was refused before one was asked: one
/// entry, made after the answer.
pub fn told_once(who: &Who, detail: &MedicalDetail, outcome: Outcome) -> Decision {
    let mut decision = Decision::new(outcome);
    about(&mut decision, who);
    decision.detail = Detail::personal(detail);
    decision
}

/// The insurer has answered, or an inquiry found its answer. An answer whose sums do
/// not hold leaves the step pending, to be taken back; so does one to the call itself
/// that comes when the task is past its inquiries and may be taking the step back.
///
/// # Errors
/// When case or visit are missing or cannot be read.
pub fn result(
    view: &View,
    who: &Who,
    transaction: TransactionId,
    answer: &MedicalAnswer,
    heard: Heard,
    policy: &MedicalPolicy,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let (mut case, mut visit) = open_case(view, transaction)?;
    let act = act_of(&case)?;
    if heard == Heard::ByCall && is_late(&case, &policy.unknown, now) {
        let mut decision = Decision::new(Outcome::Pending);
        about(&mut decision, who);
        decision.detail = Detail::personal(&told(&case, &visit));
        return Ok(decision);
    }
    let mut detail = told(&case, &visit);
    detail::put_answer(&mut detail, answer);
    let outcome = match apply(&mut visit, &case, act, &answer.said, policy.sums) {
        Ok(outcome) => outcome,
        Err(broken) => {
            case.broken = broken.name().to_owned();
            detail.broken = broken.name().to_owned();
            detail.bill = None;
            let mut decision = Decision::new(Outcome::Pending);
            about(&mut decision, who);
            decision.detail = Detail::personal(&detail);
            decision.writes.push(Write::put(transaction.as_bytes(), &case));
            // There is nothing to wait for: it is to be taken back.
            decision.tasks.push(Task {
                last_error: Some(Reason::InsurerSumsWrong),
                ..Task::ask(TaskKind::MedicalSettle, lane(&case), case.sent_at_ms, now)
            });
            return Ok(decision);
        }
    };
    visit.pending.clear();
    let mut decision = Decision::new(Outcome::Approved);
    if let Some(bill) = outcome {
        if act != MedicalAct::PreSettlePurchase {
            decision.postings = postings(&bill, region_of(&visit), &visit.participant);
        }
        if act.is_cancellation() {
            detail.takes_back = std::mem::take(&mut visit.settled_in);
        } else if act != MedicalAct::PreSettlePurchase {
            visit.settled_in = transaction.as_bytes().to_vec();
        }
        detail.bill = Some(bill);
    }
    detail.visit = Some(detail::standing(&case.visit, &visit));
    close(&mut decision, who, transaction, &case, &visit, &detail, now);
    Ok(decision)
}

/// The insurer said no: the visit is as it was.
///
/// # Errors
/// When case or visit are missing or cannot be read.
pub fn refused(
    view: &View,
    who: &Who,
    transaction: TransactionId,
    refused: &Refused,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let (case, visit) = open_case(view, transaction)?;
    let mut detail = told(&case, &visit);
    detail.message = refused.message.clone();
    let mut decision = Decision::new(Outcome::Declined(Reason::InsurerRefused));
    undone(&mut decision, who, transaction, &case, visit, detail, now);
    Ok(decision)
}

/// The step did not happen as far as the visit goes.
///
/// # Errors
/// When case or visit are missing or cannot be read.
pub fn ended(
    view: &View,
    who: &Who,
    transaction: TransactionId,
    end: End,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let (case, mut visit) = open_case(view, transaction)?;
    let mut detail = told(&case, &visit);
    detail.tries = case.tries;
    if end == End::BatchGone {
        without_batch(&mut visit, &case.batch);
    }
    let reason = match end {
        End::NotSent => Reason::BackendUnavailable,
        End::TakenBack | End::BatchGone | End::ByHand => Reason::OutcomeReversed,
    };
    let mut decision = Decision::new(Outcome::Declined(reason));
    if end != End::NotSent {
        decision.status = Status::Reversed;
    }
    undone(&mut decision, who, transaction, &case, visit, detail, now);
    Ok(decision)
}

/// A turn settled nothing: the next is put off. Where there is no more to ask it takes
/// the step back. When all tries are spent people are called: the step stays pending,
/// because it may stand at the insurer, and its task is stuck.
///
/// # Errors
/// When case or visit are missing or cannot be read.
#[expect(clippy::too_many_arguments, reason = "a turn's outcome, and what it is measured by")]
pub fn unresolved(
    view: &View,
    who: &Who,
    transaction: TransactionId,
    now: Millis,
    policy: &UnknownPolicy,
    why: Reason,
    brought: Brought,
    jitter: Jitter,
) -> Result<Decision, CorruptAggregate> {
    let (mut case, visit) = open_case(view, transaction)?;
    let spent = match brought {
        Brought::NotSent => case.tries,
        Brought::Nothing | Brought::GaveUp => case.tries.saturating_add(1),
        Brought::Inquired => case.tries.saturating_add(1).max(policy.inquiries_max),
    };
    case.tries = spent;
    let people = match brought {
        Brought::NotSent => false,
        Brought::GaveUp => true,
        Brought::Nothing | Brought::Inquired => spent >= policy.turns_max(),
    };
    let mut decision = Decision::new(Outcome::Pending);
    about(&mut decision, who);
    let mut detail = told(&case, &visit);
    detail.tries = case.tries;
    detail.broken.clone_from(&case.broken);
    decision.detail = Detail::personal(&detail);
    // What an inquiry did not find is taken back at once.
    let at_once = people || brought == Brought::Inquired;
    let wait = if at_once { 0 } else { policy.backoff().wait_ms(case.tries, jitter) };
    decision.tasks.push(Task {
        state: if people { TaskState::Stuck } else { TaskState::Waiting },
        tries: case.tries,
        last_error: Some(why),
        ..Task::ask(TaskKind::MedicalSettle, lane(&case), case.sent_at_ms, now.saturating_add(wait))
    });
    decision.writes.push(Write::put(transaction.as_bytes(), &case));
    Ok(decision)
}

/// Whether a task may be taking the step back. Where it does not inquire first its
/// first turn is a reversal, of which the case says nothing before its end.
fn is_late(case: &MedicalCase, policy: &UnknownPolicy, now: Millis) -> bool {
    match policy.inquiries_max {
        0 => case.tries > 0 || now >= case.sent_at_ms.saturating_add(policy.wait_ms(0)),
        inquiries => case.tries >= inquiries,
    }
}

/// What is to be done when the task of a case comes due. `None` for an act this
/// version does not know.
pub fn turn(case: &MedicalCase, policy: &UnknownPolicy) -> Option<Turn> {
    let open = open_order(case)?;
    if case.broken.is_empty() && case.tries < policy.inquiries_max {
        return Some(Turn::Inquire(open));
    }
    Some(match open.act {
        act if policy.reverses(act) => Turn::Reverse(open),
        MedicalAct::AddFees
        | MedicalAct::AddStayFees
        | MedicalAct::CancelFees
        | MedicalAct::CancelStayFees => Turn::CancelBatch(open),
        _ => Turn::GiveUp,
    })
}

/// Whether a step that nothing at the insurer takes back ends here, because it can
/// simply be taken again. Where what may stand there does harm people are called.
pub const fn ends_when_given_up(act: MedicalAct) -> bool {
    matches!(act, MedicalAct::PreSettlePurchase | MedicalAct::RecordVisit)
}

/// What is known of an open step.
pub fn open_order(case: &MedicalCase) -> Option<OpenOrder> {
    Some(OpenOrder {
        act: MedicalAct::from_infno(case.infno)?,
        msgid: case.msgid.parse().ok()?,
        psn_no: case.psn_no.clone(),
        mdtrt_id: case.mdtrt_id.clone(),
        ipt_otp_no: case.ipt_otp_no.clone(),
        setl_id: case.setl_id.clone(),
        batch: case.batch.clone(),
        sent_at_ms: case.sent_at_ms,
    })
}

/// The sum of the lines that stand.
pub fn fees_of(visit: &MedicalVisit) -> Fen {
    let lines = visit.batches.iter().flat_map(|batch| &batch.lines);
    Fen::new(lines.fold(0_i64, |sum, line| sum.saturating_add(line.sum_fen)))
}

/// Changes the visit as the answered step does. Answers with a bill where one was made.
fn apply(
    visit: &mut MedicalVisit,
    case: &MedicalCase,
    act: MedicalAct,
    said: &Said,
    sums: SumRules,
) -> Result<Option<crate::model::record::MedicalBill>, Broken> {
    match (act, said) {
        (MedicalAct::Register, Said::Opened(opened)) => {
            visit.mdtrt_id.clone_from(&opened.mdtrt_id);
            visit.stage = Stage::Registered.number();
        }
        (MedicalAct::Admit, Said::Opened(opened)) => {
            visit.mdtrt_id.clone_from(&opened.mdtrt_id);
            visit.stage = Stage::Admitted.number();
        }
        (MedicalAct::PreSettlePurchase, Said::Settlement(info)) => {
            let bill = bill_of(info, Expected::Fees(fees_of(visit)), sums)?;
            visit.mdtrt_id.clone_from(&info.mdtrt_id);
            visit.stage = Stage::PreSettled.number();
            visit.pre_settlement = Some(bill.clone());
            return Ok(Some(bill));
        }
        (
            MedicalAct::Settle | MedicalAct::SettleStay | MedicalAct::SettlePurchase,
            Said::Settlement(info),
        ) => {
            let before = visit.pre_settlement.clone().unwrap_or_default();
            let bill = bill_of(info, Expected::PreSettled(&before), sums)?;
            visit.stage = Stage::Settled.number();
            visit.settlement = Some(bill.clone());
            return Ok(Some(bill));
        }
        (act, Said::Settlement(info)) if act.is_cancellation() => {
            let settled = visit.settlement.clone().unwrap_or_default();
            let bill = bill_of(info, Expected::Cancelled(&settled), sums)?;
            let purchase = visit.kind == VisitKind::Purchase.number();
            visit.stage = if purchase { Stage::Cancelled } else { Stage::Charged }.number();
            visit.settlement = None;
            visit.pre_settlement = None;
            return Ok(Some(bill));
        }
        (MedicalAct::CancelRegistration, _) => visit.stage = Stage::Cancelled.number(),
        (MedicalAct::RecordVisit, _) => {
            visit.stage = Stage::Visited.number();
            if !case.med_type.is_empty() {
                visit.med_type.clone_from(&case.med_type);
            }
        }
        (MedicalAct::AddFees | MedicalAct::AddStayFees, _) => {
            match visit.batches.iter_mut().find(|batch| batch.batch == case.batch) {
                Some(batch) => batch.lines.extend(case.lines.iter().cloned()),
                None => {
                    visit.batches.push(MedicalBatch { batch: case.batch.clone(), lines: case.lines.clone() })
                }
            }
            visit.stage = Stage::Charged.number();
            visit.pre_settlement = None;
        }
        (MedicalAct::CancelFees | MedicalAct::CancelStayFees, _) => {
            without_batch(visit, &case.batch);
        }
        (MedicalAct::Discharge, _) => visit.stage = Stage::Discharged.number(),
        // The caller has made sure that the answer fits.
        (_, _) => {}
    }
    Ok(None)
}

/// The visit after a batch was cancelled; an empty name is all of them.
fn without_batch(visit: &mut MedicalVisit, cancelled: &str) {
    let before = visit.batches.len();
    visit.batches.retain(|batch| !cancelled.is_empty() && batch.batch != cancelled);
    if visit.batches.len() == before {
        return;
    }
    let stage = match (visit.batches.is_empty(), VisitKind::from_number(visit.kind)) {
        (false, _) => Stage::Charged,
        (true, Some(VisitKind::Inpatient)) => Stage::Admitted,
        (true, _) => Stage::Visited,
    };
    visit.stage = stage.number();
    visit.pre_settlement = None;
}

/// The path of the insured place in accounts: the first two digits alone route, and a
/// code that is no six digits is booked under its own words' absence.
fn region_of(visit: &MedicalVisit) -> &str {
    let region = visit.insured_region.as_str();
    if region.len() == 6 && region.bytes().all(|b| b.is_ascii_digit()) { region } else { "000000" }
}

fn told(case: &MedicalCase, visit: &MedicalVisit) -> MedicalDetail {
    MedicalDetail {
        infno: case.infno,
        msgid: case.msgid.clone(),
        visit: Some(detail::standing(&case.visit, visit)),
        ..MedicalDetail::default()
    }
}

/// The visit is as it was before the step; one that the step would have opened is
/// none.
fn undone(
    decision: &mut Decision,
    who: &Who,
    transaction: TransactionId,
    case: &MedicalCase,
    mut visit: MedicalVisit,
    mut detail: MedicalDetail,
    now: Millis,
) {
    visit.pending.clear();
    if visit.stage == 0 {
        visit.stage = Stage::Cancelled.number();
    }
    detail.visit = Some(detail::standing(&case.visit, &visit));
    close(decision, who, transaction, case, &visit, &detail, now);
}

fn close(
    decision: &mut Decision,
    who: &Who,
    transaction: TransactionId,
    case: &MedicalCase,
    visit: &MedicalVisit,
    detail: &MedicalDetail,
    now: Millis,
) {
    about(decision, who);
    decision.detail = Detail::personal(detail);
    decision.writes.push(Write::put(&case.visit, visit));
    decision.writes.push(Write::delete::<MedicalCase>(transaction.as_bytes()));
    decision.tasks.push(Task::done(TaskKind::MedicalSettle, now));
}

fn open_case(
    view: &View,
    transaction: TransactionId,
) -> Result<(MedicalCase, MedicalVisit), CorruptAggregate> {
    let case = view
        .get::<MedicalCase>(transaction.as_bytes())?
        .ok_or(CorruptAggregate { kind: AggregateKind::MedicalCase })?;
    let visit = view.get::<MedicalVisit>(&case.visit)?.ok_or_else(corrupt_visit)?;
    Ok((case, visit))
}

fn act_of(case: &MedicalCase) -> Result<MedicalAct, CorruptAggregate> {
    MedicalAct::from_infno(case.infno)
        .filter(|act| act.effect() == Effect::Change)
        .ok_or(CorruptAggregate { kind: AggregateKind::MedicalCase })
}

fn corrupt_visit() -> CorruptAggregate {
    CorruptAggregate { kind: AggregateKind::MedicalVisit }
}

fn about(decision: &mut Decision, who: &Who) {
    decision.subject = Some(who.subject);
    decision.pairwise = who.pairwise;
    decision.assurance = who.assurance;
}

/// An institution whose insurer does not answer keeps nobody else's tasks waiting.
fn lane(case: &MedicalCase) -> String {
    format!("medical/{}", case.institution)
}
