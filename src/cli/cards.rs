//! `onecard cards …`: the issuer's side of a region's register, with its gateway
//! stopped.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{load, open, options::StoreEngine};
use crate::{
    gateway::{Gateway, ImportReport},
    limits,
    model::SystemClock,
};

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
        let cannot_read = || format!("cannot read {}", self.file.display());
        let file = File::open(&self.file).with_context(cannot_read)?;
        let mut loaded = load::load(&self.config)?;
        if loaded.file.store.engine == StoreEngine::Postgres {
            // A chain has one writer: the node may well be running.
            loaded.file.region.node.push_str("-import");
        }
        let opened = open::open(loaded, Arc::new(SystemClock)).await?;
        let imported = import_all(&opened.gateway, BufReader::new(file)).await;
        // Whatever came of it: what was taken is to be indexed and signed.
        opened.store.close().await;
        let report = imported.context("the import stopped; what was taken stands")?;
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

/// Imports piece by piece: a region's register is larger than memory.
async fn import_all(gateway: &Gateway, mut file: impl BufRead) -> anyhow::Result<ImportReport> {
    let (mut report, mut before) = (ImportReport::default(), 0);
    loop {
        let (lines, count) = next_lines(&mut file, limits::IMPORT_LINES_AT_ONCE)?;
        if count == 0 {
            return Ok(report);
        }
        let imported = gateway.import_cards(&lines).await;
        report.add(before, imported.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?);
        before += count;
    }
}

/// At most so many lines, and how many they are.
fn next_lines(file: &mut impl BufRead, most: usize) -> io::Result<(String, usize)> {
    let (mut lines, mut count) = (String::new(), 0);
    while count < most && file.read_line(&mut lines)? > 0 {
        count += 1;
    }
    Ok((lines, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_in_pieces_of_whole_lines() {
        let mut file = "one\n\nthree\nfour".as_bytes();
        let mut pieces = Vec::new();
        loop {
            let (lines, count) = next_lines(&mut file, 2).expect("text");
            if count == 0 {
                break;
            }
            pieces.push((lines, count));
        }
        assert_eq!(pieces, [("one\n\n".to_owned(), 2), ("three\nfour".to_owned(), 2)]);
    }
}
