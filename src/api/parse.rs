//! Wire fields to domain types. Every field is looked at, so that the caller
//! learns of all that is wrong at once.

use std::sync::Arc;

use crate::{
    gateway::{Header, Violation},
    identity::CardIdentifier,
    model::{Purpose, RequestId, Token16},
    proto::common::v1::RequestHeader,
};

/// Collects what is wrong with one request.
#[derive(Debug, Default)]
pub struct Fields(Vec<Violation>);

impl Fields {
    /// Takes a parsed field or notes what is wrong with it.
    pub fn take<T>(&mut self, parsed: Result<T, Violation>) -> Option<T> {
        parsed.map_err(|violation| self.0.push(violation)).ok()
    }

    pub fn wrong(&mut self, field: &str, zh: &str, en: &str) {
        self.0.push(Violation::new(field, zh, en));
    }

    /// Takes over what is wrong with a part, under the part's own name.
    pub fn add_under(&mut self, part: &str, fields: Fields) {
        let named =
            fields.0.into_iter().map(|one| Violation { field: format!("{part}.{}", one.field), ..one });
        self.0.extend(named);
    }

    /// The violations, at least one.
    pub fn into_violations(mut self) -> Vec<Violation> {
        if self.0.is_empty() {
            self.0.push(Violation::new("request", "请求无法识别", "the request could not be understood"));
        }
        self.0
    }

    pub fn is_clean(&self) -> bool {
        self.0.is_empty()
    }
}

/// The header of a request; `fingerprint` is made over the whole request.
pub fn header(fields: &mut Fields, wire: Option<&RequestHeader>, fingerprint: [u8; 32]) -> Option<Header> {
    let Some(wire) = wire else {
        fields.wrong("header", "缺少请求头", "is missing; every mutating request has a header");
        return None;
    };
    let request = fields.take(wire.request_id.parse::<RequestId>().map_err(|_| {
        Violation::new(
            "header.request_id",
            "须为 UUID（8-4-4-4-12 位十六进制），由终端生成并在发送前保存",
            "must be a UUID (8-4-4-4-12 hexadecimal digits), made and stored by the terminal before it sends",
        )
    }));
    let purpose = fields.take(Purpose::from_number(wire.purpose).ok_or_else(|| {
        Violation::new("header.purpose", "须说明用途", "must state a purpose of onecard.common.v1.Purpose")
    }));
    if wire.terminal_time_ms <= 0 {
        fields.wrong(
            "header.terminal_time_ms",
            "须为终端时间（1970 年起的毫秒数）",
            "must be the terminal's time in milliseconds since 1970",
        );
    }
    let operator_fits =
        wire.operator_id.chars().count() <= 32 && !wire.operator_id.chars().any(char::is_control);
    if !operator_fits {
        fields.wrong("header.operator_id", "至多 32 个字符", "must have at most 32 printable characters");
    }
    let session = if wire.holder_session.is_empty() {
        None
    } else {
        fields.take(token("header.holder_session", &wire.holder_session))
    };
    Some(Header {
        request: request?,
        fingerprint,
        terminal_time_ms: wire.terminal_time_ms,
        purpose: purpose?,
        operator: operator(&wire.operator_id),
        session,
    })
}

fn operator(text: &str) -> Arc<str> {
    static NOBODY: std::sync::OnceLock<Arc<str>> = std::sync::OnceLock::new();
    if text.is_empty() { Arc::clone(NOBODY.get_or_init(|| Arc::from(""))) } else { Arc::from(text) }
}

/// A session handle, 32 hexadecimal digits.
pub fn token(field: &str, text: &str) -> Result<Token16, Violation> {
    text.parse().map_err(|_| Violation::new(field, "须为 32 位十六进制", "must be 32 hexadecimal digits"))
}

/// AAZ501 as 32 hexadecimal digits.
pub fn card_text(field: &str, text: &str) -> Result<CardIdentifier, Violation> {
    text.parse().map_err(|_| card_violation(field))
}

/// AAZ501 as 16 bytes.
pub fn card_bytes(field: &str, bytes: &[u8]) -> Result<CardIdentifier, Violation> {
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| card_violation(field))?;
    CardIdentifier::from_bytes(bytes).map_err(|_| card_violation(field))
}

fn card_violation(field: &str) -> Violation {
    Violation::new(
        field,
        "须为卡识别码 AAZ501：16 字节，前 3 字节为发卡地区 BCD 码",
        "must be the card identifier AAZ501: 16 bytes (32 hexadecimal digits) that begin with the issuer's region as BCD",
    )
}

/// Exactly `N` bytes.
pub fn exactly<const N: usize>(field: &str, bytes: &[u8]) -> Result<[u8; N], Violation> {
    bytes.try_into().map_err(|_| {
        Violation::new(field, format!("须为 {N} 字节"), format!("must be {N} bytes, has {}", bytes.len()))
    })
}

/// Printable text of `least` to `most` characters.
pub fn text(field: &str, value: &str, least: usize, most: usize) -> Result<String, Violation> {
    let length = value.chars().count();
    if (least..=most).contains(&length) && !value.chars().any(char::is_control) {
        Ok(value.to_owned())
    } else {
        Err(Violation::new(
            field,
            format!("须为 {least} 至 {most} 个可显示字符"),
            format!("must have {least} to {most} printable characters, has {length}"),
        ))
    }
}
