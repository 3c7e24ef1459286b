//! What must still happen: inquiries about unknown outcomes. Tasks stand in the
//! journal with the entry that asks for them; this runner takes up those that are
//! due, after a restart as before it.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Gateway, Refusal, ask::Ask};
use crate::{
    ledger::payment,
    limits,
    model::{
        Assurance, PairwiseHolder, ParticipantId, Purpose, Reason, Scene, Subject, TransactionId,
        record::LibraryCase,
    },
    scenes::{
        card::Granted,
        library::{self, Inquiry, LibraryOrder, Turn, Who},
    },
    store::{Committed, DueTask, Step, UnitMeta},
    telemetry::metrics,
};

/// Runs due tasks until it is told to stop.
#[derive(Debug)]
pub struct TaskRunner {
    gateway: Arc<Gateway>,
    every: Duration,
}

/// Tasks taken up in one turn.
const TASKS_PER_TURN: usize = 32;

impl TaskRunner {
    pub fn new(gateway: Arc<Gateway>, every: Duration) -> Self {
        TaskRunner { gateway, every }
    }

    /// Looks for due tasks every `every`, one after the other: a library that does
    /// not answer is asked by one task at a time.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.turn().await,
            }
        }
    }

    pub(super) async fn turn(&self) {
        let due = match self.gateway.store.due_tasks(self.gateway.now_ms(), TASKS_PER_TURN).await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "due tasks cannot be read");
                return;
            }
        };
        for task in due {
            let transaction = task.transaction;
            if let Err(refusal) = self.gateway.run_task(task).await {
                tracing::warn!(%transaction, reason = refusal.reason.code(), "a task could not be run; it stays due");
            }
        }
    }
}

impl Gateway {
    async fn run_task(&self, task: DueTask) -> Result<(), Refusal> {
        if task.kind == payment::EXPIRE {
            metrics::task_run(payment::EXPIRE);
            return self.expire_reservation(&task).await;
        }
        if task.kind != library::INQUIRE {
            tracing::error!(kind = %task.kind, "a task of a kind that nobody here knows");
            return Ok(());
        }
        let transaction = task.transaction;
        let Some(case) = self.peek::<LibraryCase>(transaction.as_bytes()).await? else {
            return Err(Refusal::internal());
        };
        let steps = self.store.steps(transaction).await?;
        let first = steps.first().ok_or_else(Refusal::internal)?;
        let (ask, who) = (next_of(first, transaction)?, who_of(first)?);
        let live = self.live();
        metrics::task_run(library::INQUIRE);
        match library::turn(&case, transaction, &live.libraries.inquiry) {
            Turn::Inquire => self.inquire(&ask, who, &case, transaction).await,
            Turn::Undo(order) => self.undo(&ask, who, order, transaction).await,
            Turn::GiveUp => self.put_off(&ask, who, transaction).await,
        }
    }

    async fn inquire(
        &self,
        ask: &Ask,
        who: Who,
        case: &LibraryCase,
        transaction: TransactionId,
    ) -> Result<(), Refusal> {
        let (order, before) = library::order_of(case, transaction).ok_or_else(Refusal::internal)?;
        let Some(port) = self.line_to(&order.library) else {
            return self.put_off(ask, who, transaction).await;
        };
        let touches = vec![library::case_key(transaction)];
        match port.inquire(order, before, limits::DEADLINE_DEFAULT).await {
            Ok(Inquiry::Happened(answer)) => {
                self.commit(ask, touches, move |view, now| {
                    library::result(view, &who, transaction, Ok(&answer), now)
                })
                .await?;
            }
            Ok(Inquiry::DidNotHappen) => {
                self.commit(ask, touches, move |view, now| {
                    library::not_happened(view, &who, transaction, now)
                })
                .await?;
            }
            Ok(Inquiry::CannotTell) | Err(_) => self.put_off(ask, who, transaction).await?,
        }
        Ok(())
    }

    async fn undo(
        &self,
        ask: &Ask,
        who: Who,
        order: LibraryOrder,
        transaction: TransactionId,
    ) -> Result<(), Refusal> {
        let Some(port) = self.line_to(&order.library) else {
            return self.put_off(ask, who, transaction).await;
        };
        match port.call(order, limits::DEADLINE_DEFAULT).await {
            Ok(_) | Err(library::PortError::Declined(_)) => {
                let touches = vec![library::case_key(transaction)];
                self.commit(ask, touches, move |view, now| library::reversed(view, &who, transaction, now))
                    .await?;
                Ok(())
            }
            Err(library::PortError::NotSent(_) | library::PortError::Unknown(_)) => {
                self.put_off(ask, who, transaction).await
            }
        }
    }

    async fn put_off(&self, ask: &Ask, who: Who, transaction: TransactionId) -> Result<(), Refusal> {
        let policy = self.live().libraries.inquiry.clone();
        let touches = vec![library::case_key(transaction)];
        self.commit(ask, touches, move |view, now| library::unresolved(view, &who, transaction, now, &policy))
            .await
            .map(drop)
    }
}

/// A later step of the transaction that `first` began, in the same caller's name.
fn next_of(first: &Committed, transaction: TransactionId) -> Result<Ask, Refusal> {
    let entry = &first.entry;
    let participant: ParticipantId = entry.participant.parse().map_err(|_| Refusal::internal())?;
    Ok(Ask {
        meta: UnitMeta {
            participant,
            terminal: entry.terminal.parse().map_err(|_| Refusal::internal())?,
            operator: Arc::from(entry.operator_id.as_str()),
            purpose: i32::try_from(entry.purpose)
                .ok()
                .and_then(Purpose::from_number)
                .ok_or_else(|| Refusal::new(super::RefusalKind::Internal, Reason::Internal))?,
            scene: Scene::Library,
            method: "Inquire",
            terminal_time_ms: entry.terminal_time_ms,
            trace_id: entry.trace_id.as_slice().try_into().ok(),
        },
        step: Step::Next,
        transaction,
        member: 0,
        granted: Granted::default(),
    })
}

fn who_of(first: &Committed) -> Result<Who, Refusal> {
    let entry = &first.entry;
    Ok(Who {
        subject: Subject::from_slice(&entry.subject).map_err(|_| Refusal::internal())?,
        pairwise: PairwiseHolder::from_slice(&entry.pairwise_holder).ok(),
        assurance: Assurance::from_number(entry.assurance),
    })
}
