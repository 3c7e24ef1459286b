//! Decimals of the wire, exact: an amount has two places, a price six, a count and
//! a ratio four. Numbers and texts are both read.

use serde_json::{Number, Value};

/// Ten thousandths: counts and ratios.
pub(super) const COUNT_PLACES: u32 = 4;
/// Millionths of a yuan: unit prices.
pub(super) const PRICE_PLACES: u32 = 6;
/// Fen.
pub(super) const MONEY_PLACES: u32 = 2;

/// Reads a decimal with at most `places` places, as an integer of its last place.
pub(super) fn read(value: &Value, places: u32) -> Option<i64> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.as_str()),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let part = part.trim_end_matches('0');
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) {
        return None;
    }
    let missing = places.checked_sub(u32::try_from(part.len()).ok()?)?;
    let all: i64 = format!("{whole}{part}").parse().ok()?;
    all.checked_mul(10_i64.checked_pow(missing)?)?.checked_mul(sign)
}

/// An amount of fen as the wire has it: a number with at most two places.
pub(super) fn money(fen: i64) -> Value {
    // Below 2^53 fen a double holds the shortest form of the amount exactly.
    #[allow(clippy::cast_precision_loss)]
    Number::from_f64(fen as f64 / 100.0).map_or(Value::Null, Value::Number)
}

/// A ratio of ten thousandths.
pub(super) fn ratio(ten_thousandths: i64) -> Value {
    #[allow(clippy::cast_precision_loss)]
    Number::from_f64(ten_thousandths as f64 / 10_000.0).map_or(Value::Null, Value::Number)
}

/// `amount` of which `part` of `whole` is taken, rounded half away from zero, once.
pub(super) fn share(amount: i64, part: i64, whole: i64) -> i64 {
    round(i128::from(amount) * i128::from(part), i128::from(whole))
}

/// What `count` (ten thousandths) cost at `price` (millionths of a yuan), fen.
pub(super) fn cost(count: i64, price: i64) -> i64 {
    round(i128::from(count) * i128::from(price), 100_000_000)
}

fn round(product: i128, by: i128) -> i64 {
    let up = i128::from(product.abs() % by * 2 >= by) * product.signum();
    i64::try_from(product / by + up).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        for (value, places, expect) in [
            (json!("12.30"), 2, Some(1_230)),
            (json!(12.3), 2, Some(1_230)),
            (json!(-0.05), 2, Some(-5)),
            (json!("3.141593"), 6, Some(3_141_593)),
            (json!(7), 4, Some(70_000)),
            (json!("1.234"), 2, None),
            (json!("1.2300"), 2, Some(123)),
            (json!("1e3"), 2, None),
            (json!(""), 2, None),
            (json!(null), 2, None),
        ] {
            assert_eq!(read(&value, places), expect, "{value} with {places} places");
        }
    }

    #[test]
    fn a_price_times_a_count_is_rounded_half_up_once() {
        assert_eq!(cost(30_000, 3_335_000), 1_001, "3 × 3.335 yuan");
        assert_eq!(cost(10_000, 5_000), 1, "half a fen goes up");
        assert_eq!(cost(10_000, 4_999), 0);
    }
}
