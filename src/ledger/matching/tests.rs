mod kept;
mod properties;

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::*;
use crate::{
    identity::business_day_start_ms,
    model::{Fen, Millis, ParticipantId, Scene, TransactionId},
};

const DAY: Date = Date::constant(2026, 11, 21);

fn day(shift: i64) -> Date {
    DAY.checked_add(jiff::Span::new().days(shift)).expect("a day")
}

fn noon(minutes: i64) -> Millis {
    business_day_start_ms(DAY) + (12 * 60 + minutes) * 60_000
}

fn metro() -> ParticipantId {
    "bj-metro".parse().expect("well formed")
}

fn id(number: u8) -> TransactionId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&(110_000u32 << 12).to_be_bytes());
    bytes[15] = number;
    TransactionId::from_bytes(bytes)
}

fn rules() -> Rules {
    let tolerance = Tolerance { time_minutes: 3, amount_fen: 0, date_shift_days: 1 };
    let owner = ExceptionKind::ALL.into_iter().map(|kind| (kind, Owner::Participant)).collect();
    Rules::build(BTreeMap::from([("default".to_owned(), tolerance)]), owner).expect("right")
}

/// A ride as the journal has it.
fn ours(number: u8, fen: i64) -> Record {
    Record {
        transaction: Some(id(number)),
        reference: Some(format!("ref-{number}").into()),
        date: DAY,
        at: Some(noon(i64::from(number))),
        terminal: Some("gate-01".into()),
        amount: Fen::new(fen),
        state: State::Captured,
        scene: Some(Scene::Transit),
        kind: Some("Tap".into()),
        account: Some("participant/bj-metro/fares".into()),
        line: 0,
    }
}

/// The same ride as a file with our ids has it.
fn theirs(number: u8, fen: i64) -> Record {
    Record { line: u64::from(number) + 2, kind: None, account: None, ..ours(number, fen) }
}

/// A ride in a file that knows no ids at all.
fn unnamed(number: u8, fen: i64) -> Record {
    Record { transaction: None, reference: None, ..theirs(number, fen) }
}

fn input(journal: Vec<Record>, file: Vec<Record>) -> Input {
    Input {
        participant: metro(),
        date: DAY,
        today: day(3),
        journal,
        participant_file: file,
        bank_file: None,
        known: BTreeMap::new(),
        hash: mixed,
    }
}

