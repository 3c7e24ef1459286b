//! Reads the client certificate of a connection, once.

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use crate::model::PeerCertificate;

/// A certificate that TLS verified cannot be read as X.509 by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client certificate cannot be read")]
pub struct UnreadableCertificate;

/// Reads what the gateway wants to know of a verified client certificate.
pub fn read_certificate(der: &CertificateDer<'_>) -> Result<PeerCertificate, UnreadableCertificate> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| UnreadableCertificate)?;
    if !rest.is_empty() {
        return Err(UnreadableCertificate);
    }
    let names = certificate.subject_alternative_name().map_err(|_| UnreadableCertificate)?;
    let uris = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(uri.to_string()),
            _ => None,
        })
        .collect();
    let common_name = certificate
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .map(str::to_owned);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, der).as_ref());
    Ok(PeerCertificate {
        serial: serial_text(certificate.raw_serial()),
        not_after: certificate.validity().not_after.timestamp().saturating_mul(1_000),
        common_name,
        uris,
        fingerprint,
    })
}

/// A serial number as it stands in logs and registries.
pub fn serial_text(raw: &[u8]) -> String {
    let significant = raw.iter().position(|byte| *byte != 0).unwrap_or(raw.len().saturating_sub(1));
    hex::encode(&raw[significant..])
}
