//! The same request never has two effects; what is asked finds what was done.

use futures_util::future::join_all;
use onecard::{model::*, store::*};

use crate::{units::*, world::*};

promises! {
    parallel_duplicates_have_one_effect_and_one_answer,
    a_request_id_with_another_payload_is_refused,
    a_repeat_after_a_restart_gets_the_same_bytes_and_a_receipt_that_holds,
    a_proof_holds_for_its_entry_and_for_no_other,
    steps_follow_each_other_until_one_is_final,
    a_later_request_is_appended_and_its_repeat_answered,
    parallel_later_requests_have_one_effect_each,
    a_request_that_is_taken_back_before_it_comes_is_never_done,
    a_request_and_what_takes_it_back_at_once_have_one_answer,
    balances_and_totals_are_those_of_the_postings,
    a_unit_that_fails_fails_alone,
    the_time_of_commitment_never_goes_backwards,
    many_taps_of_few_cards_are_counted_right,
    the_newest_entries_about_a_subject_come_first,
    an_entry_about_several_holders_is_found_for_each_and_loses_one_that_is_erased,
    tasks_are_due_until_they_are_done,
    a_closed_task_is_not_changed_by_another_transactions_entry,
    a_leased_task_is_nobody_elses_until_the_lease_runs_out,
    every_aggregate_of_a_kind_is_scanned,
    a_kind_is_gone_through_in_parts,
    destroying_a_key_erases_the_person_and_breaks_no_receipt,
}

async fn parallel_duplicates_have_one_effect_and_one_answer(world: World) {
    let open = world.open().await;
    let answers = join_all((0..50).map(|at| open.commit(tap(7, 100 + at, 1)))).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("answered")).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    for answer in &answers {
        assert_eq!(answer.entry, answers[0].entry);
        assert_eq!(answer.detail, "ride 7");
        world.assert_receipt(answer);
    }
    let stored = open.store().load(&code(1)).await.expect("readable").expect("there");
    assert_eq!(stored.revision, 1, "the card was written once");
    open.close().await;
}

async fn a_request_id_with_another_payload_is_refused(world: World) {
    let open = world.open().await;
    open.commit(tap(7, 1, 1)).await.expect("committed");
    let mut other = tap(7, 2, 1);
    other.step = Step::First { request: request(7), fingerprint: [0; 32] };
    assert!(matches!(open.commit(other).await, Err(StoreError::RequestIdMisused)));
    open.close().await;
}

async fn a_repeat_after_a_restart_gets_the_same_bytes_and_a_receipt_that_holds(world: World) {
    let open = world.open().await;
    let before = open.commit(tap(7, 1, 1)).await.expect("committed");
    assert!(!before.replayed);
    open.close().await;
    let open = world.open().await;
    let after = open.commit(tap(7, 2, 1)).await.expect("answered");
    assert!(after.replayed);
    assert_eq!((&after.entry, &after.detail), (&before.entry, &before.detail));
    assert_eq!(after.receipt.batch_header, before.receipt.batch_header);
    world.assert_receipt(&before);
    world.assert_receipt(&after);
    let found = open.store().find(&participant(), request(7)).await.expect("readable").expect("there");
    assert_eq!(found.entry, before.entry);
    assert!(open.store().find(&participant(), request(8)).await.expect("readable").is_none());
    open.close().await;
}

async fn a_proof_holds_for_its_entry_and_for_no_other(world: World) {
    let open = world.open().await;
    join_all((0..9).map(|at| open.commit(tap(at, at, at as u8)))).await;
    let verify = world.verifier();
    let mut proofs = Vec::new();
    for number in 0..9 {
        proofs.push(open.prove(transaction(number)).await.remove(0));
    }
    for (at, proof) in proofs.iter().enumerate() {
        let header = proof.check(&verify).expect("the proof holds");
        assert_eq!(header.region, 110_000);
        let other = Proof { public_part: proofs[(at + 1) % 9].public_part.clone(), ..proof.clone() };
        assert_eq!(other.check(&verify), Err(BadReceipt::OtherEntry));
        let mut altered = proof.clone();
        altered.receipt.signature[7] ^= 1;
        assert_eq!(altered.check(&verify), Err(BadReceipt::Signature));
    }
    assert!(open.prove(transaction(77)).await.is_empty());
    open.close().await;
}

