//! Open tasks: leased once, fair between lanes, kept whatever their kind.

use std::collections::BTreeMap;

use super::{reads::at_every_stage, support::*};
use crate::{
    model::*,
    store::{lookup::Leasing, *},
};

fn asks(number: u32, lane: &str, due: Millis) -> Unit {
    let task = Task::ask(TaskKind::LibraryInquire, lane.to_owned(), 5, due);
    leaves(number, first(number), Status::Pending, task)
}

fn leaves(number: u32, step: Step, status: Status, task: Task) -> Unit {
    unit_with(number, step, vec![], move |_, _| {
        let mut decision = Decision::new(Outcome::Pending);
        decision.status = status;
        decision.tasks = vec![task];
        Ok(decision)
    })
}

fn lease(store: &EmbeddedStore, owner: &str, now_ms: Millis, most: usize) -> Vec<DueTask> {
    let ask = TaskLease { now_ms, owner, lease_ms: 100, most, most_per_lane: 2 };
    wait(store.lease_tasks(ask)).expect("readable")
}

fn names(tasks: &[DueTask]) -> Vec<TransactionId> {
    tasks.iter().map(|task| task.transaction).collect()
}

#[test]
fn a_lane_full_of_due_tasks_keeps_no_other_waiting() {
    let mut units: Vec<_> = (0..50).map(|number| asks(number, "library/dead", 10)).collect();
    units.push(asks(60, "library/quick", 90));
    units.push(asks(61, "library/other", 95));
    at_every_stage(units, |store| {
        let leased = lease(store, "a", 100, 10);
        let mut lanes = BTreeMap::new();
        leased.iter().for_each(|task| *lanes.entry(task.lane.as_str()).or_insert(0) += 1);
        assert_eq!(lanes, [("library/dead", 2), ("library/other", 1), ("library/quick", 1)].into());
        assert!(
            lease(store, "b", 101, 10).is_empty(),
            "two are out in the dead lane, nothing is left elsewhere"
        );
        leased.iter().for_each(|task| wait(store.release_task(&task.key(), "a")).expect("released"));
    });
}

#[test]
fn a_lease_is_one_owners_until_it_is_given_back_or_runs_out() {
    at_every_stage(vec![asks(1, "library/a", 10)], |store| {
        assert!(lease(store, "a", 9, 10).is_empty(), "not due yet");
        let leased = lease(store, "a", 10, 10);
        assert_eq!(names(&leased), [transaction(1)]);
        assert_eq!((leased[0].asked_at_ms, leased[0].tries, leased[0].state), (5, 0, TaskState::Waiting));
        assert!(lease(store, "b", 109, 10).is_empty(), "it is out");
        assert_eq!(lease(store, "b", 110, 10).len(), 1, "it ran out and is taken over");
        wait(store.release_task(&leased[0].key(), "a")).expect("no effect");
        assert!(lease(store, "c", 111, 10).is_empty(), "the late one cannot free what it no longer has");
        wait(store.release_task(&leased[0].key(), "b")).expect("released");
        assert_eq!(lease(store, "c", 111, 10).len(), 1);
        wait(store.release_task(&leased[0].key(), "c")).expect("released");
    });
}

#[test]
fn a_restart_frees_what_the_process_that_died_had_leased() {
    let world = World::on(LyingDisk::new());
    let store = world.open();
    commit(&store, asks(1, "library/a", 10)).expect("taken");
    assert_eq!(lease(&store, "a", 10, 10).len(), 1);
    drop(store);
    let store = world.open();
    assert_eq!(names(&lease(&store, "b", 11, 10)), [transaction(1)]);
}

