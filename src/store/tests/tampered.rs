//! What was altered or lost afterwards is found, with the place.

use std::sync::Arc;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::support::*;
use crate::store::{segment, *};

/// A journal of four segments, closed in order.
fn journal() -> (World, LyingDisk) {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    for number in 0..500 {
        commit(&store, bulky(number)).expect("committed");
    }
    store.close();
    (world, disk)
}

fn segments(disk: &LyingDisk) -> Vec<u64> {
    segment::Segments::list(Arc::new(disk.clone())).expect("listed").firsts()
}

#[test]
fn one_flipped_bit_anywhere_is_found_with_its_segment() {
    let (world, disk) = journal();
    world.verify().expect("it holds before");
    let firsts = segments(&disk);
    let mut rng = StdRng::seed_from_u64(1);
    for round in 0..60 {
        let first = firsts[rng.random_range(0..firsts.len())];
        let name = segment::name(first);
        // The first sector, then anywhere, the tail of zeros included.
        let (at, bit) = disk
            .tamper(&name, |bytes| {
                let most = if round < 10 { 512 } else { bytes.len() };
                let (at, bit) = (rng.random_range(0..most), 1_u8 << rng.random_range(0..8));
                bytes[at] ^= bit;
                (at, bit)
            })
            .expect("the segment is there");
        let broken = verify_disk(Arc::clone(&world.disk), None).expect_err("a flipped bit is found");
        assert_eq!(broken.segment, first, "{broken}");
        assert!(broken.offset <= at as u64, "{broken}, flipped at {at}");
        disk.tamper(&name, |bytes| bytes[at] ^= bit);
    }
    world.verify().expect("it holds again");
}

#[test]
fn a_missing_segment_is_refused_at_start() {
    let (world, disk) = journal();
    let firsts = segments(&disk);
    assert!(firsts.len() >= 3, "{firsts:?}");
    for missing in &firsts[..firsts.len() - 1] {
        let (world, disk) = journal();
        disk.remove(&segment::name(*missing)).expect("removed");
        let refused = world.found(disk.clone()).try_open().expect_err("refused");
        assert!(matches!(refused, OpenError::Broken(_)), "{refused}");
        assert!(world.verify().is_err());
    }
    drop(world);
}

#[test]
fn a_bad_frame_before_whole_ones_is_refused_at_start_with_its_place() {
    let (world, disk) = journal();
    let firsts = segments(&disk);
    for first in [firsts[0], *firsts.last().expect("some")] {
        let name = segment::name(first);
        disk.tamper(&name, |bytes| bytes[700] ^= 4);
        let refused = world.found(disk.clone()).try_open().expect_err("refused");
        let OpenError::Broken(broken) = refused else { panic!("{refused}") };
        assert_eq!((broken.segment, broken.offset, broken.sequence), (first, 512, first));
        disk.tamper(&name, |bytes| bytes[700] ^= 4);
    }
}

#[test]
fn a_journal_shorter_than_its_index_is_refused() {
    let (world, disk) = journal();
    let last = *segments(&disk).last().expect("some");
    disk.remove(&segment::name(last)).expect("removed");
    let refused = world.try_open().expect_err("refused");
    assert!(matches!(refused, OpenError::Lost { .. }), "{refused}");
    // And again: refusing did not throw the witness away.
    assert!(matches!(world.try_open(), Err(OpenError::Lost { .. })));
}

#[test]
fn an_index_of_another_journal_is_rebuilt() {
    let (world, _) = journal();
    let (other, _) = journal();
    let mixed = World { index: Arc::clone(&other.index), ..world.clone() };
    mixed.clock.advance_ms(5);
    let store = mixed.open();
    assert!(store.lookup.find(&participant(), request(499)).expect("readable").is_some());
    store.close();
    mixed.verify().expect("the journal holds");
}

#[test]
fn an_index_of_another_layout_is_rebuilt() {
    let (world, _) = journal();
    let before = world.index.dump();
    let mut changes = Changes::default();
    changes.put(&[b"v"], &[&[1]]);
    changes.remove(&[b"s"]);
    changes.settle();
    world.index.write(&changes).expect("written");
    world.open().close();
    let rebuilt = world.index.dump();
    let differs = rebuilt.iter().zip(&before).find(|(now, then)| now != then && now.0 != b"m");
    assert_eq!((differs, rebuilt.len()), (None, before.len()));
}

#[test]
fn another_key_is_told_of_unless_the_journal_was_closed_in_order() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    commit(&store, tap(1, 1, 1)).expect("committed");
    let crashed = disk.lose_power(1);
    drop(store);
    let with_new_key = |disk: &LyingDisk| {
        let parts = Parts {
            disk: Arc::new(disk.clone()),
            index: Arc::new(MemIndex::new()),
            vault: Arc::new(TestVault::new(2)),
            sealer: Arc::clone(&world.sealer) as _,
            clock: Arc::clone(&world.clock) as _,
            rng: Arc::new(crate::model::SystemRng),
            observer: Arc::new(NoObserver),
        };
        EmbeddedStore::assemble(&world.options, parts)
    };
    assert!(matches!(with_new_key(&crashed), Err(OpenError::KeyChanged { .. })));
    world.found(crashed.clone()).open().close();
    with_new_key(&crashed).expect("opens with the new key");
}

#[test]
fn an_empty_journal_holds() {
    let world = World::on(LyingDisk::new());
    world.open().close();
    assert_eq!(world.verify().expect("it holds").batches, 0);
}
