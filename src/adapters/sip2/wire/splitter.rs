//! Cuts messages out of a stream that may break at any byte. Messages end with
//! CR, LF or both; empty lines between are skipped.

use super::WireError;
use crate::limits::SIP2_MESSAGE_BYTES_MAX;

/// Bytes that have arrived and not yet made a message.
#[derive(Debug, Default)]
pub struct Splitter {
    bytes: Vec<u8>,
    /// How far there is no line end.
    searched: usize,
}

impl Splitter {
    /// Adds what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether anything is left over, line ends aside.
    pub fn is_clean(&self) -> bool {
        self.bytes.iter().all(|byte| is_end(*byte))
    }

    /// The next whole message, without its line end.
    ///
    /// # Errors
    /// When it is longer than allowed.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        let leading = self.bytes.iter().take_while(|byte| is_end(**byte)).count();
        if leading > 0 {
            self.bytes.drain(..leading);
            self.searched = 0;
        }
        let Some(at) = self.bytes[self.searched..].iter().position(|byte| is_end(*byte)) else {
            self.searched = self.bytes.len();
            return if self.searched > SIP2_MESSAGE_BYTES_MAX { Err(WireError::TooLong) } else { Ok(None) };
        };
        let end = self.searched + at;
        if end > SIP2_MESSAGE_BYTES_MAX {
            return Err(WireError::TooLong);
        }
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        line.pop();
        self.searched = 0;
        Ok(Some(line))
    }
}

/// NUL is padding that some servers send behind the line end.
fn is_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}