#[test]
fn few_leases_go_to_all_lanes_in_turn() {
    let world = World::on(LyingDisk::new());
    let store = world.open();
    for number in 0..12 {
        commit(&store, asks(number, &format!("library/{}", number % 4), 10)).expect("taken");
    }
    let mut seen = BTreeMap::new();
    for _ in 0..8 {
        for task in lease(&store, "a", 20, 1) {
            *seen.entry(task.lane.clone()).or_insert(0) += 1;
            wait(store.release_task(&task.key(), "a")).expect("released");
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn what_is_stuck_or_of_another_version_is_shown_and_not_run() {
    let other =
        Task { kind: "tomorrow.do".into(), ..Task::ask(TaskKind::LibraryInquire, "x/y".into(), 5, 10) };
    let stuck = Task::by_hand(TaskKind::LibraryByHand, "library/a".into(), 10, Reason::OutcomeReversed);
    let units = vec![
        leaves(1, first(1), Status::Completed, other),
        leaves(2, first(2), Status::Completed, stuck),
        asks(3, "library/a", 10),
    ];
    at_every_stage(units, |store| {
        let leased = lease(store, "a", 50, 10);
        assert_eq!(names(&leased), [transaction(3)]);
        wait(store.release_task(&leased[0].key(), "a")).expect("released");
        let shown = wait(store.due_tasks(50, 10)).expect("readable");
        let told: Vec<_> =
            shown.iter().map(|task| (task.kind.as_str(), task.state, task.last_error.as_str())).collect();
        assert_eq!(
            told,
            [
                ("tomorrow.do", TaskState::Waiting, ""),
                ("library.by-hand", TaskState::Stuck, "OUTCOME_REVERSED"),
                ("library.inquire", TaskState::Waiting, ""),
            ]
        );
    });
}

#[test]
fn open_tasks_are_counted_whatever_they_wait_for() {
    let tomorrow = || TaskName::from("tomorrow.do");
    let other = Task { kind: tomorrow(), ..Task::ask(TaskKind::LibraryInquire, "x/y".into(), 7, 10) };
    let stuck = Task::by_hand(TaskKind::LibraryInquire, "library/b".into(), 4, Reason::OutcomeReversed);
    let later = Task { tries: 9, ..Task::ask(TaskKind::LibraryInquire, "library/a".into(), 3, 99_000) };
    let mut units: Vec<_> = (0..40).map(|number| asks(number, "library/a", number.into())).collect();
    units.extend([
        leaves(50, first(50), Status::Completed, other),
        leaves(51, first(51), Status::Pending, stuck),
        leaves(1, Step::Next, Status::Pending, later),
        leaves(2, Step::Next, Status::Completed, Task::done(TaskKind::LibraryInquire, 0)),
    ]);
    at_every_stage(units, |store| {
        let inquire = TaskTally {
            kind: TaskKind::LibraryInquire.into(),
            waiting: 39,
            stuck: 1,
            oldest_asked_at_ms: 3,
            tries_max: 9,
        };
        let other = TaskTally { kind: tomorrow(), waiting: 1, stuck: 0, oldest_asked_at_ms: 7, tries_max: 0 };
        assert_eq!(wait(store.open_tasks()).expect("readable"), [inquire, other]);
    });
}

#[test]
fn a_task_that_changed_a_moment_ago_is_counted_once() {
    let world = World::on(LyingDisk::new());
    let store = world.open();
    commit(&store, asks(1, "library/a", 10)).expect("taken");
    commit(&store, asks(2, "library/a", 10)).expect("taken");
    settle(&store);
    // The index still has both as they were.
    let stuck = Task::by_hand(TaskKind::LibraryInquire, "library/a".into(), 6, Reason::OutcomeReversed);
    commit(&store, leaves(1, Step::Next, Status::Pending, stuck)).expect("taken");
    let done = Task::done(TaskKind::LibraryInquire, 0);
    commit(&store, leaves(2, Step::Next, Status::Completed, done)).expect("taken");
    let told = wait(store.open_tasks()).expect("readable");
    assert_eq!(told.iter().map(|tally| (tally.waiting, tally.stuck)).collect::<Vec<_>>(), [(0, 1)]);
}

#[test]
fn an_entry_about_another_transactions_task_needs_it_open() {
    let note = |task: Task| leaves(90, Step::Note, Status::Completed, task);
    let of_one = |task: Task| Task { of: Some(transaction(1)), ..task };
    let again =
        || of_one(Task { tries: 3, ..Task::ask(TaskKind::LibraryInquire, "library/a".into(), 5, 40) });
    at_every_stage(vec![asks(1, "library/a", 10), note(again())], |store| {
        let open = wait(store.due_tasks(100, 10)).expect("readable");
        assert_eq!(open.len(), 1, "put off, not doubled");
        assert_eq!((open[0].transaction, open[0].due_at_ms, open[0].tries), (transaction(1), 40, 3));
    });
    let done = || of_one(Task::done(TaskKind::LibraryInquire, 0));
    at_every_stage(vec![asks(1, "library/a", 10), note(done())], |store| {
        for late in [again(), done()] {
            let refused = commit(store, note(late));
            assert!(matches!(refused, Err(StoreError::TaskClosed)), "{refused:?}");
        }
        assert!(wait(store.due_tasks(100, 10)).expect("readable").is_empty());
    });
}

#[test]
fn an_index_of_an_older_layout_is_rebuilt() {
    let world = World::on(LyingDisk::new());
    let store = world.open();
    commit(&store, asks(1, "library/a", 10)).expect("taken");
    drop(store);
    let mut older = Changes::default();
    older.remove(&[b"v"]);
    older.remove(&[b"l", &crate::crypto::sm3(&[b"library/a"])[..8]]);
    world.index.write(&older).expect("written");
    let store = world.open();
    assert_eq!(names(&lease(&store, "a", 10, 10)), [transaction(1)]);
}

#[test]
fn the_rows_read_for_a_lease_are_as_few_as_it_needs() {
    let world = World::on(LyingDisk::new());
    let store = world.open();
    for number in 0..40 {
        commit(&store, asks(number, "library/a", 10)).expect("taken");
    }
    settle(&store);
    let read = store.lookup.tasks_to_run(&Leasing { now_ms: 20, most_per_lane: 2 }, 1).expect("readable");
    assert_eq!(read.iter().map(Vec::len).collect::<Vec<_>>(), [3]);
}
