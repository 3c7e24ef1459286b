//! Checks revocation lists as a whole before they are taken: TLS itself looks at
//! a list only when a client comes, and a wrong one would then lock everyone
//! out.

use std::collections::HashMap;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    revocation_list::CertificateRevocationList,
};

use super::tls::TlsOptions;
use crate::{model::Millis, telemetry::metrics};

/// What is wrong with a revocation list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationProblem {
    #[error("one of them, or a client root, cannot be read")]
    Unreadable,
    #[error("the list of {issuer} is by no client root")]
    UnknownIssuer { issuer: String },
    #[error("the signature of the list of {issuer} is wrong")]
    BadSignature { issuer: String },
    #[error("the list of {issuer} is older than the one in force")]
    Older { issuer: String },
    #[error("the list of {issuer} has expired and expiry is enforced")]
    Expired { issuer: String },
    #[error("client root {root} has none, so nobody it certified would be let in")]
    Missing { root: String },
}

/// What is remembered of the lists in force: when each issuer's was made.
#[derive(Debug, Default)]
pub(super) struct RevocationLists {
    made_at: HashMap<Vec<u8>, i64>,
}

impl RevocationLists {
    /// Every list must be signed by a client root, be no older than the one in
    /// force, and every root must have one; no list at all is allowed.
    pub(super) fn check(
        lists: &[CertificateRevocationListDer<'_>],
        roots: &[CertificateDer<'_>],
        in_force: Option<&RevocationLists>,
        options: &TlsOptions,
        now: Millis,
    ) -> Result<RevocationLists, RevocationProblem> {
        let roots = roots
            .iter()
            .map(|root| X509Certificate::from_der(root).map(|(_, root)| root))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| RevocationProblem::Unreadable)?;
        let mut known = RevocationLists::default();
        let mut first_expiry = Millis::MAX;
        for der in lists {
            let (_, list) =
                CertificateRevocationList::from_der(der).map_err(|_| RevocationProblem::Unreadable)?;
            let issuer = list.issuer().to_string();
            check_signature(&list, &roots)?;
            let made_at = list.last_update().timestamp();
            let key = list.issuer().as_raw().to_vec();
            if in_force.and_then(|old| old.made_at.get(&key)).is_some_and(|old| made_at < *old) {
                return Err(RevocationProblem::Older { issuer });
            }
            if let Some(until) = list.next_update() {
                let until = until.timestamp().saturating_mul(1_000);
                if options.enforce_revocation_expiry && until < now {
                    return Err(RevocationProblem::Expired { issuer });
                }
                first_expiry = first_expiry.min(until);
            }
            let newest = known.made_at.entry(key).or_insert(made_at);
            *newest = made_at.max(*newest);
        }
        if let Some(root) = roots
            .iter()
            .find(|root| !lists.is_empty() && !known.made_at.contains_key(root.subject().as_raw()))
        {
            return Err(RevocationProblem::Missing { root: root.subject().to_string() });
        }
        metrics::revocation_lists_expire((first_expiry != Millis::MAX).then_some(first_expiry));
        Ok(known)
    }
}

fn check_signature(
    list: &CertificateRevocationList<'_>,
    roots: &[X509Certificate<'_>],
) -> Result<(), RevocationProblem> {
    let issuer = || list.issuer().to_string();
    let mut named = roots.iter().filter(|root| root.subject() == list.issuer()).peekable();
    if named.peek().is_none() {
        return Err(RevocationProblem::UnknownIssuer { issuer: issuer() });
    }
    if named.any(|root| list.verify_signature(root.public_key()).is_ok()) {
        Ok(())
    } else {
        Err(RevocationProblem::BadSignature { issuer: issuer() })
    }
}
