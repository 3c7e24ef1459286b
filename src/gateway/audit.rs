//! Refusals after authentication: journalled, rate-limited a terminal and summed,
//! so that garbage cannot fill a disk. An entry that follows on summed refusals says
//! how many there were: its open detail is a `google.protobuf.UInt64Value`. A sum that
//! no later refusal follows is journalled by itself when its minute has ended, under
//! the method `Refusals`, with the reason of the last of them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Call, Gateway, Refusal};
use crate::{
    limits,
    model::{
        CorruptAggregate, Decision, Detail, Millis, Outcome, ParticipantId, Reason, RequestId, Scene,
        TerminalId, TransactionId,
    },
    store::{Committed, UnitMeta, is_same_request},
};

/// The method under which a sum stands by itself.
const SUM: &str = "Refusals";

/// Who was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Refused {
    Terminal(ParticipantId, TerminalId),
    /// A member region, by what its certificate names.
    Peer(String),
}

/// What one terminal was refused in the current minute.
#[derive(Debug, Clone, Copy)]
struct Window {
    minute: i64,
    journalled: u32,
    summed: u64,
    /// Of the last refusal that was summed.
    scene: Scene,
    reason: Reason,
}

/// A sum that no journalled refusal tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sum {
    who: Refused,
    scene: Scene,
    reason: Reason,
    count: u64,
}

