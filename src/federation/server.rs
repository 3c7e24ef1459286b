//! The peers' side door: opens an envelope, hands it to the gateway, seals the
//! answer. A message that is stale, replayed, altered, from nobody or for somebody
//! else is refused, counted and journalled.

use std::sync::Arc;

use tonic::{Request, Response, Status, service::Routes};

use super::{
    envelope::{EnvelopeRefused, Envelopes, Opened, Sealed},
    wire::{self, BadMessage},
};
use crate::{
    gateway::{CardAsk, ChipAsk, CryptoPool, Gateway, PeerAsker, PeerError, Refusal},
    limits,
    model::{Assurance, CertIdentity, PeerCertificate, Reason},
    proto::federation::v1::{
        DenyListAccepted, Envelope, ExchangeRequest, ExchangeResponse,
        message::Content,
        peer_service_server::{PeerService, PeerServiceServer},
    },
    telemetry::metrics,
    trust::DenyPosition,
};

/// The member region whose certificate opened the connection.
fn caller_of<T>(request: &Request<T>) -> Option<u32> {
    match request.extensions().get::<Arc<PeerCertificate>>()?.identity()? {
        CertIdentity::Peer { province } => Some(province),
        CertIdentity::Terminal { .. } => None,
    }
}

/// The peers' door over one gateway.
pub fn routes(gateway: Arc<Gateway>, envelopes: Arc<Envelopes>) -> Routes {
    let server = PeerServer { gateway, envelopes, pool: CryptoPool::new() };
    Routes::new(PeerServiceServer::new(server).max_decoding_message_size(limits::UPLOAD_BYTES_MAX))
}

/// Answers peers.
#[derive(Debug)]
struct PeerServer {
    gateway: Arc<Gateway>,
    envelopes: Arc<Envelopes>,
    pool: CryptoPool,
}

impl PeerServer {
    async fn open(&self, envelope: Envelope, caller: u32) -> Result<Opened, EnvelopeRefused> {
        let (envelopes, live) = (Arc::clone(&self.envelopes), self.gateway.live());
        self.pool
            .run(move || envelopes.open(&envelope, caller, None, &live.trust))
            .await
            .unwrap_or(Err(EnvelopeRefused::Malformed))
    }

    async fn seal(
        &self,
        to: u32,
        content: Content,
        sealed: Sealed,
        trace: String,
    ) -> Result<Envelope, Status> {
        let (envelopes, live) = (Arc::clone(&self.envelopes), self.gateway.live());
        let done = self.pool.run(move || envelopes.seal(to, content, sealed, &trace, &live.trust)).await;
        match done {
            Ok(Ok((envelope, _))) => Ok(envelope),
            Ok(Err(error)) => {
                tracing::error!(%error, "an answer to a peer cannot be signed");
                Err(Status::unavailable("the answer cannot be signed"))
            }
            Err(_) => Err(Status::unavailable("shutting down")),
        }
    }

    /// Nothing is done. An honest peer does it once after each start of ours, so that
    /// it is no refusal to journal; a replay from before the start ends here too.
    fn send_back(&self, caller: u32) -> ExchangeResponse {
        metrics::envelope_sent_back(caller);
        tracing::info!(peer = caller, "sent an envelope back: it is for another run of this gateway");
        ExchangeResponse { envelope: None, run: self.envelopes.run().to_vec() }
    }

