//! The questions that need no lock: entries with their receipts, aggregates,
//! tasks. Lists ask shard after shard.

use std::{
    collections::{BTreeSet, HashMap},
    ops::RangeInclusive,
    sync::Arc,
};

use bytes::Bytes;
use jiff::civil::Date;
use prost::Message as _;
use tokio_postgres::Row as PgRow;

use super::{
    keys::Keys,
    reads::Reads,
    rows::{aggregate_key, key_bytes, row_of},
    shard_of, sql,
    value::{At, Day, Uuid, Value},
};
use crate::{
    crypto::{Sealer, sm3},
    model::{
        AggregateKey, AggregateKind, Millis, ParticipantId, Receipt, RequestId, Scene, Stored, Subject,
        TaskKey, TaskKind, TaskState, TransactionId, record, slot_of,
    },
    store::{
        Balance, Committed, DueTask, LedgerTotals, Part, Proof, StoreError, TaskLease, TaskTally, Tree,
        chain::leaf_hash,
        effects::{Row, bound, claim_key, corrupt, stored_behind, transaction_of},
        parts::{details, holders_of, open_parts},
        task_rows::due_task,
        task_tally::Tallies,
    },
};

/// Rows of a scan that come in one answer.
const SCAN_ROWS: i64 = 4_096;

/// What may be asked without changing anything.
pub(super) struct Lookup {
    pub(super) reads: Arc<Reads>,
    pub(super) keys: Arc<Keys>,
}

/// An entry's row before it is opened.
struct Found {
    stored: record::StoredEntry,
    chain: String,
    epoch: i64,
    sequence: i64,
    place: i32,
    batch_shard: i32,
}

impl Found {
    fn of(row: &PgRow) -> Self {
        Found {
            stored: record::StoredEntry {
                public_part: row.get(0),
                sealed_part: row.get(1),
                dropped_digest: Vec::new(),
            },
            chain: row.get(2),
            epoch: row.get(3),
            sequence: row.get(4),
            place: row.get(5),
            batch_shard: row.get(6),
        }
    }
}

/// A batch's row.
#[derive(Clone)]
struct SignedBatch {
    header: Bytes,
    tree: Arc<Tree>,
    signature: [u8; 64],
}

impl Lookup {
    fn shard(&self, slot: u16) -> i32 {
        shard_of(slot, self.reads.shards())
    }

    pub(super) async fn load(&self, key: &AggregateKey) -> Result<Option<Stored>, StoreError> {
        let wanted = Value::from(key_bytes(key).as_slice());
        let rows = self.reads.ask(sql::AGGREGATE.on(self.shard(key.slot()), [wanted])).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let opened = self.open_rows(vec![(key.clone(), row_of(row)?)]).await?;
        Ok(opened.into_iter().next().and_then(|(_, stored)| stored))
    }

    async fn open_rows(
        &self,
        rows: Vec<(AggregateKey, Row)>,
    ) -> Result<Vec<(AggregateKey, Option<Stored>)>, StoreError> {
        let subjects = rows.iter().filter_map(|(_, row)| match row {
            Row::Sealed(sealed) => Some(sealed.subject),
            Row::Open(_) | Row::Deleted => None,
        });
        let sealer = self.keys.ready(&subjects.collect(), false).await?;
        let opened = rows.into_iter().map(|(key, row)| {
            let stored = stored_behind(row, &key, &*sealer)?;
            Ok((key, stored))
        });
        opened.collect()
    }

    pub(super) async fn find(
        &self,
        participant: &ParticipantId,
        request: RequestId,
    ) -> Result<Option<Committed>, StoreError> {
        let claim = claim_key(participant.as_str(), request.as_bytes());
        let at = self.shard(slot_of(&claim));
        let mut found = self.claim(at, &claim).await?;
        if let Some((unit_shard, ..)) = found
            && unit_shard != at
        {
            found = self.claim(unit_shard, &claim).await?;
        }
        match found {
            Some((_, transaction, step)) => self.answer(transaction, step).await,
            None => Ok(None),
        }
    }

    async fn claim(&self, shard: i32, claim: &[u8]) -> Result<Option<(i32, TransactionId, u32)>, StoreError> {
        let rows = self.reads.ask(sql::CLAIMS.on(shard, [Value::ManyBytes(vec![claim.to_vec()])])).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (Uuid(transaction), step): (Uuid, i32) = (row.get(3), row.get(4));
        let step = u32::try_from(step).map_err(|_| corrupt("a negative step"))?;
        Ok(Some((row.get(2), TransactionId::from_bytes(transaction), step)))
    }

