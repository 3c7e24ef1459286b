//! The committer: one thread that runs units one after another and so needs no
//! locks on state. It decides the next batch while the writer syncs the last.
//!
//! It does not touch the disk; see `writer`.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
        mpsc::SyncSender,
    },
};

use bytes::Bytes;

use super::{
    Step, StoreError, StoreObserver, Unit,
    chain::leaf_hash,
    draft::{Draft, Made, stored_size},
    effects::{Claim, ClaimKey, EntryEffects, Location, claim_key, corrupt, stored_behind},
    inbox::{Health, Inbox, Replay, Reply, Waiting},
    is_same_request,
    overlay::{Layer, Overlay},
    recent::Recent,
    room::Room,
    rows::Rows,
    seen::{Seen, Stamp},
};
use crate::{
    crypto::{Digest32, Sealer},
    fault, limits,
    model::{AggregateKey, Clock, Millis, Rng, Status, Stored, TaskKey, TransactionId, View, record},
};

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
    pub(super) replays: Vec<(Reply, Replay)>,
    pub(super) bytes: usize,
}

/// Who waits for an entry, with what the answer needs.
pub(super) struct EntryReply {
    pub(super) reply: Reply,
    pub(super) entry: Arc<record::Entry>,
    pub(super) detail: Bytes,
    pub(super) parts: Vec<Option<Bytes>>,
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
    /// What callers have just read.
    pub(super) seen: Seen,
    pub(super) health: Health,
    pub(super) room: Room,
    /// The last batch that is durable and published.
    pub(super) durable: AtomicU64,
    /// The instant that batch was committed at.
    pub(super) committed_at: AtomicI64,
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
    pub(super) recent: Recent,
    pub(super) in_flight: VecDeque<(u64, Vec<Arc<EntryEffects>>)>,
    pub(super) open: OpenBatch,
}

/// What became of a unit.
enum Ran {
    Made(Box<Made>),
    Replay(Replay),
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
            Ok(Ran::Made(made)) => {
                fault::point(fault::Point::UnitDecided);
                self.append(*made, reply);
            }
            Ok(Ran::Replay(replay)) => self.open.replays.push((reply, replay)),
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    fn append(&mut self, made: Made, reply: Reply) {
        let place = Location { segment: 0, offset: 0, index: 0 };
        self.ahead.absorb(self.sequence, place, &made.effects);
        for aggregate in &made.effects.aggregates {
            self.recent.put(aggregate.key.clone(), aggregate.stored.clone());
        }
        let bytes = stored_size(&made.stored);
        self.open.bytes += bytes;
        self.open.leaves.push(leaf_hash(&made.stored.public_part, &made.stored.sealed_part));
        self.open.stored.push(made.stored);
        self.open.effects.push(Arc::new(made.effects));
        let Made { entry, detail, parts, .. } = made;
        self.open.replies.push(EntryReply { reply, entry: Arc::new(entry), detail, parts });
    }

    fn hand_over(&mut self) {
        self.retire_durable();
        let batch = std::mem::take(&mut self.open);
        if !batch.stored.is_empty() {
            self.in_flight.push_back((self.sequence, batch.effects.clone()));
            self.sequence += 1;
        }
        if let Err(gone) = self.to_writer.send(batch) {
            self.shared.health.stop("the writer has gone");
            gone.0.fail(&StoreError::Stopped("the writer has gone".into()));
            // It will never say so itself, and who comes now must be told at once.
            self.shared.inbox.writer_is_free();
        }
    }

    /// Forgets what the overlay has by now.
    fn retire_durable(&mut self) {
        let durable = self.shared.durable.load(Ordering::Acquire);
        while self.in_flight.front().is_some_and(|(sequence, _)| *sequence <= durable) {
            let Some((sequence, entries)) = self.in_flight.pop_front() else { break };
            entries.iter().for_each(|entry| self.ahead.retire(sequence, entry));
        }
    }

