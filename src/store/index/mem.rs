//! An index in memory, for tests and simulation.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use super::{Changes, Index, IndexError, Pair};

/// Sorted keys in memory. Clones nothing: share it in an `Arc`.
#[derive(Debug, Default)]
pub struct MemIndex {
    rows: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemIndex {
    pub fn new() -> Self {
        Self::default()
    }

    /// Every pair there is, for comparing two indexes.
    pub fn dump(&self) -> Vec<Pair> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

impl Index for MemIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.rows.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn write(&self, changes: &Changes) -> Result<(), IndexError> {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes.iter() {
            match value {
                Some(value) => rows.insert(key.to_vec(), value.to_vec()),
                None => rows.remove(key),
            };
        }
        Ok(())
    }

    fn pairs(&self, prefix: &[u8], until: Option<&[u8]>, most: usize) -> Result<Vec<Pair>, IndexError> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        Ok(rows
            .range(prefix.to_vec()..)
            .take_while(|(key, _)| {
                key.starts_with(prefix) && until.is_none_or(|until| key.as_slice() < until)
            })
            .take(most)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn each(&self, prefix: &[u8], show: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), IndexError> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let within = rows.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        within.for_each(|(key, value)| show(key, value));
        Ok(())
    }

    fn together(&self, prefix: &[u8], beside: &[u8]) -> Result<(Vec<Pair>, Option<Vec<u8>>), IndexError> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let within = rows.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        let pairs = within.map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok((pairs, rows.get(beside).cloned()))
    }

    fn flush(&self) -> Result<(), IndexError> {
        Ok(())
    }

    fn wipe(&self) -> Result<(), IndexError> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}
