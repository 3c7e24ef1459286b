//! Retention: sealed parts of entries whose scene's term is over are dropped from
//! closed segments, in place of each its digest. What is hashed stays provable, the
//! chain and every frame stay where they are (docs/decisions/0023).
//!
//! What does not live here: how a segment's file is replaced (`disk`, `archive`), and
//! the destruction of one holder's key (`crypto`).

use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::Arc,
};

use prost::Message as _;

use super::{
    StoreError,
    chain::{leaf_of, sealed_digest},
    disk::DiskFile,
    effects::{Row, bound, corrupt, key_of, transaction_of},
    frame::{self, Found},
    lookup::Lookup,
    merkle::Tree,
    parts::open_parts,
    segment::{self, FIRST_FRAME, HeadFound, SegmentHeader, Segments},
    walk::Broken,
};
use crate::{
    limits,
    model::{AggregateKey, Millis, Scene, record},
};

/// Newest segments that are left alone: the one that is written to, and the one before
/// it, to which a start may go back.
const LEFT_ALONE: usize = 2;

const DAY_MS: Millis = 24 * 3_600 * 1_000;

/// How long sealed parts are kept, by the scene of their entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    by_scene: BTreeMap<&'static str, u32>,
    rest: Option<u32>,
}

/// A term that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongTerm {
    #[error("{0}: no scene has this name; known are {known} / 没有此场景", known = Scene::ALL.map(Scene::name).join(", "))]
    NoScene(String),
    #[error(
        "{scene}: {days} days are too few, give at least {least}: a request is answered again for so long / 不得少于 {least} 天，重复请求在此期间须能得到原答复",
        least = limits::REQUEST_ID_KEPT_DAYS
    )]
    TooShort { scene: String, days: u32 },
    #[error(
        "{scene}: {days} days are more than {most}; leave it out to keep for ever / 不得超过 {most} 天；永久保存请不填",
        most = limits::RETENTION_DAYS_MAX
    )]
    TooLong { scene: String, days: u32 },
}

impl Terms {
    /// The terms in days; scenes that are not named have `rest`, and are kept without
    /// end where there is none.
    ///
    /// # Errors
    /// Every term that cannot be.
    pub fn new(days: &BTreeMap<String, u32>, rest: Option<u32>) -> Result<Self, Vec<WrongTerm>> {
        let mut wrong = Vec::new();
        let mut terms = Terms { rest, ..Terms::default() };
        for (name, days) in days {
            match Scene::from_name(name) {
                Some(scene) => drop(terms.by_scene.insert(scene.name(), *days)),
                None => wrong.push(WrongTerm::NoScene(name.clone())),
            }
        }
        let default = rest.map(|days| ("default_days", days));
        for (scene, days) in terms.by_scene.iter().map(|(scene, days)| (*scene, *days)).chain(default) {
            let scene = scene.to_owned();
            match days {
                0..limits::REQUEST_ID_KEPT_DAYS => wrong.push(WrongTerm::TooShort { scene, days }),
                limits::REQUEST_ID_KEPT_DAYS..=limits::RETENTION_DAYS_MAX => {}
                _ => wrong.push(WrongTerm::TooLong { scene, days }),
            }
        }
        if wrong.is_empty() { Ok(terms) } else { Err(wrong) }
    }

    /// The newest time of commitment whose term is over at `now`; `None` where it is
    /// never over.
    pub fn over_before(&self, scene: &str, now: Millis) -> Option<Millis> {
        ago(self.by_scene.get(scene).copied().or(self.rest), now)
    }

    /// The same of the scene that is kept longest.
    fn all_over_before(&self, now: Millis) -> Option<Millis> {
        self.rest?;
        ago(self.by_scene.values().copied().chain(self.rest).max(), now)
    }

    /// The same of the scene that is kept shortest.
    fn any_over_before(&self, now: Millis) -> Option<Millis> {
        ago(self.by_scene.values().copied().chain(self.rest).min(), now)
    }
}

fn ago(days: Option<u32>, now: Millis) -> Option<Millis> {
    days.map(|days| now.saturating_sub(Millis::from(days) * DAY_MS))
}

/// What was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetainReport {
    pub segments_looked_at: usize,
    pub segments_replaced: usize,
    /// Sealed parts that were dropped, and their bytes.
    pub dropped: u64,
    pub bytes: u64,
    /// Sealed parts whose term is over and that hold state in which somebody still
    /// lives: they are dropped once it was written anew.
    pub kept: u64,
}

/// One run over the closed segments, oldest first.
pub(super) struct Retention<'a> {
    segments: &'a Segments,
    lookup: &'a Lookup,
    terms: &'a Terms,
    now: Millis,
    /// The last batch that the index knew when the run began.
    as_of: u64,
    /// Aggregates that exist no more and of which a sealed part that is kept tells:
    /// the deletion must be kept as long.
    lingering: HashSet<AggregateKey>,
    report: RetainReport,
}

