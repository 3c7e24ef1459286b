//! The connections that are open: who they are, how many, and the string to pull
//! to close one.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use crate::{
    model::{ConnectionId, PeerCertificate},
    telemetry::metrics::{self, ConnectionRefusal},
};

/// An open connection, for operators and for [`Handle::close_where`].
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    pub id: ConnectionId,
    pub from: std::net::SocketAddr,
    pub certificate: Arc<PeerCertificate>,
    pub since: Instant,
}

/// Counts since the start, except `open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// TCP connections taken from the kernel.
    pub accepted: u64,
    /// Connections between accept and close, authenticated or not.
    pub open: usize,
    /// Handshakes that ended with a verified certificate.
    pub handshakes: u64,
    /// By reason, in the order of [`ConnectionRefusal::ALL`].
    pub refused: [u64; ConnectionRefusal::ALL.len()],
}

impl Counts {
    /// How many were refused for `reason`.
    pub fn refused_for(&self, reason: ConnectionRefusal) -> u64 {
        self.refused[reason as usize]
    }
}

struct Entry {
    info: ConnectionInfo,
    chain: Vec<CertificateDer<'static>>,
    close: CancellationToken,
}

#[derive(Default)]
struct Connections {
    by_id: HashMap<ConnectionId, Entry>,
    per_certificate: HashMap<[u8; 32], usize>,
}

/// Every connection of one server.
#[derive(Default)]
pub(super) struct Registry {
    open: AtomicUsize,
    accepted: AtomicU64,
    handshakes: AtomicU64,
    refused: [AtomicU64; ConnectionRefusal::ALL.len()],
    next_id: AtomicU64,
    connections: Mutex<Connections>,
}

/// A place among the connections at once; given back when dropped.
pub(super) struct Place(Arc<Registry>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        metrics::connection_closed();
    }
}

/// An authenticated connection in the registry; leaves it when dropped.
pub(super) struct Registered {
    registry: Arc<Registry>,
    pub(super) id: ConnectionId,
    pub(super) close: CancellationToken,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut connections = self.registry.lock();
        let Some(entry) = connections.by_id.remove(&self.id) else { return };
        let fingerprint = entry.info.certificate.fingerprint;
        if let Some(count) = connections.per_certificate.get_mut(&fingerprint) {
            *count -= 1;
            if *count == 0 {
                connections.per_certificate.remove(&fingerprint);
            }
        }
    }
}

impl Registry {
    fn lock(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place if fewer than `max` are taken.
    pub(super) fn enter(self: &Arc<Self>, max: usize) -> Option<Place> {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let taken = self
            .open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < max).then_some(open + 1));
        taken.ok()?;
        metrics::connection_opened();
        Some(Place(self.clone()))
    }

    /// Counts a connection that was refused. Only counts: whoever has no
    /// certificate must not be able to fill a disk.
    pub(super) fn refuse(&self, reason: ConnectionRefusal) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
        metrics::connection_refused(reason);
    }

    /// Enters an authenticated connection, unless its certificate has `max`.
    pub(super) fn register(
        self: &Arc<Self>,
        from: std::net::SocketAddr,
        certificate: Arc<PeerCertificate>,
        chain: Vec<CertificateDer<'static>>,
        max: usize,
    ) -> Option<Registered> {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        let id = ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let close = CancellationToken::new();
        let mut connections = self.lock();
        let count = connections.per_certificate.entry(certificate.fingerprint).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        let info = ConnectionInfo { id, from, certificate, since: Instant::now() };
        connections.by_id.insert(id, Entry { info, chain, close: close.clone() });
        Some(Registered { registry: self.clone(), id, close })
    }

    /// Closes connections whose chain `lets_in` no longer accepts; returns how
    /// many. Each distinct certificate is judged once; costs a signature check
    /// each, so it belongs on a blocking thread.
    pub(super) fn close_unless(&self, lets_in: impl Fn(&[CertificateDer<'static>]) -> bool) -> usize {
        let mut chains: HashMap<[u8; 32], Vec<CertificateDer<'static>>> = HashMap::new();
        for entry in self.lock().by_id.values() {
            chains.entry(entry.info.certificate.fingerprint).or_insert_with(|| entry.chain.clone());
        }
        chains.retain(|_, chain| !lets_in(chain));
        if chains.is_empty() {
            return 0;
        }
        self.close_where(|info| chains.contains_key(&info.certificate.fingerprint))
    }

    pub(super) fn close_where(&self, condition: impl Fn(&ConnectionInfo) -> bool) -> usize {
        let connections = self.lock();
        let chosen = connections.by_id.values().filter(|entry| condition(&entry.info));
        chosen.map(|entry| entry.close.cancel()).count()
    }
}

/// A cheap view of a running server's connections.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Registry>);

impl Handle {
    /// How many connections came, stand and were refused.
    pub fn counts(&self) -> Counts {
        let registry = &self.0;
        let mut refused = [0; ConnectionRefusal::ALL.len()];
        for (count, counter) in refused.iter_mut().zip(&registry.refused) {
            *count = counter.load(Ordering::Relaxed);
        }
        Counts {
            accepted: registry.accepted.load(Ordering::Relaxed),
            open: registry.open.load(Ordering::Acquire),
            handshakes: registry.handshakes.load(Ordering::Relaxed),
            refused,
        }
    }

    /// The authenticated connections, in no order.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.0.lock().by_id.values().map(|entry| entry.info.clone()).collect()
    }

    /// Closes at once every connection that `condition` chooses; returns how many.
    /// `condition` runs under the registry's lock: it must be quick and must not
    /// call back.
    pub fn close_where(&self, condition: impl Fn(&ConnectionInfo) -> bool) -> usize {
        self.0.close_where(condition)
    }
}
