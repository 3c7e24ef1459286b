//! Entries about several holders: each holder's part is sealed under their own key
//! and opens, or is erased, by itself.

use std::collections::HashSet;

use bytes::Bytes;
use foldhash::fast::RandomState;
use prost::Message as _;
use zeroize::Zeroizing;

use super::{
    StoreError,
    draft::{Revisions, revised},
    effects::{AggregateEffect, Row, SealedRow, corrupt, subject_of, unseal},
};
use crate::{
    crypto::{SealError, Sealer},
    model::{HolderPart, PairwiseHolder, Subject, View, record},
};

/// A part that holds, encoded as far as that goes without its key.
pub(super) struct SettledPart {
    pub(super) subject: Subject,
    pairwise: PairwiseHolder,
    pub(super) plain: Zeroizing<Vec<u8>>,
    pub(super) writes: Revisions,
    detail: Bytes,
}

/// A part that is sealed.
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    pub(super) aggregates: Vec<AggregateEffect>,
    pub(super) detail: Option<Bytes>,
}

/// Checks the parts of a decision and gives their writes revisions.
pub(super) fn settle_parts(parts: Vec<HolderPart>, view: &View) -> Result<Vec<SettledPart>, StoreError> {
    let mut holders = HashSet::with_capacity_and_hasher(parts.len(), RandomState::default());
    let mut written = HashSet::with_capacity_and_hasher(parts.len(), RandomState::default());
    let settle = |part: HolderPart| {
        if !holders.insert(part.subject) {
            return Err(corrupt("a holder has two parts of an entry"));
        }
        let (open, writes) = revised(&part.writes, view)?;
        if !open.is_empty() {
            return Err(corrupt("what is not personal stands in a holder's part"));
        }
        if writes.iter().any(|write| !written.insert(write.key.clone())) {
            return Err(corrupt("two holders' parts write one aggregate"));
        }
        let sealed = record::Sealed {
            writes: writes.iter().map(super::draft::Revised::record).collect(),
            detail: part.detail.to_vec(),
        };
        let plain = Zeroizing::new(sealed.encode_to_vec());
        Ok(SettledPart { subject: part.subject, pairwise: part.pairwise, plain, writes, detail: part.detail })
    };
    parts.into_iter().map(settle).collect()
}

impl SettledPart {
    pub(super) fn holder(&self) -> record::EntryHolder {
        record::EntryHolder {
            subject: self.subject.as_bytes().to_vec(),
            pairwise_holder: self.pairwise.as_bytes().to_vec(),
        }
    }

    /// Seals it. The nonce is that of the entry: every part has another key. Of a
    /// holder who was erased nothing is kept, and the entry stands without it.
    pub(super) fn seal(
        self,
        sealer: &dyn Sealer,
        nonce: &[u8; 12],
        bound: &[u8; 20],
    ) -> Result<Part, StoreError> {
        let sealed = match sealer.seal(self.subject, nonce, bound, &self.plain) {
            Ok(sealed) => sealed,
            Err(SealError::Destroyed) => {
                return Ok(Part { bytes: Vec::new(), aggregates: Vec::new(), detail: None });
            }
            Err(error) => return Err(corrupt(error.to_string())),
        };
        let bytes = [nonce.as_slice(), &sealed].concat();
        let row = SealedRow { subject: self.subject, bound: *bound, sealed: bytes.clone().into() };
        let aggregates = self.writes.into_iter().map(|revised| AggregateEffect {
            key: revised.key,
            row: if revised.stored.is_some() { Row::Sealed(row.clone()) } else { Row::Deleted },
            stored: revised.stored,
        });
        Ok(Part { bytes, aggregates: aggregates.collect(), detail: Some(self.detail) })
    }
}

/// Whose sealed parts an entry has, in their order.
pub(super) fn holders_of(entry: &record::Entry) -> Result<Vec<Subject>, StoreError> {
    if entry.holders.is_empty() {
        return Ok(subject_of(entry).into_iter().collect());
    }
    let subject = |holder: &record::EntryHolder| {
        Subject::from_slice(&holder.subject).map_err(|_| corrupt("a holder of an entry without a name"))
    };
    entry.holders.iter().map(subject).collect()
}

/// What is behind the sealed part of an entry: one part, or one for each of its
/// holders. `None` stands for one that was erased.
pub(super) struct OpenedPart {
    pub(super) subject: Subject,
    pub(super) sealed: Bytes,
    pub(super) plain: Option<record::Sealed>,
}

/// Opens the sealed part of an entry.
pub(super) fn open_parts(
    sealer: &dyn Sealer,
    entry: &record::Entry,
    bound: &[u8; 20],
    sealed_part: &[u8],
) -> Result<Vec<OpenedPart>, StoreError> {
    if sealed_part.is_empty() {
        return Ok(Vec::new());
    }
    let subjects = holders_of(entry)?;
    let parts = if entry.holders.is_empty() {
        vec![sealed_part.to_vec()]
    } else {
        record::SealedParts::decode(sealed_part).map_err(|_| corrupt("the sealed parts of an entry"))?.parts
    };
    if subjects.len() != parts.len() {
        return Err(corrupt("an entry has not as many sealed parts as holders"));
    }
    let open = |(subject, sealed): (Subject, Vec<u8>)| {
        let plain = unseal(sealer, Some(subject), bound, &sealed)?;
        Ok(OpenedPart { subject, sealed: sealed.into(), plain })
    };
    subjects.into_iter().zip(parts).map(open).collect()
}

/// What an entry tells in the clear: its detail, and the details of its holders in
/// their order where it is about several.
pub(super) fn details(entry: &record::Entry, opened: Vec<OpenedPart>) -> (Bytes, Vec<Option<Bytes>>) {
    let mut details = opened.into_iter().map(|part| part.plain.map(|plain| Bytes::from(plain.detail)));
    if !entry.holders.is_empty() {
        return (Bytes::copy_from_slice(&entry.detail), details.collect());
    }
    match details.next().flatten() {
        Some(sealed) if !sealed.is_empty() => (sealed, Vec::new()),
        Some(_) | None => (Bytes::copy_from_slice(&entry.detail), Vec::new()),
    }
}
