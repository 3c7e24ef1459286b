//! The key vault as a trait: software now, PKCS#11 later, the SDF interface of
//! Chinese key services after that. Keys are named by their use, never handed
//! out.

/// The keys of a region, by use. The text form names them in the sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyName {
    /// SM2: signs journal batches.
    Journal,
    /// SM2: signs envelopes to peers.
    Federation,
    /// SM2: signs e-card codes.
    Ecard,
    /// SM2: signs messages to a medical insurer.
    Medical,
    /// SM4: issuer root of the sandbox card suite (chip authentication).
    CardRoot,
    /// SM4: joint transit root of the sandbox card suite.
    TransitRoot,
    /// SM4: makes pairwise holder ids and subjects (CMAC as a keyed hash).
    Pseudonym,
    /// SM4: wraps the keys that seal personal data.
    Seal,
}

impl KeyName {
    pub const ALL: &'static [KeyName] = &[
        KeyName::Journal,
        KeyName::Federation,
        KeyName::Ecard,
        KeyName::Medical,
        KeyName::CardRoot,
        KeyName::TransitRoot,
        KeyName::Pseudonym,
        KeyName::Seal,
    ];

    /// The name in a sealed file and in a key service.
    pub const fn label(self) -> &'static str {
        match self {
            KeyName::Journal => "journal",
            KeyName::Federation => "federation",
            KeyName::Ecard => "ecard",
            KeyName::Medical => "medical",
            KeyName::CardRoot => "card-root",
            KeyName::TransitRoot => "transit-root",
            KeyName::Pseudonym => "pseudonym",
            KeyName::Seal => "seal",
        }
    }

    /// Whether it is an SM2 key; all others are SM4 keys.
    pub const fn is_sm2(self) -> bool {
        match self {
            KeyName::Journal | KeyName::Federation | KeyName::Ecard | KeyName::Medical => true,
            KeyName::CardRoot | KeyName::TransitRoot | KeyName::Pseudonym | KeyName::Seal => false,
        }
    }
}

/// The vault cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    #[error("the vault has no key `{0}`")]
    Missing(&'static str),
    #[error("the key `{0}` is of another kind")]
    WrongKind(&'static str),
    #[error("the key service failed: {0}")]
    Service(String),
}

/// Uses keys without showing them. Calls are short (an SM2 signature is about
/// 70 µs); callers on a reactor hand signatures to a bounded pool.
pub trait KeyVault: Send + Sync + 'static {
    /// SM2 signature (r ‖ s) over `message` with the default user id
    /// 1234567812345678.
    ///
    /// # Errors
    /// When the key is missing or not SM2, or the key service fails.
    fn sign(&self, key: KeyName, message: &[u8]) -> Result<[u8; 64], VaultError>;

    /// The public point of an SM2 key, uncompressed (0x04 ‖ x ‖ y).
    ///
    /// # Errors
    /// When the key is missing or not SM2.
    fn public_key(&self, key: KeyName) -> Result<[u8; 65], VaultError>;

    /// SM4-CMAC of `data` under a symmetric key. `data` opens with a domain tag in
    /// ASCII letters, never with a control byte: those are [`Self::diversify`]'s.
    ///
    /// # Errors
    /// When the key is missing or not SM4.
    fn mac(&self, key: KeyName, data: &[u8]) -> Result<[u8; 16], VaultError>;

    /// A key diversified from a symmetric root for `context`: SM4-CMAC under the
    /// root of 0x01 ‖ context. It lives in memory only as long as it is used.
    ///
    /// # Errors
    /// When the key is missing or not SM4.
    fn diversify(
        &self,
        root: KeyName,
        context: &[u8; 16],
    ) -> Result<zeroize::Zeroizing<[u8; 16]>, VaultError>;
}
