//! The common part of every answer, projected from a journal entry. First answer
//! and repeat are made here from the same bytes.

use prost::Message;

use crate::{
    gateway::Refusal,
    model::{Outcome, Reason, Receipt, Status, TransactionId, record},
    proto::common::v1 as wire,
    store::Committed,
};

/// How the entry ended, for metrics and exit codes. The reason decides and not the
/// status alone: a refund that was declined leaves its transaction completed, a
/// reversal that was asked for leaves it reversed.
pub fn outcome_of(entry: &record::Entry) -> Outcome {
    if !entry.reason.is_empty() {
        return Outcome::Declined(Reason::from_code(&entry.reason).unwrap_or(Reason::Internal));
    }
    match Status::from_number(entry.status) {
        Some(
            Status::Completed | Status::Reversed | Status::Received | Status::Authorised | Status::Reserved,
        ) => Outcome::Approved,
        Some(Status::Pending) | None => Outcome::Pending,
        Some(Status::Declined) => Outcome::Declined(Reason::Internal),
    }
}

/// The answer of an entry.
pub fn answer(committed: &Committed) -> wire::Answer {
    let entry = &committed.entry;
    let (decision, reason) = match outcome_of(entry) {
        Outcome::Approved => (wire::Decision::Approved, None),
        Outcome::Declined(reason) => (wire::Decision::Declined, Some(reason)),
        Outcome::Pending => (wire::Decision::Pending, Some(Reason::OutcomePending)),
    };
    wire::Answer {
        decision: decision.into(),
        reason: reason.map(Reason::code).unwrap_or_default().to_owned(),
        text_zh: reason.map(Reason::zh).unwrap_or_default().to_owned(),
        text_en: reason.map(Reason::en).unwrap_or_default().to_owned(),
        transaction_id: transaction_text(&entry.transaction_id),
        status: entry.status,
        committed_at_ms: entry.committed_at_ms,
        assurance: i32::try_from(entry.assurance).unwrap_or(0),
        holder_id: hex::encode(&entry.pairwise_holder),
        receipt: Some(receipt(&committed.receipt)),
    }
}

/// A transaction id as text; empty when the bytes are none.
pub fn transaction_text(bytes: &[u8]) -> String {
    bytes.try_into().map(|bytes| TransactionId::from_bytes(bytes).to_string()).unwrap_or_default()
}

fn receipt(receipt: &Receipt) -> wire::Receipt {
    wire::Receipt {
        leaf: receipt.leaf.to_vec(),
        path: receipt.path.iter().map(|hash| hash.to_vec()).collect(),
        index: receipt.index,
        batch_header: receipt.batch_header.to_vec(),
        signature: receipt.signature.to_vec(),
    }
}

/// The scene's record of the step. Empty bytes (a holder whose key was
/// destroyed, a decline that names nobody) read as an empty record.
///
/// # Errors
/// When the bytes cannot be read as `T`.
pub fn detail<T: Message + Default>(committed: &Committed) -> Result<T, Refusal> {
    T::decode(committed.detail.clone()).map_err(|_| {
        tracing::error!(transaction = %transaction_text(&committed.entry.transaction_id), "a stored detail cannot be read");
        Refusal::internal()
    })
}
