//! A copy of a running store is a store again, as of any point, and brings nobody
//! back who was erased.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::support::*;
use crate::{
    crypto::{HolderKeys, KeyName, SoftVault},
    model::*,
    store::*,
};

struct Place {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_790_000_000_000));
        Place { folder: tempfile::tempdir().expect("a folder"), clock }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self, name: &str) -> (EmbeddedStore, Arc<HolderKeys>) {
        let dir = self.path(name);
        let mut options = StoreOptions::in_dir(&dir, 110_000);
        options.segment_bytes = 256 * 1024;
        options.checkpoint_entries = 50;
        let vault = SoftVault::empty().with_key(KeyName::Seal, &[4; 16]).expect("16 bytes");
        let keys = HolderKeys::open(&dir.join("holder-keys"), Arc::new(vault), Arc::new(SystemRng));
        let keys = Arc::new(keys.expect("opens"));
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let sealer = Arc::clone(&keys) as _;
        let store = EmbeddedStore::open(options, Arc::new(TestVault::new(1)), sealer, clock);
        (store.expect("the store opens"), keys)
    }

    /// Taps of four holders, a millisecond and a batch each.
    fn taps(&self, store: &EmbeddedStore, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.clock.advance_ms(1);
            commit(store, tap(number, number, (number % 4) as u8)).expect("committed");
        }
    }

    fn restored(&self, name: &str, until: Until, erased: &[PathBuf]) -> Result<RestoreReport, BackupError> {
        let (from, to) = (self.path("copy"), self.path(name));
        let asked = Restored { from: &from, to: &to, until, erased };
        restore(&asked, &*self.clock, Some(&signed_by_test_vault))
    }
}

/// The store has the first `known` taps and none of the later ones, `all` in number.
#[track_caller]
fn assert_as_after(store: &EmbeddedStore, known: u32, all: u32) {
    for number in 0..all {
        let found = store.lookup.find(&participant(), request(number)).expect("readable");
        assert_eq!(found.is_some(), number < known, "tap {number} of {known}");
        if let Some(found) = found {
            assert_eq!(found.detail, format!("ride {number}"));
            assert_receipt(&found);
        }
    }
    for holder in 0..4_u8 {
        let rides = (0..known).filter(|number| number % 4 == u32::from(holder)).count() as u64;
        let transit = store.lookup.load(&transit(holder)).expect("readable");
        assert_eq!(transit.map_or(0, |transit| transit.revision), rides);
    }
    let totals = store.lookup.ledger_totals().expect("readable");
    assert_eq!((totals.debit_fen, totals.sum_fen()), (i128::from(known) * 300, 0));
}

#[test]
fn a_copy_of_a_running_store_is_put_back_as_of_any_point() {
    let place = Place::new();
    let (store, _keys) = place.open("live");
    let (live, copy) = (place.path("live"), place.path("copy"));
    place.taps(&store, 0..600);
    let first = backup(&live, &copy).expect("copied while it runs");
    assert!(first.segments_copied >= 2 && first.segments_kept == 0, "{first:?}");
    assert_eq!((first.last_sequence, first.holder_slots), (600, 4));
    place.taps(&store, 600..900);
    let at_450 = 1_790_000_000_000 + 450;
    let second = backup(&live, &copy).expect("brought up to date");
    assert!(second.segments_kept >= 1, "{second:?}");
    assert_eq!(second.last_sequence, 900);
    // What comes after the copy is not in it.
    place.taps(&store, 900..950);
    let head = commit(&store, tap(0, 0, 0)).expect("answered").replayed;
    assert!(head);

    for (name, until, known) in [
        ("end", Until::End, 900),
        ("sequence", Until::Sequence(123), 123),
        ("time", Until::Time(at_450), 450),
        ("first", Until::Sequence(1), 1),
    ] {
        let report = place.restored(name, until, &[]).expect(name);
        assert_eq!(
            (report.last_sequence, report.verified.entries),
            (u64::from(known), u64::from(known)),
            "{name}"
        );
        let (restored, keys) = place.open(name);
        assert_as_after(&restored, known, 950);
        // It goes on, and in another epoch.
        place.taps(&restored, 2_000..2_010);
        restored.close();
        drop((restored, keys));
        let journal = place.path(name).join("journal");
        let verified = verify_dir(&journal, Some(&signed_by_test_vault)).expect("it holds");
        let epochs: Vec<_> = verified.epochs.iter().map(|(_, first)| *first).collect();
        assert_eq!(epochs, [1, u64::from(known) + 1], "{name}");
        // The last checkpoint names the end of the chain and that of the epoch before.
        assert!(verified.heads > verified.checkpoints, "{name}: {verified:?}");
        assert_eq!(verified.heads_elsewhere, 0);
        let (again, _keys) = place.open(name);
        assert!(again.lookup.find(&participant(), request(2_009)).expect("readable").is_some());
    }
    assert_as_after(&store, 950, 950);
    drop(store);
    let closed = backup(&live, &copy).expect("copied when it is closed");
    assert!(closed.last_sequence >= 951, "{closed:?}");
}

