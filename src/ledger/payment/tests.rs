//! The promises of the money of a transaction, by cases and in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    ledger::{ParticipantBook, assert_balanced},
    model::{Posting, decoded, record::PaymentLeg},
};

const AT: Millis = 1_790_000_000_000;

fn ask(amount: i64) -> ReserveAsk {
    let participant = "bj-capital".parse().expect("well formed");
    ReserveAsk {
        transaction: TransactionId::from_bytes([7; 16]),
        payer: Account::Purse { province: 120_000 },
        payee: Account::Participant { participant, book: ParticipantBook::Fees },
        participant: "bj-capital".to_owned(),
        scene: "transaction",
        amount: Fen::new(amount),
        life_ms: 1_000,
    }
}

/// A charge that was booked at once on these legs.
fn charged(legs: &[(&str, i64)]) -> Payment {
    let leg = |(account, fen): &(&str, i64)| PaymentLeg {
        account: (*account).to_owned(),
        captured_fen: *fen,
        refunded_fen: 0,
    };
    Payment {
        captured_fen: legs.iter().map(|(_, fen)| (*fen).max(0)).sum(),
        status: Status::Completed.number(),
        legs: legs.iter().map(leg).collect(),
        ..Payment::default()
    }
}

fn fare(amount: i64) -> Payment {
    charged(&[("purse/110000", amount), ("participant/bj-metro/fares", -amount)])
}

#[track_caller]
fn booked(moved: &Moved, expected: &[(&str, i64)]) {
    let postings: Vec<_> =
        moved.postings.iter().map(|posting| (posting.account.as_str(), posting.amount.get())).collect();
    assert_eq!(postings, expected);
    assert_eq!(assert_balanced(&moved.postings), Ok(()));
}

#[test]
fn a_capture_takes_what_is_asked_and_lets_the_rest_go() {
    let reserved = reserve(&ask(5_000), AT);
    assert_eq!((reserved.reserved_fen, reserved.expires_at_ms), (5_000, AT + 1_000));
    assert_eq!(capture(&reserved, Fen::new(5_001), AT), Err(Reason::AmountExceedsReservation));
    assert_eq!(capture(&reserved, Fen::ZERO, AT), Err(Reason::AmountExceedsReservation));
    assert_eq!(capture(&reserved, Fen::new(1), AT + 1_000), Err(Reason::ReservationExpired));
    let taken = capture(&reserved, Fen::new(3_200), AT + 999).expect("captured");
    booked(&taken, &[("purse/120000", 3_200), ("participant/bj-capital/fees", -3_200)]);
    let after = taken.payment;
    assert_eq!((after.reserved_fen, after.captured_fen, after.expires_at_ms), (0, 3_200, 0));
    assert_eq!(capture(&after, Fen::new(1), AT), Err(Reason::NothingReserved), "once");
    assert_eq!(release(&after), Err(Reason::NothingReserved));
}

#[test]
fn a_reservation_ends_by_itself_when_its_time_is_over() {
    let reserved = reserve(&ask(5_000), AT);
    assert_eq!(expire(&reserved, AT + 999), Err(AT + 1_000));
    let gone = expire(&reserved, AT + 1_000).expect("expired");
    assert_eq!((gone.amount.get(), gone.payment.reserved_fen), (5_000, 0));
    assert!(gone.payment.reversed && gone.postings.is_empty());
    assert_eq!(refund(&gone.payment, Fen::new(1)), Err(Reason::AlreadyReversed));
}

#[test]
fn refunds_add_up_to_the_capture_and_no_further() {
    let first = refund(&fare(500), Fen::new(200)).expect("refunded");
    booked(&first, &[("purse/110000", -200), ("participant/bj-metro/fares", 200)]);
    assert_eq!(refund(&first.payment, Fen::new(301)), Err(Reason::AmountExceedsCapture));
    let second = refund(&first.payment, Fen::new(300)).expect("refunded");
    assert_eq!(refund(&second.payment, Fen::new(1)), Err(Reason::AmountExceedsCapture));
    assert_eq!(refund(&second.payment, Fen::new(-1)), Err(Reason::AmountExceedsCapture));
    assert_eq!(reverse(&second.payment), Err(Reason::NothingCaptured), "all of it is back");
}

