//! Acts at a library: intent in the journal, the call, the result in the journal.
//! A call without an answer stays pending and becomes a task.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{Call, Gateway, Header, Refusal, ask::Ask, authentication::card_of};
use crate::{
    fault,
    identity::CardIdentifier,
    limits,
    model::{
        AggregateKey, Assurance, CorruptAggregate, Fen, Millis, ParticipantId, Reason, Status, TerminalId,
        Token16, TransactionId, View, Write,
        record::{CardFile, DenyFile, HolderSession},
    },
    scenes::{
        card::{self, SessionAsk},
        library::{self, Before, Declined, LibraryAct, LibraryOrder, LibraryPort, PortError, Who},
    },
    store::{Committed, Step},
};

/// The libraries that are connected, by code.
pub type Libraries = HashMap<String, Arc<dyn LibraryPort>>;

/// An act as a counter sends it; fields an act has no use for are empty.
#[derive(Debug, Clone)]
pub struct LibraryAsk {
    pub act: LibraryAct,
    /// Code of the library; `None` means the terminal's own.
    pub library: Option<String>,
    pub item: String,
    pub pickup_location: String,
    pub amount: Fen,
    pub fee: String,
}

impl Gateway {
    /// Carries out an act at a library.
    ///
    /// # Errors
    /// A session that may not be used, a library that is not connected. What the
    /// library declines is an answer.
    pub async fn library(&self, call: &Call, header: Header, act: LibraryAsk) -> Result<Committed, Refusal> {
        self.authorise(call, &header)?;
        let ask = self.ask(call, &header);
        let code =
            act.library.clone().or_else(|| call.caller.participant.library.clone()).unwrap_or_default();
        if act.act == LibraryAct::EndSession {
            return self.end_session(call, &ask, &header, act, &code).await;
        }
        let (who, patron, minimum) = self.library_holder(&ask, &header, &act, &code).await?;
        let order = LibraryOrder {
            transaction: ask.transaction,
            library: Arc::from(code.as_str()),
            act: act.act,
            patron,
            item: act.item,
            pickup_location: act.pickup_location,
            amount: act.amount,
            fee: act.fee,
            trace_id: call.trace_id,
        };
        let port = self.library_port(&code)?;
        if act.act.is_read() {
            return self.library_read(call, &ask, who, order, port).await;
        }
        let holding = match (act.act.needs_holder(), header.session) {
            (true, Some(token)) => Some(self.holding(token, minimum).await?),
            (true, None) | (false, _) => None,
        };
        self.library_change(call, &ask, who, order, port, holding).await
    }

    /// What the unit of an intent must look at again.
    pub(super) async fn holding(&self, token: Token16, minimum: Assurance) -> Result<Holding, Refusal> {
        let session: HolderSession =
            self.peek(token.as_bytes()).await?.ok_or_else(|| Refusal::forbidden(Reason::SessionUnknown))?;
        let card = card_of(&session.card)?;
        Ok(Holding { token, minimum, card, card_is_ours: self.is_ours(&card) })
    }

    fn library_port(&self, code: &str) -> Result<Arc<dyn LibraryPort>, Refusal> {
        self.line_to(code).ok_or_else(|| Refusal::not_found(Reason::LibraryUnknown))
    }

    /// The holder of the session, as this library knows them. A return names
    /// nobody.
    async fn library_holder(
        &self,
        ask: &Ask,
        header: &Header,
        act: &LibraryAsk,
        code: &str,
    ) -> Result<(Who, String, Assurance), Refusal> {
        let live = self.live();
        let library =
            live.libraries.library(code).ok_or_else(|| Refusal::not_found(Reason::LibraryUnknown))?;
        let minimum = library.minimum_assurance.max(live.policy.minimum_assurance(ask.meta.scene));
        if !act.act.needs_holder() {
            return Ok((Who::nobody(ask.transaction), String::new(), minimum));
        }
        let (holder, assurance) = self.holder(ask, header.session, minimum).await?;
        let patron =
            library.patron_of(&holder.pairwise).ok_or_else(|| Refusal::forbidden(Reason::PatronUnknown))?;
        let who =
            Who { subject: holder.subject, pairwise: Some(holder.pairwise), assurance: Some(assurance) };
        Ok((who, patron, minimum))
    }

