//! The accept loop: TLS with reload and revocation, the registry of connections,
//! HTTP/2 limits, deadlines, the strictness of gRPC, draining, and the operators'
//! own small HTTP server.
//!
//! It serves any tower service of HTTP requests and knows nothing of business:
//! whose certificate a request came with is told to it, what that may do is not
//! decided here.
//!
//! **Must stay true:** nothing before a verified client certificate is more than
//! a counter; every wait has a bound; new TLS material is checked whole before it
//! is taken, and taking it cuts no call of anyone it still lets in.

mod connection;
mod deadline;
mod grpc;
pub mod hand;
mod methods;
mod ops;
mod options;
mod peer;
mod registry;
mod revocation;
mod serve;
mod services;
mod strict;
mod tls;
mod web;

#[cfg(test)]
mod tests;

pub use deadline::Deadlines;
pub use hand::{Act, HandError, HandServer};
pub use methods::{BadDescriptors, MethodRule, Methods};
pub use ops::{OpsError, OpsOptions, OpsServer, OpsSources, ReadinessCheck, router as ops_router};
pub use options::ServerOptions;
pub use peer::{UnreadableCertificate, read_certificate, serial_text};
pub use registry::{ConnectionInfo, Counts, Handle};
pub use revocation::RevocationProblem;
pub use serve::{BindError, Drained, Server};
pub use services::{BadReflection, Edge, GrpcEdge, Health, edge, grpc_edge, with_health_and_reflection};
pub use strict::{Strict, StrictBody};
pub use tls::{TlsError, TlsOptions, TlsState};
pub use web::{Web, WebOr};
