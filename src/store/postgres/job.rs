//! What lanes are asked for, and what they answer.

use tokio::sync::oneshot;

use super::shard_of;
use crate::{
    model::{AggregateKey, TransactionId},
    store::{
        Committed, Step, StoreError, Unit,
        effects::{ClaimKey, claim_key},
    },
};

/// Something a lane does in one batch with others.
pub(super) struct Job {
    pub(super) what: What,
    pub(super) reply: Reply,
}

pub(super) type Reply = oneshot::Sender<Result<Answer, StoreError>>;

pub(super) enum What {
    /// Runs a unit. Its claim, where it has one, stands in `claim_shard`.
    Unit { unit: Box<Unit>, claim_shard: i32 },
    /// Claims a request whose unit belongs to another shard.
    Claim(Claiming),
}

/// A claim that is to be made, or found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claiming {
    pub(super) key: ClaimKey,
    pub(super) fingerprint: [u8; 32],
    pub(super) unit_shard: i32,
    pub(super) transaction: TransactionId,
}

/// A claim that stood there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) fingerprint: [u8; 32],
    pub(super) unit_shard: i32,
    pub(super) transaction: TransactionId,
    /// 0 for the request that began the transaction.
    pub(super) step: u32,
}

pub(super) enum Answer {
    Done(Box<Committed>),
    /// The unit was not run; this step of this transaction is the answer, with 0 the
    /// last one that no later request asked for.
    Replay(TransactionId, u32),
    /// The request was claimed for a unit of another shard; here is the unit back.
    Elsewhere {
        unit: Box<Unit>,
        shard: i32,
    },
    /// The claim that stands now, made by this job or before it.
    Claimed(Standing),
}

/// The claim a unit makes.
pub(super) fn claim_of(unit: &Unit) -> Option<(ClaimKey, [u8; 32])> {
    let (request, fingerprint) = unit.step.claims()?;
    Some((claim_key(unit.meta.participant.as_str(), request.as_bytes()), fingerprint))
}

/// Whether a unit follows an earlier step of its transaction.
pub(super) fn follows(unit: &Unit) -> bool {
    match unit.step {
        Step::Next | Step::Later { .. } => true,
        Step::First { .. } | Step::Note => false,
    }
}

/// The shard of a unit: its transaction's.
pub(super) fn home(unit: &Unit, shards: u16) -> i32 {
    shard_of(unit.transaction.shard(), shards)
}

/// Whether everything a unit touches lies in one shard.
pub(super) fn is_narrow(unit: &Unit, shards: u16) -> bool {
    let home = home(unit, shards);
    unit.touches.iter().all(|key: &AggregateKey| shard_of(key.slot(), shards) == home)
}
