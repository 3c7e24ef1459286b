//! The index as a trait: sorted keys with values, written in atomic groups. What
//! the rows mean is said in one place, `rows`; engines only keep them.
//!
//! The index is never the truth. It may lose its newest writes in a crash, but
//! only from the end: what it holds is the state after some batch.

mod fjall;
mod mem;

pub use fjall::FjallIndex;
pub use mem::MemIndex;

/// What one write changes. Keys and values lie in one buffer one after another,
/// so that a row costs no allocation; cleared, it is used again.
#[derive(Debug, Default)]
pub struct Changes {
    bytes: Vec<u8>,
    rows: Vec<Change>,
}

/// A row in [`Changes`]: where its key and its value begin and the value ends.
#[derive(Debug, Clone, Copy)]
struct Change {
    /// The key's first bytes, which nearly always settle a comparison.
    prefix: u64,
    key: usize,
    value: usize,
    end: usize,
    removes: bool,
}

impl Changes {
    /// Says that `key` now holds `value`, both given in parts.
    pub fn put(&mut self, key: &[&[u8]], value: &[&[u8]]) {
        self.push(key, value, false);
    }

    /// Says that `key` is gone.
    pub fn remove(&mut self, key: &[&[u8]]) {
        self.push(key, &[], true);
    }

    fn push(&mut self, key: &[&[u8]], value: &[&[u8]], removes: bool) {
        let begins = self.bytes.len();
        key.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let parted = self.bytes.len();
        value.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let mut prefix = [0; 8];
        let first = &self.bytes[begins..parted.min(begins + 8)];
        prefix[..first.len()].copy_from_slice(first);
        let prefix = u64::from_be_bytes(prefix);
        self.rows.push(Change { prefix, key: begins, value: parted, end: self.bytes.len(), removes });
    }

    /// Brings the rows in the order of their keys and keeps the last of each key:
    /// engines insert neighbours faster, and what changed often is written once.
    pub fn settle(&mut self) {
        let bytes = &self.bytes;
        let key = |row: &Change| &bytes[row.key..row.value];
        // Of the same key, what came later lies further back in the buffer.
        self.rows.sort_unstable_by(|a, b| {
            a.prefix.cmp(&b.prefix).then_with(|| key(a).cmp(key(b))).then_with(|| a.key.cmp(&b.key))
        });
        self.rows.dedup_by(|later, kept| {
            let same = later.prefix == kept.prefix && key(later) == key(kept);
            if same {
                *kept = *later;
            }
            same
        });
    }

    /// Keys with what they now hold; `None` removes them.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.rows.iter().map(|row| {
            let value = &self.bytes[row.value..row.end];
            (&self.bytes[row.key..row.value], (!row.removes).then_some(value))
        })
    }

    /// Forgets everything and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
    }
}

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The index cannot be read or written. It is rebuilt from the journal when the
/// store is opened again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the index cannot be used: {0}")]
pub struct IndexError(pub String);

/// Sorted keys with values.
pub trait Index: Send + Sync + 'static {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;

    /// Applies all changes or none. Not durable by itself: after a crash some of
    /// the last groups may be missing, never one from the middle.
    fn write(&self, changes: &Changes) -> Result<(), IndexError>;

    /// The first `most` pairs whose key begins with `prefix`, ascending, ending
    /// before the key `until` where one is given.
    fn pairs(&self, prefix: &[u8], until: Option<&[u8]>, most: usize) -> Result<Vec<Pair>, IndexError>;

    /// Shows every pair whose key begins with `prefix`, ascending, as of one moment,
    /// without keeping them.
    fn each(&self, prefix: &[u8], show: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), IndexError>;

    /// Every pair whose key begins with `prefix`, ascending, and what stands at
    /// `beside`, both as of one moment.
    fn together(&self, prefix: &[u8], beside: &[u8]) -> Result<(Vec<Pair>, Option<Vec<u8>>), IndexError>;

    /// Makes everything written so far durable.
    fn flush(&self) -> Result<(), IndexError>;

    /// Forgets everything.
    fn wipe(&self) -> Result<(), IndexError>;
}
