//! The first half of a batch: claims are made, and everything the units name is
//! locked and read. Nothing has been decided yet, so all of it may be tried again.
//!
//! **Architecture Invariant:** locks are taken in one order by everybody: the
//! chain's head, claims, transactions, aggregates, tasks; each by shard and key. So
//! batches wait for each other and never in a circle.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tokio_postgres::Row as PgRow;

use super::{
    decide::OpenTask,
    job::{Claiming, Job, Standing, What, claim_of, follows, home},
    line::{Answer, Line, Pipeline, Trouble},
    rows::{aggregate_key, key_bytes, row_of, status_named},
    shard_of, sql,
    value::{Uuid, Value},
};
use crate::{
    model::{AggregateKey, Millis, Status, TransactionId},
    store::{
        StoreError,
        effects::{ClaimKey, Row, corrupt},
    },
};

/// The head of a chain as a lane believes it to be.
pub(super) struct Head<'a> {
    pub(super) shard: i32,
    pub(super) chain: &'a str,
    pub(super) sequence: u64,
    pub(super) fence: i64,
}

/// Why a batch could not be locked.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotLocked {
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// Another process writes this chain.
    #[error("another process writes the chain")]
    Fenced,
    #[error(transparent)]
    Data(#[from] StoreError),
}

/// What a batch found and holds.
#[derive(Default)]
pub(super) struct Locked {
    /// Claims that stood there before this batch. Those that are missing were made
    /// by it.
    pub(super) standing: HashMap<(i32, ClaimKey), Standing>,
    pub(super) last_steps: HashMap<TransactionId, (u32, Status)>,
    pub(super) aggregates: HashMap<AggregateKey, Row>,
    /// Places that were taken for aggregates that do not exist.
    pub(super) held: BTreeSet<(i32, Vec<u8>)>,
}

/// What the jobs of a batch name in one shard.
#[derive(Default)]
pub(super) struct Wanted {
    claims: BTreeMap<ClaimKey, Claiming>,
    transactions: BTreeSet<[u8; 16]>,
    keys: BTreeSet<Vec<u8>>,
}

/// What the jobs of a batch name, by shard.
pub(super) fn wanted(jobs: &[Job], lane_shard: i32, shards: u16) -> BTreeMap<i32, Wanted> {
    let mut wanted = BTreeMap::<i32, Wanted>::new();
    for job in jobs {
        match &job.what {
            What::Claim(claiming) => {
                wanted.entry(lane_shard).or_default().claims.entry(claiming.key).or_insert(*claiming);
            }
            What::Unit { unit, claim_shard } => {
                if let Some((key, fingerprint)) = claim_of(unit) {
                    let claiming = Claiming {
                        key,
                        fingerprint,
                        unit_shard: *claim_shard,
                        transaction: unit.transaction,
                    };
                    wanted.entry(*claim_shard).or_default().claims.entry(key).or_insert(claiming);
                }
                if follows(unit) {
                    let here = wanted.entry(home(unit, shards)).or_default();
                    here.transactions.insert(*unit.transaction.as_bytes());
                }
                for key in &unit.touches {
                    let there = wanted.entry(shard_of(key.slot(), shards)).or_default();
                    there.keys.insert(key_bytes(key));
                }
            }
        }
    }
    wanted
}

