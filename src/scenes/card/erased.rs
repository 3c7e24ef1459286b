//! A holder is erased: their cards close for good.

use super::{
    deny::{self, DenyFact},
    standing::digit,
};
use crate::{
    identity::{CardIdentifier, CardState},
    model::{CorruptAggregate, Decision, Detail, Millis, Outcome, Subject, View, record::CardDetail},
};

/// Puts the card of a holder who is to be erased on the deny list, for good. `keeper`
/// seals it and is no person: under the holder's own key the line would go with the
/// holder, and a gate elsewhere would let the card in again.
///
/// The unit names the card's deny file and the region's deny-list head.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn close_erased(
    view: &View,
    card: CardIdentifier,
    keeper: Subject,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let fact = DenyFact {
        card,
        denied: true,
        card_state: digit(CardState::Cancelled),
        expires_at_ms: 0,
        since_ms: deny::since(view, &card, now)?,
    };
    let (version, writes) = deny::next(view, card.region().province().code(), fact, now)?;
    let mut decision = Decision::new(Outcome::Approved);
    decision.subject = Some(keeper);
    decision.detail = Detail::personal(&CardDetail {
        card: card.as_bytes().to_vec(),
        state: CardState::Cancelled.digit(),
        region: card.region().code(),
        deny_list_version: version,
        ..CardDetail::default()
    });
    decision.writes = writes;
    Ok(decision)
}