async fn steps_follow_each_other_until_one_is_final(world: World) {
    let open = world.open().await;
    let missing = step_with_task(1, Step::Next, Status::Pending, false, 10);
    assert!(matches!(open.commit(missing).await, Err(StoreError::NoSuchTransaction)));
    open.commit(step_with_task(1, first(1), Status::Pending, false, 10)).await.expect("first");
    open.commit(step_with_task(1, Step::Next, Status::Pending, false, 20)).await.expect("second");
    let last = open.commit(step_with_task(1, Step::Next, Status::Completed, true, 0)).await.expect("third");
    assert_eq!((last.entry.step, last.replayed), (2, false));
    let again =
        open.commit(step_with_task(1, Step::Next, Status::Reversed, true, 0)).await.expect("answered");
    assert!(again.replayed);
    assert_eq!(again.entry, last.entry, "a final transaction does not change");
    let repeat =
        open.commit(step_with_task(9, first(1), Status::Pending, false, 10)).await.expect("answered");
    assert_eq!(repeat.entry, last.entry, "a repeat gets the last step");
    let steps = open.store().steps(transaction(1)).await.expect("readable");
    assert_eq!(steps.iter().map(|step| step.entry.step).collect::<Vec<_>>(), [0, 1, 2]);
    open.close().await;
}

/// A later request of transaction 1 that posts `fen` and leaves it as it is.
fn later(number: u32, fen: i64) -> Unit {
    let step = Step::Later { request: request(number), fingerprint: [number as u8; 32] };
    unit_with(1, step, vec![code(1)], move |view, _| {
        let mut decision = Decision::new(Outcome::Approved);
        let before = view.revision(&code(1)).to_be_bytes().to_vec();
        decision.writes = vec![Write { key: code(1), schema: 1, body: Some(before.into()) }];
        decision.postings = vec![
            Posting { account: "a".to_owned(), amount: Fen::new(-fen) },
            Posting { account: "b".to_owned(), amount: Fen::new(fen) },
        ];
        Ok(decision)
    })
}

async fn a_later_request_is_appended_and_its_repeat_answered(world: World) {
    let open = world.open().await;
    assert!(matches!(open.commit(later(2, 100)).await, Err(StoreError::NoSuchTransaction)));
    let first = open.commit(tap(1, 1, 1)).await.expect("committed");
    let refund = open.commit(later(2, 100)).await.expect("appended though it is final");
    let other = open.commit(later(3, 50)).await.expect("appended");
    assert_eq!((refund.entry.step, other.entry.step), (1, 2));
    let again = open.commit(later(2, 100)).await.expect("answered");
    assert!(again.replayed);
    assert_eq!(again.entry, refund.entry, "whatever came after it");
    let of_first = open.commit(tap(1, 9, 1)).await.expect("answered");
    assert_eq!(of_first.entry, first.entry, "the first request has an answer of its own");
    let found = open.store().find(&participant(), request(3)).await.expect("readable").expect("there");
    assert_eq!(found.entry, other.entry);
    let mut misused = later(2, 100);
    misused.step = Step::Later { request: request(2), fingerprint: [9; 32] };
    assert!(matches!(open.commit(misused).await, Err(StoreError::RequestIdMisused)));
    open.close().await;
}

async fn parallel_later_requests_have_one_effect_each(world: World) {
    let open = world.open().await;
    open.commit(tap(1, 1, 1)).await.expect("committed");
    let answers = join_all((0..60).map(|at| open.commit(later(10 + at % 6, 10)))).await;
    let mut steps = std::collections::BTreeMap::new();
    for (at, answer) in answers.into_iter().enumerate() {
        let answer = answer.expect("answered");
        assert_eq!(*steps.entry(at % 6).or_insert(answer.entry.step), answer.entry.step);
    }
    let mut steps: Vec<_> = steps.into_values().collect();
    steps.sort_unstable();
    assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
    let stored = open.store().load(&code(1)).await.expect("readable").expect("there");
    assert_eq!(stored.revision, 7);
    open.close().await;
}