    /// The holder a session stands for, with a card that may be used now.
    pub(super) async fn holder(
        &self,
        ask: &Ask,
        session: Option<Token16>,
        minimum: Assurance,
    ) -> Result<(card::Who, Assurance), Refusal> {
        let token = session.ok_or_else(|| Refusal::forbidden(Reason::SessionUnknown))?;
        let session: Option<HolderSession> = self.peek(token.as_bytes()).await?;
        let asks = SessionAsk { participant: ask.participant(), terminal: ask.terminal(), minimum };
        let now = self.now_ms();
        let (who, assurance) = card::live_session(session.as_ref(), asks, now).map_err(Refusal::forbidden)?;
        self.not_denied(&who.card).map_err(Refusal::forbidden)?;
        if self.is_ours(&who.card) {
            let Some(file) = self.peek::<CardFile>(who.card.as_bytes()).await? else {
                return Err(self.card_without_file(&who.card).await);
            };
            card::standing_of(&file).usable(now).map_err(Refusal::forbidden)?;
        }
        Ok((who, assurance))
    }

    /// A read changes nothing outside, so it needs no intent: ask, then journal
    /// who read what.
    async fn library_read(
        &self,
        call: &Call,
        ask: &Ask,
        who: Who,
        order: LibraryOrder,
        port: Arc<dyn LibraryPort>,
    ) -> Result<Committed, Refusal> {
        let answer = match port.call(order.clone(), within(call)).await {
            Ok(answer) => Ok(answer),
            Err(PortError::Declined(declined)) => Err(declined),
            Err(PortError::NotSent(_) | PortError::Unknown(_)) => return Err(backend_unavailable()),
        };
        self.commit(ask, Vec::new(), move |_, _| Ok(library::read(&who, &order, answer.as_ref()))).await
    }

    async fn library_change(
        &self,
        call: &Call,
        ask: &Ask,
        who: Who,
        order: LibraryOrder,
        port: Arc<dyn LibraryPort>,
        holding: Option<Holding>,
    ) -> Result<Committed, Refusal> {
        let before = match port.observe(order.clone(), within(call)).await {
            Ok(before) => before,
            // The library could not be looked at: it will hardly take the order
            // either, and nothing has happened yet. A repeat that was answered
            // before is answered again from the journal.
            Err(PortError::NotSent(_) | PortError::Unknown(_)) => return Err(backend_unavailable()),
            Err(PortError::Declined(declined)) => {
                return self
                    .commit(ask, Vec::new(), move |_, _| Ok(library::read(&who, &order, Err(&declined))))
                    .await;
            }
        };
        let intent = self.commit_intent(ask, who, order.clone(), before, holding).await?;
        if intent.replayed || intent.entry.status != Status::Pending.number() {
            return Ok(intent);
        }
        // The call ends before the first inquiry is due: an inquiry beside a call
        // under way would find nothing and reverse what is about to happen.
        let first_inquiry = self.live().libraries.inquiry.first_after_ms;
        let first_inquiry = Duration::from_millis(first_inquiry.unsigned_abs()).mul_f64(0.9);
        fault::point(fault::Point::IntentCommitted);
        let answer = port.call(order.clone(), within(call).min(first_inquiry)).await;
        fault::point(fault::Point::BackendCalled);
        let committed = self.commit_answer(ask, who, ask.transaction, answer, intent).await;
        fault::point(fault::Point::ResultCommitted);
        committed
    }