    fn run_unit(&mut self, unit: Unit) -> Result<Ran, StoreError> {
        let transaction = unit.transaction;
        let key = match unit.step.claims() {
            None => None,
            Some((request, fingerprint)) => {
                let key = claim_key(unit.meta.participant.as_str(), request.as_bytes());
                match self.claim(&key)? {
                    Some(Claim { transaction, step, fingerprint: made })
                        if is_same_request(&made, &fingerprint) =>
                    {
                        return Ok(Ran::Replay(Replay { transaction, step }));
                    }
                    Some(_) => return Err(StoreError::RequestIdMisused),
                    None => Some((key, fingerprint)),
                }
            }
        };
        let before = match unit.step {
            Step::First { .. } | Step::Note => None,
            Step::Next | Step::Later { .. } => {
                Some(self.last_step(transaction)?.ok_or(StoreError::NoSuchTransaction)?)
            }
        };
        if let (Step::Next, Some((_, status))) = (unit.step, before)
            && status.is_final()
        {
            return Ok(Ran::Replay(Replay { transaction, step: 0 }));
        }
        let number = before.map_or(0, |(step, _)| step + 1);
        let claim = key.map(|(key, fingerprint)| (key, Claim { transaction, step: number, fingerprint }));
        let before = before.map(|(_, status)| status);
        if unit.touches.len() > limits::UNIT_TOUCHES_MAX {
            return Err(corrupt("a unit names too many aggregates"));
        }
        if self.open.stored.is_empty() {
            self.committed_at = self.committed_at.max(self.clock.now_ms());
            self.open.committed_at = self.committed_at;
        }
        let now = self.committed_at;
        let mut view = View::default();
        if self.recent.heed(self.sealer.destroyed()) {
            // A quiet store would show an erased person until the next batch.
            self.retire_durable();
        }
        for key in &unit.touches {
            view.put(key.clone(), self.aggregate(key)?);
        }
        let Unit { meta, step, decide, .. } = unit;
        let decided = catch_unwind(AssertUnwindSafe(|| decide(&view, now)));
        let decision = decided
            .map_err(|_| corrupt("the decision panicked"))?
            .map_err(|error| corrupt(error.to_string()))?;
        for task in &decision.tasks {
            if let Some(of) = task.of
                && !self.task_is_open(&TaskKey { transaction: of, kind: task.kind.clone() })?
            {
                return Err(StoreError::TaskClosed);
            }
        }
        let draft = Draft { meta, step, transaction, number, before, claim, now };
        draft.make(&view, decision, &*self.sealer, &*self.rng).map(|made| Ran::Made(Box::new(made)))
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

    fn task_is_open(&self, key: &TaskKey) -> Result<bool, StoreError> {
        if let Some(open) = self.ahead.task_is_open(key) {
            return Ok(open);
        }
        match self.shared.overlay.look(|layer| layer.task_is_open(key)) {
            Some(open) => Ok(open),
            None => self.rows.tasks.is_open(key),
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

    fn aggregate(&mut self, key: &AggregateKey) -> Result<Option<Stored>, StoreError> {
        if let Some(stored) = self.recent.get(key) {
            return Ok(stored);
        }
        if let Some(stored) = self.ahead.aggregate(key) {
            return Ok(stored);
        }
        if let Some(stored) = self.shared.overlay.look(|layer| layer.aggregate(key)) {
            return Ok(stored);
        }
        // After the overlay was asked: what left it meanwhile shows in the stamp.
        let now = Stamp { retired: self.shared.overlay.retired(), destroyed: self.sealer.destroyed() };
        let stored = match self.shared.seen.take(now, key) {
            Some(stored) => stored,
            None => match self.rows.aggregate(key)? {
                Some(row) => stored_behind(row, key, &*self.sealer)?,
                None => None,
            },
        };
        // Only what the index gave: the layers may still show an erased person.
        self.recent.put(key.clone(), stored.clone());
        Ok(stored)
    }
}
