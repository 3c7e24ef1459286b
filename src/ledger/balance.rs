//! The law of double entry.

use std::collections::BTreeMap;

use crate::model::{Fen, FenOverflow, Posting, record::Entry};

/// Postings that do not sum to zero. Nothing with such postings may be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unbalanced {
    #[error("the postings sum to {sum} yuan, not to zero")]
    Sum { sum: Fen },
    #[error(transparent)]
    Overflow(#[from] FenOverflow),
}

/// Checks that the postings of one entry sum to zero. No posting at all does.
///
/// # Errors
/// When they do not, or when a partial sum leaves 64 bits.
pub fn assert_balanced(postings: &[Posting]) -> Result<(), Unbalanced> {
    let sum = postings.iter().try_fold(Fen::ZERO, |sum, posting| sum.plus(posting.amount))?;
    if sum == Fen::ZERO { Ok(()) } else { Err(Unbalanced::Sum { sum }) }
}

/// What stands on each account after these postings, in the order of their paths.
///
/// # Errors
/// When a sum leaves 64 bits.
pub fn sums<'a>(
    postings: impl IntoIterator<Item = &'a Posting>,
) -> Result<BTreeMap<&'a str, Fen>, FenOverflow> {
    let mut sums = BTreeMap::new();
    for posting in postings {
        let sum = sums.entry(posting.account.as_str()).or_insert(Fen::ZERO);
        *sum = sum.plus(posting.amount)?;
    }
    Ok(sums)
}

/// Every posting of a journal, summed entry by entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whole {
    /// Zero, or money came from nowhere.
    pub sum_fen: i128,
    pub postings: u64,
    /// The first transaction with an entry that does not sum to zero by itself.
    pub unbalanced: Option<Vec<u8>>,
}

impl Whole {
    pub fn add(&mut self, entry: &Entry) {
        let sum: i128 = entry.postings.iter().map(|posting| i128::from(posting.amount_fen)).sum();
        self.sum_fen += sum;
        self.postings += entry.postings.len() as u64;
        if sum != 0 && self.unbalanced.is_none() {
            self.unbalanced = Some(entry.transaction_id.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn posting(account: &str, fen: i64) -> Posting {
        Posting { account: account.to_owned(), amount: Fen::new(fen) }
    }

    #[test]
    fn an_entry_that_does_not_sum_to_zero_is_refused() {
        assert_eq!(assert_balanced(&[]), Ok(()));
        assert_eq!(assert_balanced(&[posting("a", 300), posting("b", -300)]), Ok(()));
        assert_eq!(assert_balanced(&[posting("a", 1)]), Err(Unbalanced::Sum { sum: Fen::new(1) }));
        assert_eq!(
            assert_balanced(&[posting("a", i64::MAX), posting("b", 1)]),
            Err(Unbalanced::Overflow(FenOverflow))
        );
    }

    #[test]
    fn the_whole_names_the_first_entry_that_does_not_sum_to_zero() {
        let entry = |number: u8, fens: &[i64]| Entry {
            transaction_id: vec![number; 16],
            postings: fens
                .iter()
                .map(|fen| crate::model::record::Posting { account: "a".to_owned(), amount_fen: *fen })
                .collect(),
            ..Entry::default()
        };
        let mut whole = Whole::default();
        whole.add(&entry(1, &[300, -300]));
        assert_eq!((whole.sum_fen, whole.postings, &whole.unbalanced), (0, 2, &None));
        whole.add(&entry(2, &[5]));
        whole.add(&entry(3, &[-5]));
        // Two wrongs make the sum right again; the entry is still named.
        assert_eq!((whole.sum_fen, whole.postings), (0, 4));
        assert_eq!(whole.unbalanced, Some(vec![2; 16]));
    }

    proptest! {
        #[test]
        fn balanced_entries_leave_the_whole_at_zero(moves in proptest::collection::vec((0u8..5, 0u8..5, any::<i32>()), 0..40)) {
            let mut all = Vec::new();
            for (from, to, fen) in moves {
                let entry = [posting(&from.to_string(), fen.into()), posting(&to.to_string(), -i64::from(fen))];
                prop_assert_eq!(assert_balanced(&entry), Ok(()));
                all.extend(entry);
            }
            let whole: i64 = sums(&all).expect("small").values().map(|sum| sum.get()).sum();
            prop_assert_eq!(whole, 0);
        }
    }
}
