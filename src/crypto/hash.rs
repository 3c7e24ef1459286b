//! SM3 (GB/T 32905) over the parts of a message.

use sm3::{Digest, Sm3};

/// An SM3 digest.
pub type Digest32 = [u8; 32];

/// SM3 over the concatenation of `parts`.
pub fn sm3(parts: &[&[u8]]) -> Digest32 {
    let mut hasher = Sm3::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
