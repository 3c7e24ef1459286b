//! The rules as functions from a payment to the payment after it.

use super::{ReserveAsk, legs::taken_back};
use crate::{
    ledger::window::window_of,
    model::{
        Fen, Millis, Posting, Reason, Status,
        record::{Payment, PaymentLeg},
    },
};

/// What a request changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    pub payment: Payment,
    pub postings: Vec<Posting>,
    /// What was captured, given back or let go.
    pub amount: Fen,
    /// Whether the postings take back those of the capture.
    pub corrects: bool,
}

/// A new reservation. It moves nothing yet.
pub fn reserve(ask: &ReserveAsk, now: Millis) -> Payment {
    let leg =
        |account: &crate::ledger::Account| PaymentLeg { account: account.to_string(), ..Default::default() };
    Payment {
        participant: ask.participant.clone(),
        scene: ask.scene.to_owned(),
        reserved_fen: ask.amount.get(),
        status: Status::Reserved.number(),
        legs: vec![leg(&ask.payer), leg(&ask.payee)],
        expires_at_ms: now.saturating_add(ask.life_ms),
        ..Payment::default()
    }
}

/// Takes what was reserved, or less; what is left over is let go.
///
/// # Errors
/// `NothingReserved`, `ReservationExpired`, `AmountExceedsReservation`.
pub fn capture(payment: &Payment, amount: Fen, now: Millis) -> Result<Moved, Reason> {
    if payment.status != Status::Reserved.number() {
        return Err(Reason::NothingReserved);
    }
    if payment.expires_at_ms <= now {
        return Err(Reason::ReservationExpired);
    }
    if amount <= Fen::ZERO || amount.get() > payment.reserved_fen {
        return Err(Reason::AmountExceedsReservation);
    }
    let mut after = payment.clone();
    after.reserved_fen = 0;
    after.expires_at_ms = 0;
    after.captured_fen = amount.get();
    after.status = Status::Completed.number();
    after.window = window_of(now);
    // The payer's leg stands first, the payee's second.
    for (leg, sign) in after.legs.iter_mut().zip([1, -1]) {
        leg.captured_fen = sign * amount.get();
    }
    let postings = after.legs.iter().map(|leg| posting(leg, leg.captured_fen)).collect();
    Ok(Moved { payment: after, postings, amount, corrects: false })
}

/// Lets a reservation go.
///
/// # Errors
/// `NothingReserved`.
pub fn release(payment: &Payment) -> Result<Moved, Reason> {
    if payment.status != Status::Reserved.number() {
        return Err(Reason::NothingReserved);
    }
    let mut after = payment.clone();
    let amount = Fen::new(after.reserved_fen);
    after.reserved_fen = 0;
    after.expires_at_ms = 0;
    after.reversed = true;
    after.status = Status::Reversed.number();
    Ok(Moved { payment: after, postings: Vec::new(), amount, corrects: false })
}

/// Lets a reservation go whose time is over.
///
/// # Errors
/// When it still stands: until when.
pub fn expire(payment: &Payment, now: Millis) -> Result<Moved, Millis> {
    if payment.expires_at_ms > now {
        return Err(payment.expires_at_ms);
    }
    release(payment).map_err(|_| now)
}

/// Gives back a part of what was captured.
///
/// # Errors
/// `AlreadyReversed`, `NothingCaptured`, `AmountExceedsCapture`.
pub fn refund(payment: &Payment, amount: Fen) -> Result<Moved, Reason> {
    let left = left(payment)?;
    if amount <= Fen::ZERO || amount > left {
        return Err(Reason::AmountExceedsCapture);
    }
    Ok(take_back(payment, amount))
}

/// Takes back everything that is left; a reservation is let go. When refunds have
/// given everything back already there is nothing to reverse. What was taken back
/// before it came is taken back once, like anything else.
///
/// # Errors
/// `AlreadyReversed`, `NothingCaptured`.
pub fn reverse(payment: &Payment) -> Result<Moved, Reason> {
    if payment.status == Status::Reserved.number() {
        return release(payment);
    }
    if payment.status == Status::Reversed.number() && !payment.reversed {
        // Taken back before it came, and this is who took it back.
        let after = Payment { reversed: true, ..payment.clone() };
        return Ok(Moved { payment: after, postings: Vec::new(), amount: Fen::ZERO, corrects: false });
    }
    let left = left(payment)?;
    if left == Fen::ZERO {
        return Err(Reason::NothingCaptured);
    }
    let mut moved = take_back(payment, left);
    moved.payment.reversed = true;
    moved.payment.status = Status::Reversed.number();
    Ok(moved)
}

/// What was captured and not given back.
fn left(payment: &Payment) -> Result<Fen, Reason> {
    if payment.reversed {
        return Err(Reason::AlreadyReversed);
    }
    if payment.captured_fen <= 0 {
        return Err(Reason::NothingCaptured);
    }
    Ok(Fen::new(payment.captured_fen - payment.refunded_fen))
}

fn take_back(payment: &Payment, amount: Fen) -> Moved {
    let mut after = payment.clone();
    after.refunded_fen += amount.get();
    assert!(after.refunded_fen <= after.captured_fen, "more given back than was captured");
    let taken = taken_back(&after.legs, Fen::new(after.refunded_fen), Fen::new(after.captured_fen));
    let mut postings = Vec::with_capacity(after.legs.len());
    for (leg, taken) in after.legs.iter_mut().zip(taken) {
        let now = taken - leg.refunded_fen;
        leg.refunded_fen = taken;
        if now != 0 {
            postings.push(posting(leg, -now));
        }
    }
    Moved { payment: after, postings, amount, corrects: true }
}

fn posting(leg: &PaymentLeg, fen: i64) -> Posting {
    Posting { account: leg.account.clone(), amount: Fen::new(fen) }
}
