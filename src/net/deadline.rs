//! Deadlines: the caller's `grpc-timeout`, capped by the method's own, with a
//! default for unary calls that name none. Answers `DEADLINE_EXCEEDED`, and tells
//! the way of a request in a [`Deadline`] extension.
//!
//! When the deadline comes the inner call is dropped where it waits. What must
//! not be left half done must not live in the call alone.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Code;
use tower::Service;

use super::{
    grpc::{OrEmpty, refusal, timeout_of},
    methods::{MethodRule, Methods},
};
use crate::{
    limits,
    model::Deadline,
    telemetry::metrics::{RequestRefusal, request_refused},
};

/// Wraps a service in the deadlines of its methods.
#[derive(Clone)]
pub struct Deadlines<S> {
    inner: S,
    methods: Arc<Methods>,
}

impl<S> Deadlines<S> {
    /// Runs the deadline of every call from its headers on.
    pub fn new(inner: S, methods: Arc<Methods>) -> Self {
        Deadlines { inner, methods }
    }
}

/// How long a call may take: a unary call always has an end, a stream only if its
/// caller gave one.
fn allowed(asked: Option<Duration>, rule: MethodRule) -> Option<Duration> {
    if rule.one_answer {
        Some(asked.unwrap_or(limits::DEADLINE_DEFAULT).min(rule.deadline_max))
    } else {
        asked
    }
}

impl<S, B, R> Service<Request<B>> for Deadlines<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<TimedBody<OrEmpty<R>>>;
    type Error = S::Error;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Ok(asked) = timeout_of(request.headers()) else {
            request_refused(RequestRefusal::Timeout);
            return DeadlineFuture::Refused { code: Code::InvalidArgument, why: MALFORMED };
        };
        let rule = self.methods.rule(request.uri().path());
        match allowed(asked, rule) {
            // Too late already: work nobody waits for is not begun.
            Some(Duration::ZERO) => {
                request_refused(RequestRefusal::Deadline);
                DeadlineFuture::Refused { code: Code::DeadlineExceeded, why: EXCEEDED }
            }
            Some(allowed) => {
                let at = Instant::now() + allowed;
                request.extensions_mut().insert(Deadline(at.into_std()));
                let stream_until = (!rule.one_answer).then_some(at);
                DeadlineFuture::Timed {
                    future: self.inner.call(request),
                    sleep: sleep_until(at),
                    stream_until,
                }
            }
            None => DeadlineFuture::Free { future: self.inner.call(request) },
        }
    }
}

pin_project! {
    /// The answer of [`Deadlines`]: the inner service's, if it comes in time.
    #[project = DeadlineFutureProjection]
    pub enum DeadlineFuture<F> {
        Refused { code: Code, why: &'static str },
        Timed { #[pin] future: F, #[pin] sleep: Sleep, stream_until: Option<Instant> },
        Free { #[pin] future: F },
    }
}

impl<F, R, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<TimedBody<OrEmpty<R>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (answer, until) = match self.project() {
            DeadlineFutureProjection::Refused { code, why } => (Ok(refusal(*code, why)), None),
            DeadlineFutureProjection::Free { future } => {
                (ready!(future.poll(cx)).map(|response| response.map(OrEmpty::Left)), None)
            }
            DeadlineFutureProjection::Timed { future, sleep, stream_until } => match future.poll(cx) {
                Poll::Ready(answer) => {
                    (answer.map(|response| response.map(OrEmpty::Left)), stream_until.take())
                }
                Poll::Pending => {
                    ready!(sleep.poll(cx));
                    request_refused(RequestRefusal::Deadline);
                    (Ok(refusal(Code::DeadlineExceeded, EXCEEDED)), None)
                }
            },
        };
        let timed =
            |inner| TimedBody { inner, until: until.map(|at| Box::pin(sleep_until(at))), over: false };
        Poll::Ready(answer.map(|response| response.map(timed)))
    }
}

const MALFORMED: &str = "grpc-timeout is not well formed";
const EXCEEDED: &str = "the deadline came before the answer";

pin_project! {
    /// An answer's body that ends with `DEADLINE_EXCEEDED` when its stream outlives
    /// the caller's deadline; costs nothing where there is none.
    pub struct TimedBody<B> {
        #[pin]
        inner: B,
        until: Option<Pin<Box<Sleep>>>,
        over: bool,
    }
}

impl<B: Body<Data = Bytes>> Body for TimedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if *this.over {
            return Poll::Ready(None);
        }
        if let Some(until) = this.until
            && until.as_mut().poll(cx).is_ready()
        {
            *this.over = true;
            request_refused(RequestRefusal::Deadline);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from(Code::DeadlineExceeded as i32));
            trailers.insert("grpc-message", HeaderValue::from_static(EXCEEDED));
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        this.inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.until.is_some() { SizeHint::default() } else { self.inner.size_hint() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unary_call_always_has_an_end() {
        let unary = MethodRule {
            one_request: true,
            one_answer: true,
            message_bytes_max: 1,
            deadline_max: Duration::from_secs(5),
        };
        let stream = MethodRule { one_answer: false, ..unary };
        let second = Duration::from_secs(1);
        for (rule, asked, expect) in [
            (unary, None, Some(limits::DEADLINE_DEFAULT)),
            (unary, Some(second), Some(second)),
            (unary, Some(second * 60), Some(second * 5)),
            (unary, Some(Duration::ZERO), Some(Duration::ZERO)),
            (stream, None, None),
            (stream, Some(second * 60), Some(second * 60)),
        ] {
            assert_eq!(allowed(asked, rule), expect, "{asked:?}");
        }
    }
}