#[test]
fn who_was_erased_after_the_copy_does_not_come_back() {
    let place = Place::new();
    let (store, keys) = place.open("live");
    let (live, copy) = (place.path("live"), place.path("copy"));
    place.taps(&store, 0..12);
    backup(&live, &copy).expect("copied");
    keys.destroy(subject(1)).expect("destroyed");
    let list = live.join("holder-keys/erased");
    let detail = |store: &EmbeddedStore, number| {
        store.lookup.find(&participant(), request(number)).expect("readable").expect("there").detail
    };
    let check = |name: &str| {
        let (restored, _keys) = place.open(name);
        assert_eq!(detail(&restored, 1), "", "erased");
        assert_eq!(detail(&restored, 2), "ride 2");
        assert_eq!(restored.lookup.load(&transit(1)).expect("readable"), None);
    };
    let report = place.restored("with-list", Until::End, std::slice::from_ref(&list)).expect("restored");
    assert_eq!((report.erased, report.holder_slots), (1, 4));
    check("with-list");
    // The next copy knows by itself, and the older salt is gone from it.
    let next = backup(&live, &copy).expect("copied");
    assert_eq!(next.erased, 1);
    place.restored("without-list", Until::Sequence(12), &[]).expect("restored");
    check("without-list");
    let missing = place.restored("none", Until::End, &[place.path("nowhere")]);
    assert!(matches!(missing, Err(BackupError::Disk { .. })), "a list that is not there is a mistake");
}

#[test]
fn what_is_damaged_or_does_not_fit_is_refused() {
    let place = Place::new();
    let (store, _keys) = place.open("live");
    let (live, copy) = (place.path("live"), place.path("copy"));
    assert!(matches!(place.restored("early", Until::End, &[]), Err(BackupError::NoBackup(..))));
    place.taps(&store, 0..300);
    backup(&live, &copy).expect("copied");
    let beyond = place.restored("beyond", Until::Sequence(301), &[]);
    assert!(matches!(beyond, Err(BackupError::OutOfReach { first: 1, last: 300 })), "{beyond:?}");
    let before = place.restored("before", Until::Time(5), &[]);
    assert!(matches!(before, Err(BackupError::OutOfReach { .. })), "{before:?}");
    place.restored("full", Until::End, &[]).expect("restored");
    assert!(matches!(place.restored("full", Until::End, &[]), Err(BackupError::NotEmpty(_))));
    let segment = copy.join("journal/00000000000000000001.journal");
    flip(&segment, 700);
    assert!(matches!(place.restored("damaged", Until::End, &[]), Err(BackupError::Damaged(_))));
    flip(&segment, 700);
    place.restored("whole", Until::End, &[]).expect("restored");

    // One folder holds copies of one store.
    let mut options = StoreOptions::in_dir(place.path("other"), 120_000);
    options.segment_bytes = 256 * 1024;
    let clock = Arc::clone(&place.clock) as Arc<dyn Clock>;
    let sealer = Arc::new(TestSealer::default());
    let other = EmbeddedStore::open(options, Arc::new(TestVault::new(1)), sealer, clock).expect("opens");
    commit(&other, tap(1, 1, 1)).expect("committed");
    let mixed = backup(&place.path("other"), &copy);
    assert!(matches!(mixed, Err(BackupError::OtherStore { .. })), "{mixed:?}");
}

