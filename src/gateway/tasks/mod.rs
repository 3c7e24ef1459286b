//! What must still happen. Tasks stand in the journal with the entry that asks for
//! them; the runner leases those that are due, after a restart as before it, and
//! runs each within its lane: a backend that is dead keeps its own tasks waiting
//! and nobody else's.
//!
//! Here: the table of kinds (`kinds`), the runner, what becomes of a failed try,
//! the operators' acts (`hand`), and a file for each kind's work. What a try means is
//! the owner's rule (`scenes`); where tasks are kept is the store's affair.
//!
//! **Architecture Invariant:** a task ends by an entry, never by forgetting it.

mod hand;
mod kinds;
mod lanes;
mod library;
mod medical;
mod settle;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use hand::{HandRefused, TaskHand};
pub use kinds::{RunBy, TaskRule, rule};

use self::lanes::Lanes;
use super::{Gateway, Refusal};
use crate::{
    fault, limits,
    model::{Decision, Jitter, Outcome, Reason, Scene, Task, TaskKind, TaskState, Token16},
    store::{DueTask, Step, StoreError, TaskLease, Unit},
    telemetry::metrics::{self, TaskEnd},
};

/// Runs due tasks until it is told to stop.
#[derive(Debug, Clone)]
pub struct TaskRunner {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    gateway: Arc<Gateway>,
    every: Duration,
    /// Who leases, unique among all processes on one store.
    owner: String,
    lanes: Lanes,
}

// A lease that ended before the work would let a second worker begin.
const _: () = assert!(limits::TASK_LEASE_MS as u128 > 2 * limits::TASK_RUN_MAX.as_millis());

impl TaskRunner {
    /// A runner that looks for due tasks every `every`.
    pub fn new(gateway: Arc<Gateway>, every: Duration) -> Self {
        let owner = hex::encode(Token16::random(&*gateway.rng).as_bytes());
        TaskRunner { inner: Arc::new(Inner { gateway, every, owner, lanes: Lanes::default() }) }
    }

    /// Runs until `stop`; what is under way then is ended first.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.inner.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                // What was leased together may have left more behind.
                Some(_) = running.join_next() => if !running.is_empty() { continue },
                _ = ticks.tick() => {}
            }
            let room = limits::TASKS_AT_ONCE_MAX.saturating_sub(running.len());
            for task in self.inner.lease(room).await {
                running.spawn(Arc::clone(&self.inner).work(task));
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Leases what is due and runs it to its end.
    #[cfg(test)]
    pub(super) async fn turn(&self) {
        let mut running = JoinSet::new();
        for task in self.inner.lease(limits::TASKS_AT_ONCE_MAX).await {
            running.spawn(Arc::clone(&self.inner).work(task));
        }
        while running.join_next().await.is_some() {}
    }
}

impl Inner {
    async fn lease(&self, most: usize) -> Vec<DueTask> {
        if most == 0 {
            return Vec::new();
        }
        let ask = TaskLease {
            now_ms: self.gateway.now_ms(),
            owner: &self.owner,
            lease_ms: limits::TASK_LEASE_MS,
            most,
            most_per_lane: limits::TASKS_PER_LANE_MAX,
        };
        self.gateway.store.lease_tasks(ask).await.unwrap_or_else(|error| {
            tracing::error!(%error, "due tasks cannot be read");
            Vec::new()
        })
    }

