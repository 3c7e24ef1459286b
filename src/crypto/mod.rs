//! SM2, SM3, SM4; the key vault; card suites; sealed fields. Everything secret is
//! behind [`KeyVault`] and never in `Debug` output. TLS keys are not here: they
//! belong to `net`.
//!
//! The card suite is written down in `docs/standard/sandbox-suite.md`; what is
//! computed here must stay what stands there.

mod hash;
mod holder_copy;
mod holder_keys;
mod passphrase;
mod seal;
mod sm2;
mod sm4;
mod sm4_block;
mod soft_vault;
mod suite;
mod vault;
mod vault_file;
#[cfg(test)]
mod vectors;
mod virtual_chip;

pub use hash::{Digest32, sm3};
pub use holder_copy::{
    ERASED, HolderCopy, SALTS, copy_holder_keys, digest_of_salts, erase_salts, read_erased, write_erased,
};
pub use holder_keys::{HolderKeys, holder_key};
pub use passphrase::{Passphrase, PassphraseError};
pub use seal::{SealError, Sealer};
pub use sm2::{BadKey, BadSignature, Sm2PublicKey, Sm2SigningKey};
pub use sm4::{NotAuthentic, Sm4Gcm, Sm4Mac};
pub use soft_vault::SoftVault;
pub use suite::{CardSuite, ChipAnswer, ChipChallenge, SandboxSuite, SuiteError, TapRecord};
pub use vault::{KeyName, KeyVault, VaultError};
pub use vault_file::VaultFileError;
pub use virtual_chip::VirtualChip;
