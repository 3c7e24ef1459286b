//! What happens when a journal is opened: it is read back from the index's
//! marker on, the index is caught up (or rebuilt), a torn tail is cleared, and
//! the last frame is made durable anew.

use std::{io, sync::Arc};

use super::{
    Changes, StoreError, StoreObserver,
    disk::DiskFile,
    effects::{Effects, EntryEffects},
    embedded::OpenError,
    frame,
    indexer::APPLY_ENTRIES,
    rows::{Marker, Rows},
    segment::{self, FIRST_FRAME, SPARE, Segments},
    walk::{End, Tail, Walked, marker_holds, walk},
    writer::WritePlace,
};
use crate::{
    crypto::{Digest32, Sealer},
    model::record,
};

/// The last batch of the journal, as read back.
pub(super) struct Last {
    pub(super) hash: Digest32,
    pub(super) header: record::BatchHeader,
    pub(super) header_bytes: Vec<u8>,
    segment: u64,
    offset: u64,
    next: u64,
}

/// Where writing goes on.
pub(super) struct Recovered {
    pub(super) last: Option<Last>,
    pub(super) place: Option<WritePlace>,
}

pub(super) struct Recovery<'a> {
    pub(super) segments: &'a Segments,
    pub(super) rows: &'a Rows,
    pub(super) sealer: &'a dyn Sealer,
    pub(super) observer: &'a dyn StoreObserver,
    pub(super) check_whole_journal: bool,
}

impl Recovery<'_> {
    pub(super) fn run(self) -> Result<Recovered, OpenError> {
        let marker = self.trusted_marker()?;
        let from = marker.filter(|_| !self.check_whole_journal);
        let mut last = None;
        let mut group = Vec::new();
        let (mut entries, mut batches) = (0, 0);
        let mut failed: Option<StoreError> = None;
        let mut changes = Changes::default();
        let end = walk(self.segments, from, Tail::MayBeTorn, &mut |walked| {
            let indexed = marker.is_some_and(|marker| walked.header.sequence <= marker.sequence);
            let header_bytes = walked.batch.header.clone();
            last = Some(Last {
                hash: walked.hash,
                header: walked.header.clone(),
                header_bytes,
                segment: walked.segment,
                offset: walked.offset,
                next: walked.next,
            });
            if indexed || failed.is_some() {
                return Ok(());
            }
            batches += 1;
            match self.effects(walked) {
                Ok(effects) => {
                    entries += effects.entries.len();
                    group.push(Arc::new(effects));
                }
                Err(error) => failed = Some(error),
            }
            if entries >= APPLY_ENTRIES {
                failed = failed.take().or(self.rows.apply(&group, &mut changes).err());
                self.observer.index_rebuilding(batches);
                group.clear();
                entries = 0;
            }
            Ok(())
        })?;
        if let Some(error) = failed {
            return Err(OpenError::Index(error));
        }
        self.rows.apply(&group, &mut changes).map_err(OpenError::Index)?;
        if batches > 0 {
            self.observer.index_rebuilding(batches);
            tracing::info!(batches, "the index was caught up from the journal");
        }
        let place = self.mend(last.as_ref(), end).map_err(OpenError::Disk)?;
        Ok(Recovered { last, place })
    }

    /// The index's marker, when the journal has the batch it names and the rows are
    /// laid out as they are now. Otherwise the
    /// index is emptied, unless it knows of batches that the journal has lost:
    /// those were acknowledged.
    fn trusted_marker(&self) -> Result<Option<Marker>, OpenError> {
        let marker = self.rows.marker().unwrap_or_else(|error| {
            tracing::warn!(%error, "the index's marker cannot be read; the index is rebuilt");
            None
        });
        if let Some(marker) = marker {
            if self.rows.layout_is_current()? && marker_holds(self.segments, &marker) {
                return Ok(Some(marker));
            }
            let mut journal = 0;
            walk(self.segments, None, Tail::MayBeTorn, &mut |walked| {
                journal = walked.header.sequence;
                Ok(())
            })?;
            if journal < marker.sequence {
                return Err(OpenError::Lost { index: marker.sequence, journal });
            }
        }
        self.rows.index().wipe().map_err(|error| OpenError::Index(error.into()))?;
        Ok(None)
    }

    fn effects(&self, walked: Walked) -> Result<Effects, StoreError> {
        let entries = walked.batch.entries.into_iter();
        let entries = entries.map(|stored| EntryEffects::of(stored, self.sealer).map(Arc::new));
        Ok(Effects {
            sequence: walked.header.sequence,
            hash: walked.hash,
            segment: walked.segment,
            offset: u32::try_from(walked.offset)
                .map_err(|_| super::effects::corrupt("a segment of more than 4 GiB"))?,
            committed_at: walked.header.committed_at_ms,
            entries: entries.collect::<Result<_, _>>()?,
        })
    }

    /// Makes the end of the journal what it seems to be.
    ///
    /// The last frame is written again: after a failed sync the page cache shows
    /// it as clean although the disk does not have it. What a torn frame left
    /// behind is overwritten with zeros, so that it can never be mistaken for
    /// something that was written later.
    fn mend(&self, last: Option<&Last>, end: Option<End>) -> io::Result<Option<WritePlace>> {
        let disk = self.segments.disk();
        if disk.list()?.iter().any(|name| name == SPARE) {
            disk.remove(SPARE)?;
        }
        let Some(mut end) = end else {
            disk.sync_dir()?;
            return Ok(None);
        };
        if end.unused {
            disk.remove(&segment::name(end.segment))?;
            self.segments.forget(end.segment);
            let Some(last) = last else {
                disk.sync_dir()?;
                return Ok(None);
            };
            end = End { segment: last.segment, offset: last.next, unused: false };
        }
        let file = self.segments.file(end.segment)?;
        rewrite(&*file, 0, FIRST_FRAME)?;
        if let Some(last) = last.filter(|last| last.segment == end.segment) {
            rewrite(&*file, last.offset, last.next)?;
        }
        clear(&*file, end.offset)?;
        file.sync_data()?;
        disk.sync_dir()?;
        Ok(Some(WritePlace { segment: end.segment, file, offset: end.offset }))
    }
}

fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
    file.read_at(from, &mut bytes)?;
    file.write_at(from, &bytes)
}

/// Writes zeros over whatever is not zero from `offset` on.
fn clear(file: &dyn DiskFile, mut offset: u64) -> io::Result<()> {
    let size = file.size()?;
    while let Some(at) = frame::first_non_zero(file, offset, size)? {
        offset = at - at % frame::ALIGN;
        let end = (offset + (1 << 16)).min(size);
        file.write_at(offset, &vec![0; usize::try_from(end - offset).map_err(io::Error::other)?])?;
        offset = end;
    }
    Ok(())
}
