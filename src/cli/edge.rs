//! The services of a gateway behind the edge's layers: the terminals' contract
//! with health and reflection, and the peers' door.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    api, federation,
    gateway::{Gateway, Role, method},
    limits,
    model::PeerCertificate,
    net, proto,
};

/// The terminals' contract, health, and reflection for those whose role may.
///
/// # Errors
/// When the descriptors cannot be read: a fault of the build.
pub fn terminals(gateway: &Arc<Gateway>) -> anyhow::Result<(net::GrpcEdge, net::Health)> {
    let methods = net::Methods::from_descriptors(proto::DESCRIPTORS)?
        .with_message_limit(method::UPLOAD_TAPS.path, limits::UPLOAD_BYTES_MAX)
        .with_deadline(method::UPLOAD_TAPS.path, limits::DEADLINE_MAX);
    let registered = Arc::clone(gateway);
    let may_reflect = move |extensions: &http::Extensions| {
        let certificate = extensions.get::<Arc<PeerCertificate>>();
        let caller = certificate.and_then(|certificate| registered.caller(certificate));
        caller.is_some_and(|caller| caller.participant.role == Role::Operator)
    };
    let (routes, health) = net::with_health_and_reflection(
        api::routes(Arc::clone(gateway)),
        services(),
        proto::DESCRIPTORS,
        may_reflect,
    )?;
    Ok((net::grpc_edge(routes, methods), health))
}

/// The peers' door.
///
/// # Errors
/// As [`terminals`].
pub fn peers(
    gateway: &Arc<Gateway>,
    envelopes: &Arc<federation::Envelopes>,
) -> anyhow::Result<net::GrpcEdge> {
    let methods = net::Methods::from_descriptors(proto::DESCRIPTORS)?
        .with_message_limit(method::PEER.path, limits::UPLOAD_BYTES_MAX);
    Ok(net::grpc_edge(federation::routes(Arc::clone(gateway), Arc::clone(envelopes)), methods))
}

/// Full names of the services that terminals may call: the table of methods has
/// them all, and not the peers'.
fn services() -> BTreeSet<Box<str>> {
    let paths = method::ALL.iter().map(|method| method.path.trim_start_matches('/'));
    paths.filter_map(|path| path.split_once('/')).map(|(service, _)| service.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_knows_the_terminals_services_and_not_the_peers() {
        let services = services();
        assert_eq!(services.len(), 7, "{services:?}");
        assert!(services.contains("onecard.transit.v1.TransitService"));
        assert!(services.iter().all(|service| !service.contains("federation")));
    }
}
