//! The work of `federation.settle-code`: a code that we stood in for is told to its
//! home region. What home says no to is for people: the holder was let in.

use prost::Message as _;

use super::super::{Gateway, Origin, PeerError, Refusal, cards::home_unavailable};
use crate::{
    fault,
    model::{
        Decision, Millis, Outcome, Purpose, Reason, RequestId, Scene, Task, TaskState, TransactionId,
        record::{self, CardDetail},
    },
    store::{Committed, DueTask, Step, StoreError, Unit},
    trust::SignedCode,
};

impl Gateway {
    /// Settles one stood-in code.
    pub(super) async fn run_code_settlement(&self, task: &DueTask) -> Result<(), Refusal> {
        let steps = self.store.steps(task.transaction).await?;
        let first = steps.first().ok_or_else(Refusal::internal)?;
        let told = CardDetail::decode(first.detail.clone()).map_err(|_| Refusal::internal())?;
        if told.stood_in_code.is_empty() {
            // The holder's key was destroyed: there is nobody left to settle for.
            return self.settled(task, Ok(())).await;
        }
        let signed = SignedCode::from_bytes(&told.stood_in_code).map_err(|_| Refusal::internal())?;
        let peers = self.peers().ok_or_else(home_unavailable)?;
        let (home, at) = (signed.claimed().issuer, first.entry.committed_at_ms);
        let said =
            peers.settle_code(home, origin_of(first, task.transaction)?, told.stood_in_code, Some(at)).await;
        fault::point(fault::Point::TaskInquired);
        match said {
            Ok(_) => self.settled(task, Ok(())).await,
            Err(PeerError::Declined(reason) | PeerError::Refused(reason)) => {
                tracing::warn!(transaction = %task.transaction, reason = reason.code(), "a home region does not settle a code that we stood in for");
                self.settled(task, Err(reason)).await
            }
            Err(PeerError::Unknown(_) | PeerError::Unreachable(_)) => Err(home_unavailable()),
        }
    }

    /// What home said, in an entry of its own.
    async fn settled(&self, task: &DueTask, said: Result<(), Reason>) -> Result<(), Refusal> {
        let state = if said.is_ok() { TaskState::Done } else { TaskState::Stuck };
        let after = Task {
            kind: task.kind.clone(),
            state,
            due_at_ms: task.due_at_ms,
            of: Some(task.transaction),
            lane: task.lane.clone(),
            asked_at_ms: task.asked_at_ms,
            tries: task.tries.saturating_add(1),
            last_error: said.err(),
            body: task.body.clone(),
        };
        let unit = Unit {
            meta: self.own_meta(Scene::Federation, "SettleCode"),
            transaction: self.new_transaction(),
            step: Step::Note,
            touches: Vec::new(),
            decide: Box::new(move |_, _: Millis| {
                let outcome = said.err().map_or(Outcome::Approved, Outcome::Declined);
                let mut decision = Decision::new(outcome);
                decision.tasks.push(after);
                Ok(decision)
            }),
        };
        match self.store.commit(unit).await {
            // Somebody else has settled it between our lease and now.
            Ok(_) | Err(StoreError::TaskClosed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Who stood at the terminal then.
fn origin_of(first: &Committed, transaction: TransactionId) -> Result<Origin, Refusal> {
    let entry: &record::Entry = &first.entry;
    let request: [u8; 16] = entry.request_id.as_slice().try_into().map_err(|_| Refusal::internal())?;
    Ok(Origin {
        request: RequestId::from_bytes(request),
        participant: entry.participant.clone(),
        terminal: entry.terminal.clone(),
        purpose: i32::try_from(entry.purpose)
            .ok()
            .and_then(Purpose::from_number)
            .ok_or_else(Refusal::internal)?,
        operator: entry.operator_id.clone(),
        transaction,
        traceparent: String::new(),
    })
}
