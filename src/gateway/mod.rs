//! The way of a request: admit → authenticate the terminal → authenticate the
//! holder → authorise → decide → commit → (call the adapter, commit the result)
//! → answer.
//!
//! Every flow here reads as that sentence. The rules are in `scenes`, the disk in
//! `store`, the backends in `adapters`; gRPC is above and unknown here. A peer
//! region's request takes the same way, with the peer in the terminal's place.

mod admit;
mod ask;
mod audit;
mod authentication;
mod call;
mod caps;
mod cards;
mod deny;
mod deny_epoch;
mod erase;
mod goodbye;
mod guesses;
mod home;
mod import;
mod inquiry;
mod library;
mod medical;
pub mod method;
mod money;
mod options;
mod policy;
mod pool;
mod ports;
mod reconcile;
mod refusal;
mod registry;
mod statement;
mod sweep;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;
mod transit;
mod upload;
mod who;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

pub use admit::{Admission, Permit};
pub use authentication::{ChipAsk, DocumentAsk};
pub use call::{Call, Header};
pub use caps::{CapBook, CapLine, LedgerFile};
pub use deny_epoch::Heard;
pub use erase::{ErasingHands, HolderOf, NotErased};
pub use home::PeerAsker;
pub use import::{CardLine, ImportReport};
pub use inquiry::{TransactionAsk, TransactionKey};
pub use library::{Libraries, LibraryAsk};
pub use medical::{Insurers, MedicalAsk};
pub use method::{Method, Role};
pub use money::MoneyAsk;
pub use options::{Live, OperatorLine};
pub use policy::{CodeHome, PolicyFile, ScenePolicy, StandInPolicy};
pub use pool::CryptoPool;
pub use ports::{
    CardAsk, CardSaid, ChipBegun, DenyDelta, DenyTold, HolderConfirmed, Origin, PeerError, Peers,
};
pub use reconcile::CaseWork;
pub use refusal::{Refusal, RefusalKind, Violation};
pub use registry::{Caller, Participant, ParticipantLine, Registry, RegistryFile, RegistryProblem};
pub use sweep::Housekeeper;
pub use tasks::{HandRefused, RunBy, TaskHand, TaskRule, TaskRunner, rule as task_rule};
pub use transit::{Journeys, JourneysAsk, TapAsk, TapSide};
pub use upload::{OfflineAsk, Uploaded};

use crate::{
    crypto::{CardSuite, KeyVault},
    limits,
    model::{Clock, Reason, Rng},
    scenes::library::LibraryPort,
    store::Store,
    trust::DenyList,
};

/// What a gateway is made of. Everything that varies comes in here, so that the
/// same gateway runs in production, in the sandbox and under simulation.
pub struct Parts {
    /// Our province, 110000 style.
    pub province: u32,
    pub store: Arc<dyn Store>,
    pub vault: Arc<dyn KeyVault>,
    pub suite: Arc<dyn CardSuite>,
    pub libraries: Libraries,
    pub insurers: Insurers,
    pub live: Live,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
}

