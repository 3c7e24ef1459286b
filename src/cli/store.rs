//! `onecard store …`: copies of a store, made while its gateway runs, and stores
//! made from them.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{
    journal::{self, KeyFrom},
    load,
};
use crate::{
    model::SystemClock,
    store::{Restored, Until, archive, backup, restore},
};

/// Copy a store while its gateway runs, and put copies back
#[derive(Debug, Args)]
pub struct StoreArgs {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Copy journal and holder keys; the same folder again is brought up to date
    Backup(Backup),
    /// Move closed segments to the archive, packed; a gateway does it by itself when
    /// `archive_dir` is configured
    Archive(Archive),
    /// Make a store from a copy, as of any point in time
    Restore(Restore),
}

#[derive(Debug, Args)]
struct Backup {
    /// The region's folder of the configuration, for example config/tianjin
    #[arg(long, required_unless_present = "store")]
    config: Option<PathBuf>,
    /// The store's folder, for example .onecard/tianjin
    #[arg(long, conflicts_with = "config")]
    store: Option<PathBuf>,
    /// The folder of the copy; on another machine at best, and as secret as the
    /// store
    #[arg(long)]
    to: PathBuf,
}

#[derive(Debug, Args)]
struct Archive {
    /// The store's folder, for example .onecard/tianjin
    #[arg(long)]
    store: PathBuf,
    /// The archive's folder
    #[arg(long)]
    to: PathBuf,
    /// Segments that stay; at least 2
    #[arg(long, default_value_t = 16)]
    keep: usize,
}

#[derive(Debug, Args)]
struct Restore {
    /// The folder of the copy
    #[arg(long)]
    from: PathBuf,
    /// The store's folder to make; empty, or without journal and holder keys
    #[arg(long)]
    to: PathBuf,
    /// Up to this batch (1234), or to the last one committed by this time: a
    /// business date (2026-09-21: its beginning in Shanghai) or an instant
    /// (2026-09-21T08:00:00+08:00). Without it, everything
    #[arg(long, value_parser = until)]
    until: Option<Until>,
    /// A newer list of erased holders: the file holder-keys/erased of the store that
    /// is replaced, or of a later copy. May be given again
    #[arg(long)]
    erased: Vec<PathBuf>,
    /// With a key, every signature is checked too
    #[command(flatten)]
    key: KeyFrom,
}

/// Runs it.
///
/// # Errors
/// When something cannot be read or written, or is not what it should be.
pub fn run(args: &StoreArgs) -> anyhow::Result<()> {
    match &args.act {
        Act::Backup(act) => act.run(),
        Act::Archive(act) => act.run(),
        Act::Restore(act) => act.run(),
    }
}

impl Backup {
    fn run(&self) -> anyhow::Result<()> {
        let store = match (&self.store, &self.config) {
            (Some(store), _) => store.clone(),
            (None, Some(config)) => load::load(config)?.file.store.dir,
            (None, None) => anyhow::bail!("give --config or --store"),
        };
        anyhow::ensure!(store.join("journal").is_dir(), "`{}` holds no store", store.display());
        let report = backup(&store, &self.to).context("the store was not copied")?;
        println!(
            "copy       {}\nbatches    to {}\nsegments   {} copied, {} were there\nbytes      {}\nholders    {} keys, {} erased\nread back, and it holds / 已回读核对",
            self.to.display(),
            report.last_sequence,
            report.segments_copied,
            report.segments_kept,
            report.bytes_copied,
            report.holder_slots,
            report.erased,
        );
        Ok(())
    }
}

impl Archive {
    fn run(&self) -> anyhow::Result<()> {
        let journal = self.store.join("journal");
        anyhow::ensure!(journal.is_dir(), "`{}` holds no store", self.store.display());
        let report = archive(&journal, &self.to, self.keep).context("not everything was archived")?;
        println!(
            "archive    {}\nsegments   {} moved\nbytes      {} in {}",
            self.to.display(),
            report.segments,
            report.bytes,
            report.packed_bytes,
        );
        Ok(())
    }
}

impl Restore {
    fn run(&self) -> anyhow::Result<()> {
        let until = self.until.unwrap_or(Until::End);
        let asked = Restored { from: &self.from, to: &self.to, until, erased: &self.erased };
        let report = match self.key.key()? {
            None => restore(&asked, &SystemClock, None),
            Some(key) => {
                let check = |message: &[u8], signature: &[u8; 64]| key.verify(message, signature).is_ok();
                restore(&asked, &SystemClock, Some(&check))
            }
        }
        .context("the copy was not put back")?;
        println!(
            "store      {}\nbatches    to {}, committed {}\nepoch      {}: the chain goes on in it\nentries    {}, ledger sum {} fen\nholders    {} keys, {} erased\nchain intact",
            self.to.display(),
            report.last_sequence,
            journal::instant(report.committed_at_ms),
            report.epoch,
            report.verified.entries,
            report.verified.ledger.sum_fen(),
            report.holder_slots,
            report.erased,
        );
        if self.erased.is_empty() {
            println!(
                "note       holders erased after the copy was made have their keys again: give --erased with the newest list, before the gateway starts / 备份后被清除的持卡人密钥可能已恢复，请用 --erased 指定最新名单"
            );
        }
        Ok(())
    }
}

fn until(text: &str) -> Result<Until, String> {
    match text.parse::<u64>() {
        Ok(sequence) => Ok(Until::Sequence(sequence)),
        Err(_) => journal::parse_instant(text).map(Until::Time),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        store: StoreArgs,
    }

    #[test]
    fn a_store_is_named_once_and_points_in_time_are_read() {
        Line::command().debug_assert();
        for (line, understood) in [
            ("store backup --store .onecard/beijing --to copy", true),
            ("store backup --config config/beijing --to copy", true),
            ("store backup --to copy", false),
            ("store backup --store a --config b --to copy", false),
            ("store restore --from copy --to new", true),
            ("store restore --from copy --to new --until 17 --erased a --erased b", true),
            ("store restore --from copy --to new --until soon", false),
        ] {
            assert_eq!(Line::try_parse_from(line.split(' ')).is_ok(), understood, "{line}");
        }
        assert_eq!(until("17"), Ok(Until::Sequence(17)));
        assert_eq!(until("1970-01-01T00:00:01Z"), Ok(Until::Time(1_000)));
    }
}
