//! Sample cards in one's hand: a file a card in `cards/`, with the secrets of its
//! virtual chip. Whoever holds the file holds the card, so it is readable by its
//! owner alone. The counter is on disk before a tap is signed with it, as on a
//! real chip: two processes never sign under the same one.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::people::SampleHolder;
use crate::{
    crypto::{BadKey, KeyVault, TapRecord, VaultError, VirtualChip},
    model::Millis,
    proto::transit::v1::{Tap, TapKind, TransitRead},
};

/// A card file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CardFileError {
    #[error("`{path}` cannot be used: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("`{path}` is not a sample card: {detail}")]
    Malformed { path: PathBuf, detail: String },
    #[error("`{0}` is not the name of a sample card, for example bj-001")]
    Name(String),
    #[error("the card cannot be personalised: {0}")]
    Vault(#[from] VaultError),
    #[error("the card's keys are not readable: {0}")]
    Keys(#[from] BadKey),
}

/// A card file as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    holder: SampleHolder,
    /// Card, chip key, transit key; secret.
    chip: String,
    /// The counter of the last tap; 0 for none.
    counter: u32,
}

/// A sample card: what is printed on it, and the chip.
#[derive(Clone)]
pub struct SampleCard {
    pub holder: SampleHolder,
    pub chip: VirtualChip,
}

impl fmt::Debug for SampleCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SampleCard({})", self.holder.short_name)
    }
}

/// What a gate reads and the chip signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapAt<'a> {
    pub kind: TapKind,
    /// Station or stop code.
    pub station: &'a str,
    /// Line or route; empty at a metro gate.
    pub line: &'a str,
    pub tapped_at_ms: Millis,
}

impl SampleCard {
    /// Makes the card of a holder as the issuer does.
    ///
    /// # Errors
    /// When the vault lacks a root.
    pub fn issue(holder: SampleHolder, vault: &dyn KeyVault) -> Result<Self, CardFileError> {
        let mut card = [0; 16];
        hex::decode_to_slice(&holder.card_identifier, &mut card)
            .map_err(|_| CardFileError::Name(holder.short_name.clone()))?;
        let chip = VirtualChip::personalise(vault, card)?;
        Ok(SampleCard { holder, chip })
    }

    /// A tap as the chip signs it, under a counter that was never used before.
    pub fn tap(&self, at: TapAt<'_>, counter: u32) -> Tap {
        let record = TapRecord {
            kind: match at.kind {
                TapKind::Exit => 2,
                TapKind::Entry | TapKind::Unspecified => 1,
            },
            station: at.station,
            line: at.line,
            tapped_at_ms: at.tapped_at_ms,
            counter,
            card: self.chip.card,
            valid_until: self.holder.valid_until,
        };
        Tap {
            kind: at.kind.into(),
            station: at.station.to_owned(),
            line: at.line.to_owned(),
            tapped_at_ms: at.tapped_at_ms,
            read: Some(TransitRead {
                card_identifier: self.chip.card.to_vec(),
                counter,
                mac: self.chip.tap_mac(&record).to_vec(),
                valid_until: record.valid_until,
            }),
        }
    }
}

/// The folder `cards/` of a sandbox.
#[derive(Debug, Clone)]
pub struct CardFiles {
    folder: PathBuf,
}

impl CardFiles {
    /// The cards of a data folder.
    pub fn of(data: &Path) -> Self {
        CardFiles { folder: data.join("cards") }
    }

