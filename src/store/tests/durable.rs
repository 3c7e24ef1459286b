//! What was acknowledged is found again, whatever the disk does.

use std::{collections::HashMap, io, sync::Arc};

use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::support::*;
use crate::{
    model::*,
    store::{segment, *},
};

/// One life of a store on a lying disk that dies at a random sync: rounds of
/// parallel taps, then what was acknowledged.
fn live_until_power_loss(world: &World, lying: &LyingDisk, rng: &mut StdRng) -> HashMap<u32, Committed> {
    let store = world.open();
    lying.die_at_sync(rng.random_range(0..12));
    let mut acknowledged = HashMap::new();
    let mut number = 0;
    while store.is_ready() && number < 400 {
        let together = rng.random_range(1..20);
        let numbers = number..number + together;
        let answers = wait(join_all(numbers.clone().map(|at| store.commit(tap(at, at, (at % 5) as u8)))));
        acknowledged.extend(numbers.zip(answers).filter_map(|(at, answer)| Some((at, answer.ok()?))));
        number += together;
    }
    acknowledged
}

/// What is wrong after a power loss, in words; `None` when the promises hold.
fn broken_promise(found: &World, acknowledged: &HashMap<u32, Committed>) -> Option<String> {
    let store = match found.try_open() {
        Ok(store) => store,
        Err(error) => return Some(format!("the store does not open: {error}")),
    };
    for (number, before) in acknowledged {
        match store.lookup.find(&participant(), request(*number)) {
            Ok(Some(after)) if after.entry == before.entry && after.detail == before.detail => {}
            other => return Some(format!("request {number} was acknowledged, now: {other:?}")),
        }
    }
    let mut rides = 0;
    for holder in 0..5 {
        let stored = store.lookup.load(&code(holder)).ok()?;
        rides += stored.map_or(0, |stored| stored.revision);
        let again = store.lookup.about(subject(holder), Scene::Transit, usize::MAX).ok()?;
        let requests: std::collections::HashSet<_> = again.iter().map(|one| &one.entry.request_id).collect();
        if requests.len() != again.len() {
            return Some("a request stands twice in the journal".to_owned());
        }
    }
    store.close();
    match found.verify() {
        Ok(report) if report.entries == rides && rides >= acknowledged.len() as u64 => None,
        Ok(report) => Some(format!("{} entries, {rides} effects", report.entries)),
        Err(broken) => Some(broken.to_string()),
    }
}

#[test]
fn what_was_acknowledged_survives_power_loss() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let lying = LyingDisk::new();
        let world = World::on(lying.clone());
        let acknowledged = live_until_power_loss(&world, &lying, &mut rng);
        let found = world.found(lying.lose_power(seed));
        let broken = broken_promise(&found, &acknowledged);
        assert_eq!(broken, None, "seed {seed}, {} acknowledged", acknowledged.len());
    }
}

#[test]
fn a_second_power_loss_while_reading_back_costs_nothing_either() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let lying = LyingDisk::new();
        let world = World::on(lying.clone());
        let mut acknowledged = live_until_power_loss(&world, &lying, &mut rng);
        let again = lying.lose_power(seed);
        again.die_at_sync(rng.random_range(0..4));
        if let Ok(store) = world.found(again.clone()).try_open()
            && let Ok(committed) = commit(&store, tap(9_000, 9_000, 1))
        {
            acknowledged.insert(9_000, committed);
        }
        let found = world.found(again.lose_power(seed + 1));
        let broken = broken_promise(&found, &acknowledged);
        assert_eq!(broken, None, "seed {seed}, {} acknowledged", acknowledged.len());
    }
}

/// Says that everything is synced and syncs nothing.
#[derive(Debug)]
struct NoSyncDisk(LyingDisk);

#[derive(Debug)]
struct NoSyncFile(Arc<dyn DiskFile>);

impl Disk for NoSyncDisk {
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(NoSyncFile(self.0.create(name, bytes)?)))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(NoSyncFile(self.0.open(name)?)))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
}

impl DiskFile for NoSyncFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

