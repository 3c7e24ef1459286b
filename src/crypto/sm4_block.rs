//! The SM4 block cipher (GB/T 32907), one block or four side by side.
//!
//! A block alone spends its time waiting: each of the 32 rounds needs the one before.
//! Four that need nothing of each other fill those waits, which is what counter mode
//! asks for. S-box and diffusion are one table of 1 KiB; the diffusion commutes with
//! rotation by bytes, so that one serves all four bytes of a word. What is made of
//! blocks (CMAC, GCM) lives in `sm4`.

use cipher::{
    AlgorithmName, Array, Block, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt,
    BlockSizeUser, InOut, Key, KeyInit, KeySizeUser, ParBlocks, ParBlocksSizeUser,
    consts::{U4, U16},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Blocks that are enciphered side by side.
const LANES: usize = 4;

/// SM4 under one key, for encryption: neither counter mode nor CMAC deciphers. Wiped
/// on drop.
#[derive(Clone)]
pub(super) struct Sm4 {
    round_keys: [u32; 32],
}

impl Sm4 {
    /// Enciphers blocks that need nothing of each other.
    #[inline]
    fn encrypt<const N: usize>(&self, blocks: [[u8; 16]; N]) -> [[u8; 16]; N] {
        let mut state = blocks.map(words);
        for keys in self.round_keys.chunks_exact(4) {
            // Lane after lane within a round, so that their look-ups overlap.
            state.iter_mut().for_each(|x| x[0] ^= substituted(x[1] ^ x[2] ^ x[3] ^ keys[0]));
            state.iter_mut().for_each(|x| x[1] ^= substituted(x[2] ^ x[3] ^ x[0] ^ keys[1]));
            state.iter_mut().for_each(|x| x[2] ^= substituted(x[3] ^ x[0] ^ x[1] ^ keys[2]));
            state.iter_mut().for_each(|x| x[3] ^= substituted(x[0] ^ x[1] ^ x[2] ^ keys[3]));
        }
        state.map(|[a, b, c, d]| bytes([d, c, b, a]))
    }

    /// Enciphers one block.
    #[inline]
    pub(super) fn encrypt_one(&self, block: [u8; 16]) -> [u8; 16] {
        let [block] = self.encrypt([block]);
        block
    }
}

impl KeySizeUser for Sm4 {
    type KeySize = U16;
}

impl KeyInit for Sm4 {
    fn new(key: &Key<Self>) -> Self {
        let [a, b, c, d] = words((*key).into());
        let mut k = [a ^ FK[0], b ^ FK[1], c ^ FK[2], d ^ FK[3]];
        let mut round_keys = [0; 32];
        for (round, round_key) in round_keys.iter_mut().enumerate() {
            let [a, b, c, d] = k;
            *round_key = a ^ expanded(b ^ c ^ d ^ CK[round]);
            k = [b, c, d, *round_key];
        }
        k.zeroize();
        Sm4 { round_keys }
    }
}

impl BlockSizeUser for Sm4 {
    type BlockSize = U16;
}

impl ParBlocksSizeUser for Sm4 {
    type ParBlocksSize = U4;
}

impl BlockCipherEncrypt for Sm4 {
    #[inline]
    fn encrypt_with_backend(&self, f: impl BlockCipherEncClosure<BlockSize = U16>) {
        f.call(self);
    }
}

impl BlockCipherEncBackend for Sm4 {
    #[inline]
    fn encrypt_block(&self, mut block: InOut<'_, '_, Block<Self>>) {
        *block.get_out() = Array(self.encrypt_one((*block.get_in()).into()));
    }

    #[inline]
    fn encrypt_par_blocks(&self, mut blocks: InOut<'_, '_, ParBlocks<Self>>) {
        let clear: [[u8; 16]; LANES] = blocks.get_in().0.map(Into::into);
        *blocks.get_out() = Array(self.encrypt(clear).map(Array));
    }
}

impl AlgorithmName for Sm4 {
    fn write_alg_name(f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SM4")
    }
}

impl Drop for Sm4 {
    fn drop(&mut self) {
        self.round_keys.zeroize();
    }
}

impl ZeroizeOnDrop for Sm4 {}

#[inline]
fn words(block: [u8; 16]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

#[inline]
fn bytes(words: [u32; 4]) -> [u8; 16] {
    let mut block = [0; 16];
    for (bytes, word) in block.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
    block
}

/// T of the standard: S-box, then L.
#[inline]
fn substituted(word: u32) -> u32 {
    let [a, b, c, d] = word.to_be_bytes().map(|byte| T[usize::from(byte)]);
    a ^ b.rotate_right(8) ^ c.rotate_right(16) ^ d.rotate_right(24)
}

/// T' of the standard: S-box, then L', for the key schedule.
fn expanded(word: u32) -> u32 {
    let word = u32::from_be_bytes(word.to_be_bytes().map(|byte| SBOX[usize::from(byte)]));
    word ^ word.rotate_left(13) ^ word.rotate_left(23)
}

/// T of every first byte of a word.
static T: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let word = (SBOX[byte] as u32) << 24;
        table[byte] =
            word ^ word.rotate_left(2) ^ word.rotate_left(10) ^ word.rotate_left(18) ^ word.rotate_left(24);
        byte += 1;
    }
    table
};

