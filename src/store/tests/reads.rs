//! What can be asked, whether it is indexed already or not.

use super::support::*;
use crate::{model::*, store::*};

/// Holds before and after indexing and after a rebuild.
#[track_caller]
pub(super) fn at_every_stage(units: Vec<Unit>, holds: impl Fn(&EmbeddedStore)) {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    for unit in units {
        commit(&store, unit).expect("committed");
        // Some are indexed by now, some are not: both must answer alike.
    }
    holds(&store);
    settle(&store);
    holds(&store);
    store.close();
    let rebuilt = World { index: Default::default(), ..world.clone() };
    holds(&rebuilt.open());
    assert_eq!(rebuilt.index.dump(), world.index.dump(), "a rebuilt index is the same");
}

#[test]
fn the_newest_entries_about_a_subject_come_first() {
    let units = (0..20).map(|number| tap(number, number, (number % 2) as u8)).collect();
    at_every_stage(units, |store| {
        let newest = store.lookup.about(subject(1), Scene::Transit, 3).expect("readable");
        let details: Vec<_> = newest.iter().map(|one| one.detail.clone()).collect();
        assert_eq!(details, ["ride 19", "ride 17", "ride 15"]);
        assert!(store.lookup.about(subject(1), Scene::Library, 3).expect("readable").is_empty());
    });
}

#[test]
fn accounts_are_folded_by_business_date() {
    let units = (0..9).map(|number| tap(number, number, (number % 3) as u8)).collect();
    at_every_stage(units, |store| {
        // The world's clock stands at 2026-09-21T14:13:20Z: that evening in Shanghai.
        let day = jiff::civil::Date::constant(2026, 9, 21);
        let balance = |account: &str, debit_fen, credit_fen| Balance {
            account: account.to_owned(),
            date: day,
            debit_fen,
            credit_fen,
            count: 9,
        };
        let of = |accounts, dates| store.lookup.balances(accounts, &dates).expect("readable");
        assert_eq!(of("", day..=day), [balance("a", 2_700, 0), balance("b", 0, 2_700)]);
        assert_eq!(of("b", day..=day), [balance("b", 0, 2_700)]);
        let tomorrow = day.tomorrow().expect("a day");
        assert_eq!(of("", tomorrow..=tomorrow), []);
        let totals = store.lookup.ledger_totals().expect("readable");
        assert_eq!((totals.debit_fen, totals.credit_fen, totals.count), (2_700, 2_700, 18));
        assert_eq!(totals.sum_fen(), 0);
    });
}

#[test]
fn balances_are_whole_while_the_indexer_runs() {
    let store = World::on(LyingDisk::new()).open();
    let all = jiff::civil::Date::MIN..=jiff::civil::Date::MAX;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            let mut last = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(store.lookup.ledger_totals().expect("readable").sum_fen(), 0);
                let rows = store.lookup.balances("", &all).expect("readable");
                let (debit, credit): (i64, i64) =
                    rows.iter().fold((0, 0), |sums, row| (sums.0 + row.debit_fen, sums.1 + row.credit_fen));
                assert_eq!(debit, credit);
                assert!(debit >= last, "{debit} after {last}");
                last = debit;
            }
            last
        });
        for number in 0..400 {
            commit(&store, tap(number, number, (number % 5) as u8)).expect("committed");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        asks.join().expect("no panic");
    });
    let sums = store.lookup.ledger_totals().expect("readable");
    assert_eq!((sums.debit_fen, sums.sum_fen()), (400 * 300, 0));
}

#[test]
fn tasks_are_due_until_they_are_done() {
    let units = vec![
        step_with_task(1, first(1), Status::Pending, false, 30),
        step_with_task(2, first(2), Status::Pending, false, 10),
        step_with_task(3, first(3), Status::Pending, false, 20),
        step_with_task(4, first(4), Status::Pending, false, 99),
        step_with_task(2, Step::Next, Status::Pending, false, 25),
        step_with_task(3, Step::Next, Status::Completed, true, 0),
    ];
    at_every_stage(units, |store| {
        let due = |now, most| -> Vec<_> {
            let tasks = store.lookup.due_tasks(now, most).expect("readable");
            tasks.into_iter().map(|task| (task.transaction, task.due_at_ms)).collect()
        };
        assert_eq!(due(30, 9), [(transaction(2), 25), (transaction(1), 30)]);
        assert_eq!(due(30, 1), [(transaction(2), 25)]);
        assert_eq!(due(24, 9), []);
        let steps = store.lookup.steps(transaction(2)).expect("readable");
        assert_eq!(steps.iter().map(|step| step.entry.step).collect::<Vec<_>>(), [0, 1]);
    });
}

