//! The check of a whole database: every chain is unbroken and signed, every entry
//! is the one that was hashed, and the columns for people repeat it.
//!
//! Reads in one snapshot, so gateways may go on writing.

use std::{collections::BTreeMap, pin::pin};

use futures_util::TryStreamExt as _;
use prost::Message as _;
use tokio_postgres::{Client, Row as PgRow};

use super::{PostgresOpenError, line::Line, schema::SchemaError, value::Uuid};
use crate::{
    crypto::Digest32,
    model::{Millis, Status, record},
    store::{
        Tree,
        chain::{batch_hash, leaf_hash, signed_bytes},
        verify::CheckSignature,
    },
};

/// What a database that holds consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseReport {
    pub chains: u64,
    pub batches: u64,
    pub entries: u64,
    pub postings: u64,
    /// Signatures that were checked with the key.
    pub signatures_checked: u64,
}

/// Why a database does not hold, or could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseBroken {
    #[error("{place}: {what}")]
    Broken { place: String, what: String },
    #[error(transparent)]
    Unreadable(#[from] PostgresOpenError),
}

impl From<tokio_postgres::Error> for DatabaseBroken {
    fn from(error: tokio_postgres::Error) -> Self {
        DatabaseBroken::Unreadable(SchemaError::from(error).into())
    }
}

/// Slow reads of everything; nothing of it is on the way of a request.
const SNAPSHOT: &str = "SET statement_timeout = 0; SET enable_seqscan = on; \
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const BATCHES: &str = "SELECT chain, epoch, sequence, header, leaves, signature FROM onecard.batches \
    ORDER BY chain, epoch, sequence";
const HEADS: &str = "SELECT chain, epoch, sequence, hash FROM onecard.writers";
const ENTRIES: &str = "SELECT e.transaction_id, e.step, e.status, e.participant, e.public_part, \
    e.sealed_part, substring(b.leaves FROM e.place * 32 + 1 FOR 32) FROM onecard.entries AS e \
    LEFT JOIN onecard.batches AS b ON b.shard = e.batch_shard AND b.chain = e.chain \
    AND b.epoch = e.epoch AND b.sequence = e.sequence";
const POSTINGS: &str =
    "SELECT account, sum(amount_fen)::bigint, count(*) FROM onecard.postings GROUP BY account";

/// Sum and number of an account's postings.
type Accounts = BTreeMap<String, (i64, i64)>;

pub(super) async fn verify(
    line: &Line,
    signature: Option<CheckSignature<'_>>,
) -> Result<DatabaseReport, DatabaseBroken> {
    let client = line.client();
    client.batch_execute(SNAPSHOT).await?;
    let mut report = DatabaseReport::default();
    let (heads, hashed) = batches(client, signature, &mut report).await?;
    known_heads(client, &heads).await?;
    let accounts = entries(client, &mut report).await?;
    if report.entries != hashed {
        return Err(broken("entries", format!("{} are there, {hashed} were hashed", report.entries)));
    }
    postings(client, &accounts, &mut report).await?;
    client.batch_execute("COMMIT").await?;
    Ok(report)
}

fn broken(place: impl Into<String>, what: impl Into<String>) -> DatabaseBroken {
    DatabaseBroken::Broken { place: place.into(), what: what.into() }
}

/// The end of a chain so far.
struct End {
    sequence: i64,
    hash: Digest32,
    committed_at: Millis,
}

/// Walks every chain; answers with their ends and the entries under their roots.
async fn batches(
    client: &Client,
    signature: Option<CheckSignature<'_>>,
    report: &mut DatabaseReport,
) -> Result<(BTreeMap<(String, i64), End>, u64), DatabaseBroken> {
    let none: [&str; 0] = [];
    let mut rows = pin!(client.query_raw(BATCHES, none).await?);
    let (mut ends, mut hashed) = (BTreeMap::<(String, i64), End>::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let (chain, epoch, sequence): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let place = format!("chain {chain}, epoch {epoch}, batch {sequence}");
        let before = ends.get(&(chain.clone(), epoch));
        let (end, count) = batch(&row, &place, sequence, before, signature)?;
        report.batches += 1;
        report.signatures_checked += u64::from(signature.is_some());
        hashed += u64::from(count);
        ends.insert((chain, epoch), end);
    }
    report.chains = ends.len() as u64;
    Ok((ends, hashed))
}

