//! A message as code, fixed part and fields, with the trailer
//! `AY` sequence `AZ` checksum.

use std::fmt;

use super::WireError;
use crate::adapters::sip2::Charset;

/// A message without its line end.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Two digits, for example `11`.
    pub code: [u8; 2],
    /// The fixed part, ASCII, at least as wide as the kind needs.
    pub fixed: String,
    /// Variable fields in their order; repeated ones stand repeatedly.
    pub fields: Vec<([u8; 2], String)>,
    /// 0 to 9; `None` without error detection and in 96 and 97.
    pub sequence: Option<u8>,
}

/// Names code and tags only: the values are passwords, readers, titles.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({}", String::from_utf8_lossy(&self.code))?;
        for (tag, _) in &self.fields {
            write!(f, " {}", String::from_utf8_lossy(tag))?;
        }
        write!(f, ")")
    }
}

/// Whether trailers are written and demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorDetection {
    On,
    Off,
}

/// The checksum of bytes up to and including `AZ`: two's complement of their
/// 16-bit sum.
pub fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte))).wrapping_neg()
}

/// Width of the fixed part after the code, for every kind this adapter sends or
/// understands.
pub const fn fixed_width(code: [u8; 2]) -> Option<usize> {
    Some(match &code {
        b"93" => 2,
        b"94" => 1,
        b"99" => 8,
        b"98" => 34,
        b"97" | b"96" => 0,
        b"23" => 21,
        b"24" => 35,
        b"63" => 31,
        b"64" => 59,
        b"11" => 38,
        b"12" | b"30" => 22,
        b"09" => 37,
        b"10" => 22,
        b"15" => 19,
        b"16" => 20,
        b"29" => 38,
        b"17" => 18,
        b"18" => 24,
        b"35" => 18,
        b"36" => 19,
        b"37" => 25,
        b"38" => 19,
        _ => return None,
    })
}

impl Frame {
    /// A message without fields.
    pub fn new(code: &[u8; 2], fixed: impl Into<String>) -> Self {
        Frame { code: *code, fixed: fixed.into(), fields: Vec::new(), sequence: None }
    }

    /// With one field more.
    pub fn with(mut self, tag: &[u8; 2], value: impl Into<String>) -> Self {
        self.fields.push((*tag, value.into()));
        self
    }

    /// With one field more, unless the value is empty.
    pub fn with_some(self, tag: &[u8; 2], value: &str) -> Self {
        if value.is_empty() { self } else { self.with(tag, value) }
    }

    /// The first field of a tag; empty when there is none.
    pub fn first(&self, tag: &[u8; 2]) -> &str {
        self.all(tag).next().unwrap_or("")
    }

    /// All fields of a tag.
    pub fn all<'a>(&'a self, tag: &[u8; 2]) -> impl Iterator<Item = &'a str> {
        let tag = *tag;
        self.fields.iter().filter(move |(named, _)| *named == tag).map(|(_, value)| value.as_str())
    }

    /// The bytes, ended by CR.
    ///
    /// # Errors
    /// When a value has a character the site cannot read.
    pub fn encode(&self, charset: Charset, detection: ErrorDetection) -> Result<Vec<u8>, WireError> {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&self.code);
        bytes.extend_from_slice(self.fixed.as_bytes());
        for (tag, value) in &self.fields {
            if value.chars().any(|c| c == '|' || c.is_control()) {
                return Err(WireError::Unencodable);
            }
            bytes.extend_from_slice(tag);
            bytes.extend_from_slice(&charset.encode(value)?);
            bytes.push(b'|');
        }
        if detection == ErrorDetection::On {
            if let Some(sequence) = self.sequence {
                bytes.extend_from_slice(b"AY");
                bytes.push(b'0' + sequence % 10);
            }
            bytes.extend_from_slice(b"AZ");
            let sum = checksum(&bytes);
            bytes.extend_from_slice(format!("{sum:04X}").as_bytes());
        }
        bytes.push(b'\r');
        Ok(bytes)
    }

    /// Reads a message that has been cut out of the stream, without its line end.
    ///
    /// # Errors
    /// When it is no message, or its checksum does not fit.
    pub fn decode(line: &[u8], charset: Charset, detection: ErrorDetection) -> Result<Frame, WireError> {
        let (body, sequence) = match split_trailer(line) {
            Some((body, sequence, stated)) => {
                let summed = &line[..line.len() - 4];
                if checksum(summed) != stated {
                    return Err(WireError::Checksum);
                }
                (body, sequence)
            }
            None if detection == ErrorDetection::On => return Err(WireError::NoTrailer),
            None => (line, None),
        };
        let (code, rest) = body.split_first_chunk::<2>().ok_or(WireError::Short)?;
        let width = fixed_width(*code).ok_or(WireError::UnknownKind)?;
        let (fixed, rest) = rest.split_at_checked(width).ok_or(WireError::Short)?;
        let fixed = std::str::from_utf8(fixed).ok().filter(|fixed| fixed.is_ascii());
        let fixed = fixed.ok_or(WireError::Short)?.to_owned();
        let fields = charset.decode(rest).split('|').filter_map(field).collect();
        Ok(Frame { code: *code, fixed, fields, sequence })
    }
}

/// A field of two ASCII characters and a value; anything shorter is padding some
/// servers leave between fields.
fn field(text: &str) -> Option<([u8; 2], String)> {
    let text = text.trim_start_matches([' ', '\r', '\n']);
    let tag = *text.as_bytes().first_chunk::<2>()?;
    let value = text.get(2..)?;
    tag.iter().all(u8::is_ascii_alphanumeric).then(|| (tag, value.to_owned()))
}

/// Body, sequence and stated checksum of a line that ends in a trailer.
fn split_trailer(line: &[u8]) -> Option<(&[u8], Option<u8>, u16)> {
    let (rest, sum) = line.split_last_chunk::<4>()?;
    let body = rest.strip_suffix(b"AZ")?;
    if !sum.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let stated = u16::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    match body {
        [before @ .., b'A', b'Y', digit @ b'0'..=b'9'] => Some((before, Some(digit - b'0'), stated)),
        _ => Some((body, None, stated)),
    }
}
