//! What stands on the accounts: postings folded by account and business date, and
//! over the whole ledger.
//!
//! Balances are folded from the journal by the indexer and are never rows that
//! transactions fight over. What does not live here: what an account is, windows
//! and statements (`ledger`).

use std::{collections::HashMap, ops::RangeInclusive};

use jiff::civil::Date;

use super::{
    StoreError,
    effects::{Effects, corrupt},
};
use crate::identity::{business_date, date_of_yyyymmdd, yyyymmdd};

/// What was booked on one account on one business date (Asia/Shanghai, of the time
/// of commitment).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The account's path, as in the postings.
    pub account: String,
    pub date: Date,
    /// Sum of the debits, integer fen, not negative.
    pub debit_fen: i64,
    /// Sum of the credits, integer fen, not negative.
    pub credit_fen: i64,
    /// Postings.
    pub count: u64,
}

/// Sums over every posting of a ledger. Debits and credits are equal, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerTotals {
    pub debit_fen: i128,
    pub credit_fen: i128,
    /// Postings.
    pub count: u64,
}

impl LedgerTotals {
    /// Zero, or money came from nowhere.
    pub fn sum_fen(&self) -> i128 {
        self.debit_fen - self.credit_fen
    }

    pub(super) fn post(&mut self, amount_fen: i64) {
        let amount = i128::from(amount_fen);
        self.debit_fen += amount.max(0);
        self.credit_fen += (-amount).max(0);
        self.count = self.count.saturating_add(1);
    }

    pub(super) fn add(&mut self, other: &LedgerTotals) {
        self.debit_fen += other.debit_fen;
        self.credit_fen += other.credit_fen;
        // What a journal tells of itself may be anything until it is held against the rest.
        self.count = self.count.saturating_add(other.count);
    }

    /// debit 16 ‖ credit 16 ‖ count 8, big endian.
    pub(super) fn encode(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&self.debit_fen.to_be_bytes());
        bytes[16..32].copy_from_slice(&self.credit_fen.to_be_bytes());
        bytes[32..].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let parts = || -> Option<Self> {
            let (debit, rest) = bytes.split_first_chunk::<16>()?;
            let (credit, rest) = rest.split_first_chunk::<16>()?;
            Some(LedgerTotals {
                debit_fen: i128::from_be_bytes(*debit),
                credit_fen: i128::from_be_bytes(*credit),
                count: u64::from_be_bytes(rest.try_into().ok()?),
            })
        };
        parts().ok_or_else(|| corrupt("a balance of the index"))
    }
}

/// An account, a business date, and what was booked on it then.
pub(super) type DayTotals = (String, Date, LedgerTotals);

/// Postings of some batches, folded.
#[derive(Debug, Default)]
pub(super) struct Folded {
    pub(super) whole: LedgerTotals,
    days: HashMap<Date, HashMap<String, LedgerTotals>>,
}

impl Folded {
    pub(super) fn take_up(&mut self, batch: &Effects) {
        let mut day = None;
        for posting in batch.entries.iter().flat_map(|entry| &entry.postings) {
            let day = day.get_or_insert_with(|| business_date(batch.committed_at));
            let accounts = self.days.entry(*day).or_default();
            self.whole.post(posting.amount_fen);
            match accounts.get_mut(&posting.account) {
                Some(sums) => sums.post(posting.amount_fen),
                None => {
                    let mut sums = LedgerTotals::default();
                    sums.post(posting.amount_fen);
                    accounts.insert(posting.account.clone(), sums);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.days.is_empty()
    }

    /// Every account and day with what these batches booked on it.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&str, Date, &LedgerTotals)> {
        self.days.iter().flat_map(|(date, accounts)| {
            accounts.iter().map(|(account, sums)| (account.as_str(), *date, sums))
        })
    }
}

/// Brings together what the index has and what is not indexed yet.
pub(super) fn joined(
    indexed: Vec<DayTotals>,
    newer: &Folded,
    accounts: &str,
    dates: &RangeInclusive<Date>,
) -> Result<Vec<Balance>, StoreError> {
    let mut all: std::collections::BTreeMap<(String, Date), LedgerTotals> = Default::default();
    let newer = newer.rows().map(|(account, date, sums)| (account.to_owned(), date, *sums));
    for (account, date, sums) in indexed.into_iter().chain(newer) {
        if account.starts_with(accounts) && dates.contains(&date) {
            all.entry((account, date)).or_default().add(&sums);
        }
    }
    let narrow = |fen: i128| i64::try_from(fen).map_err(|_| corrupt("a balance beyond 64 bits"));
    all.into_iter()
        .map(|((account, date), sums)| {
            let (debit_fen, credit_fen) = (narrow(sums.debit_fen)?, narrow(sums.credit_fen)?);
            Ok(Balance { account, date, debit_fen, credit_fen, count: sums.count })
        })
        .collect()
}

/// A date as it sorts in a key: yyyymmdd; years before the common era sort first.
pub(super) fn date_bytes(date: Date) -> [u8; 4] {
    yyyymmdd(date).to_be_bytes()
}

pub(super) fn date_of(bytes: [u8; 4]) -> Option<Date> {
    date_of_yyyymmdd(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_survive_their_bytes() {
        let mut sums = LedgerTotals::default();
        for fen in [300, -300, i64::MIN, i64::MAX, 1] {
            sums.post(fen);
        }
        assert_eq!(sums.sum_fen(), 0);
        assert_eq!(sums.count, 5);
        assert_eq!(LedgerTotals::decode(&sums.encode()).expect("whole"), sums);
        assert!(LedgerTotals::decode(&sums.encode()[1..]).is_err());
    }

    #[test]
    fn dates_sort_as_their_bytes() {
        let days = [Date::constant(1999, 12, 31), Date::constant(2026, 1, 9), Date::constant(2026, 11, 2)];
        for pair in days.windows(2) {
            assert!(date_bytes(pair[0]) < date_bytes(pair[1]));
        }
        for day in days {
            assert_eq!(date_of(date_bytes(day)), Some(day));
        }
    }
}
