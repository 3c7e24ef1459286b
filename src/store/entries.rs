//! Reads a journal's entries without its gateway, in the order in which they were
//! written: for what is folded from them off line. Only the open part of an entry is
//! told; the personal part stays sealed.

use std::{path::Path, sync::Arc};

use prost::Message;

use super::{
    disk::{Disk, RealDisk},
    segment::Segments,
    walk::{Broken, Tail, walk},
};
use crate::model::record;

/// Reads the journal in a folder, entry by entry; frames, chain and roots are
/// checked on the way. Nothing is written, so the folder may be held by another
/// process: what it has not written out in full at the end is not told.
///
/// # Errors
/// The first place where the journal does not hold, or of which `visit` says why it
/// cannot go on.
pub fn read_entries(
    dir: &Path,
    visit: &mut dyn FnMut(record::Entry) -> Result<(), String>,
) -> Result<(), Broken> {
    read_disk(Arc::new(RealDisk::look(dir)), visit)
}

/// [`read_entries`] of any disk.
pub(super) fn read_disk(
    disk: Arc<dyn Disk>,
    visit: &mut dyn FnMut(record::Entry) -> Result<(), String>,
) -> Result<(), Broken> {
    let segments = Segments::look(disk)?;
    walk(&segments, None, Tail::MayBeTorn, &mut |walked| {
        let broken = |what: String| Broken {
            segment: walked.segment,
            offset: walked.offset,
            sequence: walked.header.sequence,
            what,
        };
        for (index, stored) in walked.batch.entries.iter().enumerate() {
            let entry = record::Entry::decode(stored.public_part.as_slice())
                .map_err(|_| broken(format!("entry {index} cannot be decoded")))?;
            visit(entry).map_err(broken)?;
        }
        Ok(())
    })?;
    Ok(())
}
