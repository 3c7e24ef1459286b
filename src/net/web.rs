//! gRPC-Web, for browsers: translated at the door, over HTTP/2 like the rest.
//! Calls that are not gRPC-Web pass by without paying for it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Body;
use http_body_util::Either;
use pin_project_lite::pin_project;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A body as it came, or as translated from or to gRPC-Web.
pub type WebOr<B> = Either<B, tonic::body::Body>;

/// Wraps a gRPC service so that it also understands gRPC-Web.
#[derive(Clone)]
pub struct Web<S> {
    inner: S,
}

impl<S> Web<S> {
    /// Translates gRPC-Web before `inner` and after it.
    pub fn new(inner: S) -> Self {
        Web { inner }
    }
}

impl<S, B, R> Service<Request<B>> for Web<S>
where
    S: Service<Request<WebOr<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + std::fmt::Display,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError> + std::fmt::Display,
{
    type Response = Response<WebOr<R>>;
    type Error = S::Error;
    type Future = WebFuture<S::Future, BoxFuture<Result<Response<tonic::body::Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !is_web(&request) {
            return WebFuture::Plain { future: self.inner.call(request.map(Either::Left)) };
        }
        let translated = Translated { inner: self.inner.clone(), body: std::marker::PhantomData::<fn(B)> };
        let mut web = GrpcWebLayer::new().layer(translated);
        WebFuture::Web { future: Box::pin(web.call(request)) }
    }
}

fn is_web<B>(request: &Request<B>) -> bool {
    let sent = request.headers().get(header::CONTENT_TYPE);
    sent.is_some_and(|sent| sent.as_bytes().starts_with(b"application/grpc-web"))
}

/// Takes what the translation made for a request of the ordinary kind.
struct Translated<S, B> {
    inner: S,
    body: std::marker::PhantomData<fn(B)>,
}

impl<S, B> Service<Request<tonic::body::Body>> for Translated<S, B>
where
    S: Service<Request<WebOr<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        self.inner.call(request.map(Either::Right))
    }
}

pin_project! {
    /// The answer of [`Web`].
    #[project = WebFutureProjection]
    pub enum WebFuture<P, W> {
        Plain { #[pin] future: P },
        Web { #[pin] future: W },
    }
}

impl<P, W, R, E> Future for WebFuture<P, W>
where
    P: Future<Output = Result<Response<R>, E>>,
    W: Future<Output = Result<Response<tonic::body::Body>, E>>,
{
    type Output = Result<Response<WebOr<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project() {
            WebFutureProjection::Plain { future } => {
                ready!(future.poll(cx)).map(|response| response.map(Either::Left))
            }
            WebFutureProjection::Web { future } => {
                ready!(future.poll(cx)).map(|response| response.map(Either::Right))
            }
        })
    }
}
