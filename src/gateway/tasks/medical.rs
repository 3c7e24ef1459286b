//! The work of `medical.settle`: find out what became of a step at an insurer, or take
//! it back.

use std::sync::Arc;

use super::{
    super::{Gateway, Refusal, ask::Ask},
    library::{next_of, who_of},
};
use crate::{
    fault, limits,
    model::{Jitter, Reason, Scene, Status, TransactionId, record::MedicalCase},
    scenes::medical::{
        self, Brought, End, Heard, Inquiry, MedicalAct, MedicalAnswer, MedicalPort, OpenOrder, PortError,
        Reversal, Said, Sender, Turn, Who, cancel_batch,
    },
    store::DueTask,
};

/// One step whose outcome is not known, and the line to where it may stand.
struct Open {
    ask: Ask,
    who: Who,
    visit: TransactionId,
    port: Arc<dyn MedicalPort>,
    sender: Sender,
}

impl Gateway {
    /// Settles one step.
    pub(super) async fn run_medical_step(&self, task: &DueTask) -> Result<(), Refusal> {
        let transaction = task.transaction;
        let steps = self.store.steps(transaction).await?;
        let first = steps.first().ok_or_else(Refusal::internal)?;
        let status = steps.last().and_then(|last| Status::from_number(last.entry.status));
        if status.is_some_and(Status::is_final) {
            // Settled between its lease and now.
            return Ok(());
        }
        let case: MedicalCase = self.peek(transaction.as_bytes()).await?.ok_or_else(Refusal::internal)?;
        let visit: [u8; 16] = case.visit.as_slice().try_into().map_err(|_| Refusal::internal())?;
        let visit = TransactionId::from_bytes(visit);
        let ask = next_of(first, transaction, Scene::Medical)?;
        let about = who_of(first)?;
        let who = Who { subject: about.subject, pairwise: about.pairwise, assurance: about.assurance };
        let live = self.live();
        let Some(turn) = medical::turn(&case, &live.medical.unknown) else {
            return Err(Refusal::internal());
        };
        if let Turn::GiveUp = turn {
            let act = MedicalAct::from_infno(case.infno).ok_or_else(Refusal::internal)?;
            if medical::ends_when_given_up(act) {
                return self.end_step(&ask, who, visit, End::TakenBack).await;
            }
            return self.put_step_off(&ask, who, visit, Reason::OutcomePending, Brought::GaveUp).await;
        }
        let institution = live.medical.institution.iter().find(|known| known.code == case.institution);
        let line = institution.and_then(|institution| {
            let port = self.insurer(&live, institution, &case.insured_region)?;
            Some((port, self.sender(&ask, institution, &case.insured_region)))
        });
        let Some((port, sender)) = line else {
            return self.put_step_off(&ask, who, visit, Reason::InsurerUnknown, Brought::Nothing).await;
        };
        let open = Open { ask, who, visit, port, sender: sender? };
        match turn {
            Turn::Inquire(order) => self.inquire_step(open, order).await,
            Turn::Reverse(order) => self.reverse_step(open, order).await,
            Turn::CancelBatch(order) => self.cancel_step_batch(open, &order).await,
            Turn::GiveUp => Ok(()),
        }
    }

    async fn inquire_step(&self, open: Open, order: OpenOrder) -> Result<(), Refusal> {
        let act = order.act;
        let found = open.port.inquire(open.sender, order, limits::DEADLINE_DEFAULT).await;
        fault::point(fault::Point::TaskInquired);
        let why = match found {
            Ok(Inquiry::Happened(answer)) if medical::fits(act, &answer.said) => {
                return self
                    .commit_insurers_word(&open.ask, open.who, (open.visit, act), Heard::ByTask, Ok(answer))
                    .await
                    .map(drop);
            }
            Ok(Inquiry::Happened(_) | Inquiry::NotFound | Inquiry::CannotTell)
            | Err(PortError::Refused(_)) => {
                return self
                    .put_step_off(&open.ask, open.who, open.visit, Reason::OutcomePending, Brought::Inquired)
                    .await;
            }
            Err(PortError::NotSent(_) | PortError::SystemFailed(_) | PortError::Unknown(_)) => {
                Reason::BackendUnavailable
            }
        };
        self.put_step_off(&open.ask, open.who, open.visit, why, Brought::Nothing).await
    }

