//! Chip relay, e-card code, document: from a credential to a holder session.

use std::collections::BTreeMap;

use super::{
    attributes::Granted,
    deny::not_denied,
    session::NewSession,
    stand_in::StandIn,
    standing::{Who, approved, declined, declined_unknown, usable},
};
use crate::{
    identity::HolderName,
    model::{
        Assurance, CorruptAggregate, Decision, Millis, ParticipantId, Reason, TerminalId, Token16,
        TransactionId, View, Write,
        record::{CardDetail, CardFile, ChipSession, CodeUse, DocumentFile, HolderFile},
    },
};

/// First call of a chip relay whose cryptogram was found genuine.
#[derive(Debug, Clone)]
pub struct ChipBegin {
    pub token: Token16,
    /// The serving member's province where a peer asks; 0 for our own terminal.
    pub member: u32,
    pub participant: ParticipantId,
    pub terminal: TerminalId,
    pub life_ms: i64,
    pub internal_authenticator: [u8; 16],
    pub external_authenticator: [u8; 16],
    /// Serving side: the home region's session. The card's file is not ours then.
    pub home_session: Option<Token16>,
}

/// Begins a chip session. In the home region the card's state is checked first,
/// so that a lost card gets no authenticators.
///
/// The unit names the chip session and, at home, the card's file.
///
/// # Errors
/// When the card's file cannot be read.
pub fn begin_chip(
    view: &View,
    who: &Who,
    begin: &ChipBegin,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    if begin.home_session.is_none() {
        let Some(file) = view.get::<CardFile>(who.card.as_bytes())? else {
            return Ok(declined_unknown(Reason::CardUnknown));
        };
        if let Err(reason) = usable(&file, now) {
            return Ok(declined(who, reason, CardDetail { state: file.state, ..CardDetail::default() }));
        }
    }
    let expires_at_ms = now + begin.life_ms;
    let session = ChipSession {
        card: who.card.as_bytes().to_vec(),
        member: member_text(begin.member),
        participant: begin.participant.as_str().to_owned(),
        terminal: begin.terminal.as_str().to_owned(),
        expires_at_ms,
        used: false,
        home_session: begin.home_session.map(|token| token.as_bytes().to_vec()).unwrap_or_default(),
    };
    let mut decision = approved(
        who,
        CardDetail {
            chip_session: begin.token.as_bytes().to_vec(),
            session_expires_at_ms: expires_at_ms,
            internal_authenticator: begin.internal_authenticator.to_vec(),
            external_authenticator: begin.external_authenticator.to_vec(),
            ..CardDetail::default()
        },
    );
    decision.writes.push(Write::put(begin.token.as_bytes(), &session));
    Ok(decision)
}

fn member_text(member: u32) -> String {
    if member == 0 { String::new() } else { member.to_string() }
}

/// What the reader read once the card had accepted the authenticators.
#[derive(Debug, Clone)]
pub struct HolderData {
    /// AAC002.
    pub social_security_number: String,
    /// AAZ500.
    pub card_number: String,
    /// AAC003.
    pub name: HolderName,
}

/// Second call of a chip relay.
#[derive(Debug, Clone)]
pub struct ChipFinish {
    pub chip_session: Token16,
    pub member: u32,
    pub participant: ParticipantId,
    pub terminal: TerminalId,
    pub session: Option<NewSession>,
    pub granted: Granted,
}

/// Checks the card against the register and, for our own terminal, makes the
/// holder session. The chip session is used up whatever the answer, so that
/// nobody can try names against it.
///
/// The unit names the chip session, the card's file, the holder's file.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn finish_chip(
    view: &View,
    who: &Who,
    holder: &[u8],
    finish: &ChipFinish,
    data: &HolderData,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let used = match use_chip_session(view, who, finish, now)? {
        Ok(used) => used,
        Err(reason) => return Ok(declined(who, reason, CardDetail::default())),
    };
    let decline = |reason| {
        let mut decision = declined(who, reason, CardDetail::default());
        decision.writes.push(used.clone());
        decision
    };
    let Some(file) = view.get::<CardFile>(who.card.as_bytes())? else {
        return Ok(decline(Reason::CardUnknown));
    };
    if let Err(reason) = usable(&file, now) {
        return Ok(decline(reason));
    }
    let Some(person) = view.get::<HolderFile>(holder)? else {
        return Ok(decline(Reason::CardUnknown));
    };
    let fits = person.social_security_number == data.social_security_number
        && person.card_number == data.card_number
        && is_named(&person, &data.name);
    if !fits {
        return Ok(decline(Reason::ChipDataDiffers));
    }
    let told = finish.granted.tell(&person);
    let mut decision = vouch(who, Assurance::Chip, finish.session.as_ref(), told, file.state, now);
    decision.writes.push(used);
    Ok(decision)
}

