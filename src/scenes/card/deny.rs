//! The deny list as aggregates: a head a region, a file a denied card. Versions
//! grow by one with each change and have no gaps.

use crate::{
    identity::{CardIdentifier, CardState},
    model::{
        CorruptAggregate, Decision, Millis, Outcome, Reason, Subject, View, Write,
        record::{DenyFile, DenyListHead},
    },
};

/// What became of a card: dead, or usable again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenyFact {
    pub card: CardIdentifier,
    pub denied: bool,
    /// AAZ502 digit, so that the refusal can say why.
    pub card_state: u8,
    /// When it lapses by itself; 0 never.
    pub expires_at_ms: Millis,
}

/// The id of a region's deny-list head; `province` is 110000 style.
pub fn deny_head_id(province: u32) -> [u8; 4] {
    province.to_be_bytes()
}

pub(super) fn head(view: &View, province: u32) -> Result<DenyListHead, CorruptAggregate> {
    Ok(view.get::<DenyListHead>(&deny_head_id(province))?.unwrap_or_default())
}

/// Whether the deny list, as it stands at commitment, lets a card be used. What
/// was looked up in memory before the unit may be older than a delta that was
/// acknowledged since.
///
/// The unit names the card's deny file.
///
/// # Errors
/// When the deny file cannot be read.
pub fn not_denied(
    view: &View,
    card: &CardIdentifier,
    now: Millis,
) -> Result<Result<(), Reason>, CorruptAggregate> {
    let Some(file) = view.get::<DenyFile>(card.as_bytes())? else {
        return Ok(Ok(()));
    };
    if !file.denied || (file.expires_at_ms != 0 && file.expires_at_ms <= now) {
        return Ok(Ok(()));
    }
    // A state that is none, or that would be usable, is no reason to let it in.
    let reason = CardState::from_digit(file.card_state).and_then(|state| state.usable().err());
    Ok(Err(reason.unwrap_or(Reason::CardLost)))
}

/// The next version of our own list and the writes that make it true.
pub(super) fn next(
    view: &View,
    province: u32,
    fact: DenyFact,
    now: Millis,
) -> Result<(u64, Vec<Write>), CorruptAggregate> {
    let version = head(view, province)?.version + 1;
    Ok((version, vec![put_head(province, version, now), put_fact(province, version, fact)]))
}

fn put_head(province: u32, version: u64, now: Millis) -> Write {
    Write::put(&deny_head_id(province), &DenyListHead { version, heard_at_ms: now })
}

fn put_fact(province: u32, version: u64, fact: DenyFact) -> Write {
    let file = DenyFile {
        region: province,
        card_state: fact.card_state.into(),
        expires_at_ms: fact.expires_at_ms,
        denied: fact.denied,
        version,
    };
    Write::put(fact.card.as_bytes(), &file)
}

/// Takes over what a peer's list says up to `version`: the fact that made it, or
/// (`None`) that nothing more was made. The unit names the peer's head and the
/// fact's deny file. A version that is known already changes nothing.
///
/// # Errors
/// When the head cannot be read.
pub fn apply_denial(
    view: &View,
    province: u32,
    version: u64,
    fact: Option<(Subject, DenyFact)>,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let mut decision = Decision::new(Outcome::Approved);
    if head(view, province)?.version >= version {
        return Ok(decision);
    }
    decision.writes.push(put_head(province, version, now));
    if let Some((subject, fact)) = fact {
        decision.subject = Some(subject);
        decision.writes.push(put_fact(province, version, fact));
    }
    Ok(decision)
}
