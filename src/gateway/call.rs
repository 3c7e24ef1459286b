//! A call that was let in, and the header of the request it carries.

use std::{sync::Arc, time::Instant};

use super::{admit::Permit, method::Method, registry::Caller};
use crate::model::{Millis, Purpose, RequestId, Token16};

/// A call under way: who, what, until when.
#[derive(Debug)]
pub struct Call {
    pub caller: Arc<Caller>,
    pub method: &'static Method,
    pub deadline: Instant,
    /// W3C traceparent as received; empty when the caller gave none.
    pub traceparent: String,
    pub trace_id: Option<[u8; 16]>,
    pub permit: Option<Permit>,
}

/// The parsed header of a mutating request.
#[derive(Debug, Clone)]
pub struct Header {
    pub request: RequestId,
    /// SM3 over the request's kind, header and body.
    pub fingerprint: [u8; 32],
    pub terminal_time_ms: Millis,
    pub purpose: Purpose,
    /// At most 32 characters.
    pub operator: Arc<str>,
    pub session: Option<Token16>,
}
