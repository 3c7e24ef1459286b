//! The rows of the index: what each key means and how its value is laid out.
//! Numbers are big endian, so that keys sort.
//!
//! | key | value |
//! | --- | --- |
//! | `m` | marker: the last batch applied |
//! | `c` claim 16 | transaction 16 ‖ fingerprint 32 |
//! | `t` transaction 16 ‖ step 4 | status 1 ‖ location 16 |
//! | `a` kind 1 ‖ id | an aggregate, open or sealed |
//! | `b` subject 16 ‖ scene ‖ 0 ‖ location 16, inverted so that the newest sorts first | nothing |
//! | `d` due 8 ‖ transaction 16 ‖ kind | the task's body |
//! | `k` transaction 16 ‖ kind | due 8 of the open task |

use std::{collections::HashMap, sync::Arc};

use super::{
    DueTask, StoreError,
    effects::{Claim, ClaimKey, Effects, Location, Row, SealedRow, corrupt},
    index::{Change, Index, IndexError},
};
use crate::{
    crypto::Digest32,
    model::{AggregateKey, AggregateKind, Millis, Scene, Status, Stored, Subject, TransactionId},
};

/// The last batch that the index has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) sequence: u64,
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) hash: Digest32,
}

/// One step of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StepRow {
    pub(super) step: u32,
    pub(super) status: Status,
    pub(super) location: Location,
}

/// The index with its rows understood.
#[derive(Clone)]
pub(super) struct Rows {
    index: Arc<dyn Index>,
}

impl From<IndexError> for StoreError {
    fn from(error: IndexError) -> Self {
        corrupt(error.to_string())
    }
}

impl Rows {
    pub(super) fn over(index: Arc<dyn Index>) -> Self {
        Rows { index }
    }

    pub(super) fn index(&self) -> &Arc<dyn Index> {
        &self.index
    }

    pub(super) fn marker(&self) -> Result<Option<Marker>, StoreError> {
        let Some(value) = self.index.get(b"m")? else { return Ok(None) };
        let mut read = Bytes(&value);
        let marker = || -> Option<Marker> {
            Some(Marker {
                sequence: u64::from_be_bytes(read.take()?),
                segment: u64::from_be_bytes(read.take()?),
                offset: u32::from_be_bytes(read.take()?),
                hash: read.take()?,
            })
        }();
        marker.map(Some).ok_or_else(|| corrupt("the index's marker"))
    }

    pub(super) fn claim(&self, key: &ClaimKey) -> Result<Option<Claim>, StoreError> {
        let Some(value) = self.index.get(&joined(b'c', &[key]))? else { return Ok(None) };
        let mut read = Bytes(&value);
        let claim = || -> Option<Claim> {
            Some(Claim { transaction: TransactionId::from_bytes(read.take()?), fingerprint: read.take()? })
        }();
        claim.map(Some).ok_or_else(|| corrupt("a claim of the index"))
    }

    /// Every step of a transaction, oldest first.
    pub(super) fn steps(&self, transaction: TransactionId) -> Result<Vec<StepRow>, StoreError> {
        let prefix = joined(b't', &[transaction.as_bytes()]);
        let pairs = self.index.pairs(&prefix, None, usize::MAX)?;
        let read = pairs.iter().map(|(key, value)| {
            let step = u32::from_be_bytes(Bytes(key.get(17..)?).take()?);
            let mut value = Bytes(value);
            let [status] = value.take()?;
            Some(StepRow { step, status: Status::from_number(status.into())?, location: value.location()? })
        });
        read.collect::<Option<_>>().ok_or_else(|| corrupt("a step of the index"))
    }

    pub(super) fn aggregate(&self, key: &AggregateKey) -> Result<Option<Row>, StoreError> {
        let value = self.index.get(&aggregate_key(key))?;
        value.map(|value| decode_row(&value)).transpose()
    }

    pub(super) fn scan(&self, kind: AggregateKind) -> Result<Vec<(AggregateKey, Row)>, StoreError> {
        let pairs = self.index.pairs(&[b'a', kind.number()], None, usize::MAX)?;
        pairs
            .into_iter()
            .map(|(key, value)| Ok((AggregateKey { kind, id: key[2..].into() }, decode_row(&value)?)))
            .collect()
    }

    /// The newest entries about a subject in a scene, newest first.
    pub(super) fn about(
        &self,
        subject: Subject,
        scene: Scene,
        most: usize,
    ) -> Result<Vec<Location>, StoreError> {
        let prefix = about_prefix(subject, scene.name());
        let pairs = self.index.pairs(&prefix, None, most)?;
        let read = pairs.iter().map(|(key, _)| {
            let inverted: [u8; 16] = key.get(prefix.len()..)?.try_into().ok()?;
            Bytes(&inverted.map(|byte| !byte)).location()
        });
        read.collect::<Option<_>>().ok_or_else(|| corrupt("an entry of the index"))
    }

    /// Tasks due at `now`, oldest first.
    pub(super) fn due_tasks(&self, now: Millis, most: usize) -> Result<Vec<DueTask>, StoreError> {
        let until = joined(b'd', &[&sortable(now.saturating_add(1))]);
        let pairs = self.index.pairs(b"d", Some(&until), most)?;
        let read = pairs.into_iter().map(|(key, body)| {
            let mut key = Bytes(key.get(1..)?);
            Some(DueTask {
                due_at_ms: i64::from_be_bytes(key.take()?) ^ i64::MIN,
                transaction: TransactionId::from_bytes(key.take()?),
                kind: String::from_utf8(key.0.to_vec()).ok()?,
                body: body.into(),
            })
        });
        read.collect::<Option<_>>().ok_or_else(|| corrupt("a task of the index"))
    }

