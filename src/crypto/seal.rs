//! Sealed fields: personal data under a key of its holder. Destroying the key
//! erases the person and breaks no chain.

use crate::model::Subject;

/// Sealing or opening failed for another reason than a destroyed key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the sealed part was altered or belongs to another entry")]
    Altered,
    #[error("the holder keys cannot be used: {0}")]
    Keys(String),
}

/// Seals the personal part of entries under the key of their subject.
pub trait Sealer: Send + Sync + 'static {
    /// Seals `plain`; makes the subject's key durable first when there is none.
    /// `nonce` must never repeat for a subject; `bound` is authenticated with it
    /// (the entry's public part).
    ///
    /// # Errors
    /// When the subject's key was destroyed or cannot be made durable.
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
}
