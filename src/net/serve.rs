//! The accept loop: takes connections, keeps their number in bounds, watches for
//! new TLS material, and drains.
//!
//! The loop is ours because the gRPC library's own can neither exchange
//! certificates nor check revocation, and cuts calls at a connection's end.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

use super::{
    connection::{self, Shared},
    options::ServerOptions,
    registry::{Handle, Place, Registry},
    tls::TlsState,
};
use crate::{
    limits,
    telemetry::metrics::{self, ConnectionRefusal},
};

/// Why the listener does not stand.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {at}: {why}")]
pub struct BindError {
    pub at: SocketAddr,
    pub why: io::Error,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every connection finished its calls.
    Whole,
    /// This many connections were cut at the end of the time for it.
    Cut(usize),
}

/// A bound listener, not serving yet. Clients that connect now wait.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    options: ServerOptions,
    tls: Arc<TlsState>,
    registry: Arc<Registry>,
}

impl Server {
    /// Binds the listener; call within a tokio runtime.
    pub fn bind(options: ServerOptions, tls: Arc<TlsState>) -> Result<Self, BindError> {
        let at = options.listen;
        let open = || -> io::Result<(TcpListener, SocketAddr)> {
            let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(at)?;
            let listener = socket.listen(limits::ACCEPT_BACKLOG)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = open().map_err(|why| BindError { at, why })?;
        Ok(Server { listener, address, options, tls, registry: Arc::new(Registry::default()) })
    }

    /// The address bound, with the port the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A view of the connections that outlives `serve`.
    pub fn handle(&self) -> Handle {
        Handle(self.registry.clone())
    }

    /// Serves until `drain` is cancelled, then: accepts no more, tells every
    /// connection to finish its calls, waits for them at most the drain timeout,
    /// and cuts what is left.
    pub async fn serve<S, B>(self, service: S, drain: CancellationToken) -> Drained
    where
        S: Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let tasks = TaskTracker::new();
        let cut = CancellationToken::new();
        let shared = Arc::new(Shared {
            handshakes: Semaphore::new(self.options.handshakes_max),
            options: self.options,
            tls: self.tls.clone(),
            registry: self.registry.clone(),
            drain: drain.clone(),
            cut: cut.clone(),
        });
        let sweep = tokio::spawn(close_those_no_longer_let_in(self.tls, self.registry.clone()));

        let mut backoff = Backoff::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    backoff.reset();
                    let Some(place) = enter(&shared, &stream) else { continue };
                    tasks.spawn(connection::run(shared.clone(), service.clone(), stream, from, place));
                }
                Err(why) => {
                    metrics::accept_failed();
                    tokio::select! {
                        () = drain.cancelled() => break,
                        () = backoff.wait(&why) => {}
                    }
                }
            }
        }

        drop(self.listener);
        tasks.close();
        let whole = tokio::time::timeout(shared.options.drain_timeout(), tasks.wait()).await.is_ok();
        let left = tasks.len();
        cut.cancel();
        tasks.wait().await;
        sweep.abort();
        if whole { Drained::Whole } else { Drained::Cut(left) }
    }
}

fn enter(shared: &Shared, stream: &TcpStream) -> Option<Place> {
    let place = shared.registry.enter(shared.options.connections_max);
    if place.is_none() {
        shared.registry.refuse(ConnectionRefusal::Full);
    }
    // Answers are small and awaited: waiting to fill a segment would cost 40 ms.
    if stream.set_nodelay(true).is_err() {
        return None;
    }
    place
}

/// After every exchange of TLS material: whoever the new material would refuse
/// (revoked, expired, of an authority no longer believed) is closed.
async fn close_those_no_longer_let_in(tls: Arc<TlsState>, registry: Arc<Registry>) {
    let mut changes = tls.changes();
    while changes.changed().await.is_ok() {
        let (material, registry) = (tls.current(), registry.clone());
        let sweep = move || registry.close_unless(|chain| material.still_lets_in(chain));
        // The sweep fails only if it panics or the runtime ends; the next change
        // of material sweeps again.
        if let Ok(closed) = tokio::task::spawn_blocking(sweep).await {
            metrics::connections_closed_by_reload(closed);
        }
    }
}

/// Waits after a failed accept. A connection that died in the queue costs
/// nothing; being out of file descriptors is given time to pass.
#[derive(Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn reset(&mut self) {
        self.failures = 0;
    }

    async fn wait(&mut self, why: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(why.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        if self.failures == 0 {
            tracing::warn!(error = %why, "connections cannot be accepted; trying again");
        }
        self.failures = (self.failures + 1).min(7);
        tokio::time::sleep(Duration::from_millis(5 << self.failures)).await;
    }
}
