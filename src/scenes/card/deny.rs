//! The deny list as aggregates: a head a region, a file a denied card. Versions
//! grow by one with each change and have no gaps, but where the list is begun anew
//! (its epoch): there they jump, so that they are above all that was said before.

use crate::{
    identity::{CardIdentifier, CardState},
    model::{
        CorruptAggregate, Decision, Denial, Detail, Millis, Outcome, Reason, Subject, View, Write,
        record::{CardDetail, CardFile, DenyFile, DenyListHead},
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
    let head = head(view, province)?;
    let version = head.version + 1;
    let head = DenyListHead { version, heard_at_ms: now, ..head };
    Ok((version, vec![Write::put(&deny_head_id(province), &head), put_fact(province, version, fact)]))
}

fn put_fact(province: u32, version: u64, fact: DenyFact) -> Write {
    Write::put(fact.card.as_bytes(), &file_of(province, version, fact))
}

fn file_of(province: u32, version: u64, fact: DenyFact) -> DenyFile {
    DenyFile {
        region: province,
        card_state: fact.card_state.into(),
        expires_at_ms: fact.expires_at_ms,
        denied: fact.denied,
        version,
        denied_since_ms: fact.since_ms,
        told_by: 0,
    }
}

/// Takes over what a peer's list says up to `to`: the fact that made it, with its
/// own version, or (`None`) that nothing more was made. The unit names the peer's
/// head and the fact's deny file. A position that is known already changes nothing;
/// of a list that has fallen behind (its epoch is over) a denial still counts.
///
/// # Errors
/// When the head or the deny file cannot be read.
pub fn apply_denial(
    view: &View,
    province: u32,
    to: (u64, u64),
    fact: Option<(Subject, DenyFact)>,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let mut decision = Decision::new(Outcome::Approved);
    let ((epoch, version), known) = (to, head(view, province)?);
    let moves = to > (known.epoch, known.version);
    if moves {
        let new = DenyListHead { version, heard_at_ms: now, epoch, told_by: Vec::new() };
        decision.writes.push(Write::put(&deny_head_id(province), &new));
    }
    let Some((subject, fact)) = fact.filter(|(_, fact)| moves || (epoch < known.epoch && fact.denied)) else {
        return Ok(decision);
    };
    let file = view.get::<DenyFile>(fact.card.as_bytes())?;
    if let Some((version, fact)) = merged(file.as_ref(), version, fact, now) {
        decision.subject = Some(subject);
        decision.writes.push(put_fact(province, version, fact));
    }
    Ok(decision)
}

/// What stands after a fact of the card's home region was heard; `None` leaves all
/// as it is. A fact that is newer holds. One that is not comes of a list that was
/// begun anew, from a store that may have lost what came after it: it can kill a
/// card and cannot revive one.
fn merged(file: Option<&DenyFile>, version: u64, fact: DenyFact, now: Millis) -> Option<(u64, DenyFact)> {
    let Some(file) = file.filter(|file| version <= file.version) else {
        return Some((version, fact));
    };
    if !fact.denied || has_lapsed(&fact, now) || (in_force(file, now) && !outlasts(&fact, file)) {
        return None;
    }
    let since_ms = if in_force(file, now) { file.denied_since_ms.min(fact.since_ms) } else { fact.since_ms };
    Some((file.version, DenyFact { since_ms, ..fact }))
}

fn has_lapsed(fact: &DenyFact, now: Millis) -> bool {
    fact.expires_at_ms != 0 && fact.expires_at_ms <= now
}

/// Whether a denial ends later than one in force.
fn outlasts(fact: &DenyFact, file: &DenyFile) -> bool {
    let end = |at: Millis| if at == 0 { Millis::MAX } else { at };
    end(fact.expires_at_ms) > end(file.expires_at_ms)
}

/// Begins our own list anew, in an epoch of at least `epoch`. Its versions go on
/// above every version of before, also those that our store has lost: no peer can
/// take a new change for one that it knows. The unit names our head.
///
/// # Errors
/// When the head cannot be read.
pub fn begin_deny_epoch(
    view: &View,
    province: u32,
    epoch: u64,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let mut decision = Decision::new(Outcome::Approved);
    let known = head(view, province)?;
    if known.epoch < epoch {
        let epoch = epoch.max(known.version.saturating_add(1));
        let head = DenyListHead { version: epoch, heard_at_ms: now, epoch, told_by: Vec::new() };
        decision.writes.push(Write::put(&deny_head_id(province), &head));
    }
    Ok(decision)
}

/// Whether a peer can know of such a denial of one of our cards: lost, locked, lost
/// for a time, cancelled. What else it tells must never reach a card's file: a digit
/// that is no state could not be read again.
pub const fn may_be_told(fact: &DenyFact) -> bool {
    matches!(fact.card_state, 2 | 3 | 4 | 9)
}

/// Whether a denial of one of our cards that a peer knows of, made by our own list
/// at `version`, is one that our store has lost. What the list has said of the card
/// since it was begun anew stands; so does a later word of before.
pub fn is_lost_denial(
    head: &DenyListHead,
    file: Option<&DenyFile>,
    version: u64,
    fact: &DenyFact,
    now: Millis,
) -> bool {
    if !fact.denied || !may_be_told(fact) || has_lapsed(fact, now) {
        return false;
    }
    match file {
        None => true,
        Some(file) if in_force(file, now) => outlasts(fact, file),
        Some(file) => file.version < version && file.version <= head.epoch,
    }
}

/// Takes up again a loss of one of our cards that a peer knows of and that our store
/// has lost: the card's state and its line on the list, in one commit, with the
/// peer's name. The unit names the card's file, its deny file and our head.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn take_up_denial(
    view: &View,
    subject: Subject,
    (version, fact): (u64, DenyFact),
    told_by: u32,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let mut decision = Decision::new(Outcome::Approved);
    let province = fact.card.region().province().code();
    let (head, known) = (head(view, province)?, view.get::<DenyFile>(fact.card.as_bytes())?);
    if !is_lost_denial(&head, known.as_ref(), version, &fact, now) {
        return Ok(decision);
    }
    let version = head.version + 1;
    let file = DenyFile { told_by, ..file_of(province, version, fact) };
    let head = DenyListHead { version, heard_at_ms: now, ..head };
    decision.writes =
        vec![Write::put(&deny_head_id(province), &head), Write::put(fact.card.as_bytes(), &file)];
    // A card that was issued after the point the store was put back to has no file; its
    // import finds the denial.
    if let Some(mut card) = view.get::<CardFile>(fact.card.as_bytes())? {
        card.state = file.card_state;
        card.state_expires_at_ms = file.expires_at_ms;
        decision.writes.push(Write::put(fact.card.as_bytes(), &card));
    }
    decision.subject = Some(subject);
    decision.detail = Detail::personal(&CardDetail {
        card: fact.card.as_bytes().to_vec(),
        state: file.card_state,
        state_expires_at_ms: file.expires_at_ms,
        deny_list_version: version,
        region: fact.card.region().code(),
        told_by,
        ..CardDetail::default()
    });
    Ok(decision)
}

/// A peer has told all it knows of our list in this epoch. The unit names our head.
///
/// # Errors
/// When the head cannot be read.
pub fn told_all(view: &View, province: u32, epoch: u64, told_by: u32) -> Result<Decision, CorruptAggregate> {
    let mut decision = Decision::new(Outcome::Approved);
    let mut head = head(view, province)?;
    if head.epoch == epoch && !head.told_by.contains(&told_by) {
        head.told_by.push(told_by);
        decision.writes.push(Write::put(&deny_head_id(province), &head));
    }
    Ok(decision)
}

/// How a card that comes into the register stands on the list already: it was lost
/// before the register was put back.
pub(super) fn known_loss(
    view: &View,
    card: &CardIdentifier,
    now: Millis,
) -> Result<Option<DenyFile>, CorruptAggregate> {
    Ok(view.get::<DenyFile>(card.as_bytes())?.filter(|file| in_force(file, now)))
}
