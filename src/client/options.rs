//! How a terminal reaches its gateway: address, certificates, patience.

use std::{sync::Arc, time::Duration};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

use super::RetryPolicy;
use crate::limits;

/// What a terminal must be told to reach its gateway. The key is kept out of
/// `Debug`.
#[derive(Clone)]
pub struct TerminalOptions {
    /// Host and port of the gateway, for example `127.0.0.1:7101`.
    pub endpoint: String,
    /// The name the gateway's certificate must carry, for example
    /// `beijing.onecard`.
    pub server_name: String,
    /// PEM: the authorities that may sign the gateway's certificate.
    pub ca: Vec<u8>,
    /// PEM: the terminal's certificate and what chains it to the authority.
    pub certificate: Vec<u8>,
    /// PEM: the terminal's private key.
    pub key: Vec<u8>,
    /// The deadline of one try; travels as `grpc-timeout`.
    pub deadline: Duration,
    /// When and how often a request is repeated.
    pub retry: RetryPolicy,
}

impl std::fmt::Debug for TerminalOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TerminalOptions")
            .field("endpoint", &self.endpoint)
            .field("server_name", &self.server_name)
            .field("deadline", &self.deadline)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// The options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error("the endpoint `{0}` is not host:port")]
    Endpoint(String),
    #[error("`{0}` is not a server name")]
    ServerName(String),
    #[error("the {what} is not readable PEM: {detail}")]
    Pem { what: &'static str, detail: String },
    #[error("the certificates cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the gateway at {endpoint} cannot be reached: {detail}")]
    Unreachable { endpoint: String, detail: String },
}

impl TerminalOptions {
    /// Options with the product's deadline and retry policy.
    pub fn new(
        endpoint: impl Into<String>,
        server_name: impl Into<String>,
        ca: impl Into<Vec<u8>>,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        TerminalOptions {
            endpoint: endpoint.into(),
            server_name: server_name.into(),
            ca: ca.into(),
            certificate: certificate.into(),
            key: key.into(),
            deadline: limits::DEADLINE_DEFAULT,
            retry: RetryPolicy::default(),
        }
    }

    /// A channel that connects, and connects again when the gateway drains it.
    /// With `lazy` the first connection is made by the first call, so that a
    /// gate can start while its line is down.
    ///
    /// # Errors
    /// When the options are not well formed or, unless lazy, nobody answers.
    pub(super) async fn channel(&self, lazy: bool) -> Result<Channel, OptionsError> {
        let dial = Dial {
            address: Arc::from(self.endpoint.as_str()),
            tls: TlsConnector::from(Arc::new(self.tls()?)),
            name: ServerName::try_from(self.server_name.clone())
                .map_err(|_| OptionsError::ServerName(self.server_name.clone()))?,
        };
        let endpoint = self.transport()?;
        let connector = tower::service_fn(move |_: Uri| dial.clone().connect());
        if lazy {
            return Ok(endpoint.connect_with_connector_lazy(connector));
        }
        endpoint.connect_with_connector(connector).await.map_err(|error| OptionsError::Unreachable {
            endpoint: self.endpoint.clone(),
            detail: causes(&error),
        })
    }

    /// HTTP/2 as a terminal wants it: small windows (messages are small, memory
    /// of a gate is smaller), pings on an idle line so that a dead one is known
    /// before a passenger stands there.
    fn transport(&self) -> Result<Endpoint, OptionsError> {
        let bad = || OptionsError::Endpoint(self.endpoint.clone());
        let has_port = self.endpoint.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if !has_port {
            return Err(bad());
        }
        // The connector below does TLS; tonic must not do it a second time, so
        // its own address is plain and only the origin says https.
        let endpoint = Endpoint::from_shared(format!("http://{}", self.endpoint)).map_err(|_| bad())?;
        let origin = format!("https://{}", self.server_name)
            .parse::<Uri>()
            .map_err(|_| OptionsError::ServerName(self.server_name.clone()))?;
        Ok(endpoint
            .origin(origin)
            .connect_timeout(limits::HANDSHAKE_MAX)
            .http2_keep_alive_interval(limits::KEEPALIVE_INTERVAL)
            .keep_alive_timeout(limits::KEEPALIVE_WAIT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(limits::CLIENT_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::CLIENT_CONNECTION_WINDOW_BYTES)
            .http2_max_header_list_size(limits::HEADER_LIST_BYTES_MAX))
    }

    /// TLS 1.3 only, ALPN h2, our own authorities only.
    fn tls(&self) -> Result<ClientConfig, OptionsError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("authority", &self.ca)? {
            roots.add(authority)?;
        }
        let chain = certificates("certificate", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| OptionsError::Pem { what: "key", detail: error.to_string() })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, OptionsError> {
    let bad = |detail: String| OptionsError::Pem { what, detail };
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if found.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    Ok(found)
}

/// An error and everything behind it, in one line for a person.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        next = cause.source();
    }
    line
}

/// Makes one TLS connection to the gateway.
#[derive(Clone)]
struct Dial {
    address: Arc<str>,
    tls: TlsConnector,
    name: ServerName<'static>,
}

impl Dial {
    async fn connect(self) -> std::io::Result<TokioIo<TlsStream<TcpStream>>> {
        let tcp = TcpStream::connect(&*self.address).await?;
        tcp.set_nodelay(true)?;
        Ok(TokioIo::new(self.tls.connect(self.name, tcp).await?))
    }
}
