//! The committer: one thread that runs units one after another and so needs no
//! locks on state. It decides the next batch while the writer syncs the last.
//!
//! It does not touch the disk; see `writer`.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::SyncSender,
    },
};

use bytes::Bytes;
use prost::Message;

use super::{
    Step, StoreError, StoreObserver, Unit, UnitMeta,
    chain::leaf_hash,
    effects::{
        AggregateEffect, Claim, ClaimKey, EntryEffects, Location, Row, SealedRow, bound, claim_key, corrupt,
        stored_behind, stored_of,
    },
    inbox::{Health, Inbox, Reply, Waiting},
    overlay::{Layer, Overlay},
    rows::Rows,
};
use crate::{
    crypto::{Digest32, Sealer},
    limits,
    model::{
        AggregateKey, Clock, Decision, Millis, Outcome, Rng, Status, Stored, TransactionId, View, Write,
        record,
    },
};

/// The schema number of the entries that are written now.
const ENTRY_SCHEMA: u32 = 1;

/// A batch as the committer fills it; the writer closes it with a header.
#[derive(Default)]
pub(super) struct OpenBatch {
    pub(super) committed_at: Millis,
    pub(super) stored: Vec<record::StoredEntry>,
    pub(super) leaves: Vec<Digest32>,
    pub(super) effects: Vec<Arc<EntryEffects>>,
    /// One for each entry, in order.
    pub(super) replies: Vec<EntryReply>,
    /// Units that were not run and wait for an entry of this batch or one before.
    pub(super) replays: Vec<(Reply, TransactionId)>,
    pub(super) bytes: usize,
}

/// Who waits for an entry, with what the answer needs.
pub(super) struct EntryReply {
    pub(super) reply: Reply,
    pub(super) entry: Arc<record::Entry>,
    pub(super) detail: Bytes,
}

impl OpenBatch {
    fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.replays.is_empty()
    }

    /// Answers everyone who waits with the same error.
    pub(super) fn fail(self, error: &StoreError) {
        let waiting = self.replies.into_iter().map(|waiting| waiting.reply);
        for reply in waiting.chain(self.replays.into_iter().map(|(reply, _)| reply)) {
            // Who has gone away asks again under the same request id.
            let _ = reply.send(Err(error.clone()));
        }
    }
}

/// What the committer shares with the rest of the engine.
pub(super) struct Shared {
    pub(super) inbox: Inbox,
    pub(super) overlay: Overlay,
    pub(super) health: Health,
    /// The last batch that is durable and published.
    pub(super) durable: AtomicU64,
}

pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) rows: Rows,
    pub(super) sealer: Arc<dyn Sealer>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rng: Arc<dyn Rng>,
    pub(super) observer: Arc<dyn StoreObserver>,
    pub(super) to_writer: SyncSender<OpenBatch>,
    pub(super) batch_max: usize,
    pub(super) batch_bytes: usize,
    /// Sequence of the batch that is being filled.
    pub(super) sequence: u64,
    pub(super) committed_at: Millis,
    /// Decided and not durable.
    pub(super) ahead: Layer,
    pub(super) in_flight: VecDeque<(u64, Vec<Arc<EntryEffects>>)>,
    pub(super) open: OpenBatch,
}

/// What became of a unit.
enum Ran {
    Made(Box<Made>),
    Replay(TransactionId),
}

/// An entry, encoded and sealed, and what it changes.
struct Made {
    stored: record::StoredEntry,
    entry: record::Entry,
    detail: Bytes,
    effects: EntryEffects,
}

impl Committer {
    /// Runs until the store is closed and everything taken is handed over.
    pub(super) fn run(mut self) {
        let mut waiting = VecDeque::new();
        loop {
            let room = self.batch_max.saturating_sub(self.open.stored.len() + waiting.len());
            self.observer.pending(self.shared.inbox.drain(&mut waiting, room));
            while !self.is_full()
                && let Some(next) = waiting.pop_front()
            {
                self.take(next);
            }
            if !self.open.is_empty() && self.shared.inbox.claim_writer() {
                self.hand_over();
            } else if !self.shared.inbox.wait(self.is_full(), !self.open.is_empty()) {
                return;
            }
        }
    }

