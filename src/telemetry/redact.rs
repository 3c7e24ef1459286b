//! The last line of defence of the logs: masks what looks like a card or a
//! document number, and the values of fields that should not have been logged at
//! all. The first line is that types which carry such data do not show it.

/// Fields whose values are never shown, whatever they hold.
const SECRET_FIELDS: &[&str] = &[
    "name",
    "holder_name",
    "full_name",
    "id_number",
    "document_number",
    "social_security_number",
    "card_number",
    "card_id",
    "phone",
    "address",
    "ecard_code",
    "mac",
    "private_key",
    "secret",
    "password",
    "session",
];

/// A field whose 32 hexadecimal digits are a trace's, not a card's.
const TRACE_FIELD: &str = "trace_id";

/// Digits in a row that no number of ours has, and document and card numbers do
/// (15 or 18).
const DIGITS_MIN: usize = 15;

/// Hexadecimal digits of a card identifier.
const CARD_ID_DIGITS: usize = 32;

const MASK: &str = "[masked]";

/// The line as it may be written: values of `SECRET_FIELDS` in JSON, runs of 15
/// and more digits (with a check letter), and 32-digit hexadecimal words are
/// replaced by `[masked]`.
pub fn mask(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let before = &line[..line.len() - rest.len()];
        if let Some((head, value, tail)) = secret_field(rest) {
            masked.push_str(head);
            masked.push_str(if value.starts_with('"') { "\"[masked]\"" } else { MASK });
            rest = tail;
        } else if first.is_ascii_alphanumeric() {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let is_trace = before.trim_end_matches(['"', ':', '=', ' ']).ends_with(TRACE_FIELD);
            mask_word(&rest[..end], is_trace, &mut masked);
            rest = &rest[end..];
        } else {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    masked
}

/// If a secret field begins here (`"field":value` or `field=value`): up to its
/// value, the value, and the rest.
fn secret_field(text: &str) -> Option<(&str, &str, &str)> {
    let value = match text.strip_prefix('"') {
        Some(quoted) => after_field(quoted, "\":")?.trim_start(),
        None => after_field(text, "=")?,
    };
    let head = &text[..text.len() - value.len()];
    let end = match value.strip_prefix('"') {
        Some(string) => 1 + end_of_string(string)?,
        None => value.find([',', '}', ' ', '\n']).unwrap_or(value.len()),
    };
    Some((head, &value[..end], &value[end..]))
}

/// What follows a secret field's name and `separator`.
fn after_field<'a>(text: &'a str, separator: &str) -> Option<&'a str> {
    SECRET_FIELDS.iter().find_map(|field| text.strip_prefix(field)?.strip_prefix(separator))
}

/// Bytes up to and with the closing quote of a JSON string.
fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn mask_word(word: &str, is_trace: bool, masked: &mut String) {
    let hexadecimal = word.bytes().all(|b| b.is_ascii_hexdigit());
    if word.len() == CARD_ID_DIGITS && hexadecimal && !is_trace {
        masked.push_str(MASK);
        return;
    }
    // Hashes and signatures: longer than any number of a person, and hexadecimal
    // with letters; a run of digits in them is chance.
    let is_digest =
        hexadecimal && word.len() >= CARD_ID_DIGITS && word.bytes().any(|b| b.is_ascii_alphabetic());
    if is_digest {
        masked.push_str(word);
        return;
    }
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits >= DIGITS_MIN {
            masked.push_str(MASK);
            rest = rest[digits..].trim_start_matches(['X', 'x']);
        } else {
            let end = (digits + 1).min(rest.len());
            masked.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(line: &str, expect: &str) {
        assert_eq!(mask(line), expect, "{line}");
    }

    #[test]
    fn numbers_of_people_and_cards_are_masked() {
        check("id 110101199001011237 seen", "id [masked] seen");
        check("id 11010119900101123X", "id [masked]");
        check("id 11010119900101123x.", "id [masked].");
        check("old 110101900101123", "old [masked]");
        check("card110101199001011237x", "card[masked]");
        check("卡号110101199001011237已挂失", "卡号[masked]已挂失");
        check("card 0123456789abcdef0123456789ABCDEF", "card [masked]");
        check("6217001234567890123", "[masked]");
    }

    #[test]
    fn what_operators_need_stays() {
        for line in [
            "2026-11-22T11:58:03.123456Z",
            "110000-000-0192a3b4c5d6-9f8e7d6c5b4a",
            "67e55044-10b1-426f-9247-bb680e5fe0c8",
            "committed_at 1790000000000",
            "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\"",
            "trace_id=4bf92f3577b34da6a3ce929d0e0e4736",
            "hash e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            check(line, line);
        }
    }

    #[test]
    fn only_the_word_after_the_trace_field_is_excepted() {
        check(
            "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 x=4bf92f3577b34da6a3ce929d0e0e4736",
            "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 x=[masked]",
        );
    }

    #[test]
    fn fields_that_should_not_be_logged_show_no_value() {
        check(r#"{"name":"张三","at":1}"#, r#"{"name":"[masked]","at":1}"#);
        check(r#"{"name":"a\"b","x":"y"}"#, r#"{"name":"[masked]","x":"y"}"#);
        check(r#"{"card_number": 12345,"x":1}"#, r#"{"card_number": [masked],"x":1}"#);
        check("WARN name=\"张三\" at=1", "WARN name=\"[masked]\" at=1");
        check("WARN card_number=12345 at=1", "WARN card_number=[masked] at=1");
        check(r#"{"participant":"bj-metro"}"#, r#"{"participant":"bj-metro"}"#);
    }

    proptest! {
        #[test]
        fn no_document_number_comes_through(before in "[^0-9]{0,20}", number in "[1-9][0-9]{16}[0-9X]", after in "[^0-9X]{0,20}") {
            let line = format!("{before}{number}{after}");
            prop_assert!(!mask(&line).contains(&number[..15]), "{}", line);
        }

        #[test]
        fn masking_never_panics_and_is_stable(line in "\\PC{0,120}") {
            let once = mask(&line);
            prop_assert_eq!(mask(&once), once);
        }
    }
}
