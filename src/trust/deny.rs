//! The deny list: what is known here of every region's lost cards. Within an
//! epoch deltas of a region are numbered without gaps; a region answers for its own entries only,
//! so that none can lift what another has reported.
//!
//! The list is not capped: a lost card that does not fit would be alive again.
//! An entry is about 60 bytes; a million lost cards are 60 MB.

use std::{
    collections::{BinaryHeap, HashMap},
    sync::{PoisonError, RwLock},
};

use dashmap::DashMap;
use smallvec::{SmallVec, smallvec};

use crate::model::Millis;

/// How far a region's list is known. A list that was begun anew is in a higher
/// epoch, and all its versions are above those of every epoch before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct DenyPosition {
    pub epoch: u64,
    pub version: u64,
}

impl DenyPosition {
    /// How far the list is known in an epoch: not at all in another one.
    pub const fn within(self, epoch: u64) -> u64 {
        if self.epoch == epoch { self.version } else { 0 }
    }
}

/// One change of a region's deny list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenyChange {
    /// AAZ501.
    pub card: [u8; 16],
    /// Dead from now, or usable again.
    pub denied: bool,
    /// AAZ502 digit.
    pub card_state: u8,
    /// When the entry lapses by itself; 0 never.
    pub expires_at_ms: Millis,
    /// Since when the card is dead without a break; 0 says always.
    pub since_ms: Millis,
}

/// A card that may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeniedCard {
    /// AAZ502 digit, so that the answer can say why.
    pub card_state: u8,
    /// The region that says so.
    pub region: u32,
    /// Since when without a break; 0 says always.
    pub since_ms: Millis,
}

/// What became of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Ok,
    /// The list is as new already; nothing was changed.
    AlreadyKnown,
    /// Deltas between are missing; nothing was changed. Ask for what came after
    /// `have`.
    Gap {
        have: u64,
    },
}

#[derive(Clone, Copy)]
struct Entry {
    region: u32,
    card_state: u8,
    expires_at_ms: Millis,
    since_ms: Millis,
}

impl Entry {
    fn in_force(&self, now_ms: Millis) -> bool {
        self.expires_at_ms == 0 || now_ms < self.expires_at_ms
    }
}

#[derive(Clone, Copy, Default)]
struct Head {
    at: DenyPosition,
    heard_at_ms: Option<Millis>,
}

/// The lost cards of all regions. Reads take a shard's lock for some tens of
/// nanoseconds; writes are rare.
#[derive(Default)]
pub struct DenyList {
    // Nearly always one entry: the card's own region.
    cards: DashMap<[u8; 16], SmallVec<[Entry; 1]>>,
    heads: RwLock<HashMap<u32, Head>>,
}

impl DenyList {
    pub fn new() -> Self {
        DenyList::default()
    }

    /// Takes the delta that made a region's list `version` in the epoch it is in.
    pub fn apply(&self, region: u32, version: u64, changes: &[DenyChange]) -> Applied {
        let to = DenyPosition { version, ..self.at(region) };
        self.catch_up(region, version.saturating_sub(1), to, changes)
    }

    /// Takes everything that came after version `since` up to `to`, oldest first: the
    /// answer to a question after a gap, or a whole list (`since` 0). What of it is
    /// known already does no harm.
    pub fn catch_up(&self, region: u32, since: u64, to: DenyPosition, changes: &[DenyChange]) -> Applied {
        // Held to the end, or two deltas of a region could overtake each other.
        let mut heads = self.heads.write().unwrap_or_else(PoisonError::into_inner);
        let head = heads.entry(region).or_default();
        if to <= head.at {
            return Applied::AlreadyKnown;
        }
        let have = head.at.within(to.epoch);
        if since > have {
            return Applied::Gap { have };
        }
        for change in changes {
            self.change(region, change);
        }
        head.at = to;
        Applied::Ok
    }

    /// Takes one change as the store has it now. Two changes may be told in the other
    /// order; each tells the card's newest state, so none is passed over and none
    /// undone.
    pub fn note(&self, region: u32, to: DenyPosition, change: &DenyChange) {
        let mut heads = self.heads.write().unwrap_or_else(PoisonError::into_inner);
        self.change(region, change);
        let head = heads.entry(region).or_default();
        head.at = head.at.max(to);
    }

    fn change(&self, region: u32, change: &DenyChange) {
        if !change.denied {
            if let Some(mut entries) = self.cards.get_mut(&change.card) {
                entries.retain(|entry| entry.region != region);
            }
            self.cards.remove_if(&change.card, |_, entries| entries.is_empty());
            return;
        }
        let entry = Entry {
            region,
            card_state: change.card_state,
            expires_at_ms: change.expires_at_ms,
            since_ms: change.since_ms,
        };
        self.cards
            .entry(change.card)
            .and_modify(|entries| match entries.iter_mut().find(|entry| entry.region == region) {
                Some(known) => *known = entry,
                None => entries.push(entry),
            })
            .or_insert_with(|| smallvec![entry]);
    }

