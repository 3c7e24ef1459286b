//! Refuses what is not gRPC as other servers refuse it: anything but POST, other
//! content types, compression nobody agreed on, a unary call with no message or
//! two, and a message whose declared length is over the limit, before a byte of it
//! is kept.
//!
//! Nothing here allocates for a call that is in order.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower::Service;

use super::{
    grpc::{OrEmpty, http_refusal, refusal},
    methods::{MethodRule, Methods},
};
use crate::telemetry::metrics::{RequestRefusal, request_refused};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Wraps a service in the strictness of its methods.
#[derive(Clone)]
pub struct Strict<S> {
    inner: S,
    methods: Arc<Methods>,
}

impl<S> Strict<S> {
    /// Checks every request against the rule of its path.
    pub fn new(inner: S, methods: Arc<Methods>) -> Self {
        Strict { inner, methods }
    }
}

impl<S, B, R> Service<Request<B>> for Strict<S>
where
    S: Service<Request<StrictBody<B>>, Response = Response<R>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<OrEmpty<R>>;
    type Error = S::Error;
    type Future = StrictFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let rule = self.methods.rule(request.uri().path());
        if let Some((reason, response)) = refuse(&request, rule) {
            request_refused(reason);
            return StrictFuture::Refused { response: Some(response) };
        }
        StrictFuture::Inner { future: self.inner.call(request.map(|body| StrictBody::new(body, rule))) }
    }
}

fn refuse<B: Body, R>(
    request: &Request<B>,
    rule: MethodRule,
) -> Option<(RequestRefusal, Response<OrEmpty<R>>)> {
    if request.method() != Method::POST {
        return Some((RequestRefusal::Method, http_refusal(StatusCode::METHOD_NOT_ALLOWED)));
    }
    if !is_grpc(request.headers()) {
        return Some((RequestRefusal::ContentType, http_refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE)));
    }
    if request.headers().get("grpc-encoding").is_some_and(|encoding| encoding != "identity") {
        let mut response = refusal(Code::Unimplemented, COMPRESSED);
        response.headers_mut().insert("grpc-accept-encoding", http::HeaderValue::from_static("identity"));
        return Some((RequestRefusal::Compressed, response));
    }
    if rule.one_request && request.body().is_end_stream() {
        return Some((RequestRefusal::Cardinality, refusal(Code::Unimplemented, CARDINALITY)));
    }
    None
}

const COMPRESSED: &str = "compressed messages are not taken";
const CARDINALITY: &str = "the method takes exactly one message";
const TOO_LARGE: &str = "the message is longer than the method takes";
const BAD_FLAG: &str = "the message has a compression flag without an agreed compression";

fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(sent) = headers.get(header::CONTENT_TYPE) else { return false };
    match sent.as_bytes().strip_prefix(b"application/grpc") {
        Some(b"" | b"+proto") => true,
        Some([b';', ..]) => true,
        Some(rest) => rest.strip_prefix(b"+proto").is_some_and(|rest| rest.starts_with(b";")),
        None => false,
    }
}

pin_project! {
    /// The answer of [`Strict`]: its own refusal, or the inner service's.
    #[project = StrictFutureProjection]
    pub enum StrictFuture<F, R> {
        Refused { response: Option<Response<OrEmpty<R>>> },
        Inner { #[pin] future: F },
    }
}

impl<F, R, E> Future for StrictFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<OrEmpty<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            StrictFutureProjection::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("a future is not polled after it is ready")))
            }
            StrictFutureProjection::Inner { future } => {
                Poll::Ready(ready!(future.poll(cx)).map(|response| response.map(OrEmpty::Left)))
            }
        }
    }
}

pin_project! {
    /// A request body that is read along: it ends with a gRPC status as its error
    /// as soon as what comes is against the rule.
    pub struct StrictBody<B> {
        #[pin]
        inner: B,
        reading: Reading,
        over: bool,
    }
}

impl<B> StrictBody<B> {
    fn new(inner: B, rule: MethodRule) -> Self {
        StrictBody { inner, reading: Reading::new(rule), over: false }
    }
}

