//! Between regions: signed envelopes over mutual TLS, the peer client that
//! implements the gateway's `Peers`, the peer server that answers for our cards,
//! and the push of our deny list.
//!
//! What does not live here: what a home region decides (`gateway::home`), the
//! trust list itself (`trust`).

mod client;
mod deny_sync;
mod envelope;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod run;
mod server;
mod wire;
#[cfg(test)]
mod wire_tests;

pub use client::{PeerClients, PeerLines, PeerTls};
pub use deny_sync::DenySync;
pub use envelope::{EnvelopeRefused, Envelopes, RunId, Sealed};
pub use server::routes;
