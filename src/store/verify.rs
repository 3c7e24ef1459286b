//! The offline check of a journal: everything that was written is still what was
//! written. Needs no index and, but for signatures, no key.

use std::{path::Path, sync::Arc};

use prost::Message;

use super::{
    chain::signed_bytes,
    disk::{Disk, RealDisk},
    segment::Segments,
    walk::{Broken, Tail, Walked, walk},
};
use crate::{crypto::Digest32, model::record};

/// What a journal that holds consists of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    pub segments: usize,
    pub batches: u64,
    pub entries: u64,
    /// 0 in an empty journal.
    pub first_sequence: u64,
    pub last_sequence: u64,
    /// Hash of the last batch; whoever noted it earlier can tell that nothing was
    /// cut off or replaced.
    pub head_hash: Digest32,
    /// Signatures that were checked with the key.
    pub signatures_checked: u64,
    /// The last batch has entries and its signature is not on disk yet: the
    /// journal was not closed in order and is signed when it is opened.
    pub last_unsigned: bool,
}

/// Checks an SM2 signature, r ‖ s, over bytes.
pub type CheckSignature<'a> = &'a dyn Fn(&[u8], &[u8; 64]) -> bool;

/// Checks the journal in a folder that nobody writes to: frames, checksums,
/// chain, roots, counts, order, times, double entry, and, when `signature` is
/// given, every signature.
///
/// # Errors
/// The first place where it does not hold.
pub fn verify_dir(dir: &Path, signature: Option<CheckSignature<'_>>) -> Result<VerifyReport, Broken> {
    verify_disk(Arc::new(RealDisk::look(dir)), signature)
}

/// [`verify_dir`] on any disk.
///
/// # Errors
/// The first place where it does not hold.
pub fn verify_disk(
    disk: Arc<dyn Disk>,
    signature: Option<CheckSignature<'_>>,
) -> Result<VerifyReport, Broken> {
    let unreadable = |error: std::io::Error| Broken {
        segment: 0,
        offset: 0,
        sequence: 0,
        what: format!("the journal cannot be listed: {error}"),
    };
    let segments = Segments::list(disk).map_err(unreadable)?;
    let mut report = VerifyReport { segments: segments.firsts().len(), ..VerifyReport::default() };
    let mut before: Option<Vec<u8>> = None;
    walk(&segments, None, Tail::MustBeZeros, &mut |walked| {
        let broken = |what: String| Broken {
            segment: walked.segment,
            offset: walked.offset,
            sequence: walked.header.sequence,
            what,
        };
        report.signatures_checked +=
            check_signature(&walked.batch, before.as_deref(), signature).map_err(broken)?;
        check_entries(&walked).map_err(broken)?;
        report.batches += 1;
        report.entries += walked.batch.entries.len() as u64;
        report.first_sequence =
            if report.batches == 1 { walked.header.sequence } else { report.first_sequence };
        report.last_sequence = walked.header.sequence;
        report.head_hash = walked.hash;
        before = (walked.header.count > 0).then(|| walked.batch.header.clone());
        Ok(())
    })?;
    report.last_unsigned = before.is_some();
    Ok(report)
}

/// Checks the signature of the batch before, which this one carries; answers with
/// how many were checked.
fn check_signature(
    batch: &record::Batch,
    before: Option<&[u8]>,
    check: Option<CheckSignature<'_>>,
) -> Result<u64, String> {
    let Some(before) = before else {
        let empty = batch.previous_signature.is_empty();
        return if empty { Ok(0) } else { Err("a signature of nothing".to_owned()) };
    };
    let Ok(signature) = <[u8; 64]>::try_from(batch.previous_signature.as_slice()) else {
        return Err("the signature of the batch before is missing".to_owned());
    };
    match check {
        None => Ok(0),
        Some(check) if check(&signed_bytes(before), &signature) => Ok(1),
        Some(_) => Err("the signature of the batch before is not that of the key".to_owned()),
    }
}

fn check_entries(walked: &Walked) -> Result<(), String> {
    for (index, stored) in walked.batch.entries.iter().enumerate() {
        let entry = record::Entry::decode(stored.public_part.as_slice())
            .map_err(|_| format!("entry {index} cannot be decoded"))?;
        if entry.committed_at_ms != walked.header.committed_at_ms {
            return Err(format!("entry {index} has another time of commitment than its batch"));
        }
        let sum: i128 = entry.postings.iter().map(|posting| i128::from(posting.amount_fen)).sum();
        if sum != 0 {
            return Err(format!("the postings of entry {index} sum to {sum} fen"));
        }
    }
    Ok(())
}
