//! The rows of the index: what each key means and how its value is laid out.
//! Numbers are big endian, so that keys sort.
//!
//! | key | value |
//! | --- | --- |
//! | `m` | marker: the last batch applied |
//! | `c` claim 32 | transaction 16 ‖ fingerprint 32 ‖ step 4 |
//! | `t` transaction 16 ‖ step 4 | status 1, the highest bit set for a later request's step ‖ location 16 |
//! | `a` kind 1 ‖ id | an aggregate, open or sealed |
//! | `b` subject 16 ‖ scene ‖ 0 ‖ location 16, inverted so that the newest sorts first | nothing |
//! | `d` `k` `l` `w` | open tasks, see `task_rows` |
//! | `p` account ‖ 0 ‖ business date 4 (yyyymmdd) | debit 16 ‖ credit 16 ‖ count 8, fen |
//! | `s` | the same over the whole ledger |
//! | `h` | marker: the last batch applied that carries a checkpoint |
//! | `v` | [`LAYOUT`] 1 |

use std::sync::Arc;

use jiff::civil::Date;

use super::{
    LedgerTotals, StoreError,
    balances::{DayTotals, Folded, date_bytes, date_of},
    effects::{Claim, ClaimKey, Effects, EntryEffects, Location, Row, SealedRow, corrupt},
    index::{Changes, Index, IndexError},
    task_rows::{TaskRows, Touched},
};
use crate::{
    crypto::Digest32,
    model::{AggregateKey, AggregateKind, Scene, Status, Stored, Subject, TransactionId},
};

/// The marker's key.
const MARKER: &[u8] = b"m";

/// Grows when rows are added or mean something else: an index of another layout is
/// built anew from the journal.
const LAYOUT: u8 = 5;

/// The last batch that the index has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) sequence: u64,
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) hash: Digest32,
}

impl Marker {
    pub(super) fn of(batch: &Effects) -> Self {
        let Effects { sequence, segment, offset, hash, .. } = *batch;
        Marker { sequence, segment, offset, hash }
    }
}

/// One step of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StepRow {
    pub(super) step: u32,
    pub(super) status: Status,
    /// See [`EntryEffects::is_later_request`].
    pub(super) later_request: bool,
    pub(super) location: Location,
}

/// Marks the status byte of a later request's step.
const LATER_REQUEST: u8 = 0x80;

/// The index with its rows understood.
#[derive(Clone)]
pub(super) struct Rows {
    index: Arc<dyn Index>,
    pub(super) tasks: TaskRows,
}

impl From<IndexError> for StoreError {
    fn from(error: IndexError) -> Self {
        corrupt(error.to_string())
    }
}

impl Rows {
    pub(super) fn over(index: Arc<dyn Index>) -> Self {
        Rows { tasks: TaskRows::over(Arc::clone(&index)), index }
    }

    pub(super) fn index(&self) -> &Arc<dyn Index> {
        &self.index
    }

    pub(super) fn marker(&self) -> Result<Option<Marker>, StoreError> {
        self.index.get(MARKER)?.map(|value| decode_marker(&value)).transpose()
    }

    /// The last batch that carries a checkpoint.
    pub(super) fn checkpoint(&self) -> Result<Option<Marker>, StoreError> {
        self.index.get(b"h")?.map(|value| decode_marker(&value)).transpose()
    }

    /// Whether the rows are laid out as they are written now.
    pub(super) fn layout_is_current(&self) -> Result<bool, StoreError> {
        Ok(self.index.get(b"v")?.is_some_and(|layout| layout == [LAYOUT]))
    }

    /// What was booked on accounts whose path begins with `accounts`, and the
    /// batch up to which that is so; 0 when nothing is indexed.
    pub(super) fn balances(&self, accounts: &str) -> Result<(Vec<DayTotals>, u64), StoreError> {
        let (pairs, marker) = self.index.together(&joined(b'p', &[accounts.as_bytes()]), MARKER)?;
        let read = pairs.into_iter().map(|(key, value)| {
            let row = || -> Option<(String, Date)> {
                let (path, date) = key.get(1..)?.split_last_chunk::<4>()?;
                let path = std::str::from_utf8(path.strip_suffix(&[0])?).ok()?;
                Some((path.to_owned(), date_of(*date)?))
            };
            let (account, date) = row().ok_or_else(|| corrupt("an account of the index"))?;
            Ok((account, date, LedgerTotals::decode(&value)?))
        });
        Ok((read.collect::<Result<_, StoreError>>()?, indexed_until(marker)?))
    }

    /// Sums over the ledger, and the batch up to which they are.
    pub(super) fn ledger_totals(&self) -> Result<(LedgerTotals, u64), StoreError> {
        let (pairs, marker) = self.index.together(b"s", MARKER)?;
        let totals = pairs.first().map(|(_, value)| LedgerTotals::decode(value)).transpose()?;
        Ok((totals.unwrap_or_default(), indexed_until(marker)?))
    }

