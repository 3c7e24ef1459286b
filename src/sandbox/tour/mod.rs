//! The tour: a day in a town of its own, on free ports, told in Chinese and
//! English and checked as it is told.
//!
//! A chapter is a file. It calls the gateways as a vendor's terminal would, through
//! [`crate::client::Terminal`], and knows nothing from inside them; what it expects
//! it works out by itself. A check that fails is told with what was expected and
//! what was found, and the day goes on with the next chapter.

mod a_proof;
mod a_ride;
mod bad_input;
mod borrowed;
mod chip_relay;
mod day;
mod days_statement;
mod document;
mod evidence;
mod lost;
mod network;
mod offline;
mod once;
mod outpatient;
mod refund;
mod reversal;
mod silent_library;
mod story;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use self::{day::Day, story::Story};
use super::town::{Launcher, Prepared, RunningTown, TownPlan};
use crate::model::{Rng, SystemRng};

/// The people of the tour, so that every telling names the same.
const SEED: u64 = 1;

/// Plays the day; answers with how many chapters failed. With `keep` the town's
/// folder stays and is named; it also stays when something failed.
///
/// # Errors
/// When the town cannot be made or started.
pub async fn play(launcher: Launcher, data: Option<&Path>, keep: bool) -> anyhow::Result<usize> {
    let folder = data.map_or_else(fresh_folder, Path::to_path_buf);
    let mut story = Story::new();
    let town = open_town(launcher, &folder).await;
    let played = match town {
        Ok(town) => days_end(town, &mut story).await,
        Err(error) => Err(error),
    };
    let failed = story.failed();
    if keep || failed > 0 || played.is_err() {
        println!("\n目录已保留 the folder is kept: {}", folder.display());
    } else {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    played?;
    println!("{}", story.summary());
    Ok(failed)
}

async fn open_town(launcher: Launcher, folder: &Path) -> anyhow::Result<RunningTown> {
    let plan = TownPlan { impatient: true, ..TownPlan::free(SEED).context("free ports")? };
    let made = folder.to_owned();
    let prepared = tokio::task::spawn_blocking(move || Prepared::make(&made, &plan)).await??;
    println!("三地网关已备好，一天开始了。");
    println!("Three regions are made ready; the day begins.");
    Ok(RunningTown::start(launcher, prepared).await?)
}

/// Plays every chapter; the last one is told after the gateways have stopped.
async fn days_end(town: RunningTown, story: &mut Story) -> anyhow::Result<()> {
    let mut day = Day::new(town);
    macro_rules! chapters {
        ($($chapter:ident)*) => {$(
            story.open($chapter::TITLE);
            let told = $chapter::tell(&mut day, story).await;
            story.close(told);
        )*};
    }
    chapters!(
        a_ride borrowed chip_relay once lost document silent_library bad_input offline reversal refund
        outpatient days_statement a_proof
    );
    story.open(evidence::TITLE);
    let told = evidence::tell(day, story).await;
    story.close(told);
    Ok(())
}

fn fresh_folder() -> PathBuf {
    let mut random = [0; 6];
    SystemRng.fill(&mut random);
    std::env::temp_dir().join(format!("onecard-tour-{}", hex::encode(random)))
}
