//! SM4 (GB/T 32907) as a message authentication code (CMAC) and as
//! authenticated encryption (GCM, RFC 8998). Keys are expanded once.

use aes_gcm::{
    AesGcm, KeyInit,
    aead::{AeadInOut, array::Array, consts::U12},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::sm4_block::Sm4;

/// Length of the tag that GCM appends.
const TAG: usize = 16;

/// What was to be opened was altered, or the key, nonce or bound data is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes are not authentic")]
pub struct NotAuthentic;

/// SM4-CMAC (RFC 4493 with SM4 as the cipher) under one key. Wiped on drop.
#[derive(Clone)]
pub struct Sm4Mac {
    cipher: Sm4,
    /// Goes into the last block when it is whole.
    whole: [u8; 16],
    /// Goes into the last block when it had to be padded.
    padded: [u8; 16],
}

impl Sm4Mac {
    pub fn new(key: &[u8; 16]) -> Self {
        let cipher = Sm4::new(key.into());
        let whole = doubled(cipher.encrypt_one([0; 16]));
        Sm4Mac { cipher, whole, padded: doubled(whole) }
    }

    /// CMAC over the concatenation of `parts`; the caller makes the parts
    /// unambiguous (fixed lengths or length prefixes).
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 16] {
        let (mut state, mut filled) = ([0; 16], 0);
        for mut part in parts.iter().copied() {
            while !part.is_empty() {
                // A full block waits until it is known not to be the last.
                if filled == state.len() {
                    (state, filled) = (self.cipher.encrypt_one(state), 0);
                }
                let (now, later) = part.split_at(part.len().min(state.len() - filled));
                xor(&mut state[filled..], now);
                (filled, part) = (filled + now.len(), later);
            }
        }
        if filled == state.len() {
            xor(&mut state, &self.whole);
        } else {
            state[filled] ^= 0x80;
            xor(&mut state, &self.padded);
        }
        self.cipher.encrypt_one(state)
    }
}

impl Drop for Sm4Mac {
    fn drop(&mut self) {
        self.whole.zeroize();
        self.padded.zeroize();
    }
}

impl ZeroizeOnDrop for Sm4Mac {}

fn xor(into: &mut [u8], from: &[u8]) {
    into.iter_mut().zip(from).for_each(|(into, from)| *into ^= from);
}

/// Times x in the field of 2^128 elements, without a branch on what is secret.
fn doubled(block: [u8; 16]) -> [u8; 16] {
    let value = u128::from_be_bytes(block);
    ((value << 1) ^ ((value >> 127) * 0x87)).to_be_bytes()
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
    use cmac::Mac as _;
    use proptest::prelude::*;

    const KEY: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10";

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

    proptest! {
        #[test]
        fn the_mac_is_that_of_another_implementation_however_the_parts_are_cut(
            key in any::<[u8; 16]>(),
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..5),
        ) {
            let mut theirs = <cmac::Cmac<sm4::Sm4> as cmac::KeyInit>::new(&key.into());
            parts.iter().for_each(|part| theirs.update(part));
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(Sm4Mac::new(&key).mac(&parts), <[u8; 16]>::from(theirs.finalize().into_bytes()));
        }

        #[test]
        fn what_is_sealed_is_that_of_another_implementation(
            key in any::<[u8; 16]>(),
            plain in proptest::collection::vec(any::<u8>(), 0..200),
            bound in proptest::collection::vec(any::<u8>(), 0..50),
            nonce in any::<[u8; 12]>(),
        ) {
            let theirs = AesGcm::<sm4::Sm4, U12>::new(&key.into());
            let mut sealed = plain.clone();
            let tag = theirs
                .encrypt_inout_detached(&Array::from(nonce), &bound, sealed.as_mut_slice().into())
                .expect("short");
            sealed.extend_from_slice(&tag);
            prop_assert_eq!(Sm4Gcm::new(&key).seal(&nonce, &bound, &plain), sealed);
        }

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
