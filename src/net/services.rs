//! gRPC's own services (health, reflection), and the layers every gRPC service
//! of the gateway stands behind.

use std::sync::Arc;

use tonic::{
    Extensions, Request, Status,
    service::{Routes, interceptor::InterceptedService},
};
use tonic_health::server::HealthReporter;

use super::{
    deadline::Deadlines,
    methods::{BadDescriptors, Methods},
    strict::Strict,
    web::Web,
};

/// gRPC services by path, and the reporter of their health: names for composers,
/// who know no gRPC library.
pub type Routed = Routes;
/// Tells callers which services serve.
pub type Health = HealthReporter;
pub use tonic_health::ServingStatus;

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
/// (`v1` and `v1alpha`), from an encoded `FileDescriptorSet`. The reporter says
/// which services serve; at a drain the caller sets them to not serving first.
/// Reflection answers those only whose request `may_reflect` lets through: the
/// contract is public, the map of a running gateway is its operators'.
///
/// # Errors
/// When reflection cannot be built from the descriptors.
pub fn with_health_and_reflection(
    routes: Routes,
    descriptors: &[u8],
    may_reflect: impl Fn(&Extensions) -> bool + Clone + Send + Sync + 'static,
) -> Result<(Routes, HealthReporter), BadReflection> {
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
    Ok((routes, reporter))
}
