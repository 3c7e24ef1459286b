//! Loss, lift, state, code. The card's home region decides; a serving region asks
//! it and keeps its own entry of what it was told.

use prost::Message as _;

use super::{
    Call, CardAsk, Gateway, Header, PeerError, Refusal, RefusalKind,
    ask::Ask,
    ports::{CardSaid, Origin},
    who::home_of,
};
use crate::{
    identity::CardIdentifier,
    model::{
        AggregateKey, Decision, Detail, Outcome, Reason,
        record::{CardDetail, CardFile, DenyFile, DenyListHead},
    },
    scenes::card::{self, LossKind, Who},
    store::{Committed, Step},
    trust::EcardCode,
};

impl Gateway {
    /// Reports a card lost, wherever it was issued.
    ///
    /// # Errors
    /// A refusal: nothing was changed, or the home region could not be asked.
    pub async fn report_loss(
        &self,
        call: &Call,
        header: Header,
        card: CardIdentifier,
        kind: LossKind,
    ) -> Result<Committed, Refusal> {
        self.card_ask(call, header, card, CardAsk::ReportLoss(kind)).await
    }

    /// Lifts a temporary loss.
    ///
    /// # Errors
    /// As [`Gateway::report_loss`].
    pub async fn lift_loss(
        &self,
        call: &Call,
        header: Header,
        card: CardIdentifier,
    ) -> Result<Committed, Refusal> {
        self.card_ask(call, header, card, CardAsk::LiftLoss).await
    }

    /// Reads a card's state; a journalled read.
    ///
    /// # Errors
    /// As [`Gateway::report_loss`].
    pub async fn card_state(
        &self,
        call: &Call,
        header: Header,
        card: CardIdentifier,
    ) -> Result<Committed, Refusal> {
        self.card_ask(call, header, card, CardAsk::ReadState).await
    }

    async fn card_ask(
        &self,
        call: &Call,
        header: Header,
        card: CardIdentifier,
        what: CardAsk,
    ) -> Result<Committed, Refusal> {
        self.authorise(call, &header)?;
        let ask = self.ask(call, &header);
        if self.is_ours(&card) {
            return self.card_ask_at_home(&ask, card, what).await;
        }
        let origin = origin(&ask, call);
        let home = home_of(&card);
        let peers = self.peers().ok_or_else(home_unavailable)?;
        let said = match peers.ask_card(home, origin, card, what).await {
            Ok(said) => Ok(said),
            Err(PeerError::Declined(reason)) => Err(reason),
            Err(error) => return Err(peer_refusal(error)),
        };
        let mut who = self.foreign_card(card, ask.participant())?;
        if let Ok(said) = &said {
            who.pairwise = said.pairwise;
        }
        self.commit(&ask, Vec::new(), move |_, _| Ok(told(&who, said))).await
    }

    /// The home region's side, for our own terminal or a peer's.
    pub(super) async fn card_ask_at_home(
        &self,
        ask: &Ask,
        card: CardIdentifier,
        what: CardAsk,
    ) -> Result<Committed, Refusal> {
        let who = self.known_card(card, ask.participant()).await?.who;
        let mut touches = vec![AggregateKey::of::<CardFile>(card.as_bytes())];
        if what != CardAsk::ReadState {
            touches.push(AggregateKey::of::<DenyFile>(card.as_bytes()));
            touches.push(AggregateKey::of::<DenyListHead>(&card::deny_head_id(self.province)));
        }
        let temporary_loss_ms = self.live().policy.temporary_loss_ms();
        let committed = self
            .commit(ask, touches, move |view, now| match what {
                CardAsk::ReportLoss(kind) => card::report_loss(view, &who, kind, temporary_loss_ms, now),
                CardAsk::LiftLoss => card::lift_loss(view, &who, now),
                CardAsk::ReadState => card::read_state(view, &who, now),
            })
            .await?;
        if what != CardAsk::ReadState {
            self.spread_denial(&committed).await;
        }
        Ok(committed)
    }

