//! Disks that are full, that write to the wrong place, that are put back to an
//! older state. Lost and torn writes and failing syncs are in `durable`, what was
//! altered afterwards in `tampered`.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::support::*;
use crate::{
    model::*,
    store::{segment, *},
};

/// Commits until new work is refused for want of room; answers with the number of
/// the first that was refused.
fn fill(store: &EmbeddedStore) -> u32 {
    for number in 0..2_000 {
        match commit(store, bulky(number)) {
            Ok(_) => {}
            Err(StoreError::Busy) => return number,
            Err(error) => panic!("{number}: {error}"),
        }
    }
    panic!("a full disk refuses nothing");
}

#[track_caller]
fn assert_found(store: &EmbeddedStore, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let found = store.lookup.find(&participant(), request(number)).expect("readable");
        assert!(found.is_some(), "{number} was acknowledged");
    }
}

#[test]
fn a_full_disk_refuses_new_work_and_goes_on_when_there_is_room() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    commit(&store, step_with_task(9_000, first(9_000), Status::Pending, false, 10)).expect("committed");
    // The spare is made by now, or cannot be: either way some segment fills up.
    disk.has_room(false);
    let refused = fill(&store);
    assert!(refused > 50, "{refused}: the segments that were there are used");
    assert!(store.is_ready(), "refusing is not stopping");
    assert!(matches!(commit(&store, tap(8_000, 8_000, 1)), Err(StoreError::Busy)));
    // What is open is brought to its end in the room that was kept, by the gateway and
    // by who asks for it.
    let asked = Step::Later { request: request(9_001), fingerprint: [1; 32] };
    let later = commit(&store, step_with_task(9_000, asked, Status::Pending, false, 10));
    assert!(!later.expect("committed").replayed);
    let ended = commit(&store, step_with_task(9_000, Step::Next, Status::Completed, true, 0));
    assert!(!ended.expect("committed").replayed);
    assert_found(&store, 0..refused);
    disk.has_room(true);
    while let Err(error) = commit(&store, tap(8_000, 8_000, 1)) {
        assert!(matches!(error, StoreError::Busy), "{error}");
        std::thread::yield_now();
    }
    for number in refused..refused + 200 {
        commit(&store, bulky(number)).expect("committed");
    }
    let found = world.found(disk.lose_power(1));
    drop(store);
    let store = found.open();
    assert_found(&store, 0..refused + 200);
    store.close();
    found.verify().expect("the journal holds");
}

#[test]
fn a_store_on_a_full_disk_can_be_closed_and_loses_nothing() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    commit(&store, step_with_task(9_000, first(9_000), Status::Pending, false, 10)).expect("committed");
    disk.has_room(false);
    let refused = fill(&store);
    let steps = AtomicU32::new(0);
    std::thread::scope(|scope| {
        // Later steps until even the room that was kept is used: the last one waits.
        let ends = scope.spawn(|| {
            loop {
                let step = step_with_task(9_000, Step::Next, Status::Pending, false, 10);
                match commit(&store, step) {
                    Ok(_) => steps.fetch_add(1, Ordering::Release),
                    Err(error) => return error,
                };
            }
        });
        while !store.lookup.shared.room.stops_the_writer() {
            std::thread::yield_now();
        }
        store.close();
        let error = ends.join().expect("no panic");
        assert!(matches!(error, StoreError::Stopped(_)), "{error}");
    });
    disk.has_room(true);
    let store = world.open();
    assert_found(&store, 0..refused);
    let known = store.lookup.steps(transaction(9_000)).expect("readable").len() as u32;
    let acknowledged = 1 + steps.load(Ordering::Acquire);
    assert!(known >= acknowledged, "{known} steps of {acknowledged}");
    commit(&store, tap(8_000, 8_000, 1)).expect("committed");
    store.close();
    world.verify().expect("the journal holds");
}

