//! What may be asked of journal and state without changing them. The overlay is
//! asked first: what leaves it meanwhile is in the index.
//!
//! Everything here blocks on disks and unsealing; [`Lookup::aside`] keeps that off
//! the threads that serve calls.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use futures_util::future::BoxFuture;
use jiff::civil::Date;

use super::{
    Balance, Committed, DueTask, LedgerTotals, Part, Proof, StoreError,
    balances::{Folded, joined},
    committer::Shared,
    effects::{Claim, Effects, claim_key, stored_behind},
    inbox::Replay,
    reader::Reader,
    rows::{Rows, StepRow},
};
use crate::{
    crypto::Sealer,
    model::{
        AggregateKey, AggregateKind, Millis, ParticipantId, RequestId, Scene, Stored, Subject, TransactionId,
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
        if let Some(stored) = self.shared.overlay.look(|layer| layer.aggregate(key)) {
            return Ok(stored);
        }
        match self.rows.aggregate(key)? {
            Some(row) => stored_behind(row, key, &*self.sealer),
            None => Ok(None),
        }
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
        let batches = self.shared.overlay.batches();
        let mut overlaid = HashMap::new();
        for entry in batches.iter().flat_map(|batch| &batch.entries) {
            for task in &entry.tasks {
                overlaid.insert((entry.transaction, task.kind.clone()), task.clone());
            }
        }
        // As many more as the overlay may take away again.
        let indexed = self.rows.due_tasks(now_ms, most.saturating_add(overlaid.len()))?;
        let still_open =
            indexed.into_iter().filter(|task| !overlaid.contains_key(&(task.transaction, task.kind.clone())));
        let mut due: Vec<_> = still_open.collect();
        let newer = overlaid.iter().filter(|(_, task)| !task.done && task.due_at_ms <= now_ms);
        due.extend(newer.map(|((transaction, kind), task)| DueTask {
            transaction: *transaction,
            kind: kind.clone(),
            due_at_ms: task.due_at_ms,
            body: task.body.clone().into(),
        }));
        due.sort_by(|a, b| (a.due_at_ms, a.transaction, &a.kind).cmp(&(b.due_at_ms, b.transaction, &b.kind)));
        due.truncate(most);
        Ok(due)
    }
}

/// What the batches after `until` have booked.
fn folded_after(until: u64, batches: &[Arc<Effects>]) -> Folded {
    let mut folded = Folded::default();
    batches.iter().filter(|batch| batch.sequence > until).for_each(|batch| folded.take_up(batch));
    folded
}
