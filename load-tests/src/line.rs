//! A gRPC client that costs little: mutual TLS, HTTP/2 and five bytes of framing,
//! on the `h2` crate alone. On a machine that client and server share, every
//! microsecond of the client is taken from the server; so the benchmark does not
//! use the terminal library, and uses the same client for every contender.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{SendRequest, handshake},
};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The gateway of Beijing, as its certificate names it.
pub const SERVER_NAME: &str = "beijing.onecard";

/// The gate whose certificate the load shows.
pub const GATE: &str = "bj-metro-gate-01";

const TAP: &str = "https://beijing.onecard/onecard.transit.v1.TransitService/Tap";
const UPLOAD: &str = "https://beijing.onecard/onecard.transit.v1.TransitService/UploadChunk";
const TAP_STREAM: &str = "https://beijing.onecard/onecard.transit.v1.TransitService/TapStream";

/// Whom the load is and whom it believes.
#[derive(Debug, Clone)]
pub struct Identity(Arc<ClientConfig>);

impl Identity {
    /// The gate's certificate of a folder that the sandbox's authority made.
    ///
    /// # Errors
    /// When a file is missing or is no PEM.
    pub fn of_gate(pki: &Path) -> anyhow::Result<Self> {
        Self::named(pki, GATE)
    }

    /// The certificate under this name of a folder that the sandbox's authority
    /// made.
    ///
    /// # Errors
    /// When a file is missing or is no PEM.
    pub fn named(pki: &Path, name: &str) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = pki.join(file);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&read("ca.pem")?) {
            roots.add(authority?)?;
        }
        let certificate = read(&format!("terminals/{name}.pem"))?;
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&read(&format!("terminals/{name}.key"))?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Identity(Arc::new(config)))
    }
}

/// A call that brought no message.
#[derive(Debug, thiserror::Error)]
pub enum CallFailed {
    #[error("the connection broke: {0}")]
    Connection(#[from] h2::Error),
    #[error("HTTP {0}")]
    Http(http::StatusCode),
    #[error("gRPC status {status}: {message}")]
    Grpc { status: String, message: String },
    #[error("the answer is no single uncompressed message")]
    Frame,
}

/// One connection; each clone is one call in flight at a time.
#[derive(Clone)]
pub struct Line {
    send: SendRequest<Bytes>,
    uri: Uri,
    upload_uri: Uri,
    headers: HeaderMap,
}

impl Line {
    /// Connects. The connection lives as long as a clone of the line does.
    ///
    /// # Errors
    /// When nobody answers or a certificate is refused.
    pub async fn connect(at: SocketAddr, identity: &Identity) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(at).await.with_context(|| format!("nobody answers at {at}"))?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(SERVER_NAME)?;
        let tls = TlsConnector::from(Arc::clone(&identity.0)).connect(name, tcp).await?;
        let (send, connection) = handshake(tls).await?;
        // When it ends, every call on it says so.
        tokio::spawn(connection);
        let mut headers = HeaderMap::new();
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-timeout", HeaderValue::from_static("5S"));
        Ok(Line { send, uri: Uri::from_static(TAP), upload_uri: Uri::from_static(UPLOAD), headers })
    }

    /// Opens the stream of taps that a gate keeps open all day.
    ///
    /// # Errors
    /// When it is not let in.
    pub async fn stream(mut self) -> Result<StreamLine, CallFailed> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(TAP_STREAM);
        *request.headers_mut() = self.headers.clone();
        // A timeout would be the end of the stream.
        request.headers_mut().remove("grpc-timeout");
        std::future::poll_fn(|cx| self.send.poll_ready(cx)).await?;
        let (answer, taps) = self.send.send_request(request, false)?;
        let (head, answers) = answer.await?.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(CallFailed::Http(head.status));
        }
        if head.headers.contains_key("grpc-status") {
            succeeded(&head.headers)?;
        }
        Ok(StreamLine { _line: self, taps, answers, read: BytesMut::new() })
    }

    /// Sends one framed tap and waits for its answer, without the frame.
    ///
    /// # Errors
    /// When there is none; a decline is an answer.
    pub async fn tap(&mut self, frame: Bytes) -> Result<Bytes, CallFailed> {
        self.call(self.uri.clone(), frame).await
    }

    /// Sends one framed upload of numbered taps, as [`Line::tap`] does.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn upload(&mut self, frame: Bytes) -> Result<Bytes, CallFailed> {
        self.call(self.upload_uri.clone(), frame).await
    }

    async fn call(&mut self, uri: Uri, frame: Bytes) -> Result<Bytes, CallFailed> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        std::future::poll_fn(|cx| self.send.poll_ready(cx)).await?;
        let (answer, mut body) = self.send.send_request(request, false)?;
        body.send_data(frame, true)?;
        let (head, mut body) = answer.await?.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(CallFailed::Http(head.status));
        }
        let mut message = Bytes::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            message = if message.is_empty() { chunk } else { joined(&message, &chunk) };
        }
        let trailers = body.trailers().await?;
        succeeded(trailers.as_ref().unwrap_or(&head.headers))?;
        unframed(message)
    }
}

