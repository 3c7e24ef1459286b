//! Aggregates that units have lately used, as they stand after the last decision,
//! so that a card that is used again is not looked up, unsealed and decoded again.
//!
//! The committer alone reads and writes it, and writes every change it decides;
//! so what is here is always the newest. Bodies are in the clear as in the
//! overlay; when a holder's key is destroyed, everything personal is forgotten.

use foldhash::fast::RandomState;
use quick_cache::{Weighter, unsync::Cache};

use crate::model::{AggregateKey, Stored};

/// Key, body, and what maps and allocator add; a guess that errs high.
const OVERHEAD_BYTES: u64 = 256;

/// Weighs an aggregate by what it takes in memory.
#[derive(Clone)]
pub(super) struct Bytes;

impl Weighter<AggregateKey, Option<Stored>> for Bytes {
    fn weight(&self, _: &AggregateKey, stored: &Option<Stored>) -> u64 {
        OVERHEAD_BYTES + stored.as_ref().map_or(0, |stored| stored.body.len() as u64)
    }
}

impl<T> Weighter<AggregateKey, (T, Option<Stored>)> for Bytes {
    fn weight(&self, key: &AggregateKey, (_, stored): &(T, Option<Stored>)) -> u64 {
        self.weight(key, stored)
    }
}

/// See the head of this file.
pub(super) struct Recent {
    kept: Cache<AggregateKey, Option<Stored>, Bytes, RandomState>,
    /// Holder keys that had been destroyed when it was last looked at.
    destroyed: u64,
}

impl Recent {
    /// Keeps at most about `most` bytes.
    pub(super) fn holding(most: u64) -> Self {
        let expected = usize::try_from(most / (2 * OVERHEAD_BYTES)).unwrap_or(usize::MAX);
        let kept = Cache::with(expected, most, Bytes, RandomState::default(), Default::default());
        Recent { kept, destroyed: 0 }
    }

    /// The aggregate when it is known here; `Some(None)` says that there is none.
    pub(super) fn get(&self, key: &AggregateKey) -> Option<Option<Stored>> {
        self.kept.get(key).cloned()
    }

    pub(super) fn put(&mut self, key: AggregateKey, stored: Option<Stored>) {
        self.kept.insert(key, stored);
    }

    /// Forgets what is personal when more keys have been destroyed than before,
    /// and says so.
    pub(super) fn heed(&mut self, destroyed: u64) -> bool {
        let more = self.destroyed != destroyed;
        if more {
            self.destroyed = destroyed;
            self.kept.retain(|key, _| !key.kind.is_personal());
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits, model::AggregateKind};

    fn key(kind: AggregateKind, number: u32) -> AggregateKey {
        AggregateKey { kind, id: number.to_be_bytes().as_slice().into() }
    }

    fn stored(revision: u64, bytes: usize) -> Option<Stored> {
        Some(Stored { revision, schema: 1, body: vec![1; bytes].into() })
    }

    #[test]
    fn the_last_state_is_kept_and_a_deletion_is_one() {
        let mut recent = Recent::holding(limits::AGGREGATES_RECENT_BYTES);
        let card = key(AggregateKind::CodeUse, 1);
        assert_eq!(recent.get(&card), None);
        recent.put(card.clone(), stored(1, 9));
        recent.put(card.clone(), stored(2, 9));
        assert_eq!(recent.get(&card), Some(stored(2, 9)));
        recent.put(card.clone(), None);
        assert_eq!(recent.get(&card), Some(None));
    }

    #[test]
    fn a_destroyed_key_takes_what_is_personal_away() {
        let mut recent = Recent::holding(limits::AGGREGATES_RECENT_BYTES);
        let (card, holder) = (key(AggregateKind::CodeUse, 1), key(AggregateKind::Holder, 1));
        recent.put(card.clone(), stored(1, 9));
        recent.put(holder.clone(), stored(1, 9));
        assert!(!recent.heed(0));
        assert_eq!(recent.get(&holder), Some(stored(1, 9)));
        assert!(recent.heed(1));
        assert_eq!(recent.get(&holder), None);
        assert_eq!(recent.get(&card), Some(stored(1, 9)));
    }

    #[test]
    fn it_stays_within_its_bound_and_never_shows_an_older_state() {
        let mut recent = Recent::holding(limits::AGGREGATES_RECENT_BYTES);
        let body = limits::ENTRY_BYTES_MAX;
        let twice_the_bound = 2 * limits::AGGREGATES_RECENT_BYTES / body as u64;
        for number in 0..twice_the_bound as u32 {
            let card = key(AggregateKind::CodeUse, number);
            recent.put(card.clone(), stored(1, 9));
            recent.put(card.clone(), stored(2, body));
            assert!(recent.kept.weight() <= limits::AGGREGATES_RECENT_BYTES);
            assert!(recent.get(&card).is_none_or(|known| known == stored(2, body)));
        }
    }
}
