//! `onecard serve`: one region's gateway, as production runs it. Opens keys and
//! store, joins the peers, listens, reloads on SIGHUP, drains on SIGTERM.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    clock_watch::ClockWatch,
    edge, fold, holder,
    lines::Lines,
    load::{self, Fixed, Loaded},
    open::{self, OpenStore, Opened},
    options::{GatewayFile, StoreEngine},
    tasks, watch,
};
use crate::{
    federation,
    gateway::{Gateway, Housekeeper, TaskRunner},
    limits,
    model::{Clock, SystemClock, SystemRng},
    net::{self, OpsOptions, OpsServer, OpsSources, ReadinessCheck},
    telemetry::{logs, metrics},
};

/// Runs one region's gateway until it is told to stop.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The region's folder of the configuration, for example config/tianjin.
    #[arg(long)]
    pub config: PathBuf,

    /// Also stop when standard input closes: for a parent that may die.
    #[arg(long, hide = true)]
    pub stop_with_stdin: bool,
}

/// How often the ledger's sum is read: where the store keeps it, and where every
/// posting is summed for it.
const LEDGER_KEPT_EVERY: Duration = Duration::from_secs(1);
const LEDGER_SUMMED_EVERY: Duration = Duration::from_secs(15 * 60);

/// How often due tasks are looked for.
const TASKS_EVERY: Duration = Duration::from_millis(200);

/// How often rows that are over are looked for, and sums of refusals whose minute has
/// ended.
const HOUSE_KEPT_EVERY: Duration = Duration::from_secs(1);

/// How long blocking calls that were left behind may take after everything has
/// been stopped in order.
const LEFT_BEHIND_MAX: Duration = Duration::from_secs(1);

/// What readiness asks; each becomes true once, the last false again at a drain.
#[derive(Debug, Default)]
struct Ready {
    keys_and_store: AtomicBool,
    listening: AtomicBool,
    clock: std::sync::OnceLock<Arc<ClockWatch>>,
}

/// Runs `onecard serve`.
///
/// # Errors
/// When the configuration is wrong, a key is missing or a port is taken.
pub fn run(args: ServeArgs) -> anyhow::Result<()> {
    let loaded = load::load(&args.config)?;
    load::check_material(&loaded.file)?;
    logs::install(&loaded.file.log).context("logs cannot be set up")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(args, loaded));
    // The store is closed by now. What still blocks a thread is not waited for: a
    // process that was told to stop, and says that it has, must also end.
    runtime.shutdown_timeout(LEFT_BEHIND_MAX);
    served
}

