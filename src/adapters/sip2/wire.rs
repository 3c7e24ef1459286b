//! SIP2 2.00 on the wire, the client's side: bytes to typed messages and back.
//! Pure; no socket lives here. Written from the published message tables
//! (3M SIP 2.00), without code of any other implementation.
//!
//! * [`frame`]: fields, trailer, checksum over bytes. GBK has `|` as second byte of
//!   some characters, so bytes are decoded before they are split;
//! * [`date`]: the 18-character date and the free-form due dates;
//! * [`request`], [`response`]: the messages we send and understand;
//! * [`splitter`]: messages out of a stream that breaks anywhere.

pub mod date;
pub mod frame;
pub mod request;
pub mod response;
pub mod splitter;
#[cfg(test)]
mod tests;

/// Bytes were not a message, or a message could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The checksum does not fit the bytes; ask for it again.
    #[error("the checksum does not fit")]
    Checksum,
    /// Error detection is on and the message has no trailer.
    #[error("the message carries no checksum")]
    NoTrailer,
    /// Fewer characters than the fixed part needs.
    #[error("the message is too short")]
    Short,
    /// A message we do not know.
    #[error("the message's kind is not known")]
    UnknownKind,
    /// No end within the bound.
    #[error("the message is longer than allowed")]
    TooLong,
    /// A character the site's encoding does not have, or `|` or a control
    /// character inside a value.
    #[error("a value cannot be written in the encoding of the site")]
    Unencodable,
}
