//! AAC058 and AAE135: the kind and the number of an identity document.

use std::str::FromStr;

use crate::model::BadId;

use super::{SocialSecurityNumber, secret::SecretAscii};

/// AAC058: the kinds of document; `config/codes/documents.toml` has their texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DocumentKind {
    ResidentIdentityCard,
    MilitaryOfficer,
    ArmedPolice,
    HongKong,
    Macao,
    Taiwan,
    ForeignPermanentResident,
    ForeignPassport,
}

impl DocumentKind {
    pub const ALL: &'static [DocumentKind] = &[
        DocumentKind::ResidentIdentityCard,
        DocumentKind::MilitaryOfficer,
        DocumentKind::ArmedPolice,
        DocumentKind::HongKong,
        DocumentKind::Macao,
        DocumentKind::Taiwan,
        DocumentKind::ForeignPermanentResident,
        DocumentKind::ForeignPassport,
    ];

    /// The code as the sector writes it.
    pub const fn code(self) -> &'static str {
        match self {
            DocumentKind::ResidentIdentityCard => "01",
            DocumentKind::MilitaryOfficer => "02",
            DocumentKind::ArmedPolice => "03",
            DocumentKind::HongKong => "04",
            DocumentKind::Macao => "05",
            DocumentKind::Taiwan => "06",
            DocumentKind::ForeignPermanentResident => "07",
            DocumentKind::ForeignPassport => "08",
        }
    }
}

impl FromStr for DocumentKind {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.code() == text)
            .ok_or(BadId { what: "document_kind", expected: "a code from 01 to 08 (AAC058)" })
    }
}

/// AAE135: the number on a document of some kind. `Debug` shows `***`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DocumentNumber {
    kind: DocumentKind,
    number: SecretAscii<32>,
}

impl DocumentNumber {
    /// Reads the number of a document of `kind`. Lower-case letters are taken as
    /// capitals. The number of a resident identity card must be a citizen's number
    /// with its check character; of the others only the form is looked at: 3 to 32
    /// letters, digits, `-`, `(` and `)`.
    ///
    /// # Errors
    /// When it is not.
    pub fn parse(kind: DocumentKind, text: &str) -> Result<Self, BadId> {
        let bad = BadId { what: "document_number", expected: "3 to 32 letters and digits" };
        if kind == DocumentKind::ResidentIdentityCard {
            let citizen = text.parse::<SocialSecurityNumber>().is_ok_and(|number| number.is_citizen());
            if !citizen {
                let expected = "18 characters with a birth date and a check character (GB 11643)";
                return Err(BadId { what: "document_number", expected });
            }
        }
        let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-()".contains(&byte));
        if text.len() < 3 || !fits {
            return Err(bad);
        }
        let number = SecretAscii::collect(text.bytes().map(|byte| byte.to_ascii_uppercase())).ok_or(bad)?;
        Ok(DocumentNumber { kind, number })
    }

    pub const fn kind(&self) -> DocumentKind {
        self.kind
    }

    /// The text, for what is sealed, hashed under a key, or sent to a backend.
    pub fn reveal(&self) -> &str {
        self.number.reveal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::CodeTables;
    use proptest::prelude::*;

    #[track_caller]
    fn check(kind: DocumentKind, text: &str, expect: Option<&str>) {
        let read = DocumentNumber::parse(kind, text);
        assert_eq!(read.as_ref().ok().map(DocumentNumber::reveal), expect, "{text}");
    }

    #[test]
    fn the_kinds_are_those_of_the_table() {
        let table: Vec<&str> = CodeTables::embedded().documents().rows().map(|(code, _)| code).collect();
        let codes: Vec<&str> = DocumentKind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes, table);
        assert!("00".parse::<DocumentKind>().is_err());
        assert!("1".parse::<DocumentKind>().is_err());
    }

    #[test]
    fn numbers_are_held_to_the_rules_of_their_kind() {
        use DocumentKind as Kind;
        check(Kind::ResidentIdentityCard, "130105199001011236", Some("130105199001011236"));
        check(Kind::ResidentIdentityCard, "11010519491231002x", Some("11010519491231002X"));
        check(Kind::ResidentIdentityCard, "130105199001011237", None);
        check(Kind::ResidentIdentityCard, "USA0P12345678", None);
        check(Kind::ForeignPassport, "e12345678", Some("E12345678"));
        check(Kind::HongKong, "H1234567(8)", Some("H1234567(8)"));
        check(Kind::ForeignPassport, "E1 345", None);
        check(Kind::ForeignPassport, "", None);
        check(Kind::ForeignPassport, &"A".repeat(33), None);
        check(Kind::ForeignPassport, "护照", None);
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_nothing_is_shown(text in "\\PC{0,40}", at in 0usize..8) {
            if let Ok(number) = DocumentNumber::parse(DocumentKind::ALL[at], &text) {
                let shown = format!("{number:?}");
                prop_assert!(!shown.contains(number.reveal()), "{}", shown);
            }
        }
    }
}
