//! The table of task kinds: whose they are, who runs them, in which lane, and how
//! often and how long before people are called. One row a kind.

use std::time::Duration;

use super::super::Live;
use crate::{
    limits,
    model::{Backoff, Millis, Scene, TaskKind},
};

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunBy {
    Gateway,
    /// It is stuck from the start; somebody looks and closes it.
    People,
}

/// What holds for the tasks of a kind.
#[derive(Debug, Clone, Copy)]
pub struct TaskRule {
    /// The room whose rules decide what a try does.
    pub owner: Scene,
    pub run_by: RunBy,
    /// How lanes are named; tasks of other lanes never wait for them.
    pub lane: &'static str,
    /// The longest one try may take.
    pub within: Duration,
    /// Between tries that failed inside the gateway. How long to wait for a backend
    /// is the owner's own rule.
    pub backoff: Backoff,
    /// Tries in all, the owner's included, before the task is stuck.
    pub tries_max: u32,
    /// From its asking, before the task is stuck.
    pub age_max_ms: Millis,
}

/// The row of a kind. A task whose budget is spent is stuck: it is kept, shown, and
/// waits for an operator; none is ever dropped.
pub fn rule(kind: TaskKind, live: &Live) -> TaskRule {
    match kind {
        TaskKind::LibraryInquire => {
            let inquiry = &live.libraries.inquiry;
            let own = inquiry.inquiries_max.saturating_add(inquiry.undo_tries_max);
            TaskRule {
                owner: Scene::Library,
                run_by: RunBy::Gateway,
                lane: "library/<code>",
                within: limits::TASK_RUN_MAX,
                backoff: inquiry.backoff(),
                tries_max: own.saturating_add(limits::TASK_FAILURES_MAX),
                age_max_ms: inquiry.bound_ms().saturating_add(limits::TASK_AGE_MAX_MS),
            }
        }
        TaskKind::MedicalSettle => {
            let unknown = &live.medical.unknown;
            TaskRule {
                owner: Scene::Medical,
                run_by: RunBy::Gateway,
                lane: "medical/<institution>",
                within: limits::TASK_RUN_MAX,
                backoff: unknown.backoff(),
                tries_max: unknown.turns_max().saturating_add(limits::TASK_FAILURES_MAX),
                age_max_ms: unknown.bound_ms().saturating_add(limits::TASK_AGE_MAX_MS),
            }
        }
        TaskKind::PaymentExpire => TaskRule {
            owner: Scene::Transaction,
            run_by: RunBy::Gateway,
            lane: "kind/payment.expire",
            within: limits::TASK_RUN_MAX,
            backoff: Backoff { first_ms: 1_000, most_ms: 60_000 },
            tries_max: limits::TASK_FAILURES_MAX,
            // A reservation stands for days before its task is due.
            age_max_ms: Millis::MAX,
        },
        TaskKind::FederationSettleCode => TaskRule {
            owner: Scene::Federation,
            run_by: RunBy::Gateway,
            lane: "peer/<province>",
            within: limits::TASK_RUN_MAX,
            backoff: Backoff { first_ms: 2_000, most_ms: 5 * 60_000 },
            // Age is what counts: a region may be away for days.
            tries_max: 10_000,
            age_max_ms: limits::STAND_IN_SETTLE_MAX_MS,
        },
        TaskKind::LibraryByHand => by_people(Scene::Library, "library/<code>"),
    }
}

const fn by_people(owner: Scene, lane: &'static str) -> TaskRule {
    TaskRule {
        owner,
        run_by: RunBy::People,
        lane,
        within: Duration::ZERO,
        backoff: Backoff { first_ms: 0, most_ms: 0 },
        tries_max: 0,
        age_max_ms: Millis::MAX,
    }
}