async fn a_request_that_is_taken_back_before_it_comes_is_never_done(world: World) {
    let open = world.open().await;
    let back = open.commit(withdrawal(7, 1)).await.expect("committed");
    assert_eq!((back.replayed, back.entry.status), (false, Status::Reversed.number()));
    let late = open.commit(tap(7, 2, 1)).await.expect("answered");
    assert_eq!((late.replayed, &late.entry), (true, &back.entry));
    let again = open.commit(withdrawal(7, 3)).await.expect("answered");
    assert_eq!((again.replayed, &again.entry), (true, &back.entry));
    // A later request that was taken back is not done either.
    open.commit(tap(1, 10, 2)).await.expect("committed");
    let of_later = open.commit(withdrawal(8, 4)).await.expect("committed");
    let mut late = later(8, 50);
    late.transaction = transaction(10);
    assert_eq!(open.commit(late).await.expect("answered").entry, of_later.entry);
    // What came first is what there is to take back.
    let done = open.commit(tap(9, 5, 3)).await.expect("committed");
    assert_eq!(open.commit(withdrawal(9, 6)).await.expect("answered").entry, done.entry);
    open.close().await;

    let open = world.open().await;
    let late = open.commit(tap(7, 20, 1)).await.expect("answered");
    assert_eq!((late.replayed, &late.entry), (true, &back.entry));
    world.assert_receipt(&late);
    let found = open.store().find(&participant(), request(7)).await.expect("readable").expect("there");
    assert_eq!(found.entry, back.entry);
    assert_eq!(open.store().load(&code(1)).await.expect("readable"), None, "nothing was done");
    open.close().await;
}

async fn a_request_and_what_takes_it_back_at_once_have_one_answer(world: World) {
    let open = world.open().await;
    let both = (0..100).map(|at| {
        let (asks, takes_back) = (tap(at, 1_000 + at, 1), withdrawal(at, 2_000 + at));
        let open = &open;
        async move {
            let (asked, back) = match at % 2 {
                0 => tokio::join!(open.commit(asks), open.commit(takes_back)),
                _ => {
                    let (back, asked) = tokio::join!(open.commit(takes_back), open.commit(asks));
                    (asked, back)
                }
            };
            (asked.expect("answered"), back.expect("answered"))
        }
    });
    let mut done = 0;
    for (asked, back) in join_all(both).await {
        assert_eq!(asked.entry, back.entry, "one of them was first, and both are told which");
        assert_eq!([&asked, &back].iter().filter(|one| !one.replayed).count(), 1);
        done += u64::from(asked.entry.status == Status::Completed.number());
    }
    let stored = open.store().load(&code(1)).await.expect("readable");
    assert_eq!(stored.map_or(0, |stored| stored.revision), done);
    open.close().await;
}

async fn balances_and_totals_are_those_of_the_postings(world: World) {
    let open = world.open().await;
    for number in 1..=3 {
        open.commit(tap(number, number, number as u8)).await.expect("committed");
    }
    open.commit(later(9, 100)).await.expect("appended");
    let totals = open.store().ledger_totals().await.expect("readable");
    assert_eq!((totals.debit_fen, totals.credit_fen, totals.count), (1_000, 1_000, 8));
    let day = onecard::identity::business_date(1_790_000_000_000);
    let rows = open.store().balances("a", day..=day).await.expect("readable");
    let rows: Vec<_> =
        rows.iter().map(|row| (&*row.account, row.debit_fen, row.credit_fen, row.count)).collect();
    assert_eq!(rows, [("a", 900, 100, 4)]);
    let tomorrow = day.tomorrow().expect("a day");
    assert!(open.store().balances("", tomorrow..=tomorrow).await.expect("readable").is_empty());
    open.close().await;
}