    /// Applies batches in order, in one atomic write with the marker.
    pub(super) fn apply(&self, batches: &[Arc<Effects>]) -> Result<(), StoreError> {
        let Some(last) = batches.last() else { return Ok(()) };
        let mut changes =
            Vec::with_capacity(5 * batches.iter().map(|batch| batch.entries.len()).sum::<usize>());
        let mut open_tasks = HashMap::new();
        for batch in batches {
            for (index, entry) in batch.entries.iter().enumerate() {
                let location = encode_location(batch.location(index));
                entry_changes(entry, &location, &mut changes);
                for task in &entry.tasks {
                    self.task_changes(entry.transaction, task, &mut open_tasks, &mut changes)?;
                }
            }
        }
        let mut marker = last.sequence.to_be_bytes().to_vec();
        marker.extend_from_slice(&last.segment.to_be_bytes());
        marker.extend_from_slice(&last.offset.to_be_bytes());
        marker.extend_from_slice(&last.hash);
        changes.push((b"m".to_vec(), Some(marker)));
        Ok(self.index.write(changes)?)
    }

    /// A task replaces the open one of the same transaction and kind; `done`
    /// closes it. `open_tasks` holds what this write has changed so far.
    fn task_changes(
        &self,
        transaction: TransactionId,
        task: &crate::model::record::Task,
        open_tasks: &mut HashMap<Vec<u8>, Option<[u8; 8]>>,
        changes: &mut Vec<Change>,
    ) -> Result<(), StoreError> {
        let name = joined(b'k', &[transaction.as_bytes(), task.kind.as_bytes()]);
        let before = match open_tasks.get(&name) {
            Some(before) => *before,
            None => self.index.get(&name)?.and_then(|due| due.try_into().ok()),
        };
        let by_due = |due: &[u8]| joined(b'd', &[due, transaction.as_bytes(), task.kind.as_bytes()]);
        if let Some(before) = before {
            changes.push((by_due(&before), None));
        }
        let due = (!task.done).then(|| sortable(task.due_at_ms));
        if let Some(due) = due {
            changes.push((by_due(&due), Some(task.body.clone())));
        }
        changes.push((name.clone(), due.map(|due| due.to_vec())));
        open_tasks.insert(name, due);
        Ok(())
    }
}

fn entry_changes(entry: &super::effects::EntryEffects, location: &[u8; 16], changes: &mut Vec<Change>) {
    let transaction = entry.transaction.as_bytes();
    if let Some((key, claim)) = &entry.claim {
        let value = [claim.transaction.as_bytes().as_slice(), &claim.fingerprint].concat();
        changes.push((joined(b'c', &[key]), Some(value)));
    }
    let step = entry.step.to_be_bytes();
    let status = [entry.status.number() as u8];
    changes.push((joined(b't', &[transaction, &step]), Some([status.as_slice(), location].concat())));
    for aggregate in &entry.aggregates {
        changes.push((aggregate_key(&aggregate.key), encode_row(&aggregate.row, aggregate.stored.as_ref())));
    }
    if let Some(subject) = entry.subject {
        let mut key = about_prefix(subject, &entry.scene);
        key.extend_from_slice(&location.map(|byte| !byte));
        changes.push((key, Some(Vec::new())));
    }
}

fn joined(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(kind);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

fn aggregate_key(key: &AggregateKey) -> Vec<u8> {
    joined(b'a', &[&[key.kind.number()], &key.id])
}

fn about_prefix(subject: Subject, scene: &str) -> Vec<u8> {
    joined(b'b', &[subject.as_bytes(), scene.as_bytes(), &[0]])
}

/// Signed numbers in an order in which bytes sort as numbers.
fn sortable(at: Millis) -> [u8; 8] {
    (at ^ i64::MIN).to_be_bytes()
}

fn encode_location(location: Location) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&location.segment.to_be_bytes());
    bytes[8..12].copy_from_slice(&location.offset.to_be_bytes());
    bytes[12..].copy_from_slice(&location.index.to_be_bytes());
    bytes
}

/// Open: 0 ‖ revision 8 ‖ schema 4 ‖ body. Sealed: 1 ‖ subject 16 ‖ bound 20 ‖
/// the entry's sealed part.
fn encode_row(row: &Row, stored: Option<&Stored>) -> Option<Vec<u8>> {
    match row {
        Row::Deleted => None,
        Row::Open(open) => {
            debug_assert_eq!(stored, Some(open), "an open row is what is stored");
            let mut value = joined(0, &[&open.revision.to_be_bytes(), &open.schema.to_be_bytes()]);
            value.extend_from_slice(&open.body);
            Some(value)
        }
        Row::Sealed(row) => Some(joined(1, &[row.subject.as_bytes(), &row.bound, &row.sealed])),
    }
}

fn decode_row(value: &[u8]) -> Result<Row, StoreError> {
    let mut read = Bytes(value);
    let row = || -> Option<Row> {
        match read.take()? {
            [0] => Some(Row::Open(Stored {
                revision: u64::from_be_bytes(read.take()?),
                schema: u32::from_be_bytes(read.take()?),
                body: bytes::Bytes::copy_from_slice(read.0),
            })),
            [1] => Some(Row::Sealed(SealedRow {
                subject: Subject::from_bytes(read.take()?),
                bound: read.take()?,
                sealed: bytes::Bytes::copy_from_slice(read.0),
            })),
            [_] => None,
        }
    }();
    row.ok_or_else(|| corrupt("an aggregate of the index"))
}

/// Takes fixed pieces off the front of a slice.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (piece, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*piece)
    }

    fn location(&mut self) -> Option<Location> {
        Some(Location {
            segment: u64::from_be_bytes(self.take()?),
            offset: u32::from_be_bytes(self.take()?),
            index: u32::from_be_bytes(self.take()?),
        })
    }
}
