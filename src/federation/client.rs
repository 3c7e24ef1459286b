//! Our side of a call to a peer: seal, send, open the answer. Every call is
//! idempotent at the peer by the origin's request, so a lost answer is asked for
//! again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, watch};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::{
    envelope::{Envelopes, Opened, RunId, Sealed},
    run::{Came, PeerRun},
    wire,
};
use crate::{
    crypto::ChipChallenge,
    gateway::{
        CardAsk, CardSaid, ChipBegun, CryptoPool, DenyDelta, DenyTold, Gateway, HolderConfirmed, Origin,
        PeerError, Peers,
    },
    identity::CardIdentifier,
    limits,
    model::{Breaker, BreakerOptions, BreakerState, Millis, Token16},
    proto::federation::v1::{
        self as message, ExchangeRequest, message::Content, peer_service_client::PeerServiceClient,
    },
    scenes::card::HolderData,
    telemetry::metrics::{self, CallOutcome},
    trust::TrustList,
};

/// How far a peer knows our deny list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerKnows {
    pub version: u64,
    /// `None`: the peer knows of no epochs.
    pub epoch: Option<u64>,
}

/// The certificate we show to peers and the roots we believe, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerTls {
    pub roots: Vec<u8>,
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerTls")
    }
}

/// Calls under way to one peer; a slow peer fills its own places only.
const CALLS_PER_PEER_MAX: usize = 64;

/// A peer's line could not be prepared.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint of region {province} cannot be used: {why}")]
pub struct BadEndpoint {
    pub province: u32,
    pub why: String,
}

#[derive(Debug)]
struct Peer {
    province: u32,
    /// What the line was made from.
    endpoint: String,
    tls_name: String,
    client: PeerServiceClient<Channel>,
    places: Semaphore,
    breaker: Mutex<Breaker>,
    run: PeerRun,
}

/// A peer that is away is asked again within seconds of its return: gates of its
/// cards' holders wait. The push of the deny list asks all the time anyway.
const BREAKER: BreakerOptions = BreakerOptions { failures: 5, pause_ms: 500, pause_max_ms: 5_000 };

/// Whether a call asks the breaker first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admit {
    /// Somebody waits: better told at once that the peer is away.
    ByBreaker,
    /// It is repeated until it succeeds and so finds out when the peer is back.
    Always,
}

impl Peer {
    /// Changes the breaker and shows its state when that changed.
    fn tell<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = breaker.state();
        let told = change(&mut breaker);
        let after = breaker.state();
        drop(breaker);
        if before != after {
            tracing::info!(peer = self.province, breaker = after.name(), "a peer's breaker changed");
            show(self.province, after);
        }
        told
    }
}

fn show(province: u32, state: BreakerState) {
    let state = match state {
        BreakerState::Closed => metrics::Breaker::Closed,
        BreakerState::HalfOpen => metrics::Breaker::Probing,
        BreakerState::Open => metrics::Breaker::Open,
    };
    metrics::peer_breaker(province, state);
}

/// An admitted call. Dropped without a report (the caller went away) it gives a
/// probe's place back.
struct Admitted<'a> {
    peer: &'a Peer,
    gateway: &'a Gateway,
    reported: bool,
}

impl Admitted<'_> {
    /// Whatever a peer says and signs, it is there.
    fn report(mut self, answered: bool) {
        self.reported = true;
        let now = self.gateway.now_ms();
        self.peer.tell(|breaker| if answered { breaker.succeeded() } else { breaker.failed(now) });
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if !self.reported {
            let now = self.gateway.now_ms();
            self.peer.tell(|breaker| breaker.withdrawn(now));
        }
    }
}

/// A line to every other member of a trust list. Connects when first used.
#[derive(Debug)]
pub struct PeerLines {
    peers: HashMap<u32, Arc<Peer>>,
    tls: Option<PeerTls>,
}

impl PeerLines {
    /// The provinces there are lines to.
    pub fn provinces(&self) -> impl Iterator<Item = u32> + '_ {
        self.peers.keys().copied()
    }
}

/// Asks every other member of the trust list over the lines that are in use.
#[derive(Debug)]
pub struct PeerClients {
    lines: ArcSwap<PeerLines>,
    envelopes: Arc<Envelopes>,
    gateway: Arc<Gateway>,
    pool: CryptoPool,
    version: watch::Sender<u64>,
}

impl PeerClients {
    /// Without lines: [`PeerClients::prepare`] makes them, [`PeerClients::take`] uses
    /// them.
    pub fn new(envelopes: Arc<Envelopes>, gateway: Arc<Gateway>) -> Arc<Self> {
        let version = watch::Sender::new(gateway.deny_list_version());
        let lines = ArcSwap::from_pointee(PeerLines { peers: HashMap::new(), tls: None });
        Arc::new(PeerClients { lines, envelopes, gateway, pool: CryptoPool::new(), version })
    }

