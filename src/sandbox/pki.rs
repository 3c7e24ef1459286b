//! The sandbox's certificates: one authority, a server and a peer certificate a
//! region, one certificate a terminal, one revocation list. ECDSA P-256, because
//! not every gRPC client takes Ed25519. Production certificates come from the
//! participant's own authority; nothing here is used there.
//!
//! Only what is missing is made, so running it again changes nothing. Key files
//! are readable by their owner alone. Not here: SM2 keys (the vault's) and what
//! a server makes of a certificate (`net`).

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
use x509_parser::prelude::FromDer;

use crate::model::{Clock, Rng};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const AUTHORITY_DAYS: u32 = 3_650;
const CERTIFICATE_DAYS: u32 = 825;

/// A region that needs a server and a peer certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PkiRegion {
    /// Folder name, for example `beijing`.
    pub name: String,
    /// GB/T 2260 province, 6 digits.
    pub code: u32,
}

/// A terminal that needs a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PkiTerminal {
    /// File name, for example `bj-gate-01`.
    pub name: String,
    pub participant: String,
    pub terminal: String,
}

/// The certificates cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("`{path}` cannot be used: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("`{path}` is no certificate, key or list of ours: {detail}")]
    Unreadable { path: PathBuf, detail: String },
    #[error("a certificate cannot be made: {0}")]
    Made(#[from] rcgen::Error),
    #[error("`{0}` is no file name for a certificate")]
    Name(String),
}

/// The folder `pki/` of a sandbox.
pub struct Pki<'a> {
    folder: PathBuf,
    clock: &'a dyn Clock,
    rng: &'a dyn Rng,
}

/// What one certificate says.
struct Wanted<'a> {
    common_name: &'a str,
    names: Vec<SanType>,
    usages: Vec<ExtendedKeyUsagePurpose>,
}

impl<'a> Pki<'a> {
    /// Works in `folder`, which need not exist yet.
    pub fn at(folder: &Path, clock: &'a dyn Clock, rng: &'a dyn Rng) -> Self {
        Pki { folder: folder.to_owned(), clock, rng }
    }

    /// Makes every certificate, key and list that is missing.
    ///
    /// # Errors
    /// When a file cannot be written, or one that is there cannot be read.
    pub fn complete(&self, regions: &[PkiRegion], terminals: &[PkiTerminal]) -> Result<(), PkiError> {
        let authority = self.authority()?;
        for region in regions {
            self.certificate(&authority, &Path::new("servers").join(file_name(&region.name)?), || {
                server(region)
            })?;
            self.certificate(&authority, &Path::new("peers").join(file_name(&region.name)?), || {
                peer(region)
            })?;
        }
        for terminal in terminals {
            let path = Path::new("terminals").join(file_name(&terminal.name)?);
            self.certificate(&authority, &path, || client(terminal))?;
        }
        if !self.revocation_list_path().exists() {
            self.write_revocations(&authority, 1, Vec::new())?;
        }
        Ok(())
    }

    /// Revokes a terminal's certificate: writes a new list that names it and all
    /// that were named before. Revoking twice names it once.
    ///
    /// # Errors
    /// When the terminal has no certificate or a file cannot be used.
    pub fn revoke_terminal(&self, name: &str) -> Result<(), PkiError> {
        let path = self.path("terminals").join(format!("{}.pem", file_name(name)?));
        let der = CertificateDer::from_pem_slice(&read(&path)?).map_err(|error| unreadable(&path, error))?;
        let (_, certificate) =
            x509_parser::parse_x509_certificate(&der).map_err(|error| unreadable(&path, error))?;
        let serial = certificate.raw_serial().to_vec();
        let (number, mut revoked) = self.read_revocations()?;
        if !revoked.contains(&serial) {
            revoked.push(serial);
            self.write_revocations(&self.authority()?, number + 1, revoked)?;
        }
        Ok(())
    }

