//! Two nodes on one database at once.

use std::collections::HashMap;

use futures_util::future::join_all;
use onecard::{model::*, store::*};

use crate::{units::*, world::*};

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
