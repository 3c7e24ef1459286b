//! `onecard database`: acts on the store's database that no gateway does by itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{load, open, options::StoreEngine};
use crate::{
    crypto::Sm2PublicKey,
    store::{DatabaseReport, PostgresStore},
};

/// Care for the database behind gateways with the PostgreSQL engine.
#[derive(Debug, Args)]
pub struct DatabaseArgs {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Brings the schema up to date and says what the database is.
    Migrate(OfRegion),
    /// Distributes the tables by shard over a Citus cluster. Once, before the first
    /// gateway writes to it.
    Distribute(OfRegion),
    /// Checks that everything that was written is still what was written. Gateways
    /// may go on working.
    Verify(Verify),
}

/// Exit status 0 when everything holds, 1 otherwise.
#[derive(Debug, Args)]
struct Verify {
    #[command(flatten)]
    of: OfRegion,
    /// Public key of the journal, 04 then x then y in hexadecimal: also checks
    /// every signature.
    #[arg(long)]
    key: Option<String>,
}

#[derive(Debug, Args)]
struct OfRegion {
    /// The region's folder of the configuration, for example config/tianjin.
    #[arg(long)]
    config: PathBuf,
}

/// Runs it.
///
/// # Errors
/// When the configuration is wrong or has another engine, or the database refuses.
pub fn run(args: &DatabaseArgs) -> anyhow::Result<()> {
    let region = match &args.act {
        Act::Migrate(region) | Act::Distribute(region) => region,
        Act::Verify(verify) => &verify.of,
    };
    let loaded = load::load(&region.config)?;
    anyhow::ensure!(
        loaded.file.store.engine == StoreEngine::Postgres,
        "store.engine: this region keeps its store in a folder / 本地区使用内嵌存储"
    );
    let options = open::postgres_options(&loaded.file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &args.act {
        Act::Migrate(_) => {
            let shards = runtime.block_on(PostgresStore::migrate(&options))?;
            println!("数据库结构已是最新 / the schema is up to date: {shards} shard(s)");
        }
        Act::Distribute(_) => {
            let tables = runtime.block_on(PostgresStore::distribute(&options))?;
            println!("已按分片分布 / distributed by shard: {}", tables.join(", "));
        }
        Act::Verify(verify) => {
            let key = verify.key.as_deref().map(Sm2PublicKey::from_hex).transpose()?;
            let check = |message: &[u8], signature: &[u8; 64]| {
                key.as_ref().is_some_and(|key| key.verify(message, signature).is_ok())
            };
            let signature = key.is_some().then_some(&check as &dyn Fn(&[u8], &[u8; 64]) -> bool);
            let report = runtime.block_on(PostgresStore::verify(&options, signature))?;
            let DatabaseReport { chains, batches, entries, postings, signatures_checked } = report;
            println!("账本完好 / the journal holds");
            println!(
                "chains {chains}, batches {batches}, entries {entries}, postings {postings}, signatures checked {signatures_checked}"
            );
        }
    }
    Ok(())
}