    /// What a repeat of a request is answered: the step that it asked for, with 0
    /// the last one that no later request asked for.
    pub(super) async fn answer(
        &self,
        transaction: TransactionId,
        step: u32,
    ) -> Result<Option<Committed>, StoreError> {
        let (shard, id) = (self.shard(transaction.shard()), Value::Uuid(*transaction.as_bytes()));
        let asked = match step {
            0 => sql::LAST_STEP.on(shard, [id]),
            step => sql::ONE_STEP.on(shard, [id, Value::step(step)]),
        };
        let rows = self.reads.ask(asked).await?;
        Ok(self.read(rows.iter().map(Found::of).collect()).await?.pop())
    }

    pub(super) async fn steps(&self, transaction: TransactionId) -> Result<Vec<Committed>, StoreError> {
        self.read(self.step_rows(transaction).await?).await
    }

    async fn step_rows(&self, transaction: TransactionId) -> Result<Vec<Found>, StoreError> {
        let wanted = [Value::Uuid(*transaction.as_bytes())];
        let rows = self.reads.ask(sql::STEPS.on(self.shard(transaction.shard()), wanted)).await?;
        Ok(rows.iter().map(Found::of).collect())
    }

    /// A proof for every step of a transaction, oldest first.
    pub(super) async fn prove(&self, transaction: TransactionId) -> Result<Vec<Proof>, StoreError> {
        let found = self.step_rows(transaction).await?;
        let batches = self.batches(&found).await?;
        let proofs = found.into_iter().zip(batches).map(|(found, batch)| Proof {
            receipt: receipt(&found, &batch),
            sealed_digest: sm3(&[&found.stored.sealed_part]),
            public_part: found.stored.public_part.into(),
        });
        Ok(proofs.collect())
    }

    pub(super) async fn about(
        &self,
        subject: Subject,
        scene: Scene,
        most: usize,
    ) -> Result<Vec<Committed>, StoreError> {
        let limit = Value::Big(i64::try_from(most).unwrap_or(i64::MAX));
        let mut found = Vec::new();
        for shard in self.reads.all() {
            let about = [Value::Uuid(*subject.as_bytes()), Value::Name(scene.name()), limit.clone()];
            for asked in [sql::ABOUT, sql::ABOUT_AMONG] {
                let rows = self.reads.ask(asked.on(shard, about.clone())).await?;
                found.extend(rows.iter().map(|row| (row.get::<_, At>(7).0, Found::of(row))));
            }
        }
        found.sort_by_key(|(at, found)| std::cmp::Reverse((*at, found.sequence, found.place)));
        found.truncate(most);
        self.read(found.into_iter().map(|(_, found)| found).collect()).await
    }

    pub(super) async fn scan(&self, kind: AggregateKind) -> Result<Vec<(AggregateKey, Stored)>, StoreError> {
        let end = behind(&[kind.number()]);
        let mut scanned = Vec::new();
        for shard in self.reads.all() {
            let mut from = vec![kind.number()];
            loop {
                let (rows, last) = self.between(shard, &from, &end, SCAN_ROWS).await?;
                scanned.extend(rows);
                match last {
                    // The smallest key behind the last one.
                    Some(last) => from = [last, vec![0]].concat(),
                    None => break,
                }
            }
        }
        Ok(scanned)
    }

    /// At most `most` aggregates whose id begins with `prefix`, in the order of
    /// their keys.
    pub(super) async fn part(
        &self,
        kind: AggregateKind,
        prefix: &[u8],
        most: usize,
    ) -> Result<Part, StoreError> {
        let from = [&[kind.number()], prefix].concat();
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let mut part = Part { rows: Vec::new(), is_whole: true };
        for shard in self.reads.all() {
            let (rows, last) = self.between(shard, &from, &behind(&from), limit).await?;
            part.is_whole &= last.is_none();
            part.rows.extend(rows);
        }
        part.is_whole &= part.rows.len() <= most;
        part.rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        part.rows.truncate(most);
        Ok(part)
    }

