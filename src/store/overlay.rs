//! State in memory that the index does not have yet, so that its stalls never
//! reach an answer.
//!
//! The committer has a layer of its own for what is decided and not durable; the
//! overlay, which everyone reads, holds what is durable and not indexed.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry::Occupied},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::{
    DueTask,
    effects::{Claim, ClaimKey, Effects, EntryEffects, Location, Row},
    rows::StepRow,
};
use crate::model::{AggregateKey, AggregateKind, Scene, Stored, Subject, TaskKey, TaskState, TransactionId};

/// The newest state of whatever some batches have changed. Each item remembers
/// the batch that wrote it last, and goes when that batch is retired.
#[derive(Debug, Default)]
pub(super) struct Layer {
    claims: HashMap<ClaimKey, (u64, Claim), RandomState>,
    transactions: HashMap<TransactionId, (u64, SmallVec<[StepRow; 1]>), RandomState>,
    aggregates: HashMap<AggregateKey, (u64, Option<Stored>), RandomState>,
    tasks: HashMap<TaskKey, (u64, DueTask), RandomState>,
}

impl Layer {
    pub(super) fn absorb(&mut self, sequence: u64, location: Location, entry: &EntryEffects) {
        if let Some((key, claim)) = entry.claim {
            self.claims.insert(key, (sequence, claim));
        }
        let (newest, steps) = self.transactions.entry(entry.transaction).or_default();
        *newest = sequence;
        let later_request = entry.is_later_request();
        steps.push(StepRow { step: entry.step, status: entry.status, later_request, location });
        for aggregate in &entry.aggregates {
            self.aggregates.insert(aggregate.key.clone(), (sequence, aggregate.stored.clone()));
        }
        for task in entry.tasks() {
            self.tasks.insert(task.key(), (sequence, task));
        }
    }

    pub(super) fn retire(&mut self, sequence: u64, entry: &EntryEffects) {
        if let Some((key, _)) = &entry.claim {
            self.claims.remove(key);
        }
        if let Occupied(steps) = self.transactions.entry(entry.transaction)
            && steps.get().0 <= sequence
        {
            steps.remove();
        }
        for aggregate in &entry.aggregates {
            if self.aggregates.get(&aggregate.key).is_some_and(|(newest, _)| *newest <= sequence) {
                self.aggregates.remove(&aggregate.key);
            }
        }
        for task in entry.tasks() {
            let key = task.key();
            if self.tasks.get(&key).is_some_and(|(newest, _)| *newest <= sequence) {
                self.tasks.remove(&key);
            }
        }
    }

    pub(super) fn claim(&self, key: &ClaimKey) -> Option<Claim> {
        self.claims.get(key).map(|(_, claim)| *claim)
    }

    /// The steps that are not indexed, oldest first.
    pub(super) fn steps(&self, transaction: TransactionId) -> &[StepRow] {
        self.transactions.get(&transaction).map_or(&[], |(_, steps)| steps)
    }

    /// Tasks as they were last changed here, closed ones among them.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &DueTask> {
        self.tasks.values().map(|(_, task)| task)
    }

    /// Whether a task is open; `None` where nothing is known of it here.
    pub(super) fn task_is_open(&self, key: &TaskKey) -> Option<bool> {
        self.tasks.get(key).map(|(_, task)| task.state != TaskState::Done)
    }

    /// `Some(None)` says: deleted here.
    pub(super) fn aggregate(&self, key: &AggregateKey) -> Option<Option<Stored>> {
        self.aggregates.get(key).map(|(_, stored)| stored.clone())
    }
}

/// What is durable and not indexed.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    state: RwLock<State>,
    /// The last batch that was forgotten here; changed under the lock of `state`.
    retired: AtomicU64,
    /// Of the entries in `state`, for whoever only wants to know how much there is.
    weight: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    layer: Layer,
    batches: VecDeque<Arc<Effects>>,
}

impl Overlay {
    /// Shows a durable batch to everyone.
    pub(super) fn publish(&self, batch: Arc<Effects>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (index, entry) in batch.entries.iter().enumerate() {
            state.layer.absorb(batch.sequence, batch.location(index), entry);
        }
        self.weight.fetch_add(batch.weight(), Ordering::Relaxed);
        state.batches.push_back(batch);
    }

    /// Forgets what the index has: every batch up to `sequence`. Answers with
    /// what is left, as [`Overlay::lag`].
    pub(super) fn retire(&self, sequence: u64) -> usize {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        self.retired.store(sequence, Ordering::Release);
        while state.batches.front().is_some_and(|batch| batch.sequence <= sequence) {
            let Some(batch) = state.batches.pop_front() else { break };
            for entry in &batch.entries {
                state.layer.retire(batch.sequence, entry);
            }
            self.weight.fetch_sub(batch.weight(), Ordering::Relaxed);
        }
        self.lag()
    }

    /// The last batch that is in the index and no longer here.
    pub(super) fn retired(&self) -> u64 {
        self.retired.load(Ordering::Acquire)
    }

    /// Shows nothing any more that was last written about one of `erased`, whose keys
    /// were destroyed: here it stands in the clear until it is indexed.
    pub(super) fn forget(&self, erased: &[Subject]) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State { layer, batches } = &mut *state;
        let written = batches.iter().flat_map(|batch| &batch.entries).flat_map(|entry| &entry.aggregates);
        // What was written again under another key stays.
        let theirs: HashMap<_, _> = written
            .map(|aggregate| match &aggregate.row {
                Row::Sealed(row) => (&aggregate.key, erased.contains(&row.subject)),
                Row::Open(_) | Row::Deleted => (&aggregate.key, false),
            })
            .collect();
        for (key, _) in theirs.into_iter().filter(|(_, theirs)| *theirs) {
            if let Some((_, stored)) = layer.aggregates.get_mut(key) {
                *stored = None;
            }
        }
    }

    /// Entries that are durable and not indexed; one about several holders counts for
    /// each of them.
    pub(super) fn lag(&self) -> usize {
        self.weight.load(Ordering::Relaxed)
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&Layer) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner).layer)
    }

    /// The batches, oldest first, for questions that are rare.
    pub(super) fn batches(&self) -> Vec<Arc<Effects>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).batches.iter().cloned().collect()
    }

    /// Entries about a subject, newest first.
    pub(super) fn about(&self, subject: Subject, scene: Scene, most: usize) -> Vec<Location> {
        let batches = self.batches();
        let newest_first = batches.iter().rev().flat_map(|batch| {
            batch.entries.iter().enumerate().rev().map(move |(index, entry)| (batch.location(index), entry))
        });
        newest_first
            .filter(|(_, entry)| entry.subjects.contains(&subject) && *entry.scene == *scene.name())
            .take(most)
            .map(|(location, _)| location)
            .collect()
    }

    /// The aggregates of a kind that were written or deleted here.
    pub(super) fn of_kind(&self, kind: AggregateKind) -> HashMap<AggregateKey, Option<Stored>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let of_kind = state.layer.aggregates.iter().filter(|(key, _)| key.kind == kind);
        of_kind.map(|(key, (_, stored))| (key.clone(), stored.clone())).collect()
    }
}
