//! How often each card of a state has tapped, kept beside the state in a file, so that
//! a filled state is measured again without reading millions of files of cards.
//!
//! While somebody changes the state the file has another name: whoever finds it so knows
//! that it may be behind, and asks the store.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A card whose last tap has no known outcome is used no more.
const RETIRED: u16 = u16::MAX;

/// Taps of each card, by its number from 1. An odd count is a ride that is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standings(Vec<u16>);

impl Standings {
    /// What the file says; `None` where there is none that may be believed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Standings(bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect())))
    }

    /// Says that the state is being changed.
    ///
    /// # Errors
    /// When the file is there and cannot be renamed.
    pub fn open(path: &Path) -> io::Result<()> {
        match fs::rename(path, other(path, "open")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Says how the state stands, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn close(&self, path: &Path) -> io::Result<()> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|taps| taps.to_le_bytes()).collect();
        let new = other(path, "new");
        fs::write(&new, bytes)?;
        fs::rename(&new, path)
    }

    pub fn cards(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// All taps of cards in use.
    pub fn taps(&self) -> u64 {
        self.0.iter().filter(|taps| **taps != RETIRED).map(|taps| u64::from(*taps)).sum()
    }

    /// Taps of a card; `None` when it is used no more.
    pub fn of(&self, number: u32) -> Option<u32> {
        let taps = *self.0.get(number as usize - 1)?;
        (taps < RETIRED - 1).then_some(u32::from(taps))
    }

    pub fn set(&mut self, number: u32, taps: u32) {
        self.0[number as usize - 1] = u16::try_from(taps).unwrap_or(RETIRED);
    }

    pub fn retire(&mut self, number: u32) {
        self.0[number as usize - 1] = RETIRED;
    }

    /// Takes further cards in, which never tapped.
    pub fn grow(&mut self, cards: u32) {
        self.0.resize(cards as usize, 0);
    }
}

fn other(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_closed_is_believed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("standings");
        assert_eq!(Standings::read(&path).expect("read"), None);
        let mut standings = Standings::default();
        standings.grow(3);
        standings.set(2, 7);
        standings.retire(3);
        standings.close(&path).expect("written");
        assert_eq!(Standings::read(&path).expect("read"), Some(standings.clone()));
        assert_eq!((standings.cards(), standings.taps()), (3, 7));
        assert_eq!([1, 2, 3, 4].map(|number| standings.of(number)), [Some(0), Some(7), None, None]);
        Standings::open(&path).expect("renamed");
        assert_eq!(Standings::read(&path).expect("read"), None);
        Standings::open(&path).expect("nothing to rename");
    }
}
