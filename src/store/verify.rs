//! The offline check of a journal: everything that was written is still what was
//! written. Needs no index and, but for signatures, no key.

use std::{path::Path, sync::Arc};

use prost::Message;

use super::{
    LedgerTotals, Unfinished,
    chain::{is_signed, signed_bytes},
    checkpoint::Tally,
    disk::{Disk, RealDisk},
    segment::{HeadFound, SegmentHeader, Segments},
    walk::{Broken, End, Place, Tail, Walked, walk},
};
use crate::{
    crypto::Digest32,
    model::{Millis, record},
};

/// What a journal that holds consists of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    pub segments: usize,
    pub batches: u64,
    pub entries: u64,
    /// Batches that carry the totals of what is before them.
    pub checkpoints: u64,
    /// Heads that they name and that are ends of epochs of this chain.
    pub heads: u64,
    /// Heads that they name of other chains, which are not in this journal.
    pub heads_elsewhere: u64,
    /// Sums over all postings; debits and credits are equal.
    pub ledger: LedgerTotals,
    /// 0 in an empty journal.
    pub first_sequence: u64,
    pub last_sequence: u64,
    /// Every epoch with its first batch; more than one where the journal was put
    /// back to an earlier point.
    pub epochs: Vec<(u64, u64)>,
    /// Hash of the last batch; whoever noted it earlier can tell that nothing was
    /// cut off or replaced.
    pub head_hash: Digest32,
    /// Sealed parts that were dropped after their term; their digests hold. When the
    /// newest of their entries was committed.
    pub dropped: u64,
    pub dropped_until_ms: Option<Millis>,
    /// Signatures that were checked with the key.
    pub signatures_checked: u64,
    /// The last batch has entries and its signature is not on disk yet: the
    /// journal was not closed in order and is signed when it is opened.
    pub last_unsigned: bool,
    /// A gateway holds the folder: what it was writing is the end.
    pub running: bool,
    /// What lies behind the last whole batch, in a journal that is written to.
    pub unfinished: Option<Unfinished>,
}

/// Checks an SM2 signature, r ‖ s, over bytes.
pub type CheckSignature<'a> = &'a dyn Fn(&[u8], &[u8; 64]) -> bool;

/// Checks the journal in a folder: frames, checksums, chain, roots, counts, order,
/// times, double entry, and, when `signature` is given, every signature. When a
/// gateway writes to it, what is half written is the end; otherwise nothing may
/// lie behind the last batch.
///
/// # Errors
/// The first place where it does not hold.
pub fn verify_dir(dir: &Path, signature: Option<CheckSignature<'_>>) -> Result<VerifyReport, Broken> {
    let verify = |tail| {
        let disk = Arc::new(RealDisk::look(dir));
        let report = verify_tail(disk, signature, tail)?;
        Ok(VerifyReport { running: tail == Tail::MayBeTorn, ..report })
    };
    // A folder whose holder cannot be asked for is looked at strictly.
    let held = || RealDisk::is_held(dir).unwrap_or(false);
    if held() {
        return verify(Tail::MayBeTorn);
    }
    match verify(Tail::MustBeZeros) {
        // A gateway was started meanwhile.
        Err(_) if held() => verify(Tail::MayBeTorn),
        verified => verified,
    }
}

/// [`verify_dir`] of a journal whose gateway was killed: an unfinished last frame,
/// which was never acknowledged, is the end. Damage to the very last frame cannot be
/// told from that.
///
/// # Errors
/// The first place where it does not hold.
pub fn verify_killed(dir: &Path, signature: Option<CheckSignature<'_>>) -> Result<VerifyReport, Broken> {
    verify_tail(Arc::new(RealDisk::look(dir)), signature, Tail::MayBeTorn)
}

/// [`verify_dir`] on any disk, to which nobody writes.
///
/// # Errors
/// The first place where it does not hold.
pub fn verify_disk(
    disk: Arc<dyn Disk>,
    signature: Option<CheckSignature<'_>>,
) -> Result<VerifyReport, Broken> {
    verify_tail(disk, signature, Tail::MustBeZeros)
}

