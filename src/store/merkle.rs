//! The Merkle tree of a batch, and the check of a receipt that a third party can
//! make with nothing but a public key.

use bytes::Bytes;
use prost::Message;

use super::chain::{leaf_of_digests, signed_bytes};
use crate::{
    crypto::{Digest32, sm3},
    model::{Receipt, record},
};

fn node(left: &Digest32, right: &Digest32) -> Digest32 {
    sm3(&[&[1], left, right])
}

/// A tree over the leaves of a batch. A lonely node moves up unchanged.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Leaves first, root last. Empty when there are no leaves.
    levels: Vec<Vec<Digest32>>,
}

impl Tree {
    /// Hashes the tree once: n − 1 nodes for n leaves.
    pub fn over(leaves: Vec<Digest32>) -> Self {
        let mut levels = Vec::new();
        let mut level = leaves;
        while level.len() > 1 {
            let above = level
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => node(left, right),
                    lonely => lonely[0],
                })
                .collect();
            levels.push(std::mem::replace(&mut level, above));
        }
        if !level.is_empty() {
            levels.push(level);
        }
        Tree { levels }
    }

    /// The root; zeros when there are no leaves.
    pub fn root(&self) -> Digest32 {
        self.levels.last().map_or([0; 32], |top| top[0])
    }

    /// The leaf at `index`.
    pub fn leaf(&self, index: usize) -> Option<Digest32> {
        self.levels.first()?.get(index).copied()
    }

    /// The sibling hashes from the leaf at `index` upwards, at most log₂ n.
    pub fn path(&self, index: usize) -> Vec<Digest32> {
        let mut at = index;
        let mut path = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            path.extend(level.get(at ^ 1));
            at /= 2;
        }
        path
    }
}

/// The root to which `path` leads from `leaf`, or `None` when the path has not
/// the length that position and count give.
fn climb(leaf: &Digest32, index: u32, count: u32, path: &[Digest32]) -> Option<Digest32> {
    if index >= count {
        return None;
    }
    let (mut at, mut width, mut hash) = (index, count, *leaf);
    let mut siblings = path.iter();
    while width > 1 {
        let lonely = at == width - 1 && width % 2 == 1;
        if !lonely {
            let sibling = siblings.next()?;
            hash = if at.is_multiple_of(2) { node(&hash, sibling) } else { node(sibling, &hash) };
        }
        at /= 2;
        width = width.div_ceil(2);
    }
    siblings.next().is_none().then_some(hash)
}

/// What shows that a receipt is about a certain entry: its public bytes, and the
/// digest that stands for the part that is sealed.
#[derive(Debug, Clone, Copy)]
pub struct EntryProof<'a> {
    /// Encoded `record::Entry`, as stored.
    pub public_part: &'a [u8],
    /// SM3 of the sealed part.
    pub sealed_digest: Digest32,
}

/// Everything a third party needs to see that an entry stands in the journal; it
/// tells nothing personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Encoded `record::Entry`, as stored.
    pub public_part: Bytes,
    /// SM3 of the sealed part.
    pub sealed_digest: Digest32,
    pub receipt: Receipt,
}

impl Proof {
    /// Checks the proof; see [`check_receipt`].
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(
        &self,
        verify: &dyn Fn(&[u8], &[u8; 64]) -> bool,
    ) -> Result<record::BatchHeader, BadReceipt> {
        let entry = EntryProof { public_part: &self.public_part, sealed_digest: self.sealed_digest };
        check_receipt(&self.receipt, Some(entry), verify)
    }
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadReceipt {
    #[error("the batch header cannot be read")]
    Header,
    #[error("the entry is not the one the receipt is about")]
    OtherEntry,
    #[error("the path does not lead to the root in the header")]
    Path,
    #[error("the signature is not that of the key")]
    Signature,
}

/// Checks a receipt and hands back the header it stands under.
///
/// `verify` checks an SM2 signature (r ‖ s) over the bytes it is given, with the
/// key named in the header. With `entry` the receipt is also held against the
/// entry itself.
///
/// # Errors
/// The first thing that does not hold.
pub fn check_receipt(
    receipt: &Receipt,
    entry: Option<EntryProof<'_>>,
    verify: &dyn Fn(&[u8], &[u8; 64]) -> bool,
) -> Result<record::BatchHeader, BadReceipt> {
    let header = record::BatchHeader::decode(receipt.batch_header.clone()).map_err(|_| BadReceipt::Header)?;
    if let Some(entry) = entry
        && leaf_of_digests(&sm3(&[entry.public_part]), &entry.sealed_digest) != receipt.leaf
    {
        return Err(BadReceipt::OtherEntry);
    }
    let root = climb(&receipt.leaf, receipt.index, header.count, &receipt.path).ok_or(BadReceipt::Path)?;
    if root.as_slice() != header.root {
        return Err(BadReceipt::Path);
    }
    if !verify(&signed_bytes(&receipt.batch_header), &receipt.signature) {
        return Err(BadReceipt::Signature);
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u32) -> Vec<Digest32> {
        (0..count).map(|at| sm3(&[&at.to_be_bytes()])).collect()
    }

    #[test]
    fn every_leaf_of_every_small_tree_leads_to_the_root() {
        for count in 1..70 {
            let tree = Tree::over(leaves(count));
            for index in 0..count {
                let leaf = tree.leaf(index as usize).expect("the leaf is there");
                let path = tree.path(index as usize);
                assert_eq!(climb(&leaf, index, count, &path), Some(tree.root()), "{index} of {count}");
            }
        }
    }

    #[test]
    fn another_place_leaf_or_path_leads_elsewhere() {
        let tree = Tree::over(leaves(11));
        let path = tree.path(4);
        let leaf = tree.leaf(4).expect("the leaf is there");
        assert_ne!(climb(&leaf, 5, 11, &path), Some(tree.root()));
        assert_ne!(climb(&leaf, 4, 4, &path), Some(tree.root()));
        assert_ne!(climb(&[7; 32], 4, 11, &path), Some(tree.root()));
        assert_eq!(climb(&leaf, 4, 11, &path[1..]), None);
        let longer = [path.as_slice(), &[[0; 32]]].concat();
        assert_eq!(climb(&leaf, 4, 11, &longer), None);
    }

    #[test]
    fn a_tree_of_three_is_hashed_as_the_contract_says() {
        let [a, b, c] = [[1; 32], [2; 32], [3; 32]];
        let tree = Tree::over(vec![a, b, c]);
        assert_eq!(tree.root(), sm3(&[&[1], &sm3(&[&[1], &a, &b]), &c]));
        assert_eq!(tree.path(2), vec![sm3(&[&[1], &a, &b])]);
    }
}