    /// Whether a card may not be used now, and why. Temporary entries lapse by
    /// themselves.
    pub fn state(&self, card: &[u8; 16], now_ms: Millis) -> Option<DeniedCard> {
        let entries = self.cards.get(card)?;
        let entry = entries.iter().find(|entry| entry.in_force(now_ms))?;
        Some(DeniedCard { card_state: entry.card_state, region: entry.region, since_ms: entry.since_ms })
    }

    /// How far a region's list is known; all 0 when nothing is.
    pub fn at(&self, region: u32) -> DenyPosition {
        self.head(region).at
    }

    /// The newest version known of a region's list; 0 when nothing is.
    pub fn version(&self, region: u32) -> u64 {
        self.at(region).version
    }

    /// The cards above `after` that a region's list denies now, the lowest `most` of
    /// them in order.
    pub fn denied_by(
        &self,
        region: u32,
        after: Option<[u8; 16]>,
        most: usize,
        now_ms: Millis,
    ) -> Vec<[u8; 16]> {
        let mut lowest = BinaryHeap::new();
        for card in &self.cards {
            let denied = card.iter().any(|entry| entry.region == region && entry.in_force(now_ms));
            if !denied || after.is_some_and(|after| *card.key() <= after) {
                continue;
            }
            lowest.push(*card.key());
            if lowest.len() > most {
                lowest.pop();
            }
        }
        lowest.into_sorted_vec()
    }

    /// The region was heard and is known to be no further than we are.
    pub fn heard(&self, region: u32, now_ms: Millis) {
        let mut heads = self.heads.write().unwrap_or_else(PoisonError::into_inner);
        let head = heads.entry(region).or_default();
        // Two answers may arrive in the other order.
        head.heard_at_ms = head.heard_at_ms.max(Some(now_ms));
    }

    /// When the region was heard last.
    pub fn heard_at_ms(&self, region: u32) -> Option<Millis> {
        self.head(region).heard_at_ms
    }

    /// How old our knowledge of a region's list is, milliseconds; `None` when the
    /// region was never heard.
    pub fn staleness_ms(&self, region: u32, now_ms: Millis) -> Option<i64> {
        self.heard_at_ms(region).map(|heard| now_ms.saturating_sub(heard).max(0))
    }

    fn head(&self, region: u32) -> Head {
        let heads = self.heads.read().unwrap_or_else(PoisonError::into_inner);
        heads.get(&region).copied().unwrap_or_default()
    }

    /// Forgets entries that have lapsed; answers do not change by it.
    pub fn sweep(&self, now_ms: Millis) {
        self.cards.retain(|_, entries| {
            entries.retain(|entry| entry.in_force(now_ms));
            !entries.is_empty()
        });
    }

