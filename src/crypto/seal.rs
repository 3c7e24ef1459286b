//! Sealed fields: personal data under a key of its holder. Destroying the key
//! erases the person and breaks no chain.

use crate::model::Subject;

/// Why something was not sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the sealed part was altered or belongs to another entry")]
    Altered,
    /// The subject was erased: nothing can be sealed for them.
    #[error("the subject's key was destroyed")]
    Destroyed,
    #[error("the holder keys cannot be used: {0}")]
    Keys(String),
}

/// Seals the personal part of entries under the key of their subject.
pub trait Sealer: Send + Sync + 'static {
    /// Seals `plain`; makes the subject's key when there is none. A new key is on
    /// disk after [`Self::make_durable`], not before. `nonce` must never repeat for a subject; `bound` is authenticated with it
    /// (the entry's public part).
    ///
    /// # Errors
    /// `Destroyed` when the subject's key was; when it cannot be made.
    fn seal(
        &self,
        subject: Subject,
        nonce: &[u8; 12],
        bound: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError>;

    /// Opens a sealed part; `None` when the subject's key was destroyed.
    ///
    /// # Errors
    /// When it was altered.
    fn open(
        &self,
        subject: Subject,
        nonce: &[u8; 12],
        bound: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, SealError>;

    /// How many keys have been destroyed since the start. Whoever keeps what was
    /// opened forgets it when this number has changed. A sealer that can destroy
    /// keys must count before it returns; one that cannot keeps this default.
    fn destroyed(&self) -> u64 {
        0
    }

    /// Destroys the key of a subject for good and returns when that is on disk.
    ///
    /// # Errors
    /// When it cannot be put on disk; a sealer that destroys no keys keeps this default.
    fn destroy(&self, _subject: Subject) -> Result<(), SealError> {
        Err(SealError::Keys("no key can be destroyed here".into()))
    }

    /// Whether the key of a subject was destroyed.
    ///
    /// # Errors
    /// When the keys cannot be read.
    fn is_destroyed(&self, _subject: Subject) -> Result<bool, SealError> {
        Ok(false)
    }

    /// Puts the keys that were made since the last call on disk. The committer
    /// calls it once a batch, before it syncs the batch: no entry is acknowledged
    /// whose key could be lost. Costs nothing when there is no new key; sealers
    /// whose keys need no store keep this default.
    ///
    /// # Errors
    /// When the keys cannot be put on disk; then the batch must not be acknowledged.
    fn make_durable(&self) -> Result<(), SealError> {
        Ok(())
    }
}
