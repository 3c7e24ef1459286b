//! A town to test, and what tests ask of it.

pub mod acts;
pub mod clinic;
pub mod expect;
pub mod wire;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use onecard::{
    client::{JournalKey, RetryPolicy, Terminal, TerminalOptions},
    crypto::{Sm2PublicKey, SoftVault},
    sandbox::{
        card_files::CardFiles,
        ils::IlsHandle,
        insurer::InsurerHandle,
        town::{Launcher, Prepared, RegionPlan, RunningTown, TownPlan},
        town_file::TownRegion,
    },
    store::{VerifyReport, verify_dir},
};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    sync::{Mutex, OnceCell},
};

/// Everything of the town runs here, so that it outlives the test that started it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

static SHARED: OnceCell<Stage> = OnceCell::const_new();

/// People with a normal card a region; a test takes some for itself alone.
const PEOPLE: u32 = 60;

/// Longer than anything here takes on a busy machine, shorter than patience.
pub const SOON: Duration = Duration::from_secs(20);

/// A running town, its folder and its people.
pub struct Stage {
    pub prepared: Prepared,
    pub cards: CardFiles,
    town: Mutex<Option<RunningTown>>,
    libraries: BTreeMap<&'static str, IlsHandle>,
    insurers: BTreeMap<&'static str, InsurerHandle>,
    given: [AtomicU32; 3],
    _folder: TempDir,
}

/// Runs a test in the town that all tests share. Whatever the test did, nothing
/// personal may be found in logs and metrics afterwards.
pub fn on_the_town(test: impl AsyncFnOnce(&'static Stage)) {
    RUNTIME.block_on(async {
        let stage = SHARED.get_or_init(|| Stage::start(|_| {})).await;
        test(stage).await;
        stage.nothing_personal_is_told();
    });
}

/// Runs a test in a town of its own, whose configuration `change` may edit before
/// the start. At the end the town stops in order and its journals are intact.
pub fn in_a_town_of_its_own(change: impl FnOnce(&Prepared), test: impl AsyncFnOnce(&Stage)) {
    RUNTIME.block_on(async {
        let stage = Stage::start(change).await;
        test(&stage).await;
        stage.nothing_personal_is_told();
        stage.stop().await;
        for region in &stage.prepared.plan.regions {
            stage.verified(region.name);
        }
    });
}

/// Runs a test that needs no town, on the runtime of those that do.
pub fn run(test: impl AsyncFnOnce()) {
    RUNTIME.block_on(test());
}

/// The program under test.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_onecard"))
}

/// The Python with `tests/interop/requirements.txt`; `None` says so once a test.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("ONECARD_PYTHON").map(PathBuf::from);
    if python.is_none() {
        println!("skipped: ONECARD_PYTHON is not set; scripts/test sets it");
    }
    python
}

/// A folder for a town. Those of runs that have ended are removed: a shared town
/// cannot remove its own.
pub fn folder() -> TempDir {
    static SWEPT: std::sync::Once = std::sync::Once::new();
    let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
    SWEPT.call_once(|| {
        for entry in fs::read_dir(all).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix("town-").and_then(|rest| rest.split('-').next());
            if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    });
    let prefix = format!("town-{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(all).expect("a folder")
}

/// Makes a town's folder without starting it. Segments are small: preallocating
/// 64 MiB a region is not what is tested.
pub fn prepare(folder: &Path) -> Prepared {
    let mut plan = TownPlan::free(7).expect("free ports");
    for region in &mut plan.regions {
        (region.grpc, region.ops, region.peers) = (port(), port(), port());
        (region.library, region.insurer) = (port(), port());
    }
    plan.people = PEOPLE;
    plan.impatient = true;
    let prepared = Prepared::make(folder, &plan).expect("a town's folder");
    for region in &plan.regions {
        edit(&prepared.config_of(region).join("gateway.toml"), |gateway| {
            let store = gateway["store"].as_table_mut().expect("a table");
            store.insert("segment_mib".into(), 1.into());
        });
    }
    prepared
}

/// A port that nobody has. It lies below those the system gives to outgoing
/// connections, or one of ours could take it before the gateway does, or while the
/// gateway is being started again.
fn port() -> u16 {
    const FIRST: u16 = 12_000;
    const MOST: u16 = 20_000;
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(std::process::id() * 97));
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % u32::from(MOST);
        let port = FIRST + u16::try_from(next).expect("below MOST");
        if TcpListener::bind(RegionPlan::at(port)).is_ok() {
            return port;
        }
    }
}

