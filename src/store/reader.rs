//! Reads entries back from segments and rebuilds their receipts.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use prost::Message;

use super::{
    Committed, StoreError,
    chain::{leaf_of, sealed_digest},
    effects::{Location, bound, corrupt, transaction_of},
    frame::{self, Found, Frame},
    merkle::{Proof, Tree},
    parts::{details, open_parts},
    segment::{FIRST_FRAME, Segments},
};
use crate::{
    crypto::Sealer,
    model::{Receipt, record},
};

/// Batches kept decoded: enough for the retries of a moment.
const BATCHES_KEPT: usize = 32;

pub(super) struct Reader {
    segments: Arc<Segments>,
    sealer: Arc<dyn Sealer>,
    /// Sequence and signature of the last batch, whose signature is not on disk.
    head: Mutex<(u64, [u8; 64])>,
    kept: Mutex<VecDeque<(Place, Arc<ReadBatch>)>>,
}

type Place = (u64, u32);

/// A batch read back, its checksum verified.
struct ReadBatch {
    sequence: u64,
    segment: u64,
    next: u64,
    header: Bytes,
    entries: Vec<record::StoredEntry>,
    previous_signature: Vec<u8>,
    tree: Tree,
    signature: OnceLock<[u8; 64]>,
}

impl Reader {
    pub(super) fn of(segments: Arc<Segments>, sealer: Arc<dyn Sealer>) -> Self {
        let head = Mutex::new((0, [0; 64]));
        Reader { segments, sealer, head, kept: Mutex::default() }
    }

    /// The writer's word about the last batch.
    pub(super) fn head_is(&self, sequence: u64, signature: [u8; 64]) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = (sequence, signature);
    }

    pub(super) fn segments(&self) -> &Segments {
        &self.segments
    }

    /// Forgets what was read of a segment that was replaced.
    pub(super) fn forget(&self, segment: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(place, _)| place.0 != segment);
    }

    /// The step that lies at `location`, marked as read back.
    pub(super) fn read(&self, location: Location) -> Result<Committed, StoreError> {
        let batch = self.batch((location.segment, location.offset))?;
        let index = location.index as usize;
        let stored = batch.entries.get(index).ok_or_else(|| corrupt("an entry is not where it was"))?;
        let entry = record::Entry::decode(stored.public_part.as_slice())
            .map_err(|_| corrupt("an entry cannot be decoded"))?;
        let bound = bound(transaction_of(&entry)?, entry.step);
        let opened = open_parts(&*self.sealer, &entry, &bound, &stored.sealed_part)?;
        let (detail, parts) = details(&entry, opened);
        let receipt = self.receipt(&batch, stored, location.index)?;
        Ok(Committed { entry: Arc::new(entry), detail, parts, receipt, replayed: true })
    }

    /// The proof of the step that lies at `location`.
    pub(super) fn prove(&self, location: Location) -> Result<Proof, StoreError> {
        let batch = self.batch((location.segment, location.offset))?;
        let stored = batch.entries.get(location.index as usize);
        let stored = stored.ok_or_else(|| corrupt("an entry is not where it was"))?;
        Ok(Proof {
            public_part: Bytes::copy_from_slice(&stored.public_part),
            sealed_digest: sealed_digest(stored),
            receipt: self.receipt(&batch, stored, location.index)?,
        })
    }

    fn receipt(
        &self,
        batch: &ReadBatch,
        stored: &record::StoredEntry,
        index: u32,
    ) -> Result<Receipt, StoreError> {
        Ok(Receipt {
            leaf: leaf_of(stored),
            path: batch.tree.path(index as usize),
            index,
            batch_header: batch.header.clone(),
            signature: self.signature(batch)?,
        })
    }

    fn batch(&self, place: Place) -> Result<Arc<ReadBatch>, StoreError> {
        {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, batch)) = kept.iter().find(|(at, _)| *at == place) {
                return Ok(Arc::clone(batch));
            }
        }
        let found = self.frame(place.0, u64::from(place.1))?;
        let frame = found.ok_or_else(|| corrupt("a batch is not where it was"))?;
        let batch = Arc::new(ReadBatch::decode(place.0, frame)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= BATCHES_KEPT {
            kept.pop_front();
        }
        kept.push_back((place, Arc::clone(&batch)));
        Ok(batch)
    }

    fn frame(&self, segment: u64, offset: u64) -> Result<Option<Frame>, StoreError> {
        let read = || {
            let file = self.segments.file(segment)?;
            frame::read(&*file, offset, file.size()?)
        };
        match read().map_err(|error| corrupt(error.to_string()))? {
            Found::Frame(frame) => Ok(Some(frame)),
            Found::Nothing => Ok(None),
            Found::Bad(what) => Err(corrupt(what)),
        }
    }

    /// The signature of a batch stands in the one after it; the last one's is in
    /// memory. Who is no longer the last has a batch after it that is durable.
    fn signature(&self, batch: &ReadBatch) -> Result<[u8; 64], StoreError> {
        if let Some(signature) = batch.signature.get() {
            return Ok(*signature);
        }
        let (sequence, signature) = *self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let signature = if sequence == batch.sequence {
            signature
        } else {
            let next = batch.sequence + 1;
            let (segment, offset) =
                if self.segments.contains(next) { (next, FIRST_FRAME) } else { (batch.segment, batch.next) };
            let frame = self.frame(segment, offset)?.ok_or_else(|| corrupt("a signature is missing"))?;
            let after = ReadBatch::decode(segment, frame)?;
            after.previous_signature.as_slice().try_into().map_err(|_| corrupt("a signature is missing"))?
        };
        Ok(*batch.signature.get_or_init(|| signature))
    }
}

impl ReadBatch {
    fn decode(segment: u64, frame: Frame) -> Result<Self, StoreError> {
        let batch = record::Batch::decode(frame.body.as_slice()).map_err(|_| corrupt("a batch"))?;
        let leaves = batch.entries.iter().map(leaf_of);
        let tree = Tree::over(leaves.collect());
        Ok(ReadBatch {
            sequence: frame.sequence,
            segment,
            next: frame.next,
            header: batch.header.into(),
            entries: batch.entries,
            previous_signature: batch.previous_signature,
            tree,
            signature: OnceLock::new(),
        })
    }
}