async fn a_unit_that_fails_fails_alone(world: World) {
    let open = world.open().await;
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
    let nobody = unit_with(5, first(5), vec![code(9)], |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.detail = Detail { schema: 1, bytes: "x".into(), personal: true };
        Ok(decision)
    });
    let too_large = unit_with(6, first(6), vec![], |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.detail = Detail {
            schema: 1,
            bytes: vec![0; onecard::limits::ENTRY_BYTES_MAX + 1].into(),
            personal: false,
        };
        Ok(decision)
    });
    let units = [panics, corrupt, money, unnamed, nobody, too_large, tap(7, 7, 3)];
    let answers = join_all(units.map(|unit| open.commit(unit))).await;
    for answer in &answers[..6] {
        assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
    }
    assert!(answers[6].is_ok(), "{:?}", answers[6]);
    assert!(open.store().is_ready());
    assert_eq!(open.store().load(&code(9)).await.expect("readable"), None, "nothing is left of it");
    for number in 1..=6 {
        let tap = open.commit(tap(number, 10 + number, 1)).await;
        tap.expect("the request is free for a unit that works");
    }
    open.close().await;
}

async fn the_time_of_commitment_never_goes_backwards(world: World) {
    let open = world.open().await;
    let first = open.commit(tap_at_home(1, 1, 1)).await.expect("committed");
    world.clock.advance_ms(-60_000);
    let second = open.commit(tap_at_home(2, 2, 1)).await.expect("committed");
    assert!(second.entry.committed_at_ms >= first.entry.committed_at_ms);
    open.close().await;
    let open = world.open().await;
    let third = open.commit(tap_at_home(3, 3, 1)).await.expect("committed");
    assert!(third.entry.committed_at_ms >= second.entry.committed_at_ms);
    open.close().await;
}

async fn many_taps_of_few_cards_are_counted_right(world: World) {
    let open = world.open().await;
    let taps = (0..400).map(|at| match at % 3 {
        0 => tap(at, at, (at % 5) as u8),
        _ => tap_at_home(at, at, (at % 5) as u8),
    });
    for answer in join_all(taps.map(|tap| open.commit(tap))).await {
        world.assert_receipt(&answer.expect("committed"));
    }
    for holder in 0..5 {
        for key in [code(holder), transit(holder)] {
            let stored = open.store().load(&key).await.expect("readable").expect("there");
            assert_eq!(stored.revision, 80, "{key:?}");
        }
    }
    open.close().await;
}

async fn the_newest_entries_about_a_subject_come_first(world: World) {
    let open = world.open().await;
    for number in 0..20 {
        world.clock.advance_ms(1);
        open.commit(tap(number, number, (number % 2) as u8)).await.expect("committed");
    }
    let about = |scene| open.store().about(subject(1), scene, 3);
    let newest = about(Scene::Transit).await.expect("readable");
    let details: Vec<_> = newest.iter().map(|one| one.detail.clone()).collect();
    assert_eq!(details, ["ride 19", "ride 17", "ride 15"]);
    assert!(about(Scene::Library).await.expect("readable").is_empty());
    open.close().await;
}

async fn tasks_are_due_until_they_are_done(world: World) {
    let open = world.open().await;
    for unit in [
        step_with_task(1, first(1), Status::Pending, false, 30),
        step_with_task(2, first(2), Status::Pending, false, 10),
        step_with_task(3, first(3), Status::Pending, false, 20),
        step_with_task(4, first(4), Status::Pending, false, 99),
        step_with_task(2, Step::Next, Status::Pending, false, 25),
        step_with_task(3, Step::Next, Status::Completed, true, 0),
    ] {
        open.commit(unit).await.expect("committed");
    }
    for (now, most, expected) in [
        (30, 9, vec![(transaction(2), 25), (transaction(1), 30)]),
        (30, 1, vec![(transaction(2), 25)]),
        (24, 9, vec![]),
        (i64::MAX, 9, vec![(transaction(2), 25), (transaction(1), 30), (transaction(4), 99)]),
    ] {
        let due = open.store().due_tasks(now, most).await.expect("readable");
        let due: Vec<_> = due.into_iter().map(|task| (task.transaction, task.due_at_ms)).collect();
        assert_eq!(due, expected, "due at {now}");
    }
    let open_now = open.store().open_tasks().await.expect("readable");
    let told: Vec<_> =
        open_now.iter().map(|tally| (tally.kind.known(), tally.waiting, tally.stuck)).collect();
    assert_eq!(told, [(Some(TaskKind::LibraryInquire), 3, 0)]);
    open.close().await;
}

