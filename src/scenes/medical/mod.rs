//! The medical scene: register, treat, settle at a hospital, buy at a pharmacy,
//! stay as an inpatient, with the national medical insurance interface behind it.
//!
//! Here: the interface's transactions (`act`), what an adapter must be able to do
//! (`port`, with one typed request and answer a transaction in `orders` and
//! `answers`).
//!
//! Not here: JSON, HTTP and signatures (`adapters/nhsa`), who may ask (`gateway`),
//! gRPC (`api`).

mod act;
mod answers;
mod decimal;
mod msgid;
pub mod orders;
mod port;

pub use act::{Effect, MedicalAct};
pub use answers::{
    Entitlement, FeeResult, FileTicket, Insurance, MedicalAnswer, Opened, Person, PersonIdentity, Said,
    SettlementInfo, SettlementPart, Statement,
};
pub use decimal::{BadDecimal, Count, Price, Ratio, parse_scaled};
pub use msgid::{BadMsgId, MsgId};
pub use orders::MedicalOrder;
pub use port::{
    Inquiry, MedicalPort, NotSent, OpenOrder, PortError, Refused, Reversal, Sender, SystemFailed, Unknown,
    fits,
};
