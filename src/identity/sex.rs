//! AAC004: sex by GB/T 2261.1.

use std::str::FromStr;

use crate::model::BadId;

/// The four codes of the standard; `config/codes/sex.toml` has their texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sex {
    Unknown,
    Male,
    Female,
    NotStated,
}

impl Sex {
    pub const ALL: &'static [Sex] = &[Sex::Unknown, Sex::Male, Sex::Female, Sex::NotStated];

    /// The code as the sector writes it.
    pub const fn code(self) -> &'static str {
        match self {
            Sex::Unknown => "0",
            Sex::Male => "1",
            Sex::Female => "2",
            Sex::NotStated => "9",
        }
    }
}

impl FromStr for Sex {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::ALL
            .iter()
            .copied()
            .find(|sex| sex.code() == text)
            .ok_or(BadId { what: "sex", expected: "0, 1, 2 or 9 (GB/T 2261.1)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::CodeTables;

    #[test]
    fn the_codes_are_those_of_the_table() {
        let table: Vec<&str> = CodeTables::embedded().sex().rows().map(|(code, _)| code).collect();
        let codes: Vec<&str> = Sex::ALL.iter().map(|sex| sex.code()).collect();
        assert_eq!(codes, table);
        for sex in Sex::ALL {
            assert_eq!(sex.code().parse(), Ok(*sex));
        }
        for text in ["", "3", "01", "男"] {
            assert!(text.parse::<Sex>().is_err(), "{text}");
        }
    }
}
