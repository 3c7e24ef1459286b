//! The key vault in software: keys in memory, expanded once, kept in a sealed
//! file between runs.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{
    KeyName, KeyVault, Sm2PublicKey, Sm2SigningKey, Sm4Mac, VaultError, VaultFileError,
    vault_file::{self, StoredKey},
};
use crate::{
    limits,
    model::{Rng, SystemRng},
};

/// First byte of what [`KeyVault::diversify`] puts under the root's CMAC. What
/// goes through [`KeyVault::mac`] opens with a domain tag in ASCII letters, so
/// that a MAC never shows a diversified key.
const DIVERSIFY: u8 = 0x01;

enum Key {
    Sm2 { signing: Sm2SigningKey, public: Sm2PublicKey },
    Sm4 { bytes: Zeroizing<[u8; 16]>, mac: Sm4Mac },
}

impl Key {
    fn parse(name: KeyName, bytes: &[u8]) -> Result<Self, VaultError> {
        let wrong = VaultError::WrongKind(name.label());
        if name.is_sm2() {
            let secret = Zeroizing::new(<[u8; 32]>::try_from(bytes).map_err(|_| wrong.clone())?);
            let signing = Sm2SigningKey::from_secret(&secret).map_err(|_| wrong)?;
            let public = signing.public_key();
            Ok(Key::Sm2 { signing, public })
        } else {
            let bytes = Zeroizing::new(<[u8; 16]>::try_from(bytes).map_err(|_| wrong)?);
            let mac = Sm4Mac::new(&bytes);
            Ok(Key::Sm4 { bytes, mac })
        }
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Key::Sm2 { signing, .. } => Zeroizing::new(signing.to_secret().to_vec()),
            Key::Sm4 { bytes, .. } => Zeroizing::new(bytes.to_vec()),
        }
    }
}

/// The keys of one region in this process's memory. Wiped on drop, never
/// printed.
#[derive(Default)]
pub struct SoftVault {
    keys: BTreeMap<KeyName, Key>,
}

impl SoftVault {
    /// A vault without keys, to be filled by [`SoftVault::with_key`].
    pub fn empty() -> Self {
        SoftVault::default()
    }

    /// A vault with a fresh key of every name.
    pub fn generate(rng: &dyn Rng) -> Self {
        let mut vault = SoftVault::empty();
        for name in KeyName::ALL {
            let key = if name.is_sm2() {
                let signing = Sm2SigningKey::generate(rng);
                let public = signing.public_key();
                Key::Sm2 { signing, public }
            } else {
                let mut bytes = Zeroizing::new([0; 16]);
                rng.fill(&mut *bytes);
                let mac = Sm4Mac::new(&bytes);
                Key::Sm4 { bytes, mac }
            };
            vault.keys.insert(*name, key);
        }
        vault
    }

    /// Puts a key in, in the place of what stood there: a scalar of 32 bytes for
    /// an SM2 name, 16 bytes for an SM4 name. So the joint transit root comes into
    /// every region's vault.
    ///
    /// # Errors
    /// When the bytes are no key of the name's kind.
    pub fn with_key(mut self, name: KeyName, bytes: &[u8]) -> Result<Self, VaultError> {
        self.keys.insert(name, Key::parse(name, bytes)?);
        Ok(self)
    }