/// An entry of its own about the task of another transaction.
fn note_on_task(number: u32, of: u32, state: TaskState, due: Millis, touches: Vec<AggregateKey>) -> Unit {
    unit_with(number, Step::Note, touches.clone(), move |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        let asked = Task::ask(TaskKind::LibraryInquire, "library/lib".to_owned(), 0, due);
        decision.tasks = vec![Task { state, of: Some(transaction(of)), ..asked }];
        decision.writes =
            touches.into_iter().map(|key| Write { key, schema: 1, body: Some(vec![1].into()) }).collect();
        Ok(decision)
    })
}

async fn a_closed_task_is_not_changed_by_another_transactions_entry(world: World) {
    let open = world.open().await;
    let [put_off, closed] = [TaskState::Waiting, TaskState::Done];
    for number in [1, 2] {
        open.commit(step_with_task(number, first(number), Status::Pending, false, 10)).await.expect("asked");
    }
    open.commit(note_on_task(100, 1, put_off, 40, vec![])).await.expect("the task is open");
    let due = open.store().due_tasks(i64::MAX, 5).await.expect("readable");
    assert_eq!(due.iter().map(|task| task.due_at_ms).collect::<Vec<_>>(), [10, 40]);

    // Ten at once want to close it, and taps of others go on beside them.
    let closing = (200..210).map(|number| note_on_task(number, 1, closed, 0, vec![]));
    let taps = (300..310).map(|number| tap(number, number, 1));
    let units: Vec<_> = closing.zip(taps).flat_map(|(closing, tap)| [closing, tap]).collect();
    let answers = join_all(units.into_iter().map(|unit| open.commit(unit))).await;
    let (notes, taps): (Vec<_>, Vec<_>) = answers.into_iter().enumerate().partition(|(at, _)| at % 2 == 0);
    assert!(taps.iter().all(|(_, tap)| tap.is_ok()));
    assert_eq!(notes.iter().filter(|(_, note)| note.is_ok()).count(), 1, "{notes:?}");
    let refused = |answer: &Result<Committed, StoreError>| matches!(answer, Err(StoreError::TaskClosed));
    assert_eq!(notes.iter().filter(|(_, note)| refused(note)).count(), 9, "{notes:?}");
    for state in [put_off, closed] {
        let late = open.commit(note_on_task(400, 1, state, 50, vec![])).await;
        assert!(refused(&late), "{late:?}");
    }
    let due = open.store().due_tasks(i64::MAX, 5).await.expect("readable");
    assert_eq!(due.iter().map(|task| task.transaction).collect::<Vec<_>>(), [transaction(2)]);

    // One that writes is refused as well, with all that it wrote.
    let note = open.commit(note_on_task(500, 1, put_off, 50, vec![code(9)])).await;
    assert!(refused(&note), "{note:?}");
    assert!(open.store().load(&code(9)).await.expect("readable").is_none());
    open.commit(tap(600, 600, 9)).await.expect("the store goes on");

    // What one batch asks for and closes, the next of the same batch finds closed.
    let units = [
        step_with_task(3, first(3), Status::Pending, false, 10),
        note_on_task(700, 3, closed, 0, vec![]),
        note_on_task(701, 3, put_off, 60, vec![]),
    ];
    let answers = join_all(units.map(|unit| open.commit(unit))).await;
    let told: Vec<_> = answers.iter().map(|answer| (answer.is_ok(), refused(answer))).collect();
    let in_order = [(true, false), (true, false), (false, true)];
    // Lanes of several shards may see the notes before the task.
    let early = [(true, false), (false, true), (false, true)];
    assert!(told == in_order || told == early, "{told:?}");
    open.close().await;
}

