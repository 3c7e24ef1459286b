//! Looks at a journal from outside: without its index, without its gateway, which
//! may be running and writing meanwhile.
//!
//! What the last frame leaves unfinished is taken as the end, and said. Nothing is
//! changed on disk; the strict check is in `verify`.

use std::{collections::VecDeque, io, path::Path, sync::Arc};

use prost::Message;

use super::{
    Proof,
    chain::{batch_hash, leaf_of, sealed_digest},
    disk::{Disk, RealDisk},
    frame::{self, Found},
    merkle::Tree,
    rows::Marker,
    segment::{FIRST_FRAME, HeadFound, SegmentHeader, Segments},
    walk::{Broken, End, Expect, Place, Tail, Walked, check_batch, walk},
};
use crate::{
    crypto::Digest32,
    model::{Millis, Receipt, TransactionId, record},
};

/// How far before the time in a transaction's id its first step may stand: a
/// gateway's clock may have been set back between the two.
const CLOCK_SET_BACK_MS: Millis = 24 * 3_600 * 1_000;

/// A journal that others may be writing to.
#[derive(Debug)]
pub struct OfflineJournal {
    disk: Arc<dyn Disk>,
}

/// An entry as it stands in the journal.
#[derive(Debug, Clone)]
pub struct OfflineEntry {
    pub batch: Arc<OfflineBatch>,
    /// Place in the batch.
    pub index: u32,
    pub entry: record::Entry,
    /// SM3 of the sealed part, also where it was dropped after its term; `None` when
    /// nothing was sealed.
    pub sealed_digest: Option<Digest32>,
    /// Of the sealed part; 0 where it was dropped.
    pub sealed_bytes: u32,
    pub leaf: Digest32,
}

/// The batch an entry stands in.
#[derive(Debug)]
pub struct OfflineBatch {
    pub header: record::BatchHeader,
    pub hash: Digest32,
}

/// Where reading ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OfflineEnd {
    /// 0 in an empty journal.
    pub last_sequence: u64,
    /// What lies behind the last whole batch: torn by a crash, or being written
    /// just now.
    pub unfinished: Option<Unfinished>,
}

/// A frame that is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    pub segment: u64,
    pub offset: u64,
    pub what: &'static str,
}

/// Which entries are asked for. Both times are of commitment; the first is within,
/// the second is not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Between {
    pub from_ms: Option<Millis>,
    pub until_ms: Option<Millis>,
}

/// What a search for a transaction found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proven {
    /// A proof for every step whose batch is signed on disk, oldest first.
    pub proofs: Vec<Proof>,
    /// Steps in the last batch, whose signature comes to the disk with the next
    /// one.
    pub unsigned: usize,
    pub end: OfflineEnd,
}

