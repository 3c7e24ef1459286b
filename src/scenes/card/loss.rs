//! Loss, lift, state and code: decided in the card's home region.

use super::{
    deny::{self, DenyFact},
    standing::{self, Who, approved, declined, declined_unknown, digit, standing_of},
};
use crate::{
    identity::{CardStanding, Transition},
    model::{
        CorruptAggregate, Decision, Millis, Reason, View, Write,
        record::{CardDetail, CardFile},
    },
};

/// Which loss is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossKind {
    /// Can be lifted, lapses by itself.
    Temporary,
    /// Cannot be lifted.
    Formal,
}

impl LossKind {
    const fn transition(self) -> Transition {
        match self {
            LossKind::Temporary => Transition::ReportTemporaryLoss,
            LossKind::Formal => Transition::ReportLoss,
        }
    }
}

/// Reports a loss: the card's new state and its line on the region's deny list
/// become true in one commit. A second report of the same loss is approved and
/// changes nothing: the caller wants the card dead, and it is.
///
/// The unit names the card's file, its deny file and the region's deny-list head.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn report_loss(
    view: &View,
    who: &Who,
    kind: LossKind,
    temporary_loss_ms: i64,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    change(view, who, kind.transition(), temporary_loss_ms, now)
}

/// Lifts a temporary loss.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn lift_loss(view: &View, who: &Who, now: Millis) -> Result<Decision, CorruptAggregate> {
    change(view, who, Transition::Lift, 0, now)
}

fn change(
    view: &View,
    who: &Who,
    transition: Transition,
    temporary_loss_ms: i64,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let Some(mut file) = view.get::<CardFile>(who.card.as_bytes())? else {
        return Ok(declined_unknown(Reason::CardUnknown));
    };
    let before = standing_of(&file);
    let after = match before.apply(transition, now, temporary_loss_ms) {
        Ok(after) => after,
        Err(_) if is_already_so(before.at(now), transition) => {
            let head = deny::head(view, who.card.region().province().code())?;
            return Ok(approved(who, detail_of(&before.at(now), head.version)));
        }
        Err(refused) => return Ok(declined(who, refused.reason, detail_of(&before.at(now), 0))),
    };

    file.state = after.state.digit();
    file.state_expires_at_ms = after.expires_at_ms;
    let province = who.card.region().province().code();
    let fact = DenyFact {
        card: who.card,
        denied: after.usable(now).is_err(),
        card_state: digit(after.state),
        expires_at_ms: file.state_expires_at_ms,
        since_ms: deny::since(view, &who.card, now)?,
    };
    let (version, mut writes) = deny::next(view, province, fact, now)?;
    writes.push(Write::put(who.card.as_bytes(), &file));

    let mut decision = approved(who, detail_of(&after, version));
    decision.writes = writes;
    Ok(decision)
}

fn is_already_so(standing: CardStanding, transition: Transition) -> bool {
    use crate::identity::CardState;
    matches!(
        (standing.state, transition),
        (CardState::Lost, Transition::ReportLoss | Transition::ReportTemporaryLoss)
    )
}

fn detail_of(standing: &CardStanding, deny_list_version: u64) -> CardDetail {
    CardDetail {
        state: standing.state.digit(),
        state_expires_at_ms: standing.expires_at_ms,
        deny_list_version,
        ..CardDetail::default()
    }
}

/// Reads the state; the entry is the record of who read it and why.
///
/// # Errors
/// When the card's file cannot be read.
pub fn read_state(view: &View, who: &Who, now: Millis) -> Result<Decision, CorruptAggregate> {
    let Some(file) = view.get::<CardFile>(who.card.as_bytes())? else {
        return Ok(declined_unknown(Reason::CardUnknown));
    };
    Ok(approved(who, detail_of(&standing_of(&file).at(now), 0)))
}

/// Whether a code may be issued for the card. The code is a secret for its minute: it
/// stands in the sealed detail of the entry, so that a lost answer can be told again.
///
/// # Errors
/// When the card's file cannot be read.
pub fn issue_code(
    view: &View,
    who: &Who,
    code: &str,
    expires_at_ms: Millis,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let Some(file) = view.get::<CardFile>(who.card.as_bytes())? else {
        return Ok(declined_unknown(Reason::CardUnknown));
    };
    let mut detail = detail_of(&standing_of(&file).at(now), 0);
    if let Err(reason) = standing::usable(&file, now) {
        return Ok(declined(who, reason, detail));
    }
    detail.session_expires_at_ms = expires_at_ms;
    detail.code = code.to_owned();
    Ok(approved(who, detail))
}
