//! Erasing a holder, by two operators: who and why is journalled, the holder's cards
//! close in every region, then the key under which everything personal about them
//! is sealed is destroyed. Entries, proofs and sums stay as they are.
//!
//! **Architecture Invariant:** the key goes last. Who is stopped before that says it
//! again; nobody is erased without an entry.

use std::sync::Arc;

use prost::Message as _;

use super::{
    Gateway, HandRefused, Refusal, TaskHand,
    authentication::card_of,
    who::{KnownCard, home_of},
};
use crate::{
    identity::CardIdentifier,
    limits,
    model::{
        AggregateKey, Decision, Detail, Outcome, Reason, Scene, Subject, TransactionId,
        record::{self, CardDetail, CardFile, DenyFile, DenyListHead, HolderFile},
    },
    scenes::card,
    store::UnitMeta,
};

/// The two who act, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasingHands {
    first: TaskHand,
    second: Arc<str>,
}

/// What names the holder who is to be erased.
#[derive(Debug, Clone, Copy)]
pub enum HolderOf {
    Card(CardIdentifier),
    /// Any transaction of theirs.
    Transaction(TransactionId),
}

/// Why nobody was erased.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotErased {
    #[error(transparent)]
    Hand(#[from] HandRefused),
    #[error("second must name another operator than the first / 第二操作员须为另一人")]
    OnePerson,
    #[error("the holder was erased already / 该持卡人此前已清除")]
    Already,
    #[error("no such transaction, or it is about nobody / 没有该交易，或该交易不涉及持卡人")]
    NobodyOf,
    #[error(
        "the holder is not registered in this region; erase them at home / 持卡人不在本地区登记，请在其归属地清除"
    )]
    NotOurs,
    #[error("{0} tasks of the holder are open; settle them first / 该持卡人尚有 {0} 项未结任务，请先处理")]
    TasksOpen(usize),
}

impl From<Refusal> for NotErased {
    fn from(refusal: Refusal) -> Self {
        match refusal.reason {
            Reason::HolderErased => NotErased::Already,
            _ => NotErased::Hand(refusal.into()),
        }
    }
}

impl ErasingHands {
    /// Both stand in the open part of the journal, as the reason does.
    ///
    /// # Errors
    /// `Hand` when a name or the reason is wrong, `OnePerson`.
    pub fn new(first: &str, second: &str, reason: &str) -> Result<Self, NotErased> {
        let hand = TaskHand::new(first, reason)?;
        TaskHand::new(second, reason)?;
        if first.eq_ignore_ascii_case(second) {
            return Err(NotErased::OnePerson);
        }
        Ok(ErasingHands { first: hand, second: second.into() })
    }
}

impl Gateway {
    /// Erases a holder of ours for good and answers how many cards were closed.
    ///
    /// # Errors
    /// See [`NotErased`]. When the store fails on the way the holder is not erased yet,
    /// and saying it again goes on.
    pub async fn erase_holder(&self, of: HolderOf, hands: &ErasingHands) -> Result<usize, NotErased> {
        let (subject, named) = self.subject_to_erase(of).await?;
        if self.store.is_erased(subject).await.map_err(Refusal::from)? {
            return Err(NotErased::Already);
        }
        let cards = self.cards_of(subject, named).await?;
        if cards.is_empty() {
            return Err(NotErased::NotOurs);
        }
        let open = self.open_tasks_about(subject).await?;
        if open > 0 {
            return Err(NotErased::TasksOpen(open));
        }
        self.journal_erasure(subject, hands).await?;
        let keeper = self.keeper()?;
        for card in &cards {
            self.close_card(*card, keeper).await?;
        }
        // The cards' marks first: once the holder's key is gone no card leads to them.
        let mut names = cards.iter().map(|card| self.erased_card(card)).collect::<Result<Vec<_>, _>>()?;
        names.push(subject);
        self.store.erase(names).await.map_err(Refusal::from)?;
        Ok(cards.len())
    }

    /// Why a card has no file: it is not in our register, or its holder was erased.
    pub(super) async fn card_without_file(&self, card: &CardIdentifier) -> Refusal {
        let erased = match self.erased_card(card) {
            Ok(mark) => self.store.is_erased(mark).await.map_err(Refusal::from),
            Err(refusal) => Err(refusal),
        };
        match erased {
            Ok(false) => Refusal::not_found(Reason::CardUnknown),
            Ok(true) => Refusal::forbidden(Reason::HolderErased),
            Err(refusal) => refusal,
        }
    }

