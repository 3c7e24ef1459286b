//! SM2 signatures (GB/T 32918.2) with SM3 and the default user id.

use std::fmt;

use sm2::{
    SecretKey,
    dsa::{
        Signature, SigningKey, VerifyingKey,
        signature::{Signer, Verifier},
    },
    elliptic_curve::sec1::ToSec1Point,
};
use zeroize::Zeroizing;

use crate::model::Rng;

/// The user id that goes into Z when nobody agreed on another (GM/T 0009).
const USER_ID: &str = "1234567812345678";

/// What stands before the 65 bytes of the point in a SubjectPublicKeyInfo:
/// id-ecPublicKey, the curve 1.2.156.10197.1.301, a bit string.
const SPKI_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x81,
    0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d, 0x03, 0x42, 0x00,
];

/// A signature does not fit the message and the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the SM2 signature does not fit")]
pub struct BadSignature;

/// Bytes that are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key: {0}")]
pub struct BadKey(&'static str);

impl BadKey {
    /// The keys of a chip are not well formed.
    pub(super) const fn chip() -> Self {
        BadKey("a chip has 96 hexadecimal digits")
    }
}

/// A public key that is on the curve. It holds Z, so that a signature costs no
/// second look at the key; keep one per peer instead of parsing again.
#[derive(Clone)]
pub struct Sm2PublicKey {
    key: VerifyingKey,
    point: [u8; 65],
}

impl Sm2PublicKey {
    /// Parses a point of 65 bytes (0x04 ‖ x ‖ y) or 33 bytes (compressed).
    ///
    /// # Errors
    /// When it is of another length or not on the curve.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadKey> {
        if !matches!(bytes.len(), 33 | 65) {
            return Err(BadKey("a point has 33 or 65 bytes"));
        }
        let key = VerifyingKey::from_sec1_bytes(USER_ID, bytes).map_err(|_| BadKey("not on the curve"))?;
        Ok(Self::of(key))
    }

    /// Parses the hexadecimal form of a point.
    ///
    /// # Errors
    /// When it is not hexadecimal or not a point.
    pub fn from_hex(text: &str) -> Result<Self, BadKey> {
        let mut bytes = [0; 65];
        let length = text.len() / 2;
        if !matches!(text.len(), 66 | 130) {
            return Err(BadKey("a point has 66 or 130 hexadecimal digits"));
        }
        hex::decode_to_slice(text, &mut bytes[..length]).map_err(|_| BadKey("not hexadecimal"))?;
        Self::from_bytes(&bytes[..length])
    }

    /// Parses the DER of a SubjectPublicKeyInfo (RFC 5480) whose curve is SM2: what
    /// stands in a PEM file `PUBLIC KEY`.
    ///
    /// # Errors
    /// When it is of another form or not on the curve.
    pub fn from_spki(der: &[u8]) -> Result<Self, BadKey> {
        let point = der.strip_prefix(SPKI_HEAD).ok_or(BadKey("no public key of the curve SM2"))?;
        Self::from_bytes(point)
    }

    fn of(key: VerifyingKey) -> Self {
        let encoded = key.to_sec1_point(false);
        let point = encoded.as_bytes().try_into().expect("an uncompressed point of this curve has 65 bytes");
        Sm2PublicKey { key, point }
    }

    /// The point, uncompressed: 0x04 ‖ x ‖ y.
    pub fn to_bytes(&self) -> [u8; 65] {
        self.point
    }

    /// The uncompressed point as 130 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.point)
    }

    /// Checks `signature` (r ‖ s, 32 bytes each, big endian) over `message`.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
        let signature = Signature::from_slice(signature).map_err(|_| BadSignature)?;
        self.key.verify(message, &signature).map_err(|_| BadSignature)
    }
}

impl PartialEq for Sm2PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.point == other.point
    }
}

impl Eq for Sm2PublicKey {}

impl fmt::Debug for Sm2PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sm2PublicKey({}…)", hex::encode(&self.point[1..9]))
    }
}

/// A signing key. The scalar is wiped when the key is dropped and never printed.
pub struct Sm2SigningKey(SigningKey);

