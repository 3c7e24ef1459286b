//! The few words of gRPC that the layers here speak themselves: refusals without
//! a message, and the caller's timeout.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Empty};
use tonic::Code;

/// An answer's body, or none where a layer answered itself.
pub(super) type OrEmpty<B> = Either<B, Empty<Bytes>>;

/// A refusal in gRPC's "trailers-only" form: the status stands in the headers and
/// the stream ends with them. `message` must be plain ASCII without `%`.
pub(super) fn refusal<B>(code: Code, message: &'static str) -> Response<OrEmpty<B>> {
    let mut response = Response::new(Either::Right(Empty::new()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(code as i32));
    headers.insert("grpc-message", HeaderValue::from_static(message));
    response
}

/// A refusal of what is not gRPC at all, which can only be told in HTTP.
pub(super) fn http_refusal<B>(status: StatusCode) -> Response<OrEmpty<B>> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// `grpc-timeout` is not one to eight digits and a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadTimeout;

/// The caller's timeout, if it sent one.
pub(super) fn timeout_of(headers: &HeaderMap) -> Result<Option<Duration>, BadTimeout> {
    let mut sent = headers.get_all("grpc-timeout").iter();
    match (sent.next(), sent.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => parse_timeout(value.as_bytes()).map(Some),
        (Some(_), Some(_)) => Err(BadTimeout),
    }
}

fn parse_timeout(value: &[u8]) -> Result<Duration, BadTimeout> {
    let (unit, digits) = value.split_last().ok_or(BadTimeout)?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadTimeout);
    }
    let count = digits.iter().fold(0_u64, |count, digit| count * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Ok(Duration::from_secs(count * 3_600)),
        b'M' => Ok(Duration::from_secs(count * 60)),
        b'S' => Ok(Duration::from_secs(count)),
        b'm' => Ok(Duration::from_millis(count)),
        b'u' => Ok(Duration::from_micros(count)),
        b'n' => Ok(Duration::from_nanos(count)),
        _ => Err(BadTimeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expect: Option<Duration>) {
        assert_eq!(parse_timeout(text.as_bytes()).ok(), expect, "{text}");
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        check("1H", Some(Duration::from_secs(3_600)));
        check("2M", Some(Duration::from_secs(120)));
        check("3S", Some(Duration::from_secs(3)));
        check("250m", Some(Duration::from_millis(250)));
        check("99999999u", Some(Duration::from_micros(99_999_999)));
        check("0n", Some(Duration::ZERO));
        for wrong in ["", "1", "S", "1x", "1s", "-1S", "+1S", "1.5S", " 1S", "1S ", "123456789S"] {
            check(wrong, None);
        }
    }

    #[test]
    fn two_timeouts_are_none_we_could_keep() {
        let mut headers = HeaderMap::new();
        headers.append("grpc-timeout", HeaderValue::from_static("1S"));
        assert_eq!(timeout_of(&headers), Ok(Some(Duration::from_secs(1))));
        headers.append("grpc-timeout", HeaderValue::from_static("2S"));
        assert_eq!(timeout_of(&headers), Err(BadTimeout));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(value in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = parse_timeout(&value);
        }
    }
}
