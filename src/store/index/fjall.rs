//! The index on disk, kept by fjall.
//!
//! One keyspace holds every kind of row. Several would be flushed on their own
//! and could disagree after a power loss (the marker on disk, the claims not);
//! a single one loses only from the end.

use std::path::Path;

use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use super::{Changes, Index, IndexError, Pair};

/// Sorted keys in a folder.
pub struct FjallIndex {
    database: Database,
    rows: Keyspace,
}

impl FjallIndex {
    /// Opens the index in `dir`, or makes one.
    ///
    /// # Errors
    /// When it cannot be read; who opens it may remove the folder and rebuild.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        let database = Database::builder(dir)
            .cache_size(cache_bytes)
            // One, which flushes and compacts in turn. Of several, the first only
            // flushes, and spins for as long as another compacts: a whole core, and the
            // longer the more rows there are.
            .worker_threads(1)
            // Rows are small and sealed bytes do not shrink.
            .journal_compression(CompressionType::None)
            // The journal is the truth; the index saves itself the system calls.
            .manual_journal_persist(true)
            .open()
            .map_err(failed)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(64 * 1024 * 1024);
        let rows = database.keyspace("rows", options).map_err(failed)?;
        Ok(FjallIndex { database, rows })
    }
}

fn failed(error: fjall::Error) -> IndexError {
    IndexError(error.to_string())
}

impl Index for FjallIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.rows.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    fn write(&self, changes: &Changes) -> Result<(), IndexError> {
        let mut batch = self.database.batch();
        for (key, value) in changes.iter() {
            match value {
                Some(value) => batch.insert(&self.rows, key, value),
                None => batch.remove(&self.rows, key),
            }
        }
        batch.commit().map_err(failed)
    }

    fn pairs(&self, prefix: &[u8], until: Option<&[u8]>, most: usize) -> Result<Vec<Pair>, IndexError> {
        let mut pairs = Vec::new();
        for guard in self.rows.prefix(prefix).take(most) {
            let (key, value) = guard.into_inner().map_err(failed)?;
            if until.is_some_and(|until| &*key >= until) {
                break;
            }
            pairs.push((key.to_vec(), value.to_vec()));
        }
        Ok(pairs)
    }

    fn each(&self, prefix: &[u8], show: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), IndexError> {
        for guard in self.database.snapshot().prefix(&self.rows, prefix) {
            let (key, value) = guard.into_inner().map_err(failed)?;
            show(&key, &value);
        }
        Ok(())
    }

    fn together(&self, prefix: &[u8], beside: &[u8]) -> Result<(Vec<Pair>, Option<Vec<u8>>), IndexError> {
        let moment = self.database.snapshot();
        let mut pairs = Vec::new();
        for guard in moment.prefix(&self.rows, prefix) {
            let (key, value) = guard.into_inner().map_err(failed)?;
            pairs.push((key.to_vec(), value.to_vec()));
        }
        let beside = moment.get(&self.rows, beside).map_err(failed)?;
        Ok((pairs, beside.map(|value| value.to_vec())))
    }

    fn flush(&self) -> Result<(), IndexError> {
        self.database.persist(PersistMode::SyncAll).map_err(failed)
    }

    fn wipe(&self) -> Result<(), IndexError> {
        self.rows.clear().map_err(failed)
    }
}