async fn serve(args: ServeArgs, loaded: Loaded) -> anyhow::Result<()> {
    // First of all: metric handles bind when they are first used.
    let prometheus = metrics::install().context("metrics cannot be set up")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stop = CancellationToken::new();
    let file = loaded.file.clone();
    let fixed = Fixed::of(&loaded)?;
    for notice in &loaded.notices {
        tracing::warn!(notice, "known and not verified");
    }

    // The operators' side listens first and says what is not ready yet.
    let ready = Arc::new(Ready::default());
    let opened_store = Arc::new(std::sync::OnceLock::new());
    let opened_gateway = Arc::new(std::sync::OnceLock::new());
    let operators = operators(&file, &ready, &opened_store, &opened_gateway, prometheus).await?;
    let operators = tokio::spawn(operators.serve(stop.clone()));

    let opened = open::open(loaded, Arc::clone(&clock)).await?;
    let Opened { gateway, store, libraries, insurers } = opened;
    let _ = opened_store.set(store.clone());
    let _ = opened_gateway.set(Arc::clone(&gateway));
    // Under PostgreSQL the folder may have had no use until now.
    std::fs::create_dir_all(&file.store.dir).context("the store's folder cannot be made")?;
    let acts = vec![
        (tasks::HAND, tasks::hand_of(Arc::clone(&gateway))),
        (holder::HAND, holder::hand_of(Arc::clone(&gateway))),
    ];
    let hand =
        net::HandServer::bind(&file.store.dir, acts).context("the operators' socket cannot be made")?;
    let hand = tokio::spawn(hand.serve(stop.clone()));
    ready.keys_and_store.store(true, Ordering::Release);

    let background = TaskTracker::new();
    let envelopes = envelopes(&gateway, &clock);
    let to_backends = (libraries, insurers);
    let lines = Lines::open(&gateway, to_backends, &envelopes, &file.tls.peers, &background, &stop)?;
    background.spawn(TaskRunner::new(Arc::clone(&gateway), TASKS_EVERY).run(stop.clone()));
    background.spawn(Housekeeper::new(Arc::clone(&gateway), HOUSE_KEPT_EVERY).run(stop.clone()));
    let clock_watch = Arc::new(ClockWatch::from(clock.now_ms()));
    let _ = ready.clock.set(Arc::clone(&clock_watch));
    background.spawn(watch::tasks(Arc::clone(&gateway), stop.clone()));
    background.spawn(watch::gauges(Arc::clone(&gateway), clock_watch, stop.clone()));
    match file.store.engine {
        StoreEngine::Embedded => {
            background.spawn(watch::ledger(Arc::clone(&gateway), LEDGER_KEPT_EVERY, stop.clone()));
            background.spawn(watch::archive(file.store.clone(), stop.clone()));
            if let OpenStore::Embedded(store) = &store {
                let (store, clock) = (Arc::clone(store), Arc::clone(&clock));
                background.spawn(watch::retain(store, file.store.clone(), clock, stop.clone()));
            }
            let journal = file.store.dir.join("journal");
            background.spawn(fold::in_full(journal, Arc::clone(&clock), stop.clone()));
        }
        StoreEngine::Postgres => {
            background.spawn(watch::ledger(Arc::clone(&gateway), LEDGER_SUMMED_EVERY, stop.clone()));
        }
    }

    let drain = CancellationToken::new();
    let terminals_tls = Arc::new(net::TlsState::load(load::tls(&file.tls.terminals), Arc::clone(&clock))?);
    let peers_tls = Arc::new(net::TlsState::load(load::tls(&file.tls.peers), Arc::clone(&clock))?);
    let terminals =
        net::Server::bind(net::ServerOptions::at(file.listen.terminals), Arc::clone(&terminals_tls))?;
    let peers = net::Server::bind(net::ServerOptions::at(file.listen.peers), Arc::clone(&peers_tls))?;
    tracing::info!(
        region = file.region.province, terminals = %terminals.local_addr(), peers = %peers.local_addr(),
        operators = %file.listen.operators, "the gateway serves"
    );
    let (terminal_service, health) = edge::terminals(&gateway)?;
    health.serving().await;
    let terminals = tokio::spawn(terminals.serve(terminal_service, drain.clone()));
    let peers = tokio::spawn(peers.serve(edge::peers(&gateway, &envelopes)?, drain.clone()));
    ready.listening.store(true, Ordering::Release);

    let reloads = watch::Reloads { folder: args.config, fixed, lines, terminals_tls, peers_tls };
    watch::until_told(args.stop_with_stdin, &reloads).await?;

    // Last in, first out: no new calls, those under way finish, then the tasks,
    // then the store.
    tracing::info!("draining");
    ready.listening.store(false, Ordering::Release);
    health.not_serving().await;
    drain.cancel();
    let (terminals, peers) = tokio::join!(terminals, peers);
    tracing::info!(terminals = ?terminals.ok(), peers = ?peers.ok(), "drained");
    stop.cancel();
    background.close();
    if tokio::time::timeout(limits::DRAIN_MAX, background.wait()).await.is_err() {
        tracing::warn!("background work did not end in time");
    }
    store.close().await;
    operators.await??;
    hand.await??;
    tracing::info!("stopped");
    Ok(())
}

async fn operators(
    file: &GatewayFile,
    ready: &Arc<Ready>,
    store: &Arc<std::sync::OnceLock<OpenStore>>,
    gateway: &Arc<std::sync::OnceLock<Arc<Gateway>>>,
    prometheus: metrics_exporter_prometheus::PrometheusHandle,
) -> anyhow::Result<OpsServer> {
    let (keys, listening, store) = (Arc::clone(ready), Arc::clone(ready), Arc::clone(store));
    let watched = Arc::clone(ready);
    let gateway = Arc::clone(gateway);
    let sources = OpsSources {
        metrics: Box::new(move || prometheus.render()),
        readiness: vec![
            // A configuration or trust list that is wrong ends the start before this.
            ReadinessCheck::new("keys, configuration, trust list", move || {
                keys.keys_and_store.load(Ordering::Acquire)
            }),
            ReadinessCheck::new("store", move || store.get().is_some_and(|store| store.is_ready())),
            ReadinessCheck::new("clock", move || watched.clock.get().is_none_or(|clock| clock.is_right())),
            ReadinessCheck::new("listeners", move || listening.listening.load(Ordering::Acquire)),
        ],
        tasks: Box::new(move || {
            let gateway = gateway.get().cloned();
            Box::pin(async move { tasks::json(&*gateway?).await })
        }),
    };
    let options = OpsOptions { listen: file.listen.operators, beyond_loopback: false };
    Ok(OpsServer::bind(&options, sources).await?)
}

/// Seals and opens what goes to and comes from the other members.
fn envelopes(gateway: &Arc<Gateway>, clock: &Arc<dyn Clock>) -> Arc<federation::Envelopes> {
    let (vault, clock) = (Arc::clone(gateway.vault()), Arc::clone(clock));
    Arc::new(federation::Envelopes::new(gateway.province(), vault, clock, Arc::new(SystemRng)))
}
