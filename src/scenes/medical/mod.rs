//! The medical scene: register, treat, settle at a hospital, buy at a pharmacy,
//! stay as an inpatient, with the national medical insurance interface behind it.
//!
//! Here: the interface's transactions (`act`), what an adapter must be able to do
//! (`port`, with one typed request and answer a transaction in `orders` and
//! `answers`), which step may follow which (`visit`), whose insurance pays
//! (`choose`), the sums that must hold and what they book (`bill`), from a request to
//! an order (`plan`), and how intent, result and an unknown outcome become journal
//! entries (`rules`).
//!
//! Not here: JSON, HTTP and signatures (`adapters/nhsa`), who may ask (`gateway`),
//! gRPC (`api`).
//!
//! The way of a step that changes something at the insurer: [`plan`] or [`open`],
//! commit [`intent`], call, commit [`result`] or [`refused`]. When the outcome is
//! unknown nothing is committed: the step stays `PENDING`, its task comes due, and
//! [`turn`] says what to do. A step ends `COMPLETED`, `DECLINED` or `REVERSED`.

mod act;
mod answers;
mod bill;
mod choose;
mod decimal;
mod detail;
mod msgid;
pub mod orders;
mod plan;
mod policy;
mod port;
mod rules;
mod visit;

pub use act::{Effect, MedicalAct};
pub use answers::{
    Entitlement, FeeResult, FileTicket, Insurance, MedicalAnswer, Opened, Person, PersonIdentity, Said,
    SettlementInfo, SettlementPart, Statement,
};
pub use bill::{Broken, Expected, bill_of, funds_fen, person_fen, postings};
pub use choose::{NotChosen, Wanted, choose};
pub use decimal::{BadDecimal, Count, Price, Ratio, parse_scaled};
pub use detail::{insurance, insurance_of, put_answer, standing};
pub use msgid::{BadMsgId, MsgId};
pub use orders::MedicalOrder;
pub use plan::{InsuranceWish, OpenAsk, Planned, StepAsk, cancel_batch, open, plan, pre_settled};
pub use policy::{
    BadMedicalPolicy, Care, FamilyAccount, Institution, InsuranceKind, MedicalCodes, MedicalPolicy, SumRules,
    UnknownPolicy,
};
pub use port::{
    Inquiry, MedicalPort, NotSent, OpenOrder, PortError, Refused, Reversal, Sender, SystemFailed, Unknown,
    fits,
};
pub use rules::{
    Brought, End, Heard, Intent, Turn, Who, case_key, ended, ends_when_given_up, fees_of, intent, open_order,
    refused, result, told_once, turn, unresolved, visit_key,
};
pub use visit::{Row, STEPS, Stage, Verb, VisitKind, may};