/// Brings the copy up to date and takes the manifest back: what is there when a backup
/// is stopped just before its end.
fn stopped_before_the_manifest(live: &Path, copy: &Path) {
    let manifest = copy.join("manifest.json");
    let older = std::fs::read(&manifest).expect("readable");
    backup(live, copy).expect("copied");
    std::fs::write(&manifest, older).expect("written");
}

#[test]
fn a_backup_that_was_stopped_leaves_the_older_copy_whole() {
    let place = Place::new();
    let (store, _keys) = place.open("live");
    let (live, copy) = (place.path("live"), place.path("copy"));
    place.taps(&store, 0..300);
    backup(&live, &copy).expect("copied");
    // More in the same segment, then further ones, and another holder.
    for (name, numbers) in [("same", 300..310), ("further", 310..900)] {
        place.taps(&store, numbers.clone());
        place.clock.advance_ms(1);
        let number = 5_000 + numbers.end;
        commit(&store, tap(number, number, numbers.end as u8)).expect("committed");
        stopped_before_the_manifest(&live, &copy);
        let report = place.restored(name, Until::End, &[]).expect("the older copy is whole");
        assert_eq!((report.last_sequence, report.verified.entries), (300, 300), "{name}");
        let (restored, _keys) = place.open(name);
        assert_as_after(&restored, 300, 900);
    }
    let beyond = place.restored("beyond", Until::Sequence(301), &[]);
    assert!(matches!(beyond, Err(BackupError::OutOfReach { first: 1, last: 300 })), "{beyond:?}");
    flip(&copy.join("journal/00000000000000000001.journal"), 700);
    assert!(matches!(place.restored("damaged", Until::End, &[]), Err(BackupError::Damaged(_))));
}

#[test]
fn who_was_erased_in_a_backup_that_was_stopped_stays_erased() {
    let place = Place::new();
    let (store, keys) = place.open("live");
    let (live, copy) = (place.path("live"), place.path("copy"));
    place.taps(&store, 0..12);
    backup(&live, &copy).expect("copied");
    keys.destroy(subject(1)).expect("destroyed");
    stopped_before_the_manifest(&live, &copy);
    let report = place.restored("restored", Until::End, &[]).expect("the older copy is whole");
    assert_eq!((report.last_sequence, report.erased), (12, 1));
    let (restored, _keys) = place.open("restored");
    assert_eq!(restored.lookup.load(&transit(1)).expect("readable"), None);
    assert!(restored.lookup.load(&transit(2)).expect("readable").is_some());
}

#[test]
fn holder_keys_that_are_not_what_was_copied_are_refused() {
    let place = Place::new();
    let (store, keys) = place.open("live");
    let (live, copy) = (place.path("live"), place.path("copy"));
    place.taps(&store, 0..12);
    keys.destroy(subject(3)).expect("destroyed");
    backup(&live, &copy).expect("copied");
    let (salts, list) = (copy.join("holder-keys/salts"), copy.join("holder-keys/erased"));
    let (whole_salts, whole_list) =
        (std::fs::read(&salts).expect("readable"), std::fs::read(&list).expect("readable"));
    let refused = |name: &str| {
        let refused = place.restored(name, Until::End, &[]);
        assert!(matches!(refused, Err(BackupError::Damaged(_))), "{name}: {refused:?}");
    };
    flip(&salts, 20);
    refused("flipped");
    std::fs::write(&salts, &whole_salts[..64]).expect("written");
    refused("shortened");
    std::fs::remove_file(&salts).expect("removed");
    refused("removed");
    std::fs::write(&salts, &whole_salts).expect("written");
    std::fs::write(&list, []).expect("written");
    refused("without its list");
    std::fs::write(&list, &whole_list).expect("written");
    // Nothing was put there by what was refused.
    place.restored("flipped", Until::End, &[]).expect("restored");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("readable");
    bytes[at] ^= 4;
    std::fs::write(path, bytes).expect("written");
}
