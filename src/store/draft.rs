//! Turns a decision into an entry: checks it, gives writes their revision, parts
//! the open from the personal, seals, and encodes once.

use bytes::Bytes;
use prost::Message;

use super::{
    Step, StoreError, UnitMeta,
    effects::{AggregateEffect, Claim, ClaimKey, EntryEffects, Row, SealedRow, bound, corrupt, stored_of},
};
use crate::{
    crypto::Sealer,
    limits,
    model::{AggregateKey, Decision, Millis, Outcome, Rng, TransactionId, View, Write, record},
};

/// The schema number of the entries that are written now.
const ENTRY_SCHEMA: u32 = 1;

/// What is known of an entry before its decision.
pub(super) struct Draft {
    pub(super) meta: UnitMeta,
    pub(super) step: Step,
    pub(super) transaction: TransactionId,
    pub(super) number: u32,
    pub(super) claim: Option<(ClaimKey, Claim)>,
    pub(super) now: Millis,
}

/// An entry, encoded and sealed, and what it changes.
pub(super) struct Made {
    pub(super) stored: record::StoredEntry,
    pub(super) entry: record::Entry,
    pub(super) detail: Bytes,
    pub(super) effects: EntryEffects,
}

impl Draft {
    /// Turns a decision into an entry: open and personal parts apart, sealed and
    /// encoded once.
    pub(super) fn make(
        self,
        touches: &[AggregateKey],
        view: &View,
        decision: Decision,
        sealer: &dyn Sealer,
        rng: &dyn Rng,
    ) -> Result<Made, StoreError> {
        // Money must not come from nowhere; the unit fails, the store goes on.
        let sum: i128 = decision.postings.iter().map(|posting| i128::from(posting.amount.get())).sum();
        if sum != 0 {
            return Err(corrupt(format!("the postings of {} sum to {sum} fen", self.meta.method)));
        }
        let (open, personal) = revised(&decision.writes, touches, view)?;
        let bound = bound(self.transaction, self.number);
        let sealed_part = seal(&decision, &personal, &bound, sealer, rng)?;
        let entry = self.entry(&decision, &open);
        let public_part = entry.encode_to_vec();
        let stored = record::StoredEntry { public_part, sealed_part };
        let bytes = stored_size(&stored);
        if bytes > limits::ENTRY_BYTES_MAX {
            return Err(corrupt(format!("an entry of {bytes} bytes is too large")));
        }
        let mut aggregates = Vec::with_capacity(open.len() + personal.len());
        aggregates.extend(open.into_iter().map(|(key, write)| {
            let stored = stored_of(write);
            AggregateEffect { key, row: stored.clone().map_or(Row::Deleted, Row::Open), stored }
        }));
        if let (false, Some(subject)) = (personal.is_empty(), decision.subject) {
            let sealed = Bytes::copy_from_slice(&stored.sealed_part);
            aggregates.extend(personal.into_iter().map(|(key, write)| {
                let stored = stored_of(write);
                let row = SealedRow { subject, bound, sealed: sealed.clone() };
                let row = if stored.is_some() { Row::Sealed(row) } else { Row::Deleted };
                AggregateEffect { key, row, stored }
            }));
        }
        let effects = EntryEffects {
            transaction: self.transaction,
            step: self.number,
            status: decision.status,
            claim: self.claim,
            subject: decision.subject,
            scene: self.meta.scene.name().into(),
            aggregates,
            tasks: entry.tasks.clone(),
        };
        Ok(Made { stored, entry, detail: decision.detail.bytes, effects })
    }