/// Writes one batch to the wrong place; whatever it hits, no later start may take
/// the journal for whole.
#[track_caller]
fn misdirected(by_sectors: i64, later: u32) {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    for number in 0..20 {
        commit(&store, bulky(number)).expect("committed");
    }
    disk.arm(0, Fault::Misdirected(by_sectors * 512));
    commit(&store, bulky(20)).expect("the disk says that it is written");
    for number in 21..21 + later {
        commit(&store, bulky(number)).expect("committed");
    }
    settle(&store);
    let found = disk.lose_power(1);
    drop(store);
    let told = format!("{by_sectors} sectors, {later} batches later");
    let whole = verify_disk(Arc::new(found.clone()), Some(&signed_by_test_vault))
        .is_ok_and(|report| report.entries == u64::from(21 + later));
    assert!(!whole, "{told}: a batch is not where it belongs");
    // With the index that has seen the batch, and with nothing but the journal where
    // something behind the gap shows it.
    let witnessed = World { disk: Arc::new(found.clone()), ..world.clone() };
    match witnessed.try_open() {
        Err(OpenError::Broken(_) | OpenError::Lost { .. }) => {}
        Err(error) => panic!("{told}: {error}"),
        Ok(_) => panic!("{told}: the loss was not noticed"),
    }
    if later > 0 || by_sectors > 0 {
        assert!(matches!(world.found(found).try_open(), Err(OpenError::Broken(_))), "{told}");
    }
}

#[test]
fn a_write_that_went_elsewhere_is_noticed() {
    for by_sectors in [-70, -9, -4, -1, 1, 3, 4, 40] {
        for later in [0, 1, 5] {
            misdirected(by_sectors, later);
        }
    }
}

/// A world whose witness lies in `folder`.
fn witnessed(folder: &tempfile::TempDir, disk: &LyingDisk) -> World {
    let mut world = World::on(disk.clone());
    world.options.head_file = Some(folder.path().join("head"));
    world
}

/// The disk as it is now, for putting back later.
fn snapshot(disk: &LyingDisk) -> LyingDisk {
    let copy = LyingDisk::new();
    for name in disk.list().expect("listed") {
        let bytes = disk.tamper(&name, |bytes| bytes.clone()).expect("there");
        copy.create(&name, bytes.len() as u64).expect("created");
        copy.tamper(&name, |to| *to = bytes);
    }
    copy.sync_dir().expect("synced");
    copy
}

#[test]
fn a_folder_that_was_put_back_is_noticed_by_the_witness() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = LyingDisk::new();
    let world = witnessed(&folder, &disk);
    let store = world.open();
    for number in 0..5 {
        commit(&store, tap(number, number, 1)).expect("committed");
    }
    store.close();
    let older = snapshot(&disk);
    let store = world.open();
    commit(&store, tap(5, 5, 1)).expect("committed");
    store.close();
    // Journal and index put back alike: neither could tell.
    let put_back = World { disk: Arc::new(older.clone()), index: Arc::default(), ..world.clone() };
    let refused = put_back.try_open().expect_err("refused");
    let OpenError::Witness { what: Contradicted::Older { witnessed, journal }, .. } = refused else {
        panic!("{refused}")
    };
    assert!(witnessed > journal);
    // And when it was gone on with, without the witness, it is another history.
    let mut alone = put_back.clone();
    alone.options.head_file = None;
    let store = alone.open();
    for number in 50..60 {
        commit(&store, tap(number, number, 1)).expect("committed");
    }
    store.close();
    let refused = put_back.try_open().expect_err("refused");
    assert!(matches!(refused, OpenError::Witness { what: Contradicted::Forked { .. }, .. }), "{refused}");
    // The true journal goes on.
    world.open().close();
    // Who means it removes the witness.
    std::fs::remove_file(folder.path().join("head")).expect("removed");
    put_back.open().close();
}

