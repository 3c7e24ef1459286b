//! Turns a decision into an entry: checks it, gives writes their revision, parts
//! the open from the personal, seals, and encodes once.

use bytes::Bytes;
use prost::Message;
use smallvec::SmallVec;

use super::{
    Step, StoreError, UnitMeta,
    effects::{AggregateEffect, Claim, ClaimKey, EntryEffects, Row, SealedRow, bound, corrupt},
    parts::{Part, SettledPart, settle_parts},
};
use crate::{
    crypto::{SealError, Sealer},
    limits,
    model::{
        AggregateKey, Decision, Millis, Outcome, Rng, Status, Stored, Subject, TaskState, TransactionId,
        View, Write, lifecycle, record,
    },
};

/// The schema number of the entries that are written now, and of those about several
/// holders.
const ENTRY_SCHEMA: u32 = 1;
const ENTRY_SCHEMA_OF_SEVERAL: u32 = 2;

/// What is known of an entry before its decision.
pub(super) struct Draft {
    pub(super) meta: UnitMeta,
    pub(super) step: Step,
    pub(super) transaction: TransactionId,
    pub(super) number: u32,
    /// How far the transaction had got; `None` for its first step.
    pub(super) before: Option<Status>,
    pub(super) claim: Option<(ClaimKey, Claim)>,
    pub(super) now: Millis,
}

/// An entry, encoded and sealed, and what it changes.
pub(super) struct Made {
    pub(super) stored: record::StoredEntry,
    pub(super) entry: record::Entry,
    pub(super) detail: Bytes,
    /// The details of its holders, in their order; see [`super::Committed::parts`].
    pub(super) parts: Vec<Option<Bytes>>,
    pub(super) effects: EntryEffects,
}

impl Draft {
    /// Turns a decision into an entry: open and personal parts apart, sealed and
    /// encoded once.
    pub(super) fn make(
        self,
        view: &View,
        decision: Decision,
        sealer: &dyn Sealer,
        rng: &dyn Rng,
    ) -> Result<Made, StoreError> {
        self.settle(view, decision)?.seal(sealer, rng)
    }

    /// Checks a decision and encodes what is open of it. What is left to do needs
    /// the key of its subject.
    pub(super) fn settle(self, view: &View, mut decision: Decision) -> Result<Settled, StoreError> {
        // Money must not come from nowhere; the unit fails, the store goes on.
        let sum: i128 = decision.postings.iter().map(|posting| i128::from(posting.amount.get())).sum();
        if sum != 0 {
            return Err(corrupt(format!("the postings of {} sum to {sum} fen", self.meta.method)));
        }
        if let (Step::Later { .. }, Outcome::Declined(_), Some(before)) =
            (self.step, decision.outcome, self.before)
        {
            // A later request that is declined changes nothing, whatever its decision
            // took the transaction for: it may have moved on since it was looked at.
            decision.status = before;
        }
        if !lifecycle::may_follow(self.before, decision.status) {
            let (before, after) = (self.before, decision.status);
            return Err(corrupt(format!("{} would lead from {before:?} to {after:?}", self.meta.method)));
        }
        let (open, personal) = revised(&decision.writes, view)?;
        let plain = personal_part(&decision, &personal)?;
        if !decision.parts.is_empty() && (plain.is_some() || decision.subject.is_some()) {
            return Err(corrupt("an entry is about one holder or about several"));
        }
        let parts = settle_parts(std::mem::take(&mut decision.parts), view)?;
        let entry = self.entry(&decision, &open, &parts);
        let public_part = entry.encode_to_vec();
        let bytes = public_part.len()
            + plain.as_ref().map_or(0, |(_, plain)| plain.len() + SEALED_MORE)
            + parts.iter().map(|part| part.plain.len() + SEALED_MORE + 4).sum::<usize>();
        if bytes > limits::ENTRY_BYTES_MAX {
            return Err(corrupt(format!("an entry of {bytes} bytes is too large")));
        }
        Ok(Settled {
            bound: bound(self.transaction, self.number),
            status: decision.status,
            subject: decision.subject,
            detail: decision.detail.bytes,
            draft: self,
            entry,
            public_part,
            plain,
            open,
            personal,
            parts,
        })
    }

