//! Walks the journal batch by batch and checks everything that can be checked
//! without a key: frames, chain, roots, counts, order. Recovery and the offline
//! check are both this walk.

use std::{io, sync::Arc};

use prost::Message;

use super::{
    chain::{batch_hash, leaf_of},
    checkpoint,
    disk::DiskFile,
    frame::{self, Found, Frame},
    merkle::Tree,
    rows::Marker,
    segment::{FIRST_FRAME, HeadFound, SegmentHeader, Segments},
};
use crate::{
    crypto::Digest32,
    model::{Millis, record},
};

/// Where the journal is not what was written, and in what way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment:020}.journal, offset {offset}, batch {sequence}: {what}")]
pub struct Broken {
    /// First sequence of the segment, which is its name.
    pub segment: u64,
    /// Offset in the segment, bytes.
    pub offset: u64,
    /// The batch that was expected there.
    pub sequence: u64,
    pub what: String,
}

/// A batch that holds.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) segment: u64,
    pub(super) offset: u64,
    /// Where the frame ends.
    pub(super) next: u64,
    pub(super) hash: Digest32,
    pub(super) header: record::BatchHeader,
    pub(super) batch: record::Batch,
}

impl Walked {
    /// A complaint about this batch.
    pub(super) fn broken(&self, what: String) -> Broken {
        Broken { segment: self.segment, offset: self.offset, sequence: self.header.sequence, what }
    }
}

/// How a walk looks at what lies behind the last frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// A torn frame that was never acknowledged may lie there.
    MayBeTorn,
    /// Nothing but zeros may lie there.
    MustBeZeros,
}

/// Where the walk ended: the last segment and the place for the next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) segment: u64,
    pub(super) offset: u64,
    /// The last segment has no header: it was named and never used.
    pub(super) unused: bool,
    /// What is wrong with the frame that seems to begin there, where one does.
    pub(super) unfinished: Option<&'static str>,
}

/// What the next batch must continue.
#[derive(Debug)]
pub(super) struct Expect {
    pub(super) sequence: u64,
    /// Unknown where the walk begins in the middle.
    pub(super) previous: Option<Digest32>,
    pub(super) committed_at: Millis,
    /// It grows where a journal was put back to an earlier point, and never falls.
    pub(super) epoch: u64,
}

/// Where a walk is, for its complaints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) sequence: u64,
}

impl Place {
    fn broken(self, what: impl Into<String>) -> Broken {
        Broken { segment: self.segment, offset: self.offset, sequence: self.sequence, what: what.into() }
    }

    pub(super) fn io(self, error: &io::Error) -> Broken {
        self.broken(format!("cannot be read: {error}"))
    }
}

/// Walks from the beginning, or from the marker's batch (which is visited first),
/// to the end. `None` when there are no segments.
pub(super) fn walk(
    segments: &Segments,
    from: Option<Marker>,
    tail: Tail,
    visit: &mut dyn FnMut(Walked) -> Result<(), Broken>,
) -> Result<Option<End>, Broken> {
    let firsts = segments.firsts();
    let heads = segment_chain(segments, &firsts)?;
    let mut expect = Expect {
        sequence: from.map_or(1, |marker| marker.sequence),
        previous: from.is_none().then_some([0; 32]),
        committed_at: Millis::MIN,
        epoch: 0,
    };
    let mut end = None;
    for (at, (&first, head)) in firsts.iter().zip(&heads).enumerate() {
        let mut offset = FIRST_FRAME;
        match from {
            Some(marker) if first < marker.segment => continue,
            Some(marker) if first == marker.segment => offset = u64::from(marker.offset),
            Some(_) | None => {
                if let Some(head) = head {
                    segment_continues(head, &expect)?;
                }
            }
        }
        let place = Place { segment: first, offset, sequence: expect.sequence };
        let file = segments.file(first).map_err(|error| place.io(&error))?;
        let is_last = at + 1 == firsts.len();
        let (stop, unfinished) = one_segment(&*file, place, is_last, tail, &mut expect, visit)?;
        end = Some(End { segment: first, offset: stop, unused: head.is_none(), unfinished });
    }
    Ok(end)
}

/// Reads every segment's header and checks that each names the one before. The
/// last one may have none.
fn segment_chain(segments: &Segments, firsts: &[u64]) -> Result<Vec<Option<SegmentHeader>>, Broken> {
    let mut before = 0;
    let mut heads = Vec::with_capacity(firsts.len());
    for (at, &first) in firsts.iter().enumerate() {
        let place = Place { segment: first, offset: 0, sequence: first };
        let file = segments.file(first).map_err(|error| place.io(&error))?;
        let found = SegmentHeader::read(&*file).map_err(|error| place.io(&error))?;
        let is_last = at + 1 == firsts.len();
        match found {
            HeadFound::Header(head) if head.first != first => {
                return Err(place.broken("the file has the name of another segment"));
            }
            HeadFound::Header(head) if head.before != before => {
                let what = format!("the segment before, {:020}.journal, is missing", head.before);
                return Err(place.broken(what));
            }
            HeadFound::Header(head) => heads.push(Some(head)),
            HeadFound::Nothing | HeadFound::Bad if is_last && has_no_frame(&*file, place)? => {
                heads.push(None)
            }
            HeadFound::Nothing | HeadFound::Bad => {
                return Err(place.broken("the segment's header is not what was written"));
            }
        }
        before = first;
    }
    Ok(heads)
}

