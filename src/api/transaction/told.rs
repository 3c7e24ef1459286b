//! A transaction's entries as the answer to "what became of it".

use super::wire;
use crate::{
    api::answer::{answer, transaction_text},
    ledger::payment,
    model::{RequestId, record},
    store::Committed,
};

/// What was asked stands in the first step. How the transaction stands is in the
/// last one that changed anything: a later request that was declined did not.
pub(in crate::api) fn told(steps: &[Committed]) -> Option<wire::GetTransactionResponse> {
    let first = steps.first()?;
    let stands = steps.iter().rfind(|step| !is_declined_later(&step.entry))?;
    let entry = &first.entry;
    debug_assert!(!transaction_text(&entry.transaction_id).is_empty(), "every entry has a transaction");
    let known = payment::known(steps.iter().map(|step| &*step.entry));
    Some(wire::GetTransactionResponse {
        answer: Some(answer(stands)),
        request_id: request_text(entry),
        scene: entry.scene.clone(),
        method: entry.method.clone(),
        terminal: entry.terminal.clone(),
        steps: steps.iter().map(|step| step_of(&step.entry)).collect(),
        money: known.payment.map(|payment| wire::Money {
            reserved_fen: payment.reserved_fen,
            captured_fen: payment.captured_fen,
            refunded_fen: payment.refunded_fen,
            reversed: payment.reversed,
            expires_at_ms: payment.expires_at_ms,
        }),
    })
}

/// How the money stood after a step about it; nothing where none was ever touched.
pub(super) fn money(detail: &record::PaymentDetail) -> Option<wire::Money> {
    let touched =
        detail.reserved_fen != 0 || detail.captured_fen != 0 || detail.refunded_fen != 0 || detail.reversed;
    touched.then_some(wire::Money {
        reserved_fen: detail.reserved_fen,
        captured_fen: detail.captured_fen,
        refunded_fen: detail.refunded_fen,
        reversed: detail.reversed,
        expires_at_ms: detail.expires_at_ms,
    })
}

fn is_declined_later(entry: &record::Entry) -> bool {
    entry.step > 0 && !entry.request_id.is_empty() && !entry.reason.is_empty()
}

fn step_of(entry: &record::Entry) -> wire::Step {
    let detail = payment::detail_of(entry);
    let booked: i64 = entry.postings.iter().map(|posting| posting.amount_fen.max(0)).sum();
    wire::Step {
        status: entry.status,
        reason: entry.reason.clone(),
        committed_at_ms: entry.committed_at_ms,
        method: entry.method.clone(),
        request_id: request_text(entry),
        amount_fen: detail.as_ref().map_or(booked, |detail| detail.moved_fen),
        cause: detail.map_or(0, |detail| i32::try_from(detail.cause).unwrap_or(0)),
    }
}

fn request_text(entry: &record::Entry) -> String {
    <[u8; 16]>::try_from(entry.request_id.as_slice())
        .map(|bytes| RequestId::from_bytes(bytes).to_string())
        .unwrap_or_default()
}
