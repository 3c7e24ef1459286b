//! The two servers that do no work: both answer every tap with one canned answer
//! over mutual TLS. One is tonic as it comes, the other our own listener and
//! edge, composed as `onecard serve` composes them.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use onecard::{
    model::SystemClock,
    net,
    proto::{
        self,
        transit::v1::{
            ListJourneysRequest, ListJourneysResponse, TapRequest, TapResponse, TapStreamRequest,
            TapStreamResponse, UploadChunkRequest, UploadChunkResponse, UploadTapsRequest,
            UploadTapsResponse, tap_stream_response,
            transit_service_server::{TransitService, TransitServiceServer},
        },
    },
};
use prost::Message as _;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    service::Routes,
    transport::{Certificate, Identity, ServerTlsConfig, server::TcpIncoming},
};

/// Whose server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Tonic,
    Ours,
}

/// Serves canned answers until standard input closes; prints where it listens.
#[derive(Debug, Args)]
pub struct Echo {
    kind: Kind,
    /// The folder of certificates.
    #[arg(long)]
    pki: PathBuf,
    /// An encoded `TapResponse`.
    #[arg(long)]
    answer: PathBuf,
}

/// The first word of the line that says where it listens.
pub const LISTENS: &str = "listening";

impl Echo {
    /// Runs it.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn run(self) -> anyhow::Result<()> {
        let answer = fs::read(&self.answer).context("the canned answer")?;
        let canned = Canned(TapResponse::decode(answer.as_slice()).context("the canned answer")?);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let served = runtime.block_on(async {
            match self.kind {
                Kind::Tonic => tonic_as_it_comes(canned, &self.pki).await,
                Kind::Ours => ours(canned, &self.pki).await,
            }
        });
        // The thread that waits for standard input must not hold the end up.
        runtime.shutdown_background();
        served
    }
}

async fn tonic_as_it_comes(canned: Canned, pki: &Path) -> anyhow::Result<()> {
    let read = |name: &str| fs::read(pki.join(name)).with_context(|| format!("cannot read {name}"));
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(read(SERVER_CERTIFICATE)?, read(SERVER_KEY)?))
        .client_ca_root(Certificate::from_pem(read("ca.pem")?));
    // Without this an answer waits 40 ms for the peer's acknowledgement; the
    // builder's own option reaches only listeners that it binds itself.
    let incoming = TcpIncoming::bind(ANY_PORT.parse()?)?.with_nodelay(Some(true));
    announce(incoming.local_addr()?)?;
    tonic::transport::Server::builder()
        .tls_config(tls)?
        .add_service(TransitServiceServer::new(canned))
        .serve_with_incoming_shutdown(incoming, stdin_closes())
        .await
        .context("the server stopped")
}

async fn ours(canned: Canned, pki: &Path) -> anyhow::Result<()> {
    // Counting is part of the edge: without a recorder it would cost nothing.
    onecard::telemetry::metrics::install().context("metrics cannot be set up")?;
    let tls = net::TlsOptions {
        certificate: pki.join(SERVER_CERTIFICATE),
        key: pki.join(SERVER_KEY),
        client_roots: pki.join("ca.pem"),
        revocation_lists: vec![pki.join("revoked.crl")],
        enforce_revocation_expiry: false,
    };
    let tls = Arc::new(net::TlsState::load(tls, Arc::new(SystemClock))?);
    let server = net::Server::bind(net::ServerOptions::at(ANY_PORT.parse()?), tls)?;
    announce(server.local_addr())?;
    let methods = net::Methods::from_descriptors(proto::DESCRIPTORS)?;
    let routes = Routes::new(TransitServiceServer::new(canned));
    let (routes, _) = net::with_health_and_reflection(routes, Vec::new(), proto::DESCRIPTORS, |_| true)?;
    let drain = CancellationToken::new();
    let serving = tokio::spawn(server.serve(net::grpc_edge(routes, methods), drain.clone()));
    stdin_closes().await;
    drain.cancel();
    serving.await?;
    Ok(())
}

const ANY_PORT: &str = "127.0.0.1:0";
const SERVER_CERTIFICATE: &str = "servers/beijing.pem";
const SERVER_KEY: &str = "servers/beijing.key";

fn announce(at: SocketAddr) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{LISTENS} {at}")?;
    out.flush()?;
    Ok(())
}

/// The parent holds the other end: when it goes, so do we.
async fn stdin_closes() {
    let wait = || std::io::stdin().lock().read_to_end(&mut Vec::new());
    // Nobody writes to it; an error means it is gone, too.
    let _ = tokio::task::spawn_blocking(wait).await;
}

/// Answers every tap the same.
struct Canned(TapResponse);

#[tonic::async_trait]
impl TransitService for Canned {
    async fn tap(&self, _: Request<TapRequest>) -> Result<Response<TapResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    type TapStreamStream = Pin<Box<dyn Stream<Item = Result<TapStreamResponse, Status>> + Send>>;

    async fn tap_stream(
        &self,
        request: Request<Streaming<TapStreamRequest>>,
    ) -> Result<Response<Self::TapStreamStream>, Status> {
        let canned = self.0.clone();
        let answers = request.into_inner().map(move |message| {
            let header = message?.tap.unwrap_or_default().header;
            let request_id = header.map(|header| header.request_id).unwrap_or_default();
            let result = tap_stream_response::Result::Tap(canned.clone());
            Ok(TapStreamResponse { request_id, result: Some(result) })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn upload_taps(
        &self,
        _: Request<UploadTapsRequest>,
    ) -> Result<Response<UploadTapsResponse>, Status> {
        Err(Status::unimplemented("only taps are echoed"))
    }

    async fn upload_chunk(
        &self,
        _: Request<UploadChunkRequest>,
    ) -> Result<Response<UploadChunkResponse>, Status> {
        Err(Status::unimplemented("only taps are echoed"))
    }

    async fn list_journeys(
        &self,
        _: Request<ListJourneysRequest>,
    ) -> Result<Response<ListJourneysResponse>, Status> {
        Err(Status::unimplemented("only taps are echoed"))
    }
}