    fn is_full(&self) -> bool {
        let units = self.open.stored.len().max(self.open.replays.len());
        units >= self.batch_max || self.open.bytes >= self.batch_bytes
    }

    fn take(&mut self, waiting: Waiting) {
        let Waiting { unit, reply } = waiting;
        if reply.is_closed() {
            // Nobody waits any more and nothing was done: leave it undone.
            return;
        }
        let ran = match self.shared.health.error() {
            Some(stopped) => Err(stopped),
            None => self.run_unit(unit),
        };
        match ran {
            Ok(Ran::Made(made)) => self.append(*made, reply),
            Ok(Ran::Replay(transaction)) => self.open.replays.push((reply, transaction)),
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    fn append(&mut self, made: Made, reply: Reply) {
        let place = Location { segment: 0, offset: 0, index: 0 };
        self.ahead.absorb(self.sequence, place, &made.effects);
        let bytes = stored_size(&made.stored);
        self.open.bytes += bytes;
        self.open.leaves.push(leaf_hash(&made.stored.public_part, &made.stored.sealed_part));
        self.open.stored.push(made.stored);
        self.open.effects.push(Arc::new(made.effects));
        self.open.replies.push(EntryReply { reply, entry: Arc::new(made.entry), detail: made.detail });
    }

    fn hand_over(&mut self) {
        let durable = self.shared.durable.load(Ordering::Acquire);
        while self.in_flight.front().is_some_and(|(sequence, _)| *sequence <= durable) {
            let Some((sequence, entries)) = self.in_flight.pop_front() else { break };
            entries.iter().for_each(|entry| self.ahead.retire(sequence, entry));
        }
        let batch = std::mem::take(&mut self.open);
        if !batch.stored.is_empty() {
            self.in_flight.push_back((self.sequence, batch.effects.clone()));
            self.sequence += 1;
        }
        if let Err(gone) = self.to_writer.send(batch) {
            self.shared.health.stop("the writer has gone");
            gone.0.fail(&StoreError::Stopped("the writer has gone".into()));
        }
    }

    fn run_unit(&mut self, unit: Unit) -> Result<Ran, StoreError> {
        let transaction = unit.transaction;
        let (number, claim) = match unit.step {
            Step::First { request, fingerprint } => {
                let key = claim_key(unit.meta.participant.as_str(), request.as_bytes());
                match self.claim(&key)? {
                    Some(earlier) if earlier.fingerprint == fingerprint => {
                        return Ok(Ran::Replay(earlier.transaction));
                    }
                    Some(_) => return Err(StoreError::RequestIdMisused),
                    None => (0, Some((key, Claim { transaction, fingerprint }))),
                }
            }
            Step::Next => match self.last_step(transaction)? {
                None => return Err(StoreError::NoSuchTransaction),
                Some((_, status)) if status.is_final() => return Ok(Ran::Replay(transaction)),
                Some((step, _)) => (step + 1, None),
            },
            Step::Note => (0, None),
        };
        if unit.touches.len() > limits::UNIT_TOUCHES_MAX {
            return Err(corrupt("a unit names too many aggregates"));
        }
        if self.open.stored.is_empty() {
            self.committed_at = self.committed_at.max(self.clock.now_ms());
            self.open.committed_at = self.committed_at;
        }
        let now = self.committed_at;
        let mut view = View::default();
        for key in &unit.touches {
            view.put(key.clone(), self.aggregate(key)?);
        }
        let Unit { meta, step, touches, decide, .. } = unit;
        let decided = catch_unwind(AssertUnwindSafe(|| decide(&view, now)));
        let decision = decided
            .map_err(|_| corrupt("the decision panicked"))?
            .map_err(|error| corrupt(error.to_string()))?;
        let draft = Draft { meta, step, transaction, number, claim, now };
        self.make(draft, &touches, &view, decision).map(|made| Ran::Made(Box::new(made)))
    }

    fn claim(&self, key: &ClaimKey) -> Result<Option<Claim>, StoreError> {
        if let Some(claim) = self.ahead.claim(key) {
            return Ok(Some(claim));
        }
        match self.shared.overlay.look(|layer| layer.claim(key)) {
            Some(claim) => Ok(Some(claim)),
            None => self.rows.claim(key),
        }
    }

    fn last_step(&self, transaction: TransactionId) -> Result<Option<(u32, Status)>, StoreError> {
        if let Some(last) = self.ahead.steps(transaction).last() {
            return Ok(Some((last.step, last.status)));
        }
        let overlaid = self.shared.overlay.look(|layer| layer.steps(transaction).last().copied());
        let last = match overlaid {
            Some(last) => Some(last),
            None => self.rows.steps(transaction)?.pop(),
        };
        Ok(last.map(|last| (last.step, last.status)))
    }

    fn aggregate(&self, key: &AggregateKey) -> Result<Option<Stored>, StoreError> {
        if let Some(stored) = self.ahead.aggregate(key) {
            return Ok(stored);
        }
        if let Some(stored) = self.shared.overlay.look(|layer| layer.aggregate(key)) {
            return Ok(stored);
        }
        match self.rows.aggregate(key)? {
            Some(row) => stored_behind(row, key, &*self.sealer),
            None => Ok(None),
        }
    }

    /// Turns a decision into an entry: open and personal parts apart, sealed and
    /// encoded once.
    fn make(
        &self,
        draft: Draft,
        touches: &[AggregateKey],
        view: &View,
        decision: Decision,
    ) -> Result<Made, StoreError> {
        // Money must not come from nowhere; the unit fails, the store goes on.
        let sum: i128 = decision.postings.iter().map(|posting| i128::from(posting.amount.get())).sum();
        if sum != 0 {
            return Err(corrupt(format!("the postings of {} sum to {sum} fen", draft.meta.method)));
        }
        let (open, personal) = revised(&decision.writes, touches, view)?;
        let bound = bound(draft.transaction, draft.number);
        let sealed_part = self.seal(&decision, &personal, &bound)?;
        let entry = draft.entry(&decision, &open);
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
            transaction: draft.transaction,
            step: draft.number,
            status: decision.status,
            claim: draft.claim,
            subject: decision.subject,
            scene: draft.meta.scene.name().into(),
            aggregates,
            tasks: entry.tasks.clone(),
        };
        Ok(Made { stored, entry, detail: decision.detail.bytes, effects })
    }

    /// Seals what is personal; empty when nothing is. The nonce is drawn anew for
    /// every entry and stands before the sealed bytes: numbers that are derived
    /// (transaction, sequence) come back when a batch is lost with the power and
    /// decided again.
    fn seal(
        &self,
        decision: &Decision,
        personal: &[(AggregateKey, record::Write)],
        bound: &[u8; 20],
    ) -> Result<Vec<u8>, StoreError> {
        let detail = if decision.detail.personal { decision.detail.bytes.to_vec() } else { Vec::new() };
        if personal.is_empty() && detail.is_empty() {
            return Ok(Vec::new());
        }
        let subject = decision.subject.ok_or_else(|| corrupt("personal data without a subject"))?;
        let writes = personal.iter().map(|(_, write)| write.clone()).collect();
        let plain = zeroize::Zeroizing::new(record::Sealed { writes, detail }.encode_to_vec());
        let mut nonce = [0; 12];
        self.rng.fill(&mut nonce);
        let sealed =
            self.sealer.seal(subject, &nonce, bound, &plain).map_err(|error| corrupt(error.to_string()))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }
}

fn stored_size(stored: &record::StoredEntry) -> usize {
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

/// What is known of an entry before its decision.
struct Draft {
    meta: UnitMeta,
    step: Step,
    transaction: TransactionId,
    number: u32,
    claim: Option<(ClaimKey, Claim)>,
    now: Millis,
}

impl Draft {
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
