//! Dates of SIP2: `YYYYMMDD`, a zone of four characters, `HHMMSS`. Blanks mean
//! local time, which for this product is Asia/Shanghai: eight hours ahead of UTC,
//! without summer time since 1991.

use jiff::{Timestamp, civil, tz};

use crate::model::Millis;

/// The zone of every business date.
fn shanghai() -> tz::TimeZone {
    tz::TimeZone::fixed(tz::offset(8))
}

/// An instant as 18 characters of local time; 18 blanks for 0.
pub fn write(at_ms: Millis) -> String {
    if at_ms == 0 {
        return " ".repeat(18);
    }
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(shanghai()).strftime("%Y%m%d    %H%M%S").to_string()
}

/// A date as servers write it: the 18 characters, or ISO-like `2026-12-22`,
/// `2026-12-22 23:59:59`, `2026/12/22`, `20261222`. A date without time ends with
/// its day. 0 when it cannot be read: a due date is shown, never computed with.
pub fn read(text: &str) -> Millis {
    let text = text.trim_end();
    sip(text).or_else(|| free_form(text)).unwrap_or(0)
}

/// `YYYYMMDDZZZZHHMMSS`; zone blanks are local, `Z` or `UTC` is UTC.
fn sip(text: &str) -> Option<Millis> {
    if text.len() != 18 || !text.is_ascii() {
        return None;
    }
    let zone = match text[8..12].trim() {
        "Z" | "UTC" | "GMT" => tz::TimeZone::UTC,
        _ => shanghai(),
    };
    at(&text[..8], &text[12..], zone)
}

fn free_form(text: &str) -> Option<Millis> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let plain = text.chars().all(|c| c.is_ascii_digit() || "-/: T.".contains(c));
    match digits.len() {
        8 if plain => at(&digits, "235959", shanghai()),
        12 if plain => at(&digits[..8], &format!("{}00", &digits[8..]), shanghai()),
        14 if plain => at(&digits[..8], &digits[8..], shanghai()),
        _ => None,
    }
}

fn at(day: &str, time: &str, zone: tz::TimeZone) -> Option<Millis> {
    let number = |text: &str| text.parse::<i16>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let small = |text: &str| number(text).and_then(|n| i8::try_from(n).ok());
    let date =
        civil::Date::new(number(day.get(..4)?)?, small(day.get(4..6)?)?, small(day.get(6..8)?)?).ok()?;
    let time =
        civil::Time::new(small(time.get(..2)?)?, small(time.get(2..4)?)?, small(time.get(4..6)?)?, 0).ok()?;
    let zoned = date.to_datetime(time).to_zoned(zone).ok()?;
    Some(zoned.timestamp().as_millisecond())
}
