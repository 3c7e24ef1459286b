//! AAC005: ethnicity by GB/T 3304.

use std::fmt;

use crate::model::BadId;

use super::CodeTable;

/// A two-digit code that stands in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ethnicity(u8);

impl Ethnicity {
    /// Reads a code against `ethnicities` (see [`super::CodeTables::ethnicity`]).
    ///
    /// # Errors
    /// When the table has no such code.
    pub fn parse(text: &str, ethnicities: &CodeTable) -> Result<Self, BadId> {
        let bad = BadId { what: "ethnicity", expected: "a two-digit code of GB/T 3304, for example 01" };
        if text.len() != 2 || !ethnicities.contains(text) {
            return Err(bad);
        }
        text.parse().map(Ethnicity).map_err(|_| bad)
    }
}

/// The two-digit code.
impl fmt::Display for Ethnicity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::CodeTables;

    #[test]
    fn only_codes_of_the_table_are_taken() {
        let table = CodeTables::embedded().ethnicity();
        for (code, _) in table.rows() {
            assert_eq!(Ethnicity::parse(code, table).map(|read| read.to_string()).as_deref(), Ok(code));
        }
        for text in ["", "1", "001", "57", "96", "汉", "+1"] {
            assert!(Ethnicity::parse(text, table).is_err(), "{text}");
        }
    }
}
