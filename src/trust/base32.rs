//! Base32 of RFC 4648 in capitals, without padding: every character is in the
//! alphanumeric set of QR codes, which is smaller in print than base64 in bytes.

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Appends the text of `bytes` to `text`.
pub(super) fn encode(bytes: &[u8], text: &mut String) {
    for group in bytes.chunks(5) {
        let mut block = [0; 8];
        block[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(block);
        for place in 0..(group.len() * 8).div_ceil(5) {
            let digit = (bits >> (35 - 5 * place)) & 31;
            text.push(char::from(ALPHABET[digit as usize]));
        }
    }
}

/// The bytes of `text`; `None` unless it is exactly what [`encode`] makes of
/// them: a code has one form only.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    for group in text.as_bytes().chunks(8) {
        let mut bits = 0u64;
        for (place, digit) in group.iter().enumerate() {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'2'..=b'7' => digit - b'2' + 26,
                _ => return None,
            };
            bits |= u64::from(value) << (35 - 5 * place);
        }
        let whole = group.len() * 5 / 8;
        let block = bits.to_be_bytes();
        let left_over = block[3 + whole..].iter().any(|byte| *byte != 0);
        if left_over || (whole * 8).div_ceil(5) != group.len() {
            return None;
        }
        bytes.extend_from_slice(&block[3..3 + whole]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(bytes: &[u8], expect: &str) {
        let mut text = String::new();
        encode(bytes, &mut text);
        assert_eq!(text, expect);
        assert_eq!(decode(expect).as_deref(), Some(bytes));
    }

    #[test]
    fn it_is_the_base32_of_rfc_4648() {
        check(b"", "");
        check(b"f", "MY");
        check(b"fo", "MZXQ");
        check(b"foo", "MZXW6");
        check(b"foob", "MZXW6YQ");
        check(b"fooba", "MZXW6YTB");
        check(b"foobar", "MZXW6YTBOI");
    }

    proptest! {
        #[test]
        fn a_text_is_refused_or_the_only_form_of_its_bytes(text in "[A-Za-z2-9=]{0,20}") {
            if let Some(bytes) = decode(&text) {
                let mut again = String::new();
                encode(&bytes, &mut again);
                prop_assert_eq!(again, text);
            }
        }

        #[test]
        fn bytes_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut text = String::new();
            encode(&bytes, &mut text);
            prop_assert_eq!(decode(&text), Some(bytes));
        }
    }
}