async fn a_leased_task_is_nobody_elses_until_the_lease_runs_out(world: World) {
    let open = world.open().await;
    for number in 1..=3 {
        let unit = step_with_task(number, first(number), Status::Pending, false, i64::from(number));
        open.commit(unit).await.expect("committed");
    }
    let lease = async |now_ms, owner| {
        let ask = TaskLease { now_ms, owner, lease_ms: 100, most: 9, most_per_lane: 2 };
        let leased = open.store().lease_tasks(ask).await.expect("readable");
        leased.into_iter().map(|task| task.transaction).collect::<Vec<_>>()
    };
    let first_two = lease(10, "one").await;
    assert_eq!(first_two, [transaction(1), transaction(2)], "a lane has its bound");
    assert_eq!(lease(20, "two").await, []);
    let kind = TaskName::from(TaskKind::LibraryInquire);
    let key = TaskKey { transaction: transaction(1), kind };
    open.store().release_task(&key, "two").await.expect("readable");
    assert_eq!(lease(30, "two").await, [], "only who holds a lease can end it");
    open.store().release_task(&key, "one").await.expect("readable");
    assert_eq!(lease(40, "two").await, [transaction(1)]);
    assert_eq!(lease(110, "three").await, [transaction(2)], "the first lease has run out");
    open.close().await;
}

async fn every_aggregate_of_a_kind_is_scanned(world: World) {
    let open = world.open().await;
    for number in 0..8 {
        open.commit(tap(number, number, (number % 4) as u8)).await.expect("committed");
    }
    let delete = unit_with(50, Step::Note, vec![code(2)], |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.writes = vec![Write { key: code(2), schema: 1, body: None }];
        Ok(decision)
    });
    open.commit(delete).await.expect("committed");
    let scan = async |kind| {
        let found = open.store().scan(kind).await.expect("readable");
        let mut keys: Vec<_> = found.into_iter().map(|(key, stored)| (key, stored.revision)).collect();
        keys.sort();
        keys
    };
    let mut left = [(code(0), 2), (code(1), 2), (code(3), 2)];
    left.sort();
    assert_eq!(scan(AggregateKind::CodeUse).await, left);
    assert_eq!(scan(AggregateKind::Transit).await.len(), 4);
    assert_eq!(scan(AggregateKind::Deny).await, []);
    assert_eq!(open.store().load(&code(2)).await.expect("readable"), None);
    open.close().await;
}

async fn a_kind_is_gone_through_in_parts(world: World) {
    let open = world.open().await;
    for holder in [0, 7, 8, 9, 254, 255] {
        open.commit(tap(u32::from(holder), u32::from(holder), holder)).await.expect("committed");
    }
    open.settle().await;
    let part = async |prefix: &[u8], most| {
        let part = open.store().part(AggregateKind::CodeUse, prefix.to_vec(), most).await.expect("readable");
        (part.rows.into_iter().map(|(key, _)| key.id[0]).collect::<Vec<_>>(), part.is_whole)
    };
    assert_eq!(part(&[], 9).await, (vec![0, 7, 8, 9, 254, 255], true));
    assert_eq!(part(&[8], 9).await, (vec![8], true));
    assert_eq!(part(&[255], 9).await, (vec![255], true));
    assert_eq!(part(&[255; 16], 9).await, (vec![255], true));
    assert_eq!(part(&[3], 9).await, (vec![], true));
    assert_eq!(part(&[], 6).await.0.len(), 6);
    let (some, is_whole) = part(&[], 3).await;
    assert_eq!((some.len(), is_whole), (3, false));
    open.close().await;
}