    /// The lines that a trust list asks for. A member whose line is as it was keeps
    /// the one in use, unless our own certificate has changed.
    ///
    /// # Errors
    /// When a member's endpoint is none.
    pub fn prepare(&self, trust: &TrustList, tls: PeerTls) -> Result<PeerLines, BadEndpoint> {
        let used = self.lines.load();
        let same_tls = used.tls.as_ref() == Some(&tls);
        let mut peers = HashMap::new();
        for member in trust.members().filter(|member| member.region != self.gateway.province()) {
            let known = used.peers.get(&member.region).filter(|peer| {
                same_tls && peer.endpoint == member.endpoint && peer.tls_name == member.tls_name
            });
            if let Some(known) = known {
                peers.insert(member.region, Arc::clone(known));
                continue;
            }
            let channel = channel(&member.endpoint, &member.tls_name, &tls)
                .map_err(|error| BadEndpoint { province: member.region, why: error.to_string() })?;
            let peer = Peer {
                province: member.region,
                endpoint: member.endpoint.clone(),
                tls_name: member.tls_name.clone(),
                client: PeerServiceClient::new(channel).max_decoding_message_size(limits::UPLOAD_BYTES_MAX),
                places: Semaphore::new(CALLS_PER_PEER_MAX),
                breaker: Mutex::new(Breaker::new(BREAKER)),
                run: PeerRun::default(),
            };
            show(member.region, BreakerState::Closed);
            peers.insert(member.region, Arc::new(peer));
        }
        Ok(PeerLines { peers, tls: Some(tls) })
    }

    /// Uses other lines from now on. Calls under way end on the line they began with.
    pub fn take(&self, lines: PeerLines) {
        self.lines.store(Arc::new(lines));
    }

