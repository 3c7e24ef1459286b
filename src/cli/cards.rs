//! `onecard cards …`: the issuer's side of a region's register, with its gateway
//! stopped.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{load, open, options::StoreEngine};
use crate::model::SystemClock;

/// Care for the register of cards while its gateway is stopped
#[derive(Debug, Args)]
pub struct CardsArgs {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Take cards into the register; cards that are there are left as they are
    Import(Import),
}

#[derive(Debug, Args)]
struct Import {
    /// The region's folder of the configuration, for example config/tianjin
    #[arg(long)]
    config: PathBuf,
    /// JSON lines, a card each
    #[arg(long)]
    file: PathBuf,
}

/// Runs it.
///
/// # Errors
/// When the configuration is wrong, the store is in use, or a line is wrong; right
/// lines are taken all the same.
pub fn run(args: &CardsArgs) -> anyhow::Result<()> {
    match &args.act {
        Act::Import(import) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(import.run())
        }
    }
}

impl Import {
    async fn run(&self) -> anyhow::Result<()> {
        let lines =
            fs::read_to_string(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let mut loaded = load::load(&self.config)?;
        if loaded.file.store.engine == StoreEngine::Postgres {
            // A chain has one writer: the node may well be running.
            loaded.file.region.node.push_str("-import");
        }
        let opened = open::open(loaded, Arc::new(SystemClock)).await?;
        let imported = opened.gateway.import_cards(&lines).await;
        // Whatever came of it: what was taken is to be indexed and signed.
        opened.store.close().await;
        let report = imported.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
        println!(
            "导入 taken {}，已有 known {}，有误 wrong {}",
            report.taken,
            report.known,
            report.wrong.len()
        );
        for (line, violations) in &report.wrong {
            for violation in violations {
                eprintln!(
                    "{}:{line}: {}: {} / {}",
                    self.file.display(),
                    violation.field,
                    violation.zh,
                    violation.en
                );
            }
        }
        anyhow::ensure!(report.wrong.is_empty(), "{} lines are wrong", report.wrong.len());
        Ok(())
    }
}