impl<'a> Retention<'a> {
    pub(super) fn over(
        segments: &'a Segments,
        lookup: &'a Lookup,
        terms: &'a Terms,
        now: Millis,
    ) -> Result<Self, StoreError> {
        let as_of = lookup.rows.marker()?.map_or(0, |marker| marker.sequence);
        let (lingering, report) = (HashSet::new(), RetainReport::default());
        Ok(Retention { segments, lookup, terms, now, as_of, lingering, report })
    }

    /// Drops what is over. What was replaced when an error comes stays replaced; the
    /// next run does the rest.
    pub(super) fn run(mut self) -> Result<RetainReport, StoreError> {
        let Some(before) = self.terms.any_over_before(self.now) else { return Ok(self.report) };
        let firsts = self.segments.firsts();
        let closed = firsts.len().saturating_sub(LEFT_ALONE);
        for first in firsts.into_iter().take(closed) {
            match self.segment(first, before)? {
                Looked::TooYoung => break,
                Looked::NothingToDrop => self.report.segments_looked_at += 1,
                Looked::Replaced => {
                    self.report.segments_looked_at += 1;
                    self.report.segments_replaced += 1;
                }
            }
        }
        Ok(self.report)
    }

    /// Drops what is over in one segment; `before` is the newest time at which
    /// anything can be over.
    fn segment(&mut self, first: u64, before: Millis) -> Result<Looked, StoreError> {
        let file = self.segments.file(first).map_err(unreadable)?;
        let size = file.size().map_err(unreadable)?;
        let (mut offset, mut changed, mut report) = (FIRST_FRAME, BTreeMap::new(), self.report);
        loop {
            let frame = match frame::read(&*file, offset, size).map_err(unreadable)? {
                Found::Frame(frame) => frame,
                Found::Nothing => break,
                Found::Bad(what) => return Err(corrupt(format!("segment {first}, offset {offset}: {what}"))),
            };
            let mut batch = record::Batch::decode(frame.body.as_slice()).map_err(|_| corrupt("a batch"))?;
            let header = record::BatchHeader::decode(batch.header.as_slice())
                .map_err(|_| corrupt("a batch's header"))?;
            if offset == FIRST_FRAME && header.committed_at_ms > before {
                return Ok(Looked::TooYoung);
            }
            if frame.sequence > self.as_of {
                break;
            }
            if self.batch(&mut batch, &header, &mut report)? {
                let bytes = frame::encode_in(frame.sequence, &mut batch, frame.next - offset)
                    .ok_or_else(|| corrupt("a batch does not fit its place without its sealed parts"))?;
                changed.insert(offset, bytes);
            }
            offset = frame.next;
        }
        self.report = report;
        if changed.is_empty() {
            return Ok(Looked::NothingToDrop);
        }
        let HeadFound::Header(head) = SegmentHeader::read(&*file).map_err(unreadable)? else {
            return Err(corrupt("a segment's header is not what was written"));
        };
        // As far as was looked by now.
        let as_of = self.lookup.rows.marker()?.map_or(self.as_of, |marker| marker.sequence);
        let head = SegmentHeader { dropped_as_of: as_of, ..head };
        changed.insert(0, head.encode().to_vec());
        let replaced = Arc::new(Replaced { file, changed });
        self.segments.disk().replace(&segment::name(first), replaced).map_err(unreadable)?;
        self.segments.reopen(first);
        self.lookup.reader.forget(first);
        Ok(Looked::Replaced)
    }

    /// Drops what is over in one batch; whether anything was.
    fn batch(
        &mut self,
        batch: &mut record::Batch,
        header: &record::BatchHeader,
        report: &mut RetainReport,
    ) -> Result<bool, StoreError> {
        let mut dropped = false;
        for stored in &mut batch.entries {
            if stored.sealed_part.is_empty() {
                continue;
            }
            let entry = record::Entry::decode(stored.public_part.as_slice())
                .map_err(|_| corrupt("an entry cannot be decoded"))?;
            let is_over =
                |before: Option<Millis>| before.is_some_and(|before| entry.committed_at_ms <= before);
            if !is_over(self.terms.over_before(&entry.scene, self.now)) {
                continue;
            }
            if self.is_needed(&entry, stored, is_over(self.terms.all_over_before(self.now)))? {
                report.kept += 1;
                continue;
            }
            report.dropped += 1;
            report.bytes += stored.sealed_part.len() as u64;
            stored.dropped_digest = sealed_digest(stored).to_vec();
            stored.sealed_part = Vec::new();
            dropped = true;
        }
        // Nothing is put in place of a segment that would not prove what it proved.
        if dropped && Tree::over(batch.entries.iter().map(leaf_of).collect()).root().as_slice() != header.root
        {
            return Err(corrupt("the entries are not those under the header's root"));
        }
        Ok(dropped)
    }