/// The serving side of a relay: the home region has vouched, our own chip
/// session is used up and the holder session made.
///
/// The unit names the chip session and the card's deny file.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn finish_foreign_chip(
    view: &View,
    who: &Who,
    finish: &ChipFinish,
    vouched: Result<Vouched, Reason>,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let used = match use_chip_session(view, who, finish, now)? {
        Ok(used) => used,
        Err(reason) => return Ok(declined(who, reason, CardDetail::default())),
    };
    let mut decision = match not_denied(view, &who.card, now)?.and(vouched) {
        Ok(vouched) => {
            vouch(who, Assurance::Chip, finish.session.as_ref(), vouched.attributes, vouched.state, now)
        }
        Err(reason) => declined(who, reason, CardDetail::default()),
    };
    decision.writes.push(used);
    Ok(decision)
}

fn use_chip_session(
    view: &View,
    who: &Who,
    finish: &ChipFinish,
    now: Millis,
) -> Result<Result<Write, Reason>, CorruptAggregate> {
    let id = finish.chip_session.as_bytes();
    let Some(mut session) = view.get::<ChipSession>(id)? else {
        return Ok(Err(Reason::SessionUnknown));
    };
    let is_ours = session.participant == finish.participant.as_str()
        && session.terminal == finish.terminal.as_str()
        && session.member == member_text(finish.member)
        && session.card == who.card.as_bytes();
    Ok(if !is_ours {
        Err(Reason::SessionUnknown)
    } else if session.used {
        Err(Reason::SessionUsed)
    } else if session.expires_at_ms <= now {
        Err(Reason::SessionExpired)
    } else {
        session.used = true;
        Ok(Write::put(id, &session))
    })
}

/// What a home region said of its holder.
#[derive(Debug, Clone, Default)]
pub struct Vouched {
    pub attributes: BTreeMap<String, String>,
    /// AAZ502 digit.
    pub state: u32,
}

/// An approval with, for our own terminal, a holder session.
fn vouch(
    who: &Who,
    assurance: Assurance,
    session: Option<&NewSession>,
    attributes: BTreeMap<String, String>,
    state: u32,
    now: Millis,
) -> Decision {
    vouch_with(who, assurance, session, attributes, CardDetail { state, ..CardDetail::default() }, now)
}

fn vouch_with(
    who: &Who,
    assurance: Assurance,
    session: Option<&NewSession>,
    attributes: BTreeMap<String, String>,
    mut detail: CardDetail,
    now: Millis,
) -> Decision {
    detail.attributes_told = attributes.keys().cloned().collect();
    detail.attributes = attributes.into_iter().collect();
    let mut writes = Vec::new();
    if let Some(session) = session {
        let (expires_at_ms, write) = session.write(who, assurance, detail.stood_in, now);
        detail.holder_session = session.token.as_bytes().to_vec();
        detail.session_expires_at_ms = expires_at_ms;
        writes.push(write);
    }
    let mut decision = approved(who, detail);
    decision.assurance = Some(assurance);
    decision.writes = writes;
    decision
}

/// An e-card code whose signature and time were found right.
#[derive(Debug, Clone)]
pub struct CodePresented {
    pub nonce: [u8; 16],
    /// How long the nonce must be remembered.
    pub expires_at_ms: Millis,
    pub transaction: TransactionId,
    pub session: Option<NewSession>,
    pub granted: Granted,
}

/// A code of our own region, scanned here or settled for a peer: used once, for a
/// card that may be used.
///
/// The unit names the code's use, the card's file, the holder's file.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn present_code(
    view: &View,
    who: &Who,
    holder: &[u8],
    code: &CodePresented,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let used = match use_code(view, code, now)? {
        Ok(used) => used,
        Err(reason) => return Ok(declined(who, reason, CardDetail::default())),
    };
    let Some(file) = view.get::<CardFile>(who.card.as_bytes())? else {
        return Ok(declined_unknown(Reason::CardUnknown));
    };
    if let Err(reason) = usable(&file, now) {
        return Ok(declined(who, reason, CardDetail { state: file.state, ..CardDetail::default() }));
    }
    let told = match view.get::<HolderFile>(holder)? {
        Some(person) => code.granted.tell(&person),
        None => BTreeMap::new(),
    };
    let mut decision = vouch(who, Assurance::Code, code.session.as_ref(), told, file.state, now);
    decision.writes.push(used);
    Ok(decision)
}

