//! The witness: a small file outside of the store's folder, on another disk at
//! best, that remembers how far the journal went. Who puts a whole folder back to
//! an older state (a snapshot of a machine) puts journal and index back alike, and
//! neither could tell; the witness does.
//!
//! It follows the index, so it lags behind by a second and never runs ahead.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    rows::Marker,
    segment::Segments,
    walk::marker_holds,
    writer::{ChainEnd, ChainName},
};

/// How often it is written while entries come.
const EVERY: Duration = Duration::from_secs(1);

/// The largest file that is looked at.
const BYTES_MAX: u64 = 4_096;

/// Why a journal is not the one that was witnessed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradicted {
    #[error("it is of the chain {witnessed}, this is {chain}")]
    OtherChain { witnessed: String, chain: String },
    #[error("it has seen batch {witnessed}, the journal ends at {journal}: an older state was put back")]
    Older { witnessed: u64, journal: u64 },
    #[error("it has seen epoch {witnessed}, the journal ends in epoch {journal}: this store was replaced")]
    Replaced { witnessed: u64, journal: u64 },
    #[error("it has seen another batch {sequence} than stands in the journal")]
    Forked { sequence: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    region: u32,
    node: String,
    epoch: u64,
    sequence: u64,
    hash: String,
    segment: u64,
    offset: u32,
}

/// Writes the file.
#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    name: ChainName,
    written: Option<Instant>,
}

impl Witness {
    pub(super) fn at(path: &Path, name: ChainName) -> Self {
        Witness { path: path.to_owned(), name, written: None }
    }

    /// Holds the journal against what was seen. `asked` is the epoch that a restore has
    /// asked for in the journal's folder.
    ///
    /// # Errors
    /// When the file cannot be read, or in the inner result what it contradicts.
    pub(super) fn check(
        &self,
        segments: &Segments,
        end: &ChainEnd,
        asked: Option<u64>,
    ) -> io::Result<Result<(), Contradicted>> {
        let text = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(())),
            Err(error) => return Err(error),
            Ok(about) if about.len() > BYTES_MAX => return Err(io::ErrorKind::InvalidData.into()),
            Ok(_) => fs::read_to_string(&self.path)?,
        };
        let seen: Seen = serde_json::from_str(&text).map_err(io::Error::other)?;
        Ok(self.holds(&seen, segments, end, asked))
    }

    fn holds(
        &self,
        seen: &Seen,
        segments: &Segments,
        end: &ChainEnd,
        asked: Option<u64>,
    ) -> Result<(), Contradicted> {
        if (seen.region, seen.node.as_str()) != (self.name.region, self.name.node.as_str()) {
            return Err(Contradicted::OtherChain {
                witnessed: format!("{} {}", seen.region, seen.node),
                chain: format!("{} {}", self.name.region, self.name.node),
            });
        }
        if end.sequence == 0 && seen.sequence > 0 {
            // A folder that was emptied or is not mounted. No restore makes an empty
            // journal, so an epoch that was asked for excuses nothing.
            return Err(Contradicted::Older { witnessed: seen.sequence, journal: 0 });
        }
        if seen.epoch > self.name.epoch {
            return Err(Contradicted::Replaced { witnessed: seen.epoch, journal: self.name.epoch });
        }
        if seen.epoch < self.name.epoch && asked == Some(self.name.epoch) {
            // Restored on purpose: the fork is visible by its epoch.
            return Ok(());
        }
        if seen.sequence > end.sequence {
            return Err(Contradicted::Older { witnessed: seen.sequence, journal: end.sequence });
        }
        let mut hash = [0; 32];
        let known = hex::decode_to_slice(&seen.hash, &mut hash).is_ok();
        let marker = Marker { sequence: seen.sequence, segment: seen.segment, offset: seen.offset, hash };
        // What lies before the oldest segment was moved away and is not looked at again;
        // a segment that is missing after that is one of another history.
        let gone = segments.firsts().first().is_some_and(|oldest| seen.segment < *oldest);
        if known && (gone || marker_holds(segments, &marker)) {
            Ok(())
        } else {
            Err(Contradicted::Forked { sequence: seen.sequence })
        }
    }

    /// Remembers a batch, when it is time or `now` says so. A witness that cannot
    /// be written is told of; the journal goes on.
    pub(super) fn saw(&mut self, marker: &Marker, now: bool) {
        if !now && self.written.is_some_and(|written| written.elapsed() < EVERY) {
            return;
        }
        self.written = Some(Instant::now());
        let seen = Seen {
            region: self.name.region,
            node: self.name.node.clone(),
            epoch: self.name.epoch,
            sequence: marker.sequence,
            hash: hex::encode(marker.hash),
            segment: marker.segment,
            offset: marker.offset,
        };
        if let Err(error) = self.write(&seen) {
            tracing::warn!(%error, "the journal's witness cannot be written");
        }
    }

    fn write(&self, seen: &Seen) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(serde_json::to_string(seen).map_err(io::Error::other)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, &self.path)
    }
}
