//! The services of a gateway behind the edge's layers: the terminals' contract
//! with health and reflection, and the peers' door.

use std::sync::Arc;

use crate::{api, federation, gateway::Gateway, gateway::method, limits, net, proto};

/// A service as the accept loop takes it.
pub type Edge = net::Edge<net::Routed>;

/// The terminals' contract, health, and reflection for those whose role may.
///
/// # Errors
/// When the descriptors cannot be read: a fault of the build.
pub fn terminals(gateway: &Arc<Gateway>) -> anyhow::Result<(Edge, net::Health)> {
    let methods = net::Methods::from_descriptors(proto::DESCRIPTORS)?
        .with_message_limit(method::UPLOAD_TAPS.path, limits::UPLOAD_BYTES_MAX)
        .with_deadline(method::UPLOAD_TAPS.path, limits::DEADLINE_MAX);
    let (routes, health) =
        net::with_health_and_reflection(api::routes(Arc::clone(gateway)), proto::DESCRIPTORS)?;
    Ok((net::edge(routes, Arc::new(methods)), health))
}

/// The peers' door.
///
/// # Errors
/// As [`terminals`].
pub fn peers(gateway: &Arc<Gateway>, envelopes: &Arc<federation::Envelopes>) -> anyhow::Result<Edge> {
    let methods = net::Methods::from_descriptors(proto::DESCRIPTORS)?
        .with_message_limit(method::PEER.path, limits::UPLOAD_BYTES_MAX);
    Ok(net::edge(federation::routes(Arc::clone(gateway), Arc::clone(envelopes)), Arc::new(methods)))
}

/// Says on the health service that nothing is served any more.
pub async fn not_serving(health: &net::Health) {
    health.set_service_status("", net::ServingStatus::NotServing).await;
}