impl OfflineJournal {
    /// Looks into a journal's folder.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn look(dir: &Path) -> io::Result<Self> {
        if !dir.is_dir() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self::on(Arc::new(RealDisk::look(dir))))
    }

    /// Looks at a journal on any disk.
    pub fn on(disk: Arc<dyn Disk>) -> Self {
        OfflineJournal { disk }
    }

    /// Visits the entries of a stretch of time, oldest first.
    ///
    /// # Errors
    /// The first place where the journal is not what was written.
    pub fn entries(
        &self,
        between: Between,
        visit: &mut dyn FnMut(OfflineEntry),
    ) -> Result<OfflineEnd, Broken> {
        let within = |at: Millis| {
            between.from_ms.is_none_or(|from| from <= at) && between.until_ms.is_none_or(|until| at < until)
        };
        self.batches(between, &mut |walked| {
            if !within(walked.header.committed_at_ms) {
                return Ok(());
            }
            for entry in opened(&walked)? {
                visit(entry);
            }
            Ok(())
        })
    }

    /// The proofs of every step of a transaction that can be proven from the disk.
    ///
    /// # Errors
    /// The first place where the journal is not what was written.
    pub fn prove(&self, transaction: TransactionId) -> Result<Proven, Broken> {
        let from_ms = Some(transaction.made_at_ms().saturating_sub(CLOCK_SET_BACK_MS));
        let found = self.prove_from(transaction, Between { from_ms, until_ms: None })?;
        if found.proofs.is_empty() && found.unsigned == 0 {
            // A clock that was further off than that: look everywhere.
            return self.prove_from(transaction, Between::default());
        }
        Ok(found)
    }

    fn prove_from(&self, transaction: TransactionId, between: Between) -> Result<Proven, Broken> {
        let mut proofs = Vec::new();
        let mut waiting: Vec<Proof> = Vec::new();
        let end = self.batches(between, &mut |walked| {
            // A batch's signature stands in the one after it.
            if let Ok(signature) = <[u8; 64]>::try_from(walked.batch.previous_signature.as_slice()) {
                waiting.iter_mut().for_each(|proof| proof.receipt.signature = signature);
                proofs.append(&mut waiting);
            }
            waiting = unsigned_proofs(&walked, transaction);
            Ok(())
        })?;
        Ok(Proven { proofs, unsigned: waiting.len(), end })
    }

    /// The last `most` entries, oldest first, and who reads on from there.
    ///
    /// # Errors
    /// The first place where the journal is not what was written.
    pub fn tail(&self, most: usize) -> Result<(Vec<OfflineEntry>, Follower), Broken> {
        let segments = self.segments()?;
        let firsts = segments.firsts();
        let mut last: VecDeque<OfflineEntry> = VecDeque::new();
        let mut follower = Follower {
            disk: Arc::clone(&self.disk),
            place: Place { segment: 1, offset: FIRST_FRAME, sequence: 1 },
            expect: Expect { sequence: 1, previous: Some([0; 32]), committed_at: Millis::MIN, epoch: 0 },
        };
        // The last segment may just have begun.
        let from = firsts.len().checked_sub(2).map(|at| beginning_of(firsts[at]));
        walk(&segments, from, Tail::MayBeTorn, &mut |walked| {
            follower.place =
                Place { segment: walked.segment, offset: walked.next, sequence: walked.header.sequence + 1 };
            follower.expect = Expect {
                sequence: walked.header.sequence + 1,
                previous: Some(walked.hash),
                committed_at: walked.header.committed_at_ms,
                epoch: walked.header.epoch,
            };
            for entry in opened(&walked)? {
                if last.len() >= most {
                    last.pop_front();
                }
                if most > 0 {
                    last.push_back(entry);
                }
            }
            Ok(())
        })?;
        Ok((last.into(), follower))
    }

    fn segments(&self) -> Result<Segments, Broken> {
        Segments::look(Arc::clone(&self.disk))
    }

    /// Walks the batches of the segments that a stretch of time may lie in.
    fn batches(
        &self,
        between: Between,
        visit: &mut dyn FnMut(Walked) -> Result<(), Broken>,
    ) -> Result<OfflineEnd, Broken> {
        let segments = self.segments()?;
        let from = match between.from_ms {
            Some(from) => begins_before(&segments, from)?.map(beginning_of),
            None => None,
        };
        let mut tail = Tail::MayBeTorn;
        if let Some(until) = between.until_ms {
            let last = begins_before(&segments, until)?.unwrap_or(0);
            for first in segments.firsts().into_iter().skip(1).filter(|first| *first > last) {
                segments.forget(first);
                // What was closed long ago has no unfinished end.
                tail = Tail::MustBeZeros;
            }
        }
        let mut last_sequence = 0;
        let end = walk(&segments, from, tail, &mut |walked| {
            last_sequence = walked.header.sequence;
            visit(walked)
        })?;
        let unfinished = end.and_then(|End { segment, offset, unfinished, .. }| {
            unfinished.map(|what| Unfinished { segment, offset, what })
        });
        Ok(OfflineEnd { last_sequence, unfinished })
    }
}

/// Reads on where a tail ended, as batches come.
#[derive(Debug)]
pub struct Follower {
    disk: Arc<dyn Disk>,
    place: Place,
    expect: Expect,
}

impl Follower {
    /// The entries that came since the last call; empty when none did.
    ///
    /// # Errors
    /// When what came does not continue the chain.
    pub fn more(&mut self) -> Result<Vec<OfflineEntry>, Broken> {
        let mut came = Vec::new();
        while let Some(walked) = self.next()? {
            came.extend(opened(&walked)?);
        }
        Ok(came)
    }

    fn next(&mut self) -> Result<Option<Walked>, Broken> {
        if let Some(walked) = self.read()? {
            return Ok(Some(walked));
        }
        // The writer rolls to a segment that is named by the next batch.
        let rolled = Place { segment: self.expect.sequence, offset: FIRST_FRAME, ..self.place };
        if rolled.segment == self.place.segment {
            return Ok(None);
        }
        let Ok(file) = self.disk.open(&super::segment::name(rolled.segment)) else { return Ok(None) };
        match SegmentHeader::read(&*file).map_err(|error| rolled.io(&error))? {
            HeadFound::Header(_) => {
                self.place = rolled;
                self.read()
            }
            HeadFound::Nothing | HeadFound::Bad => Ok(None),
        }
    }

