//! A line that is cut in the middle of a commit: what became of it is found out
//! and told, never guessed.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use onecard::store::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UnixStream, tcp},
    sync::Notify,
};

use crate::{
    durable::BACK_WITHIN,
    server::{self, Server},
    units::*,
    world::*,
};

/// COMMIT as it goes over the line.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// Where the next commit's line is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The server never hears of the commit.
    BeforeCommit,
    /// The server has committed, and its answer is lost.
    AfterCommit,
    /// The client's side is cut and the server hears the commit later, when the
    /// test says so.
    CommitComesLate,
}

/// A line between store and server that can be cut.
struct Proxy {
    port: u16,
    armed: Mutex<Option<Cut>>,
    cuts: AtomicU32,
    late: Notify,
}

impl Proxy {
    async fn to(server: &Server) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let proxy =
            Arc::new(Proxy { port, armed: Mutex::default(), cuts: AtomicU32::new(0), late: Notify::new() });
        let (socket, accepting) = (server.socket(), Arc::clone(&proxy));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&socket).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (cut, heard) = tokio::sync::watch::channel(false);
                tokio::spawn(Arc::clone(&accepting).upstream(from_client, to_server, cut));
                tokio::spawn(downstream(from_server, to_client, heard));
            }
        });
        proxy
    }

    fn arm(&self, cut: Cut) {
        *self.armed.lock().expect("no panic") = Some(cut);
    }

    /// Carries what the client says until it ends, or until the commit at which the
    /// line is cut.
    async fn upstream(
        self: Arc<Self>,
        mut client: tcp::OwnedReadHalf,
        mut server: tokio::net::unix::OwnedWriteHalf,
        cut: tokio::sync::watch::Sender<bool>,
    ) {
        let mut held = Vec::new();
        loop {
            match client.read_buf(&mut held).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let commit = held.windows(COMMIT.len()).position(|window| window == COMMIT);
            let armed = match commit {
                Some(_) => self.armed.lock().expect("no panic").take(),
                None => None,
            };
            if let (Some(commit), Some(armed)) = (commit, armed) {
                // The answer is kept back from here on.
                cut.send_replace(true);
                self.cuts.fetch_add(1, Ordering::SeqCst);
                let _ = server.write_all(&held[..commit]).await;
                match armed {
                    Cut::BeforeCommit => {}
                    Cut::AfterCommit => {
                        let _ = server.write_all(&held[commit..]).await;
                    }
                    Cut::CommitComesLate => {
                        drop(client);
                        self.late.notified().await;
                        let _ = server.write_all(&held[commit..]).await;
                    }
                }
                return;
            }
            // The beginning of a commit waits for its rest.
            let keep = (1..COMMIT.len()).rev().find(|keep| held.ends_with(&COMMIT[..*keep])).unwrap_or(0);
            let rest = held.split_off(held.len() - keep);
            if server.write_all(&held).await.is_err() {
                return;
            }
            held = rest;
        }
    }
}

/// Carries what the server says, and cuts the client off once the line is cut.
async fn downstream(
    mut server: tokio::net::unix::OwnedReadHalf,
    mut client: tcp::OwnedWriteHalf,
    mut cut: tokio::sync::watch::Receiver<bool>,
) {
    let mut said = [0; 8_192];
    loop {
        tokio::select! {
            biased;
            changed = cut.changed() => {
                if changed.is_err() || *cut.borrow() {
                    break;
                }
            }
            read = server.read(&mut said) => match read {
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    if client.write_all(&said[..read]).await.is_err() {
                        break;
                    }
                }
            }
        }
    }
    drop(client);
    // The server must be able to say its word, or it would notice the cut.
    while server.read(&mut said).await.is_ok_and(|read| read > 0) {}
}

async fn behind(proxy: &Proxy, database: &str) -> World {
    let url = format!("host=127.0.0.1 port={} user=postgres dbname={database} sslmode=disable", proxy.port);
    World::at(url, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_found_and_answered() {
    let server = server::shared();
    let database = server.database();
    let proxy = Proxy::to(server).await;
    let world = behind(&proxy, &database).await;
    let open = world.open().await;
    open.commit(tap(1, 1, 1)).await.expect("committed");
    for number in 2..6 {
        proxy.arm(Cut::AfterCommit);
        let committed = open.commit(tap(number, number, 1)).await.expect("the outcome is found");
        assert!(!committed.replayed);
        world.assert_receipt(&committed);
        let found = open.store().find(&participant(), request(number)).await.expect("readable");
        let found = found.expect("there");
        assert_eq!(found.entry, committed.entry);
        assert_eq!(found.receipt, committed.receipt, "the receipt is the stored one");
    }
    assert_eq!(proxy.cuts.load(Ordering::SeqCst), 4);
    let stored = open.store().load(&code(1)).await.expect("readable").expect("there");
    assert_eq!(stored.revision, 5);
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrived_is_not_acknowledged() {
    let server = server::shared();
    let database = server.database();
    let proxy = Proxy::to(server).await;
    let world = behind(&proxy, &database).await;
    let open = world.open().await;
    for number in 0..4 {
        proxy.arm(Cut::BeforeCommit);
        let refused = open.commit(tap(number, number, 1)).await;
        assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
        assert!(open.store().find(&participant(), request(number)).await.expect("readable").is_none());
        let again = open.commit(tap(number, 100 + number, 1)).await.expect("the repeat is done");
        assert!(!again.replayed);
    }
    assert_eq!(proxy.cuts.load(Ordering::SeqCst), 4);
    assert_eq!(server.psql(&database, "SELECT count(*) FROM onecard.entries"), "4");
    let sequences = "SELECT string_agg(sequence::text, ' ' ORDER BY sequence) FROM onecard.batches";
    assert_eq!(server.psql(&database, sequences), "1 2 3 4", "the chain has no gap");
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_comes_late_is_waited_for() {
    let server = server::shared();
    let database = server.database();
    let proxy = Proxy::to(server).await;
    let world = behind(&proxy, &database).await;
    let open = Arc::new(world.open().await);
    proxy.arm(Cut::CommitComesLate);
    let committing = tokio::spawn({
        let open = Arc::clone(&open);
        async move { open.commit(tap(1, 1, 1)).await }
    });
    // The inquiry waits for the old transaction, which still holds the chain.
    let waits = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock' \
         AND query LIKE 'UPDATE onecard.writers%'"
    );
    let waiting = async {
        while server.psql(&database, &waits) == "0" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BACK_WITHIN, waiting).await.expect("the lane asks what became of it");
    assert!(!committing.is_finished(), "nobody is told anything before it is known");
    assert!(!open.store().is_ready());
    proxy.late.notify_one();
    let committed = committing.await.expect("no panic").expect("it was committed after all");
    world.assert_receipt(&committed);
    assert_eq!(server.psql(&database, "SELECT count(*) FROM onecard.entries"), "1");
    open.commit(tap(2, 2, 1)).await.expect("and it goes on");
}
