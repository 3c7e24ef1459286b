//! Connections, handshakes and what the edge refuses.

use std::{sync::LazyLock, time::Duration};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::{catalogue as name, labels::label, requests::RequestRefusal};
use crate::model::Millis;

label! {
    /// Why a connection was refused or dropped before it did any work.
    ConnectionRefusal {
        /// The gateway has as many connections as it takes.
        Full = "full",
        /// The first byte was not TLS.
        NotTls = "not-tls",
        /// The handshake failed: no certificate, an unknown authority, revoked.
        HandshakeFailed = "handshake-failed",
        /// The handshake did not end in time.
        HandshakeTimeout = "handshake-timeout",
        /// The client did not offer HTTP/2.
        NoHttp2 = "no-http2",
        /// The certificate has as many connections as one may have.
        CertificateFull = "certificate-full",
        /// No request came after the handshake.
        Silent = "silent",
    }
}

struct Edge {
    open: Gauge,
    accept_failures: Counter,
    handshake_seconds: Histogram,
    refused: [Counter; ConnectionRefusal::ALL.len()],
    requests_refused: [Counter; RequestRefusal::ALL.len()],
    reload_closed: Counter,
}

static EDGE: LazyLock<Edge> = LazyLock::new(|| Edge {
    open: gauge!(name::CONNECTIONS_OPEN),
    accept_failures: counter!(name::ACCEPT_FAILURES),
    handshake_seconds: histogram!(name::HANDSHAKE_SECONDS),
    refused: ConnectionRefusal::ALL
        .map(|reason| counter!(name::CONNECTIONS_REFUSED, "reason" => reason.name())),
    requests_refused: RequestRefusal::ALL
        .map(|reason| counter!(name::REQUESTS_REFUSED, "reason" => reason.name())),
    reload_closed: counter!(name::CONNECTIONS_CLOSED_BY_RELOAD),
});

/// A connection took a place.
pub fn connection_opened() {
    EDGE.open.increment(1.0);
}

/// A connection gave its place back.
pub fn connection_closed() {
    EDGE.open.decrement(1.0);
}

/// A connection was refused. The only trace of it: nothing is logged.
pub fn connection_refused(reason: ConnectionRefusal) {
    EDGE.refused[reason as usize].increment(1);
}

/// The kernel gave no connection (out of file descriptors, for example).
pub fn accept_failed() {
    EDGE.accept_failures.increment(1);
}

/// A handshake ended with a verified certificate.
pub fn handshake_done(took: Duration) {
    EDGE.handshake_seconds.record(took.as_secs_f64());
}

/// A call was refused at the edge, before the way of a request began.
pub fn request_refused(reason: RequestRefusal) {
    EDGE.requests_refused[reason as usize].increment(1);
}

/// TLS material was read again: taken, or refused and the old kept.
pub fn tls_reload(taken: bool) {
    counter!(name::TLS_RELOADS, "outcome" => if taken { "taken" } else { "refused" }).increment(1);
}

/// Open connections that new TLS material no longer lets in were closed.
pub fn connections_closed_by_reload(count: usize) {
    EDGE.reload_closed.increment(count as u64);
}

/// When the server's certificate ends.
pub fn server_certificate_expires(at: Millis) {
    gauge!(name::SERVER_CERTIFICATE_EXPIRES).set(seconds(at));
}

/// When the first revocation list in force is due to be replaced; `None` when no
/// list says.
pub fn revocation_lists_expire(at: Option<Millis>) {
    gauge!(name::REVOCATION_LISTS_EXPIRE).set(at.map_or(f64::INFINITY, seconds));
}

fn seconds(at: Millis) -> f64 {
    at as f64 / 1_000.0
}
