//! What happens when a journal is opened: it is read back from the last checkpoint
//! that the index knows, the ledger's sum is checked, the index is caught up (or
//! rebuilt), a torn tail is cleared, and the last frame is made durable anew.

use std::{io, sync::Arc};

use prost::Message;

use super::{
    Changes, StoreError, StoreObserver,
    checkpoint::Tally,
    disk::DiskFile,
    effects::{Effects, EntryEffects, corrupt},
    embedded::OpenError,
    frame,
    indexer::APPLY_ENTRIES,
    rows::{Marker, Rows},
    segment::{self, FIRST_FRAME, SPARE, Segments},
    walk::{Broken, End, Tail, Walked, marker_holds, walk},
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
    /// The ledger's totals, as far as the journal goes.
    pub(super) tally: Tally,
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
        if let Some(recovered) = self.read_back(marker)? {
            return Ok(recovered);
        }
        tracing::warn!("the index has other totals than the journal; it is rebuilt");
        self.rows.index().wipe()?;
        self.read_back(None)?
            .ok_or_else(|| OpenError::Index(corrupt("an index that was just built has other totals")))
    }

    /// Reads the journal from the last checkpoint on and catches the index up.
    /// `None` when the index has other totals than the journal.
    fn read_back(&self, marker: Option<Marker>) -> Result<Option<Recovered>, OpenError> {
        let from = self.begin_at(marker)?;
        let mut reading = Reading {
            recovery: self,
            marker,
            tally: from.is_none().then(Tally::default),
            last: None,
            group: Vec::new(),
            entries: 0,
            batches: 0,
            changes: Changes::default(),
            failed: None,
        };
        let end = walk(self.segments, from, Tail::MayBeTorn, &mut |walked| reading.take(walked))?;
        let (last, tally) = reading.finish()?;
        let sum_fen = tally.whole().sum_fen();
        if sum_fen != 0 {
            return Err(OpenError::Unbalanced { sum_fen });
        }
        if self.rows.ledger_totals()?.0 != *tally.whole() {
            return Ok(None);
        }
        let place = self.mend(last.as_ref(), end).map_err(OpenError::Disk)?;
        Ok(Some(Recovered { last, place, tally }))
    }

    /// Where to read from: the last checkpoint that the index knows, so that the
    /// ledger's sum is known without reading everything.
    fn begin_at(&self, marker: Option<Marker>) -> Result<Option<Marker>, OpenError> {
        let Some(marker) = marker.filter(|_| !self.check_whole_journal) else { return Ok(None) };
        let checkpoint = self.rows.checkpoint()?;
        Ok(checkpoint.filter(|checkpoint| {
            checkpoint.sequence <= marker.sequence && marker_holds(self.segments, checkpoint)
        }))
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
        self.rows.index().wipe()?;
        Ok(None)
    }

    fn effects(&self, walked: Walked) -> Result<Effects, StoreError> {
        let entries = walked.batch.entries.into_iter();
        let entries = entries.map(|stored| EntryEffects::of(stored, self.sealer).map(Arc::new));
        Ok(Effects {
            sequence: walked.header.sequence,
            hash: walked.hash,
            segment: walked.segment,
            offset: u32::try_from(walked.offset).map_err(|_| corrupt("a segment of more than 4 GiB"))?,
            committed_at: walked.header.committed_at_ms,
            checkpoint: !walked.batch.checkpoint.is_empty(),
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
            end = End { segment: last.segment, offset: last.next, unused: false, unfinished: None };
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

/// What reading back has found so far.
struct Reading<'a> {
    recovery: &'a Recovery<'a>,
    /// What the index has.
    marker: Option<Marker>,
    /// `None` until the checkpoint that reading began at was read.
    tally: Option<Tally>,
    last: Option<Last>,
    /// Read and not yet indexed.
    group: Vec<Arc<Effects>>,
    entries: usize,
    batches: u64,
    changes: Changes,
    failed: Option<StoreError>,
}

impl Reading<'_> {
    fn take(&mut self, walked: Walked) -> Result<(), Broken> {
        self.count(&walked)?;
        self.last = Some(Last {
            hash: walked.hash,
            header: walked.header.clone(),
            header_bytes: walked.batch.header.clone(),
            segment: walked.segment,
            offset: walked.offset,
            next: walked.next,
        });
        let indexed = self.marker.is_some_and(|marker| walked.header.sequence <= marker.sequence);
        if indexed || self.failed.is_some() {
            return Ok(());
        }
        self.batches += 1;
        match self.recovery.effects(walked) {
            Ok(effects) => {
                self.entries += effects.entries.len();
                self.group.push(Arc::new(effects));
            }
            Err(error) => self.failed = Some(error),
        }
        if self.entries >= APPLY_ENTRIES {
            self.apply();
        }
        Ok(())
    }

    /// Adds the batch to the ledger's totals and holds its checkpoint against them.
    fn count(&mut self, walked: &Walked) -> Result<(), Broken> {
        let (header, checkpoint) = (&walked.header, &walked.batch.checkpoint);
        let tally = match &mut self.tally {
            Some(tally) => tally,
            unknown => {
                let told = Tally::of(checkpoint, header.committed_at_ms)
                    .ok_or_else(|| walked.broken("the checkpoint cannot be decoded".to_owned()))?;
                unknown.insert(told)
            }
        };
        tally.check(header, checkpoint).map_err(|what| walked.broken(what.to_owned()))?;
        let mut postings = Vec::new();
        for (index, stored) in walked.batch.entries.iter().enumerate() {
            let entry = record::Entry::decode(stored.public_part.as_slice())
                .map_err(|_| walked.broken(format!("entry {index} cannot be decoded")))?;
            postings.extend(entry.postings);
        }
        let entries = walked.batch.entries.len() as u64;
        tally.head_is(header.region, &header.node, header.epoch, header.sequence, &walked.hash);
        tally.take_up(header.committed_at_ms, !checkpoint.is_empty(), entries, &postings);
        Ok(())
    }

    fn apply(&mut self) {
        if self.failed.is_none() {
            self.failed = self.recovery.rows.apply(&self.group, &mut self.changes).err();
        }
        self.recovery.observer.index_rebuilding(self.batches);
        self.group.clear();
        self.entries = 0;
    }

    fn finish(mut self) -> Result<(Option<Last>, Tally), OpenError> {
        if self.batches > 0 {
            self.apply();
            tracing::info!(batches = self.batches, "the index was caught up from the journal");
        }
        match self.failed {
            Some(error) => Err(OpenError::Index(error)),
            None => Ok((self.last, self.tally.unwrap_or_default())),
        }
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
