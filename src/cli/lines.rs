//! The lines that a serving gateway keeps open, to libraries, insurers and peers, and how
//! a reload exchanges them: what is as it was stays connected, what is new or
//! changed is connected anew, and a call under way keeps the line it began with.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{insurers::InsurerLines, load::Loaded, open::libraries_over, options::TlsSection};
use crate::{
    adapters::sip2::Sip2Adapter,
    federation::{DenySync, Envelopes, PeerClients, PeerLines, PeerTls},
    gateway::{Gateway, Peers},
    trust::TrustList,
};

/// The lines of one gateway.
pub struct Lines {
    gateway: Arc<Gateway>,
    clients: Arc<PeerClients>,
    peers_tls: TlsSection,
    background: TaskTracker,
    stop: CancellationToken,
    kept: Mutex<Kept>,
}

/// What runs for the lines that are open now.
struct Kept {
    libraries: Arc<Sip2Adapter>,
    insurers: InsurerLines,
    keep_alive: CancellationToken,
    /// The push of our deny list to each peer.
    pushes: BTreeMap<u32, CancellationToken>,
}

/// Lines that a checked configuration asks for; nothing is open or exchanged yet.
pub struct Wanted {
    libraries: Arc<Sip2Adapter>,
    insurers: InsurerLines,
    peers: PeerLines,
}

impl Lines {
    /// Joins the peers and begins to keep lines alive. Once for a gateway, before calls
    /// are let in.
    ///
    /// # Errors
    /// When a certificate cannot be read or a member's endpoint is none.
    pub fn open(
        gateway: &Arc<Gateway>,
        (libraries, insurers): (Arc<Sip2Adapter>, InsurerLines),
        envelopes: &Arc<Envelopes>,
        peers_tls: &TlsSection,
        background: &TaskTracker,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let clients = PeerClients::new(Arc::clone(envelopes), Arc::clone(gateway));
        let peers = clients.prepare(&gateway.live().trust, peer_tls(peers_tls)?)?;
        gateway.join(Arc::clone(&clients) as Arc<dyn Peers>);
        let lines = Lines {
            gateway: Arc::clone(gateway),
            clients,
            peers_tls: peers_tls.clone(),
            background: background.clone(),
            stop: stop.clone(),
            kept: Mutex::new(Kept {
                libraries: Arc::clone(&libraries),
                insurers: insurers.clone(),
                keep_alive: CancellationToken::new(),
                pushes: BTreeMap::new(),
            }),
        };
        lines.keep(Wanted { libraries, insurers, peers });
        Ok(lines)
    }

    /// Makes the lines that another configuration asks for. Nothing is exchanged, so
    /// that a configuration with a line that cannot be used is refused whole.
    ///
    /// # Errors
    /// A secret that is not where it should be, an endpoint that is none.
    pub fn prepare(&self, loaded: &Loaded) -> anyhow::Result<Wanted> {
        let (libraries, insurers) = {
            let kept = self.kept();
            (kept.libraries.with(loaded.sip2.clone())?, kept.insurers.with(loaded.nhsa.clone())?)
        };
        Ok(Wanted { libraries: Arc::new(libraries), insurers, peers: self.peers(&loaded.live.trust)? })
    }

    /// Takes the configuration and its lines.
    pub fn take(&self, loaded: Loaded, wanted: Wanted) {
        let libraries = libraries_over(&loaded.live.libraries, &wanted.libraries);
        self.gateway.replace_libraries(libraries);
        self.gateway.replace_insurers(wanted.insurers.ports());
        self.gateway.replace_live(loaded.live);
        self.keep(wanted);
    }

    fn peers(&self, trust: &TrustList) -> anyhow::Result<PeerLines> {
        Ok(self.clients.prepare(trust, peer_tls(&self.peers_tls)?)?)
    }

    fn keep(&self, wanted: Wanted) {
        let Wanted { libraries, insurers, peers } = wanted;
        let members: BTreeSet<u32> = peers.provinces().collect();
        self.clients.take(peers);
        let mut kept = self.kept();
        kept.keep_alive.cancel();
        kept.keep_alive = self.stop.child_token();
        kept.libraries = Arc::clone(&libraries);
        kept.insurers = insurers;
        let keep_alive = kept.keep_alive.clone();
        self.background.spawn(async move {
            // The adapter of before is let go with its task, and its lines with it.
            keep_alive.run_until_cancelled((*libraries).clone().run()).await;
        });
        kept.pushes.retain(|province, push| {
            let stays = members.contains(province);
            if !stays {
                push.cancel();
            }
            stays
        });
        for to in members {
            kept.pushes.entry(to).or_insert_with(|| {
                let stop = self.stop.child_token();
                let push = DenySync::new(Arc::clone(&self.gateway), Arc::clone(&self.clients), to);
                self.background.spawn(push.run(stop.clone()));
                stop
            });
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What we show to peers and whom we believe, as the files are now.
fn peer_tls(section: &TlsSection) -> anyhow::Result<PeerTls> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    Ok(PeerTls {
        roots: read(&section.client_roots)?,
        certificate: read(&section.certificate)?,
        key: read(&section.key)?,
    })
}
