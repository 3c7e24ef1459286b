//! How a part of an amount is spread over the legs it was booked on.

use crate::model::{Fen, record::PaymentLeg};

/// How much of each leg is taken back when `taken` of `captured` is, counted from
/// the beginning, so that rounding does not add up over many refunds.
///
/// Each side, debit and credit, gives back `taken` in all. Every leg but the first
/// of its side gives its proportion, rounded half up, once; the first leg of a side
/// bears the remainder. All of `captured` gives back every leg exactly.
///
/// # Panics
/// When `taken` is not within 0 and `captured`, or nothing was captured.
pub(super) fn taken_back(legs: &[PaymentLeg], taken: Fen, captured: Fen) -> Vec<i64> {
    assert!(captured > Fen::ZERO && (Fen::ZERO..=captured).contains(&taken), "more than was captured");
    let mut parts: Vec<i64> =
        legs.iter().map(|leg| proportion(leg.captured_fen, taken.get(), captured.get())).collect();
    for sign in [1, -1] {
        let on_side = |leg: &PaymentLeg| leg.captured_fen.signum() == sign;
        let Some(bearer) = legs.iter().position(on_side) else { continue };
        let others: i64 = legs
            .iter()
            .zip(&parts)
            .enumerate()
            .filter(|(at, (leg, _))| on_side(leg) && *at != bearer)
            .map(|(_, (_, part))| part)
            .sum();
        parts[bearer] = sign * taken.get() - others;
    }
    parts
}

/// `amount * part / whole`, rounded half up (away from zero for a credit).
fn proportion(amount: i64, part: i64, whole: i64) -> i64 {
    let product = i128::from(amount) * i128::from(part);
    let whole = i128::from(whole);
    let (quotient, rest) = (product / whole, (product % whole).abs());
    let up = i128::from(rest * 2 >= whole) * product.signum();
    i64::try_from(quotient + up).expect("a part of 64 bits has 64 bits")
}
