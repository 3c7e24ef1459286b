//! What a home region does for a peer's terminal. The same flows as for our own,
//! with the peer in the terminal's place: its participants are known here as
//! `province.participant`, see their own pairwise ids, and are told only what a
//! policy line grants them.

use super::{
    CardAsk, CardSaid, ChipAsk, Gateway, HolderConfirmed, Origin, PeerError, Refusal, RefusalKind, ask::Ask,
    authentication::card_of, cards::card_said, ports::ChipBegun,
};
use crate::{
    identity::CardIdentifier,
    limits,
    model::{Millis, PairwiseHolder, Reason, Scene, Status, Token16, record::CardDetail},
    scenes::card::HolderData,
    store::{Committed, Step, UnitMeta},
    trust::SignedCode,
};
use prost::Message as _;

/// A peer region that asks for its terminal.
#[derive(Debug, Clone)]
pub struct PeerAsker {
    /// Its province, 110000 style, from the envelope that was verified.
    pub province: u32,
    pub origin: Origin,
    /// SM3 over the message: tells a repeat from a misuse.
    pub fingerprint: [u8; 32],
}

impl Gateway {
    /// First call of a chip relay, for a peer.
    ///
    /// # Errors
    /// As a peer is told: a decline, or a refusal.
    pub async fn peer_begin_chip(&self, asker: PeerAsker, chip: ChipAsk) -> Result<ChipBegun, PeerError> {
        let ask = self.peer_ask(asker, Scene::Authentication, "PeerBeginChip")?;
        self.ours(&chip.card)?;
        let committed = self.begin_chip_at_home(&ask, chip).await.map_err(refused)?;
        let said = approved(&committed)?;
        let sixteen =
            |bytes: &[u8]| <[u8; 16]>::try_from(bytes).map_err(|_| PeerError::Refused(Reason::Internal));
        Ok(ChipBegun {
            session: Token16::from_bytes(sixteen(&said.chip_session)?),
            expires_at_ms: said.session_expires_at_ms,
            internal_authenticator: sixteen(&said.internal_authenticator)?,
            external_authenticator: sixteen(&said.external_authenticator)?,
        })
    }

    /// Second call of a chip relay, for a peer.
    ///
    /// # Errors
    /// As [`Gateway::peer_begin_chip`].
    pub async fn peer_finish_chip(
        &self,
        asker: PeerAsker,
        session: Token16,
        data: HolderData,
    ) -> Result<HolderConfirmed, PeerError> {
        let ask = self.peer_ask(asker, Scene::Authentication, "PeerFinishChip")?;
        let committed = match self.peer_finish(&ask, session, data).await {
            Ok(committed) => committed,
            Err(refusal) => self.answered_to_peer(&ask).await?.ok_or_else(|| refused(refusal))?,
        };
        confirmed(&committed)
    }

    async fn peer_finish(&self, ask: &Ask, session: Token16, data: HolderData) -> Result<Committed, Refusal> {
        let begun = self.live_chip_session(ask, session).await?;
        let finish = self.chip_finish(ask, session, false);
        self.finish_chip_at_home(ask, card_of(&begun.card)?, finish, data).await
    }

    /// Settles the single use of one of our codes, for a peer.
    ///
    /// # Errors
    /// As [`Gateway::peer_begin_chip`].
    pub async fn peer_settle_code(
        &self,
        asker: PeerAsker,
        code: &[u8],
        stood_in_at: Option<Millis>,
    ) -> Result<HolderConfirmed, PeerError> {
        let ask = self.peer_ask(asker, Scene::Authentication, "PeerSettleCode")?;
        let committed = match self.peer_settle(&ask, code, stood_in_at).await {
            Ok(committed) => committed,
            Err(refusal) => self.answered_to_peer(&ask).await?.ok_or_else(|| refused(refusal))?,
        };
        confirmed(&committed)
    }

    async fn peer_settle(
        &self,
        ask: &Ask,
        code: &[u8],
        stood_in_at: Option<Millis>,
    ) -> Result<Committed, Refusal> {
        let signed = SignedCode::from_bytes(code).map_err(|_| Refusal::forbidden(Reason::CodeMalformed))?;
        let now = self.now_ms();
        // Members answer for when they stood in; what is settled too late, or ahead, is
        // judged as if it were shown now.
        let scanned_at = stood_in_at
            .filter(|at| (now - limits::STAND_IN_SETTLE_MAX_MS..=now + limits::ENVELOPE_SKEW_MS).contains(at))
            .unwrap_or(now);
        let code = self.code_verified_at(signed, scanned_at).await?;
        let card = card_of(&code.card)?;
        if code.issuer != self.province || !self.is_ours(&card) {
            return Err(Refusal::forbidden(Reason::HomeRegionOnly));
        }
        let presented = self.code_presented(ask, &code, false);
        self.present_code_at_home(ask, card, presented).await
    }

