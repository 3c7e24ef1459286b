//! A small authority for the tests: server and client certificates, revocation
//! lists, written as the files an operator would have.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::net::TlsOptions;

pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
    serials: AtomicU64,
}

/// What a client holds.
pub(super) struct Holder {
    pub(super) serial: u64,
    pub(super) config: Arc<ClientConfig>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let authority = Authority {
            issuer,
            directory: TempDir::new().expect("a directory"),
            serials: AtomicU64::new(100),
        };
        fs::write(authority.path("roots.pem"), authority.issuer.pem()).expect("written");
        authority.renew_server();
        authority
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    pub(super) fn options(&self) -> TlsOptions {
        TlsOptions {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_roots: self.path("roots.pem"),
            revocation_lists: Vec::new(),
            enforce_revocation_expiry: false,
        }
    }

    pub(super) fn options_with_list(&self) -> TlsOptions {
        TlsOptions { revocation_lists: vec![self.path("revoked.pem")], ..self.options() }
    }

    /// Writes a new server certificate and key.
    pub(super) fn renew_server(&self) {
        let mut params = CertificateParams::new(vec!["localhost".into()]).expect("parameters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(self.path("server.pem"), certificate.pem()).expect("written");
        fs::write(self.path("server.key"), key.serialize_pem()).expect("written");
    }

    /// Writes the revocation list that names `serials`, made on that day of 2026.
    pub(super) fn revoke(&self, serials: &[u64], day: u8) {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 1, day),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, day),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(u64::from(day)),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a list");
        fs::write(self.path("revoked.pem"), list.pem().expect("PEM")).expect("written");
    }

    /// A client certificate with this URI.
    pub(super) fn holder(&self, uri: &str) -> Holder {
        self.holder_trusting(self, uri)
    }

    /// A client certificate of this authority for a server of another.
    pub(super) fn holder_trusting(&self, server: &Authority, uri: &str) -> Holder {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
        params.distinguished_name.push(DnType::CommonName, "a terminal");
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        Holder { serial, config: server.client(Some((certificate.der().clone(), key))) }
    }

    /// A client without a certificate.
    pub(super) fn nobody(&self) -> Arc<ClientConfig> {
        self.client(None)
    }

    fn client(&self, shown: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let mut config = match shown {
            Some((certificate, key)) => {
                config.with_client_auth_cert(vec![certificate], key).expect("they fit")
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}