    pub(super) fn claim(&self, key: &ClaimKey) -> Result<Option<Claim>, StoreError> {
        let Some(value) = self.index.get(&joined(b'c', &[key]))? else { return Ok(None) };
        let mut read = Bytes(&value);
        let claim = || -> Option<Claim> {
            let transaction = TransactionId::from_bytes(read.take()?);
            let fingerprint = read.take()?;
            let step = if read.0.is_empty() { 0 } else { u32::from_be_bytes(read.take()?) };
            Some(Claim { transaction, step, fingerprint })
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
            Some(StepRow {
                step,
                status: Status::from_number((status & !LATER_REQUEST).into())?,
                later_request: status & LATER_REQUEST != 0,
                location: value.location()?,
            })
        });
        read.collect::<Option<_>>().ok_or_else(|| corrupt("a step of the index"))
    }

    pub(super) fn aggregate(&self, key: &AggregateKey) -> Result<Option<Row>, StoreError> {
        let value = self.index.get(&aggregate_key(key))?;
        value.map(|value| decode_row(&value)).transpose()
    }

    pub(super) fn scan(&self, kind: AggregateKind) -> Result<Vec<(AggregateKey, Row)>, StoreError> {
        self.part(kind, &[], usize::MAX)
    }

    /// The aggregates of a kind whose id begins with `prefix`, at most `most`.
    pub(super) fn part(
        &self,
        kind: AggregateKind,
        prefix: &[u8],
        most: usize,
    ) -> Result<Vec<(AggregateKey, Row)>, StoreError> {
        let pairs = self.index.pairs(&joined(b'a', &[&[kind.number()], prefix]), None, most)?;
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

    /// Applies batches in order, in one atomic write with the marker. `changes` is
    /// room to work in.
    pub(super) fn apply(&self, batches: &[Arc<Effects>], changes: &mut Changes) -> Result<(), StoreError> {
        let Some(last) = batches.last() else { return Ok(()) };
        changes.clear();
        let (mut touched, mut folded) = (Touched::new(), Folded::default());
        for batch in batches {
            folded.take_up(batch);
            for (index, entry) in batch.entries.iter().enumerate() {
                let location = encode_location(batch.location(index));
                entry_changes(entry, &location, changes);
                for task in &entry.tasks {
                    self.tasks.change(entry.transaction, task, &mut touched, changes)?;
                }
            }
        }
        self.booked(&folded, changes)?;
        changes.put(&[b"v"], &[&[LAYOUT]]);
        put_marker(MARKER, last, changes);
        if let Some(checkpoint) = batches.iter().rev().find(|batch| batch.checkpoint) {
            put_marker(b"h", checkpoint, changes);
        }
        changes.settle();
        Ok(self.index.write(changes)?)
    }

    /// Adds what was booked to what stands on the accounts.
    fn booked(&self, folded: &Folded, changes: &mut Changes) -> Result<(), StoreError> {
        if folded.is_empty() {
            return Ok(());
        }
        let mut add = |key: &[u8], more: &LedgerTotals| -> Result<(), StoreError> {
            let mut sums = self
                .index
                .get(key)?
                .map(|value| LedgerTotals::decode(&value))
                .transpose()?
                .unwrap_or_default();
            sums.add(more);
            changes.put(&[key], &[&sums.encode()]);
            Ok(())
        };
        for (account, date, sums) in folded.rows() {
            add(&joined(b'p', &[account.as_bytes(), &[0], &date_bytes(date)]), sums)?;
        }
        add(b"s", &folded.whole)
    }
}

fn entry_changes(entry: &EntryEffects, location: &[u8; 16], changes: &mut Changes) {
    let transaction = entry.transaction.as_bytes();
    if let Some((key, claim)) = &entry.claim {
        // Step 0 is not written out: it is most of them.
        let step = claim.step.to_be_bytes();
        let step = if claim.step == 0 { &[][..] } else { &step[..] };
        changes.put(&[b"c", key], &[claim.transaction.as_bytes(), &claim.fingerprint, step]);
    }
    let later = if entry.is_later_request() { LATER_REQUEST } else { 0 };
    let status = entry.status.number() as u8 | later;
    changes.put(&[b"t", transaction, &entry.step.to_be_bytes()], &[&[status], location]);
    for aggregate in &entry.aggregates {
        row_change(&aggregate.key, &aggregate.row, changes);
    }
    let newest_first = location.map(|byte| !byte);
    for subject in &entry.subjects {
        changes.put(&[b"b", subject.as_bytes(), entry.scene.as_bytes(), &[0], &newest_first], &[]);
    }
}

/// Open: 0 ‖ revision 8 ‖ schema 4 ‖ body. Sealed: 1 ‖ subject 16 ‖ bound 20 ‖
/// the entry's sealed part.
fn row_change(key: &AggregateKey, row: &Row, changes: &mut Changes) {
    let key: [&[u8]; 3] = [b"a", &[key.kind.number()], &key.id];
    match row {
        Row::Deleted => changes.remove(&key),
        Row::Open(open) => {
            let (revision, schema) = (open.revision.to_be_bytes(), open.schema.to_be_bytes());
            changes.put(&key, &[&[0], &revision, &schema, &open.body]);
        }
        Row::Sealed(row) => changes.put(&key, &[&[1], row.subject.as_bytes(), &row.bound, &row.sealed]),
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

fn put_marker(key: &[u8], batch: &Effects, changes: &mut Changes) {
    let (sequence, segment) = (batch.sequence.to_be_bytes(), batch.segment.to_be_bytes());
    changes.put(&[key], &[&sequence, &segment, &batch.offset.to_be_bytes(), &batch.hash]);
}

fn decode_marker(value: &[u8]) -> Result<Marker, StoreError> {
    let mut read = Bytes(value);
    let marker = || -> Option<Marker> {
        Some(Marker {
            sequence: u64::from_be_bytes(read.take()?),
            segment: u64::from_be_bytes(read.take()?),
            offset: u32::from_be_bytes(read.take()?),
            hash: read.take()?,
        })
    }();
    marker.ok_or_else(|| corrupt("the index's marker"))
}

fn indexed_until(marker: Option<Vec<u8>>) -> Result<u64, StoreError> {
    Ok(marker.map(|value| decode_marker(&value)).transpose()?.map_or(0, |marker| marker.sequence))
}

fn encode_location(location: Location) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&location.segment.to_be_bytes());
    bytes[8..12].copy_from_slice(&location.offset.to_be_bytes());
    bytes[12..].copy_from_slice(&location.index.to_be_bytes());
    bytes
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