    /// Follows the version of our own deny list.
    pub fn deny_list_versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Sends a part of our deny list; answers how far the peer knows it.
    ///
    /// # Errors
    /// When the peer did not take it.
    pub async fn push_deny_delta(&self, to: u32, delta: &DenyDelta) -> Result<PeerKnows, PeerError> {
        let content = Content::DenyListDelta(wire::delta_to_wire(delta));
        match self.exchange_as(Admit::Always, to, content, "").await? {
            Content::DenyListAccepted(accepted) => {
                Ok(PeerKnows { version: accepted.version, epoch: accepted.epoch })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Asks a peer for a part of what it knows of our deny list.
    ///
    /// # Errors
    /// When the peer did not tell.
    pub async fn ask_deny_list(&self, to: u32, after: Option<[u8; 16]>) -> Result<DenyTold, PeerError> {
        let province = self.gateway.province();
        let ask = message::DenyListAsk {
            region: format!("{province:06}"),
            after: after.map(|card| card.to_vec()).unwrap_or_default(),
        };
        match self.exchange_as(Admit::Always, to, Content::DenyListAsk(ask), "").await? {
            Content::DenyListTold(told) => wire::told_of(&told, province, after).map_err(bad),
            other => Err(unexpected(&other)),
        }
    }

    async fn exchange(&self, home: u32, content: Content, traceparent: &str) -> Result<Content, PeerError> {
        self.exchange_as(Admit::ByBreaker, home, content, traceparent).await
    }

    async fn exchange_as(
        &self,
        admit: Admit,
        home: u32,
        content: Content,
        traceparent: &str,
    ) -> Result<Content, PeerError> {
        let peer = self.lines.load().peers.get(&home).cloned().ok_or(PeerError::Unknown(home))?;
        let started = tokio::time::Instant::now();
        if admit == Admit::ByBreaker
            && let Err(resting) = peer.tell(|breaker| breaker.admit(self.gateway.now_ms()))
        {
            metrics::peer_called(peer.province, CallOutcome::NotSent, started.elapsed());
            return Err(PeerError::Unreachable(resting.to_string()));
        }
        let admitted = Admitted { peer: &peer, gateway: &self.gateway, reported: false };
        let result =
            match tokio::time::timeout(limits::PEER_CALL_MAX, self.ask(&peer, content, traceparent)).await {
                Ok(result) => result,
                Err(_) => Err(PeerError::Unreachable("no answer in time".into())),
            };
        let outcome = match &result {
            Ok(_) => CallOutcome::Answered,
            Err(_) => CallOutcome::Unknown,
        };
        metrics::peer_called(peer.province, outcome, started.elapsed());
        admitted.report(result.is_ok());
        match result? {
            Content::Refusal(refusal) => Err(wire::refusal_of(&refusal)),
            content => Ok(content),
        }
    }

    /// One try and, where the line failed, a second: connections that a restarted
    /// peer has left behind fail once.
    async fn ask(&self, peer: &Peer, content: Content, traceparent: &str) -> Result<Content, PeerError> {
        let _place =
            peer.places.acquire().await.map_err(|_| PeerError::Unreachable("shutting down".into()))?;
        let send = |to_run| self.send(peer, to_run, content.clone(), traceparent);
        match peer.run.ask(&send).await {
            Err(PeerError::Unreachable(why)) => {
                tracing::debug!(peer = peer.province, why, "asking a peer again");
                tokio::time::sleep(Duration::from_millis(20)).await;
                peer.run.ask(&send).await
            }
            done => done,
        }
    }

    async fn send(
        &self,
        peer: &Peer,
        to_run: Option<RunId>,
        content: Content,
        traceparent: &str,
    ) -> Result<Came, PeerError> {
        let unreachable = |why: String| PeerError::Unreachable(why);
        let (envelopes, live, to) = (Arc::clone(&self.envelopes), self.gateway.live(), peer.province);
        let parent = traceparent.to_owned();
        let question = Sealed::Question { to_run };
        let sealed = self.pool.run(move || envelopes.seal(to, content, question, &parent, &live.trust)).await;
        let (envelope, id) = sealed
            .map_err(|refusal| unreachable(refusal.reason.code().into()))?
            .map_err(|error| unreachable(error.to_string()))?;

        let mut request = tonic::Request::new(ExchangeRequest { envelope: Some(envelope) });
        if let Ok(value) = traceparent.parse() {
            request.metadata_mut().insert("traceparent", value);
        }
        request.set_timeout(limits::PEER_CALL_MAX);
        let answer =
            peer.client.clone().exchange(request).await.map_err(|status| unreachable(status.to_string()))?;
        let answer = answer.into_inner();
        let Some(envelope) = answer.envelope else {
            return match answer.run.try_into() {
                Ok(run) => Ok(Came::SentBack(run)),
                Err(_) => Err(unreachable("an empty answer".into())),
            };
        };

        let (envelopes, live) = (Arc::clone(&self.envelopes), self.gateway.live());
        let opened = self.pool.run(move || envelopes.open(&envelope, to, Some(id), &live.trust)).await;
        let Opened { content, .. } = opened
            .map_err(|refusal| unreachable(refusal.reason.code().into()))?
            .map_err(|refused| unreachable(refused.to_string()))?;
        Ok(Came::Answer(Box::new(content)))
    }
}

fn channel(endpoint: &str, tls_name: &str, tls: &PeerTls) -> Result<Channel, tonic::transport::Error> {
    let config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&tls.roots))
        .identity(Identity::from_pem(&tls.certificate, &tls.key))
        .domain_name(tls_name);
    let endpoint = Endpoint::from_shared(endpoint.to_owned())?
        .tls_config(config)?
        .connect_timeout(Duration::from_secs(1))
        .http2_keep_alive_interval(limits::KEEPALIVE_INTERVAL)
        .keep_alive_timeout(limits::KEEPALIVE_WAIT)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

fn unexpected(content: &Content) -> PeerError {
    let kind = std::mem::discriminant(content);
    PeerError::Unreachable(format!("an answer of another kind: {kind:?}"))
}

fn bad(_: wire::BadMessage) -> PeerError {
    PeerError::Unreachable("an answer that is not well formed".into())
}

impl Peers for PeerClients {
    fn begin_chip(
        &self,
        home: u32,
        origin: Origin,
        challenge: ChipChallenge,
        card: CardIdentifier,
    ) -> BoxFuture<'_, Result<ChipBegun, PeerError>> {
        Box::pin(async move {
            let ask = Content::ChipRelayBegin(message::ChipRelayBegin {
                origin: Some(wire::origin_to_wire(&origin)),
                challenge: Some(wire::challenge_to_wire(&challenge, card)),
            });
            match self.exchange(home, ask, &origin.traceparent).await? {
                Content::ChipRelayBegun(begun) => wire::begun_of(&begun).map_err(bad),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn finish_chip(
        &self,
        home: u32,
        origin: Origin,
        session: Token16,
        data: HolderData,
    ) -> BoxFuture<'_, Result<HolderConfirmed, PeerError>> {
        Box::pin(async move {
            let ask = Content::ChipRelayFinish(wire::finish_to_wire(&origin, session, &data));
            match self.exchange(home, ask, &origin.traceparent).await? {
                Content::HolderConfirmed(confirmed) => wire::confirmed_of(confirmed).map_err(bad),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn settle_code(
        &self,
        home: u32,
        origin: Origin,
        code: Vec<u8>,
        stood_in_at: Option<Millis>,
    ) -> BoxFuture<'_, Result<HolderConfirmed, PeerError>> {
        Box::pin(async move {
            let ask = Content::CodeSettle(message::CodeSettle {
                origin: Some(wire::origin_to_wire(&origin)),
                code,
                stood_in_at_ms: stood_in_at.unwrap_or(0),
            });
            match self.exchange(home, ask, &origin.traceparent).await? {
                Content::HolderConfirmed(confirmed) => wire::confirmed_of(confirmed).map_err(bad),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn ask_card(
        &self,
        home: u32,
        origin: Origin,
        card: CardIdentifier,
        ask: CardAsk,
    ) -> BoxFuture<'_, Result<CardSaid, PeerError>> {
        Box::pin(async move {
            let ask = wire::card_ask_to_wire(&origin, card, ask);
            match self.exchange(home, ask, &origin.traceparent).await? {
                Content::CardStateAnswer(said) => wire::said_of(&said).map_err(bad),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn deny_list_changed(&self, version: u64) {
        self.version.send_if_modified(|known| {
            let is_news = version > *known;
            *known = version.max(*known);
            is_news
        });
    }
}
