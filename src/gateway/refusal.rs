//! Why a call was not understood or not allowed. A business decline is not here:
//! that is an answer (`model::Outcome`).

use std::time::Duration;

use crate::{
    model::{CorruptAggregate, Reason},
    store::StoreError,
};

/// A field of the request that is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path in the request, for example `header.request_id`.
    pub field: String,
    pub zh: String,
    pub en: String,
}

impl Violation {
    pub fn new(field: impl Into<String>, zh: impl Into<String>, en: impl Into<String>) -> Self {
        Violation { field: field.into(), zh: zh.into(), en: en.into() }
    }
}

/// What sort of refusal it is; the transports map it to their own codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// A field is wrong.
    Invalid,
    /// The certificate belongs to no registered terminal.
    Unauthenticated,
    /// Known, and not allowed; or the holder's credential was not accepted.
    Forbidden,
    NotFound,
    /// The request id belongs to another request.
    Misused,
    /// Rate or load: wait and try again.
    Exhausted,
    /// Something outside or the journal does not serve now; try again.
    Unavailable,
    DeadlineExceeded,
    Internal,
}

/// A refusal: nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", reason.en())]
pub struct Refusal {
    pub kind: RefusalKind,
    pub reason: Reason,
    pub violations: Vec<Violation>,
    pub retry_after: Option<Duration>,
}

impl Refusal {
    pub fn new(kind: RefusalKind, reason: Reason) -> Self {
        Refusal { kind, reason, violations: Vec::new(), retry_after: None }
    }

    /// Fields that are wrong; at least one.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        Refusal { violations, ..Refusal::new(RefusalKind::Invalid, Reason::FieldInvalid) }
    }

    pub fn forbidden(reason: Reason) -> Self {
        Refusal::new(RefusalKind::Forbidden, reason)
    }

    pub fn not_found(reason: Reason) -> Self {
        Refusal::new(RefusalKind::NotFound, reason)
    }

    /// Try again after `wait`, under the same request id.
    pub fn later(kind: RefusalKind, reason: Reason, wait: Duration) -> Self {
        Refusal { retry_after: Some(wait), ..Refusal::new(kind, reason) }
    }

    pub fn internal() -> Self {
        Refusal::new(RefusalKind::Internal, Reason::Internal)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::RequestIdMisused => Refusal::new(RefusalKind::Misused, Reason::RequestIdMisused),
            StoreError::Busy => {
                Refusal::later(RefusalKind::Exhausted, Reason::Overloaded, Duration::from_millis(100))
            }
            StoreError::Stopped(what) => {
                tracing::error!(%what, "the journal has stopped");
                Refusal::later(RefusalKind::Unavailable, Reason::JournalStopped, Duration::from_secs(1))
            }
            StoreError::Corrupt(what) => {
                tracing::error!(%what, "stored data cannot be read");
                Refusal::internal()
            }
            StoreError::HolderErased => Refusal::forbidden(Reason::HolderErased),
            StoreError::TaskClosed => Refusal::internal(),
            StoreError::NoSuchTransaction => Refusal::not_found(Reason::TransactionUnknown),
        }
    }
}

impl From<CorruptAggregate> for Refusal {
    fn from(error: CorruptAggregate) -> Self {
        tracing::error!(%error, "stored data cannot be read");
        Refusal::internal()
    }
}
