//! The law of double entry.

use std::collections::BTreeMap;

use crate::model::{Fen, FenOverflow, Posting};

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
