//! What a scene's term has ended for is dropped, and nothing else is lost: the chain,
//! proofs and the state stay as they were, whatever the disk does meanwhile.

use std::{collections::BTreeMap, sync::Arc};

use super::support::*;
use crate::{
    model::*,
    store::{segment, *},
};

const DAY_MS: i64 = 24 * 3_600 * 1_000;

fn terms(transit: u32, rest: Option<u32>) -> Terms {
    Terms::new(&BTreeMap::from([("transit".to_owned(), transit)]), rest).expect("right")
}

/// Fills segments: entries without anything sealed.
fn fill(store: &EmbeddedStore, numbers: std::ops::Range<u32>) {
    for number in numbers {
        commit(store, bulky(number)).expect("committed");
    }
}

/// A journal whose first segments are of a hundred days ago. Holders 1 and 2 rode then
/// and ride now, holder 3 rode then only.
fn old_and_new(world: &World) -> EmbeddedStore {
    let store = world.open();
    for number in 0..30 {
        commit(&store, tap(number, number, 1 + (number % 3) as u8)).expect("committed");
    }
    fill(&store, 1_000..1_300);
    world.clock.advance_ms(100 * DAY_MS);
    for number in 30..40 {
        commit(&store, tap(number, number, 1 + (number % 2) as u8)).expect("committed");
    }
    fill(&store, 2_000..2_300);
    settle(&store);
    store
}

/// Every state there is, as `store` has it.
fn state(store: &EmbeddedStore) -> Vec<Option<Stored>> {
    (0..6)
        .flat_map(|holder| [code(holder), transit(holder)])
        .map(|key| store.lookup.load(&key).expect("read"))
        .collect()
}

fn sealed_of(disk: &LyingDisk) -> Vec<u32> {
    let mut bytes = Vec::new();
    OfflineJournal::on(Arc::new(disk.clone()))
        .entries(Between::default(), &mut |read| bytes.extend(read.sealed_digest.map(|_| read.sealed_bytes)))
        .expect("read");
    bytes
}

#[test]
fn what_is_over_is_dropped_and_everything_is_still_proven() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = old_and_new(&world);
    let (before, now) = (state(&store), world.clock.now_ms());
    assert_eq!(store.retain(&terms(101, None), now).expect("run").dropped, 0, "nothing is over yet");
    let report = store.retain(&terms(90, None), now).expect("run");
    // Thirty rides; the last one of holder 3 is how it stands with them.
    assert_eq!((report.dropped, report.kept, report.segments_replaced), (29, 1, 1), "{report:?}");
    let sealed = sealed_of(&disk);
    assert_eq!((sealed.len(), sealed.iter().filter(|bytes| **bytes == 0).count()), (40, 29));
    let again = store.retain(&terms(90, None), now).expect("run");
    assert_eq!((again.dropped, again.kept), (0, 1));

    let first_ride = store.lookup.find(&participant(), request(0)).expect("read").expect("there");
    assert!(first_ride.detail.is_empty(), "what was personal has gone");
    assert_receipt(&first_ride);
    let newer = store.lookup.find(&participant(), request(35)).expect("read").expect("there");
    assert_eq!(newer.detail, "ride 35");
    assert_eq!(state(&store), before);
    store.close();

    let verified = world.verify().expect("the chain holds with every signature");
    assert_eq!((verified.dropped, verified.entries), (29, 640));
    let proven = OfflineJournal::on(Arc::new(disk.clone())).prove(transaction(0)).expect("read");
    assert_eq!(proven.proofs.len(), 1);
    proven.proofs[0].check(&signed_by_test_vault).expect("it proves what it proved");

    // From the journal alone the state is the same.
    let rebuilt = World { index: Arc::default(), ..world.clone() };
    assert_eq!(state(&rebuilt.open()), before);
    // A segment of which something was dropped is guarded like any other.
    disk.tamper(&segment::name(1), |bytes| bytes[62] ^= 1).expect("there");
    assert!(world.verify().is_err(), "how far was looked is part of the header");
}