    fn entry(&self, decision: &Decision, open: &[Revised], parts: &[SettledPart]) -> record::Entry {
        let meta = &self.meta;
        let (request_id, fingerprint) = match self.step.claims() {
            Some((request, fingerprint)) => (request.as_bytes().to_vec(), fingerprint.to_vec()),
            None => Default::default(),
        };
        let reason = match decision.outcome {
            Outcome::Declined(reason) => reason.code().to_owned(),
            Outcome::Approved | Outcome::Pending => String::new(),
        };
        record::Entry {
            schema: if parts.is_empty() { ENTRY_SCHEMA } else { ENTRY_SCHEMA_OF_SEVERAL },
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
            writes: open.iter().map(Revised::record).collect(),
            postings: decision.postings.iter().map(posting).collect(),
            tasks: decision.tasks.iter().map(task).collect(),
            detail: if decision.detail.personal { Vec::new() } else { decision.detail.bytes.to_vec() },
            detail_schema: decision.detail.schema,
            corrects_step: decision.corrects.map_or(0, |step| step + 1),
            holders: parts.iter().map(SettledPart::holder).collect(),
        }
    }
}

/// What sealing adds: nonce and tag.
pub(super) const SEALED_MORE: usize = 12 + 16;

/// A decision that holds, encoded as far as that goes without keys.
pub(super) struct Settled {
    draft: Draft,
    bound: [u8; 20],
    status: Status,
    subject: Option<Subject>,
    detail: Bytes,
    entry: record::Entry,
    public_part: Vec<u8>,
    /// Whom it is about, and what is to be sealed.
    plain: Option<Plain>,
    open: Revisions,
    personal: Revisions,
    parts: Vec<SettledPart>,
}

