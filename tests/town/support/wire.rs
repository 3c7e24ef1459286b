//! Connections below the terminal library: other certificates, other doors, bytes
//! that no terminal sends.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::Stage;

/// What a client shows: certificate and key as PEM.
#[derive(Clone)]
pub struct Shown {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

/// One of the town's doors and the name its certificate has.
pub struct Door {
    pub address: String,
    pub name: String,
}

impl Stage {
    pub fn terminals_door(&self, region: &str) -> Door {
        Door { address: self.region(region).grpc.clone(), name: format!("{region}.onecard") }
    }

    pub fn peers_door(&self, region: &str) -> Door {
        Door { address: self.region(region).peers.clone(), name: format!("peer.{region}.onecard") }
    }

    fn pki(&self, path: &str) -> std::path::PathBuf {
        self.prepared.data.join("pki").join(path)
    }

    pub fn ca(&self) -> Vec<u8> {
        fs::read(self.pki("ca.pem")).expect("the authority")
    }

    /// A certificate of the town: `terminals/bj-metro-gate-01`, `peers/hebei`.
    pub fn shown(&self, name: &str) -> Shown {
        let read = |ending: &str| fs::read(self.pki(&format!("{name}.{ending}"))).expect("PEM");
        Shown { certificate: read("pem"), key: read("key") }
    }

    /// A certificate that the town's own authority signs for any URI: what a
    /// careless authority could hand out.
    pub fn signed_by_the_authority(&self, uri: &str) -> Shown {
        let text = |path: &Path| fs::read_to_string(path).expect("PEM");
        let key = KeyPair::from_pem(&text(&self.pki("ca.key"))).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&text(&self.pki("ca.pem")), key).expect("an authority");
        client_certificate(uri, &issuer)
    }

    /// The town's authority as rustls wants it, ALPN h2, with or without a
    /// certificate of ours.
    pub fn tls(&self, shown: Option<&Shown>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&self.ca()).expect("PEM")).expect("a root");
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .expect("TLS 1.3")
                .with_root_certificates(roots);
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some(shown) => {
                let chain = CertificateDer::pem_slice_iter(&shown.certificate).collect::<Result<_, _>>();
                let key = PrivateKeyDer::from_pem_slice(&shown.key).expect("a key");
                config.with_client_auth_cert(chain.expect("PEM"), key).expect("they fit")
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// A gRPC channel through a door.
    ///
    /// # Errors
    /// When the door does not open.
    pub async fn channel(
        &self,
        door: &Door,
        shown: Option<&Shown>,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.ca())).domain_name(&door.name);
        if let Some(shown) = shown {
            tls = tls.identity(Identity::from_pem(&shown.certificate, &shown.key));
        }
        Endpoint::from_shared(format!("https://{}", door.address))
            .expect("an address")
            .tls_config(tls)
            .expect("the certificates are read")
            .connect()
            .await
    }

    pub async fn tls_stream(&self, door: &Door, shown: &Shown) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(&door.address).await.expect("somebody listens");
        let name = ServerName::try_from(door.name.clone()).expect("a name");
        TlsConnector::from(Arc::new(self.tls(Some(shown)))).connect(name, tcp).await.expect("let in")
    }

    /// One HTTP/2 request as bytes: status, headers, body, trailers.
    pub async fn http2(&self, door: &Door, shown: &Shown, request: Request<Bytes>) -> Answered {
        let io = TokioIo::new(self.tls_stream(door, shown).await);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::spawn(connection);
        let response = sender.send_request(request.map(Full::new)).await.expect("an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body");
        let trailers = body.trailers().cloned().unwrap_or_default();
        Answered { status: head.status, headers: head.headers, trailers, body: body.to_bytes() }
    }
}

/// An HTTP/2 answer.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub trailers: HeaderMap,
    pub body: Bytes,
}

impl Answered {
    /// `grpc-status`, wherever it stands.
    pub fn grpc_status(&self) -> Option<i32> {
        let status = self.trailers.get("grpc-status").or_else(|| self.headers.get("grpc-status"))?;
        status.to_str().ok()?.parse().ok()
    }
}

/// A gRPC frame around a message.
pub fn frame(message: &impl prost::Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("small");
    [&[0], &length.to_be_bytes()[..], &message].concat().into()
}

/// An authority that nobody in the town knows, and its terminal certificate.
pub fn foreign(uri: &str) -> Shown {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "an authority nobody knows");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().expect("a key");
    client_certificate(uri, &CertifiedIssuer::self_signed(params, key).expect("an authority"))
}

fn client_certificate(uri: &str, issuer: &Issuer<'_, KeyPair>) -> Shown {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    Shown { certificate: certificate.pem().into_bytes(), key: key.serialize_pem().into_bytes() }
}
