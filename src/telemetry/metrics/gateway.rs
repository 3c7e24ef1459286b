//! Refusals by reason, tasks, envelopes: what the way of a request counts beside
//! its answers. Rare, so handles are looked up in the recorder each time.

use std::time::Duration;

use metrics::{counter, gauge};

use super::{catalogue as name, labels::label};
use crate::model::{AggregateKind, Reason, TaskKind};

label! {
    /// Whose tries were used up.
    GuessLimit {
        Terminal = "terminal",
        Document = "document",
    }
}

/// A call was refused, or a credential not accepted.
pub fn refused(reason: Reason) {
    counter!(name::REFUSALS, "reason" => reason.code()).increment(1);
}

label! {
    /// How one try of a task ended.
    TaskEnd {
        /// What came of it is in the journal, the next try where one is needed too.
        Done = "done",
        /// It failed inside the gateway and comes again.
        PutOff = "put-off",
        /// Its budget is spent; an operator must look.
        Stuck = "stuck",
        /// Not even that could be journalled.
        Failed = "failed",
    }
}

/// A due task was tried.
pub fn task_run(kind: TaskKind, end: TaskEnd) {
    counter!(name::TASKS_RUN, "kind" => kind.name(), "end" => end.name()).increment(1);
}

/// Open tasks of one kind; kinds of another version count together as `unknown`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenTasks {
    pub waiting: u64,
    pub stuck: u64,
    pub oldest: Duration,
    /// The most tries any of them has had.
    pub tries: u32,
}

/// How many tasks of a kind are open, and how long.
pub fn open_tasks(kind: Option<TaskKind>, open: OpenTasks) {
    let kind = kind.map_or("unknown", TaskKind::name);
    gauge!(name::TASKS_OPEN, "kind" => kind, "state" => "waiting").set(open.waiting as f64);
    gauge!(name::TASKS_OPEN, "kind" => kind, "state" => "stuck").set(open.stuck as f64);
    gauge!(name::TASKS_OLDEST_SECONDS, "kind" => kind).set(open.oldest.as_secs_f64());
    gauge!(name::TASKS_TRIES_MAX, "kind" => kind).set(f64::from(open.tries));
}

/// A peer's envelope was refused. `province` is the certificate's, so the labels
/// are bounded by the certificates that were issued.
pub fn envelope_refused(province: u32) {
    counter!(name::ENVELOPES_REFUSED, "peer" => format!("{province:06}")).increment(1);
}

/// A peer's envelope named another run of this gateway and was sent back.
pub fn envelope_sent_back(province: u32) {
    counter!(name::ENVELOPES_SENT_BACK, "peer" => format!("{province:06}")).increment(1);
}

/// A document was not looked up because too many before it did not fit.
pub fn guess_limited(limit: GuessLimit) {
    counter!(name::GUESSES_LIMITED, "limit" => limit.name()).increment(1);
}

/// Rows of a kind were removed after their end.
pub fn swept(kind: AggregateKind, rows: usize) {
    counter!(name::ROWS_SWEPT, "kind" => kind.name()).increment(rows as u64);
}
