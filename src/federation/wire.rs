//! The messages between regions, to domain types and back.

use prost::Message as _;

use crate::{
    crypto::{ChipChallenge, sm3},
    gateway::{CardAsk, CardSaid, ChipBegun, DenyDelta, DenyTold, HolderConfirmed, Origin, PeerError},
    identity::CardIdentifier,
    model::{Assurance, PairwiseHolder, Purpose, Reason, RequestId, Token16, TransactionId},
    proto::{
        auth::v1 as auth,
        card::v1 as card,
        federation::v1::{self as wire, message::Content},
    },
    scenes::card::{DenyFact, HolderData, LossKind},
};

/// A message of a peer does not say what it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message between regions is not well formed")]
pub struct BadMessage;

pub fn origin_to_wire(origin: &Origin) -> wire::Origin {
    wire::Origin {
        request_id: origin.request.as_bytes().to_vec(),
        participant: origin.participant.clone(),
        terminal: origin.terminal.clone(),
        purpose: i32::try_from(origin.purpose.number()).unwrap_or(0),
        operator_id: origin.operator.clone(),
        transaction_id: origin.transaction.to_string(),
    }
}

pub fn origin_of(wire: Option<wire::Origin>, traceparent: &str) -> Result<Origin, BadMessage> {
    let wire = wire.ok_or(BadMessage)?;
    let request: [u8; 16] = sixteen(&wire.request_id)?;
    Ok(Origin {
        request: RequestId::from_bytes(request),
        participant: wire.participant,
        terminal: wire.terminal,
        purpose: Purpose::from_number(wire.purpose).ok_or(BadMessage)?,
        operator: wire.operator_id,
        transaction: wire.transaction_id.parse::<TransactionId>().map_err(|_| BadMessage)?,
        traceparent: traceparent.to_owned(),
    })
}

pub fn challenge_to_wire(challenge: &ChipChallenge, card: CardIdentifier) -> auth::ChipChallenge {
    auth::ChipChallenge {
        region: card.region().to_string(),
        card_identifier: hex::encode(card.as_bytes()),
        reset_information: String::new(),
        algorithm: "SM4".into(),
        internal_factor: challenge.internal_factor.to_vec(),
        internal_data: challenge.internal_data.to_vec(),
        internal_cryptogram: challenge.internal_cryptogram.to_vec(),
        external_factor: challenge.external_factor.to_vec(),
        external_data: challenge.external_data.to_vec(),
    }
}

pub fn challenge_of(
    wire: Option<auth::ChipChallenge>,
) -> Result<(CardIdentifier, ChipChallenge), BadMessage> {
    let wire = wire.ok_or(BadMessage)?;
    let card = wire.card_identifier.parse().map_err(|_| BadMessage)?;
    let challenge = ChipChallenge {
        internal_factor: exactly(&wire.internal_factor)?,
        internal_data: exactly(&wire.internal_data)?,
        internal_cryptogram: exactly(&wire.internal_cryptogram)?,
        external_factor: exactly(&wire.external_factor)?,
        external_data: exactly(&wire.external_data)?,
    };
    Ok((card, challenge))
}

pub fn begun_to_wire(begun: &ChipBegun) -> wire::ChipRelayBegun {
    wire::ChipRelayBegun {
        chip_session: begun.session.as_bytes().to_vec(),
        expires_at_ms: begun.expires_at_ms,
        internal_authenticator: begun.internal_authenticator.to_vec(),
        external_authenticator: begun.external_authenticator.to_vec(),
    }
}

pub fn begun_of(wire: &wire::ChipRelayBegun) -> Result<ChipBegun, BadMessage> {
    Ok(ChipBegun {
        session: token_of(&wire.chip_session)?,
        expires_at_ms: wire.expires_at_ms,
        internal_authenticator: exactly(&wire.internal_authenticator)?,
        external_authenticator: exactly(&wire.external_authenticator)?,
    })
}

pub fn finish_to_wire(origin: &Origin, session: Token16, data: &HolderData) -> wire::ChipRelayFinish {
    wire::ChipRelayFinish {
        origin: Some(origin_to_wire(origin)),
        chip_session: session.as_bytes().to_vec(),
        social_security_number: data.social_security_number.clone(),
        card_number: data.card_number.clone(),
        name: data.name.reveal().to_owned(),
    }
}

pub fn holder_data_of(wire: &wire::ChipRelayFinish) -> Result<HolderData, BadMessage> {
    Ok(HolderData {
        social_security_number: wire.social_security_number.clone(),
        card_number: wire.card_number.clone(),
        name: wire.name.parse().map_err(|_| BadMessage)?,
    })
}

