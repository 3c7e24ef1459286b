//! GB 32100: the unified social credit code of an organisation (18 characters).

use std::{fmt, str::FromStr};

use crate::model::BadId;

/// No I, O, S, V, Z: they look like digits or each other.
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

/// The code of an organisation; public, so it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnifiedCreditCode([u8; 18]);

impl UnifiedCreditCode {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only characters of the alphabet are kept")
    }
}

impl FromStr for UnifiedCreditCode {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = BadId {
            what: "unified_social_credit_code",
            expected: "18 characters with a check character (GB 32100)",
        };
        let code: [u8; 18] = text.as_bytes().try_into().map_err(|_| bad.clone())?;
        let code = code.map(|byte| byte.to_ascii_uppercase());
        // The first is the registering department, the second its category; six
        // digits of region follow.
        let region_is_digits = code[2..8].iter().all(u8::is_ascii_digit);
        match check_character(&code[..17]) {
            Some(check) if check == code[17] && region_is_digits => Ok(UnifiedCreditCode(code)),
            _ => Err(bad),
        }
    }
}

fn check_character(body: &[u8]) -> Option<u8> {
    let mut sum = 0;
    let mut weight = 1;
    for byte in body {
        sum += weight * ALPHABET.iter().position(|c| c == byte)?;
        weight = weight * 3 % 31;
    }
    Some(ALPHABET[(31 - sum % 31) % 31])
}

impl fmt::Display for UnifiedCreditCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for UnifiedCreditCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "91110000600037341L";

    #[test]
    fn codes_are_held_to_their_check_character() {
        assert_eq!(SAMPLE.parse::<UnifiedCreditCode>().map(|code| code.to_string()).as_deref(), Ok(SAMPLE));
        for text in
            ["", "91110000600037341M", "9111000060003734IL", "9111000060003734", "91１10000600037341L"]
        {
            assert!(text.parse::<UnifiedCreditCode>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_single_wrong_character_is_caught(at in 0usize..18, shift in 1usize..31) {
            let mut altered = SAMPLE.as_bytes().to_vec();
            let place = ALPHABET.iter().position(|c| *c == altered[at]).expect("of the alphabet");
            altered[at] = ALPHABET[(place + shift) % 31];
            let text = String::from_utf8(altered).expect("ASCII");
            prop_assert!(text.parse::<UnifiedCreditCode>().is_err());
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,20}") {
            let _ = text.parse::<UnifiedCreditCode>();
        }
    }
}
