//! The one place where a refusal becomes a gRPC status, with `google.rpc` details
//! in two languages.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, LocalizedMessage, StatusExt as _};

use crate::gateway::{Refusal, RefusalKind};

/// The domain of our reason codes in `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "onecard";

pub(super) const fn code_of(kind: RefusalKind) -> Code {
    match kind {
        RefusalKind::Invalid => Code::InvalidArgument,
        RefusalKind::Unauthenticated => Code::Unauthenticated,
        RefusalKind::Forbidden => Code::PermissionDenied,
        RefusalKind::NotFound => Code::NotFound,
        RefusalKind::Misused => Code::AlreadyExists,
        RefusalKind::Exhausted => Code::ResourceExhausted,
        RefusalKind::Unavailable => Code::Unavailable,
        RefusalKind::DeadlineExceeded => Code::DeadlineExceeded,
        RefusalKind::Internal => Code::Internal,
    }
}

/// A refusal as status: English in the message, Chinese as `LocalizedMessage`,
/// the stable code in `ErrorInfo`, each wrong field in `BadRequest` with what
/// would be right in both languages, and `RetryInfo` where coming back helps.
pub fn to_status(refusal: &Refusal) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(refusal.reason.code(), ERROR_DOMAIN, std::collections::HashMap::new());
    details.set_localized_message("zh-CN", refusal.reason.zh());
    if !refusal.violations.is_empty() {
        let violations = refusal.violations.iter().map(|violation| FieldViolation {
            field: violation.field.clone(),
            description: format!("{} / {}", violation.zh, violation.en),
            reason: refusal.reason.code().to_owned(),
            localized_message: Some(LocalizedMessage {
                locale: "zh-CN".into(),
                message: violation.zh.clone(),
            }),
        });
        details.set_bad_request(violations.collect::<Vec<_>>());
    }
    if let Some(wait) = refusal.retry_after {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(code_of(refusal.kind), message_of(refusal), details)
}

fn message_of(refusal: &Refusal) -> String {
    match refusal.violations.first() {
        Some(first) => format!("{}: {}", first.field, first.en),
        None => refusal.reason.en().to_owned(),
    }
}
