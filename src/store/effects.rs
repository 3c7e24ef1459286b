//! What an entry changes besides standing in the journal: the claim, the step,
//! aggregates, tasks. Made once by the committer, or again from the journal when
//! the index is rebuilt; both ways give the same.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use prost::Message;
use smallvec::SmallVec;

use super::{
    DueTask, StoreError,
    parts::{holders_of, open_parts},
    task_rows::{due_task, task_of},
};
use crate::{
    crypto::{Digest32, Sealer, sm3},
    model::{AggregateKey, AggregateKind, Millis, Status, Stored, Subject, TransactionId, record},
};

/// Where an entry lies: segment (its first sequence), offset of the frame, place
/// in the batch.
///
/// Sorts in the order of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) index: u32,
}

/// The first 16 bytes of SM3(participant) ‖ request id. The request id stands as it
/// is: those of our terminal library grow with time (UUID version 7), so the claims of
/// a participant lie side by side in the index, the new ones where the last were put.
pub(super) type ClaimKey = [u8; 32];

pub(super) fn claim_key(participant: &str, request: &[u8; 16]) -> ClaimKey {
    let digest = sm3(&[participant.as_bytes()]);
    let mut key = [0; 32];
    key[..16].copy_from_slice(&digest[..16]);
    key[16..].copy_from_slice(request);
    key
}

/// Which step of which transaction a request made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) transaction: TransactionId,
    pub(super) step: u32,
    pub(super) fingerprint: [u8; 32],
}

/// An aggregate as the index keeps it. Personal bodies stay sealed there too, so
/// that destroying a holder's key leaves nothing behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    Open(Stored),
    Sealed(SealedRow),
    Deleted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SealedRow {
    pub(super) subject: Subject,
    pub(super) bound: [u8; 20],
    /// The sealed part of the entry that wrote it.
    pub(super) sealed: Bytes,
}

#[derive(Debug, Clone)]
pub(super) struct AggregateEffect {
    pub(super) key: AggregateKey,
    pub(super) row: Row,
    /// In the clear, for the time until it is indexed.
    pub(super) stored: Option<Stored>,
}

/// What one entry changes.
#[derive(Debug)]
pub(super) struct EntryEffects {
    pub(super) transaction: TransactionId,
    pub(super) step: u32,
    pub(super) status: Status,
    pub(super) claim: Option<(ClaimKey, Claim)>,
    /// Whom it is about: nobody, one holder, or several.
    pub(super) subjects: SmallVec<[Subject; 1]>,
    pub(super) scene: Cow<'static, str>,
    pub(super) aggregates: Vec<AggregateEffect>,
    pub(super) tasks: Vec<record::Task>,
    pub(super) postings: Vec<record::Posting>,
}

/// What one batch changes, and where it lies.
#[derive(Debug)]
pub(super) struct Effects {
    pub(super) sequence: u64,
    pub(super) hash: Digest32,
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) committed_at: Millis,
    /// The batch carries a checkpoint.
    pub(super) checkpoint: bool,
    pub(super) entries: Vec<Arc<EntryEffects>>,
}

impl Effects {
    /// See [`EntryEffects::weight`].
    pub(super) fn weight(&self) -> usize {
        self.entries.iter().map(|entry| entry.weight()).sum()
    }

    pub(super) fn location(&self, index: usize) -> Location {
        Location { segment: self.segment, offset: self.offset, index: index as u32 }
    }
}

/// What the sealed part of an entry is bound to: transaction id ‖ step.
pub(super) fn bound(transaction: TransactionId, step: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(transaction.as_bytes());
    bytes[16..].copy_from_slice(&step.to_be_bytes());
    bytes
}

pub(super) fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt(what.into().into())
}

/// Opens a sealed part; `None` when there is none or its key was destroyed.
pub(super) fn unseal(
    sealer: &dyn Sealer,
    subject: Option<Subject>,
    bound: &[u8; 20],
    sealed_part: &[u8],
) -> Result<Option<record::Sealed>, StoreError> {
    if sealed_part.is_empty() {
        return Ok(None);
    }
    let subject = subject.ok_or_else(|| corrupt("a sealed part without a subject"))?;
    let (nonce, sealed) =
        sealed_part.split_first_chunk::<12>().ok_or_else(|| corrupt("a sealed part without a nonce"))?;
    let plain = sealer.open(subject, nonce, bound, sealed).map_err(|error| corrupt(error.to_string()))?;
    let Some(plain) = plain else { return Ok(None) };
    record::Sealed::decode(plain.as_slice()).map(Some).map_err(|_| corrupt("an unsealed part"))
}

