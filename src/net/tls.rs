//! TLS of the listener: what it shows, whom it believes, and how both are
//! exchanged while calls go on.
//!
//! * TLS 1.3 only; a client certificate is required; ALPN `h2` only.
//! * The server's key is ECDSA (P-256 in practice: some gRPC stacks take no
//!   Ed25519).
//! * **No session tickets**: a resumed session would skip the check of the client
//!   certificate, and a full handshake costs 0.3 ms.
//! * **Revocation**: with no list configured nothing is looked up. With lists, each
//!   client root needs one, the whole chain is checked, and a certificate whose
//!   status no list tells is refused. A list past its `nextUpdate` goes on being
//!   used unless `enforce-revocation-expiry` is set: it still refuses everyone it
//!   names, and a forgotten copy job must not close a city's gates. Its age is on
//!   a metric.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig, SignatureAlgorithm,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime, pem::PemObject,
};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::revocation::{RevocationLists, RevocationProblem};
use crate::{
    model::{Clock, Millis},
    telemetry::metrics,
};

/// The files of the listener's TLS, all PEM.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TlsOptions {
    /// The server's certificate and its chain.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// Authorities whose client certificates are believed.
    pub client_roots: PathBuf,
    /// Revocation lists of those authorities; empty means none is checked.
    #[serde(default)]
    pub revocation_lists: Vec<PathBuf>,
    /// Refuse every client once a list is past its `nextUpdate`.
    #[serde(default)]
    pub enforce_revocation_expiry: bool,
}

/// Why TLS material was not taken. What was in force stays in force.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {why}", path.display())]
    Read { path: PathBuf, why: io::Error },
    #[error("{} holds no {what}", path.display())]
    Empty { path: PathBuf, what: &'static str },
    #[error("{} is not PEM: {why}", path.display())]
    Pem { path: PathBuf, why: rustls_pki_types::pem::Error },
    #[error("the server key in {} is not ECDSA", path.display())]
    NotEcdsa { path: PathBuf },
    #[error("{} holds a certificate that cannot be read", path.display())]
    Certificate { path: PathBuf },
    #[error("the server certificate is valid from {from} to {to} (milliseconds), and now is {now}")]
    OutOfTime { from: Millis, to: Millis, now: Millis },
    #[error("revocation lists: {0}")]
    Revocation(#[from] RevocationProblem),
    #[error("the material does not fit together: {0}")]
    Unfit(#[from] rustls::Error),
    #[error("the client roots do not make a verifier: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// One complete, checked set of TLS material.
pub(super) struct Material {
    /// Counts up with every set taken.
    pub(super) generation: u64,
    pub(super) server: Arc<ServerConfig>,
    clients: Arc<dyn ClientCertVerifier>,
    lists: RevocationLists,
}

impl Material {
    /// Whether a chain that a client showed earlier would be let in now.
    pub(super) fn still_lets_in(&self, chain: &[CertificateDer<'static>]) -> bool {
        match chain.split_first() {
            Some((leaf, rest)) => self.clients.verify_client_cert(leaf, rest, UnixTime::now()).is_ok(),
            None => false,
        }
    }
}

/// The material in force; shared by the accept loop and whoever reloads.
pub struct TlsState {
    options: Mutex<TlsOptions>,
    current: ArcSwap<Material>,
    changed: watch::Sender<u64>,
    clock: Arc<dyn Clock>,
}

impl TlsState {
    /// Reads and checks all files.
    pub fn load(options: TlsOptions, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let first = read(&options, None, &*clock, 1)?;
        Ok(TlsState {
            options: Mutex::new(options),
            current: ArcSwap::from_pointee(first),
            changed: watch::channel(1).0,
            clock,
        })
    }

    /// Reads all files again, checks them whole, and takes them: new connections
    /// use them at once, and connections they no longer let in are closed. On an
    /// error nothing changes.
    pub fn reload(&self) -> Result<(), TlsError> {
        let options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        self.take(&options)
    }

    /// As [`reload`](Self::reload), from other files.
    pub fn reload_from(&self, changed: TlsOptions) -> Result<(), TlsError> {
        let mut options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        self.take(&changed)?;
        *options = changed;
        Ok(())
    }

    /// The caller holds the lock on the options, so two reloads never interleave.
    fn take(&self, options: &TlsOptions) -> Result<(), TlsError> {
        let old = self.current.load_full();
        let fresh = read(options, Some(&old.lists), &*self.clock, old.generation + 1)
            .inspect_err(|_| metrics::tls_reload(false))?;
        metrics::tls_reload(true);
        let generation = fresh.generation;
        self.current.store(Arc::new(fresh));
        self.changed.send_replace(generation);
        Ok(())
    }

    /// How many sets of material have been taken; 1 after start.
    pub fn generation(&self) -> u64 {
        self.current.load().generation
    }

    pub(super) fn current(&self) -> Arc<Material> {
        self.current.load_full()
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

fn read(
    options: &TlsOptions,
    in_force: Option<&RevocationLists>,
    clock: &dyn Clock,
    generation: u64,
) -> Result<Material, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(&options.certificate)?;
    check_validity(&chain[0], &options.certificate, clock.now_ms())?;
    let key = private_key(&options.key, &provider)?;
    let roots = certificates(&options.client_roots)?;
    let lists = read_lists(&options.revocation_lists)?;
    let known = RevocationLists::check(&lists, &roots, in_force, options, clock.now_ms())?;

    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root)?;
    }
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider.clone());
    if !lists.is_empty() {
        verifier = verifier.with_crls(lists);
    }
    if options.enforce_revocation_expiry {
        verifier = verifier.enforce_revocation_expiration();
    }
    let clients = verifier.build()?;

    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients.clone())
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Material { generation, server: Arc::new(server), clients, lists: known })
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|why| TlsError::Read { path: path.to_owned(), why })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(&bytes_of(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| TlsError::Pem { path: path.to_owned(), why })?;
    if found.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned(), what: "certificate" });
    }
    Ok(found)
}

fn private_key(path: &Path, provider: &CryptoProvider) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = zeroize::Zeroizing::new(bytes_of(path)?);
    let key =
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|why| TlsError::Pem { path: path.to_owned(), why })?;
    let signer = provider.key_provider.load_private_key(key.clone_key())?;
    if signer.algorithm() != SignatureAlgorithm::ECDSA {
        return Err(TlsError::NotEcdsa { path: path.to_owned() });
    }
    Ok(key)
}

fn read_lists(paths: &[PathBuf]) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let mut lists = Vec::new();
    for path in paths {
        let before = lists.len();
        for list in CertificateRevocationListDer::pem_slice_iter(&bytes_of(path)?) {
            lists.push(list.map_err(|why| TlsError::Pem { path: path.clone(), why })?);
        }
        if lists.len() == before {
            return Err(TlsError::Empty { path: path.clone(), what: "revocation list" });
        }
    }
    Ok(lists)
}

fn check_validity(leaf: &CertificateDer<'_>, path: &Path, now: Millis) -> Result<(), TlsError> {
    let (_, leaf) =
        X509Certificate::from_der(leaf).map_err(|_| TlsError::Certificate { path: path.to_owned() })?;
    let from = leaf.validity().not_before.timestamp().saturating_mul(1_000);
    let to = leaf.validity().not_after.timestamp().saturating_mul(1_000);
    if now < from || now > to {
        return Err(TlsError::OutOfTime { from, to, now });
    }
    metrics::server_certificate_expires(to);
    Ok(())
}