    /// Loss, lift or state of one of our cards, for a peer. Who may lift a loss, and
    /// that a service desk names its clerk, the serving gateway has checked before
    /// it asked: members of the list answer for their own participants.
    ///
    /// # Errors
    /// As [`Gateway::peer_begin_chip`].
    pub async fn peer_ask_card(
        &self,
        asker: PeerAsker,
        card: CardIdentifier,
        what: CardAsk,
    ) -> Result<CardSaid, PeerError> {
        let method = match what {
            CardAsk::ReportLoss(_) => "PeerReportLoss",
            CardAsk::LiftLoss => "PeerLiftLoss",
            CardAsk::ReadState => "PeerCardState",
        };
        let ask = self.peer_ask(asker, Scene::Card, method)?;
        self.ours(&card)?;
        let committed = self.card_ask_at_home(&ask, card, what).await.map_err(refused)?;
        approved(&committed)?;
        card_said(&committed).map_err(refused)
    }

    fn ours(&self, card: &CardIdentifier) -> Result<(), PeerError> {
        if self.is_ours(card) { Ok(()) } else { Err(PeerError::Refused(Reason::HomeRegionOnly)) }
    }

    fn peer_ask(&self, asker: PeerAsker, scene: Scene, method: &'static str) -> Result<Ask, PeerError> {
        let origin = asker.origin;
        let bad = |_| PeerError::Refused(Reason::FieldInvalid);
        // The serving region has checked its own policy; ours is checked here.
        self.live().policy.accepts(scene, origin.purpose).map_err(PeerError::Refused)?;
        let participant = format!("{}.{}", asker.province, origin.participant).parse().map_err(bad)?;
        let granted = self.live().granted_abroad(&participant);
        Ok(Ask {
            meta: UnitMeta {
                participant,
                terminal: origin.terminal.parse().map_err(bad)?,
                operator: origin.operator.chars().take(32).collect::<String>().into(),
                purpose: origin.purpose,
                scene,
                method,
                terminal_time_ms: self.now_ms(),
                trace_id: crate::telemetry::trace::TraceContext::parse(&origin.traceparent)
                    .ok()
                    .map(|trace| trace.trace_id),
            },
            step: Step::First { request: origin.request, fingerprint: asker.fingerprint },
            transaction: self.new_transaction(),
            member: asker.province,
            granted,
        })
    }

    /// What the same request of a peer was answered before, where it would be
    /// refused today: the session is used up since, the code has expired.
    async fn answered_to_peer(&self, ask: &Ask) -> Result<Option<Committed>, PeerError> {
        let Step::First { request, fingerprint } = ask.step else {
            return Ok(None);
        };
        let found =
            self.store.find(ask.participant(), request).await.map_err(|error| refused(error.into()))?;
        Ok(found.filter(|committed| committed.entry.fingerprint == fingerprint))
    }
}

fn refused(refusal: Refusal) -> PeerError {
    match refusal.kind {
        RefusalKind::Exhausted | RefusalKind::Unavailable | RefusalKind::DeadlineExceeded => {
            PeerError::Unreachable(refusal.reason.code().to_owned())
        }
        RefusalKind::Invalid
        | RefusalKind::Unauthenticated
        | RefusalKind::Forbidden
        | RefusalKind::NotFound
        | RefusalKind::Misused
        | RefusalKind::Internal => PeerError::Refused(refusal.reason),
    }
}

/// The record of an approved step; a decline is the peer's to know.
fn approved(committed: &Committed) -> Result<CardDetail, PeerError> {
    if committed.entry.status != Status::Completed.number() {
        return Err(PeerError::Declined(
            Reason::from_code(&committed.entry.reason).unwrap_or(Reason::Internal),
        ));
    }
    CardDetail::decode(committed.detail.clone()).map_err(|_| PeerError::Refused(Reason::Internal))
}

fn confirmed(committed: &Committed) -> Result<HolderConfirmed, PeerError> {
    let said = approved(committed)?;
    let internal = |_| PeerError::Refused(Reason::Internal);
    Ok(HolderConfirmed {
        card: card_of(&said.card).map_err(|refusal| PeerError::Refused(refusal.reason))?,
        pairwise: PairwiseHolder::from_slice(&committed.entry.pairwise_holder).map_err(internal)?,
        state: u8::try_from(said.state).unwrap_or(2),
        attributes: said.attributes.into_iter().collect(),
    })
}