    async fn reverse_step(&self, open: Open, order: OpenOrder) -> Result<(), Refusal> {
        let said = open.port.reverse(open.sender.clone(), order, limits::DEADLINE_DEFAULT).await;
        fault::point(fault::Point::TaskUndone);
        match said {
            Ok(Reversal::TakenBack | Reversal::NothingThere) => {
                self.end_step(&open.ask, open.who, open.visit, End::TakenBack).await
            }
            Err(PortError::Refused(_)) => {
                self.put_step_off(&open.ask, open.who, open.visit, Reason::InsurerRefused, Brought::Nothing)
                    .await
            }
            Err(failed) => self.put_unsaid_off(&open, &failed).await,
        }
    }

    async fn cancel_step_batch(&self, open: Open, order: &OpenOrder) -> Result<(), Refusal> {
        let answer = open.port.call(open.sender.clone(), cancel_batch(order), limits::DEADLINE_DEFAULT).await;
        fault::point(fault::Point::TaskUndone);
        match answer {
            // The cancellation takes the whole batch, with lines that stood before.
            // A refusal says that there is no such batch: none of ours stands there either.
            Ok(_) | Err(PortError::Refused(_)) => match order.act {
                // What was asked for has happened.
                act @ (MedicalAct::CancelFees | MedicalAct::CancelStayFees) => {
                    let gone = Ok(MedicalAnswer::from(Said::Done));
                    let step = (open.visit, act);
                    self.commit_insurers_word(&open.ask, open.who, step, Heard::ByTask, gone).await.map(drop)
                }
                _ => self.end_step(&open.ask, open.who, open.visit, End::BatchGone).await,
            },
            Err(failed) => self.put_unsaid_off(&open, &failed).await,
        }
    }

    /// A reversal or a cancellation brought no word. One that a resting line did not
    /// let out spends no try.
    async fn put_unsaid_off(&self, open: &Open, failed: &PortError) -> Result<(), Refusal> {
        let brought =
            if matches!(failed, PortError::NotSent(_)) { Brought::NotSent } else { Brought::Nothing };
        self.put_step_off(&open.ask, open.who, open.visit, Reason::BackendUnavailable, brought).await
    }

    async fn end_step(&self, ask: &Ask, who: Who, visit: TransactionId, end: End) -> Result<(), Refusal> {
        let transaction = ask.transaction;
        let touches = vec![medical::visit_key(visit), medical::case_key(transaction)];
        self.commit(ask, touches, move |view, now| medical::ended(view, &who, transaction, end, now))
            .await
            .map(drop)
    }

    /// A turn settled nothing.
    async fn put_step_off(
        &self,
        ask: &Ask,
        who: Who,
        visit: TransactionId,
        why: Reason,
        brought: Brought,
    ) -> Result<(), Refusal> {
        let transaction = ask.transaction;
        let policy = self.live().medical.unknown.clone();
        let jitter = Jitter::draw(&*self.rng);
        let touches = vec![medical::visit_key(visit), medical::case_key(transaction)];
        self.commit(ask, touches, move |view, now| {
            medical::unresolved(view, &who, transaction, now, &policy, why, brought, jitter)
        })
        .await
        .map(drop)
    }

    /// Ends a step that people have settled at the insurer.
    pub(super) async fn end_medical_case(
        &self,
        transaction: TransactionId,
        operator: &Arc<str>,
    ) -> Result<(), Refusal> {
        let steps = self.store.steps(transaction).await?;
        let first = steps.first().ok_or_else(Refusal::internal)?;
        let case: MedicalCase = self.peek(transaction.as_bytes()).await?.ok_or_else(Refusal::internal)?;
        let visit: [u8; 16] = case.visit.as_slice().try_into().map_err(|_| Refusal::internal())?;
        let mut ask = next_of(first, transaction, Scene::Medical)?;
        ask.meta.operator = Arc::clone(operator);
        ask.meta.method = "CloseTask";
        let about = who_of(first)?;
        let who = Who { subject: about.subject, pairwise: about.pairwise, assurance: about.assurance };
        self.end_step(&ask, who, TransactionId::from_bytes(visit), End::ByHand).await
    }
}
