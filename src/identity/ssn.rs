//! AAC002: the social security number (社会保障号码), C..32.
//!
//! A number that begins with a digit is a citizen identification number by
//! GB 11643: 18 characters with a birth date and a check character. Any other is
//! the foreign form of GB/T 40217: a country or region in letters, then the
//! number of a document.
//!
//! The region in a citizen's number is where it was given, often decades ago.
//! Districts are abolished, numbers stay: only the province is looked at, and only
//! whether it is plausible (11 to 91).

use std::str::FromStr;

use crate::model::BadId;

use super::{BirthDate, Sex, secret::SecretAscii};

const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const CHECKS: &[u8; 11] = b"10X98765432";

/// Which rule a social security number breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSocialSecurityNumber {
    #[error("a social security number is 1 to 32 letters and digits")]
    NotWellFormed,
    #[error("a social security number that begins with a digit has 18 characters, all digits but the last")]
    NotEighteen,
    #[error("no province begins with these two digits")]
    NoSuchProvince,
    #[error("the birth date in the number is no day")]
    NoSuchDay,
    #[error("the check character does not fit")]
    CheckWrong,
    #[error("the foreign form is at least two letters of a country or region, then a document number")]
    NotForeignForm,
}

impl From<BadSocialSecurityNumber> for BadId {
    fn from(bad: BadSocialSecurityNumber) -> Self {
        let expected = match bad {
            BadSocialSecurityNumber::NotWellFormed => "1 to 32 letters and digits",
            BadSocialSecurityNumber::NotEighteen => "18 characters, all digits but the last",
            BadSocialSecurityNumber::NoSuchProvince => "a province (11 to 91) in the first two digits",
            BadSocialSecurityNumber::NoSuchDay => "a birth date in digits 7 to 14",
            BadSocialSecurityNumber::CheckWrong => "a check character by GB 11643",
            BadSocialSecurityNumber::NotForeignForm => {
                "a country or region in letters, then a document number"
            }
        };
        BadId { what: "social_security_number", expected }
    }
}

/// A social security number. `Debug` shows `***`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SocialSecurityNumber(SecretAscii<32>);

impl SocialSecurityNumber {
    /// The text, for what is sealed, matched or sent to a backend.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// Whether it is a citizen identification number.
    pub fn is_citizen(&self) -> bool {
        self.0.as_bytes()[0].is_ascii_digit()
    }

    /// The birth date, which only a citizen's number carries.
    pub fn born(&self) -> Option<BirthDate> {
        if self.is_citizen() { birth_date(self.0.as_bytes()) } else { None }
    }

    /// The sex, which only a citizen's number carries: odd is male.
    pub fn sex(&self) -> Option<Sex> {
        let odd = (self.0.as_bytes().get(16)? - b'0') % 2 == 1;
        if !self.is_citizen() {
            return None;
        }
        Some(if odd { Sex::Male } else { Sex::Female })
    }
}

impl FromStr for SocialSecurityNumber {
    type Err = BadSocialSecurityNumber;

    /// Lower-case letters are taken as capitals: terminals send `x` and `X`.
    fn from_str(text: &str) -> Result<Self, BadSocialSecurityNumber> {
        let bytes = text.as_bytes();
        let first = bytes.first().ok_or(BadSocialSecurityNumber::NotWellFormed)?;
        if !bytes.iter().all(u8::is_ascii_alphanumeric) {
            return Err(BadSocialSecurityNumber::NotWellFormed);
        }
        let number = SecretAscii::collect(bytes.iter().map(u8::to_ascii_uppercase))
            .ok_or(BadSocialSecurityNumber::NotWellFormed)?;
        if first.is_ascii_digit() {
            check_citizen(number.as_bytes())?;
        } else if bytes.len() < 5 || !bytes[1].is_ascii_alphabetic() {
            return Err(BadSocialSecurityNumber::NotForeignForm);
        }
        Ok(SocialSecurityNumber(number))
    }
}

fn check_citizen(number: &[u8]) -> Result<(), BadSocialSecurityNumber> {
    let (body, last) = match number {
        [body @ .., last] if body.len() == 17 && body.iter().all(u8::is_ascii_digit) => (body, *last),
        _ => return Err(BadSocialSecurityNumber::NotEighteen),
    };
    if !last.is_ascii_digit() && last != b'X' {
        return Err(BadSocialSecurityNumber::NotEighteen);
    }
    if !(11..=91).contains(&digits(&body[..2])) {
        return Err(BadSocialSecurityNumber::NoSuchProvince);
    }
    if birth_date(body).is_none() {
        return Err(BadSocialSecurityNumber::NoSuchDay);
    }
    if check_character(body) != last {
        return Err(BadSocialSecurityNumber::CheckWrong);
    }
    Ok(())
}

