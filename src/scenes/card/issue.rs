//! Taking a card into the region's register: the issuer's import.

use crate::{
    identity::{CardIdentifier, CardState},
    model::{
        CorruptAggregate, Decision, Detail, HolderId, Outcome, Reason, Subject, View, Write,
        record::{CardDetail, CardFile, DocumentFile, HolderFile},
    },
};

/// A card with its holder, checked, as the issuer hands it over.
#[derive(Debug, Clone)]
pub struct NewCard {
    pub card: CardIdentifier,
    pub holder: HolderId,
    pub state: CardState,
    pub state_expires_at_ms: Option<i64>,
    /// Last good day, yyyymmdd; 0 without end.
    pub valid_until: u32,
    pub person: HolderFile,
    /// Keyed hash of the holder's document, see `document_id`.
    pub document: [u8; 16],
}

/// Takes the card in. A card that is there already is left as it is: an import
/// that is run twice changes nothing, and never revives a lost card.
///
/// The unit names the card's file, the holder's file and the document's file.
///
/// # Errors
/// When the card's file cannot be read.
pub fn issue(view: &View, new: &NewCard) -> Result<Decision, CorruptAggregate> {
    if view.get::<CardFile>(new.card.as_bytes())?.is_some() {
        return Ok(Decision::new(Outcome::Declined(Reason::StateUnchanged)));
    }
    let file = CardFile {
        state: new.state.digit(),
        state_expires_at_ms: new.state_expires_at_ms.unwrap_or(0),
        holder: new.holder.as_bytes().to_vec(),
        region: new.card.region().code(),
        valid_until: new.valid_until,
    };
    let mut person = new.person.clone();
    person.card = new.card.as_bytes().to_vec();

    let mut decision = Decision::new(Outcome::Approved);
    decision.subject = Some(Subject::from_bytes(*new.holder.as_bytes()));
    decision.detail = Detail::personal(&CardDetail {
        card: new.card.as_bytes().to_vec(),
        state: file.state,
        region: file.region,
        ..CardDetail::default()
    });
    decision.writes = vec![
        Write::put(new.card.as_bytes(), &file),
        Write::put(new.holder.as_bytes(), &person),
        Write::put(&new.document, &DocumentFile { holder: new.holder.as_bytes().to_vec() }),
    ];
    Ok(decision)
}