    /// Writes the keys to `path`, sealed under `passphrase`: mode 0600, replaced
    /// as a whole or not at all, on disk when this returns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn seal_to_file(&self, path: &Path, passphrase: &SecretString) -> Result<(), VaultFileError> {
        let sealed = self.seal(passphrase, limits::VAULT_ITERATIONS, &SystemRng);
        vault_file::replace(path, &sealed)
    }

    /// As [`SoftVault::seal_to_file`], under a passphrase that nobody thought up: at
    /// least 128 bits from a generator. Guessing those is hopeless without the slow
    /// derivation, so it is left out and opening costs nothing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn seal_to_file_under_random(
        &self,
        path: &Path,
        passphrase: &SecretString,
    ) -> Result<(), VaultFileError> {
        vault_file::replace(path, &self.seal(passphrase, 1, &SystemRng))
    }

    /// Reads a vault that [`SoftVault::seal_to_file`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read, is no vault, was altered, or the passphrase
    /// is another.
    pub fn open_file(path: &Path, passphrase: &SecretString) -> Result<Self, VaultFileError> {
        Self::open(&vault_file::read(path)?, passphrase)
    }

    pub(super) fn seal(&self, passphrase: &SecretString, iterations: u32, rng: &dyn Rng) -> Vec<u8> {
        let stored: Vec<StoredKey> =
            self.keys.iter().map(|(name, key)| StoredKey { name: *name, secret: key.to_bytes() }).collect();
        vault_file::seal(&stored, passphrase, iterations, rng)
    }

    pub(super) fn open(sealed: &[u8], passphrase: &SecretString) -> Result<Self, VaultFileError> {
        let mut vault = SoftVault::empty();
        for StoredKey { name, secret } in vault_file::open(sealed, passphrase)? {
            vault = vault.with_key(name, &secret).map_err(|_| VaultFileError::Altered)?;
        }
        Ok(vault)
    }

    fn key(&self, name: KeyName) -> Result<&Key, VaultError> {
        self.keys.get(&name).ok_or(VaultError::Missing(name.label()))
    }

    fn sm4(&self, name: KeyName) -> Result<&Sm4Mac, VaultError> {
        match self.key(name)? {
            Key::Sm4 { mac, .. } => Ok(mac),
            Key::Sm2 { .. } => Err(VaultError::WrongKind(name.label())),
        }
    }

    fn sm2(&self, name: KeyName) -> Result<(&Sm2SigningKey, &Sm2PublicKey), VaultError> {
        match self.key(name)? {
            Key::Sm2 { signing, public } => Ok((signing, public)),
            Key::Sm4 { .. } => Err(VaultError::WrongKind(name.label())),
        }
    }
}

impl KeyVault for SoftVault {
    fn sign(&self, key: KeyName, message: &[u8]) -> Result<[u8; 64], VaultError> {
        Ok(self.sm2(key)?.0.sign(message))
    }

    fn public_key(&self, key: KeyName) -> Result<[u8; 65], VaultError> {
        Ok(self.sm2(key)?.1.to_bytes())
    }

    fn mac(&self, key: KeyName, data: &[u8]) -> Result<[u8; 16], VaultError> {
        Ok(self.sm4(key)?.mac(&[data]))
    }

    fn diversify(&self, root: KeyName, context: &[u8; 16]) -> Result<Zeroizing<[u8; 16]>, VaultError> {
        Ok(Zeroizing::new(self.sm4(root)?.mac(&[&[DIVERSIFY], context])))
    }
}

impl<V: KeyVault + ?Sized> KeyVault for Arc<V> {
    fn sign(&self, key: KeyName, message: &[u8]) -> Result<[u8; 64], VaultError> {
        (**self).sign(key, message)
    }

    fn public_key(&self, key: KeyName) -> Result<[u8; 65], VaultError> {
        (**self).public_key(key)
    }

    fn mac(&self, key: KeyName, data: &[u8]) -> Result<[u8; 16], VaultError> {
        (**self).mac(key, data)
    }

    fn diversify(&self, root: KeyName, context: &[u8; 16]) -> Result<Zeroizing<[u8; 16]>, VaultError> {
        (**self).diversify(root, context)
    }
}

