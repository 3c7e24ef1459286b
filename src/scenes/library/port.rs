//! What an adapter to a library must be able to do. Adapters implement
//! [`LibraryPort`]; the gateway calls it.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use super::LibraryAct;
use crate::model::{Fen, Millis, Reason, TransactionId};

/// One order to a library. Texts are what the terminal or the policy gave, at
/// most some dozens of characters; the edge has checked them.
#[derive(Clone, PartialEq, Eq)]
pub struct LibraryOrder {
    /// The transaction it belongs to.
    pub transaction: TransactionId,
    /// Code of the library in the policy.
    pub library: Arc<str>,
    pub act: LibraryAct,
    /// How the library knows the reader; empty for a return. A return that names a
    /// reader takes back that reader's loan and no other's: it undoes a checkout.
    pub patron: String,
    /// Item identifier; empty where the act names none.
    pub item: String,
    /// Where a hold is to be collected; empty for the library's own counter.
    pub pickup_location: String,
    /// What is paid; zero where the act pays nothing.
    pub amount: Fen,
    /// Which fee is paid; empty for the account as a whole.
    pub fee: String,
    /// W3C trace id, for the adapter's own spans; the wire has no place for it.
    pub trace_id: Option<[u8; 16]>,
}

/// Names neither reader nor item: what somebody reads is their own affair.
impl fmt::Debug for LibraryOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LibraryOrder")
            .field("transaction", &self.transaction)
            .field("library", &self.library)
            .field("act", &self.act)
            .finish_non_exhaustive()
    }
}

/// A loan as the library states it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loan {
    pub item: String,
    /// Empty where the library gave none.
    pub title: String,
    /// 0 where the library gave none.
    pub due_at_ms: Millis,
}

/// A reader's account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatronAccount {
    pub loans: Vec<Loan>,
    pub holds: u32,
    pub overdue: u32,
    pub fees: Fen,
    pub may_borrow: bool,
}

/// What a library answered to an order it carried out. Fields an act has no use
/// for are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LibraryAnswer {
    pub title: String,
    /// 0 where the library gave none.
    pub due_at_ms: Millis,
    pub screen_message: String,
    pub permanent_location: String,
    /// The library wants a person to look.
    pub alert: bool,
    /// 0 where unknown.
    pub queue_position: u32,
    /// A hold is ready now.
    pub available: bool,
    /// For `GetPatron`.
    pub account: Option<PatronAccount>,
}

/// How things stood before a call, so that an inquiry can tell what it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// The library was looked at; the other fields mean something.
    pub observed: bool,
    /// The item was among the reader's loans (or holds, where the act is about a
    /// hold).
    pub item_was_listed: bool,
    /// Due date of the item, 0 where it had none.
    pub due_at_ms: Millis,
    /// What the reader owed.
    pub fees: Fen,
}

/// Nothing reached the library.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing was sent to the library: {why}")]
pub struct NotSent {
    /// For people who run the gateway; never about a person.
    pub why: String,
}

/// The order was sent and no answer to it was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the library did not answer: {why}")]
pub struct Unknown {
    /// For people who run the gateway; never about a person.
    pub why: String,
}

/// The library said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the library declined: {}", .reason.code())]
pub struct Declined {
    pub reason: Reason,
    /// What the library wants shown.
    pub screen_message: String,
}

/// Why a call brought no answer of success. The difference between the first two
/// is the difference between a safe failure and a pending transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    #[error(transparent)]
    NotSent(#[from] NotSent),
    #[error(transparent)]
    Unknown(#[from] Unknown),
    #[error(transparent)]
    Declined(#[from] Declined),
}

/// What an inquiry found out about an order whose outcome was unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inquiry {
    Happened(LibraryAnswer),
    DidNotHappen,
    CannotTell,
}

/// A connection to libraries of one protocol.
pub trait LibraryPort: Send + Sync + 'static {
    /// Reads what [`Before`] needs for this order. Changes nothing at the library.
    fn observe(&self, order: LibraryOrder, within: Duration) -> BoxFuture<'_, Result<Before, PortError>>;

    /// Carries the order out, once. `within` is how long the caller still waits.
    fn call(&self, order: LibraryOrder, within: Duration) -> BoxFuture<'_, Result<LibraryAnswer, PortError>>;

    /// Finds out whether an order with unknown outcome happened. Changes nothing
    /// at the library. An error says that the library could not be asked.
    fn inquire(
        &self,
        order: LibraryOrder,
        before: Before,
        within: Duration,
    ) -> BoxFuture<'_, Result<Inquiry, PortError>>;
}