/// Stands in for SM3: other parts, other bytes.
fn mixed(parts: &[&[u8]]) -> [u8; 32] {
    let mut mixed = [0; 32];
    for (lane, piece) in (0..).zip(mixed.chunks_exact_mut(8)) {
        let begin = 0xcbf2_9ce4_8422_2325_u64 ^ lane;
        let bytes = parts.iter().flat_map(|part| part.iter());
        let sum = bytes.fold(begin, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        piece.copy_from_slice(&sum.to_be_bytes());
    }
    mixed
}

fn run(input: Input) -> Outcome {
    reconcile(input, &rules()).expect("small sums")
}

fn told(outcome: &Outcome) -> Vec<Difference> {
    outcome.exceptions.iter().map(|exception| exception.difference).collect()
}

#[track_caller]
fn check(journal: Vec<Record>, file: Vec<Record>, expect: &[Difference]) -> Outcome {
    let outcome = run(input(journal, file));
    assert_eq!(told(&outcome), expect);
    outcome
}

#[test]
fn what_agrees_is_matched_by_key_and_by_attributes() {
    let by_reference = Record { transaction: None, ..theirs(2, 400) };
    let near = Record { at: Some(noon(5)), ..unnamed(3, 500) };
    let no_time = Record { at: None, ..unnamed(4, 600) };
    let file = vec![theirs(1, 300), by_reference, near, no_time];
    let journal = vec![ours(1, 300), ours(2, 400), ours(3, 500), ours(4, 600)];
    let outcome = check(journal, file, &[]);
    assert_eq!(outcome.matched.len(), 4);
    let sum = Sum { count: 4, due: Fen::new(1_800) };
    for side in [Side::Journal, Side::Participant] {
        assert_eq!(outcome.tallies[&side], Tally { read: sum, matched: sum, ..Tally::default() });
    }
}

#[test]
fn every_way_to_differ_has_its_exception() {
    check(vec![ours(1, 300)], vec![], &[Difference::MissingAtParticipant]);
    check(vec![], vec![theirs(1, 300)], &[Difference::MissingInJournal]);
    let (ours_fen, theirs_fen) = (Fen::new(300), Fen::new(301));
    let amount = Difference::AmountDiffers { ours: ours_fen, theirs: theirs_fen };
    check(vec![ours(1, 300)], vec![theirs(1, 301)], &[amount]);
    check(vec![ours(1, 300)], vec![theirs(1, 300), theirs(1, 300)], &[Difference::DoubleInFile]);
    let late = Record { date: day(2), ..theirs(1, 300) };
    check(vec![ours(1, 300)], vec![late], &[Difference::DateDiffers { ours: DAY, theirs: day(2) }]);
    let reversed = Record { state: State::Reversed, ..ours(1, 300) };
    let status = Difference::StatusDiffers { ours: State::Reversed, theirs: State::Captured };
    check(vec![reversed.clone()], vec![theirs(1, 300)], &[status]);
    // Nothing is due by what was reversed, so nobody has to list it.
    assert_eq!(check(vec![reversed], vec![], &[]).void.len(), 1);

    let mut with_bank = input(vec![ours(1, 300)], vec![theirs(1, 300)]);
    with_bank.bank_file = Some(Vec::new());
    assert_eq!(told(&run(with_bank)), [Difference::MissingAtBank]);
}

#[test]
fn a_bank_that_knows_only_the_participants_reference_is_joined_through_its_file() {
    let of_participant = Record { reference: Some("slip-7".into()), ..theirs(1, 300) };
    let of_bank = Record { reference: Some("slip-7".into()), at: None, terminal: None, ..unnamed(1, 300) };
    let mut three = input(vec![ours(1, 300)], vec![of_participant.clone()]);
    three.bank_file = Some(vec![of_bank.clone()]);
    let outcome = run(three);
    assert_eq!((outcome.matched.len(), told(&outcome)), (1, vec![]));
    // What only the two files have is one exception, not two.
    let mut two = input(vec![], vec![of_participant]);
    two.bank_file = Some(vec![of_bank]);
    let outcome = run(two);
    assert_eq!(told(&outcome), [Difference::MissingInJournal]);
    assert_eq!(outcome.exceptions[0].trio.records().count(), 2);
}

#[test]
fn beyond_the_tolerance_attributes_match_nothing() {
    let missing = [Difference::MissingAtParticipant, Difference::MissingInJournal];
    let far = Record { at: Some(noon(1 + 4)), ..unnamed(1, 300) };
    check(vec![ours(1, 300)], vec![far], &missing);
    let elsewhere = Record { terminal: Some("gate-02".into()), ..unnamed(1, 300) };
    check(vec![ours(1, 300)], vec![elsewhere], &missing);
    check(vec![ours(1, 300)], vec![unnamed(1, 301)], &missing);
    let nowhere = Record { terminal: None, ..unnamed(1, 300) };
    check(vec![ours(1, 300)], vec![nowhere], &missing);
    // A line that names another transaction of ours does not mean this one.
    let other = Record { transaction: Some(id(9)), reference: None, ..theirs(1, 300) };
    check(vec![ours(1, 300)], vec![other], &missing);
}

#[test]
fn the_nearest_of_several_is_meant() {
    // Both lines may mean both rides; each means the one at its own minute.
    let one = Record { at: Some(noon(2)), ..unnamed(1, 300) };
    let two = Record { at: Some(noon(3)), ..unnamed(2, 300) };
    let outcome = check(vec![ours(2, 300), ours(3, 300)], vec![two, one], &[]);
    for trio in outcome.matched {
        assert_eq!(trio.journal.and_then(|ours| ours.at), trio.participant.and_then(|line| line.at));
    }
}

#[test]
fn of_two_lines_for_one_ride_the_wrong_one_is_the_double() {
    let outcome =
        check(vec![ours(1, 300)], vec![theirs(1, 200), theirs(1, 300)], &[Difference::DoubleInFile]);
    assert_eq!(outcome.exceptions[0].theirs().map(|line| line.amount), Some(Fen::new(200)));
    // Also when the second names the ride by its reference only.
    let by_reference = Record { transaction: None, ..theirs(1, 300) };
    check(vec![ours(1, 300)], vec![theirs(1, 300), by_reference], &[Difference::DoubleInFile]);
}

/// The state that a run leaves, as the next run finds it.
fn after(outcome: &Outcome, mut known: BTreeMap<CaseId, Known>) -> BTreeMap<CaseId, Known> {
    for exception in &outcome.exceptions {
        known.entry(exception.id).or_insert(Known { filed_under: None });
    }
    for carried in &outcome.carried {
        known.insert(carried.missing, Known { filed_under: Some(DAY) });
    }
    known
}

#[test]
fn over_midnight_a_ride_is_found_under_the_next_day_and_never_twice() {
    // Booked yesterday, filed today. Yesterday's run missed it ...
    let late = Record { date: day(-1), ..ours(1, 300) };
    let filed = Record { date: DAY, ..theirs(1, 300) };
    let yesterday = run(Input { date: day(-1), journal: vec![late.clone()], ..input(vec![], vec![]) });
    assert_eq!(told(&yesterday), [Difference::MissingAtParticipant]);
    let missing = yesterday.exceptions[0].id;
    let known = after(&yesterday, BTreeMap::new());
    // ... and today's finds it: the same exception is explained.
    let today = || input(vec![late.clone()], vec![filed.clone()]);
    let outcome = run(Input { known: known.clone(), ..today() });
    assert_eq!((told(&outcome), outcome.matched.len()), (vec![], 1));
    assert_eq!(outcome.carried[0].missing, missing);
    // Sent again, today's file finds the same; yesterday's, sent again with it, is told.
    let known = after(&outcome, known);
    assert_eq!(run(Input { known: known.clone(), ..today() }), outcome);
    let again = Input {
        date: day(-1),
        journal: vec![late.clone()],
        participant_file: vec![Record { date: day(-1), ..theirs(1, 300) }],
        known,
        ..input(vec![], vec![])
    };
    assert_eq!(told(&run(again)), [Difference::DoubleInFile]);
    // A yesterday that did not miss it has it already.
    assert_eq!(told(&run(today())), [Difference::DoubleInFile]);
}

#[test]
fn ids_follow_from_what_an_exception_is_about() {
    let of = |journal, file| run(input(journal, file)).exceptions[0].id;
    assert_eq!(of(vec![ours(1, 300)], vec![]), CaseId::of_missing(&metro(), Side::Participant, id(1), mixed));
    let differs = |fen| of(vec![ours(1, 300)], vec![theirs(1, fen)]);
    assert_eq!(differs(301), differs(301));
    assert_ne!(differs(301), differs(302), "another difference is another exception");
    // Two lines that nothing tells apart are two exceptions.
    let outcome = run(input(vec![], vec![unnamed(1, 300), unnamed(1, 300)]));
    assert_eq!(told(&outcome), [Difference::MissingInJournal; 2]);
    assert_ne!(outcome.exceptions[0].id, outcome.exceptions[1].id);
    assert_eq!(outcome.exceptions[0].id.to_string().parse(), Ok(outcome.exceptions[0].id));
}

#[test]
fn rules_say_everything_that_is_wrong_with_them() {
    let wide = Tolerance { time_minutes: 2_000, amount_fen: 500, date_shift_days: 30 };
    let problems = Rules::build(BTreeMap::from([("tram".to_owned(), wide)]), BTreeMap::new());
    let problems = problems.expect_err("wrong").join("\n");
    for words in ["tram", "time_minutes", "amount_fen", "date_shift_days", "tolerance.default"] {
        assert!(problems.contains(words), "{words}: {problems}");
    }
    for kind in ExceptionKind::ALL {
        assert!(problems.contains(kind.name()), "{problems}");
        assert_eq!(ExceptionKind::from_code(kind.code()), Some(kind));
    }
}