const FK: [u32; 4] = [0xa3b1_bac6, 0x56aa_3350, 0x677d_9197, 0xb270_22dc];

/// Byte j of word i is (4i + j) · 7 mod 256.
const CK: [u32; 32] = {
    let mut words = [0; 32];
    let mut at = 0;
    while at < 128 {
        words[at / 4] = words[at / 4] << 8 | (at * 7 % 256) as u32;
        at += 1;
    }
    words
};

static SBOX: [u8; 256] = [
    0xd6, 0x90, 0xe9, 0xfe, 0xcc, 0xe1, 0x3d, 0xb7, 0x16, 0xb6, 0x14, 0xc2, 0x28, 0xfb, 0x2c, 0x05, 0x2b,
    0x67, 0x9a, 0x76, 0x2a, 0xbe, 0x04, 0xc3, 0xaa, 0x44, 0x13, 0x26, 0x49, 0x86, 0x06, 0x99, 0x9c, 0x42,
    0x50, 0xf4, 0x91, 0xef, 0x98, 0x7a, 0x33, 0x54, 0x0b, 0x43, 0xed, 0xcf, 0xac, 0x62, 0xe4, 0xb3, 0x1c,
    0xa9, 0xc9, 0x08, 0xe8, 0x95, 0x80, 0xdf, 0x94, 0xfa, 0x75, 0x8f, 0x3f, 0xa6, 0x47, 0x07, 0xa7, 0xfc,
    0xf3, 0x73, 0x17, 0xba, 0x83, 0x59, 0x3c, 0x19, 0xe6, 0x85, 0x4f, 0xa8, 0x68, 0x6b, 0x81, 0xb2, 0x71,
    0x64, 0xda, 0x8b, 0xf8, 0xeb, 0x0f, 0x4b, 0x70, 0x56, 0x9d, 0x35, 0x1e, 0x24, 0x0e, 0x5e, 0x63, 0x58,
    0xd1, 0xa2, 0x25, 0x22, 0x7c, 0x3b, 0x01, 0x21, 0x78, 0x87, 0xd4, 0x00, 0x46, 0x57, 0x9f, 0xd3, 0x27,
    0x52, 0x4c, 0x36, 0x02, 0xe7, 0xa0, 0xc4, 0xc8, 0x9e, 0xea, 0xbf, 0x8a, 0xd2, 0x40, 0xc7, 0x38, 0xb5,
    0xa3, 0xf7, 0xf2, 0xce, 0xf9, 0x61, 0x15, 0xa1, 0xe0, 0xae, 0x5d, 0xa4, 0x9b, 0x34, 0x1a, 0x55, 0xad,
    0x93, 0x32, 0x30, 0xf5, 0x8c, 0xb1, 0xe3, 0x1d, 0xf6, 0xe2, 0x2e, 0x82, 0x66, 0xca, 0x60, 0xc0, 0x29,
    0x23, 0xab, 0x0d, 0x53, 0x4e, 0x6f, 0xd5, 0xdb, 0x37, 0x45, 0xde, 0xfd, 0x8e, 0x2f, 0x03, 0xff, 0x6a,
    0x72, 0x6d, 0x6c, 0x5b, 0x51, 0x8d, 0x1b, 0xaf, 0x92, 0xbb, 0xdd, 0xbc, 0x7f, 0x11, 0xd9, 0x5c, 0x41,
    0x1f, 0x10, 0x5a, 0xd8, 0x0a, 0xc1, 0x31, 0x88, 0xa5, 0xcd, 0x7b, 0xbd, 0x2d, 0x74, 0xd0, 0x12, 0xb8,
    0xe5, 0xb4, 0xb0, 0x89, 0x69, 0x97, 0x4a, 0x0c, 0x96, 0x77, 0x7e, 0x65, 0xb9, 0xf1, 0x09, 0xc5, 0x6e,
    0xc6, 0x84, 0x18, 0xf0, 0x7d, 0xec, 0x3a, 0xdc, 0x4d, 0x20, 0x79, 0xee, 0x5f, 0x3e, 0xd7, 0xcb, 0x39,
    0x48,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10";

    #[test]
    fn the_standard_s_block_is_enciphered_as_in_the_standard() {
        // GB/T 32907, annex A.1: the key enciphers itself.
        let block = Sm4::new(&KEY.into()).encrypt_one(KEY);
        assert_eq!(hex::encode(block), "681edf34d206965e86b3e94f536e4246");
    }

    proptest! {
        #[test]
        fn every_block_is_enciphered_as_by_another_implementation(
            key in any::<[u8; 16]>(),
            blocks in proptest::collection::vec(any::<[u8; 16]>(), 0..11),
        ) {
            let mut ours: Vec<Block<Sm4>> = blocks.into_iter().map(Array).collect();
            let mut theirs = ours.clone();
            let alone: Vec<_> =
                ours.iter().map(|block| Array(Sm4::new(&key.into()).encrypt_one((*block).into()))).collect();
            Sm4::new(&key.into()).encrypt_blocks(&mut ours);
            sm4::Sm4::new(&key.into()).encrypt_blocks(&mut theirs);
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(&alone, &theirs);
        }
    }
}