    fn entry(&self, decision: &Decision, open: &Revised) -> record::Entry {
        let meta = &self.meta;
        let (request_id, fingerprint) = match &self.step {
            Step::First { request, fingerprint } => (request.as_bytes().to_vec(), fingerprint.to_vec()),
            Step::Next | Step::Note => Default::default(),
        };
        let reason = match decision.outcome {
            Outcome::Declined(reason) => reason.code().to_owned(),
            Outcome::Approved | Outcome::Pending => String::new(),
        };
        record::Entry {
            schema: ENTRY_SCHEMA,
            transaction_id: self.transaction.as_bytes().to_vec(),
            step: self.number,
            committed_at_ms: self.now,
            participant: meta.participant.as_str().to_owned(),
            terminal: meta.terminal.as_str().to_owned(),
            operator_id: meta.operator.as_ref().to_owned(),
            purpose: meta.purpose.number(),
            request_id,
            fingerprint,
            scene: meta.scene.name().to_owned(),
            method: meta.method.to_owned(),
            status: decision.status.number(),
            reason,
            subject: decision.subject.map(|subject| subject.as_bytes().to_vec()).unwrap_or_default(),
            pairwise_holder: decision.pairwise.map(|holder| holder.as_bytes().to_vec()).unwrap_or_default(),
            assurance: decision.assurance.map_or(0, |assurance| assurance.number()),
            terminal_time_ms: meta.terminal_time_ms,
            trace_id: meta.trace_id.map(|trace| trace.to_vec()).unwrap_or_default(),
            writes: open.iter().map(|(_, write)| write.clone()).collect(),
            postings: decision.postings.iter().map(posting).collect(),
            tasks: decision.tasks.iter().map(task).collect(),
            detail: if decision.detail.personal { Vec::new() } else { decision.detail.bytes.to_vec() },
            detail_schema: decision.detail.schema,
        }
    }
}

/// Seals what is personal; empty when nothing is. The nonce is drawn anew for
/// every entry and stands before the sealed bytes: numbers that are derived
/// (transaction, sequence) come back when a batch is lost with the power and
/// decided again.
fn seal(
    decision: &Decision,
    personal: &[(AggregateKey, record::Write)],
    bound: &[u8; 20],
    sealer: &dyn Sealer,
    rng: &dyn Rng,
) -> Result<Vec<u8>, StoreError> {
    let detail = if decision.detail.personal { decision.detail.bytes.to_vec() } else { Vec::new() };
    if personal.is_empty() && detail.is_empty() {
        return Ok(Vec::new());
    }
    let subject = decision.subject.ok_or_else(|| corrupt("personal data without a subject"))?;
    let writes = personal.iter().map(|(_, write)| write.clone()).collect();
    let plain = zeroize::Zeroizing::new(record::Sealed { writes, detail }.encode_to_vec());
    let mut nonce = [0; 12];
    rng.fill(&mut nonce);
    let sealed = sealer.seal(subject, &nonce, bound, &plain).map_err(|error| corrupt(error.to_string()))?;
    Ok([nonce.as_slice(), &sealed].concat())
}

pub(super) fn stored_size(stored: &record::StoredEntry) -> usize {
    stored.public_part.len() + stored.sealed_part.len()
}

type Revised = Vec<(AggregateKey, record::Write)>;

/// Gives writes their revision and parts the open from the personal ones.
fn revised(
    writes: &[Write],
    touches: &[AggregateKey],
    view: &View,
) -> Result<(Revised, Revised), StoreError> {
    let (mut open, mut personal) = (Revised::new(), Revised::new());
    for write in writes {
        if !touches.contains(&write.key) {
            return Err(corrupt(format!("a decision wrote a {:?} its unit did not name", write.key.kind)));
        }
        let to = if write.key.kind.is_personal() { &mut personal } else { &mut open };
        if to.iter().any(|(key, _)| *key == write.key) {
            return Err(corrupt(format!("a decision wrote a {:?} twice", write.key.kind)));
        }
        let record = record::Write {
            kind: u32::from(write.key.kind.number()),
            id: write.key.id.to_vec(),
            revision: view.revision(&write.key) + 1,
            schema: write.schema,
            body: write.body.as_ref().map(|body| body.to_vec()).unwrap_or_default(),
            deleted: write.body.is_none(),
        };
        to.push((write.key.clone(), record));
    }
    Ok((open, personal))
}

fn posting(posting: &crate::model::Posting) -> record::Posting {
    record::Posting { account: posting.account.clone(), amount_fen: posting.amount.get() }
}

fn task(task: &crate::model::Task) -> record::Task {
    record::Task {
        kind: task.kind.to_owned(),
        due_at_ms: task.due_at_ms,
        done: task.done,
        body: task.body.to_vec(),
    }
}
