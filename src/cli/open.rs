//! Opens what a gateway stands on: vault, holder keys, store, lines to libraries and
//! insurers; and the gateway over them.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use secrecy::SecretString;

use super::{
    insurers::InsurerLines,
    load::Loaded,
    options::{GatewayFile, StoreEngine, VaultOptions},
};
use crate::{
    adapters::{self, CallEnd, nhsa::NhsaParts, sip2::Sip2Adapter},
    crypto::{HolderKeys, KeyVault, Passphrase, SandboxSuite, Sealer, SoftVault},
    gateway::{Gateway, Libraries, Parts},
    model::{BreakerState, Clock, SystemClock, SystemRng},
    scenes::library::{LibraryPolicy, LibraryPort},
    store::{
        EmbeddedStore, HolderSalts, PostgresOptions, PostgresParts, PostgresStore, Store, StoreObserver,
    },
    telemetry::metrics::{self, Breaker, CallOutcome},
};

/// What was opened.
pub struct Opened {
    pub gateway: Arc<Gateway>,
    pub store: OpenStore,
    /// The adapter's keep-alive must be run.
    pub libraries: Arc<Sip2Adapter>,
    pub insurers: InsurerLines,
}

/// An open store of either engine.
#[derive(Debug, Clone)]
pub enum OpenStore {
    Embedded(Arc<EmbeddedStore>),
    Postgres(Arc<PostgresStore>),
}

