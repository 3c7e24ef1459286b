//! The same request never has two effects.

use futures_util::future::join_all;
use proptest::prelude::*;

use super::support::*;
use crate::{model::*, store::*};

#[test]
fn parallel_duplicates_have_one_effect_and_one_answer() {
    let world = World::on(LyingDisk::new());
    let store = world.open();
    let answers = wait(join_all((0..50).map(|at| store.commit(tap(7, 100 + at, 1)))));
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("answered")).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    for answer in &answers {
        assert_eq!(answer.entry, answers[0].entry);
        assert_eq!(answer.detail, "ride 7");
        assert_receipt(answer);
    }
    let stored = store.lookup.load(&code(1)).expect("readable").expect("there");
    assert_eq!(stored.revision, 1, "the card was written once");
}

#[test]
fn a_request_id_with_another_payload_is_refused() {
    let store = World::on(LyingDisk::new()).open();
    commit(&store, tap(7, 1, 1)).expect("committed");
    let mut other = tap(7, 2, 1);
    other.step = Step::First { request: request(7), fingerprint: [0; 32] };
    assert!(matches!(commit(&store, other), Err(StoreError::RequestIdMisused)));
}

#[test]
fn a_repeat_after_a_restart_gets_the_same_bytes_and_a_receipt_that_holds() {
    let world = World::on(LyingDisk::new());
    let before = commit(&world.open(), tap(7, 1, 1)).expect("committed");
    assert!(!before.replayed);
    let after = commit(&world.open(), tap(7, 2, 1)).expect("answered");
    assert!(after.replayed);
    assert_eq!((&after.entry, &after.detail), (&before.entry, &before.detail));
    assert_eq!(after.receipt.batch_header, before.receipt.batch_header);
    assert_receipt(&before);
    assert_receipt(&after);
}

#[test]
fn a_proof_holds_for_its_entry_and_for_no_other() {
    let store = World::on(LyingDisk::new()).open();
    wait(join_all((0..9).map(|at| store.commit(tap(at, at, at as u8)))));
    let prove = |number| store.prove(transaction(number)).expect("readable").remove(0);
    for number in 0..9 {
        let proof = prove(number);
        let header = proof.check(&signed_by_test_vault).expect("the proof holds");
        assert_eq!(header.region, 110_000);
        let other = Proof { public_part: prove((number + 1) % 9).public_part, ..proof.clone() };
        assert_eq!(other.check(&signed_by_test_vault), Err(BadReceipt::OtherEntry));
        let mut altered = proof.clone();
        altered.receipt.signature[7] ^= 1;
        assert_eq!(altered.check(&signed_by_test_vault), Err(BadReceipt::Signature));
        let mut elsewhere = proof.clone();
        elsewhere.receipt.leaf[0] ^= 1;
        assert_eq!(elsewhere.check(&signed_by_test_vault), Err(BadReceipt::OtherEntry));
        let mut header = proof;
        header.receipt.batch_header = [header.receipt.batch_header.as_ref(), &[0x48, 1]].concat().into();
        assert_eq!(header.check(&signed_by_test_vault), Err(BadReceipt::Signature));
    }
    assert!(store.prove(transaction(77)).expect("readable").is_empty());
}

#[test]
fn steps_follow_each_other_until_one_is_final() {
    let store = World::on(LyingDisk::new()).open();
    let missing = step_with_task(1, Step::Next, Status::Pending, false, 10);
    assert!(matches!(commit(&store, missing), Err(StoreError::NoSuchTransaction)));
    commit(&store, step_with_task(1, first(1), Status::Pending, false, 10)).expect("first");
    commit(&store, step_with_task(1, Step::Next, Status::Pending, false, 20)).expect("second");
    let last = commit(&store, step_with_task(1, Step::Next, Status::Completed, true, 0)).expect("third");
    assert_eq!((last.entry.step, last.replayed), (2, false));
    let again = commit(&store, step_with_task(1, Step::Next, Status::Reversed, true, 0)).expect("answered");
    assert!(again.replayed);
    assert_eq!(again.entry, last.entry, "a final transaction does not change");
    let repeat = commit(&store, step_with_task(9, first(1), Status::Pending, false, 10)).expect("answered");
    assert_eq!(repeat.entry, last.entry, "a repeat gets the last step");
}

