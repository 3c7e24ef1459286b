//! Messages of SIP2, the server's side.

use super::IlsCharset;

/// A request as it came in.
pub(super) struct Heard {
    pub(super) code: String,
    /// Fixed part and fields, as text.
    text: String,
    pub(super) sequence: Option<char>,
    /// Whether it had a checksum, so that the answer gets one too.
    pub(super) checked: bool,
}

/// Why a line is no request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misheard {
    Checksum,
    Nonsense,
}

/// The trailing four digits that make all bytes before them sum to zero.
pub(super) fn sum(bytes: &[u8]) -> String {
    let total: u32 = bytes.iter().map(|b| u32::from(*b)).sum();
    format!("{:04X}", (0x1_0000 - (total & 0xFFFF)) & 0xFFFF)
}

/// Reads one line without its end.
pub(super) fn hear(line: &[u8], charset: IlsCharset) -> Result<Heard, Misheard> {
    let mut body = line;
    let (mut sequence, mut checked) = (None, false);
    if line.len() >= 8 && &line[line.len() - 6..line.len() - 4] == b"AZ" {
        let (summed, stated) = line.split_at(line.len() - 4);
        if sum(summed).as_bytes() != stated.to_ascii_uppercase() {
            return Err(Misheard::Checksum);
        }
        checked = true;
        body = &summed[..summed.len() - 2];
        if body.len() >= 5 && &body[body.len() - 3..body.len() - 1] == b"AY" {
            sequence = Some(char::from(body[body.len() - 1]));
            body = &body[..body.len() - 3];
        }
    }
    let text = match charset {
        IlsCharset::Utf8 => String::from_utf8_lossy(body).into_owned(),
        IlsCharset::Gbk => encoding_rs::GBK.decode_without_bom_handling(body).0.into_owned(),
    };
    let code = text.get(..2).ok_or(Misheard::Nonsense)?.to_owned();
    Ok(Heard { code, text, sequence, checked })
}

impl Heard {
    /// Characters of the fixed part, from behind the code.
    pub(super) fn fixed(&self, at: usize, width: usize) -> &str {
        self.text.get(2 + at..2 + at + width).unwrap_or("")
    }

    /// A field, searched behind a fixed part of this width; empty when missing.
    pub(super) fn field(&self, tag: &str) -> &str {
        let fixed = match self.code.as_str() {
            "93" => 2,
            "99" => 8,
            "23" => 21,
            "63" => 31,
            "11" | "29" => 38,
            "09" => 37,
            "15" => 19,
            "17" | "35" => 18,
            "37" => 25,
            _ => return "",
        };
        let fields = self.text.get(2 + fixed..).unwrap_or("");
        fields.split('|').find_map(|field| field.strip_prefix(tag)).unwrap_or("")
    }
}

/// An answer under construction.
pub(super) struct Reply(String);

impl Reply {
    pub(super) fn new(start: &str) -> Self {
        Reply(start.to_owned())
    }

    pub(super) fn raw(mut self, text: &str) -> Self {
        self.0.push_str(text);
        self
    }

    pub(super) fn field(mut self, tag: &str, value: &str) -> Self {
        self.0.push_str(tag);
        self.0.extend(value.chars().filter(|c| *c != '|' && !c.is_control()));
        self.0.push('|');
        self
    }

    /// With the trailer of the request it answers, and the line end.
    pub(super) fn bytes(self, heard: &Heard, charset: IlsCharset) -> Vec<u8> {
        let mut bytes = match charset {
            IlsCharset::Utf8 => self.0.into_bytes(),
            IlsCharset::Gbk => encoding_rs::GBK.encode(&self.0).0.into_owned(),
        };
        if heard.checked {
            if let Some(sequence) = heard.sequence {
                bytes.extend_from_slice(format!("AY{sequence}").as_bytes());
            }
            bytes.extend_from_slice(b"AZ");
            let sum = sum(&bytes);
            bytes.extend_from_slice(sum.as_bytes());
        }
        bytes.push(b'\r');
        bytes
    }
}

/// An instant as 18 characters of local time in China.
pub(super) fn date(at_ms: i64) -> String {
    let local = jiff::Timestamp::from_millisecond(at_ms + 8 * 3_600_000).unwrap_or_default();
    local.strftime("%Y%m%d    %H%M%S").to_string()
}