    /// The aggregates of a range of keys in one shard, and the last key that was
    /// looked at when there may be more behind it.
    async fn between(
        &self,
        shard: i32,
        from: &[u8],
        end: &[u8],
        most: i64,
    ) -> Result<(Vec<(AggregateKey, Stored)>, Option<Vec<u8>>), StoreError> {
        let range = [Value::from(from), Value::from(end), Value::Big(most)];
        let rows = self.reads.ask(sql::AGGREGATES_BETWEEN.on(shard, range)).await?;
        let is_full = i64::try_from(rows.len()).is_ok_and(|found| found >= most);
        let last = rows.last().filter(|_| is_full).map(|row| row.get(0));
        let keyed = rows.iter().map(|row| Ok((aggregate_key(row.get(0))?, row_of(row)?)));
        let opened = self.open_rows(keyed.collect::<Result<_, StoreError>>()?).await?;
        Ok((opened.into_iter().filter_map(|(key, stored)| Some((key, stored?))).collect(), last))
    }

    pub(super) async fn due_tasks(&self, now_ms: Millis, most: usize) -> Result<Vec<DueTask>, StoreError> {
        let limit = Value::Big(i64::try_from(most).unwrap_or(i64::MAX));
        let mut due = Vec::new();
        for shard in self.reads.all() {
            let rows = self.reads.ask(sql::DUE_TASKS.on(shard, [Value::At(now_ms), limit.clone()])).await?;
            for row in &rows {
                due.push(task_behind(row)?);
            }
        }
        due.sort_by(|a, b| (a.due_at_ms, a.transaction, &a.kind).cmp(&(b.due_at_ms, b.transaction, &b.kind)));
        due.truncate(most);
        Ok(due)
    }

    pub(super) async fn open_tasks(&self) -> Result<Vec<TaskTally>, StoreError> {
        let mut tallies = Tallies::default();
        for shard in self.reads.all() {
            for row in &self.reads.ask(sql::OPEN_TASKS.on(shard, [])).await? {
                let state = if row.get(1) { TaskState::Stuck } else { TaskState::Waiting };
                let tasks = u64::try_from(row.get::<_, i64>(2)).unwrap_or(0);
                let (At(oldest), tries) = (row.get(3), row.get::<_, i64>(4));
                let tries = u32::try_from(tries).unwrap_or(u32::MAX);
                tallies.add_many(&row.get::<_, &str>(0).into(), state, tasks, oldest, tries);
            }
        }
        Ok(tallies.told())
    }

