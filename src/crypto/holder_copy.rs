//! Copies of the holder keys for a backup, and what keeps an erased person erased:
//! every erasure is noted in a list beside the salts, and whoever puts a copy back
//! takes the salts on the newest list away.
//!
//! A copy holds the salts and the list; the index is built from them when the copy
//! is opened. Nothing here needs the vault, without which salts open nothing.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use super::{
    hash::{Digest32, sm3},
    holder_keys::SLOT,
};
use crate::model::Subject;

/// The file of salts in a folder of holder keys.
pub const SALTS: &str = "salts";

/// The list of those whose key was destroyed, 16 bytes each.
pub const ERASED: &str = "erased";

/// The salts of a copy while those who were erased are taken out of it.
const SALTS_NEW: &str = "salts.new";

/// Slots that are read at once.
const PIECE: usize = 4_096 * SLOT;

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HolderCopy {
    pub slots: u64,
    pub erased: u64,
    /// Over the copied salts, piece by piece: SM3(digest so far ‖ piece).
    pub digest: Digest32,
}

/// Copies the holder keys of a store, which may be running, to another folder. In
/// the copy nobody is left who was erased. The list and then the salts take the place
/// of what was there before, each at once: who stops in between leaves a copy.
///
/// # Errors
/// What the system says.
pub fn copy_holder_keys(from: &Path, to: &Path) -> io::Result<HolderCopy> {
    fs::create_dir_all(to)?;
    // The salts first: who is erased meanwhile stands on the list that is read after.
    let (salts, new) = (to.join(SALTS), to.join(SALTS_NEW));
    copy_file(&from.join(SALTS), &new)?;
    let mut erased = read_erased(&to.join(ERASED))?;
    erased.extend(read_erased(&from.join(ERASED))?);
    write_erased(&to.join(ERASED), &erased)?;
    let copy = erase_in(&new, &erased)?;
    fs::rename(new, salts)?;
    File::open(to)?.sync_all()?;
    Ok(copy)
}

/// The digest of a copy's first `slots` slots, as [`HolderCopy`] has it of all of them;
/// `None` where there are fewer.
///
/// # Errors
/// What the system says.
pub fn digest_of_salts(path: &Path, slots: u64) -> io::Result<Option<Digest32>> {
    let salts = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((slots == 0).then_some([0; 32]));
        }
        opened => opened?,
    };
    let end = slots.saturating_mul(SLOT as u64);
    let (mut digest, mut at, mut piece) = ([0; 32], 0, vec![0; PIECE]);
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        if read_some(&salts, at, &mut piece[..most])? < most {
            return Ok(None);
        }
        digest = sm3(&[&digest, &piece[..most]]);
        at += most as u64;
    }
    Ok(Some(digest))
}

/// Takes the salts of `erased` away from a copy that nobody has open, and counts
/// what it holds.
///
/// # Errors
/// What the system says.
pub fn erase_salts(folder: &Path, erased: &HashSet<Subject>) -> io::Result<HolderCopy> {
    erase_in(&folder.join(SALTS), erased)
}

fn erase_in(path: &Path, erased: &HashSet<Subject>) -> io::Result<HolderCopy> {
    let salts = OpenOptions::new().read(true).write(true).open(path)?;
    let mut copy = HolderCopy { erased: erased.len() as u64, ..HolderCopy::default() };
    let (mut at, mut piece) = (0, vec![0; PIECE]);
    loop {
        let read = read_some(&salts, at, &mut piece)?;
        // A slot that was being written when it was copied belongs to no entry yet.
        let whole = read / SLOT * SLOT;
        for slot in piece[..whole].chunks_exact_mut(SLOT) {
            let known = Subject::from_slice(&slot[..16]).is_ok_and(|subject| erased.contains(&subject));
            if known {
                slot.fill(0);
            }
        }
        salts.write_all_at(&piece[..whole], at)?;
        if whole > 0 {
            copy.digest = sm3(&[&copy.digest, &piece[..whole]]);
        }
        copy.slots += (whole / SLOT) as u64;
        at += whole as u64;
        if read < piece.len() {
            break;
        }
    }
    salts.set_len(at)?;
    salts.sync_all()?;
    Ok(copy)
}

/// The list of those who were erased; empty where there is none.
///
/// # Errors
/// What the system says.
pub fn read_erased(path: &Path) -> io::Result<HashSet<Subject>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        read => read?,
    };
    Ok(bytes.chunks_exact(16).filter_map(|bytes| Subject::from_slice(bytes).ok()).collect())
}

/// Writes a list of those who were erased, in place of an older one.
///
/// # Errors
/// What the system says.
pub fn write_erased(path: &Path, erased: &HashSet<Subject>) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = private(&new)?;
    let mut sorted: Vec<_> = erased.iter().collect();
    sorted.sort();
    for subject in sorted {
        file.write_all(subject.as_bytes())?;
    }
    file.sync_all()?;
    fs::rename(new, path)
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = private(to)?;
    match File::open(from) {
        Ok(mut source) => {
            io::copy(&mut source, &mut target)?;
        }
        // A store in which nobody was sealed yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    target.sync_all()
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn read_some(file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < into.len() {
        match file.read_at(&mut into[read..], at + read as u64)? {
            0 => break,
            some => read += some,
        }
    }
    Ok(read)
}

/// Visits the slots of a file of salts: number, subject, whether it is empty.
pub(super) fn each_slot(
    salts: &File,
    visit: &mut dyn FnMut(u64, Subject) -> io::Result<()>,
) -> io::Result<()> {
    let (mut at, mut piece) = (0, vec![0; PIECE]);
    loop {
        let read = read_some(salts, at, &mut piece)?;
        for (number, slot) in piece[..read / SLOT * SLOT].chunks_exact(SLOT).enumerate() {
            if slot.iter().any(|byte| *byte != 0)
                && let Ok(subject) = Subject::from_slice(&slot[..16])
            {
                visit(at / SLOT as u64 + number as u64, subject)?;
            }
        }
        at += read as u64;
        if read < piece.len() {
            return Ok(());
        }
    }
}