#[test]
fn a_disk_that_dies_in_the_middle_leaves_the_one_or_the_other() {
    for (after, seed) in (0..4).flat_map(|after| [(after, 1), (after, 2), (after, 3)]) {
        let disk = LyingDisk::new();
        let world = World::on(disk.clone());
        let store = old_and_new(&world);
        let (before, now) = (state(&store), world.clock.now_ms());
        disk.die_at_sync(after);
        let run = store.retain(&terms(90, None), now);
        let found = disk.lose_power(seed);
        drop(store);
        let world = world.found(found.clone());
        let store = world.try_open().unwrap_or_else(|error| panic!("sync {after}, seed {seed}: {error}"));
        assert_eq!(state(&store), before, "sync {after}, seed {seed}");
        let dropped = sealed_of(&found).iter().filter(|bytes| **bytes == 0).count();
        assert!(dropped == 0 || dropped == 29, "{dropped} after sync {after}, seed {seed}");
        assert!(run.is_err() || dropped == 29, "what was told as done is done");
        // The next run ends what this one began.
        settle(&store);
        assert_eq!(store.retain(&terms(90, None), now).expect("run").dropped as usize + dropped, 29);
        store.close();
        world.verify().expect("the chain holds");
    }
}

#[test]
fn what_a_killed_run_left_beside_a_segment_is_in_nobodys_way() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = old_and_new(&world);
    let (before, now) = (state(&store), world.clock.now_ms());
    store.close();
    // Killed while the new segment was written: half of it has no name yet that counts.
    let left = disk.create(&format!("{}.new", segment::name(1)), 4_096).expect("made");
    left.write_at(0, &[7; 4_096]).expect("written");
    world.verify().expect("the chain holds");
    let store = world.open();
    assert_eq!(state(&store), before);
    assert_eq!(store.retain(&terms(90, None), now).expect("run").dropped, 29);
    store.close();
    assert_eq!(world.verify().expect("the chain holds").dropped, 29);
}

#[test]
fn a_write_that_goes_astray_is_noticed_before_the_old_segment_goes() {
    for fault in [Fault::Misdirected(512), Fault::ShortWrite, Fault::Full] {
        let disk = LyingDisk::new();
        let world = World::on(disk.clone());
        let store = old_and_new(&world);
        let now = world.clock.now_ms();
        disk.arm(0, fault);
        store.retain(&terms(90, None), now).expect_err("told");
        assert!(sealed_of(&disk).iter().all(|bytes| *bytes > 0), "{fault:?}: nothing was dropped");
        store.close();
        world.verify().expect("the chain holds");
    }
}

/// Writes or deletes the personal aggregates of some holders, sealed under the first.
fn personal(number: u32, puts: &[u8], deletes: &[u8]) -> Unit {
    let touches = puts.iter().chain(deletes).map(|holder| transit(*holder)).collect();
    let write = |holder: &u8, body: Option<&'static [u8]>| Write {
        key: transit(*holder),
        schema: 1,
        body: body.map(Into::into),
    };
    let mut writes: Vec<Write> = puts.iter().map(|holder| write(holder, Some(b"state"))).collect();
    writes.extend(deletes.iter().map(|holder| write(holder, None)));
    unit_with(number, first(number), touches, move |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.subject = Some(subject(1));
        decision.writes = writes;
        Ok(decision)
    })
}

#[test]
fn what_was_deleted_does_not_come_back() {
    for (rest, kept) in [(Some(90), 4), (None, 5)] {
        let disk = LyingDisk::new();
        let world = World::on(disk.clone());
        let store = world.open();
        // 1 and 2 are written together and 2 stays: so the deletion of 1 stays. Of 3
        // nothing stays when every term is over.
        for unit in [personal(1, &[1, 2], &[]), personal(2, &[3], &[]), personal(3, &[], &[1])] {
            commit(&store, unit).expect("committed");
        }
        for unit in [personal(4, &[], &[3]), personal(5, &[4], &[]), personal(6, &[5], &[])] {
            commit(&store, unit).expect("committed");
        }
        fill(&store, 1_000..1_300);
        world.clock.advance_ms(100 * DAY_MS);
        fill(&store, 2_000..2_300);
        settle(&store);
        let (before, now) = (state(&store), world.clock.now_ms());
        let report = store.retain(&terms(90, rest), now).expect("run");
        assert_eq!((report.dropped, report.kept), (6 - kept, kept), "{rest:?}");
        store.close();
        let rebuilt = World { index: Arc::default(), ..world.clone() };
        assert_eq!(state(&rebuilt.open()), before, "{rest:?}");
    }
}