pub(super) fn key_of(write: &record::Write) -> Option<AggregateKey> {
    let kind = AggregateKind::from_number(write.kind)?;
    Some(AggregateKey { kind, id: write.id.as_slice().into() })
}

pub(super) fn stored_of(write: record::Write) -> Option<Stored> {
    (!write.deleted).then(|| Stored {
        revision: write.revision,
        schema: write.schema,
        body: write.body.into(),
    })
}

/// The aggregate behind a row, unsealed where it is sealed; `None` when it does
/// not exist or its holder's key was destroyed.
pub(super) fn stored_behind(
    row: Row,
    key: &AggregateKey,
    sealer: &dyn Sealer,
) -> Result<Option<Stored>, StoreError> {
    match row {
        Row::Open(stored) => Ok(Some(stored)),
        Row::Deleted => Ok(None),
        Row::Sealed(row) => {
            let opened = unseal(sealer, Some(row.subject), &row.bound, &row.sealed)?;
            let Some(opened) = opened else { return Ok(None) };
            // An entry may write an aggregate once only, see the committer.
            let write = opened.writes.into_iter().find(|write| key_of(write).as_ref() == Some(key));
            let write = write.ok_or_else(|| corrupt("a sealed part without the aggregate"))?;
            Ok(stored_of(write))
        }
    }
}

impl EntryEffects {
    /// Whether a later request asked for the step, so that it is no answer to the
    /// first one.
    pub(super) fn is_later_request(&self) -> bool {
        self.step > 0 && self.claim.is_some()
    }

    /// How much it is beside other entries, in memory and in the index: one, or one for
    /// each of its holders.
    pub(super) fn weight(&self) -> usize {
        self.subjects.len().max(1)
    }

    /// The tasks it opens, puts off or closes.
    pub(super) fn tasks(&self) -> impl Iterator<Item = DueTask> {
        self.tasks.iter().map(|task| due_task(task_of(self.transaction, task), task))
    }

    /// Reads an entry back from the journal.
    pub(super) fn of(stored: record::StoredEntry, sealer: &dyn Sealer) -> Result<Self, StoreError> {
        let entry = record::Entry::decode(stored.public_part.as_slice())
            .map_err(|_| corrupt("an entry cannot be decoded"))?;
        let transaction = transaction_of(&entry)?;
        let status = status_of(&entry)?;
        let bound = bound(transaction, entry.step);
        let opened = open_parts(sealer, &entry, &bound, &stored.sealed_part)?;
        let subjects = holders_of(&entry)?.into();
        let request = <[u8; 16]>::try_from(entry.request_id.as_slice());
        let claim = match (<[u8; 32]>::try_from(entry.fingerprint.as_slice()), request) {
            (Ok(fingerprint), Ok(request)) => {
                let claim = Claim { transaction, step: entry.step, fingerprint };
                Some((claim_key(&entry.participant, &request), claim))
            }
            (_, Err(_)) | (Err(_), _) => None,
        };
        let mut aggregates = Vec::new();
        for write in entry.writes {
            let key = key_of(&write).ok_or_else(|| corrupt("an aggregate of an unknown kind"))?;
            let stored = stored_of(write);
            let row = stored.clone().map_or(Row::Deleted, Row::Open);
            aggregates.push(AggregateEffect { key, row, stored });
        }
        for part in opened {
            for write in part.plain.into_iter().flat_map(|plain| plain.writes) {
                let key = key_of(&write).ok_or_else(|| corrupt("an aggregate of an unknown kind"))?;
                let sealed = || SealedRow { subject: part.subject, bound, sealed: part.sealed.clone() };
                let stored = stored_of(write);
                let row = if stored.is_some() { Row::Sealed(sealed()) } else { Row::Deleted };
                aggregates.push(AggregateEffect { key, row, stored });
            }
        }
        Ok(EntryEffects {
            transaction,
            step: entry.step,
            status,
            claim,
            subjects,
            scene: entry.scene.into(),
            aggregates,
            tasks: entry.tasks,
            postings: entry.postings,
        })
    }
}

pub(super) fn transaction_of(entry: &record::Entry) -> Result<TransactionId, StoreError> {
    <[u8; 16]>::try_from(entry.transaction_id.as_slice())
        .map(TransactionId::from_bytes)
        .map_err(|_| corrupt("an entry without a transaction id"))
}

pub(super) fn status_of(entry: &record::Entry) -> Result<Status, StoreError> {
    Status::from_number(entry.status).ok_or_else(|| corrupt("an entry without a status"))
}

pub(super) fn subject_of(entry: &record::Entry) -> Option<Subject> {
    Subject::from_slice(&entry.subject).ok()
}
