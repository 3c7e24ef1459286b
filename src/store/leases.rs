//! Who works on which task now, in the embedded engine: in memory only. One
//! process holds the journal, so after a restart nobody works on anything, and
//! leases that were kept would only make tasks wait.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{DueTask, TaskLease};
use crate::model::{Millis, TaskKey};

#[derive(Debug)]
struct Held {
    owner: String,
    lane: String,
    until_ms: Millis,
}

/// The leases that are out.
#[derive(Debug, Default)]
pub(super) struct Leases {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<TaskKey, Held>,
    /// Turns over the lanes, so that none is always the first.
    turn: usize,
}

impl Leases {
    /// Leases that are out in a lane, for whoever asks how many more rows to read.
    pub(super) fn out(&self) -> usize {
        self.lock().held.len()
    }

    /// Chooses among due tasks, given by lane and each lane oldest first: one of
    /// each lane in turn.
    pub(super) fn choose(&self, ask: &TaskLease<'_>, mut lanes: Vec<Vec<DueTask>>) -> Vec<DueTask> {
        let mut state = self.lock();
        let state = &mut *state;
        state.held.retain(|_, held| held.until_ms > ask.now_ms);
        state.turn = state.turn.wrapping_add(1);
        let lanes_count = lanes.len().max(1);
        lanes.rotate_left(state.turn % lanes_count);
        let mut chosen = Vec::new();
        let mut queues: Vec<_> = lanes
            .into_iter()
            .filter_map(|lane| {
                let name = &lane.first()?.lane;
                let out = state.held.values().filter(|held| held.lane == *name).count();
                let free: Vec<_> =
                    lane.into_iter().filter(|task| !state.held.contains_key(&task.key())).collect();
                Some(free.into_iter().take(ask.most_per_lane.saturating_sub(out)))
            })
            .collect();
        while chosen.len() < ask.most && !queues.is_empty() {
            queues.retain_mut(|queue| {
                if chosen.len() >= ask.most {
                    return false;
                }
                queue.next().map(|task| chosen.push(task)).is_some()
            });
        }
        let until_ms = ask.now_ms.saturating_add(ask.lease_ms);
        for task in &chosen {
            let held = Held { owner: ask.owner.to_owned(), lane: task.lane.clone(), until_ms };
            state.held.insert(task.key(), held);
        }
        chosen
    }

    /// Ends a lease, unless another owner has taken the task over.
    pub(super) fn release(&self, key: &TaskKey, owner: &str) {
        let mut state = self.lock();
        if state.held.get(key).is_some_and(|held| held.owner == owner) {
            state.held.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
