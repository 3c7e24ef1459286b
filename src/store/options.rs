//! What an operator says about the embedded store.

use std::path::PathBuf;

use super::checkpoint::Interval;
use crate::limits;

/// Options of the embedded engine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct StoreOptions {
    /// Folder of the store; `journal/` and `index/` are made in it. Only the
    /// first needs a backup.
    pub dir: PathBuf,
    /// Province of the writer's chain, 6 digits.
    pub region: u32,
    /// Name of this node in the writer's chain.
    #[serde(default = "default_node")]
    pub node: String,
    /// Size of a journal segment, bytes; at least 256 KiB.
    #[serde(default = "default_segment_bytes")]
    pub segment_bytes: u64,
    /// Entries in one batch at most.
    #[serde(default = "default_batch_max")]
    pub batch_max: usize,
    /// Units that may wait for the committer.
    #[serde(default = "default_queue_max")]
    pub queue_max: usize,
    /// Entries that may be journalled and not yet indexed.
    #[serde(default = "default_index_lag_max")]
    pub index_lag_max: usize,
    /// Memory for cached blocks of the index, bytes.
    #[serde(default = "default_index_cache_bytes")]
    pub index_cache_bytes: u64,
    /// Memory for aggregates that were lately used, bytes.
    #[serde(default = "default_recent_bytes")]
    pub recent_bytes: u64,
    /// Entries after which a batch carries a checkpoint: what a start has to read
    /// at most.
    #[serde(default = "default_checkpoint_entries")]
    pub checkpoint_entries: u64,
    /// Milliseconds after which the next batch carries a checkpoint.
    #[serde(default = "default_checkpoint_ms")]
    pub checkpoint_ms: i64,
    /// A file outside of `dir`, on another disk at best, that remembers how far the
    /// journal went, so that a start notices when an older state was put back.
    #[serde(default)]
    pub head_file: Option<PathBuf>,
    /// Reads the whole journal at start and not only what the index has not seen.
    /// Slow: some seconds a gigabyte.
    #[serde(default)]
    pub check_whole_journal: bool,
}

/// Smaller segments could not hold a batch of the largest entries.
pub const SEGMENT_BYTES_MIN: u64 = 256 * 1024;

fn default_node() -> String {
    "node-1".to_owned()
}

const fn default_segment_bytes() -> u64 {
    limits::SEGMENT_BYTES
}

const fn default_batch_max() -> usize {
    limits::BATCH_ENTRIES_MAX
}

const fn default_queue_max() -> usize {
    limits::COMMIT_QUEUE_MAX
}

const fn default_index_lag_max() -> usize {
    limits::INDEX_LAG_ENTRIES_MAX
}

const fn default_index_cache_bytes() -> u64 {
    128 * 1024 * 1024
}

const fn default_recent_bytes() -> u64 {
    limits::AGGREGATES_RECENT_BYTES
}

const fn default_checkpoint_entries() -> u64 {
    limits::CHECKPOINT_ENTRIES
}

const fn default_checkpoint_ms() -> i64 {
    limits::CHECKPOINT_MS
}

impl StoreOptions {
    /// The defaults, for a store in `dir` of the province `region`.
    pub fn in_dir(dir: impl Into<PathBuf>, region: u32) -> Self {
        StoreOptions {
            dir: dir.into(),
            region,
            node: default_node(),
            segment_bytes: default_segment_bytes(),
            batch_max: default_batch_max(),
            queue_max: default_queue_max(),
            index_lag_max: default_index_lag_max(),
            index_cache_bytes: default_index_cache_bytes(),
            recent_bytes: default_recent_bytes(),
            checkpoint_entries: default_checkpoint_entries(),
            checkpoint_ms: default_checkpoint_ms(),
            head_file: None,
            check_whole_journal: false,
        }
    }

    /// What is wrong with the options, field and sentence; empty when they can be
    /// used.
    pub fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let mut problems = Vec::new();
        let mut demand = |holds: bool, field, says| {
            if !holds {
                problems.push((field, says));
            }
        };
        demand((110_000..=999_999).contains(&self.region), "region", "is not a 6-digit code");
        demand(self.segment_bytes >= SEGMENT_BYTES_MIN, "segment_bytes", "is below 262144");
        demand(self.segment_bytes <= u64::from(u32::MAX), "segment_bytes", "is above 4294967295");
        demand((1..=limits::BATCH_ENTRIES_MAX).contains(&self.batch_max), "batch_max", "is not 1 to 1024");
        demand((1..=limits::COMMIT_QUEUE_MAX).contains(&self.queue_max), "queue_max", "is not 1 to 8192");
        demand(
            (1..=limits::INDEX_LAG_ENTRIES_MAX).contains(&self.index_lag_max),
            "index_lag_max",
            "is not 1 to 262144",
        );
        demand(
            (1..=limits::CHECKPOINT_ENTRIES_MAX).contains(&self.checkpoint_entries),
            "checkpoint_entries",
            "is not 1 to 1000000",
        );
        demand(
            (1_000..=86_400_000).contains(&self.checkpoint_ms),
            "checkpoint_ms",
            "is not 1000 to 86400000",
        );
        demand(self.recent_bytes >= 1 << 20, "recent_bytes", "is below 1048576");
        demand(self.index_cache_bytes >= 1 << 20, "index_cache_bytes", "is below 1048576");
        demand(!self.node.is_empty() && self.node.len() <= 64, "node", "is not 1 to 64 characters long");
        problems
    }

    /// When batches carry a checkpoint, and how large it may be.
    pub(super) fn interval(&self) -> Interval {
        let eighth = usize::try_from(self.segment_bytes / 8).unwrap_or(usize::MAX);
        Interval {
            entries: self.checkpoint_entries,
            ms: self.checkpoint_ms,
            bytes: eighth.min(limits::CHECKPOINT_BYTES_MAX),
        }
    }

    /// Encoded entries of one batch, so that some batches fit any segment.
    pub(super) fn batch_bytes(&self) -> usize {
        let quarter = usize::try_from(self.segment_bytes / 4).unwrap_or(usize::MAX);
        quarter.min(limits::BATCH_BYTES_MAX)
    }
}