/// The test above must be able to fail: with the sync taken out it does.
#[test]
fn with_the_sync_taken_out_the_loss_is_noticed() {
    let mut noticed = 0;
    for seed in 0..10 {
        let lying = LyingDisk::new();
        let world = World::on(NoSyncDisk(lying.clone()));
        let store = world.open();
        let answers = wait(join_all((0..30).map(|at| store.commit(tap(at, at, (at % 5) as u8)))));
        let acknowledged: HashMap<_, _> =
            (0..30).zip(answers).filter_map(|(at, answer)| Some((at, answer.ok()?))).collect();
        assert_eq!(acknowledged.len(), 30);
        let found = world.found(lying.lose_power(seed));
        drop(store);
        noticed += u32::from(broken_promise(&found, &acknowledged).is_some());
    }
    assert!(noticed >= 5, "only {noticed} of 10 losses were noticed");
}

/// Three acknowledged batches, and the bytes of the last frame.
fn three_batches() -> (World, LyingDisk, u64, u64) {
    let lying = LyingDisk::new();
    let world = World::on(lying.clone());
    let store = world.open();
    for number in 0..3 {
        commit(&store, tap(number, number, 1)).expect("committed");
    }
    // The power goes: no closing batch is written.
    let found = lying.lose_power(0);
    drop(store);
    let world = world.found(found.clone());
    let mut frames = Vec::new();
    let segments = segment::Segments::list(Arc::clone(&world.disk)).expect("listed");
    super::super::walk::walk(&segments, None, super::super::walk::Tail::MayBeTorn, &mut |walked| {
        frames.push((walked.offset, walked.next));
        Ok(())
    })
    .expect("the journal holds");
    assert_eq!(frames.len(), 3);
    let (from, to) = frames[2];
    (world, found, from, to)
}

#[test]
fn a_tail_torn_at_any_byte_costs_nothing_acknowledged() {
    let (world, disk, from, to) = three_batches();
    let name = segment::name(1);
    let whole = disk.tamper(&name, |bytes| bytes.clone()).expect("the segment is there");
    for cut in from..to {
        disk.tamper(&name, |bytes| {
            bytes.copy_from_slice(&whole);
            bytes[cut as usize..to as usize].fill(0);
        });
        let world = world.found(disk.clone());
        let store = world.open();
        for number in 0..2 {
            let found = store.lookup.find(&participant(), request(number)).expect("readable");
            assert!(found.is_some(), "cut at {cut}: request {number} is lost");
        }
        let again = commit(&store, tap(2, 9, 1)).expect("answered");
        assert_eq!(again.entry.writes[0].revision, 3, "cut at {cut}");
        store.close();
        world.verify().unwrap_or_else(|broken| panic!("cut at {cut}: {broken}"));
    }
}

#[test]
fn a_failed_sync_stops_the_store_until_it_is_opened_again() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    commit(&store, tap(0, 0, 1)).expect("committed");
    disk.arm(0, Fault::SyncFails);
    assert!(matches!(commit(&store, tap(1, 1, 1)), Err(StoreError::Stopped(_))));
    assert!(!store.is_ready());
    assert!(matches!(commit(&store, tap(2, 2, 1)), Err(StoreError::Stopped(_))));
    assert!(store.lookup.find(&participant(), request(0)).expect("readable").is_some());
    assert_eq!(store.lookup.load(&code(1)).expect("readable").map(|card| card.revision), Some(1));
    drop(store);

    let store = world.open();
    assert!(store.is_ready());
    // The outcome was unknown; the retry settles it, once.
    commit(&store, tap(1, 3, 1)).expect("answered");
    assert_eq!(store.lookup.load(&code(1)).expect("readable").map(|card| card.revision), Some(2));
    // What was adopted at the reopening is durable now, though the failed sync
    // had marked its pages clean.
    let found = world.found(disk.lose_power(3));
    drop(store);
    let store = found.open();
    assert!(store.lookup.find(&participant(), request(1)).expect("readable").is_some());
}

#[test]
fn a_failed_sync_adopted_at_reopening_survives_power_loss() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    commit(&store, tap(0, 0, 1)).expect("committed");
    disk.arm(0, Fault::SyncFails);
    commit(&store, tap(1, 1, 1)).expect_err("the sync failed");
    drop(store);
    let store = world.open();
    let adopted = store.lookup.find(&participant(), request(1)).expect("readable").is_some();
    let found = world.found(disk.lose_power(1));
    drop(store);
    let later = found.open().lookup.find(&participant(), request(1)).expect("readable").is_some();
    assert_eq!(adopted, later, "what was shown after reopening does not vanish");
}

