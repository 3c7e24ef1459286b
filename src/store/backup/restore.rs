//! Makes a store from a copy, as it was at a point in time.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{BackupError, HOLDER_KEYS, JOURNAL, Manifest, digest_of, disk, private, sync_dir};
use crate::{
    crypto::{
        Digest32, ERASED, SALTS, copy_holder_keys, digest_of_salts, erase_salts, read_erased, write_erased,
    },
    model::{Clock, Millis, Subject},
    store::{
        RealDisk, VerifyReport,
        segment::{self, Segments},
        verify::{CheckSignature, newest_drop},
        verify_dir,
        walk::{Tail, walk},
    },
};

/// The point to which a store is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Everything that the copy has.
    End,
    /// The last batch committed at or before this time.
    Time(Millis),
    /// This batch.
    Sequence(u64),
}

/// Where a copy is, where the store is to be, and what must not come back.
#[derive(Debug, Clone)]
pub struct Restored<'a> {
    pub from: &'a Path,
    pub to: &'a Path,
    pub until: Until,
    /// Lists of erased holders that are newer than the copy: the file
    /// `holder-keys/erased` of the store that is replaced, or of a later copy.
    pub erased: &'a [PathBuf],
}

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreReport {
    /// The last batch.
    pub last_sequence: u64,
    pub committed_at_ms: Millis,
    /// The epoch from which the chain goes on.
    pub epoch: u64,
    pub holder_slots: u64,
    /// Holders whose key was taken away.
    pub erased: u64,
    pub verified: VerifyReport,
}

/// The end of what is put back.
#[derive(Debug, Clone, Copy)]
struct Cut {
    segment: u64,
    /// Where the last batch ends in it.
    next: u64,
    sequence: u64,
    epoch: u64,
    committed_at_ms: Millis,
}

/// Makes a store from a copy and verifies it. The chain goes on in a new epoch, so
/// that nobody takes what follows for what followed before.
///
/// # Errors
/// When the copy is damaged or does not reach so far, or `to` is not empty.
pub fn restore(
    asked: &Restored<'_>,
    clock: &dyn Clock,
    signature: Option<CheckSignature<'_>>,
) -> Result<RestoreReport, BackupError> {
    let Restored { from, to, until, erased } = *asked;
    let Some(manifest) = Manifest::read(from)? else {
        return Err(BackupError::NoBackup(from.to_owned(), "it has no manifest.json".to_owned()));
    };
    let journal = to.join(JOURNAL);
    fs::create_dir_all(&journal).map_err(disk(&journal))?;
    for folder in [&journal, &to.join(HOLDER_KEYS)] {
        if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(BackupError::NotEmpty(folder.clone()));
        }
    }
    undamaged(from, &manifest)?;
    let cut = find(&from.join(JOURNAL), &manifest, until)?;
    for segment in manifest.segments.iter().filter(|segment| segment.first <= cut.segment) {
        let upto = (segment.first == cut.segment).then_some(cut.next);
        copy(&from.join(JOURNAL), &journal, segment.first, upto).map_err(disk(&journal))?;
    }
    let now = u64::try_from(clock.now_ms()).unwrap_or(0);
    let epoch = now.max(cut.epoch + 1);
    let path = journal.join(segment::EPOCH);
    let mut file = private(&path).map_err(disk(&path))?;
    file.write_all(epoch.to_string().as_bytes()).and_then(|()| file.sync_all()).map_err(disk(&path))?;
    sync_dir(&journal).map_err(disk(&journal))?;

    let keys = keys(from, to, erased)?;
    sync_dir(to).map_err(disk(to))?;
    let verified = verify_dir(&journal, signature)?;
    Ok(RestoreReport {
        last_sequence: cut.sequence,
        committed_at_ms: cut.committed_at_ms,
        epoch,
        holder_slots: keys.0,
        erased: keys.1,
        verified,
    })
}

/// Puts the holder keys back, without those on any list of the erased.
fn keys(from: &Path, to: &Path, lists: &[PathBuf]) -> Result<(u64, u64), BackupError> {
    let folder = to.join(HOLDER_KEYS);
    let mut erased: HashSet<Subject> = HashSet::new();
    for list in lists {
        // A list that is not there is a mistake, not an empty list.
        fs::metadata(list).map_err(disk(list))?;
        erased.extend(read_erased(list).map_err(disk(list))?);
    }
    copy_holder_keys(&from.join(HOLDER_KEYS), &folder).map_err(disk(&folder))?;
    let list = folder.join(ERASED);
    erased.extend(read_erased(&list).map_err(disk(&list))?);
    write_erased(&list, &erased).map_err(disk(&list))?;
    let copied = erase_salts(&folder, &erased).map_err(disk(&folder))?;
    Ok((copied.slots, copied.erased))
}

