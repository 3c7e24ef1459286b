//! Files of a day's movements, as participants and banks send them: CSV whose
//! header, encoding, unit of amounts and form of times are declared in data.
//!
//! What does not live here: reading files from a disk (`cli`), what is compared
//! (`ledger/matching`). Bytes come in, records or everything that is wrong go out.
//!
//! Must stay true: a file with one bad line gives no record at all; a complaint
//! names line and field and never repeats a value, which may be about a person.

mod field;
mod format;
mod parse;
#[cfg(test)]
mod tests;

pub use format::{AmountUnit, Columns, Encoding, Format};
pub use parse::{BadFile, BadLine, parse};
