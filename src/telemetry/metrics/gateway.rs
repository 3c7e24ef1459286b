//! Refusals by reason, tasks, envelopes: what the way of a request counts beside
//! its answers. Rare, so handles are looked up in the recorder each time.

use metrics::counter;

use super::{catalogue as name, labels::label};
use crate::model::{AggregateKind, Reason};

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

/// A due task was taken up. `kind` is one of the few the rules know.
pub fn task_run(kind: &'static str) {
    counter!(name::TASKS_RUN, "kind" => kind).increment(1);
}

/// A peer's envelope was refused. `province` is the certificate's, so the labels
/// are bounded by the certificates that were issued.
pub fn envelope_refused(province: u32) {
    counter!(name::ENVELOPES_REFUSED, "peer" => format!("{province:06}")).increment(1);
}

/// A document was not looked up because too many before it did not fit.
pub fn guess_limited(limit: GuessLimit) {
    counter!(name::GUESSES_LIMITED, "limit" => limit.name()).increment(1);
}

/// Rows of a kind were removed after their end.
pub fn swept(kind: AggregateKind, rows: usize) {
    counter!(name::ROWS_SWEPT, "kind" => kind.name()).increment(rows as u64);
}