    /// PEM of the authority's certificate.
    pub fn authority_path(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// PEM of the revocation list.
    pub fn revocation_list_path(&self) -> PathBuf {
        self.path("revoked.crl")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn authority(&self) -> Result<Issuer<'static, KeyPair>, PkiError> {
        let (key_path, path) = (self.path("ca.key"), self.authority_path());
        if key_path.exists() && path.exists() {
            let key = KeyPair::from_pem(&text(&key_path)?).map_err(|error| unreadable(&key_path, error))?;
            return Issuer::from_ca_cert_pem(&text(&path)?, key).map_err(|error| unreadable(&path, error));
        }
        let key = KeyPair::generate()?;
        let mut params = self.params("onecard sandbox authority", AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        write_secret(&key_path, key.serialize_pem().as_bytes())?;
        write_public(&path, certificate.pem().as_bytes())?;
        Ok(Issuer::new(params, key))
    }

    fn certificate(
        &self,
        authority: &Issuer<'_, KeyPair>,
        name: &Path,
        wanted: impl FnOnce() -> Result<Wanted<'static>, PkiError>,
    ) -> Result<(), PkiError> {
        // Names may hold dots, so the ending is added, not exchanged.
        let ended = |ending: &str| self.folder.join(format!("{}.{ending}", name.display()));
        let (key_path, path) = (ended("key"), ended("pem"));
        if key_path.exists() && path.exists() {
            return Ok(());
        }
        let wanted = wanted()?;
        let key = KeyPair::generate()?;
        let mut params = self.params(wanted.common_name, CERTIFICATE_DAYS);
        params.subject_alt_names = wanted.names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = wanted.usages;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, authority)?;
        write_secret(&key_path, key.serialize_pem().as_bytes())?;
        write_public(&path, certificate.pem().as_bytes())
    }

    fn params(&self, common_name: &str, days: u32) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "onecard sandbox");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(self.serial());
        let now = date_time_ymd(1970, 1, 1) + self.since_epoch();
        // A day of grace for machines whose clock is behind.
        params.not_before = now - DAY;
        params.not_after = now + DAY * days;
        params
    }

    /// 16 random bytes, positive.
    fn serial(&self) -> SerialNumber {
        let mut bytes = [0; 16];
        self.rng.fill(&mut bytes);
        bytes[0] = (bytes[0] & 0x7f) | 0x01;
        SerialNumber::from_slice(&bytes)
    }

    fn since_epoch(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.clock.now_ms()).unwrap_or(0))
    }

    /// Number of the present list and the serials it names.
    fn read_revocations(&self) -> Result<(u64, Vec<Vec<u8>>), PkiError> {
        let path = self.revocation_list_path();
        let der = CertificateRevocationListDer::from_pem_slice(&read(&path)?)
            .map_err(|error| unreadable(&path, error))?;
        let (_, list) = x509_parser::revocation_list::CertificateRevocationList::from_der(&der)
            .map_err(|error| unreadable(&path, error))?;
        let number = list
            .crl_number()
            .and_then(|number| number.to_u64_digits().first().copied())
            .ok_or_else(|| unreadable(&path, "it has no number"))?;
        let serials = list.iter_revoked_certificates().map(|revoked| revoked.raw_serial().to_vec()).collect();
        Ok((number, serials))
    }

    fn write_revocations(
        &self,
        authority: &Issuer<'_, KeyPair>,
        number: u64,
        serials: Vec<Vec<u8>>,
    ) -> Result<(), PkiError> {
        let now = date_time_ymd(1970, 1, 1) + self.since_epoch();
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: now,
            reason_code: Some(RevocationReason::Unspecified),
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: now - Duration::from_secs(60),
            next_update: now + DAY * CERTIFICATE_DAYS,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        write_public(&self.revocation_list_path(), list.signed_by(authority)?.pem()?.as_bytes())
    }
}

fn server(region: &PkiRegion) -> Result<Wanted<'static>, PkiError> {
    Ok(Wanted {
        common_name: "onecard gateway",
        names: vec![
            dns("localhost")?,
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            dns(&format!("{}.onecard", region.name))?,
        ],
        usages: vec![ExtendedKeyUsagePurpose::ServerAuth],
    })
}

/// A peer calls and is called, so its certificate serves both ways.
fn peer(region: &PkiRegion) -> Result<Wanted<'static>, PkiError> {
    Ok(Wanted {
        common_name: "onecard peer",
        names: vec![
            uri(&format!("onecard:peer:{:06}", region.code))?,
            dns(&format!("peer.{}.onecard", region.name))?,
            dns("localhost")?,
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ],
        usages: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    })
}

fn client(terminal: &PkiTerminal) -> Result<Wanted<'static>, PkiError> {
    Ok(Wanted {
        common_name: "onecard terminal",
        names: vec![uri(&format!("onecard:terminal:{}:{}", terminal.participant, terminal.terminal))?],
        usages: vec![ExtendedKeyUsagePurpose::ClientAuth],
    })
}

fn dns(name: &str) -> Result<SanType, PkiError> {
    Ok(SanType::DnsName(name.try_into()?))
}

fn uri(name: &str) -> Result<SanType, PkiError> {
    Ok(SanType::URI(name.try_into()?))
}

/// A name that stays in its folder.
fn file_name(name: &str) -> Result<&str, PkiError> {
    let fits = !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if fits { Ok(name) } else { Err(PkiError::Name(name.to_owned())) }
}

fn read(path: &Path) -> Result<Vec<u8>, PkiError> {
    fs::read(path).map_err(|source| PkiError::Io { path: path.to_owned(), source })
}

fn text(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::Io { path: path.to_owned(), source })
}

fn unreadable(path: &Path, detail: impl std::fmt::Display) -> PkiError {
    PkiError::Unreadable { path: path.to_owned(), detail: detail.to_string() }
}

fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    replace(path, bytes, 0o600)
}

fn write_public(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    replace(path, bytes, 0o644)
}

/// Writes beside and renames, so that a reader sees the old file or the new one.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    super::files::replace(path, bytes, mode).map_err(|source| PkiError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
