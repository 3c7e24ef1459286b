//! The daily statement of a participant: what stood on its accounts when the
//! window opened, what moved, what stands when it closes. A fold of balances;
//! where balances come from is the store's affair.
//!
//! A participant's account is credited with what it earned. Statements speak from
//! its side: what is owed to it is positive.

use std::collections::BTreeMap;

use super::window::Window;
use crate::model::{Fen, FenOverflow, ParticipantId};

/// What was booked on one account on one business date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayBalance {
    pub account: String,
    pub window: Window,
    /// Both not negative.
    pub debit: Fen,
    pub credit: Fen,
    pub count: u64,
}

/// One account on a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    pub account: String,
    pub opening: Fen,
    /// Earned in the window.
    pub earned: Fen,
    /// Given back in the window: refunds and reversals.
    pub given_back: Fen,
    /// Postings of the window.
    pub count: u64,
    pub closing: Fen,
}

/// A participant's day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub participant: ParticipantId,
    pub window: Window,
    /// In the order of the accounts' paths.
    pub lines: Vec<Line>,
    /// Over all lines; its account is empty.
    pub total: Line,
    /// Whether the window is over, so that nothing can change it any more.
    pub is_final: bool,
}

/// The path that every account of a participant begins with.
pub fn accounts_of(participant: &ParticipantId) -> String {
    format!("participant/{participant}/")
}

/// Folds balances into a statement. Balances of other accounts and of later
/// windows are not looked at; the order does not matter.
///
/// # Errors
/// When a sum leaves 64 bits.
pub fn statement(
    participant: &ParticipantId,
    window: Window,
    balances: &[DayBalance],
    today: Window,
) -> Result<Statement, FenOverflow> {
    let accounts = accounts_of(participant);
    let mut lines: BTreeMap<&str, Line> = BTreeMap::new();
    let ours = balances.iter().filter(|one| one.account.starts_with(&accounts) && one.window <= window);
    for one in ours {
        let line = lines.entry(&one.account).or_default();
        let owed = one.credit.minus(one.debit)?;
        line.closing = line.closing.plus(owed)?;
        if one.window < window {
            line.opening = line.opening.plus(owed)?;
        } else {
            line.earned = line.earned.plus(one.credit)?;
            line.given_back = line.given_back.plus(one.debit)?;
            line.count += one.count;
        }
    }
    let mut total = Line::default();
    let mut named = Vec::with_capacity(lines.len());
    for (account, mut line) in lines {
        account.clone_into(&mut line.account);
        total.opening = total.opening.plus(line.opening)?;
        total.earned = total.earned.plus(line.earned)?;
        total.given_back = total.given_back.plus(line.given_back)?;
        total.closing = total.closing.plus(line.closing)?;
        total.count += line.count;
        named.push(line);
    }
    let adds_up = total.opening.plus(total.earned)?.minus(total.given_back)? == total.closing;
    assert!(adds_up, "a statement closes with what opening and movements say");
    Ok(Statement { participant: participant.clone(), window, lines: named, total, is_final: window < today })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;

    fn day(day: i8) -> Window {
        Window::on(date(2026, 11, day))
    }

    fn one(account: &str, on: i8, debit: i64, credit: i64, count: u64) -> DayBalance {
        DayBalance {
            account: account.to_owned(),
            window: day(on),
            debit: Fen::new(debit),
            credit: Fen::new(credit),
            count,
        }
    }

    fn metro() -> ParticipantId {
        "bj-metro".parse().expect("well formed")
    }

    #[test]
    fn a_day_opens_with_what_the_days_before_left() {
        let balances = [
            one("participant/bj-metro/fares", 19, 0, 900, 3),
            one("participant/bj-metro/fares", 20, 100, 300, 2),
            one("participant/bj-metro/fares", 21, 200, 1_000, 4),
            one("participant/bj-metro/fees", 21, 0, 50, 1),
            one("participant/bj-metro/fares", 22, 0, 7_000, 9),
            one("participant/bj-metro2/fares", 21, 0, 7_000, 9),
            one("purse/110000", 21, 1_050, 0, 5),
        ];
        let told = statement(&metro(), day(21), &balances, day(22)).expect("small");
        let fares = &told.lines[0];
        assert_eq!(fares.account, "participant/bj-metro/fares");
        let fen = |line: &Line| {
            (line.opening.get(), line.earned.get(), line.given_back.get(), line.closing.get(), line.count)
        };
        assert_eq!(fen(fares), (1_100, 1_000, 200, 1_900, 4));
        assert_eq!(fen(&told.lines[1]), (0, 50, 0, 50, 1));
        assert_eq!(fen(&told.total), (1_100, 1_050, 200, 1_950, 5));
        assert!(told.is_final);
        assert!(!statement(&metro(), day(22), &balances, day(22)).expect("small").is_final);
    }

    proptest! {
        #[test]
        fn every_day_opens_with_the_closing_of_the_day_before(
            days in proptest::collection::vec((1_i8..28, 0..100_000_i64, 0..100_000_i64), 0..40)
        ) {
            let balances: Vec<_> = days
                .into_iter()
                .map(|(on, debit, credit)| one("participant/bj-metro/fares", on, debit, credit, 1))
                .collect();
            let mut before = Fen::ZERO;
            for on in 1..=28 {
                let told = statement(&metro(), day(on), &balances, day(28)).expect("small");
                prop_assert_eq!(told.total.opening, before);
                before = told.total.closing;
            }
        }
    }
}
