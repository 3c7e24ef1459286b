//! SM4 (GB/T 32907) as a message authentication code (CMAC) and as
//! authenticated encryption (GCM, RFC 8998). Keys are expanded once.

use aes_gcm::{
    AesGcm,
    aead::{AeadInOut, array::Array, consts::U12},
};
use cmac::{Cmac, KeyInit, Mac};
use sm4::Sm4;

/// Length of the tag that GCM appends.
const TAG: usize = 16;

/// What was to be opened was altered, or the key, nonce or bound data is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes are not authentic")]
pub struct NotAuthentic;

/// SM4-CMAC under one key. Wiped on drop.
#[derive(Clone)]
pub struct Sm4Mac(Cmac<Sm4>);

impl Sm4Mac {
    pub fn new(key: &[u8; 16]) -> Self {
        Sm4Mac(Cmac::new(key.into()))
    }

    /// CMAC over the concatenation of `parts`; the caller makes the parts
    /// unambiguous (fixed lengths or length prefixes).
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// SM4-GCM under one key, 12-byte nonces, 16-byte tags. Wiped on drop. A nonce
/// must never be used twice with one key.
#[derive(Clone)]
pub struct Sm4Gcm(AesGcm<Sm4, U12>);

impl Sm4Gcm {
    pub fn new(key: &[u8; 16]) -> Self {
        Sm4Gcm(AesGcm::new(key.into()))
    }

    /// Encrypts `plain` and authenticates it together with `bound`: ciphertext ‖
    /// tag.
    pub fn seal(&self, nonce: &[u8; 12], bound: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plain.len() + TAG);
        sealed.extend_from_slice(plain);
        let tag = self
            .0
            .encrypt_inout_detached(&Array::from(*nonce), bound, sealed.as_mut_slice().into())
            .expect("GCM takes 64 GiB; a message is below a megabyte");
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// Opens ciphertext ‖ tag.
    ///
    /// # Errors
    /// When anything differs from what was sealed.
    pub fn open(&self, nonce: &[u8; 12], bound: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
        let (sealed, tag) = sealed.split_last_chunk::<TAG>().ok_or(NotAuthentic)?;
        let mut plain = sealed.to_vec();
        self.0
            .decrypt_inout_detached(
                &Array::from(*nonce),
                bound,
                plain.as_mut_slice().into(),
                &Array::from(*tag),
            )
            .map_err(|_| NotAuthentic)?;
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sm4::cipher::BlockCipherEncrypt;

    const KEY: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10";

    #[test]
    fn the_standard_s_block_is_enciphered_as_in_the_standard() {
        // GB/T 32907, annex A.1: the key enciphers itself.
        let mut block = Array::from(KEY);
        Sm4::new(&KEY.into()).encrypt_block(&mut block);
        assert_eq!(hex::encode(block), "681edf34d206965e86b3e94f536e4246");
    }

    #[test]
    fn gcm_is_that_of_rfc_8998() {
        // RFC 8998, appendix A.1.
        let nonce = *b"\x00\x00\x12\x34\x56\x78\x00\x00\x00\x00\xab\xcd";
        let bound = hex::decode("feedfacedeadbeeffeedfacedeadbeefabaddad2").expect("hex");
        let plain: Vec<u8> =
            [0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0xee, 0xaa].iter().flat_map(|byte| [*byte; 8]).collect();
        let sealed = Sm4Gcm::new(&KEY).seal(&nonce, &bound, &plain);
        assert_eq!(
            hex::encode(&sealed),
            "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735\
             d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d\
             83de3541e4c2b58177e065a9bf7b62ec"
        );
        assert_eq!(Sm4Gcm::new(&KEY).open(&nonce, &bound, &sealed), Ok(plain));
    }

    #[test]
    fn the_mac_is_that_of_rfc_4493_with_sm4_as_the_cipher() {
        // By hand from the block cipher: an empty message is one padded block.
        let cipher = Sm4::new(&KEY.into());
        let mut zero = Array::from([0; 16]);
        cipher.encrypt_block(&mut zero);
        let double = |value: u128| (value << 1) ^ if value >> 127 == 1 { 0x87 } else { 0 };
        let k1 = double(u128::from_be_bytes(zero.into()));
        let k2 = double(k1);
        let mut empty = Array::from((k2 ^ (0x80 << 120)).to_be_bytes());
        cipher.encrypt_block(&mut empty);
        assert_eq!(Sm4Mac::new(&KEY).mac(&[]), <[u8; 16]>::from(empty));
        let mut whole = Array::from((k1 ^ u128::from_be_bytes(KEY)).to_be_bytes());
        cipher.encrypt_block(&mut whole);
        assert_eq!(Sm4Mac::new(&KEY).mac(&[&KEY]), <[u8; 16]>::from(whole));
        assert_eq!(Sm4Mac::new(&KEY).mac(&[&KEY[..5], &KEY[5..]]), <[u8; 16]>::from(whole));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_of_the_sealed_part_is_refused(
            plain in proptest::collection::vec(any::<u8>(), 0..150),
            bound in proptest::collection::vec(any::<u8>(), 0..50),
            nonce in any::<[u8; 12]>(),
            at in any::<prop::sample::Index>(),
        ) {
            let gcm = Sm4Gcm::new(&KEY);
            let mut sealed = gcm.seal(&nonce, &bound, &plain);
            prop_assert_eq!(gcm.open(&nonce, &bound, &sealed), Ok(plain));
            let mut other = bound.clone();
            other.push(0);
            prop_assert_eq!(gcm.open(&nonce, &other, &sealed), Err(NotAuthentic));
            let bit = at.index(sealed.len() * 8);
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(gcm.open(&nonce, &bound, &sealed), Err(NotAuthentic));
        }

        #[test]
        fn what_is_shorter_than_a_tag_is_refused(sealed in proptest::collection::vec(any::<u8>(), 0..16)) {
            prop_assert_eq!(Sm4Gcm::new(&KEY).open(&[0; 12], b"", &sealed), Err(NotAuthentic));
        }
    }
}
