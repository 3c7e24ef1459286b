//! The outside: one folder a backend protocol, each implementing the port its
//! scene declares. All input and output towards backends is here.
//!
//! What does not live here: rules (`scenes`), when to inquire again or reverse
//! (the scene decides, the gateway runs it), metrics (an [`Observer`] is told
//! and who composes the gateway connects it).
//!
//! **Architecture Invariant:** a wire type never leaves its folder.
//!
//! **Architecture Invariant:** an adapter never repeats a step that is not
//! idempotent once its bytes may have been read by the backend; it answers
//! "unknown" and lets the scene inquire.

mod gate;
pub mod nhsa;
mod secret;
pub mod settlement_file;
pub mod sip2;

use std::time::Duration;

use crate::model::BreakerState;

/// How a backend call ended, as a closed label set for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallEnd {
    /// The backend did it.
    Answered,
    /// The backend said no.
    Declined,
    /// Nothing reached the backend.
    NotSent,
    /// Sent, and no answer.
    Unknown,
}

impl CallEnd {
    /// Label on metrics.
    pub const fn name(self) -> &'static str {
        match self {
            CallEnd::Answered => "answered",
            CallEnd::Declined => "declined",
            CallEnd::NotSent => "not_sent",
            CallEnd::Unknown => "unknown",
        }
    }
}

/// Is told what an adapter does, so that metrics live elsewhere. Methods must
/// return at once.
pub trait Observer: Send + Sync + 'static {
    /// A call to `backend` (a code of the configuration) ended after `took`.
    fn called(&self, _backend: &str, _act: &'static str, _end: CallEnd, _took: Duration) {}
    /// The breaker of `backend` changed its state.
    fn breaker(&self, _backend: &str, _state: BreakerState) {}
    /// A connection to `backend` was opened (`true`) or dropped.
    fn connection(&self, _backend: &str, _opened: bool) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