/// Begins the transaction of a batch and locks what its jobs name.
pub(super) async fn lock(
    line: &Line,
    head: &Head<'_>,
    wanted: &BTreeMap<i32, Wanted>,
    now: Millis,
) -> Result<Locked, NotLocked> {
    let mut pipeline = line.pipeline();
    pipeline.say("BEGIN");
    pipeline.send(sql::LOCK_WRITER.on(head.shard, [Value::from(head.chain)])).await?;
    let mut asked = Vec::new();
    for (shard, wanted) in wanted {
        for insert in sql::ADD_CLAIMS.on(*shard, claim_rows(wanted, now)) {
            asked.push(Asked::Claims(*shard));
            pipeline.send(insert).await?;
        }
    }
    for (shard, wanted) in wanted {
        send_rest(&mut pipeline, &mut asked, *shard, wanted).await?;
    }
    let mut answers = pipeline.finish().await?.into_iter().skip(1);
    check_fence(answers.next(), head)?;

    let mut locked = Locked::default();
    let mut made = BTreeSet::new();
    for (asked, answer) in asked.into_iter().zip(answers) {
        match asked {
            Asked::Claims(shard) => {
                made.extend(answer.rows.iter().map(|row| (shard, row.get::<_, Vec<u8>>(0))));
            }
            Asked::Locks => {}
            Asked::LastSteps => last_steps(&answer.rows, &mut locked)?,
            Asked::Aggregates => aggregates(&answer.rows, &mut locked)?,
        }
    }
    earlier_claims(line, wanted, &made, &mut locked).await?;
    hold_missing(line, wanted, &mut locked).await?;
    Ok(locked)
}

/// Locks tasks of other transactions that a batch is to change; those of them that
/// are open. Which these are shows only when the units have been decided.
pub(super) async fn open_tasks(
    line: &Line,
    needed: impl Iterator<Item = &OpenTask>,
    shards: u16,
) -> Result<HashSet<OpenTask>, Trouble> {
    let mut by_shard = BTreeMap::<i32, BTreeSet<[u8; 16]>>::new();
    for (transaction, _) in needed {
        by_shard.entry(shard_of(transaction.shard(), shards)).or_default().insert(*transaction.as_bytes());
    }
    let mut open = HashSet::new();
    for (shard, transactions) in by_shard {
        let ids = Value::Uuids(transactions.into_iter().collect());
        for row in line.ask(sql::LOCK_TASKS.on(shard, [ids])).await? {
            let Uuid(transaction) = row.get(0);
            open.insert((TransactionId::from_bytes(transaction), row.get(1)));
        }
    }
    Ok(open)
}

/// What an answer of the pipeline is about.
enum Asked {
    Claims(i32),
    Locks,
    LastSteps,
    Aggregates,
}

async fn send_rest(
    pipeline: &mut Pipeline<'_>,
    asked: &mut Vec<Asked>,
    shard: i32,
    wanted: &Wanted,
) -> Result<(), Trouble> {
    if !wanted.transactions.is_empty() {
        let ids = Value::Uuids(wanted.transactions.iter().copied().collect());
        asked.push(Asked::Locks);
        pipeline.send(sql::LOCK_TRANSACTIONS.on(shard, [ids.clone()])).await?;
        // A statement of its own: it sees what was committed while the lock was
        // waited for.
        asked.push(Asked::LastSteps);
        pipeline.send(sql::LAST_STEPS.on(shard, [ids])).await?;
    }
    if !wanted.keys.is_empty() {
        let keys = Value::ManyBytes(wanted.keys.iter().cloned().collect());
        asked.push(Asked::Aggregates);
        pipeline.send(sql::LOCK_AGGREGATES.on(shard, [keys])).await?;
    }
    Ok(())
}

fn claim_rows(wanted: &Wanted, now: Millis) -> Vec<Value> {
    let rows = wanted.claims.values().flat_map(|claiming| {
        [
            Value::from(claiming.key.as_slice()),
            Value::from(claiming.fingerprint.as_slice()),
            Value::Int(claiming.unit_shard),
            Value::Uuid(*claiming.transaction.as_bytes()),
            Value::Int(0),
            Value::At(now),
        ]
    });
    rows.collect()
}

fn check_fence(answer: Option<Answer>, head: &Head<'_>) -> Result<(), NotLocked> {
    let row = answer.as_ref().and_then(|answer| answer.rows.first()).ok_or(NotLocked::Fenced)?;
    let (sequence, fence): (i64, i64) = (row.get(0), row.get(1));
    match fence == head.fence && u64::try_from(sequence) == Ok(head.sequence) {
        true => Ok(()),
        false => Err(NotLocked::Fenced),
    }
}

