//! A state of a region: Beijing's gateway with so many cards and past transactions, in a
//! folder that is filled once and measured often.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use onecard::crypto::SoftVault;

use super::{
    population::{self, Hand},
    standings::Standings,
};
use crate::{
    dice::Dice,
    fixture::{Beijing, Folder},
    process,
};

/// A gateway that uses less than this in a look is quiet.
const QUIET: Duration = Duration::from_millis(40);
const LOOK: Duration = Duration::from_millis(500);
const QUIET_MAX: Duration = Duration::from_secs(60);

/// A state and its gateway's surroundings.
pub struct State {
    pub beijing: Beijing,
    vault: SoftVault,
    standings: Standings,
    dice: Dice,
}

impl State {
    /// The state in this folder, filled up where it is smaller.
    ///
    /// # Errors
    /// When it cannot be made or filled.
    pub fn filled(folder: PathBuf, cards: u32, transactions: u64, seed: u64) -> anyhow::Result<Self> {
        let beijing = Beijing::prepare(Folder::new(Some(&folder))?, &[], None)?;
        let path = path_of(&beijing);
        let known = Standings::read(&path)?;
        if known.is_none_or(|known| known.cards() < cards || known.taps() < transactions) {
            println!("filling {} …", folder.display());
            let mut fill = beijing.ourselves()?;
            fill.arg("fill").arg("--config").arg(beijing.config()).arg("--standings").arg(&path);
            fill.args(["--cards", &cards.to_string(), "--transactions", &transactions.to_string()]);
            let status = fill.stdin(Stdio::null()).status().context("the filling")?;
            anyhow::ensure!(status.success(), "the state was not filled ({status})");
        }
        let standings = Standings::read(&path)?.context("the filling was interrupted")?;
        Ok(State { vault: beijing.vault()?, beijing, standings, dice: Dice::new(seed) })
    }

    pub fn cards(&self) -> u32 {
        self.standings.cards()
    }

    pub fn transactions(&self) -> u64 {
        self.standings.taps()
    }

    /// Taps of cards drawn from all there are.
    ///
    /// # Errors
    /// When there are too few.
    pub fn hands(&mut self, count: usize, each: usize) -> anyhow::Result<Vec<Hand>> {
        population::hands(&self.standings, &self.vault, &mut self.dice, count, each)
    }

    /// Notes what was ridden.
    pub fn put_back(&mut self, hand: Hand) {
        hand.put_back(&mut self.standings);
    }

    /// Says that taps are coming.
    ///
    /// # Errors
    /// When the file cannot be renamed.
    pub fn open(&self) -> anyhow::Result<()> {
        Ok(Standings::open(&path_of(&self.beijing))?)
    }

    /// Says how it stands, for the next run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn close(&self) -> anyhow::Result<()> {
        Ok(self.standings.close(&path_of(&self.beijing))?)
    }

    /// Bytes on disk: journal, index, keys.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn disk_bytes(&self) -> anyhow::Result<u64> {
        Ok(bytes_in(&self.beijing.store())?)
    }
}

fn path_of(beijing: &Beijing) -> PathBuf {
    beijing.data().join("standings")
}

fn bytes_in(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for item in std::fs::read_dir(folder)? {
        let item = item?;
        bytes += match item.metadata() {
            Ok(found) if found.is_dir() => bytes_in(&item.path())?,
            Ok(found) => found.blocks() * 512,
            // The index removes files while we look.
            Err(_) => 0,
        };
    }
    Ok(bytes)
}

/// Waits until a process has little to do, so that what one state left undone does not
/// slow the other's turn.
///
/// # Errors
/// When it is gone.
pub async fn quiet(pid: u32) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut before = process::cpu_time(pid)?;
    while began.elapsed() < QUIET_MAX {
        tokio::time::sleep(LOOK).await;
        let now = process::cpu_time(pid)?;
        if now.saturating_sub(before) < QUIET {
            return Ok(());
        }
        before = now;
    }
    println!("process {pid} did not become quiet");
    Ok(())
}
