//! Holder sessions: what an authentication ends in and the next request names.

use super::{
    deny::not_denied,
    standing::{Who, approved, declined_unknown, usable},
};
use crate::{
    identity::CardIdentifier,
    model::{
        Assurance, CorruptAggregate, Decision, Millis, PairwiseHolder, ParticipantId, Reason, Subject,
        TerminalId, Token16, View, Write,
        record::{CardDetail, CardFile, HolderSession},
    },
};

/// A session about to be made. The token comes from outside: rules know no
/// chance.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub token: Token16,
    pub participant: ParticipantId,
    pub terminal: TerminalId,
    pub life_ms: i64,
}

impl NewSession {
    /// The session's end and its row. `stood_in`: its code was not settled at home.
    pub(super) fn write(
        &self,
        who: &Who,
        assurance: Assurance,
        stood_in: bool,
        now: Millis,
    ) -> (Millis, Write) {
        let expires_at_ms = now + self.life_ms;
        let session = HolderSession {
            card: who.card.as_bytes().to_vec(),
            participant: self.participant.as_str().to_owned(),
            terminal: self.terminal.as_str().to_owned(),
            expires_at_ms,
            assurance: assurance.number(),
            subject: who.subject.as_bytes().to_vec(),
            pairwise_holder: who.pairwise.as_bytes().to_vec(),
            ended: false,
            stood_in,
        };
        (expires_at_ms, Write::put(self.token.as_bytes(), &session))
    }
}

/// Who names a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionAsk<'a> {
    pub participant: &'a ParticipantId,
    pub terminal: &'a TerminalId,
    pub minimum: Assurance,
}

/// Whether a session may be used by this terminal now, and for whom. A session of
/// another terminal is as unknown as one that never was.
///
/// # Errors
/// The reason it may not.
pub fn live_session(
    session: Option<&HolderSession>,
    ask: SessionAsk<'_>,
    now: Millis,
) -> Result<(Who, Assurance), Reason> {
    let (who, assurance) = session_of(session, ask.participant, ask.terminal)?;
    let session = session.ok_or(Reason::SessionUnknown)?;
    if session.ended {
        return Err(Reason::SessionUsed);
    }
    if session.expires_at_ms <= now {
        return Err(Reason::SessionExpired);
    }
    if assurance < ask.minimum {
        return Err(Reason::AssuranceTooLow);
    }
    Ok((who, assurance))
}

/// For whom a session of this terminal was made, live or over. A session of
/// another terminal is as unknown as one that never was.
///
/// # Errors
/// `SessionUnknown`.
pub fn session_of(
    session: Option<&HolderSession>,
    participant: &ParticipantId,
    terminal: &TerminalId,
) -> Result<(Who, Assurance), Reason> {
    let session = session.ok_or(Reason::SessionUnknown)?;
    if session.participant != participant.as_str() || session.terminal != terminal.as_str() {
        return Err(Reason::SessionUnknown);
    }
    let assurance = Assurance::from_number(session.assurance).ok_or(Reason::SessionUnknown)?;
    let card: [u8; 16] = session.card.as_slice().try_into().map_err(|_| Reason::SessionUnknown)?;
    let who = Who {
        card: CardIdentifier::from_bytes(card).map_err(|_| Reason::SessionUnknown)?,
        subject: Subject::from_slice(&session.subject).map_err(|_| Reason::SessionUnknown)?,
        pairwise: PairwiseHolder::from_slice(&session.pairwise_holder).map_err(|_| Reason::SessionUnknown)?,
    };
    Ok((who, assurance))
}

/// Whether the session and its card may still be used, as they stand at
/// commitment: a session may have been ended and a card reported lost since they
/// were looked up.
///
/// The unit names the session, and the card's file where the card is ours, its
/// deny file otherwise.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn still_live(
    view: &View,
    token: Token16,
    card_is_ours: bool,
    ask: SessionAsk<'_>,
    now: Millis,
) -> Result<Result<(), Reason>, CorruptAggregate> {
    let session: Option<HolderSession> = view.get(token.as_bytes())?;
    let who = match live_session(session.as_ref(), ask, now) {
        Ok((who, _)) => who,
        Err(reason) => return Ok(Err(reason)),
    };
    if !card_is_ours {
        return not_denied(view, &who.card, now);
    }
    let file: Option<CardFile> = view.get(who.card.as_bytes())?;
    Ok(file.map_or(Err(Reason::CardUnknown), |file| usable(&file, now)))
}

/// Ends a session. Ending one that is over is approved: it is over.
///
/// # Errors
/// When the session cannot be read.
pub fn end_session(view: &View, token: Token16, who: &Who) -> Result<Decision, CorruptAggregate> {
    let Some(mut session) = view.get::<HolderSession>(token.as_bytes())? else {
        return Ok(declined_unknown(Reason::SessionUnknown));
    };
    session.ended = true;
    let mut decision = approved(who, CardDetail::default());
    decision.writes.push(Write::put(token.as_bytes(), &session));
    Ok(decision)
}
