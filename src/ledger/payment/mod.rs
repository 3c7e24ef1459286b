//! The money of one transaction: reserved, captured, given back. What may be asked
//! of it and what that books.
//!
//! Must stay true after any requests in any order: refunds never exceed the
//! capture, a capture never exceeds its reservation, a reversal has one effect and
//! leaves every account of the transaction at zero, and every booking sums to zero.
//!
//! What does not live here: what a charge costs (`scenes`), who may ask
//! (`gateway`), caps (`super::caps`).

mod legs;
mod read;
mod rules;
#[cfg(test)]
mod tests;

pub use read::{Known, detail_of, known};
pub use rules::{Moved, capture, expire, refund, release, reserve, reverse};

use super::Account;
use crate::model::{
    AggregateKind, CorruptAggregate, Decision, Detail, Fen, Millis, Outcome, PairwiseHolder, Reason, Status,
    Subject, Task, TaskKind, TransactionId, View, Write,
    record::{Payment, PaymentDetail},
};

/// What can be done to the money of a transaction. The number is in the journal
/// for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum PaymentAct {
    Reserve = 1,
    Capture = 2,
    Release = 3,
    Refund = 4,
    Reverse = 5,
    Expire = 6,
}

/// Why money goes back. The number in `onecard.transaction.v1.CorrectionCause`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Cause {
    /// The holder asked: goods returned, a visit that did not take place.
    Holder = 1,
    /// The terminal got no answer, or could not hand over what was paid for.
    Terminal = 2,
    /// Paid twice.
    Duplicate = 3,
    /// The amount was wrong.
    Amount = 4,
    /// The service desk decided.
    Desk = 5,
}

impl Cause {
    pub const ALL: [Cause; 5] =
        [Cause::Holder, Cause::Terminal, Cause::Duplicate, Cause::Amount, Cause::Desk];

    pub const fn number(self) -> u32 {
        self as u32
    }

    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| i64::from(cause.number()) == i64::from(number))
    }
}

/// A later request about a transaction's money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later {
    /// Takes what was reserved, or less; the rest is let go.
    Capture { amount: Fen },
    /// Lets a reservation go.
    Release,
    /// Gives back a part of what was captured.
    Refund { amount: Fen, cause: Cause },
    /// Takes back everything that is left, or lets a reservation go.
    Reverse { cause: Cause },
}

impl Later {
    const fn act(self) -> PaymentAct {
        match self {
            Later::Capture { .. } => PaymentAct::Capture,
            Later::Release => PaymentAct::Release,
            Later::Refund { .. } => PaymentAct::Refund,
            Later::Reverse { .. } => PaymentAct::Reverse,
        }
    }
}

/// Whom an entry about money is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct About {
    pub subject: Option<Subject>,
    pub pairwise: Option<PairwiseHolder>,
}

/// A reservation that is asked for.
#[derive(Debug, Clone)]
pub struct ReserveAsk {
    pub transaction: TransactionId,
    /// Whose purse.
    pub payer: Account,
    /// Who will be paid.
    pub payee: Account,
    pub participant: String,
    pub scene: &'static str,
    pub amount: Fen,
    /// How long it stands from its commitment on.
    pub life_ms: i64,
}

/// Decides a reservation. The caps have been asked before.
pub fn decide_reserve(ask: &ReserveAsk, about: About, now: Millis) -> Decision {
    let payment = reserve(ask, now);
    let mut decision = Decision::new(Outcome::Approved);
    decision.status = Status::Reserved;
    decision.detail = detail(PaymentAct::Reserve, ask.amount, &payment, 0, ask.amount);
    decision.tasks = vec![Task::ask(TaskKind::PaymentExpire, String::new(), now, payment.expires_at_ms)];
    decision.writes = vec![Write::put(ask.transaction.as_bytes(), &payment)];
    with(decision, about)
}

/// Decides about a request that is taken back before it came: its id is used up, and
/// nothing is ever done. The request may have been of any scene, so that no detail is
/// told; whom it would have been about is not known.
pub fn withdrawn() -> Decision {
    let mut decision = Decision::new(Outcome::Declined(Reason::ReversedBeforeArrival));
    decision.status = Status::Reversed;
    decision
}

/// A request about money that is declined; the transaction stays as it is.
pub fn declined(reason: Reason, about: About) -> Decision {
    with(Decision::new(Outcome::Declined(reason)), about)
}

