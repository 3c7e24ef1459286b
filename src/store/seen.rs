//! Aggregates that callers have just read from the index, for the committer: who looks
//! at a card before it commits a unit about it has found, unsealed and decoded what the
//! committer would read again a millisecond later, on the one thread that all wait for.
//!
//! **Architecture Invariant:** what is here is used only while nothing has left the
//! overlay and no holder's key was destroyed since before it was read. Whatever was
//! written later than that is then still in the layers, which are asked first; so no
//! older state is ever decided over.

use foldhash::fast::RandomState;
use quick_cache::sync::Cache;

use super::recent::Bytes;
use crate::model::{AggregateKey, Stored};

/// How far things were when somebody began to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The last batch that has left the overlay.
    pub(super) retired: u64,
    /// Holder keys that were destroyed.
    pub(super) destroyed: u64,
}

/// See the head of this file.
pub(super) struct Seen(Cache<AggregateKey, (Stamp, Option<Stored>), Bytes, RandomState>);

impl Seen {
    /// Keeps at most about `most` bytes.
    pub(super) fn holding(most: u64) -> Self {
        let expected = usize::try_from(most / 512).unwrap_or(usize::MAX);
        Seen(Cache::with(expected, most, Bytes, RandomState::default(), Default::default()))
    }

    /// Notes what the index had; `stamp` was taken before it was asked.
    pub(super) fn put(&self, stamp: Stamp, key: AggregateKey, stored: Option<Stored>) {
        self.0.insert(key, (stamp, stored));
    }

    /// Takes what the index has, when it was read under the stamp that holds now.
    /// The layers have been asked before, and have nothing.
    pub(super) fn take(&self, now: Stamp, key: &AggregateKey) -> Option<Option<Stored>> {
        let (_, (stamp, stored)) = self.0.remove(key)?;
        (stamp == now).then_some(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AggregateKind;

    #[test]
    fn what_was_read_before_something_left_the_layers_is_not_used() {
        let key = AggregateKey { kind: AggregateKind::Card, id: b"1".as_slice().into() };
        let stored = Some(Stored { revision: 1, schema: 1, body: vec![1].into() });
        let read = Stamp { retired: 7, destroyed: 1 };
        let seen = Seen::holding(1 << 16);
        for (now, used) in
            [(read, true), (Stamp { retired: 8, ..read }, false), (Stamp { destroyed: 2, ..read }, false)]
        {
            seen.put(read, key.clone(), stored.clone());
            assert_eq!(seen.take(now, &key), used.then(|| stored.clone()), "{now:?}");
            assert_eq!(seen.take(read, &key), None, "once only");
        }
    }
}
