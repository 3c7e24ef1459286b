//! Where the passphrase of a vault file comes from: never the command line, which
//! every process of the machine can read.

use std::{env, fs::File, io::Read};

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::limits;

/// Why no passphrase was found.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    #[error("the environment variable {0} is not set or is not text")]
    NotSet(String),
    #[error("file descriptor {fd} cannot be read: {source}")]
    Unreadable { fd: u32, source: std::io::Error },
    #[error("the passphrase is not text")]
    NotText,
    #[error("the passphrase is empty")]
    Empty,
    #[error("the passphrase is longer than {} bytes", limits::PASSPHRASE_BYTES_MAX)]
    TooLong,
}

/// The sources of a passphrase.
#[derive(Debug, Clone, Copy)]
pub struct Passphrase;

impl Passphrase {
    /// From an environment variable.
    ///
    /// # Errors
    /// When it is not set, empty or not text.
    pub fn from_env(name: &str) -> Result<SecretString, PassphraseError> {
        let text = env::var(name).map_err(|_| PassphraseError::NotSet(name.to_owned()))?;
        Self::check(Zeroizing::new(text.into_bytes()))
    }

    /// From an open file descriptor, to its end; one line end at the end is not
    /// part of it.
    ///
    /// # Errors
    /// When it cannot be read, is empty, too long or not text.
    pub fn from_fd(fd: u32) -> Result<SecretString, PassphraseError> {
        let unreadable = |source| PassphraseError::Unreadable { fd, source };
        let file = File::open(format!("/dev/fd/{fd}")).map_err(unreadable)?;
        // Reserved in full, or growing would leave copies behind in memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(limits::PASSPHRASE_BYTES_MAX as usize + 32));
        file.take(limits::PASSPHRASE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        Self::check(bytes)
    }

    fn check(mut bytes: Zeroizing<Vec<u8>>) -> Result<SecretString, PassphraseError> {
        if bytes.len() as u64 > limits::PASSPHRASE_BYTES_MAX {
            return Err(PassphraseError::TooLong);
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if bytes.is_empty() {
            return Err(PassphraseError::Empty);
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| PassphraseError::NotText)?;
        Ok(SecretString::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::{io::Write, os::fd::AsRawFd};

    fn through_a_file(bytes: &[u8]) -> Result<String, PassphraseError> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(bytes).expect("written");
        let reading = File::open(file.path()).expect("opened");
        let fd = reading.as_raw_fd().try_into().expect("not negative");
        Passphrase::from_fd(fd).map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn a_passphrase_comes_through_a_file_descriptor_without_its_line_end() {
        assert_eq!(through_a_file("开门 please\n".as_bytes()).expect("read"), "开门 please");
        assert_eq!(through_a_file(b"open\r\n").expect("read"), "open");
        assert_eq!(through_a_file(b" open ").expect("read"), " open ");
    }

    #[test]
    fn what_cannot_be_a_passphrase_is_refused() {
        assert!(matches!(through_a_file(b"\n"), Err(PassphraseError::Empty)));
        assert!(matches!(through_a_file(b"\xff\xfe"), Err(PassphraseError::NotText)));
        assert!(matches!(through_a_file(&[b'x'; 5_000]), Err(PassphraseError::TooLong)));
        assert!(matches!(Passphrase::from_fd(1_000_000), Err(PassphraseError::Unreadable { .. })));
        assert!(matches!(Passphrase::from_env("ONECARD_NO_SUCH_NAME"), Err(PassphraseError::NotSet(_))));
    }
}