/// Decides a later request about a transaction's money. `known` is how the
/// transaction read before; its file, where it has one, overrules that.
///
/// # Errors
/// When the file cannot be read.
pub fn decide_later(
    view: &View,
    transaction: TransactionId,
    later: Later,
    known: &Known,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let file: Option<Payment> = view.get(transaction.as_bytes())?;
    let payment = file.as_ref().or(known.payment.as_ref());
    let about = known.about;
    let (asked, cause) = match later {
        Later::Capture { amount } => (amount, 0),
        Later::Release => (Fen::ZERO, 0),
        Later::Refund { amount, cause } => (amount, cause.number()),
        Later::Reverse { cause } => (Fen::ZERO, cause.number()),
    };
    let moved = match (payment, later) {
        (None, _) if known.is_open => Err(Reason::OutcomePending),
        (None, Later::Capture { .. } | Later::Release) => Err(Reason::NothingReserved),
        (None, Later::Refund { .. } | Later::Reverse { .. }) => Err(Reason::NothingCaptured),
        (Some(payment), Later::Capture { amount }) => capture(payment, amount, now),
        (Some(payment), Later::Release) => release(payment),
        (Some(payment), Later::Refund { amount, .. }) => refund(payment, amount),
        (Some(payment), Later::Reverse { .. }) => reverse(payment),
    };
    // What is taken back names the step that took it. One that was not there a
    // moment ago, when the steps were read, is not corrected blindly.
    let moved = moved.and_then(|moved| {
        let needs_step = moved.corrects && known.capture_step.is_none();
        if needs_step { Err(Reason::NothingCaptured) } else { Ok(moved) }
    });
    let moved = match moved {
        Ok(moved) => moved,
        Err(reason) => {
            let mut decision = declined(reason, about);
            let standing = payment.cloned().unwrap_or_default();
            decision.detail = detail(later.act(), asked, &standing, cause, Fen::ZERO);
            return Ok(decision);
        }
    };
    let mut decision = Decision::new(Outcome::Approved);
    decision.status = Status::from_number(moved.payment.status).unwrap_or(Status::Completed);
    decision.corrects = known.capture_step.filter(|_| moved.corrects);
    decision.detail = detail(later.act(), asked, &moved.payment, cause, moved.amount);
    if payment.is_some_and(|before| before.status == Status::Reserved.number()) {
        decision.tasks = vec![Task::done(TaskKind::PaymentExpire, now)];
    }
    decision.writes = vec![Write::put(transaction.as_bytes(), &moved.payment)];
    decision.postings = moved.postings;
    Ok(with(decision, about))
}

/// Decides what the task of a reservation does: let it go when its time is over.
/// One that was captured or released meanwhile is final, so that this is not run.
///
/// # Errors
/// When the file is not there or cannot be read.
pub fn decide_expiry(
    view: &View,
    transaction: TransactionId,
    about: About,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let payment: Payment =
        view.get(transaction.as_bytes())?.ok_or(CorruptAggregate { kind: AggregateKind::Payment })?;
    let (task, moved) = match expire(&payment, now) {
        Ok(moved) => (Task::done(TaskKind::PaymentExpire, now), Some(moved)),
        Err(due_at_ms) => (Task::ask(TaskKind::PaymentExpire, String::new(), now, due_at_ms), None),
    };
    let mut decision = match &moved {
        Some(_) => Decision::new(Outcome::Declined(Reason::ReservationExpired)),
        None => Decision::new(Outcome::Approved),
    };
    decision.status = if moved.is_some() { Status::Reversed } else { Status::Reserved };
    let after = moved.as_ref().map_or(&payment, |moved| &moved.payment);
    let amount = moved.as_ref().map_or(Fen::ZERO, |moved| moved.amount);
    decision.detail = detail(PaymentAct::Expire, Fen::ZERO, after, 0, amount);
    decision.tasks = vec![task];
    if let Some(moved) = moved {
        decision.writes = vec![Write::put(transaction.as_bytes(), &moved.payment)];
    }
    Ok(with(decision, about))
}

fn with(mut decision: Decision, about: About) -> Decision {
    decision.subject = about.subject;
    decision.pairwise = about.pairwise;
    decision
}

fn detail(act: PaymentAct, asked: Fen, payment: &Payment, cause: u32, moved: Fen) -> Detail {
    let detail = PaymentDetail {
        act: act as u32,
        amount_fen: asked.get(),
        reserved_fen: payment.reserved_fen,
        captured_fen: payment.captured_fen,
        refunded_fen: payment.refunded_fen,
        expires_at_ms: payment.expires_at_ms,
        cause,
        reversed: payment.reversed,
        moved_fen: moved.get(),
    };
    Detail::open(&detail)
}