impl<B> Body for StrictBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if *this.over {
            return Poll::Ready(None);
        }
        let frame = match ready!(this.inner.poll_frame(cx)) {
            Some(Ok(frame)) => Some(frame),
            Some(Err(error)) => {
                *this.over = true;
                return Poll::Ready(Some(Err(error.into())));
            }
            None => None,
        };
        let checked = match frame.as_ref().map(Frame::data_ref) {
            Some(Some(data)) => this.reading.take(data),
            Some(None) | None => this.reading.end(),
        };
        match checked {
            Ok(()) => Poll::Ready(frame.map(Ok)),
            Err(violation) => {
                *this.over = true;
                let (reason, status) = violation.into_status();
                request_refused(reason);
                Poll::Ready(Some(Err(Box::new(status))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || (self.inner.is_end_stream() && self.reading.end().is_ok())
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Violation {
    TooLarge,
    Flag,
    Cardinality,
}

impl Violation {
    fn into_status(self) -> (RequestRefusal, Status) {
        match self {
            Violation::TooLarge => (RequestRefusal::TooLarge, Status::resource_exhausted(TOO_LARGE)),
            Violation::Flag => (RequestRefusal::Compressed, Status::internal(BAD_FLAG)),
            Violation::Cardinality => (RequestRefusal::Cardinality, Status::unimplemented(CARDINALITY)),
        }
    }
}

/// Follows the five-byte prefixes (flag, length) through the chunks.
#[derive(Debug)]
struct Reading {
    prefix: [u8; 5],
    prefix_len: u8,
    /// Bytes still to come of the message under way.
    left: usize,
    messages: u32,
    rule: MethodRule,
}

impl Reading {
    fn new(rule: MethodRule) -> Self {
        Reading { prefix: [0; 5], prefix_len: 0, left: 0, messages: 0, rule }
    }

    fn take(&mut self, mut data: &[u8]) -> Result<(), Violation> {
        while !data.is_empty() {
            if self.left > 0 {
                let step = self.left.min(data.len());
                self.left -= step;
                data = &data[step..];
                continue;
            }
            if self.rule.one_request && self.messages == 1 {
                return Err(Violation::Cardinality);
            }
            let have = usize::from(self.prefix_len);
            let step = (self.prefix.len() - have).min(data.len());
            self.prefix[have..have + step].copy_from_slice(&data[..step]);
            self.prefix_len += step as u8;
            data = &data[step..];
            if usize::from(self.prefix_len) == self.prefix.len() {
                self.begin_message()?;
            }
        }
        Ok(())
    }

    fn begin_message(&mut self) -> Result<(), Violation> {
        let [flag, length @ ..] = self.prefix;
        if flag != 0 {
            return Err(Violation::Flag);
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > self.rule.message_bytes_max {
            return Err(Violation::TooLarge);
        }
        self.prefix_len = 0;
        self.left = length;
        self.messages = self.messages.saturating_add(1);
        Ok(())
    }

    fn end(&self) -> Result<(), Violation> {
        if self.rule.one_request && self.messages == 0 { Err(Violation::Cardinality) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn rule(one_request: bool) -> MethodRule {
        MethodRule {
            one_request,
            one_answer: one_request,
            message_bytes_max: 16,
            deadline_max: Duration::from_secs(1),
        }
    }

    fn message(flag: u8, bytes: usize) -> Vec<u8> {
        let mut message = vec![flag];
        message.extend((bytes as u32).to_be_bytes());
        message.extend(std::iter::repeat_n(7, bytes));
        message
    }

    #[track_caller]
    fn check(one_request: bool, parts: &[Vec<u8>], expect: Result<(), Violation>) {
        let whole = parts.concat();
        for chunk in 1..=whole.len().max(1) {
            let mut reading = Reading::new(rule(one_request));
            let read =
                whole.chunks(chunk).try_for_each(|data| reading.take(data)).and_then(|()| reading.end());
            assert_eq!(read, expect, "in chunks of {chunk}");
        }
    }

    #[test]
    fn a_unary_call_has_exactly_one_message() {
        check(true, &[message(0, 3)], Ok(()));
        check(true, &[message(0, 0)], Ok(()));
        check(true, &[], Err(Violation::Cardinality));
        check(true, &[message(0, 3), message(0, 3)], Err(Violation::Cardinality));
        check(true, &[message(0, 0), message(0, 0)], Err(Violation::Cardinality));
        check(false, &[message(0, 3), message(0, 3)], Ok(()));
        check(false, &[], Ok(()));
    }

    #[test]
    fn a_message_is_refused_by_its_declared_length() {
        check(true, &[message(0, 16)], Ok(()));
        check(true, &[message(0, 17)], Err(Violation::TooLarge));
        check(true, &[vec![0, 0xff, 0xff, 0xff, 0xff]], Err(Violation::TooLarge));
        check(false, &[message(0, 1), message(0, 17)], Err(Violation::TooLarge));
    }

    #[test]
    fn a_compressed_message_is_refused() {
        check(true, &[message(1, 3)], Err(Violation::Flag));
        check(true, &[message(2, 3)], Err(Violation::Flag));
    }

    #[test]
    fn only_grpc_content_types_are_taken() {
        for (sent, expect) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc+proto;x=1", true),
            ("application/grpc+json", false),
            ("application/grpcx", false),
            ("application/json", false),
            ("text/plain", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, sent.parse().expect("a header value"));
            assert_eq!(is_grpc(&headers), expect, "{sent}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn whatever_comes_reading_never_panics(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let mut reading = Reading::new(rule(false));
            let _ = chunks.iter().try_for_each(|data| reading.take(data));
        }
    }
}
