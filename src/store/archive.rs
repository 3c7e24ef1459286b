//! Moves closed segments to an archive, packed. The journal's folder says where its
//! archive is, so whoever reads the journal (a start, a look at an old entry, a
//! proof, `onecard journal verify`) reads through to it.
//!
//! What does not live here: the form of a packed segment (`packed`).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use super::{
    backup::{Stream, digest_of},
    disk::{Disk, DiskFile, RealDisk},
    packed::{PackedFile, SUFFIX, pack},
    segment::{self, Segments},
};

/// In the journal's folder: the path of its archive.
const LINK: &str = "archive";

/// A line a segment, in the archive; the last one counts.
const MANIFEST: &str = "manifest.jsonl";

/// Segments that are never archived: the one that is written to, and the one before
/// it, to which a start may go back.
const KEPT_MIN: usize = 2;

/// What was archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ArchiveReport {
    pub segments: usize,
    pub bytes: u64,
    /// What they take in the archive.
    pub packed_bytes: u64,
}

/// What the archive's manifest says of a segment. Digests are over pieces of a MiB:
/// SM3(digest so far ‖ piece).
#[derive(Debug, Serialize)]
struct Line {
    first: u64,
    bytes: u64,
    digest: String,
    packed_bytes: u64,
    packed_digest: String,
}

/// The archive of the journal in `dir`, where it has one.
pub(super) fn archive_of(dir: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_to_string(dir.join(LINK)) {
        Ok(path) => Ok(Some(PathBuf::from(path.trim_end_matches('\n')))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Packs every closed segment of the journal in `dir` but the newest `keep` into
/// `archive` and removes it from the journal's folder. The store may be running.
///
/// # Errors
/// When something cannot be read or written; what was not finished is still in the
/// journal's folder.
pub fn archive(dir: &Path, archive: &Path, keep: usize) -> io::Result<ArchiveReport> {
    fs::create_dir_all(archive)?;
    link(dir, &fs::canonicalize(archive)?)?;
    let live = RealDisk::live_only(dir);
    let firsts = Segments::list(Arc::new(RealDisk::live_only(dir)))?.firsts();
    let closed = firsts.len().saturating_sub(keep.max(KEPT_MIN));
    let mut report = ArchiveReport::default();
    for first in firsts.into_iter().take(closed) {
        let line = put_away(live.open(&segment::name(first))?, archive, first)?;
        note(archive, &line)?;
        // Only now: until here the segment stands in both places, and is the same.
        live.remove(&segment::name(first))?;
        live.sync_dir()?;
        report.segments += 1;
        report.bytes += line.bytes;
        report.packed_bytes += line.packed_bytes;
    }
    Ok(report)
}

/// Puts `content` in the place of a segment in the archive, at once, and notes it.
pub(super) fn repack(archive: &Path, name: &str, content: Arc<dyn DiskFile>) -> io::Result<()> {
    let first = segment::parse_name(name).ok_or(io::ErrorKind::InvalidInput)?;
    note(archive, &put_away(content, archive, first)?)
}

fn note(archive: &Path, line: &Line) -> io::Result<()> {
    let mut manifest = OpenOptions::new().create(true).append(true).open(archive.join(MANIFEST))?;
    let text = serde_json::to_string(line).map_err(io::Error::other)?;
    manifest.write_all(format!("{text}\n").as_bytes())?;
    manifest.sync_all()
}

/// Packs a segment and reads it back.
fn put_away(source: Arc<dyn DiskFile>, archive: &Path, first: u64) -> io::Result<Line> {
    let name = format!("{}{SUFFIX}", segment::name(first));
    let (path, new) = (archive.join(&name), archive.join(format!("{name}.new")));
    let mut target = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&new)?;
    pack(&*source, &mut target)?;
    target.sync_all()?;
    let whole = |file: Arc<dyn DiskFile>| digest_of(Stream::of(file)?, |_| Ok(()));
    let (digest, bytes) = whole(source)?;
    if whole(Arc::new(PackedFile::open(File::open(&new)?)?))? != (digest, bytes) {
        return Err(io::Error::other("a packed segment does not read back as it was"));
    }
    fs::rename(&new, &path)?;
    File::open(archive)?.sync_all()?;
    let (packed_digest, packed_bytes) = digest_of(File::open(&path)?, |_| Ok(()))?;
    let (digest, packed_digest) = (hex::encode(digest), hex::encode(packed_digest));
    Ok(Line { first, bytes, digest, packed_bytes, packed_digest })
}

/// Says in the journal's folder where its archive is. Another archive than before
/// would hide what is in the first.
fn link(dir: &Path, archive: &Path) -> io::Result<()> {
    match archive_of(dir)? {
        Some(known) if known == archive => return Ok(()),
        Some(known) => {
            return Err(io::Error::other(format!("the journal's archive is {}", known.display())));
        }
        None => {}
    }
    let path = archive.to_str().ok_or_else(|| io::Error::other("the archive's path is not Unicode"))?;
    let new = dir.join("archive.new");
    let mut file = File::create(&new)?;
    file.write_all(path.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, dir.join(LINK))?;
    File::open(dir)?.sync_all()
}
