//! The end of a reader's session. Ours ends in the commit, whatever the library's
//! system says or does not say: whoever is next at the counter must not go on in
//! the reader's name, also when the library is away or the card was lost since.

use std::{sync::Arc, time::Duration};

use super::{Call, Gateway, Header, LibraryAsk, Refusal, ask::Ask, library::within};
use crate::{
    limits,
    model::{AggregateKey, Outcome, Reason, record::HolderSession},
    scenes::{
        card,
        library::{self, Declined, LibraryAnswer, LibraryOrder, PortError, Who},
    },
    store::Committed,
};

impl Gateway {
    /// Ends the session that the header names: tells the library first, where it
    /// listens, and then ends the session in one commit.
    pub(super) async fn end_session(
        &self,
        call: &Call,
        ask: &Ask,
        header: &Header,
        act: LibraryAsk,
        code: &str,
    ) -> Result<Committed, Refusal> {
        let token = header.session.ok_or_else(|| Refusal::forbidden(Reason::SessionUnknown))?;
        let session: Option<HolderSession> = self.peek(token.as_bytes()).await?;
        let (holder, assurance) = card::session_of(session.as_ref(), ask.participant(), ask.terminal())
            .map_err(Refusal::forbidden)?;
        let patron = self
            .live()
            .libraries
            .library(code)
            .and_then(|library| library.patron_of(&holder.pairwise))
            .unwrap_or_default();
        let order = LibraryOrder {
            transaction: ask.transaction,
            library: Arc::from(code),
            act: act.act,
            patron,
            item: act.item,
            pickup_location: act.pickup_location,
            amount: act.amount,
            fee: act.fee,
            trace_id: call.trace_id,
        };
        let over = session.is_some_and(|session| session.ended || session.expires_at_ms <= self.now_ms());
        let said = if over || order.patron.is_empty() {
            LibraryAnswer::default()
        } else {
            self.say_goodbye(order.clone(), within(call).min(limits::GOODBYE_MAX)).await
        };
        let who =
            Who { subject: holder.subject, pairwise: Some(holder.pairwise), assurance: Some(assurance) };
        let touches = vec![AggregateKey::of::<HolderSession>(token.as_bytes())];
        self.commit(ask, touches, move |view, _| {
            let ended = card::end_session(view, token, &holder)?;
            let mut decision = match ended.outcome {
                Outcome::Approved | Outcome::Pending => library::read(&who, &order, Ok(&said)),
                Outcome::Declined(reason) => {
                    library::read(&who, &order, Err(&Declined { reason, screen_message: String::new() }))
                }
            };
            decision.writes = ended.writes;
            Ok(decision)
        })
        .await
    }

    /// What the library has to say, if anything: its session is its own to expire.
    async fn say_goodbye(&self, order: LibraryOrder, patience: Duration) -> LibraryAnswer {
        let Some(port) = self.line_to(&order.library) else {
            return LibraryAnswer::default();
        };
        let library = Arc::clone(&order.library);
        match tokio::time::timeout(patience, port.call(order, patience)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(PortError::Declined(declined))) => {
                LibraryAnswer { screen_message: declined.screen_message, ..LibraryAnswer::default() }
            }
            Ok(Err(PortError::NotSent(_) | PortError::Unknown(_))) | Err(_) => {
                tracing::warn!(%library, "a library was not told that a session ended; ours is over");
                LibraryAnswer::default()
            }
        }
    }
}
