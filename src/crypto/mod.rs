//! SM2, SM3, SM4; the key vault; card suites; sealed fields. Everything secret is
//! behind [`KeyVault`] and never in `Debug` output. TLS keys are not here: they
//! belong to `net`.

mod hash;
mod seal;
mod vault;

pub use hash::{Digest32, sm3};
pub use seal::{SealError, Sealer};
pub use vault::{KeyName, KeyVault, VaultError};
