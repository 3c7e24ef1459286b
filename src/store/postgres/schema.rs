//! The schema: made and brought up to date at start, under a lock, so that nodes
//! may start together. A migration that was applied must stay as it was.

use tokio_postgres::Client;

use super::line::{Line, Trouble};
use crate::crypto::sm3;

/// A step of the schema.
struct Migration {
    number: i32,
    name: &'static str,
    text: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "tables", text: include_str!("migrations/0001_tables.sql") },
    Migration { number: 2, name: "views", text: include_str!("migrations/0002_views.sql") },
    Migration { number: 3, name: "entry holders", text: include_str!("migrations/0003_entry_holders.sql") },
];

/// Guards the migrations; a number of our own choice.
const LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(7203316521)";

/// What the schema itself needs.
const GROUND: &str = "CREATE SCHEMA IF NOT EXISTS onecard;
    CREATE TABLE IF NOT EXISTS onecard.migrations (
        number integer PRIMARY KEY, name text NOT NULL, digest bytea NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE IF NOT EXISTS onecard.settings (name text PRIMARY KEY, value text NOT NULL);
    COMMENT ON TABLE onecard.migrations IS 'Which steps of the schema this database has.';
    COMMENT ON TABLE onecard.settings IS 'What was chosen when the database was made.'";

/// Why the schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the database cannot be reached or refused: {0}")]
    Database(String),
    /// A newer program has been here.
    #[error("the database has migration {0}, which this program does not know; run a newer one")]
    Newer(i32),
    #[error("migration {number} ({name}) was applied with another text than this program has")]
    Changed { number: i32, name: &'static str },
    #[error("the database belongs to region {found}, not to {wanted}")]
    OtherRegion { found: String, wanted: u32 },
    /// Acknowledged would not be durable.
    #[error("the server runs with {0} = off: what it acknowledges can be lost")]
    NotDurable(&'static str),
    #[error("the database has no create_distributed_table: the extension citus is not there")]
    NoCitus,
    #[error("the setting {0} cannot be read")]
    Setting(&'static str),
}

impl From<Trouble> for SchemaError {
    fn from(trouble: Trouble) -> Self {
        SchemaError::Database(trouble.to_string())
    }
}

impl From<tokio_postgres::Error> for SchemaError {
    fn from(error: tokio_postgres::Error) -> Self {
        Trouble::from(error).into()
    }
}

/// What is fixed for a database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixture {
    pub(super) shards: u16,
}

/// Brings the schema up to date and answers with what is fixed in it. `shards` and
/// `region` are written into a database that has none yet.
pub(super) async fn migrate(line: &Line, region: u32, shards: u16) -> Result<Fixture, SchemaError> {
    let client = line.client();
    for setting in ["fsync", "full_page_writes"] {
        let row = client.query_one(&format!("SHOW {setting}"), &[]).await?;
        if row.get::<_, String>(0) != "on" {
            return Err(SchemaError::NotDurable(setting));
        }
    }
    client
        .batch_execute("BEGIN; SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = '600s'")
        .await?;
    let migrated = within(client, region, shards).await;
    match &migrated {
        Ok(_) => client.batch_execute("COMMIT").await?,
        Err(_) => line.roll_back().await?,
    }
    migrated
}

/// The tables that lie by shard, in the order in which they are distributed; the
/// others are placed where the first one is.
const SHARDED: &[&str] = &[
    "entries",
    "entry_holders",
    "claims",
    "aggregates",
    "postings",
    "tasks",
    "batches",
    "writers",
    "holder_keys",
];
/// Small tables that every server has whole.
const EVERYWHERE: &[&str] = &["settings", "migrations"];

/// Distributes the tables over a Citus cluster, in one transaction.
pub(super) async fn distribute(line: &Line) -> Result<Vec<String>, SchemaError> {
    let client = line.client();
    let there =
        client.query_one("SELECT to_regproc('pg_catalog.create_distributed_table') IS NOT NULL", &[]).await?;
    if !there.get::<_, bool>(0) {
        return Err(SchemaError::NoCitus);
    }
    client.batch_execute("BEGIN; SET LOCAL statement_timeout = 0").await?;
    let distributed = distribute_all(client).await;
    match &distributed {
        Ok(_) => client.batch_execute("COMMIT").await?,
        Err(_) => line.roll_back().await?,
    }
    distributed
}

async fn distribute_all(client: &Client) -> Result<Vec<String>, SchemaError> {
    let mut done = Vec::new();
    for table in SHARDED {
        let with = if done.is_empty() { "none" } else { "onecard.entries" };
        let table = format!("onecard.{table}");
        client
            .batch_execute(&format!(
                "SELECT pg_catalog.create_distributed_table('{table}', 'shard', colocate_with => '{with}')"
            ))
            .await?;
        done.push(table);
    }
    for table in EVERYWHERE {
        let table = format!("onecard.{table}");
        client.batch_execute(&format!("SELECT pg_catalog.create_reference_table('{table}')")).await?;
        done.push(table);
    }
    Ok(done)
}

async fn within(client: &Client, region: u32, shards: u16) -> Result<Fixture, SchemaError> {
    client.batch_execute(LOCK).await?;
    client.batch_execute(GROUND).await?;
    let applied = client.query("SELECT number, digest FROM onecard.migrations ORDER BY number", &[]).await?;
    for row in &applied {
        let number: i32 = row.get(0);
        let known = MIGRATIONS.iter().find(|migration| migration.number == number);
        let known = known.ok_or(SchemaError::Newer(number))?;
        if row.get::<_, Vec<u8>>(1) != digest(known) {
            return Err(SchemaError::Changed { number, name: known.name });
        }
    }
    for migration in MIGRATIONS {
        if applied.iter().any(|row| row.get::<_, i32>(0) == migration.number) {
            continue;
        }
        client.batch_execute(migration.text).await?;
        client
            .execute(
                "INSERT INTO onecard.migrations (number, name, digest) VALUES ($1, $2, $3)",
                &[&migration.number, &migration.name, &digest(migration)],
            )
            .await?;
        tracing::info!(number = migration.number, name = migration.name, "the schema was brought up to date");
    }
    for (name, value) in [("region", region.to_string()), ("shards", shards.to_string())] {
        let put = "INSERT INTO onecard.settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        client.execute(put, &[&name, &value]).await?;
    }
    let found = setting(client, "region").await?;
    if found != region.to_string() {
        return Err(SchemaError::OtherRegion { found, wanted: region });
    }
    let shards = setting(client, "shards").await?.parse().map_err(|_| SchemaError::Setting("shards"))?;
    Ok(Fixture { shards })
}

async fn setting(client: &Client, name: &'static str) -> Result<String, SchemaError> {
    let row = client.query_opt("SELECT value FROM onecard.settings WHERE name = $1", &[&name]).await?;
    row.map(|row| row.get(0)).ok_or(SchemaError::Setting(name))
}

fn digest(migration: &Migration) -> Vec<u8> {
    sm3(&[migration.text.as_bytes()]).to_vec()
}
