//! Rows of the tables: how entries, aggregates, postings and tasks are laid out,
//! and how they are read back.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use tokio_postgres::Row as PgRow;

use super::{
    shard_of,
    sql::{self, Request},
    value::{Uuid, Value},
};
use crate::{
    model::{AggregateKey, AggregateKind, Millis, Status, Stored, Subject, TransactionId, record},
    store::{
        StoreError,
        draft::Made,
        effects::{AggregateEffect, Row, SealedRow, corrupt},
        task_rows::{due_task, task_of},
    },
};

/// An aggregate's key as one column: the kind's number, then the id.
pub(super) fn key_bytes(key: &AggregateKey) -> Vec<u8> {
    [&[key.kind.number()], key.id.as_slice()].concat()
}

pub(super) fn aggregate_key(bytes: &[u8]) -> Result<AggregateKey, StoreError> {
    let (kind, id) = bytes.split_first().ok_or_else(|| corrupt("an aggregate without a key"))?;
    let kind = AggregateKind::from_number(u32::from(*kind));
    let kind = kind.ok_or_else(|| corrupt("an aggregate of an unknown kind"))?;
    Ok(AggregateKey { kind, id: id.into() })
}

/// Reads `key, revision, schema_number, subject, bound, body`. Revision 0 holds
/// the place of an aggregate that does not exist.
pub(super) fn row_of(row: &PgRow) -> Result<Row, StoreError> {
    let (revision, schema): (i64, i32) = (row.get(1), row.get(2));
    let (subject, bound): (Option<Uuid>, Option<Vec<u8>>) = (row.get(3), row.get(4));
    let body = Bytes::from(row.get::<_, Vec<u8>>(5));
    match (subject, bound) {
        (Some(Uuid(subject)), Some(bound)) => Ok(Row::Sealed(SealedRow {
            subject: Subject::from_bytes(subject),
            bound: bound.try_into().map_err(|_| corrupt("a sealed aggregate of another length"))?,
            sealed: body,
        })),
        _ if revision == 0 => Ok(Row::Deleted),
        _ => Ok(Row::Open(Stored {
            revision: u64::try_from(revision).map_err(|_| corrupt("a negative revision"))?,
            schema: u32::try_from(schema).map_err(|_| corrupt("a negative schema number"))?,
            body,
        })),
    }
}

/// Everything a batch inserts and deletes in one shard.
#[derive(Default)]
struct Changes {
    entries: Vec<Value>,
    entry_holders: Vec<Value>,
    postings: Vec<Value>,
    /// The last row of each.
    aggregates: BTreeMap<Vec<u8>, AggregateEffect>,
    tasks: BTreeMap<(TransactionId, String), record::Task>,
}

/// Where the entries of a batch stand.
pub(super) struct Place<'a> {
    pub(super) chain: &'a str,
    pub(super) epoch: i64,
    pub(super) sequence: u64,
    pub(super) batch_shard: i32,
    pub(super) committed_at: Millis,
    /// Days since 1970, Asia/Shanghai.
    pub(super) day: i64,
}

/// The statements that write the entries of a batch and what they change, shard
/// after shard.
pub(super) fn requests(made: &[Made], place: &Place<'_>, shards: u16) -> Vec<Request> {
    let mut changes = BTreeMap::<i32, Changes>::new();
    for (index, made) in made.iter().enumerate() {
        let shard = shard_of(made.effects.transaction.shard(), shards);
        let here = changes.entry(shard).or_default();
        here.entries.extend(entry_row(made, index, place));
        for holder in &made.entry.holders {
            here.entry_holders.extend(holder_row(made, holder, place));
        }
        for (line, posting) in made.entry.postings.iter().enumerate() {
            here.postings.extend(posting_row(made, line, posting, place));
        }
        for task in &made.effects.tasks {
            let of = task_of(made.effects.transaction, task);
            let there = changes.entry(shard_of(of.shard(), shards)).or_default();
            there.tasks.insert((of, task.kind.clone()), task.clone());
        }
        for aggregate in &made.effects.aggregates {
            let there = changes.entry(shard_of(aggregate.key.slot(), shards)).or_default();
            there.aggregates.insert(key_bytes(&aggregate.key), aggregate.clone());
        }
    }
    let mut requests = Vec::new();
    for (shard, changes) in changes {
        requests.extend(sql::ADD_ENTRIES.on(shard, changes.entries));
        requests.extend(sql::ADD_ENTRY_HOLDERS.on(shard, changes.entry_holders));
        requests.extend(sql::ADD_POSTINGS.on(shard, changes.postings));
        requests.extend(aggregate_requests(shard, changes.aggregates));
        requests.extend(task_requests(shard, changes.tasks));
    }
    requests
}