    async fn work(self: Arc<Self>, task: DueTask) {
        let Some(kind) = task.kind.known() else { return };
        let Some(_place) = self.lanes.enter(&task.lane, task.tries > 0) else {
            return self.release(&task).await;
        };
        fault::point(fault::Point::TaskLeased);
        let rule = rule(kind, &self.gateway.live());
        let work = AssertUnwindSafe(self.gateway.run_task(kind, &task)).catch_unwind();
        let failed = match tokio::time::timeout(rule.within, work).await {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(refusal))) => Some(refusal.reason),
            Ok(Err(_)) => Some(Reason::Internal),
            Err(_) => Some(Reason::DeadlineMet),
        };
        let end = match failed {
            None => TaskEnd::Done,
            Some(reason) => match self.gateway.task_failed(&task, &rule, reason).await {
                Ok(end) => end,
                Err(error) => {
                    // The lease is left to run out: whoever is next finds the task as
                    // it stands in the journal.
                    tracing::warn!(transaction = %task.transaction, kind = %task.kind, %error, "a failed task could not be put off");
                    return metrics::task_run(kind, TaskEnd::Failed);
                }
            },
        };
        metrics::task_run(kind, end);
        fault::point(fault::Point::TaskCommitted);
        self.release(&task).await;
    }

    async fn release(&self, task: &DueTask) {
        if let Err(error) = self.gateway.store.release_task(&task.key(), &self.owner).await {
            tracing::warn!(transaction = %task.transaction, %error, "a lease could not be given back; it runs out");
        }
    }
}

impl Gateway {
    /// One try. Whatever came of it is in the journal when this returns without a
    /// refusal.
    async fn run_task(&self, kind: TaskKind, task: &DueTask) -> Result<(), Refusal> {
        match kind {
            TaskKind::LibraryInquire => self.run_library_inquiry(task).await,
            TaskKind::PaymentExpire => self.expire_reservation(task).await,
            TaskKind::FederationSettleCode => self.run_code_settlement(task).await,
            TaskKind::MedicalSettle => self.run_medical_step(task).await,
            // Never leased: stuck from the start.
            TaskKind::LibraryByHand => Ok(()),
        }
    }

    /// Puts a task off whose try failed inside the gateway, or calls people when its
    /// budget is spent. What was settled meanwhile stays so.
    async fn task_failed(
        &self,
        task: &DueTask,
        rule: &TaskRule,
        reason: Reason,
    ) -> Result<TaskEnd, StoreError> {
        let (key, tries) = (task.key(), task.tries.saturating_add(1));
        let now = self.now_ms();
        let spent = tries >= rule.tries_max || now - task.asked_at_ms >= rule.age_max_ms;
        let state = if spent { TaskState::Stuck } else { TaskState::Waiting };
        let wait = rule.backoff.wait_ms(tries, Jitter::draw(&*self.rng));
        let again = Task {
            kind: task.kind.clone(),
            state,
            due_at_ms: now.saturating_add(wait),
            of: Some(task.transaction),
            lane: task.lane.clone(),
            asked_at_ms: task.asked_at_ms,
            tries,
            last_error: Some(reason),
            body: task.body.clone(),
        };
        match self.note_on_task(self.own_meta(rule.owner, "PutOffTask"), again, None).await {
            Ok(()) if spent => {
                tracing::error!(transaction = %key.transaction, kind = %key.kind, reason = reason.code(), tries, "a task is stuck; an operator must look");
                Ok(TaskEnd::Stuck)
            }
            Ok(()) => {
                tracing::warn!(transaction = %key.transaction, kind = %key.kind, reason = reason.code(), tries, "a task failed and is put off");
                Ok(TaskEnd::PutOff)
            }
            Err(StoreError::TaskClosed) => Ok(TaskEnd::Done),
            Err(error) => Err(error),
        }
    }

    /// An entry of its own about a task: it belongs to no step of the transaction.
    async fn note_on_task(
        &self,
        meta: crate::store::UnitMeta,
        task: Task,
        detail: Option<crate::model::Detail>,
    ) -> Result<(), StoreError> {
        let unit = Unit {
            meta,
            transaction: self.new_transaction(),
            step: Step::Note,
            touches: Vec::new(),
            decide: Box::new(move |_, _| {
                let mut decision = Decision::new(Outcome::Approved);
                decision.detail = detail.unwrap_or_default();
                decision.tasks.push(task);
                Ok(decision)
            }),
        };
        self.store.commit(unit).await.map(drop)
    }
}

/// The scene whose name stands on an operator's acts.
const HAND: Scene = Scene::Operations;
