//! One connection from its first byte to its end.
//!
//! Everything before a verified certificate is a counter and nothing else.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use hyper::{body::Incoming, server::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::Semaphore, time::Instant};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    options::ServerOptions,
    peer::read_certificate,
    registry::{Place, Registered, Registry},
    tls::{Material, TlsState},
};
use crate::{
    limits,
    model::{ConnectionId, PeerCertificate, Rng, SystemRng},
    telemetry::metrics::{self, ConnectionRefusal},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) options: ServerOptions,
    pub(super) tls: Arc<TlsState>,
    pub(super) registry: Arc<Registry>,
    pub(super) handshakes: Semaphore,
    /// Finish your calls.
    pub(super) drain: CancellationToken,
    /// Stop where you are.
    pub(super) cut: CancellationToken,
}

/// Shakes hands, registers and serves. Ends when the connection has.
pub(super) async fn run<S, B>(
    shared: Arc<Shared>,
    service: S,
    stream: TcpStream,
    from: SocketAddr,
    _place: Place,
) where
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let greeted = tokio::select! {
        () = shared.drain.cancelled() => return,
        greeted = greet(&shared, stream, from) => greeted,
    };
    match greeted {
        Ok((stream, certificate, registered)) => {
            serve(&shared, service, stream, certificate, registered).await
        }
        Err(reason) => shared.registry.refuse(reason),
    }
}

type Greeted = (TlsStream<TcpStream>, Arc<PeerCertificate>, Registered);

/// From the first byte to an entry in the registry.
async fn greet(
    shared: &Arc<Shared>,
    stream: TcpStream,
    from: SocketAddr,
) -> Result<Greeted, ConnectionRefusal> {
    let began = Instant::now();
    let by = began + shared.options.handshake_timeout();
    let (stream, material) = match tokio::time::timeout_at(by, handshake(shared, stream)).await {
        Ok(shaken) => shaken?,
        Err(_) => return Err(ConnectionRefusal::HandshakeTimeout),
    };
    let (_, session) = stream.get_ref();
    if session.alpn_protocol() != Some(b"h2") {
        return Err(ConnectionRefusal::NoHttp2);
    }
    let chain: Vec<_> = session
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|certificate| certificate.clone().into_owned())
        .collect();
    let leaf = chain.first().ok_or(ConnectionRefusal::HandshakeFailed)?;
    let certificate = read_certificate(leaf).map_err(|_| ConnectionRefusal::HandshakeFailed)?;
    let certificate = Arc::new(certificate);
    metrics::handshake_done(began.elapsed());

    let most = shared.options.connections_per_certificate_max;
    let registered = shared
        .registry
        .register(from, certificate.clone(), chain.clone(), most)
        .ok_or(ConnectionRefusal::CertificateFull)?;
    // Material taken during the handshake was swept before we were registered.
    let current = shared.tls.current();
    if current.generation != material.generation && !current.still_lets_in(&chain) {
        return Err(ConnectionRefusal::HandshakeFailed);
    }
    Ok((stream, certificate, registered))
}

/// A permit is taken only once a client has said something that looks like TLS:
/// a silent socket holds none.
async fn handshake(
    shared: &Shared,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, Arc<Material>), ConnectionRefusal> {
    const TLS_HANDSHAKE_RECORD: u8 = 22;
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first[0] == TLS_HANDSHAKE_RECORD => {}
        Ok(0) => return Err(ConnectionRefusal::HandshakeFailed),
        Ok(_) => return Err(ConnectionRefusal::NotTls),
        Err(_) => return Err(ConnectionRefusal::HandshakeFailed),
    }
    let _permit = shared.handshakes.acquire().await.map_err(|_| ConnectionRefusal::HandshakeFailed)?;
    let material = shared.tls.current();
    let acceptor = TlsAcceptor::from(material.server.clone());
    match acceptor.accept(stream).await {
        Ok(stream) => Ok((stream, material)),
        Err(_) => Err(ConnectionRefusal::HandshakeFailed),
    }
}

async fn serve<S, B>(
    shared: &Shared,
    service: S,
    stream: TlsStream<TcpStream>,
    certificate: Arc<PeerCertificate>,
    registered: Registered,
) where
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let spoken = Arc::new(AtomicBool::new(false));
    let service =
        Introduced { inner: service, certificate, connection: registered.id, spoken: spoken.clone() };
    let serving = http2_settings(&shared.options).serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);

    let mut chance = [0; 2];
    SystemRng.fill(&mut chance);
    let aged = tokio::time::sleep(shared.options.connection_age(u16::from_le_bytes(chance)));
    let mute = tokio::time::sleep(shared.options.first_request_timeout());
    let (mut aged, mut mute) = (pin!(aged), pin!(mute));
    let mut listening = true;

    // Until there is a reason to end it. An error of the connection is the
    // peer's going away or breaking HTTP/2; hyper has told it, nobody else needs
    // to know.
    loop {
        tokio::select! {
            _ = serving.as_mut() => return,
            () = registered.close.cancelled() => return,
            () = shared.cut.cancelled() => return,
            () = shared.drain.cancelled() => break,
            () = aged.as_mut() => break,
            () = mute.as_mut(), if listening => {
                if !spoken.load(Ordering::Relaxed) {
                    shared.registry.refuse(ConnectionRefusal::Silent);
                    return;
                }
                listening = false;
            }
        }
    }

    // Tell the peer to go elsewhere, and let the calls under way finish. In a
    // drain of the whole server it is the server that says when time is up.
    serving.as_mut().graceful_shutdown();
    let own_end = !shared.drain.is_cancelled();
    tokio::select! {
        _ = serving => {}
        () = registered.close.cancelled() => {}
        () = shared.cut.cancelled() => {}
        () = tokio::time::sleep(shared.options.drain_timeout()), if own_end => {}
    }
}

fn http2_settings(options: &ServerOptions) -> http2::Builder<TokioExecutor> {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.streams_per_connection_max)
        .max_pending_accept_reset_streams(limits::PENDING_ACCEPT_RESETS_MAX)
        .max_local_error_reset_streams(limits::LOCAL_ERROR_RESETS_MAX)
        .max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(limits::SEND_BUFFER_BYTES)
        .keep_alive_interval(limits::KEEPALIVE_INTERVAL)
        .keep_alive_timeout(limits::KEEPALIVE_WAIT)
        .auto_date_header(false);
    http2
}

/// Tells each request which connection it came by and whose it is.
struct Introduced<S> {
    inner: S,
    certificate: Arc<PeerCertificate>,
    connection: ConnectionId,
    spoken: Arc<AtomicBool>,
}

impl<S, B> hyper::service::Service<http::Request<Incoming>> for Introduced<S>
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone,
    S::Error: Into<BoxError>,
{
    type Response = http::Response<B>;
    type Error = S::Error;
    type Future = tower::util::Oneshot<S, http::Request<Incoming>>;

    fn call(&self, mut request: http::Request<Incoming>) -> Self::Future {
        if !self.spoken.load(Ordering::Relaxed) {
            self.spoken.store(true, Ordering::Relaxed);
        }
        request.extensions_mut().insert(self.certificate.clone());
        request.extensions_mut().insert(self.connection);
        tower::util::ServiceExt::oneshot(self.inner.clone(), request)
    }
}
