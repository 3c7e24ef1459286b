//! A call that was not understood, not allowed or not answered, as the terminal
//! sees it. A decline is no error: it is an answer.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::model::Reason;

/// A field of the request at fault, from `google.rpc.BadRequest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path in the request, for example `tap.read.mac`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {text_en}")]
pub struct CallError {
    pub code: Code,
    /// Stable reason code from `google.rpc.ErrorInfo`; empty when the error was
    /// not made by the gateway (no connection, a middle box).
    pub reason: String,
    pub text_zh: String,
    pub text_en: String,
    pub violations: Vec<FieldViolation>,
    /// How long the gateway asks to wait, from `google.rpc.RetryInfo`.
    pub retry_after: Option<Duration>,
    /// How often the request was sent.
    pub tries: u32,
}

impl CallError {
    /// Reads a status and its details.
    pub fn from_status(status: &Status, tries: u32) -> Self {
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
        let known = Reason::from_code(&reason);
        let localized = details.localized_message().filter(|message| message.locale.starts_with("zh"));
        let text_zh = match (localized, known) {
            (Some(message), _) => message.message.clone(),
            (None, Some(reason)) => reason.zh().to_owned(),
            (None, None) => transport_zh(status.code()).to_owned(),
        };
        let text_en = match known {
            Some(reason) if status.message().is_empty() => reason.en().to_owned(),
            Some(_) => status.message().to_owned(),
            None => super::options::causes(status),
        };
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        CallError {
            code: status.code(),
            reason,
            text_zh,
            text_en,
            violations: violations
                .iter()
                .map(|violation| FieldViolation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                })
                .collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            tries,
        }
    }

    /// The terminal gave up waiting before the gateway said anything.
    pub(super) fn deadline(tries: u32) -> Self {
        CallError::from_status(&Status::deadline_exceeded("no answer within the deadline"), tries)
    }

    /// Whether repeating the same request may help. A repeat under the same id
    /// is always safe; this says whether it is sensible.
    pub fn may_pass(&self) -> bool {
        match self.code {
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => true,
            // Without a hint this is a message too large, and stays so.
            Code::ResourceExhausted => self.retry_after.is_some(),
            // The gateway names a reason on every error of its own; without one
            // the connection broke under the call.
            Code::Unknown | Code::Internal => self.reason.is_empty(),
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated => false,
        }
    }
}

fn transport_zh(code: Code) -> &'static str {
    match code {
        Code::DeadlineExceeded => "未在时限内收到应答",
        Code::Unavailable | Code::Cancelled => "无法连接网关",
        _ => "调用失败",
    }
}