fn last_steps(rows: &[PgRow], locked: &mut Locked) -> Result<(), StoreError> {
    for row in rows {
        let (Uuid(transaction), step): (Uuid, i32) = (row.get(0), row.get(1));
        let step = u32::try_from(step).map_err(|_| corrupt("a negative step"))?;
        let status = status_named(row.get(2))?;
        locked.last_steps.insert(TransactionId::from_bytes(transaction), (step, status));
    }
    Ok(())
}

fn aggregates(rows: &[PgRow], locked: &mut Locked) -> Result<(), StoreError> {
    for row in rows {
        locked.aggregates.insert(aggregate_key(row.get(0))?, row_of(row)?);
    }
    Ok(())
}

/// Reads the claims that this batch could not make because they stand there.
async fn earlier_claims(
    line: &Line,
    wanted: &BTreeMap<i32, Wanted>,
    made: &BTreeSet<(i32, Vec<u8>)>,
    locked: &mut Locked,
) -> Result<(), NotLocked> {
    for (shard, wanted) in wanted {
        let earlier: Vec<_> = wanted
            .claims
            .keys()
            .map(|key| key.to_vec())
            .filter(|key| !made.contains(&(*shard, key.clone())))
            .collect();
        if earlier.is_empty() {
            continue;
        }
        for row in line.ask(sql::CLAIMS.on(*shard, [Value::ManyBytes(earlier)])).await? {
            let (key, fingerprint): (Vec<u8>, Vec<u8>) = (row.get(0), row.get(1));
            let key = key.try_into().map_err(|_| corrupt("a claim of another length"))?;
            let fingerprint =
                fingerprint.try_into().map_err(|_| corrupt("a fingerprint of another length"))?;
            let Uuid(transaction) = row.get(3);
            let transaction = TransactionId::from_bytes(transaction);
            let step: i32 = row.get(4);
            let step = u32::try_from(step).map_err(|_| corrupt("a negative step"))?;
            let standing = Standing { fingerprint, unit_shard: row.get(2), transaction, step };
            locked.standing.insert((*shard, key), standing);
        }
    }
    Ok(())
}

/// Takes the places of aggregates that do not exist, so that no other node makes
/// them meanwhile. Who was faster has them locked until it is done; then they are
/// there.
async fn hold_missing(
    line: &Line,
    wanted: &BTreeMap<i32, Wanted>,
    locked: &mut Locked,
) -> Result<(), NotLocked> {
    for (shard, wanted) in wanted {
        let mut missing = BTreeSet::new();
        for key in &wanted.keys {
            if !locked.aggregates.contains_key(&aggregate_key(key)?) {
                missing.insert(key.clone());
            }
        }
        // Twice only where somebody made and deleted one in between.
        while !missing.is_empty() {
            let rows = missing.iter().flat_map(|key| {
                [Value::from(key.as_slice()), Value::Big(0), Value::Int(0), Value::from([].as_slice())]
            });
            let mut pipeline = line.pipeline();
            for insert in sql::HOLD_AGGREGATES.on(*shard, rows.collect()) {
                pipeline.send(insert).await?;
            }
            for row in pipeline.finish().await?.iter().flat_map(|answer| &answer.rows) {
                let key: Vec<u8> = row.get(0);
                missing.remove(&key);
                locked.held.insert((*shard, key));
            }
            if !missing.is_empty() {
                let keys = Value::ManyBytes(missing.iter().cloned().collect());
                let rows = line.ask(sql::LOCK_AGGREGATES.on(*shard, [keys])).await?;
                aggregates(&rows, locked)?;
                for row in &rows {
                    missing.remove(&row.get::<_, Vec<u8>>(0));
                }
            }
        }
    }
    Ok(())
}
