//! A card's file read as a standing, and the decline that follows from it.

use crate::{
    identity::{CardIdentifier, CardStanding, CardState, validity_is_over},
    model::{
        Decision, Detail, Millis, Outcome, PairwiseHolder, Reason, Subject,
        record::{CardDetail, CardFile},
    },
};

/// Whom a decision is about, as the gateway looked them up before the unit.
#[derive(Debug, Clone, Copy)]
pub struct Who {
    pub card: CardIdentifier,
    /// Names the key that seals the entry's personal part.
    pub subject: Subject,
    /// The holder as the asking participant knows them.
    pub pairwise: PairwiseHolder,
}

/// The standing a card's file records. A digit outside AAZ502 counts as locked:
/// what cannot be read must not open a gate.
pub fn standing_of(file: &CardFile) -> CardStanding {
    CardStanding::from_stored(file.state, file.state_expires_at_ms)
        .unwrap_or(CardStanding::new(CardState::Locked))
}

/// Whether the card may be used now: its state, then its validity (`valid_until`
/// is the last good day, yyyymmdd, compared with the business date of `now`).
pub(super) fn usable(file: &CardFile, now: Millis) -> Result<(), Reason> {
    standing_of(file).usable(now)?;
    if validity_is_over(file.valid_until, now) {
        return Err(Reason::CardExpired);
    }
    Ok(())
}

/// AAZ502 as a byte; every digit is below ten.
pub(super) fn digit(state: CardState) -> u8 {
    u8::try_from(state.digit()).unwrap_or(2)
}

/// A decline about a known person, with the card's detail sealed.
pub(super) fn declined(who: &Who, reason: Reason, detail: CardDetail) -> Decision {
    about(who, Decision::new(Outcome::Declined(reason)), detail)
}

/// An approval about a known person.
pub(super) fn approved(who: &Who, detail: CardDetail) -> Decision {
    about(who, Decision::new(Outcome::Approved), detail)
}

/// A decline that can name nobody.
pub(super) fn declined_unknown(reason: Reason) -> Decision {
    Decision::new(Outcome::Declined(reason))
}

fn about(who: &Who, mut decision: Decision, mut detail: CardDetail) -> Decision {
    detail.card = who.card.as_bytes().to_vec();
    detail.region = who.card.region().code();
    decision.subject = Some(who.subject);
    decision.pairwise = Some(who.pairwise);
    decision.detail = Detail::personal(&detail);
    decision
}
