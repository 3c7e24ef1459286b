//! The work of `library.inquire`: find out what became of an order, take it back when
//! nobody can tell.

use std::sync::Arc;

use super::super::{Gateway, Refusal, ask::Ask};
use crate::{
    fault, limits,
    model::{
        Assurance, Jitter, PairwiseHolder, ParticipantId, Purpose, Reason, Scene, Status, Subject,
        TransactionId, record::LibraryCase,
    },
    scenes::{
        card::Granted,
        library::{self, Inquiry, LibraryOrder, Turn, Who},
    },
    store::{Committed, DueTask, Step, UnitMeta},
};

impl Gateway {
    /// Settles an outcome that is not known: asks the library, or takes the order back.
    pub(super) async fn run_library_inquiry(&self, task: &DueTask) -> Result<(), Refusal> {
        let transaction = task.transaction;
        let steps = self.store.steps(transaction).await?;
        let first = steps.first().ok_or_else(Refusal::internal)?;
        let status = steps.last().and_then(|last| Status::from_number(last.entry.status));
        if status.is_some_and(Status::is_final) {
            // Settled between its lease and now.
            return Ok(());
        }
        let case: LibraryCase = self.peek(transaction.as_bytes()).await?.ok_or_else(Refusal::internal)?;
        let (ask, who) = (next_of(first, transaction, Scene::Library)?, who_of(first)?);
        let live = self.live();
        match library::turn(&case, transaction, &live.libraries.inquiry) {
            Turn::Inquire => self.inquire(&ask, who, &case, transaction).await,
            Turn::Undo(order) => self.undo(&ask, who, order, transaction).await,
            Turn::GiveUp => self.put_off(&ask, who, transaction, Reason::OutcomeReversed).await,
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
            return self.put_off(ask, who, transaction, Reason::LibraryUnknown).await;
        };
        let touches = vec![library::case_key(transaction)];
        let found = port.inquire(order, before, limits::DEADLINE_DEFAULT).await;
        fault::point(fault::Point::TaskInquired);
        match found {
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
            Ok(Inquiry::CannotTell) => {
                self.put_off(ask, who, transaction, Reason::OutcomePending).await?;
            }
            Err(library::PortError::Declined(declined)) => {
                self.put_off(ask, who, transaction, declined.reason).await?;
            }
            Err(library::PortError::NotSent(_) | library::PortError::Unknown(_)) => {
                self.put_off(ask, who, transaction, Reason::BackendUnavailable).await?;
            }
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
            return self.put_off(ask, who, transaction, Reason::LibraryUnknown).await;
        };
        let answer = port.call(order, limits::DEADLINE_DEFAULT).await;
        fault::point(fault::Point::TaskUndone);
        match answer {
            Ok(_) | Err(library::PortError::Declined(_)) => {
                let touches = vec![library::case_key(transaction)];
                self.commit(ask, touches, move |view, now| library::reversed(view, &who, transaction, now))
                    .await?;
                Ok(())
            }
            Err(library::PortError::NotSent(_) | library::PortError::Unknown(_)) => {
                self.put_off(ask, who, transaction, Reason::BackendUnavailable).await
            }
        }
    }

    /// A turn brought nothing; `why` is shown with the task.
    async fn put_off(
        &self,
        ask: &Ask,
        who: Who,
        transaction: TransactionId,
        why: Reason,
    ) -> Result<(), Refusal> {
        let policy = self.live().libraries.inquiry.clone();
        let jitter = Jitter::draw(&*self.rng);
        let touches = vec![library::case_key(transaction)];
        self.commit(ask, touches, move |view, now| {
            library::unresolved(view, &who, transaction, now, &policy, why, jitter)
        })
        .await
        .map(drop)
    }
}

/// A later step of the transaction that `first` began, in the same caller's name.
pub(super) fn next_of(first: &Committed, transaction: TransactionId, scene: Scene) -> Result<Ask, Refusal> {
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
                .ok_or_else(|| Refusal::new(super::super::RefusalKind::Internal, Reason::Internal))?,
            scene,
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

pub(super) fn who_of(first: &Committed) -> Result<Who, Refusal> {
    let entry = &first.entry;
    Ok(Who {
        subject: Subject::from_slice(&entry.subject).map_err(|_| Refusal::internal())?,
        pairwise: PairwiseHolder::from_slice(&entry.pairwise_holder).ok(),
        assurance: Assurance::from_number(entry.assurance),
    })
}
