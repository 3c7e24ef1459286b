//! Short personal text, kept inline and wiped when it is dropped.

use std::fmt;

use zeroize::Zeroize;

/// At most `N` bytes of ASCII. `Debug` shows `***`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct SecretAscii<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> SecretAscii<N> {
    /// Collects `text`; `None` when it is longer than `N` or not ASCII.
    pub(super) fn collect(text: impl Iterator<Item = u8>) -> Option<Self> {
        let mut kept = SecretAscii { bytes: [0; N], length: 0 };
        for byte in text {
            let at = usize::from(kept.length);
            if at == N || !byte.is_ascii() {
                return None;
            }
            kept.bytes[at] = byte;
            kept.length += 1;
        }
        Some(kept)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    pub(super) fn reveal(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("only ASCII is collected")
    }
}

impl<const N: usize> Drop for SecretAscii<N> {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl<const N: usize> fmt::Debug for SecretAscii<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_keeps_its_text_and_shows_nothing() {
        let secret = SecretAscii::<8>::collect(b"ABC123".iter().copied()).expect("fits");
        assert_eq!(secret.reveal(), "ABC123");
        assert_eq!(format!("{secret:?}"), "***");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(SecretAscii::<2>::collect(b"ABC".iter().copied()).is_none());
        assert!(SecretAscii::<8>::collect("é".bytes()).is_none());
    }
}
