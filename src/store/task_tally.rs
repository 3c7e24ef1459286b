//! How many tasks are open, kind by kind: for gauges, so that they are exact however
//! many there are. Which tasks there are is told elsewhere.

use std::collections::BTreeMap;

use super::DueTask;
use crate::model::{Millis, TaskName, TaskState};

/// The open tasks of one kind, added up; there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskTally {
    pub kind: TaskName,
    pub waiting: u64,
    /// Those that wait for people.
    pub stuck: u64,
    /// When the oldest of them was first asked for.
    pub oldest_asked_at_ms: Millis,
    /// The most tries any of them has had.
    pub tries_max: u32,
}

/// Adds up open tasks.
#[derive(Debug, Default)]
pub(super) struct Tallies(BTreeMap<TaskName, TaskTally>);

impl Tallies {
    pub(super) fn add(&mut self, task: &DueTask) {
        self.add_many(&task.kind, task.state, 1, task.asked_at_ms, task.tries);
    }

    /// Adds `tasks` of a kind and state: when the oldest was asked for, and the most
    /// tries of one. What is done is not open.
    pub(super) fn add_many(
        &mut self,
        kind: &TaskName,
        state: TaskState,
        tasks: u64,
        oldest: Millis,
        tries: u32,
    ) {
        if state == TaskState::Done {
            return;
        }
        let none = || TaskTally {
            kind: kind.clone(),
            waiting: 0,
            stuck: 0,
            oldest_asked_at_ms: oldest,
            tries_max: tries,
        };
        let tally = self.0.entry(kind.clone()).or_insert_with(none);
        match state {
            TaskState::Waiting => tally.waiting += tasks,
            TaskState::Stuck => tally.stuck += tasks,
            TaskState::Done => {}
        }
        tally.oldest_asked_at_ms = tally.oldest_asked_at_ms.min(oldest);
        tally.tries_max = tally.tries_max.max(tries);
    }

    /// In the order of the kinds.
    pub(super) fn told(self) -> Vec<TaskTally> {
        self.0.into_values().collect()
    }
}
