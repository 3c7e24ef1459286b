//! Checks a receipt with nothing but the journal's public key: leaf, path, root,
//! header, signature. Pure, so that a court's expert can run it years later.

use prost::Message;

use crate::{
    crypto::{Digest32, Sm2PublicKey, sm3},
    model::{Millis, TransactionId, record::BatchHeader},
    proto::common::v1::{Answer, Receipt},
};

/// Tag under which a batch header is hashed and signed, with its closing zero.
const BATCH_TAG: &[u8] = b"onecard/journal/batch/v1\0";

/// A tree over 2^32 leaves has no longer path.
const PATH_MAX: usize = 32;

/// The public key that signs a region's journal.
#[derive(Debug, Clone)]
pub struct JournalKey(Sm2PublicKey);

/// A journal key is no point of the curve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a journal key is 65 bytes, 04 then x then y, in hexadecimal, on the SM2 curve")]
pub struct BadJournalKey;

impl JournalKey {
    /// Reads an uncompressed point (0x04 ‖ x ‖ y).
    ///
    /// # Errors
    /// When it is no point of the curve.
    pub fn from_point(point: &[u8]) -> Result<Self, BadJournalKey> {
        Sm2PublicKey::from_bytes(point).map(JournalKey).map_err(|_| BadJournalKey)
    }

    /// Reads the point in hexadecimal, as trust lists and `town.toml` state it.
    ///
    /// # Errors
    /// When it is no point of the curve.
    pub fn from_hex(text: &str) -> Result<Self, BadJournalKey> {
        JournalKey::from_point(&hex::decode(text).map_err(|_| BadJournalKey)?)
    }
}

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedReceipt {
    /// Province of the journal, 6 digits.
    pub region: u32,
    pub node: String,
    pub epoch: u64,
    /// Number of the batch in its chain.
    pub sequence: u64,
    /// Position in the batch, and how many entries it has.
    pub index: u32,
    pub count: u32,
    pub committed_at_ms: Millis,
    pub key_id: String,
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptRefused {
    #[error("the answer has no receipt")]
    Missing,
    #[error("{0} has not the length the contract states")]
    Length(&'static str),
    #[error("the batch header cannot be read")]
    Header,
    #[error("the batch has {count} entries and none at {index}")]
    Position { index: u32, count: u32 },
    #[error("the path is too long or too short for its position")]
    Path,
    #[error("the path does not lead from the leaf to the root")]
    Root,
    #[error("the signature over the batch is not the journal's")]
    Signature,
    #[error("the answer names a transaction of region {transaction}, the receipt is of {receipt}")]
    OtherRegion { transaction: u32, receipt: u32 },
    #[error("the answer names no transaction")]
    NoTransaction,
}

/// Checks the receipt of an answer, and that it is of the region whose
/// transaction the answer names.
///
/// # Errors
/// The first thing that does not hold.
pub fn check_answer(answer: &Answer, key: &JournalKey) -> Result<CheckedReceipt, ReceiptRefused> {
    let receipt = answer.receipt.as_ref().ok_or(ReceiptRefused::Missing)?;
    let checked = check_receipt(receipt, key)?;
    let transaction: TransactionId =
        answer.transaction_id.parse().map_err(|_| ReceiptRefused::NoTransaction)?;
    if transaction.province() != checked.region {
        return Err(ReceiptRefused::OtherRegion {
            transaction: transaction.province(),
            receipt: checked.region,
        });
    }
    Ok(checked)
}

/// Checks that the leaf stands in a batch that the journal signed.
///
/// # Errors
/// The first thing that does not hold.
pub fn check_receipt(receipt: &Receipt, key: &JournalKey) -> Result<CheckedReceipt, ReceiptRefused> {
    let header = BatchHeader::decode(receipt.batch_header.as_slice()).map_err(|_| ReceiptRefused::Header)?;
    let leaf = digest(&receipt.leaf, "the leaf")?;
    let root = digest(&header.root, "the root")?;
    if root_of(leaf, receipt, header.count)? != root {
        return Err(ReceiptRefused::Root);
    }
    let signature = receipt.signature.as_slice().try_into().map_err(|_| ReceiptRefused::Signature)?;
    let signed = [BATCH_TAG, &receipt.batch_header].concat();
    key.0.verify(&signed, signature).map_err(|_| ReceiptRefused::Signature)?;
    Ok(CheckedReceipt {
        region: header.region,
        node: header.node,
        epoch: header.epoch,
        sequence: header.sequence,
        index: receipt.index,
        count: header.count,
        committed_at_ms: header.committed_at_ms,
        key_id: header.key_id,
    })
}

/// Walks the path. Which side a sibling stands on follows from the position: an
/// odd one has it on the left, an even one on the right, and the last of an odd
/// row has none and moves up unchanged.
fn root_of(leaf: Digest32, receipt: &Receipt, count: u32) -> Result<Digest32, ReceiptRefused> {
    if receipt.index >= count {
        return Err(ReceiptRefused::Position { index: receipt.index, count });
    }
    if receipt.path.len() > PATH_MAX {
        return Err(ReceiptRefused::Path);
    }
    let (mut node, mut place, mut row) = (leaf, receipt.index, count);
    let mut siblings = receipt.path.iter();
    while row > 1 {
        let lonely = place % 2 == 0 && place + 1 == row;
        if !lonely {
            let sibling = digest(siblings.next().ok_or(ReceiptRefused::Path)?, "a sibling of the path")?;
            node = if place % 2 == 1 { sm3(&[&[1], &sibling, &node]) } else { sm3(&[&[1], &node, &sibling]) };
        }
        place /= 2;
        row = row.div_ceil(2);
    }
    match siblings.next() {
        None => Ok(node),
        Some(_) => Err(ReceiptRefused::Path),
    }
}

fn digest(bytes: &[u8], what: &'static str) -> Result<Digest32, ReceiptRefused> {
    bytes.try_into().map_err(|_| ReceiptRefused::Length(what))
}