/// Checks one batch against the one before; answers with the new end and the
/// entries under its root.
fn batch(
    row: &PgRow,
    place: &str,
    sequence: i64,
    before: Option<&End>,
    signature: Option<CheckSignature<'_>>,
) -> Result<(End, u32), DatabaseBroken> {
    let (bytes, leaves, signed): (Vec<u8>, Vec<u8>, Vec<u8>) = (row.get(3), row.get(4), row.get(5));
    let header = record::BatchHeader::decode(bytes.as_slice())
        .map_err(|_| broken(place, "the header cannot be decoded"))?;
    let (expected, previous, earliest) =
        before.map_or((1, [0; 32], Millis::MIN), |end| (end.sequence + 1, end.hash, end.committed_at));
    if sequence != expected || i64::try_from(header.sequence) != Ok(sequence) {
        return Err(broken(place, format!("batch {expected} should stand here")));
    }
    if header.previous != previous {
        return Err(broken(place, "it does not continue the batch before"));
    }
    if header.committed_at_ms < earliest {
        return Err(broken(place, "the time of commitment goes backwards"));
    }
    let (leaves, rest) = leaves.as_chunks::<32>();
    if !rest.is_empty() || leaves.len() != header.count as usize {
        return Err(broken(place, "it has another number of leaves than its header says"));
    }
    if Tree::over(leaves.to_vec()).root().as_slice() != header.root {
        return Err(broken(place, "the leaves are not those under the header's root"));
    }
    if let Some(check) = signature {
        let holds = signed.try_into().is_ok_and(|signed| check(&signed_bytes(&bytes), &signed));
        if !holds {
            return Err(broken(place, "the signature does not hold"));
        }
    }
    let end = End { sequence, hash: batch_hash(&bytes), committed_at: header.committed_at_ms };
    Ok((end, header.count))
}

/// The heads that writers go on from are the ends of their chains.
async fn known_heads(client: &Client, ends: &BTreeMap<(String, i64), End>) -> Result<(), DatabaseBroken> {
    for row in client.query(HEADS, &[]).await? {
        let (chain, epoch, sequence): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let hash: Vec<u8> = row.get(3);
        let end = ends.get(&(chain.clone(), epoch));
        let (last, head) = end.map_or((0, [0; 32]), |end| (end.sequence, end.hash));
        if sequence != last || hash != head {
            return Err(broken(
                format!("chain {chain}, epoch {epoch}"),
                format!("its writer was at batch {sequence}, it ends at {last}"),
            ));
        }
    }
    Ok(())
}

/// Checks every entry against its leaf and its columns; answers with what the
/// entries post.
async fn entries(client: &Client, report: &mut DatabaseReport) -> Result<Accounts, DatabaseBroken> {
    let none: [&str; 0] = [];
    let mut rows = pin!(client.query_raw(ENTRIES, none).await?);
    let mut accounts = Accounts::new();
    while let Some(row) = rows.try_next().await? {
        let (Uuid(transaction), step): (Uuid, i32) = (row.get(0), row.get(1));
        let place = format!("transaction {}, step {step}", hex::encode(transaction));
        let (status, participant): (String, String) = (row.get(2), row.get(3));
        let (public, sealed): (Vec<u8>, Vec<u8>) = (row.get(4), row.get(5));
        let leaf: Option<Vec<u8>> = row.get(6);
        if leaf.as_deref() != Some(&leaf_hash(&public, &sealed)[..]) {
            return Err(broken(place, "it is not the entry that was hashed"));
        }
        let entry =
            record::Entry::decode(public.as_slice()).map_err(|_| broken(&*place, "it cannot be decoded"))?;
        let repeats = entry.transaction_id == transaction
            && i64::from(entry.step) == i64::from(step)
            && Status::from_number(entry.status).is_some_and(|known| known.name() == status)
            && entry.participant == participant;
        if !repeats {
            return Err(broken(place, "its columns say something else than the entry"));
        }
        for posting in entry.postings {
            let (sum, count) = accounts.entry(posting.account).or_default();
            *sum += posting.amount_fen;
            *count += 1;
        }
        report.entries += 1;
    }
    Ok(accounts)
}

/// The postings of the table are those of the entries, and sum to zero.
async fn postings(
    client: &Client,
    accounts: &Accounts,
    report: &mut DatabaseReport,
) -> Result<(), DatabaseBroken> {
    let mut found = Accounts::new();
    for row in client.query(POSTINGS, &[]).await? {
        found.insert(row.get(0), (row.get(1), row.get(2)));
    }
    if let Some(account) =
        accounts.keys().chain(found.keys()).find(|name| accounts.get(*name) != found.get(*name))
    {
        return Err(broken(format!("account {account}"), "its postings are not those of the entries"));
    }
    report.postings = found.values().map(|(_, count)| u64::try_from(*count).unwrap_or(0)).sum();
    match found.values().map(|(sum, _)| i128::from(*sum)).sum::<i128>() {
        0 => Ok(()),
        sum => Err(broken("postings", format!("they sum to {sum} fen"))),
    }
}