#[test]
fn every_aggregate_of_a_kind_is_scanned() {
    let mut units: Vec<_> = (0..8).map(|number| tap(number, number, (number % 4) as u8)).collect();
    units.push(unit_with(50, Step::Note, vec![code(2)], |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.writes = vec![Write { key: code(2), schema: 1, body: None }];
        Ok(decision)
    }));
    at_every_stage(units, |store| {
        let keys = |kind| {
            let mut keys: Vec<_> = store
                .lookup
                .scan(kind)
                .expect("readable")
                .into_iter()
                .map(|(key, stored)| (key, stored.revision))
                .collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(AggregateKind::CodeUse), [(code(0), 2), (code(1), 2), (code(3), 2)]);
        assert_eq!(keys(AggregateKind::Transit).len(), 4);
        assert_eq!(keys(AggregateKind::Deny), []);
        assert_eq!(store.lookup.load(&code(2)).expect("readable"), None);
    });
}

#[test]
fn destroying_a_key_erases_the_person_and_breaks_no_chain() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    for number in 0..4 {
        commit(&store, tap(number, number, (number % 2) as u8)).expect("committed");
    }
    settle(&store);
    world.sealer.destroy(subject(1));
    let check = |store: &EmbeddedStore| {
        let gone = store.lookup.find(&participant(), request(1)).expect("readable").expect("there");
        assert_eq!(gone.detail, "", "nothing personal is left");
        assert_receipt(&gone);
        assert_eq!(store.lookup.load(&transit(1)).expect("readable"), None);
        assert_eq!(
            store.lookup.find(&participant(), request(2)).expect("readable").expect("there").detail,
            "ride 2"
        );
    };
    check(&store);
    let looked = unit_with(9, Step::Note, vec![transit(1)], |view, _| {
        assert_eq!(view.revision(&transit(1)), 0, "a decision must not see an erased person");
        Ok(Decision::new(Outcome::Approved))
    });
    commit(&store, looked).expect("committed");
    store.close();
    assert_eq!(world.verify().expect("the chain holds").entries, 5);
    let rebuilt = World { index: Default::default(), ..world.clone() };
    check(&rebuilt.open());
}

#[test]
fn personal_bodies_stand_nowhere_in_the_clear() {
    let disk = LyingDisk::new();
    let world = World::on(disk.clone());
    let store = world.open();
    commit(&store, tap(7, 7, 1)).expect("committed");
    store.close();
    let journal = disk.tamper(&super::super::segment::name(1), |bytes| bytes.clone()).expect("there");
    let index = world.index.dump();
    let contains = |bytes: &[u8]| bytes.windows(6).any(|window| window == b"ride 7");
    assert!(!contains(&journal));
    assert!(index.iter().all(|(key, value)| !contains(key) && !contains(value)));
}

#[test]
fn what_a_caller_has_seen_is_not_decided_over_once_it_is_older() {
    let mut world = World::on(LyingDisk::new());
    world.options.recent_bytes = 1 << 20;
    let store = world.open();
    let card = code(1);
    let rides = |store: &EmbeddedStore| store.lookup.load(&card).expect("readable").expect("there").revision;
    commit(&store, tap(1, 1, 1)).expect("committed");
    settle(&store);
    assert_eq!(rides(&store), 1, "somebody looks, and takes their time");
    commit(&store, tap(2, 2, 1)).expect("committed");
    // Until the committer has forgotten the card and nothing of it is in memory.
    for number in 10..100 {
        let key = AggregateKey { kind: AggregateKind::CodeUse, id: [number as u8; 8].as_slice().into() };
        let unit = unit_with(number, first(number), vec![key.clone()], move |_, _| {
            let mut decision = Decision::new(Outcome::Approved);
            decision.writes = vec![Write { key, schema: 1, body: Some(vec![7; 60_000].into()) }];
            Ok(decision)
        });
        commit(&store, unit).expect("committed");
    }
    settle(&store);
    commit(&store, tap(3, 3, 1)).expect("committed");
    settle(&store);
    assert_eq!(rides(&store), 3);
    // Who looks just before is right, and so is the unit.
    commit(&store, tap(4, 4, 1)).expect("committed");
    assert_eq!(rides(&store), 4);
}
