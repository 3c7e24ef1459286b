//! The keys that seal personal data, one a subject. A key is derived from the
//! vault's seal key and a random salt of the subject; taking the salt away
//! destroys the key and with it everything sealed under it.
//!
//! Salts are on disk (a region has too many to hold in memory), in a file of
//! slots of 32 bytes, subject and salt; an index finds the slot of a subject; keys
//! in use are in a bounded cache. The salts are not in the index itself: its logs
//! would keep a copy of what was taken away, while a slot is overwritten in place.
//! What does not live here: which part of an entry is personal (`scenes`), and
//! when a key is to be destroyed.
//!
//! **Architecture Invariant:** a key that is in the cache has its salt in a
//! slot, and a key whose salt was taken away is not in the cache. Both are
//! changed under one lock.

use std::{
    collections::HashSet,
    fmt,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use super::{
    ERASED, KeyName, KeyVault, SALTS, SealError, Sealer, Sm4Gcm, VaultError, holder_copy::each_slot,
    read_erased, write_erased,
};
use crate::{
    limits,
    model::{Rng, Subject},
};

/// What opens the data from which a holder key is derived.
const DOMAIN: &[u8] = b"onecard/seal/holder/v1\0";

/// What stands in the index instead of the slot of a salt that was taken away.
const DESTROYED: &[u8] = b"destroyed";

/// A slot: subject, salt.
pub(super) const SLOT: usize = 32;

/// A name on the list of the erased.
const NAME: u64 = 16;

/// Stands in the keyspace `about` when the index has every salt.
const REBUILT: &[u8] = b"rebuilt";

/// The block cache of the index; keys of active subjects are in the key cache
/// already.
const INDEX_CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// Seals under keys of holders. Cheap to share behind an `Arc`.
pub struct HolderKeys {
    folder: PathBuf,
    database: Database,
    slots: Keyspace,
    salts: File,
    /// Those whose key was destroyed; a copy of the salts is held against it.
    erased: File,
    /// The same list once more, apart from the store.
    apart: Option<PathBuf>,
    vault: Arc<dyn KeyVault>,
    rng: Arc<dyn Rng>,
    ready: Cache<Subject, Arc<Sm4Gcm>>,
    /// Held while a salt is looked up, made or taken away.
    changing: Mutex<Ends>,
    /// Salts made since the start, and how many of them are on disk.
    made: AtomicU64,
    durable: AtomicU64,
    /// Keys destroyed since the start.
    destroyed: AtomicU64,
    syncing: Mutex<()>,
    /// A sync failed: what the disk holds is not known until it is opened again.
    failed: AtomicBool,
}

/// The key of a holder, from the vault and the salt that was drawn for them;
/// where salts are kept is their keeper's affair.
///
/// # Errors
/// When the vault has no key for sealing.
pub fn holder_key(
    vault: &dyn KeyVault,
    subject: Subject,
    salt: &Zeroizing<[u8; 16]>,
) -> Result<Sm4Gcm, VaultError> {
    let mut data = Zeroizing::new([0; DOMAIN.len() + 32]);
    data[..DOMAIN.len()].copy_from_slice(DOMAIN);
    data[DOMAIN.len()..][..16].copy_from_slice(subject.as_bytes());
    data[DOMAIN.len() + 16..].copy_from_slice(&**salt);
    let key = vault.mac(KeyName::Seal, &*data).map(Zeroizing::new)?;
    Ok(Sm4Gcm::new(&key))
}

/// Where the files of salts and of the erased are written next.
struct Ends {
    /// The next free slot.
    slot: u64,
    /// Bytes of whole names on the list of the erased.
    erased: u64,
}

enum Salt {
    Unknown,
    Destroyed,
    Known(Zeroizing<[u8; 16]>),
}

impl HolderKeys {
    /// Opens the salts in `folder`, or makes the folder.
    ///
    /// # Errors
    /// When the index cannot be opened, or is open in another process.
    pub fn open(folder: &Path, vault: Arc<dyn KeyVault>, rng: Arc<dyn Rng>) -> Result<Self, SealError> {
        let database = Database::builder(folder.join("index"))
            .cache_size(INDEX_CACHE_BYTES)
            .worker_threads(1)
            .open()
            .map_err(cannot_use)?;
        let slots = database.keyspace("slots", KeyspaceCreateOptions::default).map_err(cannot_use)?;
        let salts = open_salts(folder).map_err(cannot_use)?;
        let (erased, erased_end) = open_erased(folder, &slots)?;
        rebuild_index(folder, &database, &slots, &salts)?;
        let slot = salts.metadata().map_err(cannot_use)?.len().div_ceil(SLOT as u64);
        Ok(HolderKeys {
            folder: folder.to_owned(),
            database,
            slots,
            salts,
            erased,
            apart: None,
            vault,
            rng,
            ready: Cache::new(limits::HOLDER_KEYS_CACHED_MAX),
            changing: Mutex::new(Ends { slot, erased: erased_end }),
            made: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            destroyed: AtomicU64::new(0),
            syncing: Mutex::new(()),
            failed: AtomicBool::new(false),
        })
    }

    /// Keeps the list of the erased at `path`, too, which is to lie apart from the
    /// store. Who stands on it is erased again at once: a store that was put back from
    /// an older copy has their keys.
    ///
    /// # Errors
    /// When the list cannot be read or written, or a key not be destroyed.
    pub fn keeping_list(mut self, path: &Path) -> Result<Self, SealError> {
        let mut listed = read_erased(path).map_err(cannot_use)?;
        for subject in &listed {
            if !self.is_destroyed(*subject)? {
                self.destroy(*subject)?;
            }
        }
        let known = listed.len();
        listed.extend(read_erased(&self.folder.join(ERASED)).map_err(cannot_use)?);
        if listed.len() > known {
            // They were erased before the list was kept apart.
            write_apart(path, &listed).map_err(cannot_use)?;
        }
        self.apart = Some(path.to_owned());
        Ok(self)
    }

    /// Puts a name on the list that lies apart, as a whole: it is short, and who is
    /// stopped in between leaves the old one.
    fn note_apart(&self, subject: Subject) -> io::Result<()> {
        let Some(path) = &self.apart else { return Ok(()) };
        let mut listed = read_erased(path)?;
        if listed.insert(subject) {
            write_apart(path, &listed)?;
        }
        Ok(())
    }

    /// Destroys the key of a subject for good and returns when that is on disk.
    /// What was sealed opens as `None` from now on; nothing more is sealed (a call
    /// that has taken the key already ends as if it had come before). The salt is
    /// overwritten where it stood.
    ///
    /// # Errors
    /// When it cannot be put on disk.
    pub fn destroy(&self, subject: Subject) -> Result<(), SealError> {
        let mut ends = lock(&self.changing);
        let stored = self.slots.get(subject.as_bytes()).map_err(cannot_use)?;
        // The lists before anything else: a copy that still has the salt is held
        // against them.
        self.note_apart(subject).map_err(cannot_use)?;
        // At its place, not at the end of the file: what a full disk
        // has left of a name there is written over.
        self.erased.write_all_at(subject.as_bytes(), ends.erased).map_err(cannot_use)?;
        self.synced(self.erased.sync_all())?;
        ends.erased += NAME;
        self.slots.insert(subject.as_bytes(), DESTROYED).map_err(cannot_use)?;
        self.ready.remove(&subject);
        self.destroyed.fetch_add(1, Ordering::Release);
        // The index first: a slot that is empty and still named would be taken for
        // one that a crash has lost, and be made anew.
        self.synced(self.database.persist(PersistMode::SyncAll))?;
        if let Some(slot) = stored.and_then(|stored| slot_number(&stored))
            && self.read(subject, slot)?.is_some()
        {
            self.salts.write_all_at(&[0; SLOT], slot * SLOT as u64).map_err(cannot_use)?;
            self.synced(self.salts.sync_all())?;
        }
        Ok(())
    }

    fn salt(&self, subject: Subject) -> Result<Salt, SealError> {
        match self.slots.get(subject.as_bytes()).map_err(cannot_use)? {
            None => Ok(Salt::Unknown),
            Some(stored) if *stored == *DESTROYED => Ok(Salt::Destroyed),
            Some(stored) => match slot_number(&stored) {
                Some(slot) => Ok(self.read(subject, slot)?.map_or(Salt::Unknown, Salt::Known)),
                None => Err(SealError::Keys("the index names a slot that cannot be".into())),
            },
        }
    }

    /// The salt in a slot; `None` when the slot is not the subject's: a crash kept
    /// the index and lost the slot, and nothing was acknowledged under it.
    fn read(&self, subject: Subject, slot: u64) -> Result<Option<Zeroizing<[u8; 16]>>, SealError> {
        let mut content = Zeroizing::new([0; SLOT]);
        match self.salts.read_exact_at(&mut *content, slot * SLOT as u64) {
            Ok(()) if content[..16] == *subject.as_bytes() => {
                let mut salt = Zeroizing::new([0; 16]);
                salt.copy_from_slice(&content[16..]);
                Ok(Some(salt))
            }
            Ok(()) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(cannot_use(error)),
        }
    }

    /// Remembers a failed sync: a later one that succeeds would prove nothing.
    fn synced<E: fmt::Display>(&self, result: Result<(), E>) -> Result<(), SealError> {
        result.map_err(|error| {
            self.failed.store(true, Ordering::Release);
            cannot_use(error)
        })
    }

    fn check_trusted(&self) -> Result<(), SealError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(SealError::Keys("a sync failed; the holder keys must be opened again".into()));
        }
        Ok(())
    }

    /// Makes the salt of a subject in the next free slot.
    fn make(&self, subject: Subject, ends: &mut Ends) -> Result<Zeroizing<[u8; 16]>, SealError> {
        self.check_trusted()?;
        let mut salt = Zeroizing::new([0; 16]);
        self.rng.fill(&mut *salt);
        let mut content = Zeroizing::new([0; SLOT]);
        content[..16].copy_from_slice(subject.as_bytes());
        content[16..].copy_from_slice(&*salt);
        let slot = ends.slot;
        ends.slot += 1;
        self.salts.write_all_at(&*content, slot * SLOT as u64).map_err(cannot_use)?;
        self.slots.insert(subject.as_bytes(), slot.to_be_bytes()).map_err(cannot_use)?;
        self.made.fetch_add(1, Ordering::Release);
        Ok(salt)
    }

    /// The key of `subject`; `None` when it was destroyed.
    fn find_or_make(&self, subject: Subject, make: bool) -> Result<Option<Arc<Sm4Gcm>>, SealError> {
        let mut ends = lock(&self.changing);
        let salt = match self.salt(subject)? {
            Salt::Known(salt) => salt,
            Salt::Destroyed => return Ok(None),
            Salt::Unknown if make => self.make(subject, &mut ends)?,
            Salt::Unknown => {
                return Err(SealError::Keys("there is no key of this subject".into()));
            }
        };
        let key = Arc::new(holder_key(&*self.vault, subject, &salt).map_err(cannot_use)?);
        self.ready.insert(subject, key.clone());
        Ok(Some(key))
    }

    fn key(&self, subject: Subject, make: bool) -> Result<Option<Arc<Sm4Gcm>>, SealError> {
        if let Some(key) = self.ready.get(&subject) {
            return Ok(Some(key));
        }
        self.find_or_make(subject, make)
    }
}

