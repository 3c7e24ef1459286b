//! Checkpoints tell the truth, and a start reads no further back than the last.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::support::*;
use crate::{
    model::*,
    store::{segment, *},
};

/// A journal of some segments with a checkpoint every ten entries, crashed with its
/// index as it was.
fn crashed() -> (World, LyingDisk) {
    let disk = LyingDisk::new();
    let mut world = World::on(disk.clone());
    world.options.checkpoint_entries = 10;
    let store = world.open();
    for number in 0..400 {
        commit(&store, bulky(number)).expect("committed");
        commit(&store, tap(1_000 + number, 1_000 + number, 1)).expect("committed");
    }
    settle(&store);
    let found = disk.lose_power(3);
    drop(store);
    (World { disk: Arc::new(found.clone()), ..world }, found)
}

#[test]
fn a_start_reads_from_the_last_checkpoint_on_and_no_further() {
    let (world, disk) = crashed();
    // What lies before is damaged: who reads it would refuse.
    let name = segment::name(1);
    disk.tamper(&name, |bytes| bytes[700] ^= 4);
    let store = world.open();
    commit(&store, tap(2_000, 2_000, 1)).expect("committed");
    assert_eq!(store.lookup.ledger_totals().expect("readable").debit_fen, 401 * 300);
    store.close();
    assert!(world.verify().is_err(), "the damage is there");
    let whole = World {
        options: StoreOptions { check_whole_journal: true, ..world.options.clone() },
        ..world.clone()
    };
    assert!(matches!(whole.try_open(), Err(OpenError::Broken(_))), "and is found by who reads everything");
    disk.tamper(&name, |bytes| bytes[700] ^= 4);
    let report = world.verify().expect("it holds");
    assert!(report.checkpoints >= 80, "{report:?}");
    assert_eq!((report.ledger.debit_fen, report.ledger.sum_fen()), (401 * 300, 0));
    whole.open().close();
}

#[test]
fn a_journal_that_is_closed_tells_all_its_totals() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    for number in 0..7 {
        commit(&store, tap(number, number, 1)).expect("committed");
    }
    store.close();
    let report = world.verify().expect("it holds");
    assert_eq!((report.checkpoints, report.batches, report.last_unsigned), (1, 9, false));
    assert_eq!(report.signatures_checked, 8, "the checkpoint's batch is signed too");
    // Nothing is written where nothing happened.
    world.open().close();
    assert_eq!(world.verify().expect("it holds").batches, 9);
}

#[test]
fn an_index_with_other_totals_than_the_journal_is_rebuilt() {
    let (world, _) = crashed();
    let before = world.open();
    before.close();
    let truth = world.index.dump();
    let mut changes = Changes::default();
    let mut wrong = LedgerTotals::default();
    wrong.post(5);
    changes.put(&[b"s"], &[&wrong.encode()]);
    changes.settle();
    world.index.write(&changes).expect("written");
    world.open().close();
    let rebuilt: Vec<_> = world.index.dump();
    let differs: Vec<_> = rebuilt.iter().zip(&truth).filter(|(now, then)| now != then).collect();
    assert_eq!((differs, rebuilt.len()), (Vec::new(), truth.len()));
}

#[test]
fn a_quiet_journal_gets_a_checkpoint_by_time() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    let checkpoints = || {
        // Without closing, which would add one.
        let mut count = 0;
        let segments = segment::Segments::list(Arc::new(disk.clone())).expect("listed");
        super::super::walk::walk(&segments, None, super::super::walk::Tail::MayBeTorn, &mut |walked| {
            count += usize::from(!walked.batch.checkpoint.is_empty());
            Ok(())
        })
        .expect("it holds");
        count
    };
    commit(&store, tap(1, 1, 1)).expect("committed");
    world.clock.advance_ms(world.options.checkpoint_ms - 1);
    commit(&store, tap(2, 2, 1)).expect("committed");
    assert_eq!(checkpoints(), 0);
    world.clock.advance_ms(1);
    commit(&store, tap(3, 3, 1)).expect("committed");
    assert_eq!(checkpoints(), 1);
}

/// Counts what is read of a disk.
#[derive(Debug)]
struct CountingDisk(LyingDisk, Arc<AtomicU64>);

#[derive(Debug)]
struct CountingFile(Arc<dyn DiskFile>, Arc<AtomicU64>);

impl Disk for CountingDisk {
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(CountingFile(self.0.create(name, bytes)?, Arc::clone(&self.1))))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(CountingFile(self.0.open(name)?, Arc::clone(&self.1))))
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

impl DiskFile for CountingFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.1.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.0.read_at(offset, bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

/// Bytes that a start after a crash reads of a journal of so many entries, beside
/// the heads of its segments.
fn read_at_start(entries: u32) -> u64 {
    let disk = LyingDisk::new();
    let mut world = World::on(disk.clone());
    world.options.checkpoint_entries = 100;
    let store = world.open();
    for from in (0..entries).step_by(20) {
        let together = (from..from + 20).map(|number| store.commit(bulky(number)));
        for answer in wait(futures_util::future::join_all(together)) {
            answer.expect("committed");
        }
    }
    settle(&store);
    let found = disk.lose_power(1);
    drop(store);
    let segments = segment::Segments::list(Arc::new(found.clone())).expect("listed").firsts().len() as u64;
    let read = Arc::new(AtomicU64::new(0));
    let disk = Arc::new(CountingDisk(found, Arc::clone(&read)));
    World { disk, ..world.clone() }.open();
    read.load(Ordering::Relaxed) - segments * 512
}

#[test]
fn what_a_start_reads_does_not_grow_with_the_journal() {
    // The end of the last segment is looked through; 120 entries since the last
    // checkpoint at most, of some 2,000 bytes, each frame's first sector twice.
    let most = 3 * 256 * 1024 + 120 * 2 * 2_048;
    for entries in [400, 1_600, 6_400] {
        let read = read_at_start(entries);
        assert!(read < most, "{read} bytes of {entries} entries");
    }
    assert!(6_400 * 1_500 > 7 * most, "the longest journal is far longer than that");
}

#[test]
fn a_ledger_of_more_accounts_than_fit_goes_on_without_checkpoints() {
    let disk = LyingDisk::new();
    let mut world = World::on(disk.clone());
    world.options.checkpoint_entries = 1;
    let store = world.open();
    // 800 accounts take more than the eighth of a small segment.
    for number in 0..8 {
        let unit = unit_with(number, first(number), vec![], move |_, _| {
            let mut decision = Decision::new(Outcome::Approved);
            let account = |at: u32| format!("participant/a-participant-of-many-{number}-{at}/fares");
            let sides = (0..100).map(|at| (account(at), if at % 2 == 0 { 5 } else { -5 }));
            let posting = |(account, fen)| Posting { account, amount: Fen::new(fen) };
            decision.postings = sides.map(posting).collect();
            Ok(decision)
        });
        commit(&store, unit).expect("committed");
    }
    commit(&store, tap(100, 100, 1)).expect("committed");
    store.close();
    let report = world.verify().expect("it holds");
    assert_eq!((report.entries, report.last_unsigned), (9, false));
    assert!((1..8).contains(&report.checkpoints), "{report:?}");
    let store = world.open();
    assert_eq!(store.lookup.ledger_totals().expect("readable").sum_fen(), 0);
    commit(&store, tap(101, 101, 1)).expect("committed");
}
