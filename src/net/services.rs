//! gRPC's own services (health, reflection), and the layers every gRPC service
//! of the gateway stands behind.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use hyper::body::Incoming;

use tonic::{
    Extensions, Request, Status,
    service::{Routes, interceptor::InterceptedService},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::Service;

use super::{
    deadline::Deadlines,
    methods::{BadDescriptors, Methods},
    strict::Strict,
    web::Web,
};

/// Tells callers which services serve.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    /// Full names (`package.Service`), and the empty name that stands for all.
    services: Arc<[Box<str>]>,
}

impl Health {
    /// Says that every service is served: whoever watches the one it calls, by its
    /// full name, learns of it as whoever watches the whole.
    pub async fn serving(&self) {
        self.set(ServingStatus::Serving).await;
    }

    /// Says that nothing is served any more: the drain has begun.
    pub async fn not_serving(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        for service in &*self.services {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

/// gRPC services behind all layers of the edge, as the accept loop takes them. A
/// type of its own, so that composers need not know the gRPC library.
#[derive(Clone)]
pub struct GrpcEdge(Edge<Routes>);

/// Puts the layers of the edge before gRPC services.
pub fn grpc_edge(routes: Routes, methods: Methods) -> GrpcEdge {
    GrpcEdge(edge(routes, Arc::new(methods)))
}

impl Service<http::Request<Incoming>> for GrpcEdge {
    type Response = <Edge<Routes> as Service<http::Request<Incoming>>>::Response;
    type Error = <Edge<Routes> as Service<http::Request<Incoming>>>::Error;
    type Future = <Edge<Routes> as Service<http::Request<Incoming>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        <Edge<Routes> as Service<http::Request<Incoming>>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        self.0.call(request)
    }
}

/// A service behind all layers of the edge.
pub type Edge<S> = Web<Strict<Deadlines<S>>>;

/// Puts the layers of the edge before a gRPC service. Read from the outside in:
/// browsers' gRPC-Web is translated, what is not gRPC is refused, the deadline
/// runs.
pub fn edge<S>(service: S, methods: Arc<Methods>) -> Edge<S> {
    Web::new(Strict::new(Deadlines::new(service, methods.clone()), methods))
}

/// Reflection cannot be served from these descriptors.
#[derive(Debug, thiserror::Error)]
pub enum BadReflection {
    #[error(transparent)]
    Descriptors(#[from] BadDescriptors),
    #[error("reflection cannot be built: {0}")]
    Build(#[from] tonic_reflection::server::Error),
}

/// Adds health, and reflection in both versions that tools in the field speak
/// (`v1` and `v1alpha`), from an encoded `FileDescriptorSet`. Health knows the
/// `services` by their full names once the caller says that they serve; at a drain
/// the caller sets them to not serving first.
/// Reflection answers those only whose request `may_reflect` lets through: the
/// contract is public, the map of a running gateway is its operators'.
///
/// # Errors
/// When reflection cannot be built from the descriptors.
pub fn with_health_and_reflection(
    routes: Routes,
    services: impl IntoIterator<Item = Box<str>>,
    descriptors: &[u8],
    may_reflect: impl Fn(&Extensions) -> bool + Clone + Send + Sync + 'static,
) -> Result<(Routes, Health), BadReflection> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let gate = move |request: Request<()>| {
        if may_reflect(request.extensions()) {
            Ok(request)
        } else {
            Err(Status::permission_denied("reflection is for the operators of the gateway"))
        }
    };
    let routes = routes
        .add_service(health)
        .add_service(InterceptedService::new(reflection().build_v1()?, gate.clone()))
        .add_service(InterceptedService::new(reflection().build_v1alpha()?, gate));
    let services = std::iter::once("".into()).chain(services).collect();
    Ok((routes, Health { reporter, services }))
}
