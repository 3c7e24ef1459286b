//! Two servers with synchronous replication: the first dies, the second takes
//! over, nothing that was acknowledged is lost.

use std::{collections::HashMap, time::Duration};

use crate::{
    durable::{BACK_WITHIN, assert_once, tap_until_refused, until_ready},
    server::Server,
    units::*,
    world::*,
};

/// A primary that acknowledges only what its standby has, and the standby.
fn pair() -> (Server, Server) {
    let primary = Server::start("");
    let standby = Server::standby_of(&primary, "second");
    standby.configure("synchronous_standby_names = ''\n");
    primary.configure("synchronous_standby_names = 'second'\n");
    primary.reload();
    let synced = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    while primary.psql("postgres", synced) != "1" {}
    (primary, standby)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_loses_nothing_that_was_acknowledged() {
    let (primary, standby) = tokio::task::spawn_blocking(pair).await.expect("no panic");
    let database = primary.database();
    let world = World::at(Server::url(&[&primary, &standby], &database), 1);
    let open = world
        .try_node("node-1", |options| options.patience = Duration::from_millis(500))
        .await
        .expect("the store opens");
    let mut acknowledged = HashMap::new();
    let dying = tokio::task::spawn_blocking({
        let database = database.clone();
        move || {
            let count = "SELECT count(*) FROM onecard.entries";
            while primary.psql(&database, count).parse::<u32>().expect("a number") < 200 {}
            primary.stop_at_once();
            primary
        }
    });
    let tried = tap_until_refused(&open, 0, &mut acknowledged).await;
    let _primary = dying.await.expect("no panic");
    assert!(acknowledged.len() >= 150, "{} were acknowledged", acknowledged.len());
    standby.promote();
    until_ready(&open).await;
    assert_once(&world, &open, tried, &acknowledged).await;
    assert_eq!(standby.psql(&database, "SELECT sum_fen FROM onecard.ledger_sum"), "0");
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_while_the_standby_is_away() {
    let (primary, standby) = tokio::task::spawn_blocking(pair).await.expect("no panic");
    let database = primary.database();
    let world = World::at(Server::url(&[&primary, &standby], &database), 1);
    let open = std::sync::Arc::new(world.open().await);
    open.commit(tap(1, 1, 1)).await.expect("committed");
    standby.stop_at_once();
    let committing = tokio::spawn({
        let open = std::sync::Arc::clone(&open);
        async move { open.commit(tap(2, 2, 1)).await }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT'";
    let waiting = async {
        while primary.psql(&database, waits) == "0" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BACK_WITHIN, waiting).await.expect("the commit waits for the standby");
    assert!(!committing.is_finished());
    standby.run();
    let committed = committing.await.expect("no panic").expect("the standby has it");
    world.assert_receipt(&committed);
}