/// Counts refusals by participant and terminal. Bounded by the registry: only
/// registered terminals come this far.
#[derive(Debug, Default)]
pub(super) struct Audit(Mutex<HashMap<Refused, Window>>);

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
    fn note(&self, who: Refused, scene: Scene, reason: Reason, now: Millis) -> Fate {
        let minute = minute_of(now);
        let fresh = Window { minute, journalled: 0, summed: 0, scene, reason };
        let mut windows = self.windows();
        let window = windows.entry(who).or_insert(fresh);
        let mut summed_before = 0;
        if window.minute != minute {
            summed_before = window.summed;
            *window = fresh;
        }
        if window.journalled < limits::REFUSALS_JOURNALLED_PER_MINUTE {
            window.journalled += 1;
            Fate::Journal { summed_before }
        } else {
            window.summed += 1;
            (window.scene, window.reason) = (scene, reason);
            Fate::Sum
        }
    }

    /// Takes the sums of minutes that have ended, or all of them, and forgets who was
    /// refused nothing since.
    fn take_sums(&self, now: Millis, all: bool) -> Vec<Sum> {
        let minute = minute_of(now);
        let mut sums = Vec::new();
        self.windows().retain(|who, window| {
            let ended = all || window.minute != minute;
            if ended && window.summed > 0 {
                let (scene, reason, count) = (window.scene, window.reason, window.summed);
                sums.push(Sum { who: who.clone(), scene, reason, count });
                window.summed = 0;
            }
            window.minute == minute
        });
        sums
    }

    /// Puts a sum back that could not be journalled.
    fn put_back(&self, sum: Sum, now: Millis) {
        let Sum { who, scene, reason, count } = sum;
        let fresh = Window { minute: minute_of(now), journalled: 0, summed: 0, scene, reason };
        self.windows().entry(who).or_insert(fresh).summed += count;
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<Refused, Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn minute_of(now: Millis) -> i64 {
    now.div_euclid(60_000)
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
        let who = Refused::Terminal(participant.clone(), terminal.clone());
        let fate = self.audit.note(who, call.method.scene, refusal.reason, self.now_ms());
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
        let who = Refused::Peer(peer.to_owned());
        let fate = self.audit.note(who, Scene::Federation, reason, self.now_ms());
        if let Fate::Journal { summed_before } = fate {
            tracing::warn!(peer, reason = reason.code(), summed_before, "refused a peer's message");
            self.journal_refusal(self.own_meta(Scene::Federation, "Exchange"), reason, summed_before);
        }
    }

    /// Journals the sums that no later refusal tells of: those of minutes that have
    /// ended, or all of them before the store is closed.
    pub(super) async fn journal_sums(&self, all: bool) {
        for sum in self.audit.take_sums(self.now_ms(), all) {
            let own = self.own_meta(sum.scene, SUM);
            let meta = match sum.who.clone() {
                Refused::Terminal(participant, terminal) => UnitMeta { participant, terminal, ..own },
                Refused::Peer(_) => own,
            };
            let (reason, count) = (sum.reason, sum.count);
            if let Err(refusal) = self.note(meta, Vec::new(), move |_, _| Ok(refused(reason, count))).await {
                tracing::warn!(count, why = refusal.reason.code(), "a sum of refusals is not journalled yet");
                self.audit.put_back(sum, self.now_ms());
            }
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
        let participant = &call.caller.participant.id;
        let Some(last) = self.store.find(participant, request).await? else {
            return Ok(None);
        };
        // The step that the request made carries its fingerprint; what came of it
        // without another request carries none.
        let transaction = last.entry.transaction_id.as_slice().try_into().map_err(|_| Refusal::internal())?;
        let steps = self.store.steps(TransactionId::from_bytes(transaction)).await?;
        let made = steps.iter().find(|step| {
            step.entry.request_id == request.as_bytes() && step.entry.participant == participant.as_str()
        });
        match made {
            Some(made) if is_same(&made.entry.fingerprint, fingerprint) => Ok(Some(last)),
            Some(_) | None => Err(crate::store::StoreError::RequestIdMisused.into()),
        }
    }
}

/// An entry whose fingerprint is none made no request.
fn is_same(made: &[u8], asked: &[u8; 32]) -> bool {
    made.try_into().is_ok_and(|made| is_same_request(made, asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(name: &str) -> Refused {
        Refused::Terminal("p".parse().expect("well formed"), name.parse().expect("well formed"))
    }

    fn note(audit: &Audit, name: &str, now: Millis) -> Fate {
        audit.note(terminal(name), Scene::Transit, Reason::MacWrong, now)
    }

    /// A terminal that was refused `summed` times more than is journalled.
    fn flooded(summed: u64) -> Audit {
        let audit = Audit::default();
        for _ in 0..limits::REFUSALS_JOURNALLED_PER_MINUTE {
            assert_eq!(note(&audit, "t", 0), Fate::Journal { summed_before: 0 });
        }
        for _ in 0..summed {
            assert_eq!(note(&audit, "t", 59_999), Fate::Sum);
        }
        audit
    }

    #[test]
    fn garbage_is_summed_after_the_first_few_a_minute() {
        let audit = flooded(1_000);
        assert_eq!(note(&audit, "other", 59_999), Fate::Journal { summed_before: 0 });
        assert_eq!(note(&audit, "t", 60_000), Fate::Journal { summed_before: 1_000 });
    }

    #[test]
    fn a_sum_is_told_once_when_its_minute_has_ended_or_at_the_end() {
        let sum =
            |count| vec![Sum { who: terminal("t"), scene: Scene::Transit, reason: Reason::MacWrong, count }];
        let audit = flooded(1_000);
        assert_eq!(audit.take_sums(59_999, false), []);
        assert_eq!(audit.take_sums(60_000, false), sum(1_000));
        assert_eq!(audit.take_sums(60_000, true), []);
        assert_eq!(note(&audit, "t", 60_000), Fate::Journal { summed_before: 0 });
        assert_eq!(flooded(3).take_sums(59_999, true), sum(3));
        // What cannot be journalled now is told later.
        audit.put_back(sum(5).remove(0), 60_001);
        assert_eq!(audit.take_sums(120_000, false), sum(5));
        assert!(audit.windows().is_empty());
    }

    #[test]
    fn the_journal_says_how_many_it_does_not_name() {
        let detail = refused(Reason::MacWrong, 1_000).detail;
        assert!(!detail.personal);
        assert_eq!(<u64 as prost::Message>::decode(detail.bytes), Ok(1_000));
        assert_eq!(refused(Reason::MacWrong, 0).detail, Detail::default());
    }
}
