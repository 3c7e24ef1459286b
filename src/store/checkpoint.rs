//! Checkpoints: now and then a batch carries the heads of all chains and the totals
//! of the ledger, under its own signature. A start reads on from the last one, so
//! that what has to be read stays bounded however old the journal is.
//!
//! What does not live here: balances by day, which are the index's (`balances`).

use std::collections::BTreeMap;

use prost::Message;

use super::{LedgerTotals, chain::checkpoint_digest};
use crate::model::{Millis, record};

const SCHEMA: u32 = 1;

/// When the next checkpoint is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    /// Entries since the last one.
    pub(super) entries: u64,
    /// Time of commitment since the last one.
    pub(super) ms: Millis,
    /// The most that a checkpoint may take, encoded.
    pub(super) bytes: usize,
}

/// What a checkpoint says, kept as entries come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    accounts: BTreeMap<String, LedgerTotals>,
    whole: LedgerTotals,
    entries: u64,
    /// Entries since the last checkpoint, and when that was.
    since: u64,
    at: Option<Millis>,
}

impl Tally {
    /// What a checkpoint says; `None` when it cannot be decoded.
    pub(super) fn of(checkpoint: &[u8], at: Millis) -> Option<Self> {
        let checkpoint = record::Checkpoint::decode(checkpoint).ok()?;
        let mut tally = Tally { entries: checkpoint.entries, at: Some(at), ..Tally::default() };
        for total in checkpoint.accounts {
            let totals = LedgerTotals {
                debit_fen: total.debit_fen.into(),
                credit_fen: total.credit_fen.into(),
                count: total.count,
            };
            tally.whole.add(&totals);
            tally.accounts.entry(total.account).or_default().add(&totals);
        }
        Some(tally)
    }

    /// Takes the entries of a batch in; `carries` says that it has a checkpoint.
    pub(super) fn take_up<'a>(
        &mut self,
        committed_at: Millis,
        carries: bool,
        entries: u64,
        postings: impl IntoIterator<Item = &'a record::Posting>,
    ) {
        if carries || self.at.is_none() {
            self.at = Some(committed_at);
            self.since = 0;
        }
        self.entries = self.entries.saturating_add(entries);
        self.since = self.since.saturating_add(entries);
        for posting in postings {
            self.whole.post(posting.amount_fen);
            match self.accounts.get_mut(&posting.account) {
                Some(totals) => totals.post(posting.amount_fen),
                None => {
                    let mut totals = LedgerTotals::default();
                    totals.post(posting.amount_fen);
                    self.accounts.insert(posting.account.clone(), totals);
                }
            }
        }
    }

    pub(super) fn whole(&self) -> &LedgerTotals {
        &self.whole
    }

    /// Whether a batch that is committed at `now` is to carry a checkpoint.
    pub(super) fn is_due(&self, interval: Interval, now: Millis) -> bool {
        let waited = self.at.is_some_and(|at| now.saturating_sub(at) >= interval.ms);
        self.since > 0 && (self.since >= interval.entries || waited)
    }

    /// None could be made: it is due again after another interval.
    pub(super) fn put_off(&mut self, at: Millis) {
        self.at = Some(at);
        self.since = 0;
    }

    /// Whether there is anything that no checkpoint tells yet.
    pub(super) fn has_news(&self) -> bool {
        self.since > 0
    }

    /// The checkpoint, encoded; `None` when a total leaves 64 bits or when there are
    /// too many accounts for `most` bytes.
    pub(super) fn checkpoint(&self, heads: Vec<record::ChainHead>, most: usize) -> Option<Vec<u8>> {
        let total = |(account, totals): (&String, &LedgerTotals)| {
            Some(record::AccountTotal {
                account: account.clone(),
                debit_fen: totals.debit_fen.try_into().ok()?,
                credit_fen: totals.credit_fen.try_into().ok()?,
                count: totals.count,
            })
        };
        let accounts = self.accounts.iter().map(total).collect::<Option<_>>()?;
        let checkpoint = record::Checkpoint { schema: SCHEMA, heads, accounts, entries: self.entries };
        (checkpoint.encoded_len() <= most).then(|| checkpoint.encode_to_vec())
    }

    /// Holds a batch's checkpoint, where it has one, against what was read before
    /// it.
    ///
    /// # Errors
    /// What it says that is not so.
    pub(super) fn check(&self, header: &record::BatchHeader, checkpoint: &[u8]) -> Result<(), &'static str> {
        if checkpoint.is_empty() {
            return Ok(());
        }
        let Some(told) = Tally::of(checkpoint, header.committed_at_ms) else {
            return Err("the checkpoint cannot be decoded");
        };
        if told.accounts != self.accounts {
            return Err("the checkpoint's totals are not those of the entries before it");
        }
        if told.entries != self.entries {
            return Err("the checkpoint counts other entries than there are before it");
        }
        Ok(())
    }
}

