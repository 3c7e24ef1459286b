//! Segments: the files of the journal. Each is named by the sequence of its
//! first batch, is filled with zeros before use, and begins with a header that
//! names the segment before it, so that a missing file is noticed.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    disk::{Disk, DiskFile},
    frame::ALIGN,
    walk::Broken,
};
use crate::crypto::Digest32;

/// The first frame of a segment begins here.
pub(super) const FIRST_FRAME: u64 = ALIGN;

/// The segment that is prepared ahead of time.
pub(super) const SPARE: &str = "spare";

/// Names the epoch from which a journal that was put back to an earlier point goes
/// on: decimal digits, then zeros.
pub(super) const EPOCH: &str = "epoch";

/// The epoch that a restore has asked for, where one has.
pub(super) fn asked_epoch(disk: &dyn Disk) -> io::Result<Option<u64>> {
    if !disk.list()?.iter().any(|name| name == EPOCH) {
        return Ok(None);
    }
    let file = disk.open(EPOCH)?;
    let mut digits = vec![0; usize::try_from(file.size()?.min(ALIGN)).unwrap_or(0)];
    file.read_at(0, &mut digits)?;
    let text = std::str::from_utf8(&digits).map_err(io::Error::other)?;
    text.trim_matches(['\0', '\n']).parse().map(Some).map_err(io::Error::other)
}

const MAGIC: [u8; 8] = *b"OCSEG1\0\0";

/// Open files that are kept for reading; a journal of years has thousands.
const OPEN_FILES_MAX: usize = 64;

/// The file name of the segment whose first batch is `first`.
pub(super) fn name(first: u64) -> String {
    format!("{first:020}.journal")
}

pub(super) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".journal")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// What stands at the head of a segment: magic 8 ‖ first 8 ‖ before 8 ‖ previous
/// 32 ‖ CRC-32C 4, numbers little endian, then zeros. Where sealed parts were dropped:
/// dropped as of 8 ‖ CRC-32C of these 4, before the zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Sequence of the first batch.
    pub(super) first: u64,
    /// First sequence of the segment before; 0 in the first segment.
    pub(super) before: u64,
    /// Hash of the last batch before; zeros in the first segment.
    pub(super) previous: Digest32,
    /// Sealed parts were dropped of which nothing newer was looked for behind this
    /// batch: the journal cannot be put back to an earlier one. 0: none were.
    pub(super) dropped_as_of: u64,
}

/// What lies at the head of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadFound {
    Header(SegmentHeader),
    /// Zeros: the segment was named and never written to.
    Nothing,
    Bad,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; ALIGN as usize] {
        let mut sector = [0; ALIGN as usize];
        sector[..8].copy_from_slice(&MAGIC);
        sector[8..16].copy_from_slice(&self.first.to_le_bytes());
        sector[16..24].copy_from_slice(&self.before.to_le_bytes());
        sector[24..56].copy_from_slice(&self.previous);
        let crc = crc32c::crc32c(&sector[..56]);
        sector[56..60].copy_from_slice(&crc.to_le_bytes());
        if self.dropped_as_of > 0 {
            sector[60..68].copy_from_slice(&self.dropped_as_of.to_le_bytes());
            let crc = crc32c::crc32c(&sector[60..68]);
            sector[68..72].copy_from_slice(&crc.to_le_bytes());
        }
        sector
    }

    pub(super) fn read(file: &dyn DiskFile) -> io::Result<HeadFound> {
        let mut sector = [0; ALIGN as usize];
        if file.size()? < ALIGN {
            return Ok(HeadFound::Bad);
        }
        file.read_at(0, &mut sector)?;
        if sector.iter().all(|byte| *byte == 0) {
            return Ok(HeadFound::Nothing);
        }
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&sector[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let mut previous = [0; 32];
        previous.copy_from_slice(&sector[24..56]);
        let (first, before, dropped_as_of) = (number(8), number(16), number(60));
        let header = SegmentHeader { first, before, previous, dropped_as_of };
        Ok(if header.encode() == sector { HeadFound::Header(header) } else { HeadFound::Bad })
    }
}

/// The segments there are, with a bounded set of them open.
#[derive(Debug)]
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    files: Mutex<BTreeMap<u64, Option<Arc<dyn DiskFile>>>>,
}

impl Segments {
    /// Lists the segments of a journal.
    pub(super) fn list(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let names = disk.list()?;
        let files = names.iter().filter_map(|name| parse_name(name)).map(|first| (first, None));
        let files = Mutex::new(files.collect());
        Ok(Segments { disk, files })
    }

    /// [`Segments::list`] for whoever tells at which place a journal is broken.
    pub(super) fn look(disk: Arc<dyn Disk>) -> Result<Self, Broken> {
        Self::list(disk).map_err(|error| Broken {
            segment: 0,
            offset: 0,
            sequence: 0,
            what: format!("the journal cannot be listed: {error}"),
        })
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The first sequences, ascending.
    pub(super) fn firsts(&self) -> Vec<u64> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    pub(super) fn contains(&self, first: u64) -> bool {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&first)
    }

    pub(super) fn add(&self, first: u64, file: Arc<dyn DiskFile>) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(first, Some(file));
    }

    pub(super) fn forget(&self, first: u64) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(&first);
    }

    /// The file of a segment was replaced: it is opened anew when it is asked for.
    pub(super) fn reopen(&self, first: u64) {
        if let Some(file) = self.files.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&first) {
            *file = None;
        }
    }

    /// The file of a segment, opened when it is not.
    pub(super) fn file(&self, first: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match files.get(&first) {
            Some(Some(file)) => return Ok(Arc::clone(file)),
            Some(None) => {}
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        if files.values().flatten().count() >= OPEN_FILES_MAX {
            files.values_mut().for_each(|file| *file = None);
        }
        let file = self.disk.open(&name(first))?;
        files.insert(first, Some(Arc::clone(&file)));
        Ok(file)
    }
}