    /// Leases shard after shard, so a lane may have its share out in each of them.
    pub(super) async fn lease_tasks(&self, ask: TaskLease<'_>) -> Result<Vec<DueTask>, StoreError> {
        let kinds = TaskKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",");
        let number = |count: usize| Value::Big(i64::try_from(count).unwrap_or(i64::MAX));
        let until = ask.now_ms.saturating_add(ask.lease_ms);
        let mut leased = Vec::new();
        for shard in self.reads.all() {
            let left = ask.most.saturating_sub(leased.len());
            if left == 0 {
                break;
            }
            let rest = [
                Value::from(ask.owner),
                Value::At(until),
                Value::At(ask.now_ms),
                Value::Text(kinds.clone()),
                number(ask.most_per_lane),
                number(left),
            ];
            for row in &self.reads.ask(sql::LEASE_TASKS.on(shard, rest)).await? {
                leased.push(task_behind(row)?);
            }
        }
        leased.sort_by_key(|task| task.due_at_ms);
        Ok(leased)
    }

    pub(super) async fn release_task(&self, key: &TaskKey, owner: &str) -> Result<(), StoreError> {
        let shard = shard_of(key.transaction.shard(), self.reads.shards());
        let rest =
            [Value::Uuid(*key.transaction.as_bytes()), Value::from(key.kind.as_str()), Value::from(owner)];
        self.reads.ask(sql::RELEASE_TASK.on(shard, rest)).await?;
        Ok(())
    }

    pub(super) async fn balances(
        &self,
        accounts: &str,
        dates: RangeInclusive<Date>,
    ) -> Result<Vec<Balance>, StoreError> {
        let [first, last] = [*dates.start(), *dates.end()].map(|date| Value::Day(Day::of(date).0));
        let rows = self.reads.ask(sql::BALANCES.with(vec![first, last, Value::from(accounts)])).await?;
        let balances = rows.iter().map(|row| Balance {
            account: row.get(0),
            date: row.get::<_, Day>(1).date(),
            debit_fen: row.get(2),
            credit_fen: row.get(3),
            count: u64::try_from(row.get::<_, i64>(4)).unwrap_or(0),
        });
        Ok(balances.collect())
    }

    pub(super) async fn ledger_totals(&self) -> Result<LedgerTotals, StoreError> {
        let rows = self.reads.ask(sql::TOTALS.with(Vec::new())).await?;
        let row = rows.first().ok_or_else(|| corrupt("the postings have no sum"))?;
        let fen = |at| row.get::<_, String>(at).parse().map_err(|_| corrupt("a sum that is no number"));
        let count = u64::try_from(row.get::<_, i64>(2)).unwrap_or(0);
        Ok(LedgerTotals { debit_fen: fen(0)?, credit_fen: fen(1)?, count })
    }

    /// Opens entries and rebuilds their receipts, in the order given.
    async fn read(&self, found: Vec<Found>) -> Result<Vec<Committed>, StoreError> {
        let mut entries = Vec::with_capacity(found.len());
        for one in &found {
            let entry = record::Entry::decode(one.stored.public_part.as_slice())
                .map_err(|_| corrupt("an entry cannot be decoded"))?;
            entries.push(entry);
        }
        let mut subjects = BTreeSet::new();
        for (one, entry) in found.iter().zip(&entries) {
            if !one.stored.sealed_part.is_empty() {
                subjects.extend(holders_of(entry)?);
            }
        }
        let sealer = self.keys.ready(&subjects, false).await?;
        let batches = self.batches(&found).await?;
        let read = found.into_iter().zip(entries).zip(batches);
        read.map(|((found, entry), batch)| committed(found, entry, &batch, &*sealer)).collect()
    }

    /// The batch of every entry, each read once.
    async fn batches(&self, found: &[Found]) -> Result<Vec<SignedBatch>, StoreError> {
        let mut known = HashMap::<(i32, String, i64, i64), SignedBatch>::new();
        let mut batches = Vec::with_capacity(found.len());
        for one in found {
            let name = (one.batch_shard, one.chain.clone(), one.epoch, one.sequence);
            let batch = match known.get(&name) {
                Some(batch) => batch.clone(),
                None => {
                    let batch = self.batch(one).await?;
                    known.insert(name, batch.clone());
                    batch
                }
            };
            batches.push(batch);
        }
        Ok(batches)
    }

    async fn batch(&self, of: &Found) -> Result<SignedBatch, StoreError> {
        let name = [Value::from(of.chain.as_str()), Value::Big(of.epoch), Value::Big(of.sequence)];
        let rows = self.reads.ask(sql::BATCH.on(of.batch_shard, name)).await?;
        let row = rows.first().ok_or_else(|| corrupt("the batch of an entry is missing"))?;
        let (header, leaves, signature): (Vec<u8>, Vec<u8>, Vec<u8>) = (row.get(0), row.get(1), row.get(2));
        let (leaves, rest) = leaves.as_chunks::<32>();
        let signature = signature.try_into().map_err(|_| corrupt("a signature of another length"))?;
        if !rest.is_empty() {
            return Err(corrupt("the leaves of a batch are cut"));
        }
        let tree = Arc::new(Tree::over(leaves.to_vec()));
        Ok(SignedBatch { header: header.into(), tree, signature })
    }
}

/// The smallest key behind everything that begins with `prefix`; its first byte is
/// a kind and never the last there is.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while end.pop_if(|last| *last == u8::MAX).is_some() {}
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn receipt(found: &Found, batch: &SignedBatch) -> Receipt {
    let index = u32::try_from(found.place).unwrap_or(0);
    Receipt {
        leaf: leaf_hash(&found.stored.public_part, &found.stored.sealed_part),
        path: batch.tree.path(index as usize),
        index,
        batch_header: batch.header.clone(),
        signature: batch.signature,
    }
}

fn committed(
    found: Found,
    entry: record::Entry,
    batch: &SignedBatch,
    sealer: &dyn Sealer,
) -> Result<Committed, StoreError> {
    let bound = bound(transaction_of(&entry)?, entry.step);
    let opened = open_parts(sealer, &entry, &bound, &found.stored.sealed_part)?;
    let (detail, parts) = details(&entry, opened);
    let receipt = receipt(&found, batch);
    Ok(Committed { entry: Arc::new(entry), detail, parts, receipt, replayed: true })
}

/// The task in a row of transaction and body.
fn task_behind(row: &PgRow) -> Result<DueTask, StoreError> {
    let Uuid(transaction) = row.get(0);
    let body: &[u8] = row.get(1);
    let task = record::Task::decode(body).map_err(|_| corrupt("a task of the database"))?;
    Ok(due_task(TransactionId::from_bytes(transaction), &task))
}
