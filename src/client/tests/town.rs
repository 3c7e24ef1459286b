//! A gateway that answers what its script says and remembers what it was asked.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

use crate::{
    client::TerminalOptions,
    proto::{
        common::v1::{Answer, Decision},
        transit::v1::{
            ListJourneysRequest, ListJourneysResponse, Refusal, TapOutcome, TapRequest, TapResponse,
            TapStreamRequest, TapStreamResponse, UploadChunkRequest, UploadChunkResponse, UploadTapsRequest,
            UploadTapsResponse, tap_outcome, tap_stream_response,
            transit_service_server::{TransitService, TransitServiceServer},
        },
    },
};

/// What the gateway does with the next tap.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Answer,
    Fail(Status),
    /// Says nothing for longer than any deadline of these tests.
    Silence,
    /// An upload: refuses the tap at this place for want of capacity.
    NoRoomAt(usize),
}

/// A tap as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) taps: Vec<TapRequest>,
    pub(super) traceparent: String,
    pub(super) timeout: String,
}

#[derive(Clone, Default)]
pub(super) struct Script {
    steps: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics with it").clone()
    }

    fn note<T>(&self, request: &Request<T>, taps: Vec<TapRequest>) -> Step {
        let metadata = |name: &str| {
            let value = request.metadata().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (traceparent, timeout) = (metadata("traceparent"), metadata("grpc-timeout"));
        self.seen.lock().expect("no test panics with it").push(Seen { taps, traceparent, timeout });
        self.steps.lock().expect("no test panics with it").pop_front().unwrap_or(Step::Answer)
    }
}

fn approved(tap: &TapRequest) -> TapResponse {
    let id = tap.header.as_ref().map(|header| header.request_id.clone()).unwrap_or_default();
    TapResponse {
        answer: Some(Answer { decision: Decision::Approved.into(), transaction_id: id, ..Answer::default() }),
        charge: None,
    }
}

fn id_of(tap: &TapRequest) -> String {
    tap.header.as_ref().map(|header| header.request_id.clone()).unwrap_or_default()
}

#[tonic::async_trait]
impl TransitService for Script {
    async fn tap(&self, request: Request<TapRequest>) -> Result<Response<TapResponse>, Status> {
        let tap = request.get_ref().clone();
        match self.note(&request, vec![tap.clone()]) {
            Step::Answer | Step::NoRoomAt(_) => Ok(Response::new(approved(&tap))),
            Step::Fail(status) => Err(status),
            Step::Silence => {
                tokio::time::sleep(Duration::from_secs(30)).await;
                Err(Status::internal("too late"))
            }
        }
    }

    type TapStreamStream = Pin<Box<dyn Stream<Item = Result<TapStreamResponse, Status>> + Send>>;

    async fn tap_stream(
        &self,
        request: Request<Streaming<TapStreamRequest>>,
    ) -> Result<Response<Self::TapStreamStream>, Status> {
        let answers = request.into_inner().map(|message| {
            let tap = message?.tap.unwrap_or_default();
            let result = Some(tap_stream_response::Result::Tap(approved(&tap)));
            Ok(TapStreamResponse { request_id: id_of(&tap), result })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn upload_taps(
        &self,
        request: Request<UploadTapsRequest>,
    ) -> Result<Response<UploadTapsResponse>, Status> {
        let taps = request.get_ref().taps.clone();
        let step = self.note(&request, taps.clone());
        let no_room = match step {
            Step::Fail(status) => return Err(status),
            Step::NoRoomAt(place) => Some(place),
            Step::Answer | Step::Silence => None,
        };
        let outcome = |(place, tap): (usize, &TapRequest)| {
            let full = Refusal { code: tonic::Code::ResourceExhausted.into(), ..Refusal::default() };
            let result = match no_room {
                Some(full_at) if full_at == place => tap_outcome::Result::Refusal(full),
                Some(_) | None => tap_outcome::Result::Tap(approved(tap)),
            };
            TapOutcome { request_id: id_of(tap), result: Some(result) }
        };
        let outcomes = taps.iter().enumerate().map(outcome).collect();
        Ok(Response::new(UploadTapsResponse { outcomes }))
    }

    async fn upload_chunk(
        &self,
        _: Request<UploadChunkRequest>,
    ) -> Result<Response<UploadChunkResponse>, Status> {
        Ok(Response::new(UploadChunkResponse::default()))
    }

    async fn list_journeys(
        &self,
        _: Request<ListJourneysRequest>,
    ) -> Result<Response<ListJourneysResponse>, Status> {
        Ok(Response::new(ListJourneysResponse::default()))
    }
}

/// An authority, a gateway that is running, and what a terminal needs for it.
pub(super) struct Town {
    pub(super) script: Script,
    pub(super) options: TerminalOptions,
}

impl Town {
    pub(super) async fn with(steps: impl IntoIterator<Item = Step>) -> Town {
        let script = Script { steps: Arc::new(Mutex::new(steps.into_iter().collect())), ..Script::default() };
        let authority = authority();
        let (server_certificate, server_key) = certificate(&authority, "beijing.onecard");
        let (certificate, key) = certificate(&authority, "terminal");
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(server_certificate, server_key))
            .client_ca_root(Certificate::from_pem(authority.pem()));
        let listener = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let service = TransitServiceServer::new(script.clone());
        let server = Server::builder().tls_config(tls).expect("our own certificates").add_service(service);
        tokio::spawn(server.serve_with_incoming(listener));
        let mut options =
            TerminalOptions::new(address.to_string(), "beijing.onecard", authority.pem(), certificate, key);
        options.deadline = Duration::from_millis(400);
        Town { script, options }
    }
}

pub(super) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn certificate(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    (params.signed_by(&key, authority).expect("signed").pem(), key.serialize_pem())
}
