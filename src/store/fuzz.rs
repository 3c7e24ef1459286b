//! The journal under a fuzzer: recovery and the offline check of bytes that nobody
//! wrote, or that somebody wrote who knew every hash.

use std::sync::{Arc, LazyLock};

use prost::Message;

use super::{
    Disk, LyingDisk, MemIndex, NoObserver,
    chain::{batch_hash, leaf_hash},
    frame,
    merkle::Tree,
    recovery::Recovery,
    rows::Rows,
    segment::{self, FIRST_FRAME, SegmentHeader, Segments},
    verify_disk,
    walk::{Tail, walk},
};
use crate::{
    crypto::{SealError, Sealer},
    model::{Subject, fuzz, record},
};

const SEGMENT_BYTES: usize = 8 * 1024;
const NOW: i64 = 1_790_000_000_000;

/// A journal of one segment in which every field has something in it.
static JOURNAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let body = right_entry().encode_to_vec();
    segment_of(&[&[body.clone(), body.clone()], &[], &[body]])
});

/// Every holder's key has been destroyed: sealed parts stay shut.
struct Erased;

impl Sealer for Erased {
    fn seal(&self, _: Subject, _: &[u8; 12], _: &[u8], _: &[u8]) -> Result<Vec<u8>, SealError> {
        Err(SealError::Keys("destroyed".into()))
    }

    fn open(&self, _: Subject, _: &[u8; 12], _: &[u8], sealed: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        // Some stay readable, so that what lies inside is fuzzed as well.
        Ok(sealed.first().is_some_and(|byte| byte % 2 == 0).then(|| sealed.to_vec()))
    }
}

/// Bytes of a whole journal, edited anywhere.
///
/// # Panics
/// When the check or the recovery does, or when the check passes bytes that differ
/// from what was written.
pub fn segments(data: &[u8]) {
    let input = fuzz::input(std::slice::from_ref(&JOURNAL), data);
    let verified = verify_disk(disk(&input), None).is_ok();
    let written = input == *JOURNAL;
    assert!(!written || verified, "what was written holds");
    if input.len() == JOURNAL.len() && !written {
        assert!(!verified, "an edit of the same length is found");
    }
    recover(&input);
}

/// Entries, or a whole batch, that mean nothing, under checksums, hashes and roots
/// that are right.
///
/// # Panics
/// When the check or the recovery does.
pub fn entries(data: &[u8]) {
    let entry = fuzz::input(&[right_entry().encode_to_vec()], data);
    let bytes = segment_of(&[&[entry.clone(), entry]]);
    let _ = verify_disk(disk(&bytes), Some(&|_, _| true));
    recover(&bytes);
    let batch = fuzz::input(&[batch_of(1, [0; 32], &[right_entry().encode_to_vec()]).encode_to_vec()], data);
    if let Ok(batch) = record::Batch::decode(batch.as_slice()) {
        let mut bytes = head();
        bytes.extend(frame::encode(1, &batch));
        bytes.resize(bytes.len().max(SEGMENT_BYTES), 0);
        let _ = verify_disk(disk(&bytes), None);
        recover(&bytes);
    }
}

fn recover(bytes: &[u8]) {
    let Ok(segments) = Segments::list(disk(bytes)) else { return };
    let rows = Rows::over(Arc::new(MemIndex::new()));
    let recovery = Recovery {
        segments: &segments,
        rows: &rows,
        sealer: &Erased,
        observer: &NoObserver,
        check_whole_journal: true,
    };
    if recovery.run().is_ok() {
        let whole = walk(&segments, None, Tail::MustBeZeros, &mut |_| Ok(()));
        assert!(whole.is_ok(), "recovery leaves nothing torn behind: {whole:?}");
    }
}

fn disk(bytes: &[u8]) -> Arc<dyn Disk> {
    let disk = LyingDisk::new();
    let name = segment::name(1);
    disk.create(&name, bytes.len() as u64).expect("made");
    disk.tamper(&name, |file| *file = bytes.to_vec()).expect("is there");
    Arc::new(disk)
}

fn head() -> Vec<u8> {
    SegmentHeader { first: 1, before: 0, previous: [0; 32], dropped_as_of: 0 }.encode().to_vec()
}

/// A segment of batches, each given by the public parts of its entries.
fn segment_of(batches: &[&[Vec<u8>]]) -> Vec<u8> {
    let mut bytes = head();
    assert_eq!(bytes.len() as u64, FIRST_FRAME);
    let (mut previous, mut signed) = ([0; 32], false);
    for (sequence, entries) in (1..).zip(batches) {
        let mut batch = batch_of(sequence, previous, entries);
        batch.previous_signature = if signed { vec![7; 64] } else { Vec::new() };
        (previous, signed) = (batch_hash(&batch.header), !entries.is_empty());
        bytes.extend(frame::encode(sequence, &batch));
    }
    bytes.resize(bytes.len().max(SEGMENT_BYTES), 0);
    bytes
}

fn batch_of(sequence: u64, previous: [u8; 32], entries: &[Vec<u8>]) -> record::Batch {
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| record::StoredEntry {
            public_part: entry.clone(),
            sealed_part: entry.clone(),
            dropped_digest: Vec::new(),
        })
        .collect();
    let leaves = entries.iter().map(|entry| leaf_hash(&entry.public_part, &entry.sealed_part)).collect();
    let header = record::BatchHeader {
        schema: 1,
        region: 110_000,
        node: "node-1".into(),
        epoch: 1,
        sequence,
        previous: previous.to_vec(),
        root: Tree::over(leaves).root().to_vec(),
        count: u32::try_from(entries.len()).expect("a few"),
        committed_at_ms: NOW,
        key_id: "0011223344556677".into(),
        checkpoint_digest: Vec::new(),
    };
    record::Batch {
        header: header.encode_to_vec(),
        entries,
        previous_signature: Vec::new(),
        checkpoint: Vec::new(),
        filler: Vec::new(),
    }
}

fn right_entry() -> record::Entry {
    record::Entry {
        schema: 1,
        transaction_id: vec![1; 16],
        committed_at_ms: NOW,
        participant: "bj-metro".into(),
        terminal: "gate-01".into(),
        purpose: 1,
        scene: "transit".into(),
        method: "Tap".into(),
        request_id: vec![2; 16],
        fingerprint: vec![3; 32],
        status: 1,
        subject: vec![4; 16],
        postings: vec![
            record::Posting { account: "a".into(), amount_fen: 300 },
            record::Posting { account: "b".into(), amount_fen: -300 },
        ],
        tasks: vec![record::Task {
            kind: "library.inquire".into(),
            due_at_ms: NOW,
            ..record::Task::default()
        }],
        writes: vec![record::Write {
            kind: 1,
            id: vec![5; 16],
            revision: 1,
            schema: 1,
            body: vec![6],
            deleted: false,
        }],
        ..record::Entry::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_journal_is_checked_and_recovered_in_total() {
        fuzz::smoke(500, segments);
        fuzz::smoke(500, entries);
    }

    #[test]
    fn the_journal_that_is_edited_holds_before() {
        let report = verify_disk(disk(&JOURNAL), None).expect("it holds");
        assert_eq!((report.batches, report.entries), (3, 3));
    }
}
