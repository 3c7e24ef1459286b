//! What became of a transaction: the question a terminal asks instead of sending
//! again under a new id.

use super::{Call, Gateway, Refusal};
use crate::{
    model::{Reason, RequestId, TransactionId},
    store::Committed,
};

/// How a transaction is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionAsk {
    Transaction(TransactionId),
    Request(RequestId),
}

impl Gateway {
    /// The steps of one of the caller's own transactions, oldest first. Another
    /// participant's is as unknown as one that never was.
    ///
    /// # Errors
    /// `TransactionUnknown`; a store that cannot be read.
    pub async fn transaction(&self, call: &Call, ask: TransactionAsk) -> Result<Vec<Committed>, Refusal> {
        let participant = &call.caller.participant.id;
        let unknown = || Refusal::not_found(Reason::TransactionUnknown);
        let id = match ask {
            TransactionAsk::Transaction(id) => id,
            TransactionAsk::Request(request) => {
                let found = self.store.find(participant, request).await?.ok_or_else(unknown)?;
                let bytes =
                    found.entry.transaction_id.as_slice().try_into().map_err(|_| Refusal::internal())?;
                TransactionId::from_bytes(bytes)
            }
        };
        let steps = self.store.steps(id).await?;
        match steps.first() {
            Some(first) if first.entry.participant == participant.as_str() => Ok(steps),
            Some(_) | None => Err(unknown()),
        }
    }
}