impl Settled {
    /// Whose keys are needed to seal it.
    pub(super) fn sealed_for(&self) -> impl Iterator<Item = Subject> {
        let one = self.plain.as_ref().map(|(subject, _)| *subject);
        one.into_iter().chain(self.parts.iter().map(|part| part.subject))
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// The aggregates as they stand after it.
    pub(super) fn writes(&self) -> impl Iterator<Item = (&AggregateKey, &Option<Stored>)> {
        let of_parts = self.parts.iter().flat_map(|part| &part.writes);
        self.open.iter().chain(&self.personal).chain(of_parts).map(|revised| (&revised.key, &revised.stored))
    }

    /// What it says about tasks.
    pub(super) fn tasks(&self) -> &[record::Task] {
        &self.entry.tasks
    }

    /// Whether another unit may have built on it: it wrote an aggregate, answers a
    /// request or moves a transaction on.
    pub(super) fn is_built_on(&self) -> bool {
        self.writes().next().is_some() || self.draft.claim.is_some() || self.draft.number > 0
    }

    /// Seals what is personal. The nonce is drawn anew for every entry and stands
    /// before the sealed bytes: numbers that are derived (transaction, sequence)
    /// come back when a batch is lost with the power and decided again.
    pub(super) fn seal(self, sealer: &dyn Sealer, rng: &dyn Rng) -> Result<Made, StoreError> {
        let mut nonce = [0; 12];
        if self.plain.is_some() || !self.parts.is_empty() {
            rng.fill(&mut nonce);
        }
        let (mut parts, mut subjects) = (Vec::new(), SmallVec::from_iter(self.subject));
        let mut of_parts = Vec::new();
        let sealed_part = match &self.plain {
            None if self.parts.is_empty() => Vec::new(),
            None => {
                let mut sealed = record::SealedParts::default();
                for part in self.parts {
                    subjects.push(part.subject);
                    let Part { bytes, aggregates, detail } = part.seal(sealer, &nonce, &self.bound)?;
                    sealed.parts.push(bytes);
                    of_parts.extend(aggregates);
                    parts.push(detail);
                }
                sealed.encode_to_vec()
            }
            Some((subject, plain)) => {
                let sealed =
                    sealer.seal(*subject, &nonce, &self.bound, plain).map_err(|error| match error {
                        SealError::Destroyed => StoreError::HolderErased,
                        SealError::Altered | SealError::Keys(_) => corrupt(error.to_string()),
                    })?;
                [nonce.as_slice(), &sealed].concat()
            }
        };
        let mut aggregates = Vec::with_capacity(self.open.len() + self.personal.len());
        aggregates.extend(self.open.into_iter().map(|Revised { key, stored, .. }| {
            let row = stored.clone().map_or(Row::Deleted, Row::Open);
            AggregateEffect { key, row, stored }
        }));
        if let (false, Some(subject)) = (self.personal.is_empty(), self.subject) {
            let sealed = Bytes::copy_from_slice(&sealed_part);
            aggregates.extend(self.personal.into_iter().map(|Revised { key, stored, .. }| {
                let row = SealedRow { subject, bound: self.bound, sealed: sealed.clone() };
                let row = if stored.is_some() { Row::Sealed(row) } else { Row::Deleted };
                AggregateEffect { key, row, stored }
            }));
        }
        aggregates.extend(of_parts);
        let effects = EntryEffects {
            transaction: self.draft.transaction,
            step: self.draft.number,
            status: self.status,
            claim: self.draft.claim,
            subjects,
            scene: self.draft.meta.scene.name().into(),
            aggregates,
            tasks: self.entry.tasks.clone(),
            postings: self.entry.postings.clone(),
        };
        let stored =
            record::StoredEntry { public_part: self.public_part, sealed_part, dropped_digest: Vec::new() };
        Ok(Made { stored, entry: self.entry, detail: self.detail, parts, effects })
    }
}

/// Whom a personal part is about, and the part.
type Plain = (Subject, zeroize::Zeroizing<Vec<u8>>);

/// What of a decision is to be sealed; nothing when nothing is personal.
fn personal_part(decision: &Decision, personal: &[Revised]) -> Result<Option<Plain>, StoreError> {
    let detail = if decision.detail.personal { decision.detail.bytes.to_vec() } else { Vec::new() };
    if personal.is_empty() && detail.is_empty() {
        return Ok(None);
    }
    let subject = decision.subject.ok_or_else(|| corrupt("personal data without a subject"))?;
    let writes = personal.iter().map(Revised::record).collect();
    Ok(Some((subject, zeroize::Zeroizing::new(record::Sealed { writes, detail }.encode_to_vec()))))
}

pub(super) fn stored_size(stored: &record::StoredEntry) -> usize {
    stored.public_part.len() + stored.sealed_part.len()
}

/// A write with its revision.
pub(super) struct Revised {
    pub(super) key: AggregateKey,
    revision: u64,
    schema: u32,
    pub(super) stored: Option<Stored>,
}

pub(super) type Revisions = SmallVec<[Revised; 2]>;

impl Revised {
    pub(super) fn record(&self) -> record::Write {
        record::Write {
            kind: u32::from(self.key.kind.number()),
            id: self.key.id.to_vec(),
            revision: self.revision,
            schema: self.schema,
            body: self.stored.as_ref().map(|stored| stored.body.to_vec()).unwrap_or_default(),
            deleted: self.stored.is_none(),
        }
    }
}

/// Gives writes their revision and parts the open from the personal ones.
pub(super) fn revised(writes: &[Write], view: &View) -> Result<(Revisions, Revisions), StoreError> {
    let (mut open, mut personal) = (Revisions::new(), Revisions::new());
    for Write { key, schema, body } in writes {
        let kind = key.kind;
        if !view.names(key) {
            return Err(corrupt(format!("a decision wrote a {kind:?} its unit did not name")));
        }
        let to = if kind.is_personal() { &mut personal } else { &mut open };
        if to.iter().any(|earlier| earlier.key == *key) {
            return Err(corrupt(format!("a decision wrote a {kind:?} twice")));
        }
        let (revision, schema) = (view.revision(key) + 1, *schema);
        let stored = body.clone().map(|body| Stored { revision, schema, body });
        to.push(Revised { key: key.clone(), revision, schema, stored });
    }
    Ok((open, personal))
}

fn posting(posting: &crate::model::Posting) -> record::Posting {
    record::Posting { account: posting.account.clone(), amount_fen: posting.amount.get() }
}

fn task(task: &crate::model::Task) -> record::Task {
    record::Task {
        kind: task.kind.as_str().to_owned(),
        due_at_ms: task.due_at_ms,
        done: task.state == TaskState::Done,
        body: task.body.to_vec(),
        transaction_id: task.of.map(|of| of.as_bytes().to_vec()).unwrap_or_default(),
        lane: task.lane.clone(),
        asked_at_ms: task.asked_at_ms,
        tries: task.tries,
        last_error: task.last_error.map(|reason| reason.code().to_owned()).unwrap_or_default(),
        stuck: task.state == TaskState::Stuck,
    }
}
