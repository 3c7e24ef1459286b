//! Copies of a store that is running, and stores made from such copies as of any
//! point in time. The way is described in docs/backup.md.
//!
//! A copy holds the journal and the holder keys; the index is built from them. What
//! does not live here: the vault, whose keys are kept elsewhere.

mod manifest;
mod restore;
mod take;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use manifest::{Manifest, ManifestSegment};
pub use restore::{RestoreReport, Restored, Until, restore};
pub use take::{BackupReport, backup};

use super::{Broken, DiskFile};
use crate::crypto::{Digest32, sm3};

/// Folders within a store and within a copy.
const JOURNAL: &str = "journal";
const HOLDER_KEYS: &str = "holder-keys";

/// Bytes that are copied and hashed at once.
const PIECE: usize = 1 << 20;

/// Why a copy could not be made or put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{path}: {source}")]
    Disk { path: PathBuf, source: io::Error },
    #[error("the journal is broken at {0}")]
    Broken(#[from] Broken),
    /// A copy of another chain: one folder holds copies of one store.
    #[error("the folder holds a copy of {holds}, this is {is}")]
    OtherStore { holds: String, is: String },
    #[error("{0} is no copy of a store: {1}")]
    NoBackup(PathBuf, String),
    #[error("{0} is not what was copied")]
    Damaged(PathBuf),
    #[error("{0} is not empty")]
    NotEmpty(PathBuf),
    #[error("the copy begins at batch {first} and ends at batch {last}: it has nothing before that point")]
    OutOfReach { first: u64, last: u64 },
    /// The state at an earlier point stood in what was dropped.
    #[error(
        "sealed parts were dropped after their term as of batch {as_of}: the copy can be put back to that batch or a later one, not to batch {wanted}"
    )]
    Dropped { as_of: u64, wanted: u64 },
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Disk { path, source }
}

/// A hash over a stream: SM3(digest so far ‖ piece) for each MiB.
pub(super) fn digest_of(
    mut from: impl Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<(Digest32, u64)> {
    let (mut digest, mut bytes, mut piece) = ([0; 32], 0, vec![0; PIECE]);
    loop {
        let mut read = 0;
        while read < PIECE {
            match from.read(&mut piece[read..])? {
                0 => break,
                some => read += some,
            }
        }
        if read == 0 {
            return Ok((digest, bytes));
        }
        each(&piece[..read])?;
        digest = sm3(&[&digest, &piece[..read]]);
        bytes += read as u64;
    }
}

/// A file of a disk, read from its beginning to an end.
pub(super) struct Stream {
    file: Arc<dyn DiskFile>,
    at: u64,
    end: u64,
}

impl Stream {
    pub(super) fn of(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let end = file.size()?;
        Ok(Stream { file, at: 0, end })
    }

    fn until(self, end: u64) -> Self {
        Stream { end: end.min(self.end), ..self }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(bytes.len());
        self.file.read_at(self.at, &mut bytes[..length])?;
        self.at += length as u64;
        Ok(length)
    }
}

/// A file that only its owner may read.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Puts a finished file in the place of an older one.
fn put(new: &Path, path: &Path, file: &File) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(new, path)
}