    /// Cards on the list, lapsed entries included until they are swept.
    pub fn len(&self) -> usize {
        self.cards.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BEIJING: u32 = 110_000;
    const HEBEI: u32 = 130_000;
    const CARD: [u8; 16] = [1; 16];

    fn at(version: u64) -> DenyPosition {
        DenyPosition { epoch: 0, version }
    }

    fn lost(card: [u8; 16]) -> DenyChange {
        DenyChange { card, denied: true, card_state: 2, expires_at_ms: 0, since_ms: 0 }
    }

    fn lifted(card: [u8; 16]) -> DenyChange {
        DenyChange { card, denied: false, card_state: 1, expires_at_ms: 0, since_ms: 0 }
    }

    #[test]
    fn a_lost_card_is_denied_until_it_is_lifted() {
        let list = DenyList::new();
        assert_eq!(list.state(&CARD, 0), None);
        assert_eq!(list.apply(BEIJING, 1, &[lost(CARD)]), Applied::Ok);
        assert_eq!(
            list.state(&CARD, i64::MAX),
            Some(DeniedCard { card_state: 2, region: BEIJING, since_ms: 0 })
        );
        assert_eq!(list.apply(BEIJING, 2, &[lifted(CARD)]), Applied::Ok);
        assert_eq!(list.state(&CARD, 0), None);
        assert!(list.is_empty());
    }

    #[test]
    fn deltas_are_taken_in_order_and_once() {
        let list = DenyList::new();
        assert_eq!(list.apply(BEIJING, 2, &[lost(CARD)]), Applied::Gap { have: 0 });
        assert_eq!(list.state(&CARD, 0), None, "nothing is taken over a gap");
        assert_eq!(list.apply(BEIJING, 1, &[]), Applied::Ok);
        assert_eq!(list.apply(BEIJING, 2, &[lost(CARD)]), Applied::Ok);
        assert_eq!(list.apply(BEIJING, 2, &[lifted(CARD)]), Applied::AlreadyKnown);
        assert!(list.state(&CARD, 0).is_some(), "a repeat changes nothing");
        assert_eq!(list.apply(BEIJING, 0, &[lifted(CARD)]), Applied::AlreadyKnown);
        assert_eq!((list.version(BEIJING), list.version(HEBEI)), (2, 0));
    }

    #[test]
    fn a_gap_is_closed_by_all_that_came_after() {
        let list = DenyList::new();
        assert_eq!(list.apply(BEIJING, 1, &[lost([2; 16])]), Applied::Ok);
        assert_eq!(list.catch_up(BEIJING, 2, at(5), &[]), Applied::Gap { have: 1 });
        assert_eq!(
            list.catch_up(BEIJING, 0, at(5), &[lost([2; 16]), lifted([2; 16]), lost(CARD)]),
            Applied::Ok
        );
        assert_eq!(list.version(BEIJING), 5);
        assert!(list.state(&CARD, 0).is_some() && list.state(&[2; 16], 0).is_none());
    }

    #[test]
    fn a_new_epoch_begins_at_nothing_and_forgets_nothing() {
        let list = DenyList::new();
        assert_eq!(list.catch_up(BEIJING, 0, at(9), &[lost(CARD)]), Applied::Ok);
        let new = |version| DenyPosition { epoch: 100, version };
        assert_eq!(list.catch_up(BEIJING, 9, new(101), &[]), Applied::Gap { have: 0 });
        assert_eq!(list.catch_up(BEIJING, 0, new(3), &[lost([2; 16])]), Applied::Ok);
        assert_eq!(list.at(BEIJING), new(3), "a part of the list, its versions lower than before");
        assert_eq!(list.catch_up(BEIJING, 0, at(12), &[lifted(CARD)]), Applied::AlreadyKnown);
        assert!(list.state(&CARD, 0).is_some() && list.state(&[2; 16], 0).is_some());
    }

    #[test]
    fn the_cards_of_a_list_are_told_in_order_and_in_parts() {
        let list = DenyList::new();
        list.apply(HEBEI, 1, &[lost([8; 16])]);
        let lapsed = DenyChange { expires_at_ms: 10, ..lost([5; 16]) };
        list.apply(BEIJING, 1, &[lost([7; 16]), lost([3; 16]), lapsed, lost([4; 16])]);
        assert_eq!(list.denied_by(BEIJING, None, 2, 10), [[3; 16], [4; 16]]);
        assert_eq!(list.denied_by(BEIJING, Some([4; 16]), 2, 10), [[7; 16]]);
        assert_eq!(list.denied_by(BEIJING, Some([4; 16]), 2, 9), [[5; 16], [7; 16]]);
    }

    #[test]
    fn a_region_cannot_lift_what_another_has_reported() {
        let list = DenyList::new();
        list.apply(BEIJING, 1, &[lost(CARD)]);
        list.apply(HEBEI, 1, &[lifted(CARD)]);
        assert_eq!(list.state(&CARD, 0).map(|denied| denied.region), Some(BEIJING));
        list.apply(HEBEI, 2, &[DenyChange { expires_at_ms: 10, ..lost(CARD) }]);
        assert_eq!(list.state(&CARD, 99).map(|denied| denied.region), Some(BEIJING));
        list.apply(BEIJING, 2, &[lifted(CARD)]);
        assert_eq!(list.state(&CARD, 9).map(|denied| denied.region), Some(HEBEI));
    }

    #[test]
    fn a_temporary_loss_lapses_by_itself() {
        let list = DenyList::new();
        list.apply(BEIJING, 1, &[DenyChange { card_state: 4, expires_at_ms: 1_000, ..lost(CARD) }]);
        for (now, denied) in [(0, true), (999, true), (1_000, false), (1_001, false)] {
            assert_eq!(list.state(&CARD, now).is_some(), denied, "at {now}");
        }
        list.sweep(999);
        assert_eq!(list.len(), 1);
        list.sweep(1_000);
        assert_eq!(list.len(), 0);
        assert_eq!(list.version(BEIJING), 1);
    }

    #[test]
    fn a_region_knows_how_stale_it_is() {
        let list = DenyList::new();
        assert_eq!(list.staleness_ms(BEIJING, 500), None);
        list.heard(BEIJING, 400);
        list.heard(BEIJING, 300);
        assert_eq!(list.heard_at_ms(BEIJING), Some(400));
        assert_eq!((list.staleness_ms(BEIJING, 500), list.staleness_ms(BEIJING, 100)), (Some(100), Some(0)));
    }

    proptest! {
        #[test]
        fn the_last_word_of_a_region_holds(changes in proptest::collection::vec((0..4u8, any::<bool>()), 0..40)) {
            let list = DenyList::new();
            let mut expect = HashMap::new();
            for (index, (card, denied)) in changes.iter().enumerate() {
                let change = if *denied { lost([*card; 16]) } else { lifted([*card; 16]) };
                prop_assert_eq!(list.apply(BEIJING, index as u64 + 1, &[change]), Applied::Ok);
                expect.insert(*card, *denied);
            }
            for card in 0..4 {
                prop_assert_eq!(list.state(&[card; 16], 0).is_some(), expect.get(&card).copied().unwrap_or(false));
            }
        }
    }
}