    fn read(&mut self) -> Result<Option<Walked>, Broken> {
        let Ok(file) = self.disk.open(&super::segment::name(self.place.segment)) else { return Ok(None) };
        let read = || frame::read(&*file, self.place.offset, file.size()?);
        match read().map_err(|error| self.place.io(&error))? {
            Found::Frame(frame) => {
                let walked = check_batch(frame, self.place, &mut self.expect)?;
                self.place.offset = walked.next;
                self.place.sequence = self.expect.sequence;
                Ok(Some(walked))
            }
            // Not written yet, or half written.
            Found::Nothing | Found::Bad(_) => Ok(None),
        }
    }
}

fn beginning_of(first: u64) -> Marker {
    Marker { sequence: first, segment: first, offset: FIRST_FRAME as u32, hash: [0; 32] }
}

/// The last segment whose first batch was committed before `at`, where there is
/// one.
fn begins_before(segments: &Segments, at: Millis) -> Result<Option<u64>, Broken> {
    let firsts = segments.firsts();
    let mut failed = None;
    let earlier = firsts.partition_point(|&first| match begins(segments, first) {
        Ok(began) => began.is_some_and(|began| began < at),
        Err(error) => {
            let place = Place { segment: first, offset: 0, sequence: first };
            failed.get_or_insert(place.io(&error));
            false
        }
    });
    match failed {
        Some(broken) => Err(broken),
        None => Ok(earlier.checked_sub(1).map(|at| firsts[at])),
    }
}

/// When a segment's first batch was committed; `None` when it has none yet.
fn begins(segments: &Segments, first: u64) -> io::Result<Option<Millis>> {
    let file = segments.file(first)?;
    let Found::Frame(frame) = frame::read(&*file, FIRST_FRAME, file.size()?)? else { return Ok(None) };
    let header = record::Batch::decode(frame.body.as_slice())
        .and_then(|batch| record::BatchHeader::decode(batch.header.as_slice()));
    Ok(header.ok().map(|header| header.committed_at_ms))
}

fn opened(walked: &Walked) -> Result<Vec<OfflineEntry>, Broken> {
    let batch = Arc::new(OfflineBatch { header: walked.header.clone(), hash: walked.hash });
    let entries = walked.batch.entries.iter().enumerate().map(|(index, stored)| {
        let entry = record::Entry::decode(stored.public_part.as_slice())
            .map_err(|_| walked.broken(format!("entry {index} cannot be decoded")))?;
        let sealed = !stored.sealed_part.is_empty() || !stored.dropped_digest.is_empty();
        Ok(OfflineEntry {
            batch: Arc::clone(&batch),
            index: index as u32,
            entry,
            sealed_digest: sealed.then(|| sealed_digest(stored)),
            sealed_bytes: stored.sealed_part.len() as u32,
            leaf: leaf_of(stored),
        })
    });
    entries.collect()
}

/// Proofs of a transaction's steps in one batch, their signature still to come.
fn unsigned_proofs(walked: &Walked, transaction: TransactionId) -> Vec<Proof> {
    let id = transaction.as_bytes();
    let is_step = |stored: &record::StoredEntry| {
        // The id is looked for before the entry is decoded: nearly none has it.
        stored.public_part.windows(id.len()).any(|window| window == id)
            && record::Entry::decode(stored.public_part.as_slice())
                .is_ok_and(|entry| entry.transaction_id == id)
    };
    let found: Vec<usize> = walked
        .batch
        .entries
        .iter()
        .enumerate()
        .filter(|(_, stored)| is_step(stored))
        .map(|(at, _)| at)
        .collect();
    if found.is_empty() {
        return Vec::new();
    }
    let entries = &walked.batch.entries;
    let leaves = entries.iter().map(leaf_of);
    let tree = Tree::over(leaves.collect());
    debug_assert_eq!(batch_hash(&walked.batch.header), walked.hash);
    let proof = |index: usize| Proof {
        public_part: entries[index].public_part.clone().into(),
        sealed_digest: sealed_digest(&entries[index]),
        receipt: Receipt {
            leaf: tree.leaf(index).unwrap_or_default(),
            path: tree.path(index),
            index: index as u32,
            batch_header: walked.batch.header.clone().into(),
            signature: [0; 64],
        },
    };
    found.into_iter().map(proof).collect()
}
