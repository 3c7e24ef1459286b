//! The life of an exception in the journal: open, then explained, corrected or
//! written off, once and for all. Pure: what is known and what is asked come in, the
//! decision goes out.
//!
//! A case moves no money. What the journal owes is what its postings say; who puts a
//! difference right does so by a transaction of its own, which the case names.

use jiff::civil::Date;

use super::{Carried, CaseId, Exception, ExceptionKind, Owner, Rules, Side};
use crate::identity::yyyymmdd;
use crate::model::{
    AggregateKey, CorruptAggregate, Decision, Fen, Millis, Outcome, ParticipantId, Reason, TransactionId,
    View, Write,
    record::{ReconciliationCase, ReconciliationState},
};

/// An exception as it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCase {
    pub id: CaseId,
    pub participant: ParticipantId,
    pub file: Side,
    pub kind: ExceptionKind,
    pub date: Date,
    pub owner: Owner,
    pub transaction: Option<TransactionId>,
    pub ours: Option<Fen>,
    pub theirs: Option<Fen>,
}

/// How an exception ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Both sides are right; `reason` says why they differ.
    Explained { reason: String },
    /// A later transaction put it right.
    Corrected { transaction: TransactionId, reason: String },
    /// The difference is borne.
    WrittenOff { reason: String },
}

impl Resolution {
    const fn state(&self) -> ReconciliationState {
        match self {
            Resolution::Explained { .. } => ReconciliationState::Explained,
            Resolution::Corrected { .. } => ReconciliationState::Corrected,
            Resolution::WrittenOff { .. } => ReconciliationState::WrittenOff,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Resolution::Explained { reason }
            | Resolution::Corrected { reason, .. }
            | Resolution::WrittenOff { reason } => reason,
        }
    }
}

impl NewCase {
    /// The case of an exception that was found.
    pub fn of(participant: &ParticipantId, exception: &Exception) -> Self {
        NewCase {
            id: exception.id,
            participant: participant.clone(),
            file: exception.file,
            kind: exception.difference.kind(),
            date: exception.date,
            owner: exception.owner,
            transaction: exception.ours().and_then(|record| record.transaction),
            ours: exception.ours().map(|record| record.amount),
            theirs: exception.theirs().map(|record| record.amount),
        }
    }

    /// The case of a record that its own date would miss, because another has it.
    pub fn carried(participant: &ParticipantId, carried: &Carried, rules: &Rules) -> Self {
        let kind = match carried.file {
            Side::Bank => ExceptionKind::MissingAtBank,
            Side::Participant | Side::Journal => ExceptionKind::MissingAtParticipant,
        };
        NewCase {
            id: carried.missing,
            participant: participant.clone(),
            file: carried.file,
            kind,
            date: carried.date,
            owner: rules.owner(kind),
            transaction: Some(carried.transaction),
            ours: Some(carried.amount),
            theirs: None,
        }
    }

    fn file(&self, now: Millis) -> ReconciliationCase {
        ReconciliationCase {
            participant: self.participant.as_str().to_owned(),
            file: self.file.name().to_owned(),
            kind: self.kind.code().to_owned(),
            business_date: yyyymmdd(self.date),
            owner: self.owner.name().to_owned(),
            transaction_id: self.transaction.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            ours_fen: self.ours.map(Fen::get),
            theirs_fen: self.theirs.map(Fen::get),
            state: ReconciliationState::Open.into(),
            opened_at_ms: now,
            ..ReconciliationCase::default()
        }
    }
}

/// The aggregate of a case.
pub fn key(id: CaseId) -> AggregateKey {
    AggregateKey::of::<ReconciliationCase>(id.as_bytes())
}

/// Opens a case. One that is there, in whatever state, stays as it is.
///
/// # Errors
/// When the stored case cannot be read.
pub fn open(view: &View, new: &NewCase, now: Millis) -> Result<Decision, CorruptAggregate> {
    match view.get::<ReconciliationCase>(new.id.as_bytes())? {
        Some(_) => Ok(Decision::new(Outcome::Declined(Reason::StateUnchanged))),
        None => Ok(written(new.id, &new.file(now))),
    }
}

/// Ends a case.
///
/// # Errors
/// When the stored case cannot be read.
pub fn resolve(
    view: &View,
    id: CaseId,
    resolution: &Resolution,
    operator: &str,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let Some(mut case) = view.get::<ReconciliationCase>(id.as_bytes())? else {
        return Ok(Decision::new(Outcome::Declined(Reason::CaseUnknown)));
    };
    if !is_open(&case) {
        return Ok(Decision::new(Outcome::Declined(Reason::CaseClosed)));
    }
    case.set_state(resolution.state());
    case.resolved_at_ms = now;
    case.explanation = resolution.reason().to_owned();
    case.operator_id = operator.to_owned();
    if let Resolution::Corrected { transaction, .. } = resolution {
        case.correcting_transaction_id = transaction.as_bytes().to_vec();
    }
    Ok(written(id, &case))
}

/// Explains a missing record by the file of another date that has it. Where its own
/// date has not been looked at yet, the case begins explained; one that somebody
/// resolved stays as it is.
///
/// # Errors
/// When the stored case cannot be read.
pub fn settle(
    view: &View,
    new: &NewCase,
    filed_under: Date,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let known = view.get::<ReconciliationCase>(new.id.as_bytes())?;
    let mut case = known.unwrap_or_else(|| new.file(now));
    if !is_open(&case) {
        return Ok(Decision::new(Outcome::Declined(Reason::CaseClosed)));
    }
    case.set_state(ReconciliationState::Explained);
    case.resolved_at_ms = now;
    case.filed_under = yyyymmdd(filed_under);
    Ok(written(new.id, &case))
}

/// Whether somebody still has to clear it.
pub fn is_open(case: &ReconciliationCase) -> bool {
    match case.state() {
        ReconciliationState::Open | ReconciliationState::Unspecified => true,
        ReconciliationState::Explained | ReconciliationState::Corrected | ReconciliationState::WrittenOff => {
            false
        }
    }
}

fn written(id: CaseId, case: &ReconciliationCase) -> Decision {
    let mut decision = Decision::new(Outcome::Approved);
    decision.writes.push(Write::put(id.as_bytes(), case));
    decision
}
