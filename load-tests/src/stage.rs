//! The town that a scenario plays in: three federated gateways and three simulated
//! libraries, with as many cards as the scenario asks for.

use std::{
    fs::OpenOptions,
    io::Write as _,
    net::SocketAddr,
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use onecard::{
    client::{JournalKey, RetryPolicy, Terminal, TerminalOptions},
    crypto::SoftVault,
    limits,
    model::{Clock as _, SystemClock},
    sandbox::{
        card_files::SampleCard,
        ils::IlsHandle,
        people::{HOMES, PEOPLE_MAX, SampleHolder, import_lines},
        town::{Launcher, Prepared, RegionPlan, RunningTown, TownPlan},
    },
};

use crate::{
    fixture::{Folder, quiet_port},
    riders::holders,
};

/// The regions in the order of [`HOMES`].
pub const REGIONS: [&str; 3] = ["beijing", "tianjin", "hebei"];

/// The library's own terminal of each region.
const LIBRARY_DESKS: [&str; 3] = ["bj-capital-desk-01", "tj-library-desk-01", "he-library-desk-01"];

/// What a terminal of the load is for; names its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Post {
    MetroGate,
    HallCounter,
    LibraryDesk,
    EcardApp,
}

/// The running town and the cards that nobody has taken yet.
pub struct Stage {
    town: RunningTown,
    /// By home region.
    cards: [Mutex<Vec<SampleHolder>>; 3],
    vaults: [SoftVault; 3],
    folder: Folder,
}

impl Stage {
    /// Makes keys and cards, starts everything and waits until it is ready.
    ///
    /// # Errors
    /// When something cannot be made or does not come up.
    pub async fn set(folder: Folder, cards_each: u32) -> anyhow::Result<Self> {
        anyhow::ensure!(
            cards_each <= PEOPLE_MAX,
            "{cards_each} cards a region are needed and there are numbers for {PEOPLE_MAX}; lower --rate or --seconds"
        );
        let mut plan = TownPlan::free(1).context("free ports")?;
        for region in &mut plan.regions {
            (region.grpc, region.ops) = (quiet_port()?, quiet_port()?);
            (region.peers, region.library) = (quiet_port()?, quiet_port()?);
            region.insurer = quiet_port()?;
        }
        // An unknown outcome is inquired about within a second, so that what a run
        // leaves open ends within the run.
        plan.impatient = true;
        let prepared = Prepared::make(folder.path(), &plan)?;
        let mut cards = [const { Mutex::new(Vec::new()) }; 3];
        for (place, home) in HOMES.iter().enumerate() {
            let holders = strangers(&prepared, holders(home, cards_each));
            let path = prepared.cards_of(&prepared.plan.regions[place]);
            let mut file = OpenOptions::new().append(true).open(&path)?;
            file.write_all(import_lines(&holders, SystemClock.now_ms()).as_bytes())?;
            cards[place] = Mutex::new(holders);
        }
        let vault = |place: usize| {
            let path = prepared.folder_of(&prepared.plan.regions[place]).join("vault.sealed");
            SoftVault::open_file(&path, &prepared.passphrase)
        };
        let vaults = [vault(0)?, vault(1)?, vault(2)?];
        let launcher = Launcher { before: vec![crate::PRODUCT.to_owned()], ..Launcher::current()? };
        let town = RunningTown::start(launcher, prepared).await?;
        Ok(Stage { town, cards, vaults, folder })
    }

    /// The folder of the whole run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes `count` cards of a home region that nobody else has.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn cards(&self, home: usize, count: usize) -> anyhow::Result<Vec<SampleCard>> {
        let mut left = self.cards[home].lock().unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(left.len() >= count, "{} has {} cards left of {count}", REGIONS[home], left.len());
        let from = left.len() - count;
        let taken = left.split_off(from);
        drop(left);
        taken.into_iter().map(|holder| Ok(SampleCard::issue(holder, &self.vaults[home])?)).collect()
    }

    /// Connections of the terminal of a post in a region, `count` of them. They send
    /// once: who repeats here counts it.
    ///
    /// # Errors
    /// When the gateway does not take them.
    pub async fn connect(&self, region: usize, post: Post, count: usize) -> anyhow::Result<Vec<Terminal>> {
        let options = TerminalOptions { retry: RetryPolicy::never(), ..self.options(region, post)? };
        let mut terminals = Vec::new();
        for _ in 0..count {
            terminals.push(Terminal::connect(&options).await?);
        }
        Ok(terminals)
    }

    /// A connection for questions after the run: it waits as long as the gateway works
    /// on a call and asks again, because nobody's latency is measured.
    ///
    /// # Errors
    /// When the gateway does not take it.
    pub async fn auditor(&self, region: usize, post: Post) -> anyhow::Result<Terminal> {
        let options = TerminalOptions { deadline: limits::DEADLINE_MAX, ..self.options(region, post)? };
        Ok(Terminal::connect(&options).await?)
    }

    fn options(&self, region: usize, post: Post) -> anyhow::Result<TerminalOptions> {
        let pki = self.town.prepared.data.join("pki");
        let read = |name: String| {
            let path = pki.join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let name = post.terminal(region);
        Ok(TerminalOptions::new(
            RegionPlan::at(self.town.prepared.plan.regions[region].grpc).to_string(),
            format!("{}.onecard", REGIONS[region]),
            read("ca.pem".to_owned())?,
            read(format!("terminals/{name}.pem"))?,
            read(format!("terminals/{name}.key"))?,
        ))
    }

    /// The key a region's receipts are checked against.
    ///
    /// # Errors
    /// When the town does not know it.
    pub fn journal_key(&self, region: usize) -> anyhow::Result<JournalKey> {
        Ok(JournalKey::from_hex(&self.town.prepared.town.region(REGIONS[region])?.journal_key)?)
    }

    /// The simulated library of a region.
    pub fn library(&self, region: usize) -> &IlsHandle {
        self.town.library(REGIONS[region])
    }

    /// Where each gateway tells its metrics.
    pub fn operators(&self) -> [SocketAddr; 3] {
        self.town.prepared.plan.regions.map(|region| RegionPlan::at(region.ops))
    }

    /// A gateway that ended without being told.
    pub fn fallen(&mut self) -> Option<&'static str> {
        self.town.fallen()
    }

    /// Stops everything in order.
    ///
    /// # Errors
    /// When a gateway does not stop in time or stops with a failure.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.town.stop().await?;
        Ok(())
    }
}

impl Post {
    fn terminal(self, region: usize) -> String {
        let prefix = HOMES[region].prefix;
        match self {
            Post::MetroGate => format!("{prefix}-metro-gate-01"),
            Post::HallCounter => format!("{prefix}-hall-counter-01"),
            Post::LibraryDesk => LIBRARY_DESKS[region].to_owned(),
            Post::EcardApp => format!("{prefix}-ecard-app-01"),
        }
    }
}

/// Those whose document nobody of the sandbox's own people has: numbers are given
/// once within a seed, and ours is another.
fn strangers(prepared: &Prepared, holders: Vec<SampleHolder>) -> Vec<SampleHolder> {
    let taken: std::collections::HashSet<&str> =
        prepared.holders.iter().map(|known| known.person.document_number.as_str()).collect();
    holders.into_iter().filter(|holder| !taken.contains(holder.person.document_number.as_str())).collect()
}
