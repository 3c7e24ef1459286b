//! The library scene: borrow, return, renew, reserve, pay, read the account.
//!
//! Here: which act needs what (`act`), what an adapter must be able to do
//! (`port`), what is configured (`policy`), and how intent, result and an
//! unknown outcome become journal entries (`rules`).
//!
//! Not here: SIP2 (`adapters/sip2`), who may ask (`gateway`), gRPC (`api`).
//!
//! The way of an act that changes something: `observe` the library, commit
//! [`intent`], `call` the library, commit [`result`]. When the call's outcome is
//! unknown nothing is committed: the entry stays `PENDING` and its task comes due;
//! [`turn`] then says what to do next. A transaction ends `COMPLETED`, `DECLINED`
//! (the library said no, or nothing reached it) or `REVERSED`.

mod act;
mod policy;
mod port;
mod rules;
#[cfg(test)]
mod tests;

pub use act::LibraryAct;
pub use policy::{BadLibraryPolicy, InquiryPolicy, Library, LibraryPolicy, PatronMapping};
pub use port::{
    Before, Declined, Inquiry, LibraryAnswer, LibraryOrder, LibraryPort, Loan, NotSent, PatronAccount,
    PortError, Unknown,
};
pub use rules::{
    Turn, Who, case_key, closed_by_hand, intent, not_happened, not_sent, order_of, read, result, reversed,
    turn, unresolved,
};