impl Sealer for HolderKeys {
    fn seal(
        &self,
        subject: Subject,
        nonce: &[u8; 12],
        bound: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        match self.key(subject, true)? {
            Some(key) => Ok(key.seal(nonce, bound, plain)),
            None => Err(SealError::Destroyed),
        }
    }

    fn open(
        &self,
        subject: Subject,
        nonce: &[u8; 12],
        bound: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, SealError> {
        match self.key(subject, false)? {
            Some(key) => key.open(nonce, bound, sealed).map(Some).map_err(|_| SealError::Altered),
            None => Ok(None),
        }
    }

    fn destroy(&self, subject: Subject) -> Result<(), SealError> {
        HolderKeys::destroy(self, subject)
    }

    fn is_destroyed(&self, subject: Subject) -> Result<bool, SealError> {
        let stored = self.slots.get(subject.as_bytes()).map_err(cannot_use)?;
        Ok(stored.is_some_and(|stored| *stored == *DESTROYED))
    }

    fn destroyed(&self) -> u64 {
        self.destroyed.load(Ordering::Acquire)
    }

    fn make_durable(&self) -> Result<(), SealError> {
        self.check_trusted()?;
        let wanted = self.made.load(Ordering::Acquire);
        if self.durable.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        let _syncing = lock(&self.syncing);
        self.check_trusted()?;
        if self.durable.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        let covered = self.made.load(Ordering::Acquire);
        self.synced(self.salts.sync_data())?;
        self.synced(self.database.persist(PersistMode::SyncData))?;
        self.durable.store(covered, Ordering::Release);
        Ok(())
    }
}

impl fmt::Debug for HolderKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HolderKeys").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

fn cannot_use(error: impl fmt::Display) -> SealError {
    SealError::Keys(error.to_string())
}

fn open_salts(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let salts = options.open(folder.join(SALTS))?;
    File::open(folder)?.sync_all()?;
    Ok(salts)
}

/// Writes a list and puts its name in its folder on disk, too.
fn write_apart(path: &Path, listed: &HashSet<Subject>) -> io::Result<()> {
    write_erased(path, listed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Opens the list of those who were erased and cuts off what a full disk has left of a
/// name; answers with its length, too. One that is missing is written from the index.
fn open_erased(folder: &Path, slots: &Keyspace) -> Result<(File, u64), SealError> {
    let path = folder.join(ERASED);
    if !path.exists() {
        let mut erased = HashSet::new();
        for guard in slots.iter() {
            let (subject, stored) = guard.into_inner().map_err(cannot_use)?;
            if *stored == *DESTROYED {
                erased.extend(Subject::from_slice(&subject));
            }
        }
        write_erased(&path, &erased).map_err(cannot_use)?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(cannot_use)?;
    }
    let cut = || -> io::Result<(File, u64)> {
        let list = OpenOptions::new().write(true).open(&path)?;
        let bytes = list.metadata()?.len();
        let whole = bytes / NAME * NAME;
        if whole < bytes {
            list.set_len(whole)?;
            list.sync_all()?;
        }
        Ok((list, whole))
    };
    cut().map_err(cannot_use)
}

/// Builds the index of a copy: it has none, but salts and a list. A mark is written last;
/// an index without it may be half built and would make keys anew that are there.
fn rebuild_index(
    folder: &Path,
    database: &Database,
    slots: &Keyspace,
    salts: &File,
) -> Result<(), SealError> {
    let about = database.keyspace("about", KeyspaceCreateOptions::default).map_err(cannot_use)?;
    if about.contains_key(REBUILT).map_err(cannot_use)? {
        return Ok(());
    }
    // Of two slots of a subject the later one counts: the earlier was lost in a
    // crash before anything was acknowledged under it.
    each_slot(salts, &mut |slot, subject| {
        slots.insert(subject.as_bytes(), slot.to_be_bytes()).map_err(io::Error::other)
    })
    .map_err(cannot_use)?;
    for subject in read_erased(&folder.join(ERASED)).map_err(cannot_use)? {
        slots.insert(subject.as_bytes(), DESTROYED).map_err(cannot_use)?;
    }
    // On disk before the mark is: it tells of all of them.
    database.persist(PersistMode::SyncAll).map_err(cannot_use)?;
    about.insert(REBUILT, b"").map_err(cannot_use)?;
    database.persist(PersistMode::SyncAll).map_err(cannot_use)
}

fn slot_number(stored: &[u8]) -> Option<u64> {
    stored.try_into().map(u64::from_be_bytes).ok()
}

/// A panic elsewhere leaves nothing half done behind these locks: at worst a slot
/// is skipped.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
