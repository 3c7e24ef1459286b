//! What the store tells those who watch it. Metrics belong to another room; who
//! joins everything connects the two.

use std::time::Duration;

/// Watches a store. Calls come from the store's own threads and must be short.
pub trait StoreObserver: Send + Sync + 'static {
    /// A batch is durable: its entries, its bytes on disk, and the time for
    /// writing, syncing and signing it.
    fn batch_committed(&self, entries: usize, bytes: usize, took: Duration) {
        let _ = (entries, bytes, took);
    }

    /// Entries that are journalled and not yet indexed.
    fn index_lag(&self, entries: usize) {
        let _ = entries;
    }

    /// Units that wait for the committer.
    fn pending(&self, units: usize) {
        let _ = units;
    }

    /// The index is being rebuilt or caught up from the journal; `batches` are
    /// done.
    fn index_rebuilding(&self, batches: u64) {
        let _ = batches;
    }

    /// Whether there is room on the disk for the next segment; told when it changes.
    fn room(&self, there_is: bool) {
        let _ = there_is;
    }

    /// The journal has stopped; nothing more is acknowledged.
    fn stopped(&self, reason: &str) {
        let _ = reason;
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl StoreObserver for NoObserver {}
