//! Fields of a line: text in, value or what would be right out.

use std::sync::Arc;

use jiff::civil::{Date, DateTime};

use super::{AmountUnit, Format};
use crate::{
    config::Text,
    identity::business_day_start_ms,
    ledger::{Account, matching::State},
    model::{Fen, Millis, RequestId, Scene, TerminalId, TransactionId},
};

/// Characters of a reference that is not a request id.
const REFERENCE_CHARACTERS_MAX: usize = 64;

/// What would be right.
pub(super) type Right = Text;

fn right<T>(zh: impl Into<String>, en: impl Into<String>) -> Result<T, Right> {
    Err(Text::new(zh, en))
}

pub(super) fn transaction(text: &str) -> Result<TransactionId, Right> {
    text.parse().or_else(|_| {
        right(
            "应为网关交易号，例如 110000-000-0192a3b4c5d6-9f8e7d6c5b4a",
            "give the gateway's id, for example 110000-000-0192a3b4c5d6-9f8e7d6c5b4a",
        )
    })
}

/// A request id in its one written form; anything else as it stands.
pub(super) fn reference(text: &str) -> Result<Arc<str>, Right> {
    if let Ok(request) = text.parse::<RequestId>() {
        return Ok(request.to_string().into());
    }
    if text.chars().count() > REFERENCE_CHARACTERS_MAX || text.chars().any(char::is_whitespace) {
        return right(
            format!("应为请求编号，或至多 {REFERENCE_CHARACTERS_MAX} 个字符、不含空格的流水号"),
            format!(
                "give the request id, or a reference of at most {REFERENCE_CHARACTERS_MAX} characters without blanks"
            ),
        );
    }
    Ok(text.into())
}

pub(super) fn amount(text: &str, unit: AmountUnit) -> Result<Fen, Right> {
    let read = match unit {
        AmountUnit::Yuan => yuan(text),
        AmountUnit::Fen => digits(text),
    };
    match (read, unit) {
        (Some(fen), _) => Ok(Fen::new(fen)),
        (None, AmountUnit::Yuan) => right(
            "应为元，至多两位小数，例如 12.34",
            "give yuan with at most two decimals, for example 12.34",
        ),
        (None, AmountUnit::Fen) => right("应为整数分，例如 1234", "give whole fen, for example 1234"),
    }
}

fn yuan(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "00"));
    let part = match part.len() {
        1 => digits(part)? * 10,
        2 => digits(part)?,
        _ => return None,
    };
    let whole_fen = digits(whole)?.checked_mul(100)?;
    if part < 0 {
        return None;
    }
    if whole.starts_with('-') { whole_fen.checked_sub(part) } else { whole_fen.checked_add(part) }
}

/// A whole number of at most fifteen digits, perhaps with a minus.
fn digits(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

pub(super) fn date(text: &str, form: &str) -> Result<Date, Right> {
    Date::strptime(form, text)
        .or_else(|_| right(format!("应为 {form} 形式的日期"), format!("give a day in the form {form}")))
}

/// Date and time at the terminal; the gateway's time zone is Asia/Shanghai.
pub(super) fn time(text: &str, form: &str) -> Result<(Date, Millis), Right> {
    let Ok(at) = DateTime::strptime(form, text) else {
        return right(
            format!("应为 {form} 形式的北京时间"),
            format!("give date and time of Asia/Shanghai in the form {form}"),
        );
    };
    let clock = at.time();
    let seconds =
        i64::from(clock.hour()) * 3_600 + i64::from(clock.minute()) * 60 + i64::from(clock.second());
    Ok((at.date(), business_day_start_ms(at.date()) + seconds * 1_000 + i64::from(clock.millisecond())))
}

pub(super) fn status(text: &str, format: &Format) -> Result<State, Right> {
    let known = format.status.get(text).copied();
    known.map_or_else(
        || {
            let words: Vec<&str> = format.status.keys().map(String::as_str).collect();
            let words = words.join(", ");
            right(format!("应为 {words} 之一"), format!("give one of {words}"))
        },
        Ok,
    )
}

pub(super) fn terminal(text: &str) -> Result<Arc<str>, Right> {
    match text.parse::<TerminalId>() {
        Ok(terminal) => Ok(terminal.as_str().into()),
        Err(_) => right(
            "应为登记的终端号，小写字母、数字和 - _ .",
            "give the terminal as it is registered: a-z, 0-9, '-', '_', '.'",
        ),
    }
}

pub(super) fn scene(text: &str) -> Result<Scene, Right> {
    Scene::from_name(text)
        .map_or_else(|| right("应为场景名，例如 transit", "give a scene, for example transit"), Ok)
}

pub(super) fn kind(text: &str) -> Result<Arc<str>, Right> {
    let word = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if word {
        Ok(text.into())
    } else {
        right("应为方法名，例如 Tap", "give a method, for example Tap")
    }
}

pub(super) fn account(text: &str) -> Result<Arc<str>, Right> {
    match text.parse::<Account>() {
        Ok(account) => Ok(account.to_string().into()),
        Err(_) => right(
            "应为账户，例如 participant/bj-metro/fares",
            "give an account, for example participant/bj-metro/fares",
        ),
    }
}
