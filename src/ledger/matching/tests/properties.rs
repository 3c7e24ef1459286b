//! What holds whatever the three sides say.

use proptest::prelude::*;

use super::*;

/// What a file makes of a ride.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Kept,
    Dropped,
    Twice,
    OtherAmount,
    OtherDay,
    Unnamed,
    ByReference,
    Reversed,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Kept),
        1 => Just(Fate::Dropped),
        1 => Just(Fate::Twice),
        1 => Just(Fate::OtherAmount),
        1 => Just(Fate::OtherDay),
        2 => Just(Fate::Unnamed),
        1 => Just(Fate::ByReference),
        1 => Just(Fate::Reversed),
    ]
}

fn filed(ride: &Record, fate: Fate) -> Vec<Record> {
    let line = Record { kind: None, account: None, ..ride.clone() };
    match fate {
        Fate::Kept => vec![line],
        Fate::Dropped => vec![],
        Fate::Twice => vec![line.clone(), line],
        Fate::OtherAmount => vec![Record { amount: Fen::new(line.amount.get() + 1), ..line }],
        Fate::OtherDay => vec![Record { date: day(2), ..line }],
        Fate::Unnamed => vec![Record { transaction: None, reference: None, ..line }],
        Fate::ByReference => vec![Record { transaction: None, ..line }],
        Fate::Reversed => vec![Record { state: State::Reversed, ..line }],
    }
}

/// Rides in the journal, of this day and the next, and both files in some order.
fn town() -> impl Strategy<Value = Input> {
    let ride = (0u8..3, 1i64..4, 0i64..12, 0i64..2, any::<bool>(), fate(), fate());
    let alone = (200u8..204, 1i64..4, any::<bool>());
    (proptest::collection::vec(ride, 0..24), proptest::collection::vec(alone, 0..4))
        .prop_flat_map(|(rides, alone)| {
            let (mut journal, mut file, mut bank) = (Vec::new(), Vec::new(), Vec::new());
            for (number, (gate, yuan, minute, shift, reversed, at_file, at_bank)) in (0u8..).zip(rides) {
                let ride = Record {
                    terminal: Some(format!("gate-{gate}").into()),
                    at: Some(noon(minute)),
                    date: day(shift),
                    state: if reversed { State::Reversed } else { State::Captured },
                    ..ours(number, yuan * 100)
                };
                file.extend(filed(&ride, at_file));
                bank.extend(filed(&ride, at_bank));
                journal.push(ride);
            }
            for (number, yuan, named) in alone {
                let line = if named { theirs(number, yuan * 100) } else { unnamed(number, yuan * 100) };
                file.push(Record { line: 0, ..line.clone() });
                bank.push(Record { line: 0, ..line });
            }
            (Just(journal).prop_shuffle(), Just(file).prop_shuffle(), Just(bank).prop_shuffle())
        })
        .prop_map(|(journal, file, bank)| Input { bank_file: Some(bank), ..input(journal, file) })
}

/// Every record by how often it is in a match, an exception, or void. An exception
/// of a movement with two of them counts its records once.
fn places(outcome: &Outcome, side: Side) -> Vec<Record> {
    let mut trios: Vec<Trio> = outcome.matched.iter().chain(&outcome.void).cloned().collect();
    let mut seen: Vec<(&Trio, Side)> = Vec::new();
    for exception in &outcome.exceptions {
        let second = exception.ours().is_some()
            && seen.iter().any(|(trio, file)| **trio == exception.trio && *file != exception.file);
        if !second {
            trios.push(exception.trio.clone());
        }
        seen.push((&exception.trio, exception.file));
    }
    let mut records: Vec<Record> = trios.iter().filter_map(|trio| trio.of(side).cloned()).collect();
    records.sort();
    records
}

proptest! {
    #[test]
    fn the_order_of_the_lines_changes_nothing(
        (one, other) in town().prop_flat_map(|input| {
            let shuffled = (
                Just(input.journal.clone()).prop_shuffle(),
                Just(input.participant_file.clone()).prop_shuffle(),
                Just(input.bank_file.clone().unwrap_or_default()).prop_shuffle(),
            );
            (Just(input.clone()), shuffled.prop_map(move |(journal, participant_file, bank)| Input {
                journal, participant_file, bank_file: Some(bank), ..input.clone()
            }))
        })
    ) {
        prop_assert_eq!(run(one), run(other));
    }

    #[test]
    fn every_record_is_in_one_place_and_the_sums_say_so(input in town()) {
        let outcome = run(input.clone());
        let files = [
            (Side::Participant, input.participant_file),
            (Side::Bank, input.bank_file.unwrap_or_default()),
        ];
        for (side, mut records) in files {
            records.sort();
            prop_assert_eq!(&places(&outcome, side), &records, "{}", side.name());
        }
        // Of the journal, everything of the day is somewhere; of other days only what
        // a file names, and nothing twice.
        let of_journal = places(&outcome, Side::Journal);
        let mut single = of_journal.clone();
        single.dedup();
        prop_assert_eq!(&of_journal, &single);
        for ride in input.journal.iter().filter(|ride| ride.date == DAY) {
            prop_assert!(of_journal.contains(ride), "{:?}", ride);
        }
        for (side, tally) in &outcome.tallies {
            let records = places(&outcome, *side);
            let due: i64 = records.iter().map(|record| record.due().get()).sum();
            prop_assert_eq!(tally.read, Sum { count: records.len() as u64, due: Fen::new(due) });
            let parts = [tally.matched, tally.excepted, tally.void];
            let count: u64 = parts.iter().map(|sum| sum.count).sum();
            let parts_due: i64 = parts.iter().map(|sum| sum.due.get()).sum();
            prop_assert_eq!((count, parts_due), (tally.read.count, due));
        }
    }

    #[test]
    fn exceptions_have_ids_of_their_own(input in town()) {
        let outcome = run(input);
        let mut ids: Vec<_> = outcome.exceptions.iter().map(|exception| exception.id).collect();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), outcome.exceptions.len());
    }
}
