//! Taking a card into the region's register: the issuer's import.

use super::{
    deny::{self, DenyFact},
    standing::{digit, standing_of},
};
use crate::{
    identity::{CardIdentifier, CardState},
    model::{
        CorruptAggregate, Decision, Detail, HolderId, Millis, Outcome, Reason, Subject, View, Write,
        record::{CardDetail, CardFile, DocumentFile, HolderFile},
    },
};

/// A card with its holder, checked, as the issuer hands it over.
#[derive(Debug, Clone)]
pub struct NewCard {
    pub card: CardIdentifier,
    pub holder: HolderId,
    /// Names the key that seals what is written about the holder.
    pub subject: Subject,
    pub state: CardState,
    pub state_expires_at_ms: Option<i64>,
    /// Last good day, yyyymmdd; 0 without end.
    pub valid_until: u32,
    pub person: HolderFile,
    /// Keyed hash of the holder's document, see `document_id`.
    pub document: [u8; 16],
}

/// Takes the card in. A card that is there already is left as it is: an import
/// that is run twice changes nothing, and never revives a lost card. A card that
/// comes in dead (lost, locked, not activated) goes on the deny list at once: other
/// regions know it by nothing else. A card whose document names another holder is
/// declined: taken in, that document would open the other's sessions.
///
/// The unit names the card's file, the holder's file, the document's file, the
/// card's deny file and the region's deny-list head.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn issue(view: &View, new: &NewCard, now: Millis) -> Result<Decision, CorruptAggregate> {
    if view.get::<CardFile>(new.card.as_bytes())?.is_some() {
        return Ok(Decision::new(Outcome::Declined(Reason::StateUnchanged)));
    }
    let document = view.get::<DocumentFile>(&new.document)?;
    if document.is_some_and(|document| document.holder != new.holder.as_bytes()) {
        return Ok(Decision::new(Outcome::Declined(Reason::DocumentTaken)));
    }
    let mut file = CardFile {
        state: new.state.digit(),
        state_expires_at_ms: new.state_expires_at_ms.unwrap_or(0),
        holder: new.holder.as_bytes().to_vec(),
        region: new.card.region().code(),
        valid_until: new.valid_until,
    };
    let mut person = new.person.clone();
    person.card = new.card.as_bytes().to_vec();

    let loss = deny::known_loss(view, &new.card, now)?;
    if let Some(loss) = &loss
        && standing_of(&file).usable(now).is_ok()
    {
        // The register was put back to before the card was issued, and its loss was taken
        // up again since: the issuer's file does not revive it.
        file.state = loss.card_state;
        file.state_expires_at_ms = loss.expires_at_ms;
    }
    let standing = standing_of(&file);
    let (deny_list_version, denial) = if standing.usable(now).is_err() {
        let fact = DenyFact {
            card: new.card,
            denied: true,
            card_state: digit(standing.state),
            expires_at_ms: standing.expires_at_ms,
            since_ms: loss.map_or(0, |loss| loss.denied_since_ms),
        };
        deny::next(view, new.card.region().province().code(), fact, now)?
    } else {
        (0, Vec::new())
    };

    let mut decision = Decision::new(Outcome::Approved);
    decision.subject = Some(new.subject);
    decision.detail = Detail::personal(&CardDetail {
        card: new.card.as_bytes().to_vec(),
        state: file.state,
        region: file.region,
        state_expires_at_ms: file.state_expires_at_ms,
        deny_list_version,
        ..CardDetail::default()
    });
    decision.writes = vec![
        Write::put(new.card.as_bytes(), &file),
        Write::put(new.holder.as_bytes(), &person),
        Write::put(&new.document, &DocumentFile { holder: new.holder.as_bytes().to_vec() }),
    ];
    decision.writes.extend(denial);
    Ok(decision)
}
