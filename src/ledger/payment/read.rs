//! A transaction's money, read from its entries.

use super::About;
use crate::{
    ledger::window::window_of,
    model::{
        AggregateBody as _, PairwiseHolder, Scene, Status, Subject, decoded,
        record::{Entry, Payment, PaymentDetail, PaymentLeg},
    },
};

/// What the entries of a transaction say of its money.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// `None` when nothing was reserved or captured.
    pub payment: Option<Payment>,
    /// The step whose postings a refund or a reversal takes back.
    pub capture_step: Option<u32>,
    pub about: About,
    /// Stands for a request that was taken back before it came.
    pub is_withdrawn: bool,
    /// Not final: a backend has not said, or a reservation stands.
    pub is_open: bool,
}

/// Reads the entries of a transaction, oldest first.
///
/// A charge has no file of its own until somebody asks to correct it: its postings
/// say everything, and most charges stay as they are.
pub fn known<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Known {
    let mut known = Known::default();
    let mut first = None;
    for entry in entries {
        let first = *first.get_or_insert(entry);
        known.about = About {
            subject: Subject::from_slice(&first.subject).ok(),
            pairwise: PairwiseHolder::from_slice(&first.pairwise_holder).ok(),
        };
        known.is_open = Status::from_number(entry.status).is_some_and(|status| !status.is_final());
        if entry.step == 0 && entry.status == Status::Reversed.number() {
            known.is_withdrawn = true;
            known.payment = Some(booked(first, entry));
        }
        if entry.corrects_step == 0 && !entry.postings.is_empty() {
            known.capture_step = Some(entry.step);
            known.payment = Some(booked(first, entry));
        }
        let kind = u32::from(Payment::KIND.number());
        if let Some(write) = entry.writes.iter().find(|write| write.kind == kind)
            && let Some(file) = decoded::<Payment>(&write.body)
        {
            known.payment = Some(file);
        }
    }
    known
}

/// The payment that an entry's postings are.
fn booked(first: &Entry, entry: &Entry) -> Payment {
    let debit = entry.postings.iter().map(|posting| posting.amount_fen.max(0)).sum();
    let leg = |posting: &crate::model::record::Posting| PaymentLeg {
        account: posting.account.clone(),
        captured_fen: posting.amount_fen,
        refunded_fen: 0,
    };
    Payment {
        participant: first.participant.clone(),
        scene: first.scene.clone(),
        captured_fen: debit,
        status: entry.status,
        legs: entry.postings.iter().map(leg).collect(),
        window: window_of(entry.committed_at_ms),
        ..Payment::default()
    }
}

/// The detail of an entry about money; `None` where the entry is of another kind.
pub fn detail_of(entry: &Entry) -> Option<PaymentDetail> {
    if entry.scene != Scene::Transaction.name() || entry.detail.is_empty() {
        return None;
    }
    decoded(&entry.detail)
}
