//! One message over HTTP: connections, timeouts, and what a failure means.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{sync::Semaphore, time::Instant};

use super::{
    BadNhsaOptions, MessageSignature, NhsaOptions, Unknown,
    envelope::{self, Answered},
};
use crate::{
    crypto::{KeyName, KeyVault},
    limits,
    model::{Clock, Rng},
    scenes::medical::{MedicalAct, NotSent, PortError, Sender},
};

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The way to a platform.
pub(super) struct Line {
    options: NhsaOptions,
    url: Uri,
    token: SecretString,
    http: Http,
    /// The bulkhead.
    room: Semaphore,
    /// inf_refmsgid of the answers that came last.
    references: Mutex<VecDeque<String>>,
    vault: Arc<dyn KeyVault>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl Line {
    pub(super) fn new(
        platform: &str,
        options: NhsaOptions,
        vault: Arc<dyn KeyVault>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Self, BadNhsaOptions> {
        options.check(platform)?;
        let (url, token) = (options.uri(platform)?, options.token(platform)?);
        if options.signature == MessageSignature::Sm2
            && let Err(why) = vault.public_key(KeyName::Medical)
        {
            return Err(BadNhsaOptions::Key { platform: platform.to_owned(), why: why.to_string() });
        }
        let http = client(platform, &options)?;
        let room = Semaphore::new(options.in_flight_max);
        Ok(Line { options, url, token, http, room, references: Mutex::default(), vault, clock, rng })
    }

    pub(super) fn options(&self) -> &NhsaOptions {
        &self.options
    }

    /// How long a usual answer may take.
    pub(super) fn patience(&self, act: MedicalAct) -> Duration {
        self.options.timeout(act)
    }

    /// Sends a message once and reads its answer.
    pub(super) async fn send(
        &self,
        sender: &Sender,
        act: MedicalAct,
        sign_no: &str,
        input: &serde_json::Value,
        until: Instant,
    ) -> Result<Answered, PortError> {
        let not_sent = |why: String| PortError::from(NotSent { why });
        let until = until.min(Instant::now() + self.options.timeout(act));
        let Ok(Ok(_place)) = tokio::time::timeout_at(until, self.room.acquire()).await else {
            return Err(not_sent("all places for messages at once are taken".into()));
        };
        let body = envelope::write(sender, act, sign_no, input, &self.options, &*self.vault)
            .map_err(|error| not_sent(error.to_string()))?;
        let request = self.request(body).map_err(|error| not_sent(error.to_string()))?;
        let unknown = |why: String| PortError::from(Unknown { why });
        let answered = tokio::time::timeout_at(until, self.exchange(request)).await;
        let (status, is_json, body) = match answered {
            Err(_) => return Err(unknown("no answer in time".into())),
            Ok(Err(Broken::Before(why))) => return Err(not_sent(why)),
            Ok(Err(Broken::Within(why))) => return Err(unknown(why)),
            Ok(Ok(answer)) => answer,
        };
        match status {
            StatusCode::OK => {}
            // Refused at the door: no transaction has begun.
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::TOO_MANY_REQUESTS => {
                return Err(not_sent(format!("HTTP {}", status.as_u16())));
            }
            status => return Err(unknown(format!("HTTP {}", status.as_u16()))),
        }
        if act == MedicalAct::DownloadFile && !is_json {
            return Ok(Answered::of_file(&body));
        }
        let answered = envelope::read(&body, &self.options)?;
        if self.came_before(&answered.reference) {
            return Err(unknown("an answer that came before came once more".into()));
        }
        Ok(answered)
    }

    fn request(&self, body: Vec<u8>) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut nonce = [0; 16];
        self.rng.fill(&mut nonce);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json;charset=UTF-8");
        let (nonce, now) = (hex::encode(nonce), self.clock.now_ms());
        for (name, value) in envelope::header(&self.options, self.token.expose_secret(), &nonce, now) {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::from(body)))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, bool, Bytes), Broken> {
        let answer = self.http.request(request).await.map_err(|error| {
            // The client itself sends again what met a dead connection before a byte of it
            // was written; only a connection that could not be made is sure to be unsent.
            let why = told(&error);
            if error.is_connect() { Broken::Before(why) } else { Broken::Within(why) }
        })?;
        let (head, body) = answer.into_parts();
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = kind.is_none_or(|kind| kind.contains("json"));
        let body = Limited::new(body, limits::NHSA_ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| Broken::Within(format!("the answer broke off: {error}")))?;
        Ok((head.status, is_json, body.to_bytes()))
    }

    /// Whether an answer of this number was here; from now on it was.
    fn came_before(&self, reference: &str) -> bool {
        if reference.is_empty() {
            return false;
        }
        let mut references = self.references.lock().unwrap_or_else(PoisonError::into_inner);
        if references.iter().any(|known| known == reference) {
            return true;
        }
        if references.len() == limits::NHSA_REFERENCES_MAX {
            references.pop_front();
        }
        references.push_back(reference.to_owned());
        false
    }
}

/// Why an exchange failed.
enum Broken {
    /// Before anything was sent.
    Before(String),
    Within(String),
}

/// An error with what caused it.
fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", told(source)),
        None => error.to_string(),
    }
}

fn client(platform: &str, options: &NhsaOptions) -> Result<Http, BadNhsaOptions> {
    let bad = |why: String| BadNhsaOptions::Roots { platform: platform.to_owned(), why };
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = &options.tls_roots {
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
    } else if options.url.starts_with("https:") {
        return Err(bad("an https address needs the roots of its certificate".into()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(Duration::from_millis(options.connect_timeout_ms)));
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(options.in_flight_max)
        .pool_timer(hyper_util::rt::TokioTimer::new())
        .build(connector))
}
