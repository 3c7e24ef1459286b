//! Reconciliation: our journal, a participant's file and a bank's file side by side.
//! Records come in, what agrees and what does not goes out, with who clears it; the
//! life of an exception (its case in the journal) is decided here too.
//!
//! What does not live here: the files' formats (`adapters/settlement_file`), reading
//! the journal (`store`), the report (`cli`).
//!
//! Must stay true: every record is in one match or one exception and in no two; the
//! order of the input decides nothing; the same input gives the same ids.

pub mod case;
mod exception;
mod journal;
mod pair;
mod reconcile;
mod record;
mod rules;
#[cfg(test)]
mod tests;

pub use exception::{CaseId, Difference, Exception, ExceptionKind, Hash, Trio};
pub use journal::{JournalSide, Read, Wanted};
pub use reconcile::{Carried, Input, Known, Outcome, Sum, Tally, reconcile};
pub use record::{Key, Record, Side, State};
pub use rules::{Owner, Rules, Tolerance};

use jiff::civil::Date;

/// Days between two dates, whichever comes first.
fn days_apart(one: Date, other: Date) -> u32 {
    (one - other).get_days().unsigned_abs()
}
