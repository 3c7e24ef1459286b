//! The baseline on PostgreSQL: what a good programmer writes who gives every request
//! a transaction of its own. So many pooled connections, each with prepared
//! statements in two pipelined round trips a request: claim the request and lock
//! what it is about, then write everything and commit.
//!
//! It is a client of the database and nothing more: it answers nobody, checks no MAC,
//! decides nothing, signs nothing and chains nothing. The rows it writes are those
//! that the gateway wrote before in this very run, byte for byte, under new ids; the
//! schema is the engine's.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use onecard::model::AggregateKind;
use tokio_postgres::{
    Client, NoTls, Row, Statement,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};
use uuid::Uuid;

use super::drive::{DatabaseCpu, Measured, histogram};
use crate::postgres::Database;

/// As durable as the engine, and planned as its statements are.
const SETTINGS: &str = "SET synchronous_commit = on; SET plan_cache_mode = force_generic_plan; \
    SET search_path = onecard, pg_catalog";

/// Taps of the gateway that are written again and again.
const SHAPES: i64 = 1_000;

const PROVINCE: u32 = 110_000;

/// A value as it is on the wire, whatever its type.
#[derive(Debug, Clone)]
struct Raw(Option<Bytes>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Raw(Some(Bytes::copy_from_slice(raw))))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Raw(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(bytes) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl Raw {
    fn of(bytes: &[u8]) -> Self {
        Raw(Some(Bytes::copy_from_slice(bytes)))
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// Rows of one table, each with all its columns.
#[derive(Debug, Clone)]
struct Table {
    name: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<Raw>>,
}

impl Table {
    async fn read(client: &Client, name: &'static str, rest: &str, of: &[&Raw]) -> anyhow::Result<Self> {
        let statement = client.prepare(&format!("SELECT * FROM {name} {rest}")).await?;
        let columns: Vec<_> = statement.columns().iter().map(|column| column.name().to_owned()).collect();
        let params: Vec<_> = of.iter().map(|raw| *raw as &(dyn ToSql + Sync)).collect();
        let row = |row: &Row| (0..columns.len()).map(|at| row.get(at)).collect();
        let rows = client.query(&statement, &params).await?.iter().map(row).collect();
        Ok(Table { name, columns, rows })
    }

    fn at(&self, column: &str) -> anyhow::Result<usize> {
        let at = self.columns.iter().position(|known| known == column);
        at.with_context(|| format!("{} has no column {column}", self.name))
    }

    /// The insert of so many rows.
    fn insert(&self, rows: usize) -> String {
        let width = self.columns.len();
        let row = |row: usize| {
            let params: Vec<_> = (1..=width).map(|at| format!("${}", row * width + at)).collect();
            format!("({})", params.join(", "))
        };
        let rows: Vec<_> = (0..rows).map(row).collect();
        format!("INSERT INTO {} ({}) VALUES {}", self.name, self.columns.join(", "), rows.join(", "))
    }
}

/// What one tap wrote, with the places where a new one has ids of its own.
#[derive(Debug, Clone)]
struct Shape {
    entry: Table,
    postings: Table,
    tasks: Table,
}

/// A card's rows: what a tap locks, the last one being what it writes.
#[derive(Debug, Clone)]
struct Card {
    keys: Vec<Raw>,
    file: Vec<Raw>,
}

/// The baseline with everything that it writes.
pub struct Plain {
    database: Database,
    shapes: Vec<Shape>,
    claims: Table,
    files: Table,
    cards: Vec<Card>,
}

impl Plain {
    /// Takes over what the gateway wrote into its database, in a new one beside it.
    ///
    /// # Errors
    /// When it wrote nothing, or a database does not answer.
    pub async fn like(gateway: &Database) -> anyhow::Result<Self> {
        let from = connect(gateway).await?;
        let last = format!("WHERE method = 'Tap' AND step = 0 ORDER BY sequence DESC LIMIT {SHAPES}");
        let entries = Table::read(&from, "entries", &last, &[]).await?;
        anyhow::ensure!(!entries.rows.is_empty(), "the gateway has written no taps");
        let (shard, id) = (entries.at("shard")?, entries.at("transaction_id")?);
        let mut shapes = Vec::with_capacity(entries.rows.len());
        for row in &entries.rows {
            let of = [&row[shard], &row[id]];
            let by_id = "WHERE shard = $1 AND transaction_id = $2";
            shapes.push(Shape {
                entry: Table { rows: vec![row.clone()], ..entries.clone() },
                postings: Table::read(&from, "postings", by_id, &of).await?,
                tasks: Table::read(&from, "tasks", by_id, &of).await?,
            });
        }
        let claims = Table::read(&from, "claims", "LIMIT 1", &[]).await?;
        let [transit, card] = [AggregateKind::Transit, AggregateKind::Card].map(AggregateKind::number);
        let kinds = format!("WHERE get_byte(key, 0) IN ({transit}, {card})");
        let files = Table::read(&from, "aggregates", &kinds, &[]).await?;
        let database = gateway.beside(PROVINCE).await?;
        let to = connect(&database).await?;
        let insert = to.prepare(&files.insert(1)).await?;
        to.batch_execute("BEGIN").await?;
        for row in &files.rows {
            to.execute(&insert, &borrowed(row)).await?;
        }
        to.batch_execute("COMMIT; ANALYZE").await?;
        let key = files.at("key")?;
        let has = |kind: u8, id: &[u8]| {
            files.rows.iter().map(|row| &row[key]).find(|found| found.bytes() == [&[kind], id].concat())
        };
        let cards = files.rows.iter().filter(|row| row[key].bytes().first() == Some(&transit)).map(|row| {
            let id = row[key].bytes().get(1..).unwrap_or_default();
            let keys = has(card, id).into_iter().chain([&row[key]]).cloned().collect();
            Card { keys, file: row.clone() }
        });
        let cards = cards.collect();
        Ok(Plain { database, shapes, claims, files, cards })
    }

    /// Measures so many connections that write one tap after the other.
    ///
    /// # Errors
    /// When the database does not answer.
    ///
    /// # Panics
    /// When a writer panics.
    pub async fn measure(
        &self,
        connections: usize,
        warm: Duration,
        length: Duration,
    ) -> anyhow::Result<Measured> {
        let mut writers = Vec::with_capacity(connections);
        for at in 0..connections {
            writers.push(self.writer(at, connections).await?);
        }
        let from = Instant::now() + warm;
        let until = from + length;
        let writers: Vec<_> =
            writers.into_iter().map(|writer| tokio::spawn(writer.write(from, until))).collect();
        tokio::time::sleep_until(from.into()).await;
        let cpu = DatabaseCpu::from_now(Some(self.database.pid()?))?;
        tokio::time::sleep_until(until.into()).await;
        let database_cpu = cpu.since()?;
        let (mut latency, mut first_error, mut errors) = (histogram(), None, 0);
        for writer in writers {
            let (seen, error) = writer.await?;
            latency.add(&seen).expect("all histograms have the same bounds");
            errors += u64::from(error.is_some());
            first_error = first_error.or(error);
        }
        Ok(Measured {
            answered: latency.len(),
            length,
            latency,
            cpu: Duration::ZERO,
            database_cpu,
            resident_mib: 0,
            errors,
            first_error,
            made_late: 0,
            sample: Bytes::new(),
            answer_bytes: 0,
        })
    }

    async fn writer(&self, at: usize, of: usize) -> anyhow::Result<Writer> {
        let client = connect(&self.database).await?;
        let shape = self.shapes.first().context("there are no shapes")?;
        let most = |count: fn(&Shape) -> usize| self.shapes.iter().map(count).max().unwrap_or(0);
        let mut postings = Vec::new();
        for rows in 1..=most(|shape| shape.postings.rows.len()) {
            postings.push(client.prepare(&shape.postings.insert(rows)).await?);
        }
        let mut tasks = Vec::new();
        for rows in 1..=most(|shape| shape.tasks.rows.len()) {
            tasks.push(client.prepare(&shape.tasks.insert(rows)).await?);
        }
        let claim =
            format!("{} ON CONFLICT (shard, claim) DO NOTHING RETURNING claim", self.claims.insert(1));
        let columns = &self.files.columns;
        let set =
            columns.iter().enumerate().filter(|(_, column)| !["shard", "key"].contains(&column.as_str()));
        let set: Vec<_> = set.map(|(at, column)| format!("{column} = ${}", at + 1)).collect();
        let (shard, key) = (self.files.at("shard")? + 1, self.files.at("key")? + 1);
        let put = format!("UPDATE aggregates SET {} WHERE shard = ${shard} AND key = ${key}", set.join(", "));
        let lock = "SELECT revision, schema_number, subject, bound, body FROM aggregates \
            WHERE shard = $1 AND key IN ($2, $3) ORDER BY key FOR UPDATE";
        let statements = Statements {
            claim: client.prepare(&claim).await?,
            lock: client.prepare(lock).await?,
            entry: client.prepare(&shape.entry.insert(1)).await?,
            put: client.prepare(&put).await?,
            postings,
            tasks,
        };
        let places = Places {
            claim: self.claims.at("claim")?,
            claim_transaction: self.claims.at("transaction_id")?,
            transaction: shape.entry.at("transaction_id")?,
            request: shape.entry.at("request_id")?,
            sealed: shape.entry.at("sealed_part")?,
            posting_transaction: shape.postings.at("transaction_id")?,
            task_transaction: shape.tasks.at("transaction_id")?,
            body: self.files.at("body")?,
        };
        // Each has cards of its own: nobody waits for another's row.
        let mine = |all: &[Card]| all.iter().skip(at).step_by(of).cloned().collect::<Vec<_>>();
        let shapes = self.shapes.iter().cycle().skip(at * self.shapes.len() / of).take(self.shapes.len());
        let claim = self.claims.rows.first().context("there are no claims")?.clone();
        Ok(Writer {
            client,
            statements,
            places,
            shapes: shapes.cloned().collect(),
            claim,
            cards: mine(&self.cards),
        })
    }
}

struct Statements {
    claim: Statement,
    lock: Statement,
    entry: Statement,
    put: Statement,
    /// Of one row, of two and so on.
    postings: Vec<Statement>,
    tasks: Vec<Statement>,
}

/// Columns that differ from tap to tap.
struct Places {
    claim: usize,
    claim_transaction: usize,
    transaction: usize,
    request: usize,
    sealed: usize,
    posting_transaction: usize,
    task_transaction: usize,
    body: usize,
}

/// One connection at work.
struct Writer {
    client: Client,
    statements: Statements,
    places: Places,
    shapes: Vec<Shape>,
    claim: Vec<Raw>,
    cards: Vec<Card>,
}

impl Writer {
    /// Writes until it is over; latencies within the stretch, and why it gave up.
    async fn write(
        mut self,
        from: Instant,
        until: Instant,
    ) -> (hdrhistogram::Histogram<u64>, Option<String>) {
        let mut latency = histogram();
        let mut taps = 0;
        while Instant::now() < until {
            let started = Instant::now();
            if let Err(error) = self.tap(taps).await {
                return (latency, Some(format!("{error:#}")));
            }
            let ended = Instant::now();
            if ended >= from && ended < until {
                let took = u64::try_from((ended - started).as_micros()).unwrap_or(u64::MAX);
                latency.saturating_record(took);
            }
            taps += 1;
        }
        (latency, None)
    }

    async fn tap(&mut self, number: usize) -> anyhow::Result<()> {
        let Writer { client, statements, places, shapes, claim, cards } = self;
        let nth = number % shapes.len();
        let shape = &mut shapes[nth];
        let nth = number % cards.len();
        let card = &mut cards[nth];
        // Grows with time, as the gateway's own ids do.
        let request = Uuid::now_v7();
        let transaction = Raw::of(&later(shape.entry.rows[0][places.transaction].bytes(), request));
        claim[places.claim] = Raw::of(&[&claim[places.claim].bytes()[..16], request.as_bytes()].concat());
        claim[places.claim_transaction] = transaction.clone();
        let entry = &mut shape.entry.rows[0];
        entry[places.transaction] = transaction.clone();
        entry[places.request] = Raw::of(request.as_bytes());
        for posting in &mut shape.postings.rows {
            posting[places.posting_transaction] = transaction.clone();
        }
        for task in &mut shape.tasks.rows {
            task[places.task_transaction] = transaction.clone();
        }
        card.file[places.body] = entry[places.sealed].clone();

        let key = card.keys.last().context("a card has a key")?;
        let keys: [&(dyn ToSql + Sync); 3] = [&0_i32, &card.keys[0], key];
        let claim_row = borrowed(claim);
        let (begun, claimed, locked) = tokio::join!(
            biased;
            client.batch_execute("BEGIN"),
            client.query(&statements.claim, &claim_row),
            client.query(&statements.lock, &keys),
        );
        begun?;
        anyhow::ensure!(claimed?.len() == 1, "a request was there before");
        anyhow::ensure!(locked?.len() == card.keys.len(), "a card is not there");

        let (entry_row, file_row) = (borrowed(entry), borrowed(&card.file));
        let (written, posted, asked, put, committed) = tokio::join!(
            biased;
            client.execute(&statements.entry, &entry_row),
            insert(client, &statements.postings, &shape.postings.rows),
            insert(client, &statements.tasks, &shape.tasks.rows),
            client.execute(&statements.put, &file_row),
            client.batch_execute("COMMIT"),
        );
        posted?;
        asked?;
        anyhow::ensure!(written? == 1 && put? == 1, "a row was not written");
        Ok(committed?)
    }
}

/// Inserts rows by the statement for their number; none needs no statement.
async fn insert(
    client: &Client,
    statements: &[Statement],
    rows: &[Vec<Raw>],
) -> Result<(), tokio_postgres::Error> {
    let Some(statement) = rows.len().checked_sub(1).and_then(|at| statements.get(at)) else { return Ok(()) };
    let params: Vec<_> = rows.iter().flatten().map(|raw| raw as &(dyn ToSql + Sync)).collect();
    client.execute(statement, &params).await.map(drop)
}

fn borrowed(row: &[Raw]) -> Vec<&(dyn ToSql + Sync)> {
    row.iter().map(|raw| raw as &(dyn ToSql + Sync)).collect()
}

/// A transaction id in the place of an earlier one: the same province and shard, the
/// time and the random bits of a new request.
fn later(transaction: &[u8], request: Uuid) -> [u8; 16] {
    let mut id = *request.as_bytes();
    id[4..10].copy_from_slice(&request.as_bytes()[..6]);
    id[..4].copy_from_slice(&transaction[..4]);
    id
}

async fn connect(database: &Database) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await?;
    // Ends when its client is dropped.
    tokio::spawn(connection);
    client.batch_execute(SETTINGS).await?;
    Ok(client)
}