fn entry_row(made: &Made, index: usize, place: &Place<'_>) -> [Value; 23] {
    let (entry, effects) = (&made.entry, &made.effects);
    [
        Value::Uuid(*effects.transaction.as_bytes()),
        Value::step(effects.step),
        Value::from(place.chain),
        Value::Big(place.epoch),
        Value::count(place.sequence),
        Value::Int(i32::try_from(index).unwrap_or(i32::MAX)),
        Value::Int(place.batch_shard),
        Value::At(place.committed_at),
        Value::Day(place.day),
        Value::from(entry.participant.as_str()),
        Value::from(entry.terminal.as_str()),
        Value::from(entry.operator_id.as_str()),
        Value::Small(i16::try_from(entry.purpose).unwrap_or(0)),
        Value::from(entry.scene.as_str()),
        Value::from(entry.method.as_str()),
        Value::Name(effects.status.name()),
        Value::from(entry.reason.as_str()),
        Value::Small(i16::try_from(entry.assurance).unwrap_or(0)),
        Value::uuid_of(&entry.request_id),
        Value::uuid_of(&entry.subject),
        Value::uuid_of(&entry.pairwise_holder),
        Value::from(made.stored.public_part.as_slice()),
        Value::from(made.stored.sealed_part.as_slice()),
    ]
}

fn holder_row(made: &Made, holder: &record::EntryHolder, place: &Place<'_>) -> [Value; 6] {
    [
        Value::Uuid(*made.effects.transaction.as_bytes()),
        Value::step(made.effects.step),
        Value::uuid_of(&holder.subject),
        Value::uuid_of(&holder.pairwise_holder),
        Value::from(made.entry.scene.as_str()),
        Value::At(place.committed_at),
    ]
}

fn posting_row(made: &Made, line: usize, posting: &record::Posting, place: &Place<'_>) -> [Value; 7] {
    [
        Value::Uuid(*made.effects.transaction.as_bytes()),
        Value::step(made.effects.step),
        Value::Small(i16::try_from(line).unwrap_or(i16::MAX)),
        Value::from(posting.account.as_str()),
        Value::Big(posting.amount_fen),
        Value::Day(place.day),
        Value::At(place.committed_at),
    ]
}

fn aggregate_requests(shard: i32, aggregates: BTreeMap<Vec<u8>, AggregateEffect>) -> Vec<Request> {
    let (mut put, mut gone) = (Vec::new(), Vec::new());
    for (key, effect) in aggregates {
        match effect.row {
            Row::Deleted => gone.push(key),
            Row::Open(stored) => put.extend([
                Value::Bytes(key.into()),
                Value::count(stored.revision),
                Value::step(stored.schema),
                Value::Null,
                Value::Null,
                Value::Bytes(stored.body),
            ]),
            // Revision and schema stand in the sealed part.
            Row::Sealed(sealed) => put.extend([
                Value::Bytes(key.into()),
                Value::Big(0),
                Value::Int(0),
                Value::Uuid(*sealed.subject.as_bytes()),
                Value::from(sealed.bound.as_slice()),
                Value::Bytes(sealed.sealed),
            ]),
        }
    }
    let mut requests = sql::PUT_AGGREGATES.on(shard, put);
    if !gone.is_empty() {
        requests.push(sql::DROP_AGGREGATES.on(shard, [Value::ManyBytes(gone)]));
    }
    requests
}

fn task_requests(shard: i32, tasks: BTreeMap<(TransactionId, String), record::Task>) -> Vec<Request> {
    let (mut put, mut requests) = (Vec::new(), Vec::new());
    for ((transaction, kind), task) in tasks {
        let due = due_task(transaction, &task);
        let key = [Value::Uuid(*transaction.as_bytes()), Value::Text(kind)];
        if task.done {
            requests.push(sql::DROP_TASK.on(shard, key));
            continue;
        }
        let row = key.into_iter().chain([
            Value::At(due.due_at_ms),
            Value::Bytes(task.encode_to_vec().into()),
            Value::At(due.asked_at_ms),
            Value::Text(due.lane),
            Value::Big(due.tries.into()),
            Value::Text(due.last_error),
            Value::Flag(task.stuck),
        ]);
        if task.transaction_id.is_empty() {
            put.extend(row);
        } else {
            requests.push(sql::CHANGE_TASK.on(shard, row));
        }
    }
    requests.extend(sql::PUT_TASKS.on(shard, put));
    requests
}

/// A status as the column has it.
pub(super) fn status_named(name: &str) -> Result<Status, StoreError> {
    let known = (1..).map_while(Status::from_number).find(|status| status.name() == name);
    known.ok_or_else(|| corrupt("an entry with an unknown status"))
}
