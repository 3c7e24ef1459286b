//! Who is on the other end of a connection, as the accept loop saw it, and how
//! long a call may take. The types stand this low because `net` makes them and
//! `api`, `federation` and `gateway` read them from a request's extensions.

use std::{fmt, str::FromStr, time::Instant};

use super::{BadId, Millis, ParticipantId, TerminalId};

/// A connection of this process; never used again while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// When the caller stops waiting. Work that cannot be answered by then is not
/// worth beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

/// The client certificate of a connection, read once after the handshake that
/// verified it. In a request's extensions as `Arc<PeerCertificate>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Serial number, lower-case hexadecimal without leading zero bytes.
    pub serial: String,
    /// End of validity.
    pub not_after: Millis,
    /// Common name of the subject; for people, decides nothing.
    pub common_name: Option<String>,
    /// Subject alternative names of kind URI, in order.
    pub uris: Vec<String>,
    /// SHA-256 of the DER certificate.
    pub fingerprint: [u8; 32],
}

impl PeerCertificate {
    /// Who the certificate says this is: its only `onecard:` URI. A certificate
    /// with none, with one that is not well formed, or with two is nobody.
    pub fn identity(&self) -> Option<CertIdentity> {
        let mut ours = self.uris.iter().filter(|uri| uri.starts_with("onecard:"));
        let identity = ours.next()?.parse().ok()?;
        match ours.next() {
            None => Some(identity),
            Some(_) => None,
        }
    }
}

/// What a certificate's `onecard:` URI names. What it may do is the registry's
/// to say, not the certificate's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertIdentity {
    /// `onecard:terminal:<participant>:<terminal>`
    Terminal { participant: ParticipantId, terminal: TerminalId },
    /// `onecard:peer:<province>`, the six-digit code of a region's province.
    Peer { province: u32 },
}

impl FromStr for CertIdentity {
    type Err = BadId;

    fn from_str(uri: &str) -> Result<Self, BadId> {
        let bad = BadId {
            what: "certificate identity",
            expected: "onecard:terminal:<participant>:<terminal> or onecard:peer:<province>",
        };
        let mut parts = uri.split(':');
        let (scheme, kind, first, second) = (parts.next(), parts.next(), parts.next(), parts.next());
        match (scheme, kind, first, second, parts.next()) {
            (Some("onecard"), Some("terminal"), Some(participant), Some(terminal), None) => {
                Ok(CertIdentity::Terminal { participant: participant.parse()?, terminal: terminal.parse()? })
            }
            (Some("onecard"), Some("peer"), Some(province), None, None)
                if province.len() == 6 && province.bytes().all(|b| b.is_ascii_digit()) =>
            {
                province.parse().map(|province| CertIdentity::Peer { province }).map_err(|_| bad)
            }
            _ => Err(bad),
        }
    }
}

impl fmt::Display for CertIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertIdentity::Terminal { participant, terminal } => {
                write!(f, "onecard:terminal:{participant}:{terminal}")
            }
            CertIdentity::Peer { province } => write!(f, "onecard:peer:{province:06}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uris: &[&str], expect: Option<&str>) {
        let certificate = PeerCertificate {
            serial: "01".into(),
            not_after: 0,
            common_name: None,
            uris: uris.iter().map(|uri| uri.to_string()).collect(),
            fingerprint: [0; 32],
        };
        assert_eq!(
            certificate.identity().map(|identity| identity.to_string()).as_deref(),
            expect,
            "{uris:?}"
        );
    }

    #[test]
    fn a_certificate_is_somebody_by_exactly_one_well_formed_uri() {
        check(&["onecard:terminal:bj-metro:gate-01"], Some("onecard:terminal:bj-metro:gate-01"));
        check(&["onecard:peer:120000"], Some("onecard:peer:120000"));
        check(&["https://example.org", "onecard:peer:130000"], Some("onecard:peer:130000"));
        check(&[], None);
        check(&["onecard:terminal:bj-metro"], None);
        check(&["onecard:terminal:bj-metro:gate-01:x"], None);
        check(&["onecard:terminal:BJ:gate"], None);
        check(&["onecard:peer:12"], None);
        check(&["onecard:peer:+12000"], None);
        check(&["onecard:peer:120000", "onecard:terminal:bj-metro:gate-01"], None);
    }
}
