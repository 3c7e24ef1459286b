//! Who and what: persons, cards, regions, dates and the code tables behind
//! them. Text and bytes come in, values come out that are right once they are
//! built: parse, don't validate.
//!
//! What does not live here: I/O (code tables come in as text), keys and
//! signatures (`crypto`), who is believed (`trust`), what a scene allows.
//!
//! Must stay true: a social security number, a card number, a document number
//! and a name show as `***` in `Debug` and have no `Display`; the one way to
//! their text is `reveal()`, for what is sealed and for backends. Parsing from
//! fixed-size input (card identifier, BCD date, region) does not allocate.
//! Nothing a stranger sends makes a parser panic.
//!
//! Every parser fails with [`crate::model::BadId`], which names the field and
//! what would be right, never what was sent; where a caller may want to know
//! which rule was broken, the parser has its own error that turns into one.

mod card;
mod codes;
mod date;
mod document;
mod ethnicity;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod name;
mod region;
mod secret;
mod sex;
mod ssn;
mod state;
mod text;
mod uscc;

pub use card::{CardIdentifier, CardNumber, CheckDigitWarning};
pub use codes::{BadCodeTable, CodeRow, CodeTable, CodeTables};
pub use date::{
    BirthDate, CardDate, business_date, business_day_start_ms, date_of_yyyymmdd, instant_of_local,
    local_time, validity_is_over, yyyymmdd,
};
pub use document::{DocumentKind, DocumentNumber};
pub use ethnicity::Ethnicity;
pub use name::HolderName;
pub use region::{Province, RegionClass, RegionCode};
pub use sex::Sex;
pub use ssn::{BadSocialSecurityNumber, SocialSecurityNumber};
pub use state::{
    CardStanding, CardState, TRANSITIONS, Transition, TransitionRefused, TransitionRule,
    transitions_as_markdown,
};
pub use uscc::UnifiedCreditCode;
