//! A segment that was archived is still part of the journal.

use std::{path::PathBuf, sync::Arc};

use super::support::*;
use crate::{
    model::*,
    store::{segment, *},
};

const ENTRIES: u32 = 500;

/// A running store of some segments in a real folder.
fn running() -> (tempfile::TempDir, EmbeddedStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder);
    for number in 0..ENTRIES {
        commit(&store, bulky(number)).expect("committed");
    }
    (folder, store)
}

fn open(folder: &tempfile::TempDir) -> EmbeddedStore {
    let mut options = StoreOptions::in_dir(folder.path().join("store"), 110_000);
    options.segment_bytes = 256 * 1024;
    let sealer = Arc::new(TestSealer::default());
    let vault = Arc::new(TestVault::new(1));
    EmbeddedStore::open(options, vault, sealer, Arc::new(SystemClock)).expect("opens")
}

fn places(folder: &tempfile::TempDir) -> (PathBuf, PathBuf) {
    (folder.path().join("store/journal"), folder.path().join("archive"))
}

#[track_caller]
fn assert_all_read(store: &EmbeddedStore) {
    for number in 0..ENTRIES {
        let found = store.lookup.find(&participant(), request(number)).expect("readable");
        assert_receipt(&found.unwrap_or_else(|| panic!("entry {number}")));
    }
}

#[test]
fn an_archived_segment_is_read_where_it_was() {
    let (folder, store) = running();
    let (journal, to) = places(&folder);
    let before = RealDisk::look(&journal).list().expect("listed").len();
    let report = archive(&journal, &to, 2).expect("archived while it runs");
    assert!(report.segments >= 2 && report.packed_bytes < report.bytes, "{report:?}");
    assert!(!journal.join(segment::name(1)).exists());
    let manifest = std::fs::read_to_string(to.join("manifest.jsonl")).expect("there");
    assert_eq!(manifest.lines().count(), report.segments);
    assert!(RealDisk::look(&journal).list().expect("listed").len() >= before);
    // By the store that runs, from outside, and by one that knows nothing yet.
    assert_all_read(&store);
    assert_eq!(
        OfflineJournal::look(&journal).expect("a folder").prove(transaction(1)).expect("read").proofs.len(),
        1
    );
    commit(&store, tap(1_000, 1_000, 1)).expect("committed");
    drop(store);
    let verified = verify_dir(&journal, Some(&signed_by_test_vault)).expect("the chain holds");
    assert_eq!(verified.entries, u64::from(ENTRIES) + 1);
    std::fs::remove_dir_all(folder.path().join("store/index")).expect("removed");
    let store = open(&folder);
    assert_all_read(&store);
    assert_eq!(archive(&journal, &to, 2).expect("nothing to do").segments, 0);
    assert!(archive(&journal, &folder.path().join("elsewhere"), 2).is_err(), "one archive only");
}

#[test]
fn a_copy_has_what_is_archived() {
    let (folder, store) = running();
    let (journal, to) = places(&folder);
    archive(&journal, &to, 2).expect("archived");
    let (live, copy) = (folder.path().join("store"), folder.path().join("copy"));
    backup(&live, &copy).expect("copied");
    drop(store);
    let restored = folder.path().join("restored");
    let asked = Restored { from: &copy, to: &restored, until: Until::End, erased: &[] };
    let report = restore(&asked, &SystemClock, None).expect("restored");
    assert_eq!(report.verified.entries, u64::from(ENTRIES));
}

#[test]
fn damage_in_the_archive_is_found() {
    let (folder, store) = running();
    let (journal, to) = places(&folder);
    archive(&journal, &to, 2).expect("archived");
    drop(store);
    let path = to.join(format!("{}.pak", segment::name(1)));
    let whole = std::fs::read(&path).expect("there");
    for at in [3, 30, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        std::fs::write(&path, &bytes).expect("written");
        let broken = verify_dir(&journal, None).expect_err("found");
        assert_eq!(broken.segment, 1, "{broken}");
    }
    std::fs::write(&path, &whole).expect("written");
    verify_dir(&journal, None).expect("it holds");
    std::fs::remove_file(&path).expect("removed");
    assert!(verify_dir(&journal, None).is_err(), "a missing one is missed");
}