/// A code of another region, verified from the trust list; `vouched` is what its
/// home region said where the scene's policy settles codes there.
///
/// The unit names the code's use and the card's deny file.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn present_foreign_code(
    view: &View,
    who: &Who,
    code: &CodePresented,
    vouched: Result<Vouched, Reason>,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let used = match use_code(view, code, now)? {
        Ok(used) => used,
        Err(reason) => return Ok(declined(who, reason, CardDetail::default())),
    };
    let mut decision = match not_denied(view, &who.card, now)?.and(vouched) {
        Ok(vouched) => {
            vouch(who, Assurance::Code, code.session.as_ref(), vouched.attributes, vouched.state, now)
        }
        Err(reason) => declined(who, reason, CardDetail::default()),
    };
    decision.writes.push(used);
    Ok(decision)
}

/// A code of another region that was verified from the trust list and not settled
/// with its home: believed so often a day, marked, and to be settled.
///
/// The unit names the code's use, the card's deny file and its stand-in file.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn stand_in_for_code(
    view: &View,
    who: &Who,
    code: &CodePresented,
    stand_in: &StandIn,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let used = match use_code(view, code, now)? {
        Ok(used) => used,
        Err(reason) => return Ok(declined(who, reason, CardDetail::default())),
    };
    let counted = match not_denied(view, &who.card, now)? {
        Ok(()) => stand_in.count(view, who, now)?,
        Err(reason) => Err(reason),
    };
    let mut decision = match counted {
        Ok(counted) => {
            let detail = CardDetail {
                state: 1,
                stood_in: true,
                stood_in_code: stand_in.code.to_vec(),
                ..CardDetail::default()
            };
            let session = code.session.as_ref();
            let mut decision = vouch_with(who, Assurance::Code, session, BTreeMap::new(), detail, now);
            decision.writes.push(counted);
            decision.tasks.push(stand_in.settlement(now));
            decision
        }
        // The code is not used up: it may be shown again once home can be asked.
        Err(Reason::StandInLimit) => {
            return Ok(declined(who, Reason::StandInLimit, CardDetail::default()));
        }
        Err(reason) => declined(who, reason, CardDetail::default()),
    };
    decision.writes.push(used);
    Ok(decision)
}

fn use_code(
    view: &View,
    code: &CodePresented,
    now: Millis,
) -> Result<Result<Write, Reason>, CorruptAggregate> {
    if view.get::<CodeUse>(&code.nonce)?.is_some() {
        return Ok(Err(Reason::CodeUsed));
    }
    let used = CodeUse {
        used_at_ms: now,
        expires_at_ms: code.expires_at_ms,
        transaction_id: code.transaction.as_bytes().to_vec(),
    };
    Ok(Ok(Write::put(&code.nonce, &used)))
}

/// An identity document at a staffed counter.
#[derive(Debug, Clone)]
pub struct DocumentPresented {
    /// From [`document_id`].
    pub document: [u8; 16],
    pub name: HolderName,
    pub session: NewSession,
    pub granted: Granted,
}

/// What the keyed hash that finds a holder by document is made over.
pub fn document_id(kind: &str, number: &str) -> Vec<u8> {
    let mut bytes = b"onecard/document/v1\0".to_vec();
    bytes.extend_from_slice(kind.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(number.as_bytes());
    bytes
}

/// Number and name belong together, and the holder's card may be used. A wrong
/// name and an unknown number are told apart: the clerk has the document in hand.
///
/// The unit names the document's file, the holder's file, the card's file.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn present_document(
    view: &View,
    who: &Who,
    holder: &[u8],
    presented: &DocumentPresented,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    if view.get::<DocumentFile>(&presented.document)?.is_none_or(|file| file.holder != holder) {
        return Ok(declined_unknown(Reason::DocumentUnknown));
    }
    let Some(person) = view.get::<HolderFile>(holder)? else {
        return Ok(declined_unknown(Reason::DocumentUnknown));
    };
    if !is_named(&person, &presented.name) {
        return Ok(declined(who, Reason::DocumentMismatch, CardDetail::default()));
    }
    let Some(file) = view.get::<CardFile>(who.card.as_bytes())? else {
        return Ok(declined_unknown(Reason::CardUnknown));
    };
    if let Err(reason) = usable(&file, now) {
        return Ok(declined(who, reason, CardDetail { state: file.state, ..CardDetail::default() }));
    }
    let told = presented.granted.tell(&person);
    Ok(vouch(who, Assurance::Document, Some(&presented.session), told, file.state, now))
}

/// Whether the register knows the holder under this name. A register's name that
/// is none matches nobody.
fn is_named(person: &HolderFile, name: &HolderName) -> bool {
    person.name.parse::<HolderName>().is_ok_and(|registered| registered.matches(name))
}
