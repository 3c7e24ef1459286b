//! msgid: institution code (12), yyyyMMddHHmmss (14), sequence (4).

use std::{fmt, str::FromStr, sync::Arc};

use crate::{identity::local_time, model::Millis};

/// The number of one message to an insurer, 30 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MsgId(Arc<str>);

/// A text that is no msgid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a msgid: 12 characters of the institution, 14 digits of time, 4 of sequence")]
pub struct BadMsgId;

impl MsgId {
    /// Sequences in one second.
    pub const PER_SECOND: u32 = 10_000;

    /// `local_second` is yyyyMMddHHmmss in China's time.
    ///
    /// # Errors
    /// An institution code that is not 12 ASCII letters and digits, a time of other
    /// than 14 digits, a sequence of more than 4.
    pub fn new(institution: &str, local_second: &str, sequence: u32) -> Result<Self, BadMsgId> {
        format!("{institution}{local_second}{sequence:04}").parse()
    }

    /// The msgid of an instant, in China's time.
    ///
    /// # Errors
    /// As [`MsgId::new`].
    pub fn at(institution: &str, at_ms: Millis, sequence: u32) -> Result<Self, BadMsgId> {
        MsgId::new(institution, &local_time(at_ms).strftime("%Y%m%d%H%M%S").to_string(), sequence)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MsgId {
    type Err = BadMsgId;

    fn from_str(text: &str) -> Result<Self, BadMsgId> {
        let well_formed = text.len() == 30
            && text.bytes().all(|b| b.is_ascii_alphanumeric())
            && text.bytes().skip(12).all(|b| b.is_ascii_digit());
        if well_formed { Ok(MsgId(text.into())) } else { Err(BadMsgId) }
    }
}

impl fmt::Display for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_msgid_is_institution_time_and_sequence() {
        let msgid = MsgId::new("H11010500001", "20261122174400", 7).expect("well formed");
        assert_eq!(msgid.as_str(), "H11010500001202611221744000007");
        assert!(MsgId::new("H110105", "20261122174400", 7).is_err());
        assert!(MsgId::new("H11010500001", "20261122174400", 10_000).is_err());
        assert!("H11010500001 02611221744000007".parse::<MsgId>().is_err());
    }
}
