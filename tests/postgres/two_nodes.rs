//! Two nodes on one database at once.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Arc, mpsc},
    task::Poll,
};

use futures_util::future::join_all;
use onecard::{model::*, store::*};
use tokio::sync::oneshot;

use crate::{
    server::{self, Server},
    units::*,
    world::*,
};

/// Every tap is sent to both nodes at the same time.
async fn each_tap_on_both(
    one: &Open,
    two: &Open,
    taps: impl Iterator<Item = u32>,
) -> HashMap<u32, Committed> {
    let sent = taps.map(|at| async move {
        let holder = (at % 3) as u8;
        let (a, b) = match at % 2 {
            0 => (tap(at, 10_000 + at, holder), tap(at, 20_000 + at, holder)),
            _ => (tap_at_home(at, 10_000 + at, holder), tap_at_home(at, 20_000 + at, holder)),
        };
        let (a, b) = tokio::join!(one.commit(a), two.commit(b));
        let (a, b) = (a.expect("answered"), b.expect("answered"));
        assert_eq!(a.entry, b.entry, "both nodes give the same answer");
        assert_eq!([a.replayed, b.replayed].iter().filter(|replayed| !**replayed).count(), 1);
        (at, a)
    });
    join_all(sent).await.into_iter().collect()
}

async fn parallel_taps_are_counted_once(world: World) {
    let (one, two) = (world.node("node-1").await, world.node("node-2").await);
    let mut answers = HashMap::new();
    for round in 0..4 {
        answers.extend(each_tap_on_both(&one, &two, round * 60..(round + 1) * 60).await);
    }
    for committed in answers.values() {
        world.assert_receipt(committed);
    }
    for holder in 0..3 {
        for (node, key) in [(&one, code(holder)), (&two, transit(holder))] {
            let stored = node.store().load(&key).await.expect("readable").expect("there");
            assert_eq!(stored.revision, 80, "{key:?}");
        }
    }
    for (number, before) in &answers {
        for node in [&one, &two] {
            let found = node.store().find(&participant(), request(*number)).await;
            assert_eq!(found.expect("readable").expect("there").entry, before.entry);
        }
    }
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_taps_on_two_nodes_are_counted_once() {
    parallel_taps_are_counted_once(World::postgres(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_taps_on_two_nodes_and_four_shards_are_counted_once() {
    parallel_taps_are_counted_once(World::postgres(4)).await;
}

/// A request comes to one node and what takes it back to the other.
async fn taken_back_elsewhere(world: World) {
    let (one, two) = (world.node("node-1").await, world.node("node-2").await);
    let (mut done, mut withdrawn) = (0, 0);
    for round in 0..8 {
        let both = (round * 25..(round + 1) * 25).map(|at| {
            let unit = if at % 2 == 0 { tap } else { tap_at_home };
            let (asks, takes_back) = (unit(at, 1_000 + at, 1), withdrawal(at, 2_000 + at));
            let (one, two) = (&one, &two);
            async move { tokio::join!(one.commit(asks), two.commit(takes_back)) }
        });
        for (asked, back) in join_all(both).await {
            let (asked, back) = (asked.expect("answered"), back.expect("answered"));
            assert_eq!(asked.entry, back.entry, "one of them was first, and both are told which");
            assert_eq!([asked.replayed, back.replayed].iter().filter(|replayed| !**replayed).count(), 1);
            match asked.entry.status == Status::Completed.number() {
                true => done += 1,
                false => withdrawn += 1,
            }
        }
    }
    let stored = one.store().load(&code(1)).await.expect("readable");
    assert_eq!(stored.map_or(0, |stored| stored.revision), done);
    assert_eq!(done + withdrawn, 200);
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_done_on_one_node_or_taken_back_on_the_other() {
    taken_back_elsewhere(World::postgres(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_done_in_one_shard_or_taken_back_in_another() {
    taken_back_elsewhere(World::postgres(4)).await;
}

/// Keeps the lane that decides it, and the rows that it touches, until `go` is dropped.
fn busy(number: u32, touches: Vec<AggregateKey>) -> (Unit, oneshot::Receiver<()>, mpsc::SyncSender<()>) {
    let ((begin, began), (go, going)) = (oneshot::channel(), mpsc::sync_channel(1));
    let unit = unit_with(number, first(number), touches, move |_, _| {
        let _ = begin.send(());
        let _ = going.recv();
        Ok(Decision::new(Outcome::Approved))
    });
    (unit, began, go)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_gave_up_while_rows_were_locked_may_come_again() {
    let server = server::shared();
    let database = server.database();
    let world = World::at(Server::url(&[server], &database), 1);
    let (one, two) = (Arc::new(world.node("node-1").await), Arc::new(world.node("node-2").await));
    one.commit(tap(1, 1, 1)).await.expect("committed");
    let run = |node: &Arc<Open>, unit| {
        let node = Arc::clone(node);
        tokio::spawn(async move { node.commit(unit).await.expect("committed") })
    };
    // The second node holds the card's row; what is sent to the first goes into one
    // batch, which waits for the row.
    let (holds, held, let_go) = busy(100, vec![code(1)]);
    let holds = run(&two, holds);
    held.await.expect("running");
    let (fills, filled, go_on) = busy(101, vec![]);
    let fills = run(&one, fills);
    filled.await.expect("running");
    let mut gives_up = Box::pin(one.commit(tap(7, 7, 1)));
    let mut stays = Box::pin(one.commit(tap(8, 8, 1)));
    poll_fn(|context| Poll::Ready(gives_up.as_mut().poll(context).is_pending())).await;
    poll_fn(|context| Poll::Ready(stays.as_mut().poll(context).is_pending())).await;
    drop(go_on);
    fills.await.expect("no panic");
    let waits = "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while server.psql(&database, waits) == "0" {}
    drop(gives_up);
    drop(let_go);
    holds.await.expect("no panic");
    stays.await.expect("committed");
    let again = one.commit(tap(7, 77, 1)).await.expect("nothing is left of the call that was given up");
    assert!(!again.replayed);
    for node in [one, two] {
        Arc::into_inner(node).expect("nobody else has it").close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_one_transaction_from_two_nodes_follow_each_other() {
    let world = World::postgres(2);
    let (one, two) = (world.node("node-1").await, world.node("node-2").await);
    one.commit(step_with_task(1, first(1), Status::Pending, false, 10)).await.expect("first");
    let next = |at: u32| {
        let node = if at.is_multiple_of(2) { &one } else { &two };
        node.commit(step_with_task(1, Step::Next, Status::Pending, false, 10))
    };
    let mut steps: Vec<_> = join_all((0..40).map(next))
        .await
        .into_iter()
        .map(|step| step.expect("committed").entry.step)
        .collect();
    steps.sort_unstable();
    assert_eq!(steps, (1..=40).collect::<Vec<_>>());
    let (a, b) = tokio::join!(
        one.commit(step_with_task(1, Step::Next, Status::Completed, true, 0)),
        two.commit(step_with_task(1, Step::Next, Status::Reversed, true, 0)),
    );
    let (a, b) = (a.expect("answered"), b.expect("answered"));
    assert_eq!(a.entry, b.entry, "one of them was the last step");
    assert_eq!(one.store().due_tasks(i64::MAX, 9).await.expect("readable").len(), 0);
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_together_make_one_schema() {
    let world = World::postgres(3);
    let names: Vec<_> = (0..4).map(|at| format!("node-{at}")).collect();
    for open in join_all(names.iter().map(|name| world.node(name))).await {
        open.close().await;
    }
    let Err(PostgresOpenError::Schema(SchemaError::OtherRegion { found, .. })) =
        world.try_node("node-9", |options| options.region = 120_000).await
    else {
        panic!("a database of another region is refused");
    };
    assert_eq!(found, "110000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_of_the_same_name_shuts_the_first_one_out() {
    let world = World::postgres(1);
    let (old, new) = (world.node("node-1").await, world.node("node-1").await);
    new.commit(tap(1, 1, 1)).await.expect("the newer one writes");
    let refused = old.commit(tap(2, 2, 1)).await;
    assert!(matches!(refused, Err(StoreError::Stopped(_))), "{refused:?}");
    assert!(!old.store().is_ready());
    new.commit(tap(3, 3, 1)).await.expect("and goes on writing");
    old.close().await;
    new.close().await;
}