impl Sm2SigningKey {
    /// A new key from 256 bits of `rng`.
    pub fn generate(rng: &dyn Rng) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        loop {
            rng.fill(&mut *secret);
            // Fewer than one draw in 2^32 lies outside 1..n-2 and is drawn again.
            if let Ok(key) = Self::from_secret(&secret) {
                return key;
            }
        }
    }

    /// The key of a secret scalar, 32 bytes big endian, in 1..=n-2 as the
    /// standard demands.
    ///
    /// # Errors
    /// When the scalar is outside that range.
    pub fn from_secret(secret: &[u8; 32]) -> Result<Self, BadKey> {
        // With n-1 the inverse of 1 + d, which every signature needs, does not exist.
        let top = hex_scalar("fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54122");
        if *secret == top {
            return Err(BadKey("the scalar is out of range"));
        }
        let secret = SecretKey::from_slice(secret).map_err(|_| BadKey("the scalar is out of range"))?;
        let key = SigningKey::new(USER_ID, &secret).map_err(|_| BadKey("the user id is too long"))?;
        Ok(Sm2SigningKey(key))
    }

    /// The secret scalar, for a sealed file.
    pub fn to_secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The key that checks what this one signs.
    pub fn public_key(&self) -> Sm2PublicKey {
        Sm2PublicKey::of(self.0.verifying_key().clone())
    }

    /// Signs `message`: r ‖ s. The nonce is derived from key and message
    /// (RFC 6979 with SM3), so that a weak generator cannot give the key away and
    /// the same message has the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature =
            self.0.try_sign(message).expect("r or s is zero for fewer than one message in 2^250");
        signature.to_bytes().into()
    }
}

fn hex_scalar(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).expect("a scalar has 64 hexadecimal digits");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // GB/T 32918.5, annex A: key pair, message and signature.
    const SECRET: &str = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8";
    const POINT: &str = "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13";
    const SIGNATURE: &str = "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa";

    fn key() -> Sm2SigningKey {
        Sm2SigningKey::from_secret(&hex_scalar(SECRET)).expect("the standard's key")
    }

    #[test]
    fn the_standard_s_signature_verifies() {
        let signature: [u8; 64] = hex::decode(SIGNATURE).expect("hex").try_into().expect("64 bytes");
        let public = Sm2PublicKey::from_hex(POINT).expect("the standard's point");
        assert_eq!(public, key().public_key());
        assert_eq!(public.to_hex(), POINT);
        assert_eq!(public.verify(b"message digest", &signature), Ok(()));
        assert_eq!(public.verify(b"message digesu", &signature), Err(BadSignature));
    }

    #[test]
    fn a_compressed_point_is_the_same_key() {
        // y is odd in the standard's point.
        let compressed = format!("03{}", &POINT[2..66]);
        assert_eq!(Sm2PublicKey::from_hex(&compressed), Sm2PublicKey::from_hex(POINT));
    }

    #[test]
    fn what_is_not_on_the_curve_is_no_key() {
        let off = format!("{}14", &POINT[..128]);
        for text in ["", "04", "zz", off.as_str(), &"0".repeat(130), &POINT[2..]] {
            assert!(Sm2PublicKey::from_hex(text).is_err(), "{text}");
        }
        assert!(Sm2PublicKey::from_bytes(&[0]).is_err());
    }

    #[test]
    fn a_scalar_out_of_range_is_no_key() {
        for text in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54122",
            "fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123",
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ] {
            assert!(Sm2SigningKey::from_secret(&hex_scalar(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn secret_bytes_make_the_same_key_again() {
        let key = Sm2SigningKey::generate(&crate::model::SystemRng);
        let again = Sm2SigningKey::from_secret(&key.to_secret()).expect("its own secret");
        assert_eq!(again.public_key(), key.public_key());
        assert_ne!(Sm2SigningKey::generate(&crate::model::SystemRng).public_key(), key.public_key());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_flipped_bit_of_message_or_signature_is_refused(
            message in proptest::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            in_signature in any::<prop::sample::Index>(),
        ) {
            let (key, mut altered) = (key(), message.clone());
            let signature = key.sign(&message);
            let public = key.public_key();
            prop_assert_eq!(public.verify(&message, &signature), Ok(()));
            let bit = at.index(message.len() * 8);
            altered[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(public.verify(&altered, &signature), Err(BadSignature));
            let mut forged = signature;
            let bit = in_signature.index(512);
            forged[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(public.verify(&message, &forged), Err(BadSignature));
        }
    }
}