#[test]
fn a_reversal_negates_what_is_left_once() {
    let whole = reverse(&fare(500)).expect("reversed");
    booked(&whole, &[("purse/110000", -500), ("participant/bj-metro/fares", 500)]);
    assert_eq!(reverse(&whole.payment), Err(Reason::AlreadyReversed));
    assert_eq!(refund(&whole.payment, Fen::new(1)), Err(Reason::AlreadyReversed));
    let part = refund(&fare(500), Fen::new(120)).expect("refunded");
    booked(
        &reverse(&part.payment).expect("reversed"),
        &[("purse/110000", -380), ("participant/bj-metro/fares", 380)],
    );
    assert_eq!(reverse(&Payment::default()), Err(Reason::NothingCaptured));
}

#[test]
fn a_refund_is_spread_in_proportion_and_the_first_leg_of_a_side_bears_the_remainder() {
    // A settlement: the fund pays two thirds, the purse one.
    let payment = charged(&[("purse", 334), ("fund", 666), ("hospital", -1_000)]);
    let first = refund(&payment, Fen::new(100)).expect("refunded");
    // 66.6 rounds to 67; the purse bears what is left of 100.
    booked(&first, &[("purse", -33), ("fund", -67), ("hospital", 100)]);
    let rest = reverse(&first.payment).expect("reversed");
    booked(&rest, &[("purse", -301), ("fund", -599), ("hospital", 900)]);
}

fn entry(status: Status, postings: &[(&str, i64)]) -> crate::model::record::Entry {
    crate::model::record::Entry {
        participant: "bj-metro".to_owned(),
        scene: "transit".to_owned(),
        subject: vec![3; 16],
        committed_at_ms: AT,
        status: status.number(),
        postings: postings
            .iter()
            .map(|(account, fen)| crate::model::record::Posting {
                account: (*account).to_owned(),
                amount_fen: *fen,
            })
            .collect(),
        ..Default::default()
    }
}

#[test]
fn a_charge_without_a_file_is_what_its_postings_say() {
    let tap = entry(Status::Completed, &[("purse/110000", 500), ("participant/bj-metro/fares", -500)]);
    let read = known([&tap]);
    let payment = read.payment.expect("charged");
    assert_eq!((payment.captured_fen, read.capture_step, read.is_open), (500, Some(0), false));
    assert_eq!(payment.window, 20_260_921);
    assert_eq!(read.about.subject, Some(Subject::from_bytes([3; 16])));
    assert_eq!(known([&entry(Status::Pending, &[])]), {
        Known { is_open: true, about: read.about, ..Known::default() }
    });
}

#[test]
fn what_the_file_says_overrules_what_was_read_before() {
    let id = TransactionId::from_bytes([7; 16]);
    let tap = entry(Status::Completed, &[("purse/110000", 500), ("participant/bj-metro/fares", -500)]);
    let read = known([&tap]);
    let later = Later::Refund { amount: Fen::new(400), cause: Cause::Holder };
    let first = decide_later(&View::default().missing::<Payment>(id.as_bytes()), id, later, &read, AT);
    let first = first.expect("decided");
    assert_eq!(
        (first.outcome, first.status, first.corrects),
        (Outcome::Approved, Status::Completed, Some(0))
    );
    let file: Payment = decoded(first.writes[0].body.as_ref().expect("written")).expect("a payment");
    let view = View::default().holding(id.as_bytes(), &file);
    let second = decide_later(&view, id, later, &read, AT).expect("decided");
    assert_eq!(second.outcome, Outcome::Declined(Reason::AmountExceedsCapture));
    assert!(second.postings.is_empty() && second.writes.is_empty());
    let nothing = Known { is_open: true, ..Known::default() };
    let asked = decide_later(&View::default().missing::<Payment>(id.as_bytes()), id, later, &nothing, AT);
    assert_eq!(asked.expect("decided").outcome, Outcome::Declined(Reason::OutcomePending));
}