    async fn answer(&self, opened: Opened) -> Result<Content, PeerError> {
        let (from, fingerprint) = (opened.from, wire::fingerprint(&opened.content));
        let asker = |origin| -> Result<PeerAsker, PeerError> {
            let origin = wire::origin_of(origin, &opened.traceparent).map_err(bad)?;
            Ok(PeerAsker { province: from, origin, fingerprint })
        };
        match opened.content {
            Content::ChipRelayBegin(begin) => {
                let (card, challenge) = wire::challenge_of(begin.challenge).map_err(bad)?;
                let chip = ChipAsk { card, challenge };
                let begun = self.gateway.peer_begin_chip(asker(begin.origin)?, chip).await?;
                Ok(Content::ChipRelayBegun(wire::begun_to_wire(&begun)))
            }
            Content::ChipRelayFinish(finish) => {
                let data = wire::holder_data_of(&finish).map_err(bad)?;
                let session = wire::token_of(&finish.chip_session).map_err(bad)?;
                let confirmed = self.gateway.peer_finish_chip(asker(finish.origin)?, session, data).await?;
                Ok(Content::HolderConfirmed(wire::confirmed_to_wire(&confirmed, Assurance::Chip)))
            }
            Content::CodeSettle(settle) => {
                let stood_in_at = (settle.stood_in_at_ms != 0).then_some(settle.stood_in_at_ms);
                let asker = asker(settle.origin)?;
                let confirmed = self.gateway.peer_settle_code(asker, &settle.code, stood_in_at).await?;
                Ok(Content::HolderConfirmed(wire::confirmed_to_wire(&confirmed, Assurance::Code)))
            }
            Content::LossReport(report) => {
                let kind = wire::loss_of(report.kind).map_err(bad)?;
                self.card_ask(asker(report.origin)?, &report.card_identifier, CardAsk::ReportLoss(kind)).await
            }
            Content::LossLift(lift) => {
                self.card_ask(asker(lift.origin)?, &lift.card_identifier, CardAsk::LiftLoss).await
            }
            Content::CardStateRead(read) => {
                self.card_ask(asker(read.origin)?, &read.card_identifier, CardAsk::ReadState).await
            }
            Content::DenyListDelta(delta) => {
                let delta = wire::delta_of(delta, from).map_err(bad)?;
                let known = self.gateway.take_deny_delta(delta).await.map_err(not_now)?;
                let DenyPosition { epoch, version } = known;
                Ok(Content::DenyListAccepted(DenyListAccepted { version, epoch: Some(epoch) }))
            }
            Content::DenyListAsk(ask) => {
                let after = wire::ask_of(&ask, from).map_err(bad)?;
                let told = self.gateway.deny_list_known_of(from, after).await.map_err(not_now)?;
                Ok(Content::DenyListTold(wire::told_to_wire(&told)))
            }
            Content::ChipRelayBegun(_)
            | Content::HolderConfirmed(_)
            | Content::CardStateAnswer(_)
            | Content::DenyListAccepted(_)
            | Content::DenyListTold(_)
            | Content::Refusal(_) => Err(PeerError::Refused(Reason::FieldInvalid)),
        }
    }

    async fn card_ask(&self, asker: PeerAsker, card: &[u8], ask: CardAsk) -> Result<Content, PeerError> {
        let card = wire::card_of(card).map_err(bad)?;
        let said = self.gateway.peer_ask_card(asker, card, ask).await?;
        Ok(Content::CardStateAnswer(wire::said_to_wire(&said)))
    }
}

fn not_now(refusal: Refusal) -> PeerError {
    PeerError::Unreachable(refusal.reason.code().into())
}

fn bad(_: BadMessage) -> PeerError {
    PeerError::Refused(Reason::FieldInvalid)
}

#[tonic::async_trait]
impl PeerService for PeerServer {
    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let Some(caller) = caller_of(&request) else {
            return Err(Status::unauthenticated("the certificate names no member region"));
        };
        let _place = self.gateway.admit_peer(caller).map_err(|refusal| {
            metrics::refused(refusal.reason);
            Status::resource_exhausted(refusal.reason.en())
        })?;
        let envelope = request.into_inner().envelope.unwrap_or_default();
        let opened = match self.open(envelope, caller).await {
            Ok(opened) => opened,
            Err(EnvelopeRefused::OtherRun) => return Ok(Response::new(self.send_back(caller))),
            Err(refused) => {
                metrics::envelope_refused(caller);
                self.gateway.audit_peer_refusal(&format!("{caller:06}"), Reason::PeerNotTrusted);
                tracing::warn!(peer = caller, why = %refused, "refused an envelope");
                return Err(Status::permission_denied(refused.to_string()));
            }
        };
        let (from, id, trace) = (opened.from, opened.id, opened.traceparent.clone());
        let content = match self.answer(opened).await {
            Ok(content) => content,
            Err(error) => match wire::refusal_to_wire(&error) {
                Some(refusal) => {
                    if let PeerError::Refused(reason) = &error {
                        metrics::refused(*reason);
                        self.gateway.audit_peer_refusal(&format!("{from:06}"), *reason);
                    }
                    Content::Refusal(refusal)
                }
                None => return Err(Status::unavailable(error.to_string())),
            },
        };
        let envelope = self.seal(from, content, Sealed::AnswerTo(id), trace).await?;
        Ok(Response::new(ExchangeResponse { envelope: Some(envelope), run: Vec::new() }))
    }
}
