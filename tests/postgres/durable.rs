//! What was acknowledged is found again after the server died in the middle of
//! work.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use onecard::store::*;

use crate::{server::Server, units::*, world::*};

/// How long a store may take to find its server again.
pub const BACK_WITHIN: Duration = Duration::from_secs(60);

/// Commits taps in rounds until the store says that it cannot; what was
/// acknowledged, and the number after the last one tried.
pub async fn tap_until_refused(open: &Open, from: u32, acknowledged: &mut HashMap<u32, Committed>) -> u32 {
    let mut number = from;
    loop {
        let numbers = number..number + 16;
        let taps = numbers.clone().map(|at| open.commit(tap(at, at, (at % 5) as u8)));
        let answers = join_all(taps).await;
        number += 16;
        let whole = answers.iter().all(Result::is_ok);
        acknowledged.extend(numbers.zip(answers).filter_map(|(at, answer)| Some((at, answer.ok()?))));
        if !whole {
            return number;
        }
    }
}

/// Waits until a store takes commits.
pub async fn until_ready(open: &Open) {
    let ready = async {
        while !open.store().is_ready() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(BACK_WITHIN, ready).await.expect("the store finds its server again");
}

/// Everything acknowledged is there as it was told; every tap that was tried is
/// repeated and has exactly one effect.
pub async fn assert_once(world: &World, open: &Open, tried: u32, acknowledged: &HashMap<u32, Committed>) {
    for (number, before) in acknowledged {
        let after = open.store().find(&participant(), request(*number)).await.expect("readable");
        let after = after.unwrap_or_else(|| panic!("request {number} was acknowledged and is lost"));
        assert_eq!((&after.entry, &after.detail), (&before.entry, &before.detail));
        world.assert_receipt(&after);
    }
    for number in 0..tried {
        open.commit(tap(number, 500_000 + number, (number % 5) as u8)).await.expect("answered");
    }
    for holder in 0..5 {
        let rides = (0..tried).filter(|number| number % 5 == u32::from(holder)).count() as u64;
        for key in [code(holder), transit(holder)] {
            let stored = open.store().load(&key).await.expect("readable").expect("there");
            assert_eq!(stored.revision, rides, "{key:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_an_immediate_stop() {
    let server = Arc::new(Server::start(""));
    let database = server.database();
    let world = World::at(Server::url(&[&server], &database), 2);
    let open = world
        .try_node("node-1", |options| options.patience = Duration::from_millis(500))
        .await
        .expect("the store opens");
    let mut acknowledged = HashMap::new();
    let mut tried = 0;
    for round in 1..=3 {
        let wanted = acknowledged.len() as u32 + 64;
        let stopping = tokio::task::spawn_blocking({
            let (server, database) = (Arc::clone(&server), database.clone());
            move || {
                // In the middle of work: when so many are there.
                let count = "SELECT count(*) FROM onecard.entries";
                while server.psql(&database, count).parse::<u32>().expect("a number") < wanted {}
                server.stop_at_once();
            }
        });
        tried = tap_until_refused(&open, tried, &mut acknowledged).await;
        stopping.await.expect("no panic");
        assert!(acknowledged.len() as u32 >= wanted - 64, "round {round}");
        assert!(!open.store().is_ready(), "a store without its server is not ready");
        server.run();
        until_ready(&open).await;
    }
    assert_once(&world, &open, tried, &acknowledged).await;
    assert_eq!(server.psql(&database, "SELECT sum_fen FROM onecard.ledger_sum"), "0");
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_sync_is_refused() {
    let server = Server::start("full_page_writes = off\n");
    let world = World::at(Server::url(&[&server], &server.database()), 1);
    let refused = world.try_node("node-1", |_| {}).await.err();
    assert!(
        matches!(refused, Some(PostgresOpenError::Schema(SchemaError::NotDurable("full_page_writes")))),
        "{refused:?}"
    );
}
