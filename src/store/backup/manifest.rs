//! What a copy says of itself.

use std::{fs, io::Write as _, path::Path};

use serde::{Deserialize, Serialize};

use super::{BackupError, disk, private, put, sync_dir};
use crate::model::Millis;

const NAME: &str = "manifest.json";

const FORMAT: &str = "onecard/store/backup/v1";

/// The file `manifest.json` of a copy. Digests are in hexadecimal, over pieces of a
/// MiB: SM3(digest so far ‖ piece).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: String,
    pub region: u32,
    pub node: String,
    pub epoch: u64,
    /// The last batch of the copy, its hash and its time of commitment.
    pub sequence: u64,
    pub hash: String,
    pub committed_at_ms: Millis,
    pub segments: Vec<ManifestSegment>,
    pub holder_slots: u64,
    /// Over the salts in these slots.
    pub holder_digest: String,
    /// How many had been erased when the copy was made.
    pub erased: u64,
}

/// A segment of the copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestSegment {
    /// Sequence of its first batch, which is its name.
    pub first: u64,
    /// How many of its bytes belong to the copy: all of a closed segment, otherwise
    /// those up to the end of the last whole batch.
    pub bytes: u64,
    /// Over those bytes. A segment only grows, so it holds as well when a later run
    /// that was given up has copied more.
    pub digest: String,
    /// Nothing is written to it any more.
    pub closed: bool,
}

impl Manifest {
    pub(super) fn empty(region: u32, node: &str) -> Self {
        Manifest {
            format: FORMAT.to_owned(),
            region,
            node: node.to_owned(),
            epoch: 0,
            sequence: 0,
            hash: hex::encode([0; 32]),
            committed_at_ms: 0,
            segments: Vec::new(),
            holder_slots: 0,
            holder_digest: String::new(),
            erased: 0,
        }
    }

    /// Reads the manifest of a copy; `None` in a folder without one.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>, BackupError> {
        let path = folder.join(NAME);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(disk(&path))?;
        let manifest: Manifest = serde_json::from_str(&text)
            .map_err(|error| BackupError::NoBackup(folder.to_owned(), error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(BackupError::NoBackup(
                folder.to_owned(),
                format!("its format is {}", manifest.format),
            ));
        }
        Ok(Some(manifest))
    }

    /// Writes it in place of an older one, last of all: until then the copy is the
    /// older one.
    pub(super) fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let (path, new) = (folder.join(NAME), folder.join("manifest.new"));
        let mut file = private(&new).map_err(disk(&new))?;
        let text = serde_json::to_string_pretty(self).expect("strings and numbers");
        file.write_all(text.as_bytes()).map_err(disk(&new))?;
        put(&new, &path, &file).and_then(|()| sync_dir(folder)).map_err(disk(&path))
    }

    pub(super) fn segment(&self, first: u64) -> Option<&ManifestSegment> {
        self.segments.iter().find(|segment| segment.first == first)
    }

    pub(super) fn chain(&self) -> String {
        format!("{} {}", self.region, self.node)
    }
}
