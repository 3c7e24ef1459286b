//! What tests expect of answers.

use onecard::{
    client::CallError,
    proto::common::v1::{Answer, Decision, TransactionStatus},
};
use tonic::Code;

/// The answer is there and says yes.
#[track_caller]
pub fn approved(answer: &Option<Answer>) -> &Answer {
    let answer = answer.as_ref().expect("every response has an answer");
    assert_eq!(answer.decision(), Decision::Approved, "{} {}", answer.reason, answer.text_en);
    assert_eq!(answer.status(), TransactionStatus::Completed);
    answer
}

/// The answer is a decline for this reason.
#[track_caller]
pub fn declined<'a>(answer: &'a Option<Answer>, reason: &str) -> &'a Answer {
    let answer = answer.as_ref().expect("every response has an answer");
    assert_eq!((answer.decision(), answer.reason.as_str()), (Decision::Declined, reason));
    assert!(!answer.text_zh.is_empty() && !answer.text_en.is_empty(), "both languages");
    answer
}

/// The call was refused with this code and reason, and says so in two languages.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, CallError>, code: Code, reason: &str) -> CallError {
    let error = result.expect_err("it is refused");
    assert_eq!((error.code, error.reason.as_str()), (code, reason), "{error:?}");
    assert!(!error.text_en.is_empty() && error.text_zh.chars().any(|c| c > '\u{2e80}'), "{error:?}");
    error
}
