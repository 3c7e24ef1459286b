//! `onecard journal retain`: what the terms of retention have ended for.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::{Ended, damage, look};
use crate::{
    cli::{load, open},
    model::{Clock, SystemClock},
    store::Over,
};

/// A running gateway does this by itself, every `every_days`. Here it is done at once,
/// while the gateway is stopped; or, with `--dry-run`, counted at any time.
#[derive(Debug, Args)]
pub(super) struct Retain {
    /// The region's folder of the configuration, for example config/tianjin
    #[arg(long)]
    config: PathBuf,
    /// Only count what is over. What must stay because it holds the newest state of
    /// something is counted too: that cannot be told from outside
    #[arg(long)]
    dry_run: bool,
}

impl Retain {
    pub(super) fn run(&self) -> anyhow::Result<Ended> {
        let loaded = load::load(&self.config)?;
        let section = loaded.file.store.retention.as_ref().context(
            "store.retention: this section is missing, so everything is kept / 未配置 store.retention，全部保留",
        )?;
        let now = SystemClock.now_ms();
        let terms = section.terms().map_err(|wrong| {
            anyhow::anyhow!(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        if self.dry_run {
            return Ok(match look(&loaded.file.store.dir.join("journal"))?.over(&terms, now) {
                Ok(over) => {
                    print!("{}", told(&over));
                    Ended::Well
                }
                Err(broken) => {
                    eprint!("{}", damage(&broken));
                    Ended::Badly
                }
            });
        }
        let store = open::open_folder(&loaded.file)
            .context("the store cannot be opened; a running gateway does this by itself")?;
        let retained = store.retain(&terms, now);
        store.close();
        let report = retained.context("not everything that is over was dropped")?;
        println!(
            "segments   {} looked at, {} replaced\ndropped    {} sealed parts, {} bytes\nkept       {} past their term that hold the newest state of something",
            report.segments_looked_at, report.segments_replaced, report.dropped, report.bytes, report.kept,
        );
        Ok(Ended::Well)
    }
}

fn told(over: &Over) -> String {
    let mut text = String::new();
    for (scene, (count, bytes)) in &over.by_scene {
        text.push_str(&format!("over       {scene}: {count} sealed parts, {bytes} bytes\n"));
    }
    text.push_str(&format!(
        "not over   {} sealed parts\ndropped    {} earlier\nnothing was changed / 未作改动\n",
        over.not_over, over.dropped_before
    ));
    text
}