    /// Writes a new card; one that is there keeps its counter and is left alone.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn add(&self, card: &SampleCard) -> Result<(), CardFileError> {
        let path = self.path(&card.holder.short_name)?;
        if path.exists() {
            return Ok(());
        }
        self.write(&path, card, 0)
    }

    /// Reads a card by the name people type.
    ///
    /// # Errors
    /// When there is none of that name or it is malformed.
    pub fn load(&self, short_name: &str) -> Result<SampleCard, CardFileError> {
        Ok(self.read(&self.path(short_name)?)?.0)
    }

    /// The next counter of a card, durable before it is handed out.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn next_counter(&self, short_name: &str) -> Result<u32, CardFileError> {
        let path = self.path(short_name)?;
        let _owner = self.lock(&path)?;
        let (card, counter) = self.read(&path)?;
        let next = counter.checked_add(1).ok_or_else(|| CardFileError::Malformed {
            path: path.clone(),
            detail: "its counter has come to its end".to_owned(),
        })?;
        self.write(&path, &card, next)?;
        Ok(next)
    }

    /// The names of all cards, sorted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, CardFileError> {
        let failed = |source| CardFileError::Io { path: self.folder.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".json")) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn path(&self, short_name: &str) -> Result<PathBuf, CardFileError> {
        let fits = (1..=32).contains(&short_name.len())
            && short_name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits {
            return Err(CardFileError::Name(short_name.to_owned()));
        }
        Ok(self.folder.join(format!("{short_name}.json")))
    }

    /// The lock is beside the card, because the card's file is replaced.
    fn lock(&self, path: &Path) -> Result<File, CardFileError> {
        let lock = path.with_extension("lock");
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        open.and_then(|file| file.lock().map(|()| file))
            .map_err(|source| CardFileError::Io { path: lock, source })
    }

    fn read(&self, path: &Path) -> Result<(SampleCard, u32), CardFileError> {
        let bytes = fs::read(path).map_err(|source| CardFileError::Io { path: path.to_owned(), source })?;
        let written: Written = serde_json::from_slice(&bytes)
            .map_err(|error| CardFileError::Malformed { path: path.to_owned(), detail: error.to_string() })?;
        let chip = VirtualChip::from_hex(&written.chip)?;
        Ok((SampleCard { holder: written.holder, chip }, written.counter))
    }

    fn write(&self, path: &Path, card: &SampleCard, counter: u32) -> Result<(), CardFileError> {
        let written = Written { holder: card.holder.clone(), chip: card.chip.to_hex().to_string(), counter };
        let mut bytes = serde_json::to_vec_pretty(&written).expect("strings and numbers are always JSON");
        bytes.push(b'\n');
        super::files::replace(path, &bytes, 0o600)
            .map_err(|source| CardFileError::Io { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{
        crypto::{CardSuite, SandboxSuite, SoftVault},
        model::SystemRng,
        sandbox::people::{HOMES, people},
    };

    fn card(vault: &SoftVault) -> SampleCard {
        let holder = people(&HOMES[1], 7, 1).pop().expect("a person");
        SampleCard::issue(holder, vault).expect("two roots")
    }

    #[test]
    fn a_card_on_disk_taps_as_the_gateway_expects() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = SoftVault::generate(&SystemRng);
        let files = CardFiles::of(folder.path());
        files.add(&card(&vault)).expect("written");
        let again = files.load("tj-001").expect("read");
        let at =
            TapAt { kind: TapKind::Exit, station: "西直门", line: "2", tapped_at_ms: 1_790_000_000_000 };
        let read = again.tap(at, 9).read.expect("a read");
        let record = TapRecord {
            kind: 2,
            station: "西直门",
            line: "2",
            tapped_at_ms: 1_790_000_000_000,
            counter: 9,
            card: again.chip.card,
            valid_until: again.holder.valid_until,
        };
        assert_eq!(SandboxSuite.verify_tap(&vault, &record, &read.mac), Ok(()));
    }

    #[test]
    fn a_tap_is_what_an_independent_implementation_makes_of_it() {
        // examples/python/tap.py with the SM4-CMAC of Python's cryptography.
        let mut card = card(&SoftVault::generate(&SystemRng));
        let chip = ["11".repeat(16), "22".repeat(16), "33".repeat(16)].concat();
        card.chip = VirtualChip::from_hex(&chip).expect("96 digits");
        let at =
            TapAt { kind: TapKind::Exit, station: "西直门", line: "2", tapped_at_ms: 1_790_000_000_000 };
        let read = card.tap(at, 9).read.expect("a read");
        assert_eq!(hex::encode(read.mac), "328d504bf2cdb791");
    }

    #[test]
    fn a_counter_is_never_given_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = SoftVault::generate(&SystemRng);
        let files = CardFiles::of(folder.path());
        files.add(&card(&vault)).expect("written");
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let files = files.clone();
                std::thread::spawn(move || {
                    let next = |_| files.next_counter("tj-001").expect("a counter");
                    (0..10).map(next).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut taken: Vec<u32> =
            takers.into_iter().flat_map(|taker| taker.join().expect("no panic")).collect();
        taken.sort_unstable();
        assert_eq!(taken, (1..=40).collect::<Vec<u32>>());
        files.add(&card(&vault)).expect("it is there");
        assert_eq!(files.next_counter("tj-001").expect("a counter"), 41, "adding again changes nothing");
    }

    #[test]
    fn a_card_file_is_its_owners_alone_and_shows_no_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = CardFiles::of(folder.path());
        let card = card(&SoftVault::generate(&SystemRng));
        files.add(&card).expect("written");
        let path = folder.path().join("cards/tj-001.json");
        assert_eq!(fs::metadata(path).expect("it is there").permissions().mode() & 0o777, 0o600);
        assert_eq!(format!("{card:?}"), "SampleCard(tj-001)");
        assert_eq!(files.names().expect("read"), ["tj-001"]);
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        let files = CardFiles::of(Path::new("/nowhere"));
        for name in ["../pki/ca", "", "bj/001", "BJ-001"] {
            assert!(matches!(files.load(name), Err(CardFileError::Name(_))), "{name}");
        }
    }
}
