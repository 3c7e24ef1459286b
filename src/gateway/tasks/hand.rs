//! What an operator does about a task: run it again, or close it. Each is an entry
//! with the operator and the reason.

use std::sync::Arc;

use super::{
    super::{Gateway, Refusal},
    HAND, RunBy, rule,
};
use crate::{
    model::{Detail, Reason, Scene, Status, Task, TaskKey, TaskKind, TaskState, TransactionId, record},
    scenes::library,
    store::{DueTask, StoreError, UnitMeta},
};

/// Who acts, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskHand {
    pub(in crate::gateway) operator: Arc<str>,
    pub(in crate::gateway) reason: String,
}

/// Why an operator's act was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandRefused {
    #[error("operator must be 1 to 32 of A-Z a-z 0-9 - _ . / 操作员须为 1 至 32 个字母、数字或 -_.")]
    Operator,
    #[error("reason must be 1 to 200 characters, without line breaks / 原因须为 1 至 200 个字符，不含换行")]
    Reason,
    #[error("there is no such open task / 没有该未结任务")]
    NoSuchTask,
    #[error(
        "tasks of this kind are not run by the gateway; close it when it is settled / 该类任务不由网关执行，处理完毕后请关闭"
    )]
    NotRun,
    #[error(
        "the reservation still stands; release or reverse its transaction / 预授权仍有效，请先撤销或冲正该交易"
    )]
    StillReserved,
    #[error("the store did not take it: {0} / 存储未受理")]
    Store(String),
}

impl From<StoreError> for HandRefused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TaskClosed => HandRefused::NoSuchTask,
            StoreError::RequestIdMisused
            | StoreError::Busy
            | StoreError::Stopped(_)
            | StoreError::Corrupt(_)
            | StoreError::HolderErased
            | StoreError::NoSuchTransaction => HandRefused::Store(error.to_string()),
        }
    }
}

impl From<Refusal> for HandRefused {
    fn from(refusal: Refusal) -> Self {
        HandRefused::Store(refusal.reason.code().to_owned())
    }
}

impl TaskHand {
    /// Both stand in the open part of the journal: a reason names no person.
    ///
    /// # Errors
    /// `Operator`, `Reason`.
    pub fn new(operator: &str, reason: &str) -> Result<Self, HandRefused> {
        let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if operator.is_empty() || operator.len() > 32 || !operator.chars().all(named) {
            return Err(HandRefused::Operator);
        }
        let length = reason.chars().count();
        if length == 0 || length > 200 || reason.trim().is_empty() || reason.chars().any(char::is_control) {
            return Err(HandRefused::Reason);
        }
        Ok(TaskHand { operator: operator.into(), reason: reason.to_owned() })
    }
}

/// Open tasks that are shown to operators at once.
const TASKS_SHOWN_MAX: usize = 10_000;

impl Gateway {
    /// Every open task, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open_tasks(&self) -> Result<Vec<DueTask>, Refusal> {
        Ok(self.store.due_tasks(i64::MAX, TASKS_SHOWN_MAX).await?)
    }

    /// Makes a task due now, with a fresh budget.
    ///
    /// # Errors
    /// `NoSuchTask`, `NotRun`; a store that does not take the entry.
    pub async fn retry_task(&self, key: &TaskKey, hand: &TaskHand) -> Result<(), HandRefused> {
        let task = self.open_task(key).await?;
        let run_by = key.kind.known().map(|kind| rule(kind, &self.live()).run_by);
        if run_by != Some(RunBy::Gateway) {
            return Err(HandRefused::NotRun);
        }
        let now = self.now_ms();
        let again = Task { due_at_ms: now, asked_at_ms: now, ..changed(&task, TaskState::Waiting) };
        let detail = detail(key, hand);
        Ok(self.note_on_task(self.hand_meta("RetryTask", hand), again, Some(detail)).await?)
    }

    /// Closes a task that nobody has to care for any more. A transaction that waits for
    /// it ends `REVERSED`.
    ///
    /// # Errors
    /// `NoSuchTask`; a store that does not take the entry.
    pub async fn close_task(&self, key: &TaskKey, hand: &TaskHand) -> Result<(), HandRefused> {
        let task = self.open_task(key).await?;
        let (meta, detail) = (self.hand_meta("CloseTask", hand), detail(key, hand));
        match key.kind.known() {
            Some(TaskKind::LibraryInquire) => {
                // Who and why stand first, in an entry that leaves the task to people;
                // the transaction's own last step ends it.
                let left = changed(&task, TaskState::Stuck);
                self.note_on_task(meta, left, Some(detail)).await?;
                Ok(self.end_library_case(key.transaction, &hand.operator).await?)
            }
            Some(TaskKind::MedicalSettle) => {
                let left = changed(&task, TaskState::Stuck);
                self.note_on_task(meta, left, Some(detail)).await?;
                Ok(self.end_medical_case(key.transaction, &hand.operator).await?)
            }
            Some(TaskKind::PaymentExpire) if self.is_open(key.transaction).await? => {
                Err(HandRefused::StillReserved)
            }
            Some(TaskKind::LibraryByHand | TaskKind::PaymentExpire | TaskKind::FederationSettleCode)
            | None => Ok(self.note_on_task(meta, changed(&task, TaskState::Done), Some(detail)).await?),
        }
    }

    async fn is_open(&self, transaction: TransactionId) -> Result<bool, HandRefused> {
        let steps = self.store.steps(transaction).await?;
        let last = steps.last().and_then(|last| Status::from_number(last.entry.status));
        Ok(last.is_some_and(|status| !status.is_final()))
    }

    async fn open_task(&self, key: &TaskKey) -> Result<DueTask, HandRefused> {
        let open = self.open_tasks().await?;
        open.into_iter().find(|task| task.key() == *key).ok_or(HandRefused::NoSuchTask)
    }

    fn hand_meta(&self, method: &'static str, hand: &TaskHand) -> UnitMeta {
        UnitMeta { operator: Arc::clone(&hand.operator), ..self.own_meta(HAND, method) }
    }

    /// Ends a library transaction whose outcome people have settled.
    async fn end_library_case(&self, transaction: TransactionId, operator: &Arc<str>) -> Result<(), Refusal> {
        let steps = self.store.steps(transaction).await?;
        let first = steps.first().ok_or_else(Refusal::internal)?;
        let (mut ask, who) =
            (super::library::next_of(first, transaction, Scene::Library)?, super::library::who_of(first)?);
        ask.meta.operator = Arc::clone(operator);
        ask.meta.method = "CloseTask";
        let touches = vec![library::case_key(transaction)];
        self.commit(&ask, touches, move |view, now| Ok(library::closed_by_hand(view, &who, transaction, now)))
            .await
            .map(drop)
    }
}

/// The task as it stands, changed by hand.
fn changed(task: &DueTask, state: TaskState) -> Task {
    Task {
        kind: task.kind.clone(),
        state,
        due_at_ms: task.due_at_ms,
        of: Some(task.transaction),
        lane: task.lane.clone(),
        asked_at_ms: task.asked_at_ms,
        tries: 0,
        last_error: Reason::from_code(&task.last_error),
        body: task.body.clone(),
    }
}

fn detail(key: &TaskKey, hand: &TaskHand) -> Detail {
    Detail::open(&record::TaskHand {
        transaction_id: key.transaction.as_bytes().to_vec(),
        kind: key.kind.as_str().to_owned(),
        reason: hand.reason.clone(),
    })
}