    /// The mark that a card leaves on the list of the erased: a keyed hash, so that the
    /// list names nobody.
    fn erased_card(&self, card: &CardIdentifier) -> Result<Subject, Refusal> {
        Ok(Subject::from_bytes(self.keyed_hash(&[b"onecard/erased/card/v1\0", card.as_bytes()])?))
    }

    async fn subject_to_erase(&self, of: HolderOf) -> Result<(Subject, Option<CardIdentifier>), NotErased> {
        match of {
            HolderOf::Card(card) if !self.is_ours(&card) => Err(NotErased::NotOurs),
            HolderOf::Card(card) => {
                let own = self.own_meta(Scene::Operations, ERASE);
                let KnownCard { who, .. } = self.known_card(card, &own.participant).await?;
                Ok((who.subject, Some(card)))
            }
            HolderOf::Transaction(transaction) => {
                let steps = self.store.steps(transaction).await.map_err(Refusal::from)?;
                let first = steps.first().ok_or(NotErased::NobodyOf)?;
                let subject = Subject::from_slice(&first.entry.subject).map_err(|_| NotErased::NobodyOf)?;
                Ok((subject, None))
            }
        }
    }

    /// Every card of ours that the journal knows of a holder.
    async fn cards_of(
        &self,
        subject: Subject,
        named: Option<CardIdentifier>,
    ) -> Result<Vec<CardIdentifier>, Refusal> {
        let mut seen = Vec::from_iter(named);
        for scene in [Scene::Operations, Scene::Card] {
            for step in self.store.about(subject, scene, limits::ERASED_ENTRIES_LOOKED_AT).await? {
                if scene == Scene::Operations && step.entry.method != "ImportCard" {
                    continue;
                }
                let Ok(detail) = CardDetail::decode(step.detail) else { continue };
                seen.extend(card_of(&detail.card).ok());
            }
        }
        // A file says whose it is: what is not this holder's is none of theirs.
        let mut cards = Vec::new();
        let mut at = 0;
        while let Some(card) = seen.get(at).copied() {
            at += 1;
            if cards.contains(&card) || home_of(&card) != self.province {
                continue;
            }
            let Some(file) = self.peek::<CardFile>(card.as_bytes()).await? else { continue };
            if self.holder_subject(&file.holder)? != subject {
                continue;
            }
            cards.push(card);
            if let Some(person) = self.peek::<HolderFile>(&file.holder).await? {
                seen.extend(card_of(&person.card).ok());
            }
        }
        Ok(cards)
    }

    /// What must still happen needs the personal part: erased before, it could never end.
    async fn open_tasks_about(&self, subject: Subject) -> Result<usize, Refusal> {
        let mut about = 0;
        for task in self.open_tasks().await? {
            let steps = self.store.steps(task.transaction).await?;
            about += usize::from(steps.first().is_some_and(|step| step.entry.subject == subject.as_bytes()));
        }
        Ok(about)
    }

    async fn journal_erasure(&self, subject: Subject, hands: &ErasingHands) -> Result<(), Refusal> {
        let meta = UnitMeta {
            operator: Arc::clone(&hands.first.operator),
            ..self.own_meta(Scene::Operations, ERASE)
        };
        let detail = Detail::open(&record::HolderErasure {
            second_operator_id: hands.second.as_ref().to_owned(),
            reason: hands.first.reason.clone(),
        });
        self.note(meta, Vec::new(), move |_, _| {
            let mut decision = Decision::new(Outcome::Approved);
            decision.subject = Some(subject);
            decision.detail = detail;
            Ok(decision)
        })
        .await
        .map(drop)
    }

    async fn close_card(&self, card: CardIdentifier, keeper: Subject) -> Result<(), Refusal> {
        let touches = vec![
            AggregateKey::of::<DenyFile>(card.as_bytes()),
            AggregateKey::of::<DenyListHead>(&card::deny_head_id(self.province)),
        ];
        let committed = self
            .note(self.own_meta(Scene::Operations, "CloseCard"), touches, move |view, now| {
                card::close_erased(view, card, keeper, now)
            })
            .await?;
        self.spread_denial(&committed).await;
        Ok(())
    }
}

/// The method's name on the entry.
const ERASE: &str = "EraseHolder";
