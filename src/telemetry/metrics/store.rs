//! The committer, the index behind it, unfinished transactions, signatures.

use std::{sync::LazyLock, time::Duration};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::{catalogue as name, labels::label};

struct Store {
    batch_entries: Histogram,
    commit_seconds: Histogram,
    index_lag: Gauge,
    pending: Gauge,
    pending_oldest: Gauge,
    ledger_sum: Gauge,
    sign_queue: Gauge,
    ledger_folded_sum: Gauge,
    ledger_folded_postings: Gauge,
    retention_dropped: Counter,
    retention_kept: Gauge,
    retention_ran: Gauge,
    ledger_fold_failures: Counter,
}

static STORE: LazyLock<Store> = LazyLock::new(|| Store {
    batch_entries: histogram!(name::COMMIT_BATCH_ENTRIES),
    commit_seconds: histogram!(name::COMMIT_SECONDS),
    index_lag: gauge!(name::INDEX_LAG_ENTRIES),
    pending: gauge!(name::PENDING_TRANSACTIONS),
    pending_oldest: gauge!(name::PENDING_OLDEST_SECONDS),
    ledger_sum: gauge!(name::LEDGER_SUM_FEN),
    sign_queue: gauge!(name::SIGN_QUEUE),
    ledger_folded_sum: gauge!(name::LEDGER_FOLDED_SUM_FEN),
    ledger_folded_postings: gauge!(name::LEDGER_FOLDED_POSTINGS),
    retention_dropped: counter!(name::RETENTION_DROPPED),
    retention_kept: gauge!(name::RETENTION_KEPT),
    retention_ran: gauge!(name::RETENTION_RAN_SECONDS),
    ledger_fold_failures: counter!(name::LEDGER_FOLD_FAILURES),
});

/// A batch of `entries` was made durable in `took`.
pub fn commit_batch(entries: usize, took: Duration) {
    STORE.batch_entries.record(entries as f64);
    STORE.commit_seconds.record(took.as_secs_f64());
}

/// Entries that are journalled and not yet indexed.
pub fn index_lag(entries: usize) {
    STORE.index_lag.set(entries as f64);
}

/// Transactions whose outcome is unknown, and the age of the oldest.
pub fn pending_transactions(count: u64, oldest: Duration) {
    STORE.pending.set(count as f64);
    STORE.pending_oldest.set(oldest.as_secs_f64());
}

/// Sum of all postings of the ledger, fen. Anything but zero is an alarm.
pub fn ledger_sum(sum_fen: i128) {
    STORE.ledger_sum.set(sum_fen as f64);
}

/// The whole journal was summed at `at_ms`: `postings` of them, to `sum_fen`.
pub fn ledger_folded(sum_fen: i128, postings: u64, at_ms: i64) {
    STORE.ledger_folded_sum.set(sum_fen as f64);
    STORE.ledger_folded_postings.set(postings as f64);
    // Not there before the first time, and never where a database sums by itself.
    gauge!(name::LEDGER_FOLDED_AT_SECONDS).set(at_ms as f64 / 1_000.0);
}

/// The whole journal could not be summed; what the gauges say is from the last time.
pub fn ledger_fold_failed() {
    STORE.ledger_fold_failures.increment(1);
}

/// The terms of retention were looked at: so many sealed parts were dropped, so many
/// are past their term and still needed.
pub fn retention_ran(dropped: u64, kept: u64, at_ms: i64) {
    STORE.retention_dropped.increment(dropped);
    STORE.retention_kept.set(kept as f64);
    STORE.retention_ran.set(at_ms as f64 / 1_000.0);
}

label! {
    /// What the clock is held against.
    ClockAgainst {
        /// The time that has passed since the start: positive when it jumped ahead.
        Passed = "passed",
        /// The newest instant in the journal: by how much the clock is behind it.
        Journal = "journal",
    }
}

/// How far the machine's clock is off.
pub fn clock_off(against: ClockAgainst, by_ms: i64) {
    gauge!(name::CLOCK_OFF_SECONDS, "against" => against.name()).set(by_ms as f64 / 1_000.0);
}

/// Batches that wait for a signature.
pub fn sign_queue(waiting: usize) {
    STORE.sign_queue.set(waiting as f64);
}