fn verify_tail(
    disk: Arc<dyn Disk>,
    signature: Option<CheckSignature<'_>>,
    tail: Tail,
) -> Result<VerifyReport, Broken> {
    let segments = Segments::look(disk)?;
    let mut report = VerifyReport { segments: segments.firsts().len(), ..VerifyReport::default() };
    let mut before: Option<Vec<u8>> = None;
    let mut tally = Tally::default();
    let end = walk(&segments, None, tail, &mut |walked| {
        let broken = |what: String| walked.broken(what);
        report.signatures_checked +=
            check_signature(&walked.batch, before.as_deref(), signature).map_err(broken)?;
        tally.check(&walked.header, &walked.batch.checkpoint).map_err(|what| broken(what.to_owned()))?;
        let postings = check_entries(&walked).map_err(broken)?;
        let (count, carries) = (walked.batch.entries.len() as u64, !walked.batch.checkpoint.is_empty());
        report.checkpoints += u64::from(carries);
        let (here, elsewhere) = tally.heads_of(&walked.batch.checkpoint);
        report.heads += here;
        report.heads_elsewhere += elsewhere;
        let header = &walked.header;
        tally.head_is(header.region, &header.node, header.epoch, header.sequence, &walked.hash);
        tally.take_up(walked.header.committed_at_ms, carries, count, &postings);
        let dropped = walked.batch.entries.iter().filter(|entry| !entry.dropped_digest.is_empty()).count();
        if dropped > 0 {
            report.dropped += dropped as u64;
            report.dropped_until_ms = Some(walked.header.committed_at_ms);
        }
        report.batches += 1;
        report.entries += walked.batch.entries.len() as u64;
        report.first_sequence =
            if report.batches == 1 { walked.header.sequence } else { report.first_sequence };
        if report.epochs.last().is_none_or(|(epoch, _)| *epoch != walked.header.epoch) {
            report.epochs.push((walked.header.epoch, walked.header.sequence));
        }
        report.last_sequence = walked.header.sequence;
        report.head_hash = walked.hash;
        before = is_signed(&walked.header).then(|| walked.batch.header.clone());
        Ok(())
    })?;
    report.ledger = *tally.whole();
    dropped_as_of(&segments, &report)?;
    report.last_unsigned = before.is_some();
    report.unfinished = end.and_then(|End { segment, offset, unfinished, .. }| {
        unfinished.map(|what| Unfinished { segment, offset, what })
    });
    Ok(report)
}

/// A segment of which sealed parts were dropped says how far was looked for what is
/// newer; a journal that ends before that has lost it.
fn dropped_as_of(segments: &Segments, report: &VerifyReport) -> Result<(), Broken> {
    let (as_of, segment) = newest_drop(segments)?;
    if as_of > report.last_sequence {
        let what = format!("sealed parts were dropped as of batch {as_of}, the journal ends before it");
        return Err(Broken { segment, offset: 0, sequence: report.last_sequence, what });
    }
    Ok(())
}

/// Up to which batch was looked for what is newer than a dropped sealed part, at most,
/// and in which segment it was dropped; 0 where none was.
pub(super) fn newest_drop(segments: &Segments) -> Result<(u64, u64), Broken> {
    let mut newest = (0, 0);
    for first in segments.firsts() {
        let read = || SegmentHeader::read(&*segments.file(first)?);
        let place = Place { segment: first, offset: 0, sequence: first };
        if let HeadFound::Header(head) = read().map_err(|error| place.io(&error))? {
            newest = newest.max((head.dropped_as_of, first));
        }
    }
    Ok(newest)
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

/// Checks the entries of a batch and hands out their postings.
fn check_entries(walked: &Walked) -> Result<Vec<record::Posting>, String> {
    let mut postings = Vec::new();
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
        postings.extend(entry.postings);
    }
    Ok(postings)
}
