//! The hashes that make the journal evidence. All of them are over the very
//! bytes that are stored.

use crate::{
    crypto::{Digest32, sm3},
    model::record,
};

/// Domain tag of a batch: hash and signature are over tag ‖ header bytes.
pub const BATCH_TAG: &[u8] = b"onecard/journal/batch/v1\0";

/// Domain tag of a checkpoint.
pub const CHECKPOINT_TAG: &[u8] = b"onecard/journal/checkpoint/v1\0";

/// The hash by which a header names the checkpoint its batch carries.
pub fn checkpoint_digest(checkpoint: &[u8]) -> Digest32 {
    sm3(&[CHECKPOINT_TAG, checkpoint])
}

/// Whether a batch is signed: one without entries only when it carries a
/// checkpoint.
pub fn is_signed(header: &record::BatchHeader) -> bool {
    header.count > 0 || !header.checkpoint_digest.is_empty()
}

/// The hash by which the next batch names this one.
pub fn batch_hash(header: &[u8]) -> Digest32 {
    sm3(&[BATCH_TAG, header])
}

/// What is signed for a batch.
pub fn signed_bytes(header: &[u8]) -> Vec<u8> {
    [BATCH_TAG, header].concat()
}

/// The leaf of an entry: SM3(0x00 ‖ SM3(public part) ‖ SM3(sealed part)). Whoever
/// may not see the sealed part checks with its digest.
pub fn leaf_hash(public_part: &[u8], sealed_part: &[u8]) -> Digest32 {
    leaf_of_digests(&sm3(&[public_part]), &sm3(&[sealed_part]))
}

/// The leaf of an entry as it is stored, its sealed part there or dropped.
pub(super) fn leaf_of(stored: &record::StoredEntry) -> Digest32 {
    leaf_of_digests(&sm3(&[&stored.public_part]), &sealed_digest(stored))
}

/// SM3 of an entry's sealed part, also where it was dropped.
pub(super) fn sealed_digest(stored: &record::StoredEntry) -> Digest32 {
    match <Digest32>::try_from(stored.dropped_digest.as_slice()) {
        Ok(dropped) if stored.sealed_part.is_empty() => dropped,
        Ok(_) | Err(_) => sm3(&[&stored.sealed_part]),
    }
}

pub(super) fn leaf_of_digests(public: &Digest32, sealed: &Digest32) -> Digest32 {
    sm3(&[&[0], public, sealed])
}

/// How a header names the key that signs it: the first eight bytes of SM3 over
/// the uncompressed public point, in hexadecimal.
pub fn key_id(public_key: &[u8; 65]) -> String {
    hex::encode(&sm3(&[public_key])[..8])
}
