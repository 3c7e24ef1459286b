//! The stand-in for a home region that is away, or that is not asked: a code is
//! believed by its signature and the deny list, so often a day and for so much money,
//! marked, and settled with its home later. Pure.

use bytes::Bytes;

use super::standing::Who;
use crate::{
    identity::business_date,
    model::{
        AggregateKey, CorruptAggregate, Fen, Millis, Reason, Task, TaskKind, Token16, View, Write,
        record::{HolderSession, StandInFile},
    },
};

/// What a stand-in takes on itself.
#[derive(Debug, Clone)]
pub struct StandIn {
    /// Province of the code's home, 110000 style.
    pub home: u32,
    /// Stand-ins for one card on one business day.
    pub most_per_day: u32,
    /// The code's bytes as signed, for the settlement; kept sealed.
    pub code: Bytes,
    /// From the stand-in to the first try to settle it.
    pub settle_after_ms: i64,
}

/// What stands for a stand-in in the unit's aggregates.
pub fn stand_in_key(card: &[u8]) -> AggregateKey {
    AggregateKey::of::<StandInFile>(card)
}

impl StandIn {
    /// Counts one more for the card today; the reason when there were enough.
    pub(super) fn count(
        &self,
        view: &View,
        who: &Who,
        now: Millis,
    ) -> Result<Result<Write, Reason>, CorruptAggregate> {
        let file = today(view, who.card.as_bytes(), now)?;
        if file.count >= self.most_per_day {
            return Ok(Err(Reason::StandInLimit));
        }
        let file = StandInFile { count: file.count + 1, ..file };
        Ok(Ok(Write::put(who.card.as_bytes(), &file)))
    }

    /// Home is to hear of it as soon as it is back.
    pub(super) fn settlement(&self, now: Millis) -> Task {
        let lane = format!("peer/{:06}", self.home);
        Task::ask(TaskKind::FederationSettleCode, lane, now, now.saturating_add(self.settle_after_ms))
    }
}

/// Counts what is to be reserved under a session for which we stood in; nothing is
/// counted under another. What is released or given back counts all the same.
///
/// The unit names the session and its card's stand-in file.
///
/// # Errors
/// When a stored aggregate cannot be read.
pub fn reserve_standing_in(
    view: &View,
    session: Token16,
    amount: Fen,
    most_per_day: Fen,
    now: Millis,
) -> Result<Result<Option<Write>, Reason>, CorruptAggregate> {
    let session = view.get::<HolderSession>(session.as_bytes())?;
    let Some(session) = session.filter(|session| session.stood_in) else { return Ok(Ok(None)) };
    let mut file = today(view, &session.card, now)?;
    file.reserved_fen = file.reserved_fen.saturating_add(amount.get());
    if file.reserved_fen > most_per_day.get() {
        return Ok(Err(Reason::StandInLimit));
    }
    Ok(Ok(Some(Write::put(&session.card, &file))))
}

/// What we stood in for the card today.
fn today(view: &View, card: &[u8], now: Millis) -> Result<StandInFile, CorruptAggregate> {
    let day = business_date(now).to_string();
    let file = view.get::<StandInFile>(card)?.filter(|file| file.day == day);
    Ok(file.unwrap_or(StandInFile { day, ..StandInFile::default() }))
}
