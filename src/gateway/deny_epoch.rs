//! Our deny list begun anew, where our store was put back or made new, and the losses
//! that it had acknowledged and lost: the peers still know of them and tell.

use std::sync::PoisonError;

use super::{
    DenyTold, Gateway, Refusal,
    deny::{FACTS_PER_DELTA, fact_of, is_too_far_ahead, position_of},
};
use crate::{
    model::{
        AggregateKey, Scene,
        record::{CardFile, DenyFile, DenyListHead},
    },
    scenes::card::{self, DenyFact},
    telemetry::metrics,
    trust::DenyPosition,
};

/// What became of a peer's claim to know more of our list than we do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The list is begun anew; the peer knows nothing of it.
    Begun,
    /// Another node over our store had told it; now we know it as well.
    ToldByAnotherNode,
    NotBelieved,
}

impl Gateway {
    /// Begins our list anew where the store is another than the one that it was made
    /// in. Before the first call is let in: what is reported from then on has a
    /// version that no peer takes for one it knows.
    pub(super) async fn follow_the_store(&self) -> Result<(), Refusal> {
        let id = card::deny_head_id(self.province);
        let head: Option<DenyListHead> = self.peek(&id).await?;
        let epoch = match self.store.epoch() {
            // A store that cannot tell: a list without a head is new.
            0 if head.is_none() => u64::try_from(self.now_ms()).unwrap_or(0),
            epoch => epoch,
        };
        if head.unwrap_or_default().epoch < epoch {
            self.begin_deny_epoch(epoch).await?;
        }
        Ok(())
    }

    /// A peer knows more of our list than we do, so that our store is not the one that
    /// said it: the list is begun anew above everything the peer may have heard. On one
    /// peer's word once in a process' life, so that one that lies, or that never takes
    /// what it is told, cannot make us begin without end.
    ///
    /// # Errors
    /// When the journal cannot take it.
    pub async fn was_put_back(&self, peer: u32, heard: DenyPosition) -> Result<Heard, Refusal> {
        // What we hold in memory is behind where another node shares our store.
        let head: Option<DenyListHead> = self.peek(&card::deny_head_id(self.province)).await?;
        if position_of(&head.unwrap_or_default()) >= heard {
            self.refresh_deny_list().await?;
            return Ok(Heard::ToldByAnotherNode);
        }
        let now = u64::try_from(self.now_ms()).unwrap_or(0);
        let highest = heard.epoch.max(heard.version);
        if is_too_far_ahead(highest, self.now_ms()) {
            tracing::error!(
                peer,
                heard.epoch,
                heard.version,
                "a peer claims to know a deny list of ours that cannot be; it is not believed"
            );
            return Ok(Heard::NotBelieved);
        }
        let begun = || self.begun_on_word.lock().unwrap_or_else(PoisonError::into_inner);
        if begun().contains(&peer) {
            tracing::warn!(
                peer,
                heard.epoch,
                heard.version,
                "a peer claims once more to know more of our deny list than we do; on its word the list was begun \
                 anew already, and is not again before a restart"
            );
            return Ok(Heard::NotBelieved);
        }
        tracing::warn!(
            peer,
            heard.epoch,
            heard.version,
            "a peer knows more of our deny list than we do: the store was put back; the list is begun anew"
        );
        self.begin_deny_epoch(now.max(highest + 1)).await?;
        begun().insert(peer);
        Ok(Heard::Begun)
    }

    async fn begin_deny_epoch(&self, epoch: u64) -> Result<(), Refusal> {
        let (province, id) = (self.province, card::deny_head_id(self.province));
        let meta = self.own_meta(Scene::Federation, "DenyListBegun");
        self.note(meta, vec![AggregateKey::of::<DenyListHead>(&id)], move |view, now| {
            card::begin_deny_epoch(view, province, epoch, now)
        })
        .await?;
        let at = position_of(&self.peek::<DenyListHead>(&id).await?.unwrap_or_default());
        self.deny.catch_up(province, 0, at, &[]);
        tracing::warn!(
            epoch = at.epoch,
            "our deny list begins a new epoch; the peers are asked what they know"
        );
        metrics::deny_list_begun(province);
        if let Some(peers) = self.peers() {
            peers.deny_list_changed(at.version);
        }
        Ok(())
    }