/// The check character of the first 17 digits, by ISO 7064 MOD 11-2.
fn check_character(body: &[u8]) -> u8 {
    let sum: u32 = body.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    CHECKS[(sum % 11) as usize]
}

fn birth_date(number: &[u8]) -> Option<BirthDate> {
    BirthDate::from_yyyymmdd(digits(&number[6..14])).ok()
}

fn digits(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expect: Result<(), BadSocialSecurityNumber>) {
        assert_eq!(text.parse::<SocialSecurityNumber>().map(|_| ()), expect, "{text}");
    }

    #[test]
    fn numbers_are_held_to_their_rules() {
        use BadSocialSecurityNumber as Bad;
        check("111111198101011110", Ok(()));
        check("130105199001011236", Ok(()));
        check("11010519491231002X", Ok(()));
        check("11010519491231002x", Ok(()));
        check("130105199001011237", Err(Bad::CheckWrong));
        check("130105 19900101123", Err(Bad::NotWellFormed));
        check("130105199001011", Err(Bad::NotEighteen));
        check("13010519900101123A", Err(Bad::NotEighteen));
        check("1301051990010112366", Err(Bad::NotEighteen));
        check("130105199002301236", Err(Bad::NoSuchDay));
        check("100105199001011236", Err(Bad::NoSuchProvince));
        check("990105199001011236", Err(Bad::NoSuchProvince));
        check("USA0P12345678", Ok(()));
        check("usa0p12345678", Ok(()));
        check("U12345", Err(Bad::NotForeignForm));
        check("USA", Err(Bad::NotForeignForm));
        check("USA0P-1234", Err(Bad::NotWellFormed));
        check("", Err(Bad::NotWellFormed));
        check("１１１１１１１９８１０１０１１１１０", Err(Bad::NotWellFormed));
        check(&"A".repeat(32), Ok(()));
        check(&"A".repeat(33), Err(Bad::NotWellFormed));
    }

    #[test]
    fn a_number_of_an_abolished_district_stays_valid() {
        // Chongwen, 110103, was abolished in 2010.
        let body = b"11010319700101002";
        let number =
            format!("{}{}", std::str::from_utf8(body).expect("ASCII"), check_character(body) as char);
        check(&number, Ok(()));
    }

    #[test]
    fn birth_date_and_sex_are_read_from_a_citizens_number_only() {
        let citizen: SocialSecurityNumber = "11010519491231002x".parse().expect("valid");
        assert_eq!(citizen.reveal(), "11010519491231002X");
        assert_eq!(citizen.born().map(|born| born.yyyymmdd()), Some(19_491_231));
        assert_eq!(citizen.sex(), Some(Sex::Female));
        let foreign: SocialSecurityNumber = "USA0P123456789012345".parse().expect("valid");
        assert_eq!((foreign.born(), foreign.sex()), (None, None));
    }

    #[test]
    fn a_number_is_never_shown() {
        let number: SocialSecurityNumber = "111111198101011110".parse().expect("valid");
        assert!(!format!("{number:?}").contains("1111"));
    }

    proptest! {
        #[test]
        fn any_single_wrong_digit_is_caught(
            area in 110_000u32..659_999, day in 1u32..=28, serial in 0u32..1000, at in 0usize..18, shift in 1u8..10,
        ) {
            let body = format!("{area:06}199001{day:02}{serial:03}");
            let mut number = body.clone().into_bytes();
            number.push(check_character(body.as_bytes()));
            let text = String::from_utf8(number.clone()).expect("ASCII");
            let read: SocialSecurityNumber = text.parse().expect("a right check character");
            prop_assert_eq!(read.reveal(), &text);
            let digit = if number[at] == b'X' { 0 } else { number[at] - b'0' };
            number[at] = b'0' + (digit + shift) % 10;
            let altered = String::from_utf8(number).expect("ASCII");
            prop_assume!(altered != text);
            prop_assert!(altered.parse::<SocialSecurityNumber>().is_err());
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}", ascii in "[0-9A-Za-z]{0,34}") {
            for text in [text, ascii] {
                if let Ok(number) = text.parse::<SocialSecurityNumber>() {
                    let _ = (number.born(), number.sex());
                    prop_assert_eq!(number.reveal().parse(), Ok(number.clone()));
                }
            }
        }
    }
}