/// Holds a copy against its manifest. A later run that was stopped before it wrote its
/// own may have left more than the manifest tells of, but nothing else.
fn undamaged(from: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    for segment in &manifest.segments {
        let path = from.join(JOURNAL).join(segment::name(segment.first));
        let file = File::open(&path).map_err(disk(&path))?;
        let size = file.metadata().map_err(disk(&path))?.len();
        let (digest, bytes) = digest_of(file.take(segment.bytes), |_| Ok(())).map_err(disk(&path))?;
        let longer = segment.closed && size != bytes;
        if longer || (hex::encode(digest), bytes) != (segment.digest.clone(), segment.bytes) {
            return Err(BackupError::Damaged(path));
        }
    }
    holder_keys_undamaged(&from.join(HOLDER_KEYS), manifest)
}

fn holder_keys_undamaged(folder: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let list = folder.join(ERASED);
    let erased = read_erased(&list).map_err(disk(&list))?.len() as u64;
    if erased < manifest.erased {
        return Err(BackupError::Damaged(list));
    }
    let salts = folder.join(SALTS);
    let digest = digest_of_salts(&salts, manifest.holder_slots).map_err(disk(&salts))?;
    // Where more were erased since, their salts were taken out of these slots, and
    // what the digest was over is gone for good.
    let same = |digest: Digest32| erased > manifest.erased || hex::encode(digest) == manifest.holder_digest;
    match digest {
        Some(digest) if same(digest) => Ok(()),
        Some(_) | None => Err(BackupError::Damaged(salts)),
    }
}

/// The last batch that is put back.
fn find(journal: &Path, manifest: &Manifest, until: Until) -> Result<Cut, BackupError> {
    let segments = Segments::list(Arc::new(RealDisk::look(journal))).map_err(disk(journal))?;
    // A copy that was given up in the middle may hold more than the manifest tells.
    let unknown = |first: &u64| manifest.segment(*first).is_none();
    segments.firsts().iter().filter(|first| unknown(first)).for_each(|first| segments.forget(*first));
    // Nor is what it has more of in a segment that the manifest tells of part of this
    // copy: the keys of it may be missing.
    let mut cut = None;
    let mut reach = (0, 0);
    walk(&segments, None, Tail::MustBeZeros, &mut |walked| {
        let header = &walked.header;
        if header.sequence > manifest.sequence {
            return Ok(());
        }
        reach = (if reach.0 == 0 { header.sequence } else { reach.0 }, header.sequence);
        let within = match until {
            Until::End => true,
            Until::Time(at) => header.committed_at_ms <= at,
            Until::Sequence(sequence) => header.sequence <= sequence,
        };
        if within {
            cut = Some(Cut {
                segment: walked.segment,
                next: walked.next,
                sequence: header.sequence,
                epoch: header.epoch,
                committed_at_ms: header.committed_at_ms,
            });
        }
        Ok(())
    })?;
    let (as_of, _) = newest_drop(&segments)?;
    if let Some(cut) = cut.filter(|cut| cut.sequence < as_of) {
        return Err(BackupError::Dropped { as_of, wanted: cut.sequence });
    }
    let (first, last) = reach;
    let beyond = matches!(until, Until::Sequence(sequence) if sequence > last);
    cut.filter(|_| !beyond).ok_or(BackupError::OutOfReach { first, last })
}

/// Copies a segment, up to `upto` where that is given, and zeros behind.
fn copy(from: &Path, to: &Path, first: u64, upto: Option<u64>) -> std::io::Result<()> {
    let name = segment::name(first);
    let source = File::open(from.join(&name))?;
    let size = source.metadata()?.len();
    let mut target = private(&to.join(&name))?;
    let limited = (&source).take(upto.unwrap_or(size));
    digest_of(limited, |piece| target.write_all(piece))?;
    // Real zeros: the journal goes on in this segment, and writing into a hole would
    // make every sync dearer.
    let mut at = target.seek(SeekFrom::End(0))?;
    let zeros = vec![0; 1 << 18];
    while at < size {
        let piece = usize::try_from(size - at).unwrap_or(usize::MAX).min(zeros.len());
        target.write_all(&zeros[..piece])?;
        at += piece as u64;
    }
    target.sync_all()
}