    /// Issues an e-card code for a card of ours; it stands in the entry's detail. A
    /// repeat of the request finds the same entry with the same code.
    ///
    /// # Errors
    /// `HomeRegionOnly` for a card of another region; a key service that fails.
    pub async fn issue_code(
        &self,
        call: &Call,
        header: Header,
        card: CardIdentifier,
    ) -> Result<Committed, Refusal> {
        self.authorise(call, &header)?;
        if !self.is_ours(&card) {
            return Err(Refusal::forbidden(Reason::HomeRegionOnly));
        }
        let ask = self.ask(call, &header);
        let who = self.known_card(card, ask.participant()).await?.who;
        let issued_at_ms = self.now_ms();
        let mut nonce = [0; 16];
        self.rng.fill(&mut nonce);
        let unsigned = EcardCode { issuer: self.province, card: *card.as_bytes(), nonce, issued_at_ms };
        let expires_at_ms = unsigned.expires_at_ms();
        let vault = std::sync::Arc::clone(&self.vault);
        // Before the commit: a code that is committed can be told, also by a repeat.
        let issued = self.pool.run(move || unsigned.issue(&*vault)).await?;
        let code = issued.map_err(|error| {
            tracing::error!(%error, "the e-card key cannot sign");
            Refusal::internal()
        })?;
        let code = code.to_text();
        self.commit(&ask, vec![AggregateKey::of::<CardFile>(card.as_bytes())], move |view, now| {
            card::issue_code(view, &who, &code, expires_at_ms, now)
        })
        .await
    }
}

/// The serving region's entry of what a home region said.
pub(super) fn told(who: &Who, said: Result<CardSaid, Reason>) -> Decision {
    let (outcome, detail) = match said {
        Ok(said) => (
            Outcome::Approved,
            CardDetail {
                state: said.state.into(),
                state_expires_at_ms: said.expires_at_ms,
                deny_list_version: said.deny_list_version,
                ..CardDetail::default()
            },
        ),
        Err(reason) => (Outcome::Declined(reason), CardDetail::default()),
    };
    let mut decision = Decision::new(outcome);
    decision.subject = Some(who.subject);
    decision.pairwise = Some(who.pairwise);
    decision.detail = Detail::personal(&CardDetail {
        card: who.card.as_bytes().to_vec(),
        region: who.card.region().code(),
        ..detail
    });
    decision
}

/// Who stands behind a request that a peer must answer.
pub(super) fn origin(ask: &Ask, call: &Call) -> Origin {
    let request = match ask.step {
        Step::First { request, .. } => request,
        // Only first steps are forwarded; a step without a request of its own is
        // named by its transaction.
        Step::Next | Step::Later { .. } | Step::Note => {
            crate::model::RequestId::from_bytes(*ask.transaction.as_bytes())
        }
    };
    Origin {
        request,
        participant: ask.meta.participant.as_str().to_owned(),
        terminal: ask.meta.terminal.as_str().to_owned(),
        purpose: ask.meta.purpose,
        operator: ask.meta.operator.to_string(),
        transaction: ask.transaction,
        traceparent: call.traceparent.clone(),
    }
}

pub(super) fn home_unavailable() -> Refusal {
    Refusal::later(
        RefusalKind::Unavailable,
        Reason::HomeRegionUnavailable,
        std::time::Duration::from_millis(500),
    )
}

/// A peer that did not vouch and did not decline.
pub(super) fn peer_refusal(error: PeerError) -> Refusal {
    match error {
        PeerError::Unknown(_) => Refusal::not_found(Reason::CardUnknown),
        PeerError::Unreachable(_) => home_unavailable(),
        PeerError::Declined(reason) | PeerError::Refused(reason) => Refusal::forbidden(reason),
    }
}

/// What an entry at home said of a card, for a peer.
pub(super) fn card_said(committed: &Committed) -> Result<CardSaid, Refusal> {
    let said = CardDetail::decode(committed.detail.clone()).map_err(|_| Refusal::internal())?;
    Ok(CardSaid {
        state: u8::try_from(said.state).unwrap_or(2),
        expires_at_ms: said.state_expires_at_ms,
        deny_list_version: said.deny_list_version,
        pairwise: crate::model::PairwiseHolder::from_slice(&committed.entry.pairwise_holder)
            .map_err(|_| Refusal::internal())?,
    })
}
