//! The deny list in memory: read back at start, changed after each commit that
//! changes it, told to the peers, and taken over from theirs.

use super::{DenyDelta, Gateway, Refusal};
use crate::{
    identity::CardIdentifier,
    limits,
    model::{
        AggregateKey, AggregateKind, Millis, Reason, Scene,
        record::{CardDetail, DenyFile, DenyListHead},
    },
    scenes::card::{self, DenyFact},
    store::Committed,
    telemetry::metrics,
    trust::{DenyChange, DenyPosition},
};
use prost::Message as _;

/// Changes in one delta to a peer: 1,000 of some 40 bytes fit any message bound.
pub(super) const FACTS_PER_DELTA: usize = 1_000;

/// Why a card on the deny list is refused.
pub(super) const fn reason_of(card_state: u8) -> Reason {
    match card_state {
        0 => Reason::CardNotActivated,
        3 => Reason::CardLocked,
        4 => Reason::CardTemporarilyLost,
        9 => Reason::CardCancelled,
        _ => Reason::CardLost,
    }
}

impl Gateway {
    pub(super) async fn read_back_deny_list(&self) -> Result<(), Refusal> {
        // The heads first: a change that comes between the two reads is then taken
        // twice. The other way round its version would be known and its card not.
        let heads = self.store.scan(AggregateKind::DenyListHead).await?;
        let mut by_region = std::collections::BTreeMap::<u32, Vec<DenyChange>>::new();
        for (key, stored) in self.store.scan(AggregateKind::Deny).await? {
            let file = DenyFile::decode(stored.body).map_err(|_| Refusal::internal())?;
            if let Some(change) = change_of(&key, &file) {
                by_region.entry(file.region).or_default().push(change);
            }
        }
        for (key, stored) in heads {
            let head = DenyListHead::decode(stored.body).map_err(|_| Refusal::internal())?;
            let Ok(province) = <[u8; 4]>::try_from(key.id.as_slice()).map(u32::from_be_bytes) else {
                continue;
            };
            let changes = by_region.remove(&province).unwrap_or_default();
            self.deny.catch_up(province, 0, position_of(&head), &changes);
            self.deny.heard(province, head.heard_at_ms);
        }
        Ok(())
    }

