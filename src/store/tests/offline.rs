//! A journal can be looked at from outside, also while it is written to, and what
//! it proves needs nothing but a key.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use prost::Message;

use super::support::*;
use crate::{
    crypto::{KeyName, KeyVault, Sm2PublicKey},
    model::*,
    store::{segment, *},
};

fn public_key(seed: u8) -> Sm2PublicKey {
    let point = TestVault::new(seed).public_key(KeyName::Journal).expect("the key is there");
    Sm2PublicKey::from_bytes(&point).expect("a point")
}

/// A closed journal with a transaction of two steps among others, and its proof.
fn proof_of_two_steps() -> ProofFile {
    let disk = LyingDisk::new();
    let store = World::on(disk.clone()).open();
    for number in 0..9 {
        commit(&store, tap(number, number, 1)).expect("committed");
    }
    commit(&store, step_with_task(50, first(50), Status::Pending, false, 10)).expect("first");
    commit(&store, tap(60, 60, 1)).expect("committed");
    commit(&store, step_with_task(50, Step::Next, Status::Completed, true, 0)).expect("second");
    store.close();
    let proven = OfflineJournal::on(std::sync::Arc::new(disk)).prove(transaction(50)).expect("read");
    assert_eq!((proven.proofs.len(), proven.unsigned, proven.end.unfinished), (2, 0, None));
    ProofFile { transaction: transaction(50), steps: proven.proofs }
}

#[test]
fn a_proof_needs_nothing_but_the_key() {
    let proof = ProofFile::parse(&proof_of_two_steps().to_json()).expect("a proof");
    let steps = proof.check(&public_key(1)).expect("it holds");
    let told: Vec<_> = steps.iter().map(|step| (step.entry.step, step.entry.status)).collect();
    assert_eq!(told, [(0, Status::Pending.number()), (1, Status::Completed.number())]);
    assert!(steps.iter().all(|step| step.header.region == 110_000));
}

#[test]
fn a_forged_proof_is_refused_with_the_reason() {
    let proof = proof_of_two_steps();
    let key = public_key(1);
    #[track_caller]
    fn check(proof: &ProofFile, key: &Sm2PublicKey, change: impl FnOnce(&mut ProofFile), reason: &str) {
        let mut forged = proof.clone();
        change(&mut forged);
        // What is forged is forged in a file.
        let forged = ProofFile::parse(&forged.to_json()).expect("it has the form");
        let refused = forged.check(key).expect_err("refused");
        assert!(refused.to_string().contains(reason), "{refused}");
    }
    check(&proof, &public_key(2), |_| {}, "its batch is signed with key");
    check(&proof, &key, |forged| forged.steps.clear(), "no step");
    check(&proof, &key, |forged| forged.steps[1].receipt.signature[9] ^= 1, "signature");
    check(&proof, &key, |forged| forged.steps[0].sealed_digest[0] ^= 1, "path");
    check(&proof, &key, |forged| forged.steps[0].receipt.index = 7, "path");
    check(&proof, &key, |forged| forged.steps.swap(0, 1), "stands where step");
    check(&proof, &key, |forged| forged.steps[1] = forged.steps[0].clone(), "stands where step");
    check(
        &proof,
        &key,
        |forged| {
            forged.steps.remove(0);
        },
        "step 1 stands where step 0",
    );
    check(&proof, &key, |forged| forged.transaction = transaction(51), "another transaction");
    let another_amount = |forged: &mut ProofFile| {
        let mut entry = record::Entry::decode(forged.steps[1].public_part.clone()).expect("an entry");
        entry.status = Status::Reversed.number();
        forged.steps[1].public_part = entry.encode_to_vec().into();
    };
    check(&proof, &key, another_amount, "path");
    let another_root = |forged: &mut ProofFile| {
        let receipt = &mut forged.steps[0].receipt;
        let mut header = record::BatchHeader::decode(receipt.batch_header.clone()).expect("a header");
        header.committed_at_ms += 1;
        receipt.batch_header = header.encode_to_vec().into();
    };
    check(&proof, &key, another_root, "signature");
}

#[test]
fn what_is_no_proof_is_told_so() {
    let text = proof_of_two_steps().to_json();
    for (from, to) in [
        ("onecard/journal/proof/v1", "onecard/journal/proof/v9"),
        ("\"index\"", "\"place\""),
        ("\"signature\": \"", "\"signature\": \"00"),
        ("\"public_part\": \"", "\"public_part\": \"xy"),
        ("\"transaction_id\": \"", "\"transaction_id\": \"0"),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text, "{from}");
        assert!(ProofFile::parse(&other).is_err(), "{to}");
    }
    assert!(ProofFile::parse("").is_err());
    assert!(ProofFile::parse(&text).is_ok());
}

#[test]
fn a_step_of_the_last_batch_waits_for_its_signature() {
    let disk = LyingDisk::new();
    let store = World::on(disk.clone()).open();
    let journal = OfflineJournal::on(std::sync::Arc::new(disk.clone()));
    commit(&store, tap(1, 1, 1)).expect("committed");
    let unsigned = journal.prove(transaction(1)).expect("read");
    assert_eq!((unsigned.proofs.len(), unsigned.unsigned), (0, 1));
    commit(&store, tap(2, 2, 1)).expect("committed");
    let signed = journal.prove(transaction(1)).expect("read");
    assert_eq!((signed.proofs.len(), signed.unsigned), (1, 0));
    assert_eq!(signed.proofs, store.prove(transaction(1)).expect("readable"));
    assert_eq!(journal.prove(transaction(3)).expect("read").proofs, []);
}