/// A stream of taps, one in flight at a time.
pub struct StreamLine {
    /// Keeps the connection open.
    _line: Line,
    taps: SendStream<Bytes>,
    answers: RecvStream,
    /// What came and was not yet taken.
    read: BytesMut,
}

impl StreamLine {
    /// Sends one framed tap and waits for its answer, without the frame.
    ///
    /// # Errors
    /// When there is none: the stream has ended.
    pub async fn tap(&mut self, frame: Bytes) -> Result<Bytes, CallFailed> {
        self.taps.send_data(frame, false)?;
        loop {
            if let Some(message) = next_message(&mut self.read)? {
                return Ok(message);
            }
            let Some(chunk) = self.answers.data().await else {
                let trailers = self.answers.trailers().await?;
                succeeded(&trailers.unwrap_or_default())?;
                return Err(CallFailed::Frame);
            };
            let chunk = chunk?;
            self.answers.flow_control().release_capacity(chunk.len())?;
            self.read.extend_from_slice(&chunk);
        }
    }
}

/// Takes the first message off what was read, when it is there whole.
fn next_message(read: &mut BytesMut) -> Result<Option<Bytes>, CallFailed> {
    let Some(&[flag, a, b, c, d]) = read.first_chunk::<5>() else { return Ok(None) };
    if flag != 0 {
        return Err(CallFailed::Frame);
    }
    let whole = 5 + u32::from_be_bytes([a, b, c, d]) as usize;
    Ok((read.len() >= whole).then(|| read.split_to(whole).freeze().slice(5..)))
}

fn joined(first: &[u8], second: &[u8]) -> Bytes {
    let mut both = BytesMut::with_capacity(first.len() + second.len());
    both.extend_from_slice(first);
    both.extend_from_slice(second);
    both.freeze()
}

fn succeeded(trailers: &HeaderMap) -> Result<(), CallFailed> {
    let text = |name: &str| {
        let value = trailers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    match trailers.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        Some(_) | None => {
            Err(CallFailed::Grpc { status: text("grpc-status"), message: text("grpc-message") })
        }
    }
}

fn unframed(mut framed: Bytes) -> Result<Bytes, CallFailed> {
    let Some(&[flag, a, b, c, d]) = framed.first_chunk::<5>() else {
        return Err(CallFailed::Frame);
    };
    let message = framed.split_off(5);
    if flag == 0 && u32::from_be_bytes([a, b, c, d]) as usize == message.len() {
        Ok(message)
    } else {
        Err(CallFailed::Frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_plain_message_is_an_answer() {
        let message = |bytes: &'static [u8]| unframed(Bytes::from_static(bytes)).ok();
        assert_eq!(message(&[0, 0, 0, 0, 2, 7, 8]), Some(Bytes::from_static(&[7, 8])));
        assert_eq!(message(&[0, 0, 0, 0, 0]), Some(Bytes::new()));
        for broken in [&[][..], &[0, 0, 0], &[0, 0, 0, 0, 2, 7], &[0, 0, 0, 0, 1, 7, 8], &[1, 0, 0, 0, 1, 7]]
        {
            assert_eq!(message(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn messages_of_a_stream_are_taken_one_by_one_however_they_are_cut() {
        let stream = [0, 0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9];
        for cut in 1..=stream.len() {
            let (mut read, mut messages) = (BytesMut::new(), Vec::new());
            for chunk in stream.chunks(cut) {
                read.extend_from_slice(chunk);
                while let Some(message) = next_message(&mut read).expect("plain") {
                    messages.push(message);
                }
            }
            assert_eq!(messages, [&[7, 8][..], &[], &[9]], "in chunks of {cut}");
        }
        assert!(next_message(&mut BytesMut::from(&[1, 0, 0, 0, 0][..])).is_err(), "compressed");
    }

    #[test]
    fn an_answer_without_a_status_is_no_success() {
        let mut trailers = HeaderMap::new();
        assert!(succeeded(&trailers).is_err());
        trailers.insert("grpc-status", HeaderValue::from_static("7"));
        trailers.insert("grpc-message", HeaderValue::from_static("not here"));
        assert_eq!(succeeded(&trailers).expect_err("7").to_string(), "gRPC status 7: not here");
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        assert!(succeeded(&trailers).is_ok());
    }
}