    /// Whether a peer has told, in this epoch, all it knows of our list.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn deny_list_told_by(&self, peer: u32) -> Result<bool, Refusal> {
        let head: Option<DenyListHead> = self.peek(&card::deny_head_id(self.province)).await?;
        Ok(head.is_some_and(|head| head.told_by.contains(&peer)))
    }

    /// A peer has told all it knows of our list since `epoch` began.
    ///
    /// # Errors
    /// When the journal cannot take it.
    pub async fn note_deny_list_told(&self, peer: u32, epoch: u64) -> Result<(), Refusal> {
        let province = self.province;
        let touches = vec![AggregateKey::of::<DenyListHead>(&card::deny_head_id(province))];
        let meta = self.own_meta(Scene::Federation, "DenyListTold");
        self.note(meta, touches, move |view, _| card::told_all(view, province, epoch, peer)).await.map(drop)
    }

    /// The cards of a region above `after` that are refused here on its word: what it
    /// asks for after its store was put back.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn deny_list_known_of(
        &self,
        province: u32,
        after: Option<[u8; 16]>,
    ) -> Result<DenyTold, Refusal> {
        let cards = self.deny.denied_by(province, after, FACTS_PER_DELTA + 1, self.now_ms());
        let more = cards.len() > FACTS_PER_DELTA;
        let mut facts = Vec::with_capacity(cards.len().min(FACTS_PER_DELTA));
        for card in cards.into_iter().take(FACTS_PER_DELTA) {
            if let Some(file) = self.peek::<DenyFile>(&card).await?
                && let Some(fact) = fact_of(&AggregateKey::of::<DenyFile>(&card), &file)
            {
                facts.push((file.version, fact));
            }
        }
        Ok(DenyTold { facts, more })
    }

    /// Takes up again those losses of our own cards that a peer knows of and our store
    /// has lost; answers how many. Each is an entry that names the peer.
    ///
    /// # Errors
    /// When the journal cannot take one.
    pub async fn take_up_denials(&self, peer: u32, facts: &[(u64, DenyFact)]) -> Result<u64, Refusal> {
        let dropped = facts.iter().filter(|(_, fact)| !card::may_be_told(fact)).count();
        if dropped > 0 {
            tracing::warn!(
                peer,
                dropped,
                "a peer tells denials of our cards in a state that no home denies a card for; they are dropped"
            );
            metrics::deny_list_dropped(peer, dropped as u64);
        }
        let mut taken = 0;
        for (version, fact) in facts.iter().filter(|(_, fact)| self.is_ours(&fact.card)) {
            let id = fact.card.as_bytes();
            let head =
                self.peek::<DenyListHead>(&card::deny_head_id(self.province)).await?.unwrap_or_default();
            let file: Option<DenyFile> = self.peek(id).await?;
            if !card::is_lost_denial(&head, file.as_ref(), *version, fact, self.now_ms()) {
                continue;
            }
            let subject = match self.peek::<CardFile>(id).await? {
                Some(file) => self.holder_subject(&file.holder)?,
                None => self.foreign_subject(&fact.card)?,
            };
            let touches = vec![
                AggregateKey::of::<CardFile>(id),
                AggregateKey::of::<DenyFile>(id),
                AggregateKey::of::<DenyListHead>(&card::deny_head_id(self.province)),
            ];
            let lost = (*version, *fact);
            let meta = self.own_meta(Scene::Federation, "DenyListTakenUp");
            let committed = self
                .note(meta, touches, move |view, now| card::take_up_denial(view, subject, lost, peer, now))
                .await?;
            self.spread_denial(&committed).await;
            metrics::deny_list_taken_up(peer);
            taken += 1;
        }
        if taken > 0 {
            tracing::warn!(
                peer,
                taken,
                "losses that our store had lost were taken up again on a peer's word"
            );
        }
        Ok(taken)
    }
}