#[test]
fn an_epoch_that_was_asked_for_begins_with_the_next_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = LyingDisk::new();
    let world = witnessed(&folder, &disk);
    let store = world.open();
    for number in 0..5 {
        commit(&store, tap(number, number, 1)).expect("committed");
    }
    store.close();
    let older = snapshot(&disk);
    let store = world.open();
    commit(&store, tap(5, 5, 1)).expect("committed");
    store.close();
    let file = older.create(segment::EPOCH, 32).expect("created");
    file.write_at(0, b"9000000000000").expect("written");
    let on_purpose = World { disk: Arc::new(older.clone()), index: Arc::default(), ..world.clone() };
    let store = on_purpose.open();
    commit(&store, tap(6, 6, 1)).expect("committed");
    store.close();
    let report = on_purpose.verify().expect("it holds");
    let epochs: Vec<_> = report.epochs.iter().map(|(epoch, _)| *epoch).collect();
    assert_eq!((epochs.len(), epochs[1]), (2, 9_000_000_000_000), "{epochs:?}");
    // From now on the old history is the older state.
    assert!(matches!(world.try_open(), Err(OpenError::Witness { what: Contradicted::Replaced { .. }, .. })));
}

#[test]
fn an_emptied_folder_is_noticed_by_the_witness() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = witnessed(&folder, &LyingDisk::new());
    let store = world.open();
    for number in 0..5 {
        commit(&store, tap(number, number, 1)).expect("committed");
    }
    store.close();
    // A new chain has a later epoch, and nobody has asked for one.
    world.clock.advance_ms(1_000);
    let emptied = world.found(LyingDisk::new());
    let refused = emptied.try_open().expect_err("refused");
    assert!(
        matches!(
            refused,
            OpenError::Witness { what: Contradicted::Older { witnessed: 5.., journal: 0 }, .. }
        ),
        "{refused}"
    );
    // And once that has become a history of its own.
    let mut alone = emptied.clone();
    alone.options.head_file = None;
    let store = alone.open();
    for number in 50..70 {
        commit(&store, tap(number, number, 1)).expect("committed");
    }
    store.close();
    let refused = emptied.try_open().expect_err("refused");
    assert!(matches!(refused, OpenError::Witness { what: Contradicted::Forked { .. }, .. }), "{refused}");
    world.open().close();
}

/// A witnessed history, and one that left it after five batches, was not witnessed and
/// is longer. Each has begun another segment since. `asked` is the epoch that the
/// witnessed one asks for.
fn two_histories(folder: &tempfile::TempDir, asked: Option<&[u8]>) -> (World, World) {
    let disk = LyingDisk::new();
    let world = witnessed(folder, &disk);
    let store = world.open();
    for number in 0..5 {
        commit(&store, tap(number, number, 1)).expect("committed");
    }
    store.close();
    let other = World { disk: Arc::new(snapshot(&disk)), index: Arc::default(), ..world.clone() };
    if let Some(epoch) = asked {
        let file = disk.create(segment::EPOCH, 32).expect("created");
        file.write_at(0, epoch).expect("written");
    }
    let store = world.open();
    for number in 1_000..1_150 {
        commit(&store, bulky(number)).expect("committed");
    }
    store.close();
    let mut alone = other.clone();
    alone.options.head_file = None;
    let store = alone.open();
    for number in 10..30 {
        commit(&store, tap(number, number, 1)).expect("committed");
    }
    for number in 2_000..2_200 {
        commit(&store, bulky(number)).expect("committed");
    }
    store.close();
    let firsts = |world: &World| segment::Segments::list(Arc::clone(&world.disk)).expect("listed").firsts();
    let (one, two) = (firsts(&world), firsts(&other));
    assert!(one.len() > 1 && !two.contains(one.last().expect("some")), "{one:?} {two:?}");
    (world, other)
}

#[test]
fn the_store_that_was_replaced_stays_refused_over_segments() {
    let folder = tempfile::tempdir().expect("a folder");
    let (restored, replaced) = two_histories(&folder, Some(b"9000000000000"));
    let refused = replaced.try_open().expect_err("refused");
    assert!(matches!(refused, OpenError::Witness { what: Contradicted::Replaced { .. }, .. }), "{refused}");
    restored.open().close();
}

#[test]
fn a_segment_that_the_witness_saw_is_not_missed_silently() {
    let folder = tempfile::tempdir().expect("a folder");
    let (true_one, forked) = two_histories(&folder, None);
    let refused = forked.try_open().expect_err("refused");
    assert!(matches!(refused, OpenError::Witness { what: Contradicted::Forked { .. }, .. }), "{refused}");
    true_one.open().close();
}