impl OpenStore {
    /// The store, whichever engine it is.
    pub fn shared(&self) -> Arc<dyn Store> {
        match self {
            OpenStore::Embedded(store) => Arc::clone(store) as Arc<dyn Store>,
            OpenStore::Postgres(store) => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    /// Whether commits are taken.
    pub fn is_ready(&self) -> bool {
        match self {
            OpenStore::Embedded(store) => store.is_ready(),
            OpenStore::Postgres(store) => store.is_ready(),
        }
    }

    /// Takes no more units, does those that wait and ends the store in order.
    pub async fn close(&self) {
        match self {
            OpenStore::Embedded(store) => {
                let closing = Arc::clone(store);
                if let Err(error) = tokio::task::spawn_blocking(move || closing.close()).await {
                    tracing::warn!(%error, "the store did not close in order");
                }
            }
            OpenStore::Postgres(store) => store.close().await,
        }
    }
}

/// Opens everything that a checked configuration names.
///
/// # Errors
/// A vault that cannot be opened, a store that is held, broken or full.
pub async fn open(loaded: Loaded, clock: Arc<dyn Clock>) -> anyhow::Result<Opened> {
    let Loaded { file, live, sip2, nhsa, .. } = loaded;
    let province = file.region.province;
    let opening = Arc::clone(&clock);
    let (vault, store) = match file.store.engine {
        StoreEngine::Embedded => tokio::task::spawn_blocking(move || open_embedded(&file, opening)).await??,
        StoreEngine::Postgres => open_postgres(file, opening).await?,
    };

    let adapter = Sip2Adapter::new(sip2, Arc::clone(&clock), Arc::new(Watch))
        .context("the lines to the libraries cannot be used")?;
    let adapter = Arc::new(adapter);
    let libraries = libraries_over(&live.libraries, &adapter);
    let parts = NhsaParts {
        vault: Arc::clone(&vault),
        clock: Arc::clone(&clock),
        rng: Arc::new(SystemRng),
        observer: Arc::new(Watch),
    };
    let insurers = InsurerLines::new(nhsa, parts).context("the lines to the insurers cannot be used")?;

    let gateway = Gateway::open(Parts {
        province,
        store: store.shared(),
        vault,
        suite: Arc::new(SandboxSuite),
        libraries,
        insurers: insurers.ports(),
        live,
        clock,
        rng: Arc::new(SystemRng),
    })
    .await
    .context("the deny list cannot be read back")?;
    Ok(Opened { gateway, store, libraries: adapter, insurers })
}

/// Reads keys and journal back; blocks.
fn open_embedded(
    file: &GatewayFile,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<(Arc<dyn KeyVault>, OpenStore)> {
    let vault: Arc<dyn KeyVault> = Arc::new(open_vault(&file.vault)?);
    let (store, _) = open_store(file, Arc::clone(&vault), clock)?;
    Ok((vault, OpenStore::Embedded(Arc::new(store))))
}

/// Opens the embedded store of a stopped gateway and nothing else; blocks.
///
/// # Errors
/// A vault that cannot be opened, a store that is held or broken, another engine.
pub fn open_folder(file: &GatewayFile) -> anyhow::Result<EmbeddedStore> {
    anyhow::ensure!(
        file.store.engine == StoreEngine::Embedded,
        "store.engine: this region keeps its store in a database / 本地区使用数据库存储"
    );
    let vault: Arc<dyn KeyVault> = Arc::new(open_vault(&file.vault)?);
    Ok(open_store(file, vault, Arc::new(SystemClock))?.0)
}

fn open_store(
    file: &GatewayFile,
    vault: Arc<dyn KeyVault>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<(EmbeddedStore, Arc<HolderKeys>)> {
    let keys = HolderKeys::open(&file.store.dir.join("holder-keys"), Arc::clone(&vault), Arc::new(SystemRng))
        .context("the holder keys cannot be opened")?;
    let keys = match file.erased_list() {
        None => keys,
        Some(list) => keys
            .keeping_list(&list)
            .with_context(|| format!("the list of the erased, {}, cannot be kept", list.display()))?,
    };
    let keys = Arc::new(keys);
    let store = EmbeddedStore::open_watched(
        file.store_options(),
        vault,
        Arc::clone(&keys) as Arc<dyn Sealer>,
        clock,
        Arc::new(Watch),
    )
    .with_context(|| format!("the store in {} cannot be opened", file.store.dir.display()))?;
    Ok((store, keys))
}

/// Opens keys and connects; the salts of holder keys are in the database, because
/// every node needs them.
async fn open_postgres(
    file: GatewayFile,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<(Arc<dyn KeyVault>, OpenStore)> {
    let options = postgres_options(&file)?;
    let vault = tokio::task::spawn_blocking(move || open_vault(&file.vault)).await??;
    let vault: Arc<dyn KeyVault> = Arc::new(vault);
    let parts = PostgresParts {
        vault: Arc::clone(&vault),
        salts: HolderSalts::InDatabase,
        clock,
        rng: Arc::new(SystemRng),
        observer: Arc::new(Watch),
    };
    let store = PostgresStore::open(options, parts).await.context("the database cannot be used")?;
    Ok((vault, OpenStore::Postgres(Arc::new(store))))
}

/// How the database of a checked configuration is reached.
///
/// # Errors
/// When the environment does not say.
pub fn postgres_options(file: &GatewayFile) -> anyhow::Result<PostgresOptions> {
    let Some(postgres) = &file.store.postgres else {
        anyhow::bail!("store.postgres: this section is missing / 缺少本节");
    };
    let url = std::env::var(&postgres.url_env).map(SecretString::from).with_context(|| {
        format!("the database's address is expected in the environment variable {}", postgres.url_env)
    })?;
    let mut options = PostgresOptions::at(url, file.region.province, file.region.node.clone());
    options.tls_roots.clone_from(&postgres.tls_roots);
    options.shards = postgres.shards;
    options.lanes = postgres.lanes;
    Ok(options)
}

/// The libraries of a policy, each over its line.
pub fn libraries_over(policy: &LibraryPolicy, adapter: &Arc<Sip2Adapter>) -> Libraries {
    let line = || Arc::clone(adapter) as Arc<dyn LibraryPort>;
    policy.libraries.iter().map(|library| (library.code.clone(), line())).collect()
}

fn open_vault(options: &VaultOptions) -> anyhow::Result<SoftVault> {
    let passphrase = match (&options.passphrase_env, options.passphrase_fd) {
        (Some(name), None) => Passphrase::from_env(name).with_context(|| {
            format!("the vault's passphrase is expected in the environment variable {name}")
        })?,
        (None, Some(fd)) => Passphrase::from_fd(fd)
            .with_context(|| format!("the vault's passphrase is expected on file descriptor {fd}"))?,
        _ => anyhow::bail!(
            "vault: give passphrase_env or passphrase_fd, one of them / 须配置 passphrase_env 或 passphrase_fd 之一"
        ),
    };
    SoftVault::open_file(&options.file, &passphrase)
        .with_context(|| format!("the vault {} cannot be opened", options.file.display()))
}

/// Carries what store and adapters tell to the metrics.
struct Watch;

impl StoreObserver for Watch {
    fn batch_committed(&self, entries: usize, _bytes: usize, took: Duration) {
        metrics::commit_batch(entries, took);
    }

    fn index_lag(&self, entries: usize) {
        metrics::index_lag(entries);
    }

    fn index_rebuilding(&self, batches: u64) {
        tracing::info!(batches, "the index is being caught up from the journal");
    }

    fn stopped(&self, reason: &str) {
        tracing::error!(reason, "the journal has stopped; restart the gateway to read it back");
    }
}

impl adapters::Observer for Watch {
    fn called(&self, backend: &str, _act: &'static str, end: CallEnd, took: Duration) {
        let outcome = match end {
            CallEnd::Answered | CallEnd::Declined => CallOutcome::Answered,
            CallEnd::NotSent => CallOutcome::NotSent,
            CallEnd::Unknown => CallOutcome::Unknown,
        };
        metrics::adapter_called(backend, outcome, took);
    }

    fn breaker(&self, backend: &str, state: BreakerState) {
        let state = match state {
            BreakerState::Closed => Breaker::Closed,
            BreakerState::HalfOpen => Breaker::Probing,
            BreakerState::Open => Breaker::Open,
        };
        metrics::adapter_breaker(backend, state);
    }
}