#[test]
fn a_stretch_of_time_is_read_whatever_segments_it_lies_in() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    let began = world.clock.now_ms();
    for number in 0..500 {
        world.clock.set_ms(began + i64::from(number));
        commit(&store, bulky(number)).expect("committed");
    }
    assert!(segment::Segments::list(std::sync::Arc::new(disk.clone())).expect("listed").firsts().len() > 3);
    let journal = OfflineJournal::on(std::sync::Arc::new(disk));
    let read = |from: Option<i64>, until: Option<i64>| {
        let between =
            Between { from_ms: from.map(|at| began + at), until_ms: until.map(|until| began + until) };
        let mut times = Vec::new();
        journal
            .entries(between, &mut |read| times.push(read.entry.committed_at_ms - began))
            .expect("the journal holds");
        times
    };
    assert_eq!(read(None, None), (0..500).collect::<Vec<_>>());
    for (from, until) in [(0, 1), (3, 3), (120, 380), (499, 900), (-5, 40), (700, 800)] {
        let all = (0..500).filter(|at| (from..until).contains(at)).collect::<Vec<i64>>();
        assert_eq!(read(Some(from), Some(until)), all, "{from} to {until}");
    }
    assert_eq!(read(None, Some(77)), (0..77).collect::<Vec<_>>());
    assert_eq!(read(Some(77), None), (77..500).collect::<Vec<_>>());
}

#[test]
fn a_half_written_frame_is_the_end_and_is_told() {
    let disk = LyingDisk::new();
    let store = World::on(disk.clone()).open();
    for number in 0..3 {
        commit(&store, bulky(number)).expect("committed");
    }
    let name = segment::name(1);
    let (at, frame) = disk
        .tamper(&name, |bytes| {
            let at = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
            let at = at.next_multiple_of(512);
            // A frame of which only the first sectors have arrived.
            let frame = bytes[512..1_536].to_vec();
            bytes[at..at + 1_024].copy_from_slice(&frame);
            (at as u64, frame.len())
        })
        .expect("the segment is there");
    assert_eq!(frame, 1_024);
    let journal = OfflineJournal::on(std::sync::Arc::new(disk.clone()));
    let mut entries = 0;
    let end = journal.entries(Between::default(), &mut |_| entries += 1).expect("read");
    let unfinished = end.unfinished.expect("told");
    assert_eq!((entries, end.last_sequence, unfinished.segment, unfinished.offset), (3, 3, 1, at));
    let (newest, mut follower) = journal.tail(2).expect("read");
    assert_eq!(newest.len(), 2);
    assert!(follower.more().expect("nothing yet").is_empty());
    // The strict check of a journal that nobody writes to takes it for damage.
    let broken = verify_disk(std::sync::Arc::new(disk), None).expect_err("not whole");
    assert_eq!((broken.segment, broken.offset), (1, at));
}

#[test]
fn a_journal_is_followed_and_verified_while_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = StoreOptions::in_dir(folder.path(), 110_000);
    options.segment_bytes = 256 * 1024;
    let vault = std::sync::Arc::new(TestVault::new(1));
    let sealer = std::sync::Arc::new(TestSealer::default());
    let store = EmbeddedStore::open(options, vault, sealer, std::sync::Arc::new(SystemClock)).expect("opens");
    let dir = folder.path().join("journal");
    let done = AtomicBool::new(false);
    let followed = std::thread::scope(|scope| {
        let follows = scope.spawn(|| {
            let (mut seen, mut follower) =
                OfflineJournal::look(&dir).expect("a folder").tail(9).expect("read");
            loop {
                let last_look = done.load(Ordering::Acquire);
                seen.extend(follower.more().expect("the chain goes on"));
                if last_look {
                    return seen;
                }
                std::thread::yield_now();
            }
        });
        let verifies = scope.spawn(|| {
            let mut verified = 0;
            while !done.load(Ordering::Acquire) {
                let report = verify_dir(&dir, Some(&signed_by_test_vault)).expect("it holds while it grows");
                assert!(report.running && report.entries >= verified, "{report:?}");
                verified = report.entries;
            }
        });
        for number in 0..600 {
            commit(&store, bulky(number)).expect("committed");
        }
        done.store(true, Ordering::Release);
        verifies.join().expect("no panic");
        follows.join().expect("no panic")
    });
    let ids: Vec<_> = followed.iter().map(|read| read.entry.transaction_id.clone()).collect();
    assert_eq!(ids.len(), ids.iter().collect::<HashSet<_>>().len(), "nothing comes twice");
    assert_eq!(ids.last().map(Vec::as_slice), Some(transaction(599).as_bytes().as_slice()));
    let numbers = followed.iter().map(|read| read.batch.header.sequence).collect::<Vec<_>>();
    assert!(numbers.windows(2).all(|pair| pair[0] <= pair[1]));
    assert!(followed.len() >= 590, "{} followed", followed.len());
    drop(store);
    let report = verify_dir(&dir, Some(&signed_by_test_vault)).expect("it holds");
    assert_eq!((report.running, report.entries, report.unfinished), (false, 600, None));
}