pub fn confirmed_to_wire(confirmed: &HolderConfirmed, assurance: Assurance) -> wire::HolderConfirmed {
    wire::HolderConfirmed {
        card_identifier: confirmed.card.as_bytes().to_vec(),
        pairwise_holder: confirmed.pairwise.as_bytes().to_vec(),
        assurance: i32::try_from(assurance.number()).unwrap_or(0),
        card_state: confirmed.state.into(),
        attributes: confirmed.attributes.clone().into_iter().collect(),
        transaction_id: String::new(),
    }
}

pub fn confirmed_of(wire: wire::HolderConfirmed) -> Result<HolderConfirmed, BadMessage> {
    Ok(HolderConfirmed {
        card: card_of(&wire.card_identifier)?,
        pairwise: PairwiseHolder::from_slice(&wire.pairwise_holder).map_err(|_| BadMessage)?,
        state: u8::try_from(wire.card_state).map_err(|_| BadMessage)?,
        attributes: wire.attributes.into_iter().collect(),
    })
}

pub fn card_ask_to_wire(origin: &Origin, card: CardIdentifier, ask: CardAsk) -> Content {
    let (origin, card_identifier) = (Some(origin_to_wire(origin)), card.as_bytes().to_vec());
    match ask {
        CardAsk::ReportLoss(kind) => {
            Content::LossReport(wire::LossReport { origin, card_identifier, kind: loss_to_wire(kind).into() })
        }
        CardAsk::LiftLoss => Content::LossLift(wire::LossLift { origin, card_identifier }),
        CardAsk::ReadState => Content::CardStateRead(wire::CardStateRead { origin, card_identifier }),
    }
}

const fn loss_to_wire(kind: LossKind) -> card::LossKind {
    match kind {
        LossKind::Temporary => card::LossKind::Temporary,
        LossKind::Formal => card::LossKind::Formal,
    }
}

pub fn loss_of(number: i32) -> Result<LossKind, BadMessage> {
    match card::LossKind::try_from(number) {
        Ok(card::LossKind::Temporary) => Ok(LossKind::Temporary),
        Ok(card::LossKind::Formal) => Ok(LossKind::Formal),
        Ok(card::LossKind::Unspecified) | Err(_) => Err(BadMessage),
    }
}

pub fn said_to_wire(said: &CardSaid) -> wire::CardStateAnswer {
    wire::CardStateAnswer {
        card_state: said.state.into(),
        expires_at_ms: said.expires_at_ms,
        deny_list_version: said.deny_list_version,
        transaction_id: String::new(),
        pairwise_holder: said.pairwise.as_bytes().to_vec(),
    }
}

pub fn said_of(wire: &wire::CardStateAnswer) -> Result<CardSaid, BadMessage> {
    Ok(CardSaid {
        state: u8::try_from(wire.card_state).map_err(|_| BadMessage)?,
        expires_at_ms: wire.expires_at_ms,
        deny_list_version: wire.deny_list_version,
        pairwise: PairwiseHolder::from_slice(&wire.pairwise_holder).map_err(|_| BadMessage)?,
    })
}

pub fn delta_to_wire(delta: &DenyDelta) -> wire::DenyListDelta {
    wire::DenyListDelta {
        region: format!("{:06}", delta.province),
        version: delta.version,
        since: delta.since,
        changes: delta.facts.iter().map(change_to_wire).collect(),
        epoch: delta.epoch,
    }
}

fn change_to_wire((version, fact): &(u64, DenyFact)) -> wire::DenyListChange {
    wire::DenyListChange {
        card_identifier: fact.card.as_bytes().to_vec(),
        denied: fact.denied,
        card_state: fact.card_state.into(),
        expires_at_ms: fact.expires_at_ms,
        version: *version,
        denied_since_ms: fact.since_ms,
    }
}

fn change_of(change: &wire::DenyListChange) -> Result<(u64, DenyFact), BadMessage> {
    let fact = DenyFact {
        card: card_of(&change.card_identifier)?,
        denied: change.denied,
        card_state: u8::try_from(change.card_state).map_err(|_| BadMessage)?,
        expires_at_ms: change.expires_at_ms,
        since_ms: change.denied_since_ms,
    };
    Ok((change.version, fact))
}

