//! The file a software vault is kept in.
//!
//! ```text
//!  0   8  "OCVAULT" ‖ version 0x01
//!  8   4  PBKDF2 iterations, big endian
//! 12  16  salt
//! 28  12  nonce
//! 40  16  check value of the passphrase
//! 56   n  SM4-GCM over the keys, bytes 0..56 bound
//!     32  SM3 over everything before
//! ```
//!
//! PBKDF2-HMAC-SM3 over passphrase and salt gives 32 bytes: the GCM key and the
//! check value. The checksum tells a damaged file from a wrong passphrase; the
//! GCM tag refuses one that was altered on purpose.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use secrecy::{ExposeSecret, SecretString};
use sm3::Sm3;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{KeyName, Sm4Gcm, sm3};
use crate::{limits, model::Rng};

const MAGIC: &[u8; 8] = b"OCVAULT\x01";
const HEADER: usize = 56;
const CHECKSUM: usize = 32;

/// Why a vault file was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum VaultFileError {
    #[error("the vault file cannot be used: {0}")]
    Io(#[from] io::Error),
    #[error("this is not a vault file of a known version")]
    NotAVault,
    #[error("the passphrase does not open the vault file")]
    WrongPassphrase,
    #[error("the vault file was damaged or altered")]
    Altered,
}

/// One key in the file.
pub(super) struct StoredKey {
    pub name: KeyName,
    pub secret: Zeroizing<Vec<u8>>,
}

/// Makes the bytes of a vault file.
pub(super) fn seal(keys: &[StoredKey], passphrase: &SecretString, iterations: u32, rng: &dyn Rng) -> Vec<u8> {
    let (mut salt, mut nonce) = ([0; 16], [0; 12]);
    rng.fill(&mut salt);
    rng.fill(&mut nonce);
    let (key, check) = derive(passphrase, &salt, iterations);
    let mut file = Vec::with_capacity(1024);
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&iterations.to_be_bytes());
    file.extend_from_slice(&salt);
    file.extend_from_slice(&nonce);
    file.extend_from_slice(&check);
    assert_eq!(file.len(), HEADER);
    let sealed = Sm4Gcm::new(&key).seal(&nonce, &file, &encode(keys));
    file.extend_from_slice(&sealed);
    let sum = sm3(&[&file]);
    file.extend_from_slice(&sum);
    file
}

/// Reads the keys out of the bytes of a vault file.
pub(super) fn open(file: &[u8], passphrase: &SecretString) -> Result<Vec<StoredKey>, VaultFileError> {
    if file.get(..MAGIC.len()) != Some(MAGIC.as_slice()) {
        return Err(VaultFileError::NotAVault);
    }
    let (file, sum) = file.split_last_chunk::<CHECKSUM>().ok_or(VaultFileError::Altered)?;
    if sm3(&[file]) != *sum || file.len() < HEADER {
        return Err(VaultFileError::Altered);
    }
    let (header, sealed) = file.split_at(HEADER);
    let iterations = u32::from_be_bytes(field(header, 8));
    if !(1..=limits::VAULT_ITERATIONS_MAX).contains(&iterations) {
        return Err(VaultFileError::Altered);
    }
    let (key, check) = derive(passphrase, &field::<16>(header, 12), iterations);
    if !bool::from(check.ct_eq(&field::<16>(header, 40))) {
        return Err(VaultFileError::WrongPassphrase);
    }
    let plain = Sm4Gcm::new(&key)
        .open(&field(header, 28), header, sealed)
        .map(Zeroizing::new)
        .map_err(|_| VaultFileError::Altered)?;
    decode(&plain).ok_or(VaultFileError::Altered)
}

fn field<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    header[at..at + N].try_into().expect("the header's fields lie inside its 56 bytes")
}

/// The GCM key and the check value of a passphrase.
fn derive(passphrase: &SecretString, salt: &[u8; 16], iterations: u32) -> (Zeroizing<[u8; 16]>, [u8; 16]) {
    let mut derived = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sm3>(passphrase.expose_secret().as_bytes(), salt, iterations, &mut *derived);
    let (mut key, mut check) = (Zeroizing::new([0; 16]), [0; 16]);
    key.copy_from_slice(&derived[..16]);
    check.copy_from_slice(&derived[16..]);
    (key, check)
}

/// Length of the label, label, length of the secret, secret; a byte a length.
fn encode(keys: &[StoredKey]) -> Zeroizing<Vec<u8>> {
    // Reserved in full, or growing would leave copies of keys behind in memory.
    let length = keys.iter().map(|key| 2 + key.name.label().len() + key.secret.len()).sum();
    let mut plain = Zeroizing::new(Vec::with_capacity(length));
    for key in keys {
        for part in [key.name.label().as_bytes(), &key.secret] {
            plain.push(u8::try_from(part.len()).expect("labels and keys are shorter than 256 bytes"));
            plain.extend_from_slice(part);
        }
    }
    plain
}

fn decode(mut plain: &[u8]) -> Option<Vec<StoredKey>> {
    let mut part = || -> Option<Option<&[u8]>> {
        let Some((length, rest)) = plain.split_first() else { return Some(None) };
        let (part, rest) = rest.split_at_checked(usize::from(*length))?;
        plain = rest;
        Some(Some(part))
    };
    let mut keys = Vec::new();
    while let Some(label) = part()? {
        let name = KeyName::ALL.iter().find(|name| name.label().as_bytes() == label)?;
        keys.push(StoredKey { name: *name, secret: Zeroizing::new(part()??.to_vec()) });
    }
    Some(keys)
}

/// Puts `bytes` at `path`, as a whole or not at all, readable by the owner only,
/// and returns when they are on disk.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), VaultFileError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let mut name = path.file_name().ok_or(io::Error::from(io::ErrorKind::InvalidInput))?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = folder.join(name);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    };
    match write() {
        Ok(()) => Ok(()),
        Err(error) => {
            // Whatever was left of the attempt is of no use to anybody.
            let _ = fs::remove_file(&beside);
            Err(error.into())
        }
    }
}

/// Reads the whole file, if it is not larger than a vault can be.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, VaultFileError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limits::VAULT_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limits::VAULT_FILE_BYTES_MAX {
        return Err(VaultFileError::NotAVault);
    }
    Ok(bytes)
}