fn has_no_frame(file: &dyn DiskFile, place: Place) -> Result<bool, Broken> {
    let size = file.size().map_err(|error| place.io(&error))?;
    let found = frame::find_after(file, FIRST_FRAME, size).map_err(|error| place.io(&error))?;
    Ok(found.is_none())
}

fn segment_continues(head: &SegmentHeader, expect: &Expect) -> Result<(), Broken> {
    let place = Place { segment: head.first, offset: 0, sequence: expect.sequence };
    if head.first != expect.sequence {
        return Err(place.broken("batches are missing before this segment"));
    }
    if expect.previous.is_some_and(|previous| previous != head.previous) {
        return Err(place.broken("the segment continues another chain"));
    }
    Ok(())
}

/// Walks one segment; answers with the place behind its last frame, and with what
/// is wrong there.
fn one_segment(
    file: &dyn DiskFile,
    mut place: Place,
    is_last: bool,
    tail: Tail,
    expect: &mut Expect,
    visit: &mut dyn FnMut(Walked) -> Result<(), Broken>,
) -> Result<(u64, Option<&'static str>), Broken> {
    let size = file.size().map_err(|error| place.io(&error))?;
    let read = |place: Place| frame::read(file, place.offset, size).map_err(|error| place.io(&error));
    // A whole frame that was seen behind something that was not one.
    let mut beyond = None;
    let not_a_frame = loop {
        match read(place)? {
            Found::Frame(frame) => {
                let next = frame.next;
                visit(check_batch(frame, place, expect)?)?;
                place.offset = next;
                place.sequence = expect.sequence;
                beyond = None;
                continue;
            }
            Found::Nothing if beyond.is_some() || !is_last => break None,
            Found::Bad(what) if beyond.is_some() || !is_last => break Some(what),
            Found::Nothing | Found::Bad(_) => {}
        }
        // Frames are written one after another: if one stands behind this place and
        // somebody is writing, then this place has become whole meanwhile. So it is
        // read once more before anything is said.
        beyond = frame::find_after(file, place.offset, size).map_err(|error| place.io(&error))?;
        if beyond.is_none() {
            break match read(place)? {
                Found::Frame(_) => continue,
                Found::Nothing => None,
                Found::Bad(what) => Some(what),
            };
        }
    };
    if let Some(what) = not_a_frame
        && (!is_last || tail == Tail::MustBeZeros)
    {
        return Err(place.broken(what));
    }
    if let Some((at, frame)) = beyond {
        let what =
            format!("batch {} stands whole at offset {at}, what is before it does not", frame.sequence);
        return Err(place.broken(what));
    }
    if tail == Tail::MustBeZeros
        && let Some(at) = frame::first_non_zero(file, place.offset, size).map_err(|error| place.io(&error))?
    {
        return Err(Place { offset: at, ..place }.broken("trailing bytes after the last frame"));
    }
    Ok((place.offset, not_a_frame))
}

/// Checks a batch against what it must continue.
pub(super) fn check_batch(frame: Frame, place: Place, expect: &mut Expect) -> Result<Walked, Broken> {
    let batch = record::Batch::decode(frame.body.as_slice())
        .map_err(|_| place.broken("the batch cannot be decoded"))?;
    let header = record::BatchHeader::decode(batch.header.as_slice())
        .map_err(|_| place.broken("the batch's header cannot be decoded"))?;
    if frame.sequence != expect.sequence || header.sequence != expect.sequence {
        return Err(place.broken(format!("batch {} stands here", header.sequence)));
    }
    if expect.previous.is_some_and(|previous| header.previous != previous) {
        return Err(place.broken("the batch does not continue the one before"));
    }
    if header.count as usize != batch.entries.len() {
        return Err(place.broken("the batch has another number of entries than its header says"));
    }
    let leaves = batch.entries.iter().map(leaf_of).collect();
    if Tree::over(leaves).root().as_slice() != header.root {
        return Err(place.broken("the entries are not those under the header's root"));
    }
    if !checkpoint::holds(&header, &batch.checkpoint) {
        return Err(place.broken("the batch's checkpoint is not the one its header names"));
    }
    if header.committed_at_ms < expect.committed_at {
        return Err(place.broken("the time of commitment goes backwards"));
    }
    if header.epoch < expect.epoch {
        return Err(place.broken("the epoch goes backwards"));
    }
    let hash = batch_hash(&batch.header);
    *expect = Expect {
        sequence: expect.sequence + 1,
        previous: Some(hash),
        committed_at: header.committed_at_ms,
        epoch: header.epoch,
    };
    Ok(Walked { segment: place.segment, offset: place.offset, next: frame.next, hash, header, batch })
}

/// Whether the marker's batch stands in the journal as the index saw it.
pub(super) fn marker_holds(segments: &Segments, marker: &Marker) -> bool {
    let look = || -> io::Result<bool> {
        if !segments.contains(marker.segment) {
            return Ok(false);
        }
        let file: Arc<dyn DiskFile> = segments.file(marker.segment)?;
        let found = frame::read(&*file, u64::from(marker.offset), file.size()?)?;
        let Found::Frame(frame) = found else { return Ok(false) };
        let batch = record::Batch::decode(frame.body.as_slice()).ok();
        Ok(batch.is_some_and(|batch| batch_hash(&batch.header) == marker.hash))
    };
    look().unwrap_or(false)
}
