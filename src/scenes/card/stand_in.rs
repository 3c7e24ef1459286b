//! The stand-in for a home region that is away, or that is not asked: a code is
//! believed by its signature and the deny list, so often a day, marked, and settled
//! with its home later. Pure.

use bytes::Bytes;

use super::standing::Who;
use crate::{
    identity::business_date,
    model::{
        AggregateKey, CorruptAggregate, Millis, Reason, Task, TaskKind, View, Write, record::StandInFile,
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
        let id = who.card.as_bytes();
        let today = business_date(now).to_string();
        let file = view.get::<StandInFile>(id)?.filter(|file| file.day == today);
        let before = file.map_or(0, |file| file.count);
        if before >= self.most_per_day {
            return Ok(Err(Reason::StandInLimit));
        }
        Ok(Ok(Write::put(id, &StandInFile { day: today, count: before + 1 })))
    }

    /// Home is to hear of it as soon as it is back.
    pub(super) fn settlement(&self, now: Millis) -> Task {
        let lane = format!("peer/{:06}", self.home);
        Task::ask(TaskKind::FederationSettleCode, lane, now, now.saturating_add(self.settle_after_ms))
    }
}
