//! Accounts and the law they stand under: the postings of an entry sum to zero.
//!
//! Here live the names of accounts, the check of balance, the money of one
//! transaction ([`payment`]), windows (the business date of `committed_at` in
//! Asia/Shanghai), caps and statements. All of it is pure: postings come in, sums
//! go out.
//!
//! What does not live here: prices (`scenes`), the entries themselves (`store`),
//! the exchange of statements (`federation`). Balances are folded from postings
//! and never kept as rows to fight over.

mod account;
mod balance;
pub mod caps;
pub mod matching;
pub mod payment;
pub mod statement;
pub mod window;

pub use account::{Account, BadAccount, Fund, InsuredAccount, ParticipantBook};
pub use balance::{Unbalanced, Whole, assert_balanced, sums};
