//! Makes a copy of a store, or brings one up to date, while the store runs.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
    sync::Arc,
};

use prost::Message as _;

use super::{
    BackupError, HOLDER_KEYS, JOURNAL, Manifest, ManifestSegment, Stream, digest_of, disk, private, put,
    sync_dir,
};
use crate::{
    crypto::copy_holder_keys,
    model::record,
    store::{
        Disk as _, DiskFile, RealDisk,
        frame::{self, Found},
        rows::Marker,
        segment::{self, FIRST_FRAME, SegmentHeader, Segments},
        walk::{Tail, walk},
    },
};

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackupReport {
    pub segments_copied: usize,
    /// They were in the folder already.
    pub segments_kept: usize,
    pub bytes_copied: u64,
    /// The last batch of the copy; 0 of an empty journal.
    pub last_sequence: u64,
    pub holder_slots: u64,
    pub erased: u64,
}

/// Copies the store in `store` to the folder `to`; a folder that holds an earlier
/// copy is brought up to date. What was copied is read back and checked.
///
/// # Errors
/// When something cannot be read or written, or when the journal is broken.
pub fn backup(store: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    let (from, journal) = (store.join(JOURNAL), to.join(JOURNAL));
    fs::create_dir_all(&journal).map_err(disk(&journal))?;
    let segments = Segments::list(Arc::new(RealDisk::look(&from))).map_err(disk(&from))?;
    let firsts = segments.firsts();
    let (region, node) = chain_of(&segments, &firsts).map_err(disk(&from))?.unwrap_or_default();
    let before = match Manifest::read(to)? {
        Some(before) if (before.region, before.node.as_str()) == (region, node.as_str()) => before,
        Some(before) => {
            let is = format!("{region} {node}");
            return Err(BackupError::OtherStore { holds: before.chain(), is });
        }
        None => Manifest::empty(region, &node),
    };
    let mut report = BackupReport::default();
    let mut manifest = Manifest { segments: older(&before, &firsts), ..before.clone() };
    let mut newest_kept = None;
    for (at, &first) in firsts.iter().enumerate() {
        let known = before.segment(first).filter(|known| known.closed && is_there(&journal, known));
        // Sealed parts that were dropped in the store are to go from its copy as well.
        let known = known.filter(|known| same_head(&segments, &journal, known.first));
        if let Some(known) = known {
            manifest.segments.push(known.clone());
            report.segments_kept += 1;
            // One that is copied again lies between those that are kept.
            newest_kept = if report.segments_copied == 0 { Some(first) } else { newest_kept };
            continue;
        }
        let closed = at + 1 < firsts.len();
        let copied = copy_segment(&from, &journal, first, closed).map_err(disk(&from))?;
        report.segments_copied += 1;
        report.bytes_copied += copied.bytes;
        manifest.segments.push(copied);
    }
    sync_dir(&journal).map_err(disk(&journal))?;
    read_back(&journal, newest_kept, &mut manifest)?;

    // The keys after the journal: whatever the copied entries are sealed under is
    // there, because keys are durable before the entry is.
    let keys = to.join(HOLDER_KEYS);
    let copied = copy_holder_keys(&store.join(HOLDER_KEYS), &keys).map_err(disk(&keys))?;
    manifest.holder_slots = copied.slots;
    manifest.holder_digest = hex::encode(copied.digest);
    manifest.erased = copied.erased;
    manifest.write(to)?;
    report.last_sequence = manifest.sequence;
    report.holder_slots = copied.slots;
    report.erased = copied.erased;
    Ok(report)
}

/// Segments that the copy has and the store has no more: they were archived.
fn older(before: &Manifest, firsts: &[u64]) -> Vec<ManifestSegment> {
    let oldest = firsts.first().copied().unwrap_or(0);
    before.segments.iter().filter(|segment| segment.first < oldest).cloned().collect()
}

fn is_there(journal: &Path, known: &ManifestSegment) -> bool {
    let about = fs::metadata(journal.join(segment::name(known.first)));
    about.is_ok_and(|about| about.len() == known.bytes)
}

/// Whether a segment has the same header in the store and in the copy. It is another one
/// when sealed parts were dropped since.
fn same_head(segments: &Segments, copy: &Path, first: u64) -> bool {
    let head = |file: std::io::Result<Arc<dyn DiskFile>>| SegmentHeader::read(&*file?);
    let copied = RealDisk::look(copy).open(&segment::name(first));
    matches!((head(segments.file(first)), head(copied)), (Ok(store), Ok(copy)) if store == copy)
}

/// Region and node of the chain; `None` of a journal without batches.
fn chain_of(segments: &Segments, firsts: &[u64]) -> std::io::Result<Option<(u32, String)>> {
    let Some(&first) = firsts.first() else { return Ok(None) };
    let file = segments.file(first)?;
    let Found::Frame(frame) = frame::read(&*file, FIRST_FRAME, file.size()?)? else { return Ok(None) };
    let header = record::Batch::decode(frame.body.as_slice())
        .and_then(|batch| record::BatchHeader::decode(batch.header.as_slice()))
        .map_err(std::io::Error::other)?;
    Ok(Some((header.region, header.node)))
}

/// Copies a segment: whole when it is closed, to the last whole batch when it is
/// still written to.
fn copy_segment(from: &Path, to: &Path, first: u64, closed: bool) -> std::io::Result<ManifestSegment> {
    let name = segment::name(first);
    let (new, path) = (to.join(format!("{name}.new")), to.join(&name));
    let source = Stream::of(RealDisk::look(from).open(&name)?)?;
    let size = source.end;
    let until = if closed { size } else { last_whole(from, first)? };
    let mut target = private(&new)?;
    digest_of(source.until(until), |piece| target.write_all(piece))?;
    // The rest is zeros, as in every segment.
    target.set_len(size)?;
    put(&new, &path, &target)?;
    let (digest, bytes) = digest_of(File::open(&path)?.take(until), |_| Ok(()))?;
    Ok(ManifestSegment { first, bytes, digest: hex::encode(digest), closed })
}

/// Where the last whole frame of a segment ends; 0 where there is none, because its
/// header may not be written yet.
fn last_whole(from: &Path, first: u64) -> std::io::Result<u64> {
    let segments = Segments::list(Arc::new(RealDisk::look(from)))?;
    let file = segments.file(first)?;
    let (size, mut offset) = (file.size()?, FIRST_FRAME);
    while let Found::Frame(frame) = frame::read(&*file, offset, size)? {
        offset = frame.next;
    }
    Ok(if offset == FIRST_FRAME { 0 } else { offset })
}

/// Reads back what was copied, and the last segment that was there already, and
/// tells the manifest where the copy ends.
fn read_back(journal: &Path, from: Option<u64>, manifest: &mut Manifest) -> Result<(), BackupError> {
    let copy = Segments::list(Arc::new(RealDisk::look(journal))).map_err(disk(journal))?;
    let from = from.map(|first| Marker {
        sequence: first,
        segment: first,
        offset: FIRST_FRAME as u32,
        hash: [0; 32],
    });
    walk(&copy, from, Tail::MustBeZeros, &mut |walked| {
        manifest.epoch = walked.header.epoch;
        manifest.sequence = walked.header.sequence;
        manifest.hash = hex::encode(walked.hash);
        manifest.committed_at_ms = walked.header.committed_at_ms;
        Ok(())
    })?;
    Ok(())
}
