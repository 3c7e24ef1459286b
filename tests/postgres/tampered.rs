//! What was altered by hand afterwards is found.

use onecard::store::*;

use crate::{
    server::{self, Server},
    units::*,
    world::*,
};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_altered_is_found() {
    let server = server::shared();
    let database = server.database();
    let url = Server::url(&[server], &database);
    let world = World::at(url.clone(), 3);
    let open = world.open().await;
    for number in 0..40 {
        let tap = if number % 2 == 0 { tap_at_home } else { tap };
        open.commit(tap(number, number, (number % 7) as u8)).await.expect("committed");
    }
    let options = PostgresOptions::at(url.into(), 110_000, "auditor");
    let verifier = world.verifier();
    let report = PostgresStore::verify(&options, Some(&verifier)).await.expect("it holds while gateways run");
    assert_eq!((report.entries, report.postings), (40, 80));
    assert_eq!(report.signatures_checked, report.batches);
    assert!(report.chains >= 3, "{report:?}");
    open.close().await;

    for (altered, place) in [
        ("UPDATE onecard.entries SET status = 'declined' WHERE transaction_id = $$$$", "columns"),
        (
            "UPDATE onecard.entries SET public_part = public_part || '\\x00' WHERE transaction_id = $$$$",
            "hashed",
        ),
        ("UPDATE onecard.entries SET sealed_part = '' WHERE transaction_id = $$$$", "hashed"),
        ("DELETE FROM onecard.entries WHERE transaction_id = $$$$", "39 are there, 40 were hashed"),
        (
            "UPDATE onecard.postings SET amount_fen = 3000 WHERE transaction_id = $$$$ AND line = 0",
            "account a",
        ),
        ("DELETE FROM onecard.postings WHERE transaction_id = $$$$", "account a"),
        ("DELETE FROM onecard.batches WHERE sequence = 1", "should stand here"),
        ("UPDATE onecard.batches SET leaves = substr(leaves, 33) WHERE sequence = 1", "leaves"),
        ("UPDATE onecard.batches SET signature = set_byte(signature, 9, 7) WHERE sequence = 1", "signature"),
        ("UPDATE onecard.batches SET header = header || '\\x4801' WHERE sequence = 1", "batch"),
        ("UPDATE onecard.writers SET sequence = sequence + 1", "writer was at"),
    ] {
        let copy = format!("{database}_altered");
        server.psql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {database}"));
        let one = "'00000000-0000-0000-0000-000000000009'";
        server.psql(&copy, &altered.replace("$$$$", one));
        let url = Server::url(&[server], &copy);
        let options = PostgresOptions::at(url.into(), 110_000, "auditor");
        let found = match PostgresStore::verify(&options, Some(&verifier)).await {
            Err(broken) => broken.to_string(),
            Ok(report) => panic!("{altered}: not found, {report:?}"),
        };
        assert!(found.contains(place), "{altered}: {found}");
        server.psql("postgres", &format!("DROP DATABASE {copy} WITH (FORCE)"));
    }
}
