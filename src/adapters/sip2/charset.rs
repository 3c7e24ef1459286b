//! Encodings of a site, by the names of the WHATWG encoding standard.

use std::borrow::Cow;

use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};

use super::wire::WireError;

/// An encoding that keeps ASCII as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Charset(&'static Encoding);

/// The name is none of an encoding that SIP2 can be written in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no encoding that keeps ASCII; try \"utf-8\", \"gbk\" or \"gb18030\"")]
pub struct BadCharset(pub String);

impl Charset {
    /// Most sites of today.
    pub const UTF_8: Charset = Charset(encoding_rs::UTF_8);
    /// Older Chinese systems.
    pub const GBK: Charset = Charset(encoding_rs::GBK);

    /// Bytes as text. What cannot be read becomes U+FFFD: a broken title must not
    /// lose a loan.
    pub(super) fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        self.0.decode_without_bom_handling(bytes).0
    }

    /// Text as bytes.
    ///
    /// # Errors
    /// When the encoding lacks a character.
    pub(super) fn encode(self, text: &str) -> Result<Cow<'_, [u8]>, WireError> {
        let (bytes, _, lost) = self.0.encode(text);
        if lost { Err(WireError::Unencodable) } else { Ok(bytes) }
    }
}

impl Default for Charset {
    fn default() -> Self {
        Charset::UTF_8
    }
}

impl TryFrom<String> for Charset {
    type Error = BadCharset;

    fn try_from(name: String) -> Result<Self, BadCharset> {
        match Encoding::for_label_no_replacement(name.as_bytes()) {
            Some(encoding) if encoding.is_ascii_compatible() => Ok(Charset(encoding)),
            Some(_) | None => Err(BadCharset(name)),
        }
    }
}

impl From<Charset> for String {
    fn from(charset: Charset) -> String {
        charset.0.name().to_ascii_lowercase()
    }
}
