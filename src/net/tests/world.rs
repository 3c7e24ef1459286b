//! A running server with a tiny service, and clients that can misbehave.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, sync::Notify, task::JoinHandle};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::{Status, service::Routes};

use super::pki::Authority;
use crate::{
    limits,
    model::{Deadline, PeerCertificate, SystemClock},
    net::{self, Drained, Handle, Methods, Server, ServerOptions, TlsOptions, TlsState},
    proto::transaction::v1::{
        self as wire, GetTransactionRequest, GetTransactionResponse,
        get_transaction_request::By,
        transaction_service_server::{TransactionService, TransactionServiceServer},
    },
};

pub(super) const PATH: &str = "/onecard.transaction.v1.TransactionService/GetTransaction";
pub(super) const GATE: &str = "onecard:terminal:bj-metro:gate-01";

/// Answers who asks; waits when asked for `wait`.
#[derive(Clone, Default)]
pub(super) struct Desk {
    pub(super) entered: Arc<Notify>,
    pub(super) open: Arc<Notify>,
}

#[tonic::async_trait]
impl TransactionService for Desk {
    async fn get_transaction(
        &self,
        request: tonic::Request<GetTransactionRequest>,
    ) -> Result<tonic::Response<GetTransactionResponse>, Status> {
        let certificate = request.extensions().get::<Arc<PeerCertificate>>().cloned();
        assert!(request.extensions().get::<Deadline>().is_some(), "a unary call has a deadline");
        if request.into_inner().by == Some(By::RequestId("wait".into())) {
            self.entered.notify_one();
            self.open.notified().await;
        }
        let who = certificate.and_then(|certificate| certificate.identity()).map(|who| who.to_string());
        let answer = GetTransactionResponse { terminal: who.unwrap_or_default(), ..Default::default() };
        Ok(tonic::Response::new(answer))
    }

    async fn reserve(
        &self,
        _: tonic::Request<wire::ReserveRequest>,
    ) -> Result<tonic::Response<wire::ReserveResponse>, Status> {
        Err(unserved())
    }

    async fn capture(
        &self,
        _: tonic::Request<wire::CaptureRequest>,
    ) -> Result<tonic::Response<wire::CaptureResponse>, Status> {
        Err(unserved())
    }

    async fn release(
        &self,
        _: tonic::Request<wire::ReleaseRequest>,
    ) -> Result<tonic::Response<wire::ReleaseResponse>, Status> {
        Err(unserved())
    }

    async fn refund(
        &self,
        _: tonic::Request<wire::RefundRequest>,
    ) -> Result<tonic::Response<wire::RefundResponse>, Status> {
        Err(unserved())
    }

    async fn reverse(
        &self,
        _: tonic::Request<wire::ReverseRequest>,
    ) -> Result<tonic::Response<wire::ReverseResponse>, Status> {
        Err(unserved())
    }
}

/// The desk only answers who asks.
fn unserved() -> Status {
    Status::unimplemented("not at this desk")
}

pub(super) struct World {
    pub(super) authority: Authority,
    pub(super) tls: Arc<TlsState>,
    pub(super) handle: Handle,
    pub(super) address: SocketAddr,
    pub(super) drain: CancellationToken,
    pub(super) desk: Desk,
    pub(super) health: net::Health,
    serving: JoinHandle<Drained>,
}

impl World {
    pub(super) fn start() -> Self {
        Self::with(|_| {}, Authority::options)
    }

    pub(super) fn with(
        change: impl FnOnce(&mut ServerOptions),
        files: impl FnOnce(&Authority) -> TlsOptions,
    ) -> Self {
        let authority = Authority::new("the city");
        let mut options = ServerOptions::at("127.0.0.1:0".parse().expect("an address"));
        change(&mut options);
        let tls = TlsState::load(files(&authority), Arc::new(SystemClock)).expect("good material");
        let tls = Arc::new(tls);
        let desk = Desk::default();
        let routes = Routes::new(TransactionServiceServer::new(desk.clone()));
        let services = ["onecard.transaction.v1.TransactionService".into()];
        let (routes, health) =
            net::with_health_and_reflection(routes, services, crate::proto::DESCRIPTORS, |_| true)
                .expect("reflection");
        let methods = Arc::new(Methods::from_descriptors(crate::proto::DESCRIPTORS).expect("descriptors"));
        let server = Server::bind(options, tls.clone()).expect("a free port");
        let (handle, address, drain) = (server.handle(), server.local_addr(), CancellationToken::new());
        let serving = tokio::spawn(server.serve(net::edge(routes, methods), drain.clone()));
        World { authority, tls, handle, address, drain, desk, health, serving }
    }

    pub(super) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the listener takes connections")
    }

    /// A TLS connection; what is said over it is the test's.
    pub(super) async fn tls(&self, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(config).connect(name, self.tcp().await).await
    }

    pub(super) async fn client(&self, config: Arc<ClientConfig>) -> Result<Client, BoxError> {
        let stream = self.tls(config).await?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        Ok(Client { sender, connection })
    }

    /// A client of a gate of the city.
    pub(super) async fn gate(&self) -> Client {
        let holder = self.authority.holder(GATE);
        self.client(holder.config).await.expect("a gate is let in")
    }

    /// Ends the server and says how.
    pub(super) async fn drained(self) -> Drained {
        self.drain.cancel();
        soon(self.serving).await.expect("the server does not panic")
    }
}

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
    pub(super) connection: JoinHandle<hyper::Result<()>>,
}

/// What came back of a call.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) http: u16,
    pub(super) headers: HeaderMap,
    pub(super) trailers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The gRPC status, wherever it stands.
    pub(super) fn status(&self) -> Option<i32> {
        let status = self.headers.get("grpc-status").or_else(|| self.trailers.get("grpc-status"))?;
        status.to_str().ok()?.parse().ok()
    }

    /// Who the service saw.
    pub(super) fn who(&self) -> String {
        assert_eq!(self.status(), Some(0), "{self:?}");
        GetTransactionResponse::decode(&self.body[5..]).expect("an answer").terminal
    }
}

impl Client {
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, BoxError> {
        self.sender.ready().await?;
        let response: Response<_> = soon(self.sender.send_request(request)).await?;
        let (parts, body) = response.into_parts();
        let collected = soon(body.collect()).await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Ok(Answer {
            http: parts.status.as_u16(),
            headers: parts.headers,
            trailers,
            body: collected.to_bytes(),
        })
    }

    /// A good call.
    pub(super) async fn ask(&mut self, request_id: &str) -> Result<Answer, BoxError> {
        self.send(request(message(request_id))).await
    }

    /// A call that can run beside others.
    pub(super) fn asking(&self, request_id: &str) -> JoinHandle<Result<Answer, BoxError>> {
        let connection = tokio::spawn(std::future::pending());
        let (mut beside, request_id) =
            (Client { sender: self.sender.clone(), connection }, request_id.to_owned());
        tokio::spawn(async move { beside.ask(&request_id).await })
    }
}

/// One framed message.
pub(super) fn message(request_id: &str) -> Vec<u8> {
    let message = GetTransactionRequest { by: Some(By::RequestId(request_id.into())), ..Default::default() }
        .encode_to_vec();
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed
}

pub(super) fn request(body: Vec<u8>) -> Request<Full<Bytes>> {
    Request::post(format!("https://localhost{PATH}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body.into()))
        .expect("a request")
}

/// Waits for what must come soon; the bound only catches what never does.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(limits::DRAIN_MAX * 2, what).await.expect("it comes in time")
}

/// Waits until a condition holds.
pub(super) async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