impl fmt::Debug for SoftVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys().map(|name| name.label())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    fn sealed() -> (SoftVault, Vec<u8>) {
        let vault = SoftVault::generate(&SystemRng);
        let sealed = vault.seal(&secret("open"), 10, &SystemRng);
        (vault, sealed)
    }

    #[track_caller]
    fn assert_same(one: &SoftVault, other: &SoftVault) {
        assert_eq!(one.keys.keys().collect::<Vec<_>>(), other.keys.keys().collect::<Vec<_>>());
        for (name, key) in &one.keys {
            assert_eq!(key.to_bytes(), other.keys[name].to_bytes(), "{}", name.label());
        }
    }

    #[test]
    fn a_sealed_file_gives_every_key_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("vault");
        let vault = SoftVault::generate(&SystemRng);
        for _ in 0..2 {
            vault.seal_to_file(&path, &secret("long enough")).expect("writes, and replaces");
        }
        assert_same(&SoftVault::open_file(&path, &secret("long enough")).expect("opens"), &vault);
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_wrong_passphrase_is_told_from_an_altered_file() {
        let (vault, sealed) = sealed();
        assert_same(&SoftVault::open(&sealed, &secret("open")).expect("opens"), &vault);
        let wrong = SoftVault::open(&sealed, &secret("Open")).map(|_| ());
        assert!(matches!(wrong, Err(VaultFileError::WrongPassphrase)), "{wrong:?}");
        for at in 8..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 0x10;
            let refused = SoftVault::open(&altered, &secret("open")).map(|_| ());
            assert!(matches!(refused, Err(VaultFileError::Altered)), "byte {at}: {refused:?}");
        }
        for length in 0..sealed.len() {
            assert!(SoftVault::open(&sealed[..length], &secret("open")).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn an_altered_file_is_refused_even_with_its_checksum_made_anew() {
        let (_, sealed) = sealed();
        let body = sealed.len() - 32;
        for at in 8..body {
            // The upper bytes of the work factor only make the test slow.
            if (8..12).contains(&at) {
                continue;
            }
            let mut altered = sealed.clone();
            altered[at] ^= 0x01;
            let sum = crate::crypto::sm3(&[&altered[..body]]);
            altered[body..].copy_from_slice(&sum);
            assert!(SoftVault::open(&altered, &secret("open")).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_file_of_something_else_is_no_vault() {
        for bytes in [&b""[..], b"hello", &[0; 200]] {
            let refused = SoftVault::open(bytes, &secret("open")).map(|_| ());
            assert!(matches!(refused, Err(VaultFileError::NotAVault)), "{refused:?}");
        }
    }

    #[test]
    fn keys_are_used_by_their_kind_only() {
        let vault = SoftVault::generate(&SystemRng);
        assert_eq!(vault.mac(KeyName::Journal, b""), Err(VaultError::WrongKind("journal")));
        assert_eq!(vault.sign(KeyName::Seal, b""), Err(VaultError::WrongKind("seal")));
        assert_eq!(SoftVault::empty().sign(KeyName::Ecard, b""), Err(VaultError::Missing("ecard")));
        assert!(SoftVault::empty().with_key(KeyName::Journal, &[1; 16]).is_err());
        assert!(SoftVault::empty().with_key(KeyName::Seal, &[1; 32]).is_err());
        let signature = vault.sign(KeyName::Journal, b"batch").expect("signs");
        let public = Sm2PublicKey::from_bytes(&vault.public_key(KeyName::Journal).expect("is there"));
        assert_eq!(public.expect("a point").verify(b"batch", &signature), Ok(()));
    }

    #[test]
    fn a_shared_root_diversifies_alike_in_every_region() {
        let shared = |vault: SoftVault| vault.with_key(KeyName::TransitRoot, &[7; 16]).expect("16 bytes");
        let (here, there) = (shared(SoftVault::generate(&SystemRng)), shared(SoftVault::empty()));
        let key = |vault: &SoftVault, card| *vault.diversify(KeyName::TransitRoot, card).expect("SM4");
        assert_eq!(key(&here, &[1; 16]), key(&there, &[1; 16]));
        assert_ne!(key(&here, &[1; 16]), key(&here, &[2; 16]));
    }

    #[test]
    fn debug_shows_names_only() {
        let vault = SoftVault::empty().with_key(KeyName::Seal, &[0x5a; 16]).expect("16 bytes");
        assert_eq!(format!("{vault:?}"), "{\"seal\"}");
    }
}