#[derive(Debug, Clone)]
enum Act {
    Capture(i64),
    Release,
    Refund(i64),
    Reverse,
    Expire(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        2 => (-5..12_000_i64).prop_map(Act::Capture),
        1 => Just(Act::Release),
        6 => (-5..4_000_i64).prop_map(Act::Refund),
        1 => Just(Act::Reverse),
        1 => (0..2_000_i64).prop_map(Act::Expire),
    ];
    proptest::collection::vec(act, 0..24)
}

fn sums(all: &[Posting]) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    all.iter().for_each(|posting| *sums.entry(posting.account.clone()).or_default() += posting.amount.get());
    sums
}

/// Runs acts and holds the invariants after each.
fn run(mut payment: Payment, mut booked: Vec<Posting>, acts: Vec<Act>) -> Result<(), TestCaseError> {
    let reserved = payment.reserved_fen;
    let mut reversals = 0;
    for act in acts {
        let moved = match act {
            Act::Capture(fen) => capture(&payment, Fen::new(fen), AT),
            Act::Release => release(&payment),
            Act::Refund(fen) => refund(&payment, Fen::new(fen)),
            Act::Reverse => reverse(&payment),
            Act::Expire(after) => expire(&payment, AT + after).map_err(|_| Reason::NothingReserved),
        };
        let Ok(moved) = moved else { continue };
        prop_assert_eq!(assert_balanced(&moved.postings), Ok(()));
        let (before, after) =
            (Status::from_number(payment.status), Status::from_number(moved.payment.status));
        prop_assert!(crate::model::lifecycle::may_follow(before, after.expect("a status")));
        reversals += u32::from(moved.payment.reversed);
        booked.extend(moved.postings);
        payment = moved.payment;
        prop_assert!((0..=payment.captured_fen).contains(&payment.refunded_fen));
        prop_assert!(reserved == 0 || payment.captured_fen + payment.reserved_fen <= reserved);
        let sums = sums(&booked);
        prop_assert_eq!(sums.values().sum::<i64>(), 0);
        let debited: i64 = sums.values().map(|fen| (*fen).max(0)).sum();
        let left = payment.captured_fen - payment.refunded_fen;
        prop_assert!(debited >= left, "what is left stands on the accounts");
        for leg in &payment.legs {
            let stands = sums.get(&leg.account).copied().unwrap_or_default();
            prop_assert_eq!(stands, leg.captured_fen - leg.refunded_fen);
            if left == 0 {
                prop_assert_eq!(stands, 0, "nothing stays anywhere");
            }
        }
    }
    prop_assert!(reversals <= 1, "a reversal has one effect");
    Ok(())
}

proptest! {
    #[test]
    fn any_requests_in_any_order_keep_the_books_of_a_reservation(amount in 1..10_000_i64, acts in acts()) {
        run(reserve(&ask(amount), AT), Vec::new(), acts)?;
    }

    #[test]
    fn any_requests_in_any_order_keep_the_books_of_a_split_charge(
        debits in proptest::collection::vec(1..3_000_i64, 1..5),
        kept in 0..=100_i64,
        acts in acts(),
    ) {
        let whole: i64 = debits.iter().sum();
        let names: Vec<_> = (0..debits.len()).map(|at| format!("payer/{at}")).collect();
        let mut legs: Vec<_> = names.iter().map(String::as_str).zip(debits).collect();
        legs.push(("payee", -(whole - whole * kept / 100)));
        legs.push(("commission", -(whole * kept / 100)));
        let booked = legs
            .iter()
            .map(|(account, fen)| Posting { account: (*account).to_owned(), amount: Fen::new(*fen) })
            .collect();
        run(charged(&legs), booked, acts)?;
    }
}
