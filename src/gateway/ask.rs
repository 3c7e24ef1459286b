//! A request on its way to the store, whoever asked: a terminal here or a peer
//! region for its terminal.

use std::sync::Arc;

use super::{Call, Gateway, Header, Refusal};
use crate::{
    model::{
        AggregateKey, CorruptAggregate, Decision, Detail, Millis, Outcome, PairwiseHolder, ParticipantId,
        Purpose, Scene, Subject, TerminalId, TransactionId, View,
    },
    scenes::card::Granted,
    store::{Committed, Step, Unit, UnitMeta},
};

/// Who asks what, in the store's words.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub meta: UnitMeta,
    pub step: Step,
    pub transaction: TransactionId,
    /// The serving member's province where a peer asks, 0 for our own terminal.
    pub member: u32,
    pub granted: Granted,
}

impl Ask {
    pub fn participant(&self) -> &ParticipantId {
        &self.meta.participant
    }

    pub fn terminal(&self) -> &TerminalId {
        &self.meta.terminal
    }

    /// Puts the transaction where its main aggregate lies, so that a store of
    /// several shards commits it in one. Before the id is told to anybody.
    pub fn near(mut self, key: &AggregateKey) -> Self {
        self.transaction = self.transaction.in_shard(key.slot());
        self
    }
}

impl Gateway {
    /// A terminal's request.
    pub(super) fn ask(&self, call: &Call, header: &Header) -> Ask {
        Ask {
            meta: UnitMeta {
                participant: call.caller.participant.id.clone(),
                terminal: call.caller.terminal.clone(),
                operator: Arc::clone(&header.operator),
                purpose: header.purpose,
                scene: call.method.scene,
                method: call.method.name,
                terminal_time_ms: header.terminal_time_ms,
                trace_id: call.trace_id,
            },
            step: Step::First { request: header.request, fingerprint: header.fingerprint },
            transaction: self.new_transaction(),
            member: 0,
            granted: call.caller.participant.granted.clone(),
        }
    }

    pub(super) fn new_transaction(&self) -> TransactionId {
        TransactionId::new(self.province, 0, self.now_ms(), &*self.rng)
    }

    /// Commits one unit of a request.
    pub(super) async fn commit(
        &self,
        ask: &Ask,
        touches: Vec<AggregateKey>,
        decide: impl FnOnce(&View, Millis) -> Result<Decision, CorruptAggregate> + Send + 'static,
    ) -> Result<Committed, Refusal> {
        let unit = Unit {
            meta: ask.meta.clone(),
            transaction: ask.transaction,
            step: ask.step,
            touches,
            decide: Box::new(decide),
        };
        Ok(self.store.commit(unit).await?)
    }

    /// Commits an entry that no request asked for.
    pub(super) async fn note(
        &self,
        meta: UnitMeta,
        touches: Vec<AggregateKey>,
        decide: impl FnOnce(&View, Millis) -> Result<Decision, CorruptAggregate> + Send + 'static,
    ) -> Result<Committed, Refusal> {
        let unit = Unit {
            meta,
            transaction: self.new_transaction(),
            step: Step::Note,
            touches,
            decide: Box::new(decide),
        };
        Ok(self.store.commit(unit).await?)
    }

    /// Journals who read what about whom, for which purpose. On disk when it returns:
    /// nothing is told before.
    pub(super) async fn journal_read(
        &self,
        call: &Call,
        (subject, pairwise): (Subject, Option<PairwiseHolder>),
        purpose: Purpose,
        what: Detail,
    ) -> Result<(), Refusal> {
        let meta = UnitMeta {
            participant: call.caller.participant.id.clone(),
            terminal: call.caller.terminal.clone(),
            purpose,
            trace_id: call.trace_id,
            ..self.own_meta(call.method.scene, call.method.name)
        };
        self.note(meta, Vec::new(), move |_, _| {
            let mut decision = Decision::new(Outcome::Approved);
            decision.subject = Some(subject);
            decision.pairwise = pairwise;
            decision.detail = what;
            Ok(decision)
        })
        .await
        .map(drop)
    }

    /// The gateway's own hand in the journal: imports, tasks, summed refusals.
    pub(super) fn own_meta(&self, scene: Scene, method: &'static str) -> UnitMeta {
        UnitMeta {
            participant: "gateway".parse().expect("a constant that is well formed"),
            terminal: "gateway".parse().expect("a constant that is well formed"),
            operator: Arc::from(""),
            purpose: Purpose::CardService,
            scene,
            method,
            terminal_time_ms: self.now_ms(),
            trace_id: None,
        }
    }
}
