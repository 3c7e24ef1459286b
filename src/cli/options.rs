//! `gateway.toml` as it is written: where everything of one region's gateway is.
//! Paths are relative to the file, or to `data_root` where the file says so.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    adapters::{nhsa::NhsaOptions, sip2::Sip2Options},
    gateway::OperatorLine,
    limits,
    scenes::library,
    store::{StoreOptions, Terms, WrongTerm},
    telemetry::logs::LogOptions,
};

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayFile {
    /// Keys, certificates, journal.
    pub data_root: PathBuf,
    pub region: RegionOptions,
    pub listen: ListenOptions,
    pub tls: TlsPair,
    pub vault: VaultOptions,
    pub store: StoreSection,
    pub files: Files,
    #[serde(default)]
    pub log: LogOptions,
    #[serde(default)]
    pub operator: Vec<OperatorLine>,
}

/// Which region this is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionOptions {
    /// 110000 style.
    pub province: u32,
    pub name_zh: String,
    pub name_en: String,
    /// Names this writer's chain.
    pub node: String,
}

/// Where it listens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenOptions {
    pub terminals: SocketAddr,
    pub operators: SocketAddr,
    pub peers: SocketAddr,
}

/// The two TLS listeners' material.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsPair {
    pub terminals: TlsSection,
    pub peers: TlsSection,
}

/// One listener's files, relative to `data_root`, PEM.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_roots: PathBuf,
    #[serde(default)]
    pub revocation_lists: Vec<PathBuf>,
}

/// The sealed key file and where its passphrase comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultOptions {
    pub file: PathBuf,
    #[serde(default)]
    pub passphrase_env: Option<String>,
    #[serde(default)]
    pub passphrase_fd: Option<u32>,
}

/// Where journal and state are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSection {
    #[serde(default)]
    pub engine: StoreEngine,
    /// Of the embedded engine: relative to `data_root`; the journal is in its folder
    /// `journal`.
    #[serde(default)]
    pub dir: PathBuf,
    /// Of the embedded engine.
    #[serde(default = "default_segment_mib")]
    pub segment_mib: u64,
    /// Memory for cached blocks of the index.
    #[serde(default = "default_index_cache_mib")]
    pub index_cache_mib: u64,
    /// Memory for aggregates that were lately used.
    #[serde(default = "default_recent_mib")]
    pub recent_mib: u64,
    /// Entries that may be journalled and not yet indexed; they are in memory.
    #[serde(default = "default_index_lag_max")]
    pub index_lag_max: usize,
    /// Where closed segments are moved, packed; on a larger disk at best. Relative to
    /// `data_root`. Once it is named it stays.
    #[serde(default)]
    pub archive_dir: Option<PathBuf>,
    /// Segments that stay in the journal's folder.
    #[serde(default = "default_archive_keep_segments")]
    pub archive_keep_segments: usize,
    /// A file outside of the store's folder, on another disk at best, that remembers
    /// how far the journal went; beside it (`….erased`) the list of erased holders is
    /// kept. Relative to `data_root`.
    #[serde(default)]
    pub head_file: Option<PathBuf>,
    /// Entries, and minutes, after which a batch carries a checkpoint.
    #[serde(default = "default_checkpoint_entries")]
    pub checkpoint_entries: u64,
    #[serde(default = "default_checkpoint_minutes")]
    pub checkpoint_minutes: u32,
    /// Of the embedded engine: how long the personal parts of entries are kept. Without
    /// it, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionSection>,
    /// Of the PostgreSQL engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresSection>,
}

/// How long the sealed parts of entries are kept, by scene.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSection {
    /// Days between two runs. A copy of the store cannot be put back to a point before
    /// the last run that it has taken up.
    #[serde(default = "default_retention_every_days")]
    pub every_days: u32,
    /// Days for scenes that `days` does not name; without it they are kept for ever.
    #[serde(default)]
    pub default_days: Option<u32>,
    /// Days by scene.
    #[serde(default)]
    pub days: BTreeMap<String, u32>,
}

impl RetentionSection {
    /// The terms.
    ///
    /// # Errors
    /// Every term that cannot be.
    pub fn terms(&self) -> Result<Terms, Vec<WrongTerm>> {
        Terms::new(&self.days, self.default_days)
    }
}

const fn default_retention_every_days() -> u32 {
    30
}

/// What keeps journal and state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreEngine {
    /// In this process, in one folder: one node.
    #[default]
    Embedded,
    /// In a database: several nodes.
    Postgres,
}

/// The database. How to reach it is a secret and stands in the environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresSection {
    /// The environment variable with its address,
    /// `postgresql://user:password@host1,host2/onecard`.
    pub url_env: String,
    /// PEM, relative to `data_root`: what the servers' certificates are checked
    /// against. Needed when a server is on another machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_roots: Option<PathBuf>,
    /// Shards of a database that is made now; an existing one keeps its number.
    #[serde(default = "default_shards")]
    pub shards: u16,
    /// Lanes of this node in each shard; may change with every start.
    #[serde(default = "default_lanes")]
    pub lanes: u16,
}

