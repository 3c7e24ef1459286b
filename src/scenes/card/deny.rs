//! The deny list as aggregates: a head a region, a file a denied card. Versions
//! grow by one with each change and have no gaps.

use crate::{
    identity::{CardIdentifier, CardState},
    model::{
        CorruptAggregate, Decision, Denial, Millis, Outcome, Reason, Subject, View, Write,
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
    /// Since when the card is dead without a break; 0 says always.
    pub since_ms: Millis,
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
    Ok(denial(view, card, now)?.map_or(Ok(()), |denial| Err(denial.reason)))
}

/// What the deny list says of a card as it stands at commitment, and since when.
///
/// The unit names the card's deny file.
///
/// # Errors
/// When the deny file cannot be read.
pub fn denial(view: &View, card: &CardIdentifier, now: Millis) -> Result<Option<Denial>, CorruptAggregate> {
    let file = view.get::<DenyFile>(card.as_bytes())?;
    Ok(file.filter(|file| in_force(file, now)).map(|file| {
        // A state that is none, or that would be usable, is no reason to let it in.
        let reason = CardState::from_digit(file.card_state).and_then(|state| state.usable().err());
        Denial { reason: reason.unwrap_or(Reason::CardLost), since_ms: file.denied_since_ms }
    }))
}

/// Since when a card is dead that is reported now: a second report does not make
/// it younger.
pub(super) fn since(view: &View, card: &CardIdentifier, now: Millis) -> Result<Millis, CorruptAggregate> {
    let known = view.get::<DenyFile>(card.as_bytes())?;
    Ok(known.filter(|file| in_force(file, now)).map_or(now, |file| file.denied_since_ms))
}

fn in_force(file: &DenyFile, now: Millis) -> bool {
    file.denied && (file.expires_at_ms == 0 || now < file.expires_at_ms)
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
        denied_since_ms: fact.since_ms,
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
