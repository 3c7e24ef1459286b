//! The card itself and who holds it: loss, state, the chip relay, the e-card
//! code, the document at a counter, and the sessions these end in.
//!
//! Everything here is decided in the card's home region over its own aggregates,
//! or in a serving region over what the home region vouched for. Cryptography is
//! not checked here: the gateway checks MACs and signatures before and says so.

mod attributes;
mod authenticate;
mod deny;
mod erased;
mod issue;
mod loss;
mod session;
mod stand_in;
mod standing;
mod sweep;
#[cfg(test)]
mod tests;

pub use attributes::{AttributeCode, Granted, UnknownAttribute};
pub use authenticate::{
    ChipBegin, ChipFinish, CodePresented, DocumentPresented, HolderData, Vouched, begin_chip, document_id,
    finish_chip, finish_foreign_chip, present_code, present_document, present_foreign_code,
    stand_in_for_code,
};
pub use deny::{
    DenyFact, apply_denial, begin_deny_epoch, denial, deny_head_id, is_lost_denial, may_be_told, not_denied,
    take_up_denial, told_all,
};
pub use erased::close_erased;
pub use issue::{NewCard, issue};
pub use loss::{LossKind, issue_code, lift_loss, read_state, report_loss};
pub use session::{NewSession, SessionAsk, end_session, live_session, session_of, still_live};
pub use stand_in::{StandIn, reserve_standing_in, stand_in_key};
pub use standing::{Who, standing_of};
pub use sweep::{SWEPT, is_over, sweep};
