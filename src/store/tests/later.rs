//! Later requests about a transaction: each has one effect, each is answered with
//! its own step, and nothing illegal is written.

use std::sync::Arc;

use super::support::*;
use crate::{model::*, store::*};

fn later(number: u32) -> Step {
    Step::Later { request: request(number), fingerprint: [number as u8; 32] }
}

/// A step that leaves `status` and counts itself in an open aggregate; `most`
/// times at most, then it is declined.
fn counted(transaction: u32, step: Step, status: Status, most: u64) -> Unit {
    unit_with(transaction, step, vec![code(1)], move |view, _| {
        let done = view.revision(&code(1));
        if done == most {
            let mut declined = Decision::new(Outcome::Declined(Reason::StateUnchanged));
            declined.status = status;
            return Ok(declined);
        }
        let mut decision = Decision::new(Outcome::Approved);
        decision.status = status;
        decision.corrects = Some(0);
        decision.writes = vec![Write { key: code(1), schema: 1, body: Some(vec![1].into()) }];
        Ok(decision)
    })
}

fn paid(number: u32) -> Unit {
    step_with_task(number, first(number), Status::Completed, true, 0)
}

#[test]
fn a_later_request_is_answered_with_its_own_step_before_and_after_a_restart() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    let began = commit(&store, paid(1)).expect("paid");
    let refund = commit(&store, counted(1, later(2), Status::Completed, 9)).expect("refunded");
    let reversal = commit(&store, counted(1, later(3), Status::Reversed, 9)).expect("reversed");
    assert_eq!((refund.entry.step, reversal.entry.step), (1, 2));
    assert_eq!((refund.entry.corrects_step, began.entry.corrects_step), (1, 0));
    let holds = |store: &EmbeddedStore| {
        for (number, step, expected) in
            [(1, first(1), &began), (2, later(2), &refund), (3, later(3), &reversal)]
        {
            let again = commit(store, counted(77, step, Status::Completed, 9)).expect("answered");
            assert!(again.replayed);
            assert_eq!(again.entry, expected.entry, "request {number} gets its own step");
            let found = store.lookup.find(&participant(), request(number)).expect("readable");
            assert_eq!(found.expect("there").entry, expected.entry);
        }
        let steps = store.lookup.steps(transaction(1)).expect("readable");
        assert_eq!(steps.iter().map(|step| step.entry.step).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(store.lookup.load(&code(1)).expect("readable").expect("there").revision, 2);
    };
    holds(&store);
    settle(&store);
    holds(&store);
    store.close();
    holds(&world.open());
    let rebuilt = world.found(disk.lose_power(7));
    holds(&rebuilt.open());
    assert_eq!(rebuilt.index.dump(), world.index.dump(), "a rebuilt index is the same");
}

#[test]
fn what_came_of_a_request_is_not_hidden_by_later_requests() {
    let store = World::on(LyingDisk::new()).open();
    commit(&store, step_with_task(1, first(1), Status::Pending, false, 10)).expect("asked");
    let declined = commit(&store, counted(1, later(2), Status::Pending, 0)).expect("answered");
    assert_eq!(
        (declined.entry.status(), &*declined.entry.reason),
        (record::Status::Pending, "STATE_UNCHANGED")
    );
    let told = commit(&store, step_with_task(1, Step::Next, Status::Completed, true, 0)).expect("told");
    commit(&store, counted(1, later(3), Status::Reversed, 9)).expect("reversed");
    let repeat = commit(&store, paid_again(1)).expect("answered");
    assert_eq!((repeat.entry.step, &repeat.entry), (2, &told.entry));
    let late = commit(&store, step_with_task(1, Step::Next, Status::Completed, true, 0)).expect("answered");
    assert!(late.replayed, "a reversed transaction is final for whoever still inquires");
    assert_eq!(late.entry, told.entry);
}

fn paid_again(number: u32) -> Unit {
    step_with_task(90 + number, first(number), Status::Completed, true, 0)
}

#[test]
fn a_later_request_needs_its_transaction_and_its_own_payload() {
    let store = World::on(LyingDisk::new()).open();
    let missing = commit(&store, counted(1, later(2), Status::Completed, 9));
    assert!(matches!(missing, Err(StoreError::NoSuchTransaction)));
    commit(&store, paid(1)).expect("paid");
    commit(&store, counted(1, later(2), Status::Completed, 9)).expect("the request was free");
    let other = Step::Later { request: request(2), fingerprint: [99; 32] };
    let misused = commit(&store, counted(1, other, Status::Completed, 9));
    assert!(matches!(misused, Err(StoreError::RequestIdMisused)));
    let taken = Step::Later { request: request(1), fingerprint: [98; 32] };
    let misused = commit(&store, counted(1, taken, Status::Completed, 9));
    assert!(matches!(misused, Err(StoreError::RequestIdMisused)), "the first request's id is taken too");
}

#[test]
fn an_illegal_transition_is_not_written() {
    let store = World::on(LyingDisk::new()).open();
    commit(&store, paid(1)).expect("paid");
    for (at, from) in Status::ALL.iter().enumerate() {
        let (number, begins) = (10 + at as u32, lifecycle::may_follow(None, *from));
        let began = commit(&store, step_with_task(number, first(number), *from, true, 0));
        assert_eq!(began.is_ok(), begins, "{from:?} begins");
        if !begins {
            continue;
        }
        for (at, to) in Status::ALL.iter().enumerate() {
            let one = 100 + number * 10 + at as u32;
            commit(&store, step_with_task(one, first(one), *from, true, 0)).expect("began");
            let moved = commit(&store, counted(one, later(1_000 + one), *to, u64::MAX));
            assert_eq!(moved.is_ok(), lifecycle::may_follow(Some(*from), *to), "{from:?} to {to:?}");
            let steps = store.lookup.steps(transaction(one)).expect("readable").len();
            assert_eq!(steps, 1 + usize::from(moved.is_ok()));
        }
    }
    assert!(store.is_ready());
}

#[test]
fn later_requests_from_many_threads_take_no_more_than_there_is() {
    let store = Arc::new(World::on(LyingDisk::new()).open());
    commit(&store, paid(1)).expect("paid");
    let threads: Vec<_> = (0..8_u32)
        .map(|thread| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                let ask =
                    |at: u32| commit(&store, counted(1, later(100 + thread * 10 + at), Status::Completed, 5));
                (0..5).map(|at| ask(at).expect("answered")).filter(|one| one.entry.reason.is_empty()).count()
            })
        })
        .collect();
    let done: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    assert_eq!(done, 5);
    let steps = store.lookup.steps(transaction(1)).expect("readable");
    assert_eq!(steps.len(), 41, "every request has its step, granted or declined");
}