    async fn commit_intent(
        &self,
        ask: &Ask,
        who: Who,
        order: LibraryOrder,
        before: Before,
        holding: Option<Holding>,
    ) -> Result<Committed, Refusal> {
        let policy = self.live().libraries.inquiry.clone();
        let mut touches = vec![library::case_key(ask.transaction)];
        touches.extend(holding.iter().flat_map(Holding::touches));
        let (participant, terminal) = (ask.participant().clone(), ask.terminal().clone());
        self.commit(ask, touches, move |view, now| {
            let standing = match &holding {
                Some(holding) => holding.stands(view, &participant, &terminal, now)?,
                None => Ok(()),
            };
            Ok(match standing {
                Ok(()) => library::intent(&who, &order, &before, now, &policy),
                Err(reason) => {
                    library::read(&who, &order, Err(&Declined { reason, screen_message: String::new() }))
                }
            })
        })
        .await
    }

    /// Journals what came of a call; an unknown outcome leaves the intent and its
    /// task as they are.
    pub(super) async fn commit_answer(
        &self,
        ask: &Ask,
        who: Who,
        transaction: TransactionId,
        answer: Result<library::LibraryAnswer, PortError>,
        intent: Committed,
    ) -> Result<Committed, Refusal> {
        let next = Ask { step: Step::Next, ..ask.clone() };
        let touches = vec![library::case_key(transaction)];
        match answer {
            Err(PortError::Unknown(unknown)) => {
                tracing::warn!(%transaction, %unknown, "a library did not answer; the outcome is inquired about");
                Ok(intent)
            }
            Err(PortError::NotSent(not_sent)) => {
                tracing::warn!(%transaction, %not_sent, "nothing reached the library");
                self.commit(&next, touches, move |view, now| library::not_sent(view, &who, transaction, now))
                    .await
            }
            Ok(answer) => {
                self.commit(&next, touches, move |view, now| {
                    library::result(view, &who, transaction, Ok(&answer), now)
                })
                .await
            }
            Err(PortError::Declined(declined)) => {
                self.commit(&next, touches, move |view, now| {
                    library::result(view, &who, transaction, Err(&declined), now)
                })
                .await
            }
        }
    }
}

/// Session and card of the holder who stands at the counter, to be looked at once
/// more when the intent is committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holding {
    token: Token16,
    minimum: Assurance,
    card: CardIdentifier,
    card_is_ours: bool,
}

impl Holding {
    pub(super) fn touches(&self) -> [AggregateKey; 2] {
        let card = self.card.as_bytes();
        let standing = if self.card_is_ours {
            AggregateKey::of::<CardFile>(card)
        } else {
            AggregateKey::of::<DenyFile>(card)
        };
        [AggregateKey::of::<HolderSession>(self.token.as_bytes()), standing]
    }

    /// Where it is counted that we stood in for the card: only for those of others.
    pub(super) fn stand_in_touch(&self) -> Option<AggregateKey> {
        (!self.card_is_ours).then(|| card::stand_in_key(self.card.as_bytes()))
    }

    /// Counts what is to be reserved, where we stood in for the card's home.
    pub(super) fn counted(
        &self,
        view: &View,
        amount: Fen,
        most: Fen,
        now: Millis,
    ) -> Result<Result<Option<Write>, Reason>, CorruptAggregate> {
        match self.card_is_ours {
            true => Ok(Ok(None)),
            false => card::reserve_standing_in(view, self.token, amount, most, now),
        }
    }

    pub(super) fn stands(
        &self,
        view: &View,
        participant: &ParticipantId,
        terminal: &TerminalId,
        now: Millis,
    ) -> Result<Result<(), Reason>, CorruptAggregate> {
        let ask = SessionAsk { participant, terminal, minimum: self.minimum };
        card::still_live(view, self.token, self.card_is_ours, ask, now)
    }
}

/// What is left of the caller's deadline, with a little kept for the commit.
pub(super) fn within(call: &Call) -> Duration {
    let left = call.deadline.saturating_duration_since(tokio::time::Instant::now().into_std());
    left.saturating_sub(limits::COMMIT_RESERVE)
}

fn backend_unavailable() -> Refusal {
    Refusal::later(super::RefusalKind::Unavailable, Reason::BackendUnavailable, Duration::from_secs(1))
}
