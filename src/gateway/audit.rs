//! Refusals after authentication: journalled, rate-limited a terminal and summed,
//! so that garbage cannot fill a disk. An entry that follows on summed refusals says
//! how many there were: its open detail is a `google.protobuf.UInt64Value`. A sum
//! that no later refusal follows is in the metrics alone.

use std::{collections::HashMap, sync::Mutex};

use super::{Call, Gateway, Refusal};
use crate::{
    limits,
    model::{CorruptAggregate, Decision, Detail, Millis, Outcome, Reason, RequestId, Scene, TransactionId},
    store::{Committed, UnitMeta},
};

/// What one terminal was refused in the current minute.
#[derive(Debug, Default, Clone, Copy)]
struct Window {
    minute: i64,
    journalled: u32,
    summed: u64,
}

/// Counts refusals by participant and terminal. Bounded by the registry: only
/// registered terminals come this far.
#[derive(Debug, Default)]
pub(super) struct Audit(Mutex<HashMap<(String, String), Window>>);

/// What becomes of one refusal.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Journal it, with the number of earlier ones that were only summed.
    Journal {
        summed_before: u64,
    },
    Sum,
}

impl Audit {
    fn note(&self, participant: &str, terminal: &str, now: Millis) -> Fate {
        let mut windows = match self.0.lock() {
            Ok(windows) => windows,
            Err(poisoned) => poisoned.into_inner(),
        };
        let window = windows.entry((participant.to_owned(), terminal.to_owned())).or_default();
        let minute = now.div_euclid(60_000);
        let mut summed_before = 0;
        if window.minute != minute {
            summed_before = window.summed;
            *window = Window { minute, ..Window::default() };
        }
        if window.journalled < limits::REFUSALS_JOURNALLED_PER_MINUTE {
            window.journalled += 1;
            Fate::Journal { summed_before }
        } else {
            window.summed += 1;
            Fate::Sum
        }
    }
}

/// What the journal says of a refusal, and of those before it that it does not name.
fn refused(reason: Reason, summed_before: u64) -> Decision {
    let mut decision = Decision::new(Outcome::Declined(reason));
    if summed_before > 0 {
        decision.detail = Detail::open(&summed_before);
    }
    decision
}

impl Gateway {
    /// Records a refusal of a registered terminal. Does not wait for the disk: a
    /// refused caller is owed no durability.
    pub fn audit_refusal(&self, call: &Call, refusal: &Refusal) {
        let (participant, terminal) = (&call.caller.participant.id, &call.caller.terminal);
        let fate = self.audit.note(participant.as_str(), terminal.as_str(), self.now_ms());
        let Fate::Journal { summed_before } = fate else {
            return;
        };
        tracing::info!(
            %participant, %terminal, method = call.method.name, reason = refusal.reason.code(), summed_before,
            "refused a call"
        );
        let meta = UnitMeta {
            participant: participant.clone(),
            terminal: terminal.clone(),
            trace_id: call.trace_id,
            ..self.own_meta(call.method.scene, call.method.name)
        };
        self.journal_refusal(meta, refusal.reason, summed_before);
    }

    /// A peer's message that was refused.
    pub fn audit_peer_refusal(&self, peer: &str, reason: Reason) {
        if let Fate::Journal { summed_before } = self.audit.note("peer", peer, self.now_ms()) {
            tracing::warn!(peer, reason = reason.code(), summed_before, "refused a peer's message");
            self.journal_refusal(self.own_meta(Scene::Federation, "Exchange"), reason, summed_before);
        }
    }

    fn journal_refusal(&self, meta: UnitMeta, reason: Reason, summed_before: u64) {
        let unit = crate::store::Unit {
            meta,
            transaction: self.new_transaction(),
            step: crate::store::Step::Note,
            touches: Vec::new(),
            decide: Box::new(move |_, _| -> Result<Decision, CorruptAggregate> {
                Ok(refused(reason, summed_before))
            }),
        };
        let store = std::sync::Arc::clone(&self.store);
        tokio::spawn(async move {
            if let Err(error) = store.commit(unit).await {
                tracing::warn!(%error, "a refusal could not be journalled");
            }
        });
    }

    /// What an earlier call of the same request was answered, if there was one.
    ///
    /// # Errors
    /// `RequestIdMisused` when the id was used for another payload; a store that
    /// cannot be read.
    pub async fn answered_before(
        &self,
        call: &Call,
        request: RequestId,
        fingerprint: &[u8; 32],
    ) -> Result<Option<Committed>, Refusal> {
        let Some(last) = self.store.find(&call.caller.participant.id, request).await? else {
            return Ok(None);
        };
        // The first step carries the request's fingerprint; what came of it later
        // carries none.
        let transaction = last.entry.transaction_id.as_slice().try_into().map_err(|_| Refusal::internal())?;
        let steps = self.store.steps(TransactionId::from_bytes(transaction)).await?;
        match steps.first() {
            Some(first) if first.entry.fingerprint == fingerprint => Ok(Some(last)),
            Some(_) | None => Err(crate::store::StoreError::RequestIdMisused.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_summed_after_the_first_few_a_minute() {
        let audit = Audit::default();
        let most = limits::REFUSALS_JOURNALLED_PER_MINUTE;
        for _ in 0..most {
            assert_eq!(audit.note("p", "t", 0), Fate::Journal { summed_before: 0 });
        }
        for _ in 0..1_000 {
            assert_eq!(audit.note("p", "t", 59_999), Fate::Sum);
        }
        assert_eq!(audit.note("p", "other", 59_999), Fate::Journal { summed_before: 0 });
        assert_eq!(audit.note("p", "t", 60_000), Fate::Journal { summed_before: 1_000 });
    }

    #[test]
    fn the_journal_says_how_many_it_does_not_name() {
        let detail = refused(Reason::MacWrong, 1_000).detail;
        assert!(!detail.personal);
        assert_eq!(<u64 as prost::Message>::decode(detail.bytes), Ok(1_000));
        assert_eq!(refused(Reason::MacWrong, 0).detail, Detail::default());
    }
}