/// A peer speaks for its own list only.
pub fn delta_of(wire: wire::DenyListDelta, from: u32) -> Result<DenyDelta, BadMessage> {
    let province: u32 = wire.region.parse().map_err(|_| BadMessage)?;
    if province != from || wire.version < wire.since {
        return Err(BadMessage);
    }
    let mut facts = Vec::with_capacity(wire.changes.len());
    for change in &wire.changes {
        let (version, fact) = change_of(change)?;
        let is_theirs = fact.card.region().province().code() == from;
        if !is_theirs || version <= wire.since || version > wire.version {
            return Err(BadMessage);
        }
        facts.push((version, fact));
    }
    if !facts.is_sorted_by_key(|(version, _)| *version) {
        return Err(BadMessage);
    }
    Ok(DenyDelta { province, epoch: wire.epoch, since: wire.since, version: wire.version, facts })
}

pub fn ask_of(wire: &wire::DenyListAsk, from: u32) -> Result<Option<[u8; 16]>, BadMessage> {
    let province: u32 = wire.region.parse().map_err(|_| BadMessage)?;
    if province != from {
        return Err(BadMessage);
    }
    if wire.after.is_empty() { Ok(None) } else { sixteen(&wire.after).map(Some) }
}

pub fn told_to_wire(told: &DenyTold) -> wire::DenyListTold {
    wire::DenyListTold { changes: told.facts.iter().map(change_to_wire).collect(), more: told.more }
}

/// What a peer tells of the list of `province`, about its cards above `after` only
/// and in order: so that asking for the rest comes to an end.
pub fn told_of(
    wire: &wire::DenyListTold,
    province: u32,
    after: Option<[u8; 16]>,
) -> Result<DenyTold, BadMessage> {
    let facts: Vec<_> = wire.changes.iter().map(change_of).collect::<Result<_, _>>()?;
    let mut last = after;
    for (_, fact) in &facts {
        let card = *fact.card.as_bytes();
        let is_ours = fact.card.region().province().code() == province;
        if !is_ours || !fact.denied || last.is_some_and(|last| card <= last) {
            return Err(BadMessage);
        }
        last = Some(card);
    }
    if wire.more && facts.is_empty() {
        return Err(BadMessage);
    }
    Ok(DenyTold { facts, more: wire.more })
}

/// What tells a repeat of a peer's request from a misuse: the message without the
/// serving region's transaction, which every try makes anew.
pub fn fingerprint(content: &Content) -> [u8; 32] {
    let mut content = content.clone();
    let origin = match &mut content {
        Content::ChipRelayBegin(begin) => begin.origin.as_mut(),
        Content::ChipRelayFinish(finish) => finish.origin.as_mut(),
        Content::CodeSettle(settle) => {
            // The question whose answer was lost, and its settlement after a stand-in,
            // are one request.
            settle.stood_in_at_ms = 0;
            settle.origin.as_mut()
        }
        Content::LossReport(report) => report.origin.as_mut(),
        Content::LossLift(lift) => lift.origin.as_mut(),
        Content::CardStateRead(read) => read.origin.as_mut(),
        Content::DenyListDelta(_)
        | Content::DenyListAsk(_)
        | Content::DenyListTold(_)
        | Content::ChipRelayBegun(_)
        | Content::HolderConfirmed(_)
        | Content::CardStateAnswer(_)
        | Content::DenyListAccepted(_)
        | Content::Refusal(_) => None,
    };
    if let Some(origin) = origin {
        origin.transaction_id.clear();
    }
    sm3(&[&wire::Message { content: Some(content) }.encode_to_vec()])
}

/// What a peer is told when the answer is no; `None` when we cannot say now, so
/// that the call fails and may be repeated.
pub fn refusal_to_wire(error: &PeerError) -> Option<wire::PeerRefusal> {
    let (reason, refused) = match error {
        PeerError::Declined(reason) => (*reason, false),
        PeerError::Refused(reason) => (*reason, true),
        PeerError::Unknown(_) => (Reason::HomeRegionOnly, true),
        PeerError::Unreachable(_) => return None,
    };
    Some(wire::PeerRefusal { reason: reason.code().to_owned(), refused, transaction_id: String::new() })
}

pub fn refusal_of(wire: &wire::PeerRefusal) -> PeerError {
    let reason = Reason::from_code(&wire.reason).unwrap_or(Reason::Internal);
    if wire.refused { PeerError::Refused(reason) } else { PeerError::Declined(reason) }
}

pub fn token_of(bytes: &[u8]) -> Result<Token16, BadMessage> {
    Token16::from_slice(bytes).map_err(|_| BadMessage)
}

pub fn card_of(bytes: &[u8]) -> Result<CardIdentifier, BadMessage> {
    CardIdentifier::from_bytes(sixteen(bytes)?).map_err(|_| BadMessage)
}

fn sixteen(bytes: &[u8]) -> Result<[u8; 16], BadMessage> {
    exactly(bytes)
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], BadMessage> {
    bytes.try_into().map_err(|_| BadMessage)
}