    /// Reads the lists back when the store knows more than memory: a call that was
    /// given up between its commit and the change of the list leaves it so.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn refresh_deny_list(&self) -> Result<(), Refusal> {
        for (key, stored) in self.store.scan(AggregateKind::DenyListHead).await? {
            let head = DenyListHead::decode(stored.body).map_err(|_| Refusal::internal())?;
            let province = <[u8; 4]>::try_from(key.id.as_slice()).map(u32::from_be_bytes);
            if province.is_ok_and(|province| position_of(&head) > self.deny.at(province)) {
                self.read_back_deny_list().await?;
                if let Some(peers) = self.peers() {
                    peers.deny_list_changed(self.deny_list_version());
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Our own list changed with this entry: memory first, then the peers. Called
    /// before the loss is acknowledged.
    pub(super) async fn spread_denial(&self, committed: &Committed) {
        let Ok(said) = CardDetail::decode(committed.detail.clone()) else { return };
        if said.deny_list_version == 0 {
            return;
        }
        let Ok(card) = <[u8; 16]>::try_from(said.card.as_slice()) else { return };
        let Ok(Some(file)) = self.peek::<DenyFile>(&card).await else { return };
        let known = self.deny.at(self.province);
        if said.deny_list_version > known.version + 1
            && let Ok(missed) = self.own_facts(known.version, said.deny_list_version).await
        {
            // A caller before us gave up between its commit and here, or is not here
            // yet. Once our version is known nobody would look for theirs.
            for (made_at, fact) in &missed {
                let at = DenyPosition { version: *made_at, ..known };
                self.deny.note(self.province, at, &change_of_fact(fact));
            }
        }
        let at = DenyPosition { version: said.deny_list_version, ..known };
        self.deny.note(self.province, at, &change_of_file(card, &file));
        if let Some(peers) = self.peers() {
            peers.deny_list_changed(said.deny_list_version);
        }
    }

    /// How far our own list is.
    pub fn deny_list_at(&self) -> DenyPosition {
        self.deny.at(self.province)
    }

    /// The version of our own list.
    pub fn deny_list_version(&self) -> u64 {
        self.deny.version(self.province)
    }

    /// How far we know a region's list, and when we last heard of it.
    pub fn deny_list_heard(&self, province: u32) -> (u64, Option<i64>) {
        (self.deny.version(province), self.deny.heard_at_ms(province))
    }

    /// What changed on our own list after `since`, at most as much as one message
    /// takes; the delta says how far it goes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn deny_delta(&self, since: u64) -> Result<DenyDelta, Refusal> {
        // The version before the facts: a loss that commits meanwhile is left to the
        // next delta. The other way round its version would be told and its card not.
        let DenyPosition { epoch, version: now_at } = self.deny_list_at();
        let province = self.province;
        if since == now_at {
            return Ok(DenyDelta { province, epoch, since, version: now_at, facts: Vec::new() });
        }
        let mut facts = self.own_facts(since, now_at).await?;
        let whole = facts.len() <= FACTS_PER_DELTA;
        facts.truncate(FACTS_PER_DELTA);
        let last = facts.last().map_or(since, |(version, _)| *version);
        let version = if whole { now_at.max(since) } else { last };
        Ok(DenyDelta { province, epoch, since, version, facts })
    }

    /// The facts of our own list made after `since` up to `upto`, oldest first.
    async fn own_facts(&self, since: u64, upto: u64) -> Result<Vec<(u64, DenyFact)>, Refusal> {
        let mut facts = Vec::new();
        for (key, stored) in self.store.scan(AggregateKind::Deny).await? {
            let file = DenyFile::decode(stored.body).map_err(|_| Refusal::internal())?;
            if file.region == self.province
                && file.version > since
                && file.version <= upto
                && let Some(fact) = fact_of(&key, &file)
            {
                facts.push((file.version, fact));
            }
        }
        facts.sort_by_key(|(version, _)| *version);
        Ok(facts)
    }

    /// Takes over a peer's delta; answers how far we know its list now. One that
    /// begins after what we know changes nothing: the peer learns where to begin.
    /// What is known of the epoch before stays until the new one says otherwise. An
    /// epoch from the future changes nothing either: it could never be left again.
    ///
    /// # Errors
    /// When the journal cannot take it.
    pub async fn take_deny_delta(&self, delta: DenyDelta) -> Result<DenyPosition, Refusal> {
        let known = self.deny.at(delta.province);
        let (epoch, province) = (delta.epoch, delta.province);
        if is_too_far_ahead(epoch.max(delta.version), self.now_ms()) {
            tracing::error!(
                peer = province,
                epoch,
                version = delta.version,
                "a region's deny list comes from the future; it is not taken: one of the two clocks is wrong"
            );
            return Ok(known);
        }
        if epoch < known.epoch {
            tracing::warn!(
                peer = province,
                epoch,
                known = known.epoch,
                "a region's deny list has fallen behind what it told before; its denials are taken, no more"
            );
            for (version, fact) in delta.facts.into_iter().filter(|(_, fact)| fact.denied) {
                self.commit_denial(province, DenyPosition { epoch, version }, Some(fact)).await?;
            }
            return Ok(known);
        }
        let have = known.within(epoch);
        if delta.since > have || delta.version < have {
            return Ok(known);
        }
        if epoch > known.epoch && known != DenyPosition::default() {
            tracing::warn!(
                peer = province,
                epoch,
                before = known.epoch,
                "a region has begun its deny list anew; what it said before stays refused"
            );
            metrics::deny_list_begun(province);
        }
        // A fact a unit: each is sealed under its own card's subject.
        for (version, fact) in delta.facts.into_iter().filter(|(made_at, _)| *made_at > have) {
            self.commit_denial(province, DenyPosition { epoch, version }, Some(fact)).await?;
        }
        self.commit_denial(province, DenyPosition { epoch, version: delta.version }, None).await?;
        Ok(self.deny.at(province))
    }

    async fn commit_denial(
        &self,
        province: u32,
        to: DenyPosition,
        fact: Option<DenyFact>,
    ) -> Result<(), Refusal> {
        let now = self.now_ms();
        if fact.is_none() && to == self.deny.at(province) {
            // Nothing new, but the peer is alive: its list is as fresh as now.
            self.deny.heard(province, now);
            return Ok(());
        }
        let mut touches = vec![AggregateKey::of::<DenyListHead>(&card::deny_head_id(province))];
        let about = match fact {
            None => None,
            Some(fact) => {
                touches.push(AggregateKey::of::<DenyFile>(fact.card.as_bytes()));
                Some((self.foreign_subject(&fact.card)?, fact))
            }
        };
        self.note(self.own_meta(Scene::Federation, "DenyListDelta"), touches, move |view, now| {
            card::apply_denial(view, province, (to.epoch, to.version), about, now)
        })
        .await?;
        // As it stands now: the fact may have changed nothing, or something newer come.
        let change = match fact {
            None => None,
            Some(fact) => {
                let card = *fact.card.as_bytes();
                self.peek::<DenyFile>(&card).await?.map(|file| change_of_file(card, &file))
            }
        };
        match change {
            Some(change) => self.deny.note(province, to, &change),
            None => drop(self.deny.catch_up(province, 0, to, &[])),
        }
        if to.epoch >= self.deny.at(province).epoch {
            self.deny.heard(province, now);
        }
        Ok(())
    }
}

/// How far a stored head says its list is known.
pub(super) fn position_of(head: &DenyListHead) -> DenyPosition {
    DenyPosition { epoch: head.epoch, version: head.version }
}

/// Whether an epoch or a version can only come of a clock that was far off, or of a
/// lie: whoever took it would never hear of anything below it again.
pub(super) fn is_too_far_ahead(number: u64, now: Millis) -> bool {
    number > u64::try_from(now).unwrap_or(0).saturating_add(limits::DENY_EPOCH_AHEAD_MAX_MS)
}

fn digit(file: &DenyFile) -> u8 {
    u8::try_from(file.card_state).unwrap_or(2)
}

pub(super) fn fact_of(key: &AggregateKey, file: &DenyFile) -> Option<DenyFact> {
    let card = <[u8; 16]>::try_from(key.id.as_slice()).ok()?;
    Some(DenyFact {
        card: CardIdentifier::from_bytes(card).ok()?,
        denied: file.denied,
        card_state: digit(file),
        expires_at_ms: file.expires_at_ms,
        since_ms: file.denied_since_ms,
    })
}

fn change_of(key: &AggregateKey, file: &DenyFile) -> Option<DenyChange> {
    fact_of(key, file).map(|fact| change_of_fact(&fact))
}

fn change_of_file(card: [u8; 16], file: &DenyFile) -> DenyChange {
    DenyChange {
        card,
        denied: file.denied,
        card_state: digit(file),
        expires_at_ms: file.expires_at_ms,
        since_ms: file.denied_since_ms,
    }
}

fn change_of_fact(fact: &DenyFact) -> DenyChange {
    DenyChange {
        card: *fact.card.as_bytes(),
        denied: fact.denied,
        card_state: fact.card_state,
        expires_at_ms: fact.expires_at_ms,
        since_ms: fact.since_ms,
    }
}