/// Edits a file of the configuration.
pub fn edit(path: &Path, change: impl FnOnce(&mut toml::Table)) {
    let text = fs::read_to_string(path).expect("the file is there");
    let mut table: toml::Table = text.parse().expect("TOML");
    change(&mut table);
    fs::write(path, toml::to_string_pretty(&table).expect("TOML")).expect("written");
}

/// Waits for a condition; the tests' only clock.
#[track_caller]
#[allow(clippy::disallowed_methods)] // blocks the test's own thread, no worker of the runtime
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "not in {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// [`until`] for conditions that are asked over the wire.
pub async fn until_asked(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Stage {
    async fn start(change: impl FnOnce(&Prepared)) -> Self {
        let folder = folder();
        let prepared = prepare(folder.path());
        change(&prepared);
        // Read by builds with the feature `fault-points` only.
        let fault = format!("ONECARD_FAULT_FILE={}", fault_file(&prepared).display());
        let before = vec![fault, program().to_str().expect("UTF-8").to_owned()];
        let launcher = Launcher { program: "/usr/bin/env".into(), before };
        let town = RunningTown::start(launcher, prepared.clone()).await.expect("the town comes up");
        let libraries = prepared.plan.regions.iter();
        let libraries = libraries.map(|region| (region.name, town.library(region.name).clone())).collect();
        let insurers = prepared.plan.regions.iter();
        let insurers = insurers.map(|region| (region.name, town.insurer(region.name).clone())).collect();
        Stage {
            cards: CardFiles::of(&prepared.data),
            prepared,
            town: Mutex::new(Some(town)),
            libraries,
            insurers,
            given: Default::default(),
            _folder: folder,
        }
    }

    async fn stop(&self) {
        let town = self.town.lock().await.take().expect("it runs");
        town.stop().await.expect("every gateway stops in order");
    }

    /// Ends a gateway as `kill -9` does.
    pub async fn kill(&self, region: &str) {
        self.town.lock().await.as_mut().expect("it runs").kill(region).await.expect("killed");
    }

    /// Starts a killed gateway again; ready when it returns.
    pub async fn restart(&self, region: &str) {
        self.town.lock().await.as_mut().expect("it runs").restart(region).await.expect("ready again");
    }

    /// Puts a killed gateway's store back to a copy, as an operator does.
    pub fn put_back(&self, region: &str, copy: &Path) {
        let to = tempfile::tempdir_in(&self.prepared.data).expect("a folder");
        let mut restore = Command::new(program());
        restore.args(["store", "restore", "--from"]).arg(copy).arg("--to").arg(to.path());
        let done = restore.output().expect("the program runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let store = self.prepared.data.join(region);
        for folder in ["journal", "index", "holder-keys"] {
            fs::remove_dir_all(store.join(folder)).expect("it was there");
        }
        for folder in ["journal", "holder-keys"] {
            fs::rename(to.path().join(folder), store.join(folder)).expect("moved");
        }
    }

    /// Sends a signal to a gateway, with the command operators use.
    pub fn signal(&self, region: &str, signal: &str) {
        let pid = self.pid(region).to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("`kill` runs");
        assert!(sent.success(), "kill {signal} {pid}");
    }

    /// The process that serves a region's configuration.
    fn pid(&self, region: &str) -> u32 {
        let config = self.config(region);
        let serves = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<_> = line.split(|byte| *byte == 0).collect();
            words.contains(&b"serve".as_slice())
                && words.contains(&config.to_str().expect("UTF-8").as_bytes())
        };
        let pids = fs::read_dir("/proc").expect("Linux").flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.into_iter().find(serves).expect("the gateway runs")
    }

    /// Has a gateway stop, as a power cut would, where it passes `point` next.
    #[cfg(feature = "fault-points")]
    pub fn stop_at(&self, region: &str, point: onecard::fault::Point) {
        // Whole or not at all: the gateway reads it at any moment.
        let (file, new) = (fault_file(&self.prepared), self.prepared.data.join("fault.new"));
        fs::write(&new, format!("{} {}", self.pid(region), point.name())).expect("written");
        fs::rename(new, file).expect("renamed");
    }

    /// Waits until the gateway has stopped there.
    #[cfg(feature = "fault-points")]
    pub async fn until_stopped(&self, region: &str, point: onecard::fault::Point) {
        until_asked(point.name(), async || !fault_file(&self.prepared).exists()).await;
        self.kill(region).await;
    }

    /// Runs a subcommand of the program over a region's configuration: whether it went
    /// well, and all it printed.
    pub fn run_on(&self, region: &str, words: &[&str]) -> (bool, String) {
        let mut command = Command::new(program());
        command.args(words).arg("--config").arg(self.config(region));
        command.env("ONECARD_VAULT_PASSPHRASE", self.prepared.passphrase.expose_secret());
        let done = command.output().expect("the program runs");
        let said = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(said).expect("text"))
    }

    /// The folder of a region's configuration.
    pub fn config(&self, region: &str) -> PathBuf {
        self.prepared.data.join("config").join(region)
    }

    /// What a region's gateway has written to its log so far.
    pub fn log(&self, region: &str) -> String {
        fs::read_to_string(self.prepared.data.join(region).join("gateway.log")).expect("a log")
    }

    pub fn region(&self, name: &str) -> &TownRegion {
        self.prepared.town.region(name).expect("a region of the town")
    }

    pub fn library(&self, region: &str) -> &IlsHandle {
        &self.libraries[region]
    }

    pub fn insurer(&self, region: &str) -> &InsurerHandle {
        &self.insurers[region]
    }

    /// The key that a region's receipts are checked with.
    pub fn journal_key(&self, region: &str) -> JournalKey {
        JournalKey::from_hex(&self.region(region).journal_key).expect("a key")
    }

    /// A region's keys, as its own operator could open them.
    pub fn vault(&self, region: &str) -> SoftVault {
        let file = self.prepared.data.join(region).join("vault.sealed");
        SoftVault::open_file(&file, &self.prepared.passphrase).expect("the vault opens")
    }

    /// A card that no other test has. `home` is `bj`, `tj` or `he`.
    pub fn card(&self, home: &str) -> acts::Card {
        let place = ["bj", "tj", "he"].iter().position(|prefix| *prefix == home).expect("a home");
        let number = self.given[place].fetch_add(1, Ordering::Relaxed) + 1;
        assert!(number <= PEOPLE, "the town is too small for its tests");
        self.named_card(&format!("{home}-{number:03}"))
    }

    /// A card by its name, for the special ones (`he-lost`).
    pub fn named_card(&self, name: &str) -> acts::Card {
        acts::Card::new(name, self.cards.load(name).expect("a card"))
    }

    /// How a terminal (`bj-metro-gate-01`) reaches its gateway. It never repeats by
    /// itself, so that a test sees every answer.
    pub fn options(&self, terminal: &str) -> TerminalOptions {
        self.options_at(region_of(terminal), terminal)
    }

    /// The same terminal at the door of any region.
    pub fn options_at(&self, region: &str, terminal: &str) -> TerminalOptions {
        let region = self.region(region);
        let pem = |path: String| fs::read(self.prepared.data.join("pki").join(path)).expect("PEM");
        let mut options = TerminalOptions::new(
            region.grpc.clone(),
            format!("{}.onecard", region.name),
            pem("ca.pem".into()),
            pem(format!("terminals/{terminal}.pem")),
            pem(format!("terminals/{terminal}.key")),
        );
        options.retry = RetryPolicy::never();
        options.deadline = Duration::from_secs(9);
        options
    }

    /// A terminal's own connection.
    pub async fn terminal(&self, name: &str) -> Terminal {
        Terminal::connect(&self.options(name)).await.expect("let in")
    }

    /// The body of an operators' page, with its status line.
    pub fn ops(&self, region: &str, path: &str) -> (String, String) {
        http(&self.region(region).ops, path)
    }

    /// The sum of all samples of a metric whose labels contain every text.
    pub fn metric(&self, region: &str, name: &str, labels: &[&str]) -> f64 {
        let (_, text) = self.ops(region, "/metrics");
        let of_it = |line: &&str| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            (rest.starts_with('{') || rest.starts_with(' '))
                && labels.iter().all(|label| rest.contains(label))
        };
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        text.lines().filter(of_it).filter_map(value).sum()
    }

    /// Waits until the region knows the deny lists of all: what a start still had to
    /// journal is journalled then.
    pub fn knows_all_deny_lists(&self, region: &str) {
        for other in &self.prepared.town.regions {
            let label = format!("region=\"{}\"", other.code);
            let known = |by: &str| self.metric(by, "onecard_deny_list_version", &[&label]);
            until("the deny lists are known", || {
                known(&other.name) > 0.0 && known(region) == known(&other.name)
            });
        }
        until("every peer has told what it knows of our list", || {
            let (_, text) = self.ops(region, "/metrics");
            let told = text.lines().filter(|line| line.starts_with("onecard_deny_list_untold{"));
            told.filter(|line| line.ends_with(" 0")).count() == 2
        });
    }

    /// The journal of a region as it stands, checked on a copy.
    pub fn verified(&self, region: &str) -> VerifyReport {
        let copy = tempfile::tempdir().expect("a folder");
        for entry in fs::read_dir(self.prepared.journal_of(region)).expect("a journal").flatten() {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
        }
        let key = hex::decode(&self.region(region).journal_key).expect("hexadecimal");
        let key = Sm2PublicKey::from_bytes(&key).expect("a key");
        let check = |bytes: &[u8], signature: &[u8; 64]| key.verify(bytes, signature).is_ok();
        verify_dir(copy.path(), Some(&check)).expect("the journal is intact")
    }

    /// Names, numbers and cards of everybody; none may be in logs and metrics.
    fn nothing_personal_is_told(&self) {
        let mut secrets = Vec::new();
        for holder in &self.prepared.holders {
            let person = &holder.person;
            secrets.extend([
                person.name.clone(),
                person.social_security_number.clone(),
                holder.card_identifier.clone(),
                holder.card_identifier.to_lowercase(),
                holder.card_number.clone(),
                holder.holder.clone(),
            ]);
        }
        for region in &self.prepared.plan.regions {
            let mut told = vec![("the log", self.log(region.name))];
            if let Ok(import) = fs::read_to_string(self.prepared.folder_of(region).join("import.log")) {
                told.push(("the log of the import", import));
            }
            told.push(("/metrics", self.ops(region.name, "/metrics").1));
            for (what, text) in told {
                for secret in &secrets {
                    assert!(!text.contains(secret.as_str()), "{what} of {} tells `{secret}`", region.name);
                }
            }
        }
    }
}

fn fault_file(prepared: &Prepared) -> PathBuf {
    prepared.data.join("fault")
}

/// A plain HTTP GET: status line and body.
pub fn http(at: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).expect("the operators' side listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

/// The region a name of terminal or card begins with.
pub fn region_of(name: &str) -> &'static str {
    match &name[..2] {
        "bj" => "beijing",
        "tj" => "tianjin",
        "he" => "hebei",
        other => panic!("no region is called `{other}`"),
    }
}