async fn destroying_a_key_erases_the_person_and_breaks_no_receipt(world: World) {
    let open = world.open().await;
    for number in 0..4 {
        open.commit(tap(number, number, (number % 2) as u8)).await.expect("committed");
    }
    // Also what is not indexed yet: it stands in memory in the clear.
    open.store().erase(vec![subject(1)]).await.expect("erased");
    let erased = async |number| open.store().is_erased(subject(number)).await.expect("readable");
    assert!(erased(1).await && !erased(0).await && !erased(9).await);
    let find = async |number| {
        let found = open.store().find(&participant(), request(number)).await;
        found.expect("readable").expect("there")
    };
    let gone = find(1).await;
    assert_eq!(gone.detail, "", "nothing personal is left");
    world.assert_receipt(&gone);
    assert_eq!(open.store().load(&transit(1)).await.expect("readable"), None);
    assert_eq!(find(2).await.detail, "ride 2");
    let looked = unit_with(9, Step::Note, vec![transit(1)], |view, _| {
        assert_eq!(view.revision(&transit(1)), 0, "a decision must not see an erased person");
        Ok(Decision::new(Outcome::Approved))
    });
    open.commit(looked).await.expect("committed");
    let more = unit_with(10, Step::Note, vec![], |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.subject = Some(subject(1));
        decision.detail = Detail { schema: 1, bytes: "more".into(), personal: true };
        Ok(decision)
    });
    let refused = open.commit(more).await;
    assert!(matches!(refused, Err(StoreError::HolderErased)), "nothing more is written: {refused:?}");
    open.commit(tap(11, 11, 0)).await.expect("others are served");
    open.close().await;
}

async fn an_entry_about_several_holders_is_found_for_each_and_loses_one_that_is_erased(world: World) {
    let open = world.open().await;
    open.commit(tap(1, 1, 1)).await.expect("committed");
    let keys: Vec<_> = (1..=100).map(transit).collect();
    let unit = unit_with(2, first(2), keys.clone(), move |view, _| {
        let mut decision = Decision::new(Outcome::Approved);
        let part = |(key, number): (&AggregateKey, u8)| HolderPart {
            subject: subject(number),
            pairwise: PairwiseHolder::from_bytes([number; 16]),
            detail: bytes::Bytes::from(vec![number]),
            writes: vec![Write { key: key.clone(), schema: 1, body: Some(vec![number].into()) }],
        };
        assert_eq!(view.revision(&keys[0]), 1);
        decision.parts = keys.iter().zip(1..).map(part).collect();
        Ok(decision)
    });
    let made = open.commit(unit).await.expect("committed");
    world.assert_receipt(&made);
    assert_eq!(made.entry.schema, 2);
    open.settle().await;
    open.close().await;

    let open = world.open().await;
    let about = async |number, most| open.store().about(subject(number), Scene::Transit, most).await;
    let newest = about(1, 5).await.expect("readable");
    let ids: Vec<_> = newest.iter().map(|step| step.entry.transaction_id.clone()).collect();
    assert_eq!(ids, [transaction(2), transaction(1)].map(|id| id.as_bytes().to_vec()));
    assert_eq!((&newest[0].entry, &newest[0].parts), (&made.entry, &made.parts));
    assert_eq!(newest[0].receipt.leaf, made.receipt.leaf);
    let stored = open.store().load(&transit(1)).await.expect("readable").expect("there");
    assert_eq!((stored.revision, stored.body.as_ref()), (2, [1].as_slice()));

    open.store().erase(vec![subject(2)]).await.expect("erased");
    let told = about(2, 5).await.expect("readable");
    assert_eq!(told[0].parts.iter().filter(|part| part.is_none()).count(), 1);
    assert_eq!(told[0].parts[1], None);
    assert_eq!(told[0].receipt.leaf, made.receipt.leaf, "the chain says the same");
    assert_eq!(open.store().load(&transit(2)).await.expect("readable"), None);
    assert!(open.store().load(&transit(3)).await.expect("readable").is_some());
    open.close().await;
}
