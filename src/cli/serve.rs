//! `onecard serve`: one region's gateway, as production runs it. Joins every room:
//! opens keys and store, builds the gateway, joins the peers, listens, reloads on
//! SIGHUP, drains on SIGTERM.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    load::{self, Loaded},
    open,
};
use crate::{
    api, federation,
    gateway::{Gateway, TaskRunner},
    limits,
    model::{Clock, SystemClock, SystemRng},
    net::{self, ops},
    proto,
    telemetry::{logs, metrics},
    trust::TrustList,
};

/// Runs one region's gateway until it is told to stop.
#[derive(Debug, Args)]
pub struct Serve {
    /// The region's folder of the configuration, for example config/tianjin.
    #[arg(long)]
    config: PathBuf,

    /// Also stop when standard input closes: for a parent that may die.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// How often the gauges of slow things are set.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// How often due tasks are looked for.
const TASKS_EVERY: Duration = Duration::from_millis(200);

impl Serve {
    /// Runs it.
    ///
    /// # Errors
    /// When the configuration is wrong, a key is missing or a port is taken.
    pub fn run(self) -> anyhow::Result<()> {
        let loaded = load::load(&self.config)?;
        logs::install(&loaded.file.log.filter, loaded.file.log.format == super::options::LogFormat::Json)
            .context("logs cannot be set up")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.serve(loaded))
    }

    async fn serve(self, loaded: Loaded) -> anyhow::Result<()> {
        let prometheus = metrics::install().context("metrics cannot be set up")?;
        let town_stop = CancellationToken::new();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let file = loaded.file.clone();

        // Ready only when keys, configuration, store and trust list are loaded: the
        // operators' side listens first and says so.
        let readiness = ops::Readiness::new(&["keys", "configuration", "store", "trust-list", "listeners"]);
        let operators = ops::bind(file.listen.operators).await.context("the operators' port")?;
        let operators_task = tokio::spawn(operators.serve(prometheus, readiness.clone(), town_stop.clone()));

        let parts = open::open(loaded, Arc::clone(&clock))?;
        readiness.done("keys");
        readiness.done("configuration");
        readiness.done("store");
        readiness.done("trust-list");
        let (gateway, store) = (parts.gateway, parts.store);

        let background = TaskTracker::new();
        let peers = join_peers(&file, &gateway, parts.trust, &clock, &background, &town_stop)?;
        background.spawn(TaskRunner::new(Arc::clone(&gateway), TASKS_EVERY).run(town_stop.clone()));
        background.spawn(gauges(Arc::clone(&gateway), Arc::clone(&store), town_stop.clone()));

        let terminals_tls = Arc::new(net::TlsState::load(load::tls(&file.tls.terminals), Arc::clone(&clock))?);
        let peers_tls = Arc::new(net::TlsState::load(load::tls(&file.tls.peers), Arc::clone(&clock))?);
        let terminals = net::Server::bind(net::ServerOptions::at(file.listen.terminals), Arc::clone(&terminals_tls))?;
        let peer_door = net::Server::bind(net::ServerOptions::at(file.listen.peers), Arc::clone(&peers_tls))?;
        tracing::info!(
            region = file.region.province,
            terminals = %terminals.local_addr(), peers = %peer_door.local_addr(), operators = %file.listen.operators,
            "the gateway serves"
        );

        let drain = CancellationToken::new();
        let terminals = tokio::spawn(terminals.serve(terminal_service(&gateway)?, drain.clone()));
        let peer_door = tokio::spawn(peer_door.serve(peer_service(&gateway, &peers)?, drain.clone()));
        readiness.done("listeners");

        let reloads = Reloads { config: self.config.clone(), gateway: Arc::clone(&gateway), terminals_tls, peers_tls };
        until_told(self.stop_with_stdin, reloads).await?;

        // Last in, first out: no new calls, finish those under way, then the tasks,
        // then the store.
        tracing::info!("draining");
        readiness.undone("listeners");
        drain.cancel();
        let (terminals, peer_door) = tokio::join!(terminals, peer_door);
        tracing::info!(terminals = ?terminals, peers = ?peer_door, "drained");
        town_stop.cancel();
        background.close();
        if tokio::time::timeout(limits::DRAIN_MAX, background.wait()).await.is_err() {
            tracing::warn!("background work did not end in time");
        }
        let _ = operators_task.await;
        store.close();
        tracing::info!("stopped");
        Ok(())
    }
}

/// The lines to the other members, and the push of our deny list to each.
fn join_peers(
    file: &super::options::GatewayFile,
    gateway: &Arc<Gateway>,
    trust: TrustList,
    clock: &Arc<dyn Clock>,
    background: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<Arc<federation::Envelopes>> {
    let envelopes = Arc::new(federation::Envelopes::new(
        gateway.province(),
        Arc::clone(gateway.vault()),
        Arc::clone(clock),
        Arc::new(SystemRng),
    ));
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let tls = federation::PeerTls {
        roots: read(&file.tls.peers.client_roots)?,
        certificate: read(&file.tls.peers.certificate)?,
        key: read(&file.tls.peers.key)?,
    };
    let peers = federation::PeerClients::new(&trust, &tls, Arc::clone(&envelopes), Arc::clone(gateway))?;
    gateway.join(Arc::clone(&peers) as Arc<dyn crate::gateway::Peers>);
    for to in peers.provinces().collect::<Vec<_>>() {
        let sync = federation::DenySync::new(Arc::clone(gateway), Arc::clone(&peers), to);
        background.spawn(sync.run(stop.clone()));
    }
    Ok(envelopes)
}

fn methods(gateway_limits: bool) -> anyhow::Result<Arc<net::Methods>> {
    let methods = net::Methods::from_descriptors(proto::DESCRIPTORS)?;
    let methods = if gateway_limits {
        methods
            .with_message_limit(crate::gateway::method::UPLOAD_TAPS.path, limits::UPLOAD_BYTES_MAX)
            .with_deadline(crate::gateway::method::UPLOAD_TAPS.path, limits::DEADLINE_MAX)
    } else {
        methods.with_message_limit(crate::gateway::method::PEER.path, limits::UPLOAD_BYTES_MAX)
    };
    Ok(Arc::new(methods))
}

type Edge = net::Edge<tonic_free::Routes>;

/// The terminals' contract behind the edge's layers.
fn terminal_service(gateway: &Arc<Gateway>) -> anyhow::Result<Edge> {
    Ok(net::edge(api::routes(Arc::clone(gateway)), methods(true)?))
}

/// The peers' door behind the same layers.
fn peer_service(gateway: &Arc<Gateway>, envelopes: &Arc<federation::Envelopes>) -> anyhow::Result<Edge> {
    Ok(net::edge(federation::routes(Arc::clone(gateway), Arc::clone(envelopes)), methods(false)?))
}