#[test]
fn a_unit_that_fails_fails_alone() {
    let store = World::on(LyingDisk::new()).open();
    let panics = unit_with(1, first(1), vec![], |view, _| {
        view.get::<record::CardFile>(b"not named").map(|_| Decision::new(Outcome::Approved))
    });
    let corrupt =
        unit_with(2, first(2), vec![], |_, _| Err(CorruptAggregate { kind: AggregateKind::CodeUse }));
    let money = unit_with(3, first(3), vec![], |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.postings = vec![Posting { account: "a".to_owned(), amount: Fen::new(1) }];
        Ok(decision)
    });
    let unnamed = unit_with(4, first(4), vec![], |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.writes = vec![Write { key: code(1), schema: 1, body: None }];
        Ok(decision)
    });
    let nobody = unit_with(5, first(5), vec![], |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.detail = Detail { schema: 1, bytes: "x".into(), personal: true };
        Ok(decision)
    });
    let too_large = unit_with(6, first(6), vec![], |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.detail =
            Detail { schema: 1, bytes: vec![0; crate::limits::ENTRY_BYTES_MAX + 1].into(), personal: false };
        Ok(decision)
    });
    for unit in [panics, corrupt, money, unnamed, nobody, too_large] {
        assert!(matches!(commit(&store, unit), Err(StoreError::Corrupt(_))));
    }
    assert!(store.is_ready());
    for number in 1..=6 {
        commit(&store, tap(number, 10 + number, 1)).expect("the request is free for a unit that works");
    }
}

#[test]
fn the_time_of_commitment_never_goes_backwards() {
    let world = World::on(LyingDisk::new());
    let store = world.open();
    let first = commit(&store, tap(1, 1, 1)).expect("committed");
    world.clock.advance_ms(-60_000);
    let second = commit(&store, tap(2, 2, 1)).expect("committed");
    assert!(second.entry.committed_at_ms >= first.entry.committed_at_ms);
    assert_eq!(store.committed_at_ms(), second.entry.committed_at_ms, "whoever watches the clock sees it");
    drop(store);
    let store = world.open();
    assert!(store.committed_at_ms() >= second.entry.committed_at_ms);
    let third = commit(&store, tap(3, 3, 1)).expect("committed");
    assert!(third.entry.committed_at_ms >= second.entry.committed_at_ms);
}

#[test]
fn a_full_queue_says_busy() {
    let disk = LyingDisk::new();
    let mut world = World::on(disk.clone());
    world.options.queue_max = 4;
    world.options.batch_max = 1;
    let store = world.open();
    disk.arm(0, Fault::Slow(std::time::Duration::from_millis(100)));
    let answers = wait(join_all((0..50).map(|at| store.commit(tap(at, at, 1)))));
    let busy = answers.iter().filter(|answer| matches!(answer, Err(StoreError::Busy))).count();
    assert!((1..50).contains(&busy), "{busy} of 50 were told to come back");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(StoreError::Busy))));
    settle(&store);
    commit(&store, tap(99, 99, 1)).expect("there is room again");
}

#[derive(Debug, Clone)]
enum Act {
    Tap { request: u32, holder: u8 },
    Reopen,
    PowerLoss { seed: u64 },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        12 => (0..20_u32, 0..4_u8).prop_map(|(request, holder)| Act::Tap { request, holder }),
        1 => Just(Act::Reopen),
        1 => any::<u64>().prop_map(|seed| Act::PowerLoss { seed }),
    ];
    prop::collection::vec(act, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Against the smallest model there is: a table of requests and a counter per
    /// holder.
    #[test]
    fn the_store_does_what_a_table_would(acts in acts()) {
        let mut disk = LyingDisk::new();
        let mut world = World::on(disk.clone());
        let mut store = world.open();
        let mut done = std::collections::HashMap::<u32, (u32, u8, u64)>::new();
        let mut rides = [0_u64; 4];
        for (at, act) in acts.into_iter().enumerate() {
            match act {
                Act::Tap { request, holder } => {
                    let id = 1_000 + at as u32;
                    let answer = commit(&store, tap(request, id, holder)).expect("answered");
                    let (first, by, ride) = *done.entry(request).or_insert_with(|| {
                        rides[usize::from(holder)] += 1;
                        (id, holder, rides[usize::from(holder)])
                    });
                    prop_assert_eq!(answer.replayed, first != id);
                    prop_assert_eq!(answer.entry.transaction_id.clone(), transaction(first).as_bytes().to_vec());
                    prop_assert_eq!(answer.entry.writes[0].revision, ride);
                    prop_assert_eq!(answer.entry.subject.clone(), subject(by).as_bytes().to_vec());
                }
                Act::Reopen => {
                    store.close();
                    store = world.open();
                }
                Act::PowerLoss { seed } => {
                    disk = disk.lose_power(seed);
                    drop(store);
                    world = world.found(disk.clone());
                    store = world.open();
                }
            }
            for (holder, rides) in rides.iter().enumerate() {
                let stored = store.lookup.load(&transit(holder as u8)).expect("readable");
                prop_assert_eq!(stored.map_or(0, |stored| stored.revision), *rides);
            }
        }
        store.close();
        let report = world.verify().expect("the journal holds");
        prop_assert_eq!(report.entries, done.len() as u64);
    }
}