    /// Whether state would be lost, or come back, if the index were built from a
    /// journal without this sealed part.
    ///
    /// It is lost where the part holds the newest of an aggregate. It comes back where
    /// the part deletes an aggregate of which an older part still tells; so deletions
    /// wait until every scene's term is over, and then for those older parts.
    fn is_needed(
        &mut self,
        entry: &record::Entry,
        stored: &record::StoredEntry,
        all_over: bool,
    ) -> Result<bool, StoreError> {
        let bound = bound(transaction_of(entry)?, entry.step);
        let opened = open_parts(&*self.lookup.sealer, entry, &bound, &stored.sealed_part)?;
        let (mut needed, mut gone) = (false, Vec::new());
        // Without its key a part holds nothing for anybody. The parts of an upload's
        // holders stay, and go, together: their digest is one.
        for write in opened.iter().filter_map(|part| part.plain.as_ref()).flat_map(|plain| &plain.writes) {
            let key = key_of(write).ok_or_else(|| corrupt("an aggregate of an unknown kind"))?;
            match self.lookup.rows.aggregate(&key)? {
                Some(Row::Sealed(row)) => needed |= row.bound == bound,
                Some(Row::Open(_)) => {}
                Some(Row::Deleted) | None => {
                    needed |= write.deleted && (!all_over || self.lingering.contains(&key));
                    gone.push(key);
                }
            }
        }
        if needed {
            self.lingering.extend(gone);
        }
        Ok(needed)
    }
}

enum Looked {
    TooYoung,
    NothingToDrop,
    Replaced,
}

fn unreadable(error: io::Error) -> StoreError {
    corrupt(error.to_string())
}

/// A segment with some of its frames replaced by others of the same length.
#[derive(Debug)]
struct Replaced {
    file: Arc<dyn DiskFile>,
    /// By offset.
    changed: BTreeMap<u64, Vec<u8>>,
}

impl DiskFile for Replaced {
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, bytes)?;
        let end = offset + bytes.len() as u64;
        for (&at, frame) in self.changed.range(..end).rev() {
            let stop = at + frame.len() as u64;
            if stop <= offset {
                break;
            }
            let (from, to) = (at.max(offset), stop.min(end));
            let within = |place: u64, base: u64| usize::try_from(place - base).map_err(io::Error::other);
            bytes[within(from, offset)?..within(to, offset)?]
                .copy_from_slice(&frame[within(from, at)?..within(to, at)?]);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

/// What a run would drop at most, by scene: without the index, what must stay because it
/// holds state cannot be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Over {
    /// Sealed parts, and their bytes.
    pub by_scene: BTreeMap<String, (u64, u64)>,
    /// Sealed parts that are not over yet, and such as were dropped earlier.
    pub not_over: u64,
    pub dropped_before: u64,
}

impl super::OfflineJournal {
    /// What of this journal is over at `now`.
    ///
    /// # Errors
    /// The first place where the journal is not what was written.
    pub fn over(&self, terms: &Terms, now: Millis) -> Result<Over, Broken> {
        let mut over = Over::default();
        self.entries(super::Between::default(), &mut |read| {
            let (scene, at) = (&read.entry.scene, read.entry.committed_at_ms);
            match (read.sealed_bytes, read.sealed_digest) {
                (0, None) => {}
                (0, Some(_)) => over.dropped_before += 1,
                (_, _) if terms.over_before(scene, now).is_none_or(|before| at > before) => {
                    over.not_over += 1
                }
                (bytes, _) => {
                    let (count, sum) = over.by_scene.entry(scene.clone()).or_default();
                    *count += 1;
                    *sum += u64::from(bytes);
                }
            }
        })?;
        Ok(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(named: &[(&str, u32)]) -> BTreeMap<String, u32> {
        named.iter().map(|(name, days)| ((*name).to_owned(), *days)).collect()
    }

    #[test]
    fn a_term_that_cannot_be_says_what_would_be_right() {
        let wrong = Terms::new(&days(&[("transit", 89), ("tansit", 400)]), Some(999_999)).expect_err("wrong");
        let told: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("tansit") && told[0].contains("transit, library"), "{}", told[0]);
        assert!(told[1].contains("transit: 89 days") && told[1].contains("at least 90"), "{}", told[1]);
        assert!(told[2].contains("default_days") && told[2].contains("leave it out"), "{}", told[2]);
        Terms::new(&days(&[("transit", 90)]), None).expect("as short as may be");
    }

    #[test]
    fn a_scene_has_its_own_term_or_that_of_the_rest_or_none() {
        let terms = Terms::new(&days(&[("transit", 100), ("library", 300)]), Some(200)).expect("right");
        let over = |scene| terms.over_before(scene, 1_000 * DAY_MS).map(|at| at / DAY_MS);
        assert_eq!((over("transit"), over("library"), over("card")), (Some(900), Some(700), Some(800)));
        assert_eq!(terms.all_over_before(1_000 * DAY_MS), Some(700 * DAY_MS));
        assert_eq!(terms.any_over_before(1_000 * DAY_MS), Some(900 * DAY_MS));
        let some = Terms::new(&days(&[("transit", 100)]), None).expect("right");
        assert_eq!(some.over_before("card", 0), None);
        assert_eq!(some.all_over_before(0), None, "one that is never over is the longest");
    }
}
