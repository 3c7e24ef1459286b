//! How many tries a lane may have under way, and how many of them repeat what has
//! failed before.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{limits, model::RetryBudget};

/// The lanes that have had a task since the start. As many as there are backends.
#[derive(Debug, Default, Clone)]
pub(super) struct Lanes {
    lanes: Arc<Mutex<HashMap<String, Lane>>>,
}

#[derive(Debug)]
struct Lane {
    budget: RetryBudget,
    under_way: usize,
}

/// A try under way; its place is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    lanes: Lanes,
    lane: String,
}

impl Lanes {
    /// Lets a try begin. One that repeats needs a share of the lane's budget; beyond
    /// it, a lane repeats one task at a time, so that it never stands still either.
    pub(super) fn enter(&self, lane: &str, repeats: bool) -> Option<Place> {
        let mut lanes = self.lock();
        let found = lanes
            .entry(lane.to_owned())
            .or_insert_with(|| Lane { budget: RetryBudget::of(limits::RETRY_BUDGET_PERCENT), under_way: 0 });
        if repeats && found.under_way > 0 && !found.budget.take() {
            return None;
        }
        if !repeats {
            found.budget.called();
        }
        found.under_way += 1;
        Some(Place { lanes: self.clone(), lane: lane.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(lane) = self.lanes.lock().get_mut(&self.lane) {
            lane.under_way = lane.under_way.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_repeats_within_its_budget_and_never_stands_still() {
        let lanes = Lanes::default();
        let first = lanes.enter("library/a", true).expect("the first of a lane");
        let saved = lanes.enter("library/a", true).expect("one retry is saved up");
        assert!(lanes.enter("library/a", true).is_none(), "the budget is spent");
        assert!(lanes.enter("library/b", true).is_some(), "another lane has its own");
        drop((first, saved));
        drop(lanes.enter("library/a", true).expect("one at a time goes on"));
        let _fresh: Vec<_> = (0..5).map(|_| lanes.enter("library/a", false).expect("first tries")).collect();
        assert!(lanes.enter("library/a", true).is_some(), "five calls pay for a retry");
        assert!(lanes.enter("library/a", true).is_none());
    }
}
