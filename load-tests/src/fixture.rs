//! What a run needs around it: the keys, certificates and configuration of a
//! sandbox town in a folder of its own, and Beijing's gateway as a process that
//! can be killed.
//!
//! Only Beijing runs: taps of cards from other regions are checked where they
//! are tapped.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use onecard::{
    crypto::SoftVault,
    model::{Clock as _, SystemClock},
    sandbox::{
        people::{SampleHolder, import_lines},
        town::{Prepared, RegionPlan, TownPlan},
    },
};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use crate::{dice::Dice, postgres::Database};

/// Recovery reads the tail of a journal; a minute is far more than it ever takes.
const READY_MAX: Duration = Duration::from_secs(60);
const READY_EVERY: Duration = Duration::from_millis(10);
const PROBE_MAX: Duration = Duration::from_millis(500);
const LOG_LINES: usize = 15;

/// A folder that goes away with the run, or stays where one was named.
#[derive(Debug)]
pub enum Folder {
    Kept(PathBuf),
    Passing(TempDir),
}

impl Folder {
    /// The folder named, or a new one beside the program: on the disk the build is
    /// on, which is seldom memory, as `/tmp` may be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(named: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = named {
            std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
            return Ok(Folder::Kept(path.to_owned()));
        }
        let program = std::env::current_exe().context("where this program is")?;
        let beside = program.parent().context("the program lies in no folder")?;
        Ok(Folder::Passing(tempfile::Builder::new().prefix("load-tests-").tempdir_in(beside)?))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Folder::Kept(path) => path,
            Folder::Passing(folder) => folder.path(),
        }
    }
}

/// Beijing's gateway with everything it reads and writes.
#[derive(Debug)]
pub struct Beijing {
    prepared: Prepared,
    folder: Folder,
    /// Where journal and state are, unless they are in the folder.
    database: Option<Database>,
}

impl Beijing {
    /// Makes what is missing in the folder and imports these cards beside the
    /// sandbox's own people. The store is in the folder unless there is a database.
    ///
    /// # Errors
    /// When something cannot be made, or a card is not taken.
    pub fn prepare(
        folder: Folder,
        holders: &[SampleHolder],
        database: Option<Database>,
    ) -> anyhow::Result<Self> {
        let mut plan = TownPlan::free(1).context("free ports")?;
        let region = &mut plan.regions[0];
        (region.grpc, region.ops, region.peers) = (quiet_port()?, quiet_port()?, quiet_port()?);
        let beijing = Beijing { prepared: Prepared::make(folder.path(), &plan)?, folder, database };
        if holders.is_empty() {
            return Ok(beijing);
        }
        let cards = beijing.folder.path().join("load-cards.jsonl");
        std::fs::write(&cards, import_lines(holders, SystemClock.now_ms()))?;
        let mut import = beijing.product()?;
        import.args(["cards", "import", "--config"]).arg(beijing.config()).arg("--file").arg(&cards);
        let status = import.stdin(Stdio::null()).status().context("the import of cards")?;
        anyhow::ensure!(status.success(), "the cards were not imported ({status}):\n{}", beijing.log_tail());
        Ok(beijing)
    }

    /// Starts the gateway; it need not be ready yet.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(&self) -> anyhow::Result<Gateway> {
        let mut serve = self.product()?;
        serve.args(["serve", "--stop-with-stdin", "--config"]).arg(self.config()).stdin(Stdio::piped());
        let child = serve.spawn().context("the gateway cannot be started")?;
        Ok(Gateway { child, operators: RegionPlan::at(self.plan().ops) })
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it ends or takes too long; with the end of its log.
    pub async fn start_ready(&self) -> anyhow::Result<Gateway> {
        let mut gateway = self.start()?;
        let ready = gateway.ready().await;
        ready.with_context(|| format!("the end of its log:\n{}", self.log_tail()))?;
        Ok(gateway)
    }

    /// Where it listens for terminals.
    pub fn terminals(&self) -> SocketAddr {
        RegionPlan::at(self.plan().grpc)
    }

    /// Where the certificates are.
    pub fn pki(&self) -> PathBuf {
        self.prepared.data.join("pki")
    }

    /// The folder of the whole run.
    pub fn data(&self) -> &Path {
        &self.prepared.data
    }

    /// The store's folder.
    pub fn store(&self) -> PathBuf {
        self.prepared.folder_of(self.plan())
    }

    /// Where the journal is.
    pub fn journal(&self) -> PathBuf {
        self.store().join("journal")
    }

    /// Where the store is, unless it is in the folder.
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// The journal's public key, hexadecimal.
    ///
    /// # Errors
    /// When the town has no Beijing.
    pub fn journal_key(&self) -> anyhow::Result<&str> {
        Ok(&self.prepared.town.region("beijing")?.journal_key)
    }

    /// The region's keys, which cards are personalised from.
    ///
    /// # Errors
    /// When the vault cannot be opened.
    pub fn vault(&self) -> anyhow::Result<SoftVault> {
        let path = self.prepared.folder_of(self.plan()).join("vault.sealed");
        Ok(SoftVault::open_file(&path, &self.prepared.passphrase)?)
    }

    /// The last lines of the gateway's log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn plan(&self) -> &RegionPlan {
        &self.prepared.plan.regions[0]
    }

    /// The region's folder of the configuration.
    pub fn config(&self) -> PathBuf {
        self.prepared.config_of(self.plan())
    }

    fn log_path(&self) -> PathBuf {
        self.data().join("gateway.log")
    }

    /// The product, which this program has inside, with its log in the folder.
    fn product(&self) -> anyhow::Result<Command> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let again: File = log.try_clone()?;
        let mut command = self.ourselves()?;
        command.arg(crate::PRODUCT).stdout(log).stderr(again);
        if let Some(database) = &self.database {
            database.tell(&mut command);
        }
        Ok(command)
    }

    /// This program, which may open the region's vault.
    ///
    /// # Errors
    /// When it does not know where it is.
    pub fn ourselves(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env("ONECARD_VAULT_PASSPHRASE", self.prepared.passphrase.expose_secret());
        Ok(command)
    }
}

/// A free port that the kernel never gives to an outgoing connection (on Linux
/// those begin at 32768). A client that dials a dead gateway's port again and
/// again could otherwise be given that very port, reach itself, and hold it when
/// the gateway comes back.
pub fn quiet_port() -> anyhow::Result<u16> {
    let mut dice = Dice::new(uuid::Uuid::new_v4().as_u64_pair().0);
    for _ in 0..1_000 {
        let port = 15_000 + u16::try_from(dice.below(15_000))?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no port between 15000 and 30000 is free")
}

/// A gateway's process. Dropping it kills it.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    operators: SocketAddr,
}

impl Gateway {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it tells its metrics.
    pub fn operators(&self) -> SocketAddr {
        self.operators
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends before, or takes too long.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("the gateway ended ({status}) before it was ready");
            }
            let operators = self.operators;
            if tokio::task::spawn_blocking(move || says_ready(operators)).await? {
                return Ok(());
            }
            tokio::time::sleep(READY_EVERY).await;
        }
        anyhow::bail!("the gateway was not ready within {} s", READY_MAX.as_secs())
    }

    /// `kill -9`: the process gets no chance to do anything more.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Tells it to stop, as a parent's end does, and waits until it has drained
    /// and closed its store.
    ///
    /// # Errors
    /// When it stops with a failure.
    pub fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the gateway stopped with {status}");
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // After `kill` and `stop` it is gone already, which is no failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn says_ready(operators: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&operators, PROBE_MAX)?;
        stream.set_read_timeout(Some(PROBE_MAX))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(4_096).read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
