//! What may be asked of journal and state without changing them. The overlay is
//! asked first: what leaves it meanwhile is in the index.
//!
//! Everything here blocks on disks and unsealing; [`Lookup::aside`] keeps that off
//! the threads that serve calls.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    sync::Arc,
};

use futures_util::future::BoxFuture;
use jiff::civil::Date;

use super::{
    Balance, Committed, DueTask, LedgerTotals, Part, Proof, StoreError, TaskTally,
    balances::{Folded, joined},
    committer::Shared,
    effects::{Claim, Effects, claim_key, stored_behind},
    inbox::Replay,
    reader::Reader,
    rows::{Rows, StepRow},
    seen::Stamp,
    task_rows::is_run,
    task_tally::Tallies,
};
use crate::{
    crypto::Sealer,
    model::{
        AggregateKey, AggregateKind, Millis, ParticipantId, RequestId, Scene, Stored, Subject, TaskKey,
        TaskState, TransactionId,
    },
};

/// The readable side of an open store.
#[derive(Clone)]
pub(super) struct Lookup {
    pub(super) shared: Arc<Shared>,
    pub(super) rows: Rows,
    pub(super) reader: Arc<Reader>,
    pub(super) sealer: Arc<dyn Sealer>,
}

impl Lookup {
    /// Runs a question on a thread that may block; in place where no runtime is.
    pub(super) fn aside<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Lookup) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let lookup = self.clone();
        Box::pin(async move {
            match tokio::runtime::Handle::try_current() {
                Err(_) => ask(&lookup),
                Ok(runtime) => runtime
                    .spawn_blocking(move || ask(&lookup))
                    .await
                    .unwrap_or_else(|_| Err(StoreError::Stopped("a question was given up".into()))),
            }
        })
    }

    pub(super) fn step_rows(&self, transaction: TransactionId) -> Result<Vec<StepRow>, StoreError> {
        let overlaid = self.shared.overlay.look(|layer| layer.steps(transaction).to_vec());
        let mut steps = self.rows.steps(transaction)?;
        for step in overlaid {
            if steps.iter().all(|known| known.step != step.step) {
                steps.push(step);
            }
        }
        steps.sort_by_key(|step| step.step);
        Ok(steps)
    }

    /// The step that answers a unit which was not run.
    pub(super) fn replay(&self, replay: Replay) -> Result<Option<Committed>, StoreError> {
        let mut steps = self.step_rows(replay.transaction)?.into_iter();
        let answers = match replay.step {
            0 => steps.rfind(|row| !row.later_request),
            own => steps.find(|row| row.step == own),
        };
        answers.map(|row| self.reader.read(row.location)).transpose()
    }

    pub(super) fn prove(&self, transaction: TransactionId) -> Result<Vec<Proof>, StoreError> {
        self.step_rows(transaction)?.iter().map(|step| self.reader.prove(step.location)).collect()
    }

    pub(super) fn load(&self, key: &AggregateKey) -> Result<Option<Stored>, StoreError> {
        // Before anything is asked, or it would promise too much.
        let stamp = Stamp { retired: self.shared.overlay.retired(), destroyed: self.sealer.destroyed() };
        if let Some(stored) = self.shared.overlay.look(|layer| layer.aggregate(key)) {
            return Ok(stored);
        }
        let stored = match self.rows.aggregate(key)? {
            Some(row) => stored_behind(row, key, &*self.sealer)?,
            None => None,
        };
        self.shared.seen.put(stamp, key.clone(), stored.clone());
        Ok(stored)
    }

    pub(super) fn find(
        &self,
        participant: &ParticipantId,
        request: RequestId,
    ) -> Result<Option<Committed>, StoreError> {
        let key = claim_key(participant.as_str(), request.as_bytes());
        let claim = match self.shared.overlay.look(|layer| layer.claim(&key)) {
            Some(claim) => Some(claim),
            None => self.rows.claim(&key)?,
        };
        match claim {
            Some(Claim { transaction, step, .. }) => self.replay(Replay { transaction, step }),
            None => Ok(None),
        }
    }

    pub(super) fn steps(&self, transaction: TransactionId) -> Result<Vec<Committed>, StoreError> {
        self.step_rows(transaction)?.iter().map(|step| self.reader.read(step.location)).collect()
    }

    pub(super) fn about(
        &self,
        subject: Subject,
        scene: Scene,
        most: usize,
    ) -> Result<Vec<Committed>, StoreError> {
        // The newest of both; what left the overlay meanwhile comes twice.
        let mut found = self.shared.overlay.about(subject, scene, most);
        found.extend(self.rows.about(subject, scene, most)?);
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        found.truncate(most);
        found.into_iter().map(|location| self.reader.read(location)).collect()
    }

    pub(super) fn scan(&self, kind: AggregateKind) -> Result<Vec<(AggregateKey, Stored)>, StoreError> {
        let overlaid = self.shared.overlay.of_kind(kind);
        let mut found = Vec::new();
        for (key, row) in self.rows.scan(kind)? {
            if !overlaid.contains_key(&key)
                && let Some(stored) = stored_behind(row, &key, &*self.sealer)?
            {
                found.push((key, stored));
            }
        }
        found.extend(overlaid.into_iter().filter_map(|(key, stored)| Some((key, stored?))));
        Ok(found)
    }

    /// What the overlay holds was written a moment ago and is left out: whoever asks
    /// for parts decides over each row again.
    pub(super) fn part(&self, kind: AggregateKind, prefix: &[u8], most: usize) -> Result<Part, StoreError> {
        let found = self.rows.part(kind, prefix, most)?;
        let is_whole = found.len() < most;
        let mut rows = Vec::new();
        for (key, row) in found {
            if self.shared.overlay.look(|layer| layer.aggregate(&key)).is_none()
                && let Some(stored) = stored_behind(row, &key, &*self.sealer)?
            {
                rows.push((key, stored));
            }
        }
        Ok(Part { rows, is_whole })
    }

    pub(super) fn balances(
        &self,
        accounts: &str,
        dates: &RangeInclusive<Date>,
    ) -> Result<Vec<Balance>, StoreError> {
        // The overlay first: what leaves it meanwhile is in the index, and the
        // index says how far it goes.
        let batches = self.shared.overlay.batches();
        let (indexed, until) = self.rows.balances(accounts)?;
        joined(indexed, &folded_after(until, &batches), accounts, dates)
    }

    pub(super) fn ledger_totals(&self) -> Result<LedgerTotals, StoreError> {
        let batches = self.shared.overlay.batches();
        let (mut totals, until) = self.rows.ledger_totals()?;
        totals.add(&folded_after(until, &batches).whole);
        Ok(totals)
    }

    pub(super) fn due_tasks(&self, now_ms: Millis, most: usize) -> Result<Vec<DueTask>, StoreError> {
        let overlaid = self.overlaid_tasks();
        // As many more as the overlay may take away again.
        let room = most.saturating_add(overlaid.len());
        let mut due = self.rows.tasks.stuck(now_ms, room)?;
        for lane in self.rows.tasks.lanes()? {
            due.extend(self.rows.tasks.due_in(&lane, now_ms, room)?);
        }
        due.retain(|task| !overlaid.contains_key(&task.key()));
        due.extend(overlaid.into_values().filter(|task| is_due(task, now_ms)));
        due.sort_by(oldest_first);
        due.truncate(most);
        Ok(due)
    }

    pub(super) fn open_tasks(&self) -> Result<Vec<TaskTally>, StoreError> {
        let overlaid = self.overlaid_tasks();
        let mut tallies = Tallies::default();
        self.rows.tasks.each(&mut |task| {
            if !overlaid.contains_key(&task.key()) {
                tallies.add(&task);
            }
        })?;
        overlaid.values().for_each(|task| tallies.add(task));
        Ok(tallies.told())
    }

    /// Due tasks that may be run, by lane, enough of each for the leases asked for.
    pub(super) fn tasks_to_run(
        &self,
        ask: &Leasing,
        leases_out: usize,
    ) -> Result<Vec<Vec<DueTask>>, StoreError> {
        let overlaid = self.overlaid_tasks();
        let room = ask.most_per_lane.saturating_add(leases_out).saturating_add(overlaid.len());
        let mut lanes: BTreeMap<String, Vec<DueTask>> = BTreeMap::new();
        for lane in self.rows.tasks.lanes()?.into_iter().filter(|lane| is_run(lane)) {
            let mut due = self.rows.tasks.due_in(&lane, ask.now_ms, room)?;
            due.retain(|task| !overlaid.contains_key(&task.key()));
            lanes.insert(lane, due);
        }
        let newer = overlaid.into_values().filter(|task| {
            task.state == TaskState::Waiting && is_due(task, ask.now_ms) && is_run(&task.lane)
        });
        for task in newer {
            lanes.entry(task.lane.clone()).or_default().push(task);
        }
        lanes.values_mut().for_each(|lane| lane.sort_by(oldest_first));
        Ok(lanes.into_values().filter(|lane| !lane.is_empty()).collect())
    }

    fn overlaid_tasks(&self) -> HashMap<TaskKey, DueTask> {
        self.shared.overlay.look(|layer| layer.tasks().map(|task| (task.key(), task.clone())).collect())
    }
}

/// What is asked when tasks are leased.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leasing {
    pub(super) now_ms: Millis,
    pub(super) most_per_lane: usize,
}

fn is_due(task: &DueTask, now_ms: Millis) -> bool {
    task.state != TaskState::Done && task.due_at_ms <= now_ms
}

fn oldest_first(a: &DueTask, b: &DueTask) -> std::cmp::Ordering {
    (a.due_at_ms, a.transaction, &a.kind).cmp(&(b.due_at_ms, b.transaction, &b.kind))
}

/// What the batches after `until` have booked.
fn folded_after(until: u64, batches: &[Arc<Effects>]) -> Folded {
    let mut folded = Folded::default();
    batches.iter().filter(|batch| batch.sequence > until).for_each(|batch| folded.take_up(batch));
    folded
}