/// An upload: each holder's part writes the holder's aggregate under their own key.
fn upload(number: u32, holders: &[u8]) -> Unit {
    let touches = holders.iter().map(|holder| transit(*holder)).collect();
    let part = |holder: &u8| HolderPart {
        subject: subject(*holder),
        pairwise: PairwiseHolder::from_slice(&[*holder; 16]).expect("as long as it is"),
        detail: format!("ride {number}").into_bytes().into(),
        writes: vec![Write { key: transit(*holder), schema: 1, body: Some((&b"state"[..]).into()) }],
    };
    let parts: Vec<HolderPart> = holders.iter().map(part).collect();
    unit_with(number, first(number), touches, move |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.parts = parts;
        Ok(decision)
    })
}

#[test]
fn an_upload_is_dropped_once_none_of_its_holders_stands_on_it() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    // 1 rides again, 2 does not; 3 and 4 ride again; 5 is erased and 1 rides again.
    for unit in [upload(1, &[1, 2]), upload(2, &[3, 4]), upload(3, &[5, 1])] {
        commit(&store, unit).expect("committed");
    }
    fill(&store, 1_000..1_300);
    world.clock.advance_ms(100 * DAY_MS);
    commit(&store, upload(4, &[1, 3, 4])).expect("committed");
    fill(&store, 2_000..2_300);
    settle(&store);
    world.sealer.destroy(subject(5));
    let (before, now) = (state(&store), world.clock.now_ms());
    let report = store.retain(&terms(90, None), now).expect("run");
    assert_eq!((report.dropped, report.kept), (2, 1), "2 stands on the first");
    assert_eq!(state(&store), before);
    store.close();
    assert_eq!(world.verify().expect("the chain holds").dropped, 2);
    let rebuilt = World { index: Arc::default(), ..world.clone() };
    assert_eq!(state(&rebuilt.open()), before);
}

#[test]
fn an_archive_and_a_copy_forget_as_well_and_say_how_far_back_they_reach() {
    let folder = tempfile::tempdir().expect("a folder");
    let (live, copy, to) =
        (folder.path().join("live"), folder.path().join("copy"), folder.path().join("archive"));
    let clock = Arc::new(ManualClock::at(1_790_000_000_000));
    let mut options = StoreOptions::in_dir(&live, 110_000);
    options.segment_bytes = 256 * 1024;
    let sealer = Arc::new(TestSealer::default());
    let store = EmbeddedStore::open(
        options.clone(),
        Arc::new(TestVault::new(1)),
        Arc::clone(&sealer) as _,
        Arc::clone(&clock) as _,
    )
    .expect("opens");
    std::fs::create_dir_all(live.join("holder-keys")).expect("made");
    std::fs::write(live.join("holder-keys/salts"), b"").expect("written");
    for number in 0..30 {
        commit(&store, tap(number, number, 1)).expect("committed");
    }
    fill(&store, 1_000..1_300);
    clock.advance_ms(100 * DAY_MS);
    commit(&store, tap(30, 30, 1)).expect("committed");
    fill(&store, 2_000..2_300);
    settle(&store);
    let journal = live.join("journal");
    assert!(archive(&journal, &to, 2).expect("archived").segments > 0);
    assert!(backup(&live, &copy).expect("copied").segments_copied > 2);

    let report = store.retain(&terms(90, None), clock.now_ms()).expect("run");
    assert_eq!((report.dropped, report.kept), (30, 0));
    assert!(!journal.join(segment::name(1)).exists(), "it stays in the archive");
    let found = store.lookup.find(&participant(), request(0)).expect("read").expect("there");
    assert!(found.detail.is_empty());
    assert_receipt(&found);
    assert_eq!(verify_dir(&journal, None).expect("it holds").dropped, 30);

    let second = backup(&live, &copy).expect("brought up to date");
    assert!(second.segments_kept > 0, "{second:?}");
    assert_eq!(verify_dir(&copy.join("journal"), None).expect("it holds").dropped, 30);
    let restored = |name: &str, until| {
        let to = folder.path().join(name);
        restore(&Restored { from: &copy, to: &to, until, erased: &[] }, &*clock, None)
    };
    let early = restored("early", Until::Sequence(20)).expect_err("the state of then has gone");
    assert!(matches!(early, BackupError::Dropped { wanted: 20, .. }), "{early}");
    assert_eq!(restored("end", Until::End).expect("restored").verified.dropped, 30);
}
