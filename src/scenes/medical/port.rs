//! What an adapter to an insurer must be able to do. Adapters implement
//! [`MedicalPort`]; the gateway calls it.
//!
//! An adapter is a line to one insurer's platform. A call that another region must
//! answer goes through the same trait: what stands behind it may be a federation
//! call and not a socket of ours.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use super::{MedicalAct, MedicalAnswer, MedicalOrder, MsgId, Said};
use crate::model::{Millis, TransactionId};

/// Who sends, as the envelope says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// msgid: made and journalled before the call. It is the key of idempotency at the
    /// insurer and what a reversal names; an adapter never makes one of its own for an
    /// order it is given.
    pub msgid: MsgId,
    /// Our transaction, for the adapter's own spans.
    pub transaction: TransactionId,
    /// fixmedins_code, fixmedins_name
    pub institution: Arc<str>,
    pub institution_name: Arc<str>,
    /// mdtrtarea_admvs
    pub care_region: Arc<str>,
    /// insuplc_admdvs; empty where the input names no person.
    pub insured_region: String,
    /// opter; empty where nobody works the terminal.
    pub operator: Arc<str>,
    /// inf_time
    pub sent_at_ms: Millis,
    /// W3C trace id.
    pub trace_id: Option<[u8; 16]>,
}

/// An order whose outcome is not known: what an inquiry and a reversal can say of
/// it. Fields that were not known when it was sent are empty.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenOrder {
    pub act: MedicalAct,
    /// omsgid of a reversal.
    pub msgid: MsgId,
    pub psn_no: String,
    pub mdtrt_id: String,
    pub ipt_otp_no: String,
    /// Of the settlement that a cancellation names.
    pub setl_id: String,
    pub batch: String,
    /// When it was sent.
    pub sent_at_ms: Millis,
}

/// Names no person.
impl fmt::Debug for OpenOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOrder")
            .field("act", &self.act)
            .field("msgid", &self.msgid)
            .finish_non_exhaustive()
    }
}

/// Nothing reached the insurer: a safe failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing was sent to the insurer: {why}")]
pub struct NotSent {
    /// For people who run the gateway; never about a person.
    pub why: String,
}

/// infcode −2, or any other that says no: nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the insurer refused")]
pub struct Refused {
    /// infcode as sent.
    pub code: String,
    /// err_msg, for the terminal. May speak of the person: never logged.
    pub message: String,
}

/// infcode −1: the insurer's own network, host or database failed. The order may
/// have been carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the insurer's system failed (infcode -1)")]
pub struct SystemFailed {
    /// err_msg; never logged.
    pub message: String,
}

/// The order was sent, and no answer to it was read or understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the insurer did not answer: {why}")]
pub struct Unknown {
    /// For people who run the gateway; never about a person.
    pub why: String,
}

/// Why a call brought no answer of success.
///
/// After a change `SystemFailed` and `Unknown` both leave a pending transaction; the
/// other two are safe ends. An adapter that is not sure says `Unknown`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    #[error(transparent)]
    NotSent(#[from] NotSent),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    SystemFailed(#[from] SystemFailed),
    #[error(transparent)]
    Unknown(#[from] Unknown),
}

/// What an inquiry found out about an order whose outcome was unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one turn of one task, and a box would help nobody"
)]
pub enum Inquiry {
    /// It was carried out, and this is its whole answer.
    Happened(MedicalAnswer),
    /// The insurer knows of no such order now. It may still be under way there, so it
    /// is reversed all the same.
    NotFound,
    /// The platform has no question that tells.
    CannotTell,
}

/// What a reversal (2601) brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reversal {
    /// The order is taken back.
    TakenBack,
    /// The insurer says that there is no such order: nothing stands there.
    NothingThere,
}

/// A line to one insurer's platform.
pub trait MedicalPort: Send + Sync + 'static {
    /// Carries the order out, once. `within` is how long the caller still waits. The
    /// answer fits the order ([`fits`]).
    fn call(
        &self,
        sender: Sender,
        order: MedicalOrder,
        within: Duration,
    ) -> BoxFuture<'_, Result<MedicalAnswer, PortError>>;

    /// Finds out whether an order happened (5203 where it helps). Changes nothing.
    /// `sender` has a msgid of its own.
    fn inquire(
        &self,
        sender: Sender,
        open: OpenOrder,
        within: Duration,
    ) -> BoxFuture<'_, Result<Inquiry, PortError>>;

    /// Takes an order back (2601 with its msgid and infno). May be repeated: a second
    /// reversal of the same order finds nothing there. `Refused` means that the
    /// platform will not reverse it.
    fn reverse(
        &self,
        sender: Sender,
        open: OpenOrder,
        within: Duration,
    ) -> BoxFuture<'_, Result<Reversal, PortError>>;
}

/// Whether an answer is of the sort the transaction has. One that is not was not
/// understood.
pub const fn fits(act: MedicalAct, said: &Said) -> bool {
    match act {
        MedicalAct::ReadPerson => matches!(said, Said::Person(_)),
        MedicalAct::CheckEntitlement => matches!(said, Said::Entitlements(_)),
        MedicalAct::Register | MedicalAct::Admit => matches!(said, Said::Opened(_)),
        MedicalAct::AddFees | MedicalAct::AddStayFees => matches!(said, Said::Fees(_)),
        MedicalAct::PreSettlePurchase
        | MedicalAct::SettlePurchase
        | MedicalAct::CancelPurchase
        | MedicalAct::PreSettle
        | MedicalAct::Settle
        | MedicalAct::CancelSettlement
        | MedicalAct::PreSettleStay
        | MedicalAct::SettleStay
        | MedicalAct::CancelStaySettlement
        | MedicalAct::InquireSettlement => matches!(said, Said::Settlement(_)),
        MedicalAct::ReconcileTotals => matches!(said, Said::Statement(_)),
        MedicalAct::ReconcileDetails | MedicalAct::UploadFile => matches!(said, Said::File(_)),
        MedicalAct::DownloadFile => matches!(said, Said::Content(_)),
        MedicalAct::SignIn => matches!(said, Said::SignedIn(_)),
        MedicalAct::CancelRegistration
        | MedicalAct::RecordVisit
        | MedicalAct::CancelFees
        | MedicalAct::CancelStayFees
        | MedicalAct::Discharge
        | MedicalAct::Reverse
        | MedicalAct::SignOut => matches!(said, Said::Done),
    }
}
