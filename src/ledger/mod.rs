//! Accounts and the law they stand under: the postings of an entry sum to zero.
//!
//! Here live the names of accounts and the check of balance; later windows (the
//! business date of `committed_at` in Asia/Shanghai), statements between members
//! and their matching. All of it is pure: postings come in, sums go out.
//!
//! What does not live here: prices (`scenes`), the entries themselves (`store`),
//! the exchange of statements (`federation`). Balances are folded from postings
//! and never kept as rows to fight over.

mod account;
mod balance;
pub mod matching;

pub use account::{Account, BadAccount, Fund, ParticipantBook};
pub use balance::{Unbalanced, assert_balanced, sums};
