//! With roots named, nothing is said to a server that cannot show a certificate
//! under them.

use std::{fs, net::TcpListener, path::PathBuf};

use onecard::{
    model::{SystemClock, SystemRng},
    sandbox::pki::{Pki, PkiRegion},
    store::*,
};
use tempfile::TempDir;

use crate::{server::Server, units::*, world::*};

/// An authority with one certificate for servers on this machine.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let region = PkiRegion { name: "database".to_owned(), code: 110_000 };
        Pki::at(folder.path(), &SystemClock, &SystemRng).complete(&[region], &[]).expect("certificates");
        Authority(folder)
    }

    fn roots(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).expect("readable")
    }
}

/// A server on a port, with the certificate of an authority or without; the address
/// of a database on it.
fn serve(authority: Option<&Authority>) -> (Server, String) {
    let server = Server::start("");
    let database = server.database();
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = free.expect("a free port").port();
    server.stop_at_once();
    server.configure(&format!("listen_addresses = '127.0.0.1'\nport = {port}\nlog_connections = on\n"));
    if let Some(authority) = authority {
        let (certificate, key) =
            (authority.read("servers/database.pem"), authority.read("servers/database.key"));
        server.encrypt(&certificate, &key);
    }
    server.run();
    (server, format!("host=127.0.0.1 port={port} user=postgres dbname={database}"))
}

async fn open_with(url: &str, roots: Option<PathBuf>) -> Result<Open, PostgresOpenError> {
    World::at(url.to_owned(), 1).try_node("node-1", |options| options.tls_roots = roots).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_believed_by_its_certificate_alone() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (server, url) = serve(Some(&authority));

    let open = open_with(&url, Some(authority.roots())).await.expect("the right authority");
    open.commit(tap(1, 1, 1)).await.expect("committed");
    open.close().await;
    let log = server.log();
    let authorized = log.lines().filter(|line| line.contains("connection authorized"));
    let ours: Vec<_> = authorized.filter(|line| line.contains("application_name=onecard node-1")).collect();
    assert!(ours.len() > 1 && ours.iter().all(|line| line.contains("SSL enabled")), "{log}");

    for url in [url.clone(), format!("{url} sslmode=disable"), format!("{url} sslmode=prefer")] {
        let refused = open_with(&url, Some(stranger.roots())).await.err().expect("another authority");
        let told = refused.to_string();
        assert!(told.contains("invalid peer certificate") && told.contains("tls_roots"), "{told}");
    }

    let unchecked = open_with(&url, None).await.err();
    assert!(matches!(unchecked, Some(PostgresOpenError::Undialable(_))), "{unchecked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_where_roots_are_named() {
    let (server, url) = serve(None);
    let refused = open_with(&url, Some(Authority::new().roots())).await.err().expect("no TLS");
    let told = refused.to_string();
    assert!(told.contains("does not support TLS") && told.contains("tls_roots"), "{told}");
    assert!(!server.log().contains("connection authorized"), "nothing was said to it in the clear");
    open_with(&format!("{url} sslmode=disable"), None)
        .await
        .expect("where the operator says so")
        .close()
        .await;
}
