//! What became of a transaction: the question a terminal asks instead of sending
//! again under a new id.

use super::{Call, Gateway, Refusal};
use crate::{
    model::{Detail, PairwiseHolder, Purpose, Reason, RequestId, Scene, Subject, TerminalId, TransactionId},
    store::Committed,
};

/// How a transaction is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionKey {
    Transaction(TransactionId),
    Request(RequestId),
    /// A tap of an upload, by the terminal's own number.
    Tap {
        /// `None`: the calling terminal.
        terminal: Option<TerminalId>,
        sequence: u64,
    },
}

/// A question after a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionAsk {
    pub key: TransactionKey,
    /// What it is asked for; `None` is what the transaction itself was asked for.
    pub purpose: Option<Purpose>,
}

impl Gateway {
    /// The steps of one of the caller's own transactions, oldest first. Another
    /// participant's is as unknown as one that never was. What speaks of a holder is a
    /// journalled read: where and when somebody was is told again.
    ///
    /// # Errors
    /// `TransactionUnknown`; a purpose that the transaction's scene does not accept; a
    /// store that cannot be read or written.
    pub async fn transaction(&self, call: &Call, ask: TransactionAsk) -> Result<Vec<Committed>, Refusal> {
        let participant = &call.caller.participant.id;
        let unknown = || Refusal::not_found(Reason::TransactionUnknown);
        let id = match ask.key {
            TransactionKey::Transaction(id) => id,
            TransactionKey::Request(request) => {
                let found = self.store.find(participant, request).await?.ok_or_else(unknown)?;
                let bytes =
                    found.entry.transaction_id.as_slice().try_into().map_err(|_| Refusal::internal())?;
                TransactionId::from_bytes(bytes)
            }
            TransactionKey::Tap { terminal, sequence } => {
                let terminal = terminal.as_ref().unwrap_or(&call.caller.terminal);
                self.tap_under(participant, terminal, sequence).await?.ok_or_else(unknown)?
            }
        };
        let steps = self.steps_of(id).await?;
        let first = match steps.first() {
            Some(first) if first.entry.participant == participant.as_str() => first,
            Some(_) | None => return Err(unknown()),
        };
        let purpose = self.purpose_of_reading(first, ask.purpose)?;
        let holder = steps.iter().find_map(|step| {
            let subject = Subject::from_slice(&step.entry.subject).ok()?;
            Some((subject, PairwiseHolder::from_slice(&step.entry.pairwise_holder).ok()))
        });
        if let Some(holder) = holder {
            self.journal_read(call, holder, purpose, Detail::open(&id.as_bytes().to_vec())).await?;
        }
        Ok(steps)
    }

    fn purpose_of_reading(&self, first: &Committed, stated: Option<Purpose>) -> Result<Purpose, Refusal> {
        let entry = &first.entry;
        match stated {
            Some(purpose) => {
                let scene = Scene::from_name(&entry.scene).ok_or_else(Refusal::internal)?;
                self.live.load().policy.accepts(scene, purpose).map_err(Refusal::forbidden)?;
                Ok(purpose)
            }
            None => {
                i32::try_from(entry.purpose).ok().and_then(Purpose::from_number).ok_or_else(Refusal::internal)
            }
        }
    }
}
