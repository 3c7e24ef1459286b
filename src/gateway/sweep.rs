//! Keeping house beside the calls: rows that are over are removed, and sums of
//! refusals are journalled when their minute has ended. Small units, one at a time,
//! each let in like the least urgent call: live traffic goes first.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Gateway, Refusal};
use crate::{
    limits,
    model::{AggregateKey, AggregateKind, Rank, Scene},
    scenes::card,
    telemetry::metrics,
};

/// Keeps house until it is told to stop.
#[derive(Debug)]
pub struct Housekeeper {
    gateway: Arc<Gateway>,
    every: Duration,
    walks: [Walk; card::SWEPT.len()],
}

impl Housekeeper {
    pub fn new(gateway: Arc<Gateway>, every: Duration) -> Self {
        Housekeeper { gateway, every, walks: card::SWEPT.map(Walk::through) }
    }

    /// Works every `every`. Told to stop it journals what it still has summed.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {
                    self.gateway.journal_sums(false).await;
                    self.turn().await;
                }
            }
        }
        self.gateway.journal_sums(true).await;
    }

    /// Looks through a part of each kind and removes what is over; answers with how
    /// many rows that were.
    pub(super) async fn turn(&mut self) -> usize {
        let mut swept = 0;
        for walk in &mut self.walks {
            match walk.turn(&self.gateway).await {
                Ok(rows) => swept += rows,
                Err(refusal) => {
                    let reason = refusal.reason.code();
                    tracing::debug!(kind = ?walk.kind, reason, "sweeping waits");
                }
            }
        }
        swept
    }
}

/// Where the walk through the rows of a kind is. A prefix names a part of the ids: one
/// that holds more than is looked at at once is walked in finer parts, down to a
/// single row.
#[derive(Debug)]
struct Walk {
    kind: AggregateKind,
    prefix: Vec<u8>,
}

impl Walk {
    fn through(kind: AggregateKind) -> Self {
        Walk { kind, prefix: vec![0] }
    }

    async fn turn(&mut self, gateway: &Gateway) -> Result<usize, Refusal> {
        let mut swept = 0;
        for _ in 0..limits::SWEEP_PARTS_PER_TURN {
            let part =
                gateway.store.part(self.kind, self.prefix.clone(), limits::SWEEP_ROWS_PER_PART).await?;
            let now = gateway.now_ms();
            let over = part.rows.iter().filter(|(_, stored)| card::is_over(self.kind, &stored.body, now));
            let over: Vec<AggregateKey> = over.map(|(key, _)| key.clone()).collect();
            for unit in over.chunks(limits::SWEPT_AT_ONCE_MAX) {
                swept += gateway.sweep(self.kind, unit).await?;
            }
            self.step(part.is_whole);
        }
        Ok(swept)
    }

    /// The next part: a finer one, or the one behind; after the last the first.
    fn step(&mut self, is_whole: bool) {
        if !is_whole && self.prefix.len() < limits::SWEEP_PREFIX_MAX {
            self.prefix.push(0);
            return;
        }
        while let Some(last) = self.prefix.pop() {
            if let Some(next) = last.checked_add(1) {
                self.prefix.push(next);
                return;
            }
        }
        self.prefix.push(0);
    }
}

impl Gateway {
    async fn sweep(&self, kind: AggregateKind, rows: &[AggregateKey]) -> Result<usize, Refusal> {
        let _place = self.admission.enter(Rank::Background)?;
        let keeper = self.keeper()?;
        let (named, touches) = (rows.to_vec(), rows.to_vec());
        self.note(self.own_meta(Scene::Operations, "Sweep"), touches, move |view, now| {
            card::sweep(view, &named, keeper, now)
        })
        .await?;
        metrics::swept(kind, rows.len());
        Ok(rows.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_visits_every_part_and_begins_again() {
        let mut walk = Walk::through(AggregateKind::CodeUse);
        let mut seen = Vec::new();
        // Part 7 is crowded, and 7-0 is too.
        for _ in 0..256 + 256 + 256 {
            seen.push(walk.prefix.clone());
            let crowded = walk.prefix == [7] || walk.prefix == [7, 0];
            walk.step(!crowded);
        }
        assert_eq!(seen[7..11], [vec![7], vec![7, 0], vec![7, 0, 0], vec![7, 0, 1]]);
        assert_eq!(seen.iter().filter(|part| part.len() == 1).count(), 256);
        assert_eq!(seen.iter().filter(|part| part.len() == 2).count(), 256);
        assert_eq!(walk.prefix, [0]);
        let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len());
    }

    #[test]
    fn rows_whose_ids_differ_in_their_last_bytes_only_are_all_seen() {
        let ids: Vec<[u8; 16]> = (0..2_000_u16)
            .map(|at| {
                let mut id = [0x13; 16];
                id[14..].copy_from_slice(&at.to_be_bytes());
                id
            })
            .collect();
        let mut walk = Walk::through(AggregateKind::StandIn);
        let mut seen = std::collections::BTreeSet::<&[u8; 16]>::new();
        for _ in 0..256 * 16 + 256 * 9 {
            let part: Vec<_> = ids.iter().filter(|id| id.starts_with(&walk.prefix)).collect();
            let is_whole = part.len() < limits::SWEEP_ROWS_PER_PART;
            seen.extend(part.into_iter().take(limits::SWEEP_ROWS_PER_PART));
            walk.step(is_whole);
        }
        assert_eq!(seen.len(), ids.len());
    }

    #[test]
    fn a_part_that_cannot_be_walked_finer_is_left() {
        let mut walk = Walk { kind: AggregateKind::CodeUse, prefix: vec![9; limits::SWEEP_PREFIX_MAX] };
        walk.step(false);
        assert_eq!(walk.prefix.len(), limits::SWEEP_PREFIX_MAX);
        assert_eq!(walk.prefix.last(), Some(&10));
    }
}
