//! Whom a request is about: the card's file where the card is ours, and the
//! pseudonyms under which journal and participant know the holder.

use smallvec::SmallVec;

use super::{Gateway, Refusal};
use crate::{
    crypto::KeyName,
    identity::CardIdentifier,
    model::{AggregateBody, AggregateKey, PairwiseHolder, ParticipantId, Subject, record::CardFile},
    scenes::card::Who,
};

/// A card of ours and the holder its file names.
#[derive(Debug, Clone)]
pub(super) struct KnownCard {
    pub who: Who,
    /// HolderId, 16 bytes.
    pub holder: Vec<u8>,
}

impl Gateway {
    /// Whether the card was issued in our province.
    pub(super) fn is_ours(&self, card: &CardIdentifier) -> bool {
        home_of(card) == self.province
    }

    /// A card of our register.
    ///
    /// # Errors
    /// `CardUnknown` when it is not in it; `HolderErased` when its holder was erased.
    pub(super) async fn known_card(
        &self,
        card: CardIdentifier,
        participant: &ParticipantId,
    ) -> Result<KnownCard, Refusal> {
        let Some(file) = self.peek::<CardFile>(card.as_bytes()).await? else {
            return Err(self.card_without_file(&card).await);
        };
        let subject = self.holder_subject(&file.holder)?;
        let pairwise = self.pairwise(b"holder", &file.holder, participant)?;
        Ok(KnownCard { who: Who { card, subject, pairwise }, holder: file.holder })
    }

    /// A card of another region, which we know only as a card. Where the home
    /// region vouched, its pairwise id is used instead.
    pub(super) fn foreign_card(
        &self,
        card: CardIdentifier,
        participant: &ParticipantId,
    ) -> Result<Who, Refusal> {
        Ok(Who {
            card,
            subject: self.foreign_subject(&card)?,
            pairwise: self.pairwise(b"card", card.as_bytes(), participant)?,
        })
    }

    /// A holder of ours as the journal's public part names them: a keyed hash, so
    /// that an entry shown as evidence does not tell the HolderId.
    pub(super) fn holder_subject(&self, holder: &[u8]) -> Result<Subject, Refusal> {
        Ok(Subject::from_bytes(self.keyed_hash(&[b"onecard/subject/holder/v1\0", holder])?))
    }

    pub(super) fn foreign_subject(&self, card: &CardIdentifier) -> Result<Subject, Refusal> {
        Ok(Subject::from_bytes(self.keyed_hash(&[b"onecard/subject/v1\0", card.as_bytes()])?))
    }

    /// Whose key seals what must outlive every holder; no person.
    pub(super) fn keeper(&self) -> Result<Subject, Refusal> {
        Ok(Subject::from_bytes(self.keyed_hash(&[b"onecard/subject/keeper/v1\0"])?))
    }

    fn pairwise(
        &self,
        kind: &[u8],
        id: &[u8],
        participant: &ParticipantId,
    ) -> Result<PairwiseHolder, Refusal> {
        let participant = participant.as_str().as_bytes();
        let hash = self.keyed_hash(&[b"onecard/pairwise/v1\0", kind, &[0], id, &[0], participant])?;
        Ok(PairwiseHolder::from_bytes(hash))
    }

    /// A hash of the joined parts under a key that never leaves the vault: nobody
    /// outside can tell whose it is by trying.
    pub(super) fn keyed_hash(&self, parts: &[&[u8]]) -> Result<[u8; 16], Refusal> {
        let mut data = SmallVec::<[u8; 128]>::new();
        parts.iter().for_each(|part| data.extend_from_slice(part));
        self.vault.mac(KeyName::Pseudonym, &data).map_err(|error| {
            tracing::error!(%error, "the pseudonym key cannot be used");
            Refusal::internal()
        })
    }

    /// An aggregate as it stands now, outside of a unit: to learn what a unit must
    /// name. The unit decides over it again.
    pub(super) async fn peek<T: AggregateBody>(&self, id: &[u8]) -> Result<Option<T>, Refusal> {
        match self.store.load(&AggregateKey::of::<T>(id)).await? {
            None => Ok(None),
            Some(stored) => T::decode(stored.body).map(Some).map_err(|_| {
                tracing::error!(kind = ?T::KIND, "a stored aggregate cannot be read");
                Refusal::internal()
            }),
        }
    }
}

/// The province of a card's issuer, 110000 style.
pub(super) fn home_of(card: &CardIdentifier) -> u32 {
    card.region().province().code()
}