/// One region's gateway.
pub struct Gateway {
    province: u32,
    store: Arc<dyn Store>,
    vault: Arc<dyn KeyVault>,
    suite: Arc<dyn CardSuite>,
    /// The lines that are open; follows `live`.
    libraries: ArcSwap<Libraries>,
    /// The lines to insurers that are open; follows `live`.
    insurers: ArcSwap<Insurers>,
    msgids: medical::MsgIds,
    /// Everything that may change while we run, swapped whole.
    live: ArcSwap<Live>,
    deny: DenyList,
    /// The peers on whose word our list was begun anew since we started.
    begun_on_word: Mutex<BTreeSet<u32>>,
    peers: OnceLock<Arc<dyn Peers>>,
    admission: Admission,
    /// One budget a member region, so that a busy one cannot crowd out another.
    peer_rates: governor::DefaultKeyedRateLimiter<u32>,
    audit: audit::Audit,
    guesses: guesses::Guesses,
    leases: caps::Leases,
    holders: upload::KnownHolders,
    pool: pool::CryptoPool,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("province", &self.province).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Opens the gateway over its store: the deny list is read back before the
    /// first call is let in.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(parts: Parts) -> Result<Arc<Self>, Refusal> {
        let gateway = Gateway {
            province: parts.province,
            store: parts.store,
            vault: parts.vault,
            suite: parts.suite,
            libraries: ArcSwap::from_pointee(parts.libraries),
            insurers: ArcSwap::from_pointee(parts.insurers),
            msgids: medical::MsgIds::starting(parts.clock.now_ms()),
            live: ArcSwap::from_pointee(parts.live),
            deny: DenyList::default(),
            begun_on_word: Mutex::default(),
            peers: OnceLock::new(),
            admission: Admission::default(),
            peer_rates: governor::RateLimiter::keyed(governor::Quota::per_second(limits::PEER_RATE)),
            audit: audit::Audit::default(),
            guesses: guesses::Guesses::default(),
            leases: caps::Leases::default(),
            holders: upload::known_holders(),
            pool: pool::CryptoPool::new(),
            clock: parts.clock,
            rng: parts.rng,
        };
        gateway.read_back_deny_list().await?;
        gateway.follow_the_store().await?;
        Ok(Arc::new(gateway))
    }

    /// Joins the other regions; once, before calls are let in.
    pub fn join(&self, peers: Arc<dyn Peers>) {
        assert!(self.peers.set(peers).is_ok(), "a gateway joins its peers once");
    }

    fn peers(&self) -> Option<&Arc<dyn Peers>> {
        self.peers.get()
    }

    /// Takes a configuration that was checked whole. Calls under way keep the one
    /// they began with.
    pub fn replace_live(&self, live: Live) {
        self.live.store(Arc::new(live));
    }

    /// Takes other lines to libraries, before the configuration that names them is
    /// taken. Calls under way keep the line they began with.
    pub fn replace_libraries(&self, libraries: Libraries) {
        self.libraries.store(Arc::new(libraries));
    }

    /// Takes other lines to insurers, as for libraries.
    pub fn replace_insurers(&self, insurers: Insurers) {
        self.insurers.store(Arc::new(insurers));
    }

    /// The line to a library; `None` where there is none.
    fn line_to(&self, library: &str) -> Option<Arc<dyn LibraryPort>> {
        self.libraries.load().get(library).cloned()
    }

    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Our province, 110000 style.
    pub fn province(&self) -> u32 {
        self.province
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The registered terminal that a certificate names.
    pub fn caller(&self, certificate: &crate::model::PeerCertificate) -> Option<Arc<Caller>> {
        self.live.load().registry.caller(certificate)
    }

    /// Lets a call in or refuses it: permission, then rate, then room. The order
    /// matters: who may not call costs nobody else's room.
    ///
    /// # Errors
    /// The refusal; nothing has been done.
    pub fn admit(&self, mut call: Call) -> Result<Call, Refusal> {
        call.caller.may(call.method).map_err(Refusal::forbidden)?;
        call.caller
            .within_rate()
            .map_err(|reason| Refusal::later(RefusalKind::Exhausted, reason, Duration::from_millis(200)))?;
        call.permit = Some(self.admission.enter(call.method.rank)?);
        Ok(call)
    }

    /// Lets a member region's message in, as a terminal's call is let in: within its
    /// rate, and where there is room for its rank.
    ///
    /// # Errors
    /// `RateExceeded`, `Overloaded`; nothing has been done.
    pub fn admit_peer(&self, province: u32) -> Result<Permit, Refusal> {
        if self.peer_rates.check_key(&province).is_err() {
            let wait = Duration::from_millis(200);
            return Err(Refusal::later(RefusalKind::Exhausted, Reason::RateExceeded, wait));
        }
        self.admission.enter(method::PEER.rank)
    }

    /// The deadline of a call that brought none.
    pub fn default_deadline(&self) -> Instant {
        tokio::time::Instant::now().into_std() + limits::DEADLINE_DEFAULT
    }

    /// What every request about a person must show: a purpose the scene accepts
    /// and a clock that is not absurd.
    fn authorise(&self, call: &Call, header: &Header) -> Result<(), Refusal> {
        self.live.load().policy.accepts(call.method.scene, header.purpose).map_err(Refusal::forbidden)?;
        self.clock_is_sane(header)
    }

    fn clock_is_sane(&self, header: &Header) -> Result<(), Refusal> {
        if (header.terminal_time_ms - self.now_ms()).abs() > limits::TERMINAL_CLOCK_SKEW_MS {
            return Err(Refusal::invalid(vec![Violation::new(
                "header.terminal_time_ms",
                "与网关时间相差超过 24 小时，请校准终端时钟",
                "is more than 24 hours off the gateway's clock; set the terminal's clock",
            )]));
        }
        Ok(())
    }

    /// Refuses a call about a card that a deny list names.
    fn not_denied(&self, card: &crate::identity::CardIdentifier) -> Result<(), Reason> {
        match self.deny.state(card.as_bytes(), self.now_ms()) {
            None => Ok(()),
            Some(denied) => Err(deny::reason_of(denied.card_state)),
        }
    }
}