/// Whether what a batch carries is what its header says, and names the batch
/// before as the head of its chain.
pub(super) fn holds(header: &record::BatchHeader, checkpoint: &[u8]) -> bool {
    if checkpoint.is_empty() || header.checkpoint_digest.is_empty() {
        return checkpoint.is_empty() && header.checkpoint_digest.is_empty();
    }
    let Ok(told) = record::Checkpoint::decode(checkpoint) else { return false };
    let names_this_chain = told.heads.iter().any(|head| {
        (head.region, head.node.as_str()) == (header.region, header.node.as_str())
            && head.sequence.checked_add(1) == Some(header.sequence)
            && head.hash == header.previous
    });
    header.checkpoint_digest == checkpoint_digest(checkpoint) && names_this_chain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posting(account: &str, amount_fen: i64) -> record::Posting {
        record::Posting { account: account.to_owned(), amount_fen }
    }

    #[test]
    fn a_checkpoint_is_due_by_entries_or_by_time_and_never_without_news() {
        let interval = Interval { entries: 10, ms: 1_000, bytes: 100 };
        let mut tally = Tally::default();
        assert!(!tally.is_due(interval, 9_999));
        tally.take_up(5_000, false, 9, []);
        assert!(!tally.is_due(interval, 5_999));
        assert!(tally.is_due(interval, 6_000));
        tally.take_up(5_001, false, 1, []);
        assert!(tally.is_due(interval, 5_001));
        tally.take_up(5_002, true, 0, []);
        assert!(!tally.is_due(interval, 99_999) && !tally.has_news());
    }

    #[test]
    fn numbers_that_cannot_be_are_no_panic() {
        let account = record::AccountTotal {
            account: "a".to_owned(),
            debit_fen: i64::MIN,
            credit_fen: i64::MAX,
            count: u64::MAX,
        };
        let head = record::ChainHead { sequence: u64::MAX, ..Default::default() };
        let told = record::Checkpoint {
            schema: 9,
            heads: vec![head],
            accounts: vec![account.clone(), account],
            entries: u64::MAX,
        }
        .encode_to_vec();
        let digest = checkpoint_digest(&told).to_vec();
        let header = record::BatchHeader { checkpoint_digest: digest, ..Default::default() };
        assert!(!holds(&header, &told));
        assert!(Tally::default().check(&header, &told).is_err());
        let mut tally = Tally::of(&told, 0).expect("it can be decoded");
        tally.take_up(1, false, 5, &[posting("a", i64::MIN)]);
        assert_ne!(tally.whole().sum_fen(), 0);
    }

    #[test]
    fn what_is_told_is_taken_up_again() {
        let mut tally = Tally::default();
        tally.take_up(
            1,
            false,
            2,
            &[posting("a", 300), posting("b", -300), posting("a", -20), posting("c", 20)],
        );
        assert_eq!(tally.checkpoint(Vec::new(), 20), None, "too many accounts");
        let bytes = tally.checkpoint(Vec::new(), 200).expect("small");
        let header = record::BatchHeader { committed_at_ms: 2, ..Default::default() };
        assert_eq!(tally.check(&header, &bytes), Ok(()));
        let mut again = Tally::of(&bytes, 2).expect("decoded");
        assert_eq!((again.whole, again.entries), (tally.whole, 2));
        again.take_up(3, false, 1, &[posting("a", 1)]);
        assert!(again.check(&header, &bytes).is_err());
        assert_eq!(again.whole().sum_fen(), 1);
    }
}
