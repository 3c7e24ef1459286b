//! The deny list in memory: read back at start, changed after each commit that
//! changes it, told to the peers, and taken over from theirs.

use super::{DenyDelta, Gateway, Refusal};
use crate::{
    identity::CardIdentifier,
    model::{
        AggregateKey, AggregateKind, Reason, Scene,
        record::{CardDetail, DenyFile, DenyListHead},
    },
    scenes::card::{self, DenyFact},
    store::Committed,
    trust::DenyChange,
};
use prost::Message as _;

/// Changes in one delta to a peer: 1,000 of some 40 bytes fit any message bound.
const FACTS_PER_DELTA: usize = 1_000;

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
            self.deny.catch_up(province, 0, head.version, &changes);
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
            if province.is_ok_and(|province| head.version > self.deny.version(province)) {
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
        let known = self.deny.version(self.province);
        if said.deny_list_version > known + 1
            && let Ok(missed) = self.own_facts(known, said.deny_list_version).await
        {
            // A caller before us gave up between its commit and here, or is not here
            // yet. Once our version is known nobody would look for theirs.
            for (made_at, fact) in &missed {
                self.deny.note(self.province, *made_at, &change_of_fact(fact));
            }
        }
        let change = DenyChange {
            card,
            denied: file.denied,
            card_state: digit(&file),
            expires_at_ms: file.expires_at_ms,
            since_ms: file.denied_since_ms,
        };
        self.deny.note(self.province, said.deny_list_version, &change);
        if let Some(peers) = self.peers() {
            peers.deny_list_changed(said.deny_list_version);
        }
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
        let now_at = self.deny_list_version();
        if since == now_at {
            return Ok(DenyDelta { province: self.province, since, version: now_at, facts: Vec::new() });
        }
        let mut facts = self.own_facts(since, now_at).await?;
        let whole = facts.len() <= FACTS_PER_DELTA;
        facts.truncate(FACTS_PER_DELTA);
        let last = facts.last().map_or(since, |(version, _)| *version);
        let version = if whole { now_at.max(since) } else { last };
        Ok(DenyDelta { province: self.province, since, version, facts })
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
    ///
    /// # Errors
    /// When the journal cannot take it.
    pub async fn take_deny_delta(&self, delta: DenyDelta) -> Result<u64, Refusal> {
        let known = self.deny.version(delta.province);
        if delta.since > known || delta.version < known {
            return Ok(known);
        }
        // A fact a unit: each is sealed under its own card's subject.
        for (made_at, fact) in delta.facts.iter().filter(|(made_at, _)| *made_at > known) {
            self.commit_denial(delta.province, *made_at, Some(*fact)).await?;
        }
        self.commit_denial(delta.province, delta.version, None).await?;
        Ok(self.deny.version(delta.province))
    }

    async fn commit_denial(
        &self,
        province: u32,
        version: u64,
        fact: Option<DenyFact>,
    ) -> Result<(), Refusal> {
        let now = self.now_ms();
        if fact.is_none() && version == self.deny.version(province) {
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
            card::apply_denial(view, province, version, about, now)
        })
        .await?;
        let change = fact.map(|fact| change_of_fact(&fact));
        self.deny.catch_up(province, 0, version, change.as_slice());
        self.deny.heard(province, now);
        Ok(())
    }
}

fn digit(file: &DenyFile) -> u8 {
    u8::try_from(file.card_state).unwrap_or(2)
}

fn fact_of(key: &AggregateKey, file: &DenyFile) -> Option<DenyFact> {
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

fn change_of_fact(fact: &DenyFact) -> DenyChange {
    DenyChange {
        card: *fact.card.as_bytes(),
        denied: fact.denied,
        card_state: fact.card_state,
        expires_at_ms: fact.expires_at_ms,
        since_ms: fact.since_ms,
    }
}
