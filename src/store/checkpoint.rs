//! Checkpoints: now and then a batch carries the heads of all chains and the totals
//! of the ledger, under its own signature. A start reads on from the last one, so
//! that what has to be read stays bounded however old the journal is.
//!
//! What does not live here: balances by day, which are the index's (`balances`).

use std::collections::BTreeMap;

use prost::Message;

use super::{LedgerTotals, chain::checkpoint_digest};
use crate::{
    crypto::Digest32,
    model::{Millis, record},
};

/// Names the ends of all epochs of its chain.
const SCHEMA: u32 = 2;

/// May lack ends of earlier epochs: written before they were told, or by a writer that
/// began at such a checkpoint.
const SCHEMA_OWN_HEAD: u32 = 1;

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
    /// The last batch of every epoch, oldest first.
    heads: Vec<record::ChainHead>,
    /// Reading began at a checkpoint that may lack ends of earlier epochs.
    lacks_heads: bool,
}

impl Tally {
    /// What a checkpoint says; `None` when it cannot be decoded.
    pub(super) fn of(checkpoint: &[u8], at: Millis) -> Option<Self> {
        let checkpoint = record::Checkpoint::decode(checkpoint).ok()?;
        // Other writers' heads are for them to tell; in the order of time its own is
        // the last.
        let mut heads = checkpoint.heads;
        if let Some((own, others)) = heads.split_first() {
            let (own, mut ends) = (own.clone(), others.to_vec());
            ends.retain(|end| (end.region, &end.node) == (own.region, &own.node));
            ends.push(own);
            heads = ends;
        }
        let mut tally = Tally {
            entries: checkpoint.entries,
            at: Some(at),
            heads,
            lacks_heads: checkpoint.schema < SCHEMA,
            ..Tally::default()
        };
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

    /// The chain has come to a batch: the end of its epoch, so far.
    pub(super) fn head_is(&mut self, region: u32, node: &str, epoch: u64, sequence: u64, hash: &Digest32) {
        match self.heads.last_mut() {
            Some(last) if (last.region, last.node.as_str(), last.epoch) == (region, node, epoch) => {
                last.sequence = sequence;
                last.hash.clear();
                last.hash.extend_from_slice(hash);
            }
            Some(_) | None => {
                let (node, hash) = (node.to_owned(), hash.to_vec());
                self.heads.push(record::ChainHead { region, node, epoch, sequence, hash });
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

    /// The checkpoint of the chain whose last batch is `own`, encoded; `None` when a
    /// total leaves 64 bits or when there are too many accounts for `most` bytes.
    pub(super) fn checkpoint(&self, own: record::ChainHead, most: usize) -> Option<Vec<u8>> {
        let total = |(account, totals): (&String, &LedgerTotals)| {
            Some(record::AccountTotal {
                account: account.clone(),
                debit_fen: totals.debit_fen.try_into().ok()?,
                credit_fen: totals.credit_fen.try_into().ok()?,
                count: totals.count,
            })
        };
        let accounts = self.accounts.iter().map(total).collect::<Option<_>>()?;
        let earlier = self.heads.iter().filter(|head| head.sequence != own.sequence).cloned();
        let heads = std::iter::once(own.clone()).chain(earlier).collect();
        let schema = if self.lacks_heads { SCHEMA_OWN_HEAD } else { SCHEMA };
        let checkpoint = record::Checkpoint { schema, heads, accounts, entries: self.entries };
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
        if self.lacks_heads {
            return Ok(());
        }
        let heads = record::Checkpoint::decode(checkpoint).unwrap_or_default().heads;
        self.check_heads(&heads, !told.lacks_heads)
    }

    /// That the first head is the batch before is checked with the batch, see
    /// [`holds`]. Heads of other writers cannot be looked at here.
    fn check_heads(&self, heads: &[record::ChainHead], are_all: bool) -> Result<(), &'static str> {
        let Some((own, others)) = heads.split_first() else {
            return Err("the checkpoint names no head");
        };
        let is_here = |head: &record::ChainHead| {
            self.heads.iter().any(|known| (known.region, &known.node) == (head.region, &head.node))
        };
        if others.iter().any(|head| is_here(head) && !self.heads.contains(head)) {
            return Err("the checkpoint names a head that is not the end of an epoch of its chain");
        }
        // A chain goes by another name from where its node was renamed.
        let is_told = |known: &record::ChainHead| {
            (known.region, &known.node) != (own.region, &own.node)
                || known.sequence == own.sequence
                || others.contains(known)
        };
        if are_all && !self.heads.iter().all(is_told) {
            return Err("the checkpoint leaves out the end of an epoch");
        }
        Ok(())
    }

    /// How many heads of `checkpoint` lie on the chain that was read, and how many are
    /// of other chains.
    pub(super) fn heads_of(&self, checkpoint: &[u8]) -> (u64, u64) {
        let told = record::Checkpoint::decode(checkpoint).unwrap_or_default();
        let here = told.heads.iter().filter(|head| {
            self.heads.iter().any(|known| (known.region, &known.node) == (head.region, &head.node))
        });
        let here = here.count();
        (here as u64, (told.heads.len() - here) as u64)
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
        let own = record::ChainHead::default();
        assert_eq!(tally.checkpoint(own.clone(), 20), None, "too many accounts");
        let bytes = tally.checkpoint(own, 200).expect("small");
        let header = record::BatchHeader { committed_at_ms: 2, ..Default::default() };
        assert_eq!(tally.check(&header, &bytes), Ok(()));
        let mut again = Tally::of(&bytes, 2).expect("decoded");
        assert_eq!((again.whole, again.entries), (tally.whole, 2));
        again.take_up(3, false, 1, &[posting("a", 1)]);
        assert!(again.check(&header, &bytes).is_err());
        assert_eq!(again.whole().sum_fen(), 1);
    }

    /// A chain of three epochs; their ends are batches 7, 9 and 12.
    fn three_epochs() -> Tally {
        let mut tally = Tally::default();
        for (epoch, sequence) in [(1, 6), (1, 7), (5, 8), (5, 9), (8, 10), (8, 12)] {
            tally.head_is(110_000, "a", epoch, sequence, &[sequence as u8; 32]);
        }
        tally
    }

    fn head(epoch: u64, sequence: u64) -> record::ChainHead {
        let hash = vec![sequence as u8; 32];
        record::ChainHead { region: 110_000, node: "a".to_owned(), epoch, sequence, hash }
    }

    #[test]
    fn a_checkpoint_names_the_end_of_every_epoch() {
        let tally = three_epochs();
        let bytes = tally.checkpoint(head(8, 12), 400).expect("small");
        let told = record::Checkpoint::decode(bytes.as_slice()).expect("decoded");
        assert_eq!(told.heads, [head(8, 12), head(1, 7), head(5, 9)]);
        let header = record::BatchHeader::default();
        assert_eq!(tally.check(&header, &bytes), Ok(()));
        // Who begins there knows them as well, and so does the next one.
        let mut again = Tally::of(&bytes, 0).expect("decoded");
        again.head_is(110_000, "a", 8, 13, &[13; 32]);
        again.head_is(110_000, "a", 9, 14, &[14; 32]);
        let next = again.checkpoint(head(9, 14), 400).expect("small");
        let told = record::Checkpoint::decode(next.as_slice()).expect("decoded");
        assert_eq!(told.heads, [head(9, 14), head(1, 7), head(5, 9), head(8, 13)]);
    }

    #[test]
    fn heads_that_are_not_on_the_chain_are_found() {
        let tally = three_epochs();
        let other = record::ChainHead { node: "b".to_owned(), ..head(3, 70) };
        let check = |schema, heads: Vec<record::ChainHead>| {
            let told = record::Checkpoint { schema, heads, ..Default::default() }.encode_to_vec();
            tally.check(&record::BatchHeader::default(), &told)
        };
        assert_eq!(check(2, vec![head(8, 12), head(1, 7), head(5, 9), other]), Ok(()));
        assert_eq!(check(1, vec![head(8, 12)]), Ok(()), "an older one tells its own only");
        assert!(check(2, vec![head(8, 12), head(1, 7)]).is_err(), "one is left out");
        let forged = record::ChainHead { hash: vec![0; 32], ..head(5, 9) };
        for wrong in [head(5, 8), head(4, 9), forged] {
            assert!(check(2, vec![head(8, 12), head(1, 7), wrong.clone()]).is_err(), "{wrong:?}");
            assert!(check(1, vec![head(8, 12), wrong.clone()]).is_err(), "{wrong:?}");
        }
        assert!(check(2, Vec::new()).is_err());
    }
}
