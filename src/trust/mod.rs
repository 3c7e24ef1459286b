//! Who is believed: the trust list of regions, the deny list of lost cards, the
//! e-card code. What they say and how they are checked; bytes come in, answers
//! go out. How the lists travel is `federation`'s, where they are kept is
//! `store`'s.

mod base32;
mod code;
mod deny;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod list;

pub use code::{CodeMalformed, CodeRefused, EcardCode, SignedCode};
pub use deny::{Applied, DeniedCard, DenyChange, DenyList, DenyPosition};
pub use list::{Member, TrustList, TrustListError};
