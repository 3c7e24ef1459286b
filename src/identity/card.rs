//! AAZ501, the card identifier (卡识别码) by which a card is keyed, and AAZ500,
//! the number printed on it (卡号), which is not unique across the country.

use std::{fmt, str::FromStr};

use crate::model::BadId;

use super::{RegionCode, secret::SecretAscii};

/// AAZ501: 16 bytes, of which the first three are the issuing region in packed
/// decimal digits. `Debug` shows the region only; there is no `Display`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CardIdentifier([u8; 16]);

impl CardIdentifier {
    const BAD: BadId = BadId {
        what: "card_identifier",
        expected: "32 hexadecimal digits (16 bytes) that begin with a region",
    };

    /// # Errors
    /// When the first three bytes are no region.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, BadId> {
        match RegionCode::from_bcd([bytes[0], bytes[1], bytes[2]]) {
            Ok(_) => Ok(CardIdentifier(bytes)),
            Err(_) => Err(Self::BAD),
        }
    }

    /// # Errors
    /// When it is not 16 bytes that begin with a region.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, BadId> {
        Self::from_bytes(bytes.try_into().map_err(|_| Self::BAD)?)
    }

    /// The key of the card's file.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The issuing region; its province is the card's home.
    pub fn region(&self) -> RegionCode {
        RegionCode::from_bcd([self.0[0], self.0[1], self.0[2]])
            .expect("an identifier is built only from bytes that begin with a region")
    }

    /// The full identifier as 32 capital hexadecimal digits, for the wire and for
    /// sealed data.
    pub fn reveal_hex(&self) -> String {
        hex::encode_upper(self.0)
    }
}

impl FromStr for CardIdentifier {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| Self::BAD)?;
        Self::from_bytes(bytes)
    }
}

impl fmt::Debug for CardIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.region())
    }
}

/// The check digit of a card number does not fit. Numbers in the field are known
/// that break the rule, so this is for a log and a hint, never a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the check digit of the card number does not fit")]
pub struct CheckDigitWarning;

/// AAZ500: nine capital letters and digits. `Debug` shows `***`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CardNumber(SecretAscii<9>);

impl CardNumber {
    /// Reads a card number; lower-case letters are taken as capitals. The check
    /// digit (weights of GB 11714) is looked at and warned of, never refused.
    ///
    /// # Errors
    /// When it is not nine letters and digits.
    pub fn parse(text: &str) -> Result<(Self, Option<CheckDigitWarning>), BadId> {
        let bad = BadId { what: "card_number", expected: "9 letters and digits" };
        if text.len() != 9 || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(bad);
        }
        let number = SecretAscii::collect(text.bytes().map(|byte| byte.to_ascii_uppercase())).ok_or(bad)?;
        let fits = check_digit(&number.as_bytes()[..8]) == number.as_bytes()[8];
        Ok((CardNumber(number), if fits { None } else { Some(CheckDigitWarning) }))
    }

    /// The check digit that belongs to eight letters and digits: `None` when
    /// `serial` is anything else. For whoever makes sample cards.
    pub fn check_digit_of(serial: &str) -> Option<char> {
        let fits = serial.len() == 8
            && serial.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        if fits { Some(char::from(check_digit(serial.as_bytes()))) } else { None }
    }

    /// The text, for what is sealed, matched or sent to a backend.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

/// 11 less the weighted sum modulo 11, where 10 is written X and 11 is written 0.
fn check_digit(serial: &[u8]) -> u8 {
    const WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];
    let value = |byte: u8| u32::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' + 10 });
    let sum: u32 = serial.iter().zip(WEIGHTS).map(|(byte, weight)| value(*byte) * weight).sum();
    match 11 - sum % 11 {
        10 => b'X',
        11 => b'0',
        digit => b'0' + digit as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "639900D15600000500BF7C7A48FB4966";

    #[test]
    fn an_identifier_tells_its_region_and_shows_no_more() {
        let card: CardIdentifier = SAMPLE.parse().expect("the standard's own example");
        assert_eq!(card.region().code(), 639_900);
        assert_eq!(card.reveal_hex(), SAMPLE);
        assert_eq!(format!("{card:?}"), "639900…");
        assert_eq!(SAMPLE.to_lowercase().parse(), Ok(card));
    }

    #[test]
    fn what_is_no_identifier_is_refused() {
        let long = format!("{SAMPLE}00");
        for text in [
            "",
            "639900",
            &SAMPLE[1..],
            &long,
            "FFFF00D15600000500BF7C7A48FB4966",
            "ZZ9900D15600000500BF7C7A48FB4966",
        ] {
            assert!(text.parse::<CardIdentifier>().is_err(), "{text}");
        }
        assert!(CardIdentifier::from_slice(&[0x11; 15]).is_err());
        assert!(CardIdentifier::from_slice(&[]).is_err());
    }

    #[test]
    fn a_card_number_with_a_wrong_check_digit_is_taken_with_a_warning() {
        let check = |text: &str, warning: Option<CheckDigitWarning>| {
            let (number, warned) = CardNumber::parse(text).expect(text);
            assert_eq!((number.reveal(), warned), (text.to_ascii_uppercase().as_str(), warning));
            assert!(!format!("{number:?}").contains(text));
        };
        check("X00000019", None);
        check("x00000019", None);
        check("X00000018", Some(CheckDigitWarning));
        check("AB1234567", Some(CheckDigitWarning));
        for text in ["", "X0000001", "X000000199", "X0000 019", "Ｘ0000001"] {
            assert!(CardNumber::parse(text).is_err(), "{text}");
        }
        assert_eq!(CardNumber::check_digit_of("X0000001"), Some('9'));
        assert_eq!(CardNumber::check_digit_of("X000001"), None);
    }

    proptest! {
        #[test]
        fn an_identifier_round_trips(bytes in any::<[u8; 16]>(), region in 110_000u32..=139_999) {
            let mut bytes = bytes;
            let _ = CardIdentifier::from_bytes(bytes);
            let region = RegionCode::from_code(region).expect("three regions");
            bytes[..3].copy_from_slice(&region.to_bcd());
            let card = CardIdentifier::from_bytes(bytes).expect("begins with a region");
            prop_assert_eq!(card.region(), region);
            prop_assert_eq!(card.reveal_hex().parse(), Ok(card));
        }

        #[test]
        fn a_single_wrong_digit_in_a_card_number_is_warned_of(
            serial in "[0-9A-Z]{8}", at in 0usize..8, digit in 0u8..10, shift in 1u8..10,
        ) {
            let mut serial = serial.into_bytes();
            serial[at] = b'0' + digit;
            let right = String::from_utf8(serial.clone()).expect("ASCII");
            let check = CardNumber::check_digit_of(&right).expect("eight characters");
            prop_assert_eq!(CardNumber::parse(&format!("{right}{check}")).expect("nine").1, None);
            serial[at] = b'0' + (digit + shift) % 10;
            let wrong = String::from_utf8(serial).expect("ASCII");
            let warned = CardNumber::parse(&format!("{wrong}{check}")).expect("nine").1;
            prop_assert_eq!(warned, Some(CheckDigitWarning));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = text.parse::<CardIdentifier>();
            let _ = CardNumber::parse(&text);
            let _ = CardIdentifier::from_slice(&bytes);
        }
    }
}
