//! The index as a trait: sorted keys with values, written in atomic groups. What
//! the rows mean is said in one place, `rows`; engines only keep them.
//!
//! The index is never the truth. It may lose its newest writes in a crash, but
//! only from the end: what it holds is the state after some batch.

mod fjall;
mod mem;

pub use fjall::FjallIndex;
pub use mem::MemIndex;

/// A key and what it now holds; `None` removes it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

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
    fn write(&self, changes: Vec<Change>) -> Result<(), IndexError>;

    /// The first `most` pairs whose key begins with `prefix`, ascending, ending
    /// before the key `until` where one is given.
    fn pairs(&self, prefix: &[u8], until: Option<&[u8]>, most: usize) -> Result<Vec<Pair>, IndexError>;

    /// Makes everything written so far durable.
    fn flush(&self) -> Result<(), IndexError>;

    /// Forgets everything.
    fn wipe(&self) -> Result<(), IndexError>;
}