#[track_caller]
fn stops_and_recovers(fault: Fault) {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    commit(&store, tap(0, 0, 1)).expect("committed");
    disk.arm(0, fault);
    assert!(matches!(commit(&store, tap(1, 1, 1)), Err(StoreError::Stopped(_))), "{fault:?}");
    drop(store);
    let store = world.open();
    assert!(store.lookup.find(&participant(), request(0)).expect("readable").is_some());
    commit(&store, tap(1, 2, 1)).expect("answered");
    store.close();
    world.verify().expect("the journal holds");
}

#[test]
fn a_short_write_and_a_full_disk_stop_the_store() {
    stops_and_recovers(Fault::ShortWrite);
    stops_and_recovers(Fault::Full);
}

#[test]
fn a_slow_disk_is_waited_for() {
    let disk = LyingDisk::new();
    let store = World::on(disk.clone()).open();
    disk.arm(0, Fault::Slow(std::time::Duration::from_millis(30)));
    commit(&store, tap(0, 0, 1)).expect("committed");
}

#[test]
fn the_journal_rolls_to_new_segments_and_is_read_across_them() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    for number in 0..500 {
        commit(&store, bulky(number)).expect("committed");
    }
    assert!(disk.list().expect("listed").len() > 3, "several segments");
    for number in (0..500).step_by(37) {
        let found = store.lookup.find(&participant(), request(number)).expect("readable").expect("there");
        assert_receipt(&found);
    }
    let found = world.found(disk.lose_power(5));
    drop(store);
    let store = found.open();
    assert_receipt(&store.lookup.find(&participant(), request(499)).expect("readable").expect("there"));
    store.close();
    assert_eq!(found.verify().expect("the journal holds").entries, 500);
}

#[test]
fn a_real_folder_is_held_by_one_store_and_found_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = StoreOptions::in_dir(dir.path(), 110_000);
    options.segment_bytes = 256 * 1024;
    let sealer = Arc::new(TestSealer::default());
    let open = || {
        let clock = Arc::new(SystemClock);
        EmbeddedStore::open(options.clone(), Arc::new(TestVault::new(1)), Arc::clone(&sealer) as _, clock)
    };
    let store = open().expect("opens");
    assert!(matches!(open(), Err(OpenError::Held)));
    for number in 0..300 {
        commit(&store, tap(number, number, (number % 5) as u8)).expect("committed");
    }
    settle(&store);
    let about = store.lookup.about(subject(1), Scene::Transit, 7).expect("readable");
    assert_eq!(about.len(), 7);
    drop(store);
    let report = verify_dir(&dir.path().join("journal"), Some(&signed_by_test_vault)).expect("holds");
    assert_eq!((report.entries, report.last_unsigned), (300, false));
    assert_eq!(report.signatures_checked, report.batches - 1);

    // With the index as it was, and with no index at all.
    for wipe in [false, true] {
        if wipe {
            std::fs::remove_dir_all(dir.path().join("index")).expect("removed");
        }
        let store = open().expect("opens");
        let again = commit(&store, tap(17, 9_999, 0)).expect("answered");
        assert!(again.replayed);
        assert_receipt(&again);
        let rides = store.lookup.load(&transit(2)).expect("readable").expect("there");
        assert_eq!(rides.revision, 60);
        let newest = store.lookup.about(subject(1), Scene::Transit, 7).expect("readable");
        assert_eq!(newest[0].entry, about[0].entry);
    }
}

#[test]
fn an_entry_whose_key_is_not_on_disk_is_neither_acknowledged_nor_written() {
    let world = World::on(LyingDisk::new());
    let store = world.open();
    commit(&store, tap(1, 1, 1)).expect("committed");
    world.sealer.disk_gone.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(commit(&store, tap(2, 2, 2)), Err(StoreError::Stopped(_))));
    assert!(!store.is_ready());
    store.close();
    assert_eq!(world.verify().expect("the chain holds").entries, 1);
}