const fn default_lanes() -> u16 {
    limits::DATABASE_LANES
}

const fn default_shards() -> u16 {
    1
}

const fn default_index_cache_mib() -> u64 {
    128
}

const fn default_archive_keep_segments() -> usize {
    16
}

const fn default_recent_mib() -> u64 {
    limits::AGGREGATES_RECENT_BYTES >> 20
}

const fn default_index_lag_max() -> usize {
    limits::INDEX_LAG_ENTRIES_MAX
}

const fn default_checkpoint_entries() -> u64 {
    limits::CHECKPOINT_ENTRIES
}

const fn default_checkpoint_minutes() -> u32 {
    (limits::CHECKPOINT_MS / 60_000) as u32
}

const fn default_segment_mib() -> u64 {
    64
}

/// The other files of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    pub participants: PathBuf,
    pub policy: PathBuf,
    pub libraries: PathBuf,
    /// Daily caps; nothing is capped without it.
    #[serde(default)]
    pub ledger: Option<PathBuf>,
    /// Institutions and their insurers; without it nobody settles.
    #[serde(default)]
    pub medical: Option<PathBuf>,
    /// The lines to those insurers.
    #[serde(default)]
    pub insurers: Option<PathBuf>,
    pub codes: PathBuf,
    pub fares: PathBuf,
    pub stations: PathBuf,
    /// Relative to `data_root`.
    pub trust: PathBuf,
    /// Where it is named, `onecard reconcile` works.
    #[serde(default)]
    pub reconciliation: Option<PathBuf>,
}

/// `libraries.toml`: the libraries and the lines to them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LibrariesFile {
    pub library: Vec<library::Library>,
    pub inquiry: library::InquiryPolicy,
    /// By the library's code.
    pub sip2: BTreeMap<String, Sip2Options>,
}

/// `insurers.toml`: the lines to the platforms of medical insurers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InsurersFile {
    /// By the code that the institutions of `medical.toml` name.
    pub nhsa: BTreeMap<String, NhsaOptions>,
}

impl InsurersFile {
    /// Makes paths of roots and tokens absolute; they are relative to `data_root`.
    pub fn resolve(mut self, data_root: &Path) -> Self {
        for line in self.nhsa.values_mut() {
            for path in [&mut line.tls_roots, &mut line.token_file].into_iter().flatten() {
                *path = data_root.join(&*path);
            }
        }
        self
    }
}

impl GatewayFile {
    /// Where the list of the erased is kept apart from the store: beside the head file.
    pub fn erased_list(&self) -> Option<PathBuf> {
        let mut path = self.store.head_file.clone()?.into_os_string();
        path.push(".erased");
        Some(path.into())
    }

    /// What the embedded store is opened with.
    pub fn store_options(&self) -> StoreOptions {
        let mut options = StoreOptions::in_dir(&self.store.dir, self.region.province);
        options.node.clone_from(&self.region.node);
        options.segment_bytes = self.store.segment_mib.saturating_mul(1 << 20);
        options.index_cache_bytes = self.store.index_cache_mib.saturating_mul(1 << 20);
        options.recent_bytes = self.store.recent_mib.saturating_mul(1 << 20);
        options.index_lag_max = self.store.index_lag_max;
        options.head_file.clone_from(&self.store.head_file);
        options.checkpoint_entries = self.store.checkpoint_entries;
        options.checkpoint_ms = i64::from(self.store.checkpoint_minutes) * 60_000;
        options
    }

    /// Makes every path absolute: `folder` is where the file lies.
    pub fn resolve(mut self, folder: &Path) -> Self {
        let root = folder.join(&self.data_root);
        for path in [
            &mut self.tls.terminals.certificate,
            &mut self.tls.terminals.key,
            &mut self.tls.terminals.client_roots,
            &mut self.tls.peers.certificate,
            &mut self.tls.peers.key,
            &mut self.tls.peers.client_roots,
            &mut self.vault.file,
            &mut self.store.dir,
            &mut self.files.trust,
        ] {
            *path = root.join(&*path);
        }
        for path in [&mut self.store.head_file, &mut self.store.archive_dir].into_iter().flatten() {
            *path = root.join(&*path);
        }
        if let Some(roots) = self.store.postgres.as_mut().and_then(|postgres| postgres.tls_roots.as_mut()) {
            *roots = root.join(&*roots);
        }
        for lists in [&mut self.tls.terminals.revocation_lists, &mut self.tls.peers.revocation_lists] {
            for path in lists {
                *path = root.join(&*path);
            }
        }
        for path in [
            &mut self.files.participants,
            &mut self.files.policy,
            &mut self.files.libraries,
            &mut self.files.codes,
            &mut self.files.fares,
            &mut self.files.stations,
        ] {
            *path = folder.join(&*path);
        }
        if let Some(path) = &mut self.files.reconciliation {
            *path = folder.join(&*path);
        }
        let optional = [&mut self.files.ledger, &mut self.files.medical, &mut self.files.insurers];
        for path in optional.into_iter().flatten() {
            *path = folder.join(&*path);
        }
        self.data_root = root;
        self
    }
}
