//! Promises of the certificates, judged by the TLS library that will judge them.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, sync::Arc};

use rustls::{
    RootCertStore,
    client::danger::ServerCertVerifier,
    pki_types::{ServerName, UnixTime},
    server::WebPkiClientVerifier,
};
use x509_parser::extensions::GeneralName;

use super::*;
use crate::model::{ManualClock, SystemRng};

const NOW_MS: i64 = 1_790_000_000_000;

struct Folder {
    folder: tempfile::TempDir,
    clock: ManualClock,
}

impl Folder {
    fn completed() -> Self {
        let this = Folder { folder: tempfile::tempdir().expect("a folder"), clock: ManualClock::at(NOW_MS) };
        this.complete();
        this
    }

    fn pki(&self) -> Pki<'_> {
        Pki::at(self.folder.path(), &self.clock, &SystemRng)
    }

    fn complete(&self) {
        let regions = [PkiRegion { name: "beijing".to_owned(), code: 110_000 }];
        let gate = |name: &str| PkiTerminal {
            name: name.to_owned(),
            participant: "bj-metro".to_owned(),
            terminal: name.to_owned(),
        };
        self.pki().complete(&regions, &[gate("gate-01"), gate("gate-02")]).expect("made");
    }

    fn der(&self, name: &str) -> CertificateDer<'static> {
        let pem = fs::read(self.folder.path().join(name)).expect("it is there");
        CertificateDer::from_pem_slice(&pem).expect("PEM")
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der("ca.pem")).expect("an authority");
        Arc::new(roots)
    }

    /// Whether a gateway that reads the list lets the terminal in.
    fn lets_in(&self, terminal: &str) -> bool {
        let pem = fs::read(self.folder.path().join("revoked.crl")).expect("it is there");
        let list = CertificateRevocationListDer::from_pem_slice(&pem).expect("PEM");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider)
            .with_crls([list])
            .build()
            .expect("the list parses");
        verifier.verify_client_cert(&self.der(terminal), &[], now()).is_ok()
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut folders = vec![self.folder.path().to_owned()];
        let mut files = BTreeMap::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.insert(path.clone(), fs::read(path).expect("a file"));
                }
            }
        }
        files
    }
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(NOW_MS as u64))
}

#[test]
fn a_second_run_changes_nothing_and_a_missing_pair_is_made_again() {
    let folder = Folder::completed();
    let before = folder.files();
    folder.complete();
    assert_eq!(before, folder.files());
    let lost = folder.folder.path().join("terminals/gate-01.key");
    fs::remove_file(&lost).expect("removed");
    folder.complete();
    assert_ne!(before[&lost], folder.files()[&lost]);
    assert!(folder.lets_in("terminals/gate-01.pem"), "the same authority signed it");
}

#[test]
fn keys_are_their_owners_alone() {
    let folder = Folder::completed();
    let keys: Vec<_> =
        folder.files().into_keys().filter(|path| path.extension().is_some_and(|e| e == "key")).collect();
    assert_eq!(keys.len(), 5, "authority, server, peer, two gates: {keys:?}");
    for key in keys {
        assert_eq!(fs::metadata(&key).expect("a file").permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_server_is_believed_under_its_names_and_a_terminal_is_no_server() {
    let folder = Folder::completed();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(folder.roots(), provider)
        .build()
        .expect("roots");
    let believed = |file: &str, name: &str| {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        verifier.verify_server_cert(&folder.der(file), &[], &name, &[], now()).is_ok()
    };
    for name in ["localhost", "127.0.0.1", "beijing.onecard"] {
        assert!(believed("servers/beijing.pem", name), "{name}");
    }
    assert!(believed("peers/beijing.pem", "peer.beijing.onecard"));
    assert!(!believed("servers/beijing.pem", "tianjin.onecard"));
    assert!(!believed("terminals/gate-01.pem", "localhost"));
}

#[test]
fn terminals_and_peers_are_let_in_and_servers_are_not() {
    let folder = Folder::completed();
    assert!(folder.lets_in("terminals/gate-01.pem"));
    assert!(folder.lets_in("peers/beijing.pem"));
    assert!(!folder.lets_in("servers/beijing.pem"));
}

#[test]
fn a_revoked_terminal_is_shut_out_and_stays_out() {
    let folder = Folder::completed();
    folder.pki().revoke_terminal("gate-01").expect("revoked");
    assert!(!folder.lets_in("terminals/gate-01.pem"));
    assert!(folder.lets_in("terminals/gate-02.pem"));
    folder.pki().revoke_terminal("gate-02").expect("revoked");
    folder.pki().revoke_terminal("gate-02").expect("again");
    folder.complete();
    assert!(!folder.lets_in("terminals/gate-01.pem"), "who was revoked before is revoked still");
    assert!(!folder.lets_in("terminals/gate-02.pem"));
    let (number, serials) = folder.pki().read_revocations().expect("a list");
    assert_eq!((number, serials.len()), (3, 2));
}

#[test]
fn a_certificate_names_its_terminal_and_serials_differ() {
    let folder = Folder::completed();
    let names = |file: &str| {
        let der = folder.der(file);
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
        let names = certificate.subject_alternative_name().expect("sound").expect("there is one");
        let uri = names.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
        (uri.unwrap_or_default(), certificate.raw_serial().to_vec())
    };
    let (gate, one) = names("terminals/gate-01.pem");
    let (peer, other) = names("peers/beijing.pem");
    assert_eq!(gate, "onecard:terminal:bj-metro:gate-01");
    assert_eq!(peer, "onecard:peer:110000");
    assert_ne!(one, other);
}

#[test]
fn a_name_cannot_leave_the_folder() {
    let folder = Folder::completed();
    for name in ["../ca", "", ".hidden", "a/b"] {
        assert!(matches!(folder.pki().revoke_terminal(name), Err(PkiError::Name(_))), "{name}");
    }
}
