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
    io::{self, Write as _},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
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

/// The block cache of the index; keys of active subjects are in the key cache
/// already.
const INDEX_CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// Seals under keys of holders. Cheap to share behind an `Arc`.
pub struct HolderKeys {
    database: Database,
    slots: Keyspace,
    salts: File,
    /// Those whose key was destroyed; a copy of the salts is held against it.
    erased: File,
    vault: Arc<dyn KeyVault>,
    rng: Arc<dyn Rng>,
    ready: Cache<Subject, Arc<Sm4Gcm>>,
    /// Held while a salt is looked up, made or taken away; guards the number of
    /// the next free slot.
    changing: Mutex<u64>,
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
        let erased = open_erased(folder, &slots)?;
        rebuild_index(folder, &database, &slots, &salts)?;
        let next = salts.metadata().map_err(cannot_use)?.len().div_ceil(SLOT as u64);
        Ok(HolderKeys {
            database,
            slots,
            salts,
            erased,
            vault,
            rng,
            ready: Cache::new(limits::HOLDER_KEYS_CACHED_MAX),
            changing: Mutex::new(next),
            made: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            destroyed: AtomicU64::new(0),
            syncing: Mutex::new(()),
            failed: AtomicBool::new(false),
        })
    }

    /// Destroys the key of a subject for good and returns when that is on disk.
    /// What was sealed opens as `None` from now on; nothing more is sealed (a call
    /// that has taken the key already ends as if it had come before). The salt is
    /// overwritten where it stood.
    ///
    /// # Errors
    /// When it cannot be put on disk.
    pub fn destroy(&self, subject: Subject) -> Result<(), SealError> {
        let _changing = lock(&self.changing);
        let stored = self.slots.get(subject.as_bytes()).map_err(cannot_use)?;
        // The list before anything else: a copy that still has the salt is held
        // against it.
        (&self.erased).write_all(subject.as_bytes()).map_err(cannot_use)?;
        self.synced(self.erased.sync_all())?;
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

    /// Makes the salt of a subject in slot `next`.
    fn make(&self, subject: Subject, next: &mut u64) -> Result<Zeroizing<[u8; 16]>, SealError> {
        self.check_trusted()?;
        let mut salt = Zeroizing::new([0; 16]);
        self.rng.fill(&mut *salt);
        let mut content = Zeroizing::new([0; SLOT]);
        content[..16].copy_from_slice(subject.as_bytes());
        content[16..].copy_from_slice(&*salt);
        let slot = *next;
        *next += 1;
        self.salts.write_all_at(&*content, slot * SLOT as u64).map_err(cannot_use)?;
        self.slots.insert(subject.as_bytes(), slot.to_be_bytes()).map_err(cannot_use)?;
        self.made.fetch_add(1, Ordering::Release);
        Ok(salt)
    }

    /// The key of `subject`; `None` when it was destroyed.
    fn find_or_make(&self, subject: Subject, make: bool) -> Result<Option<Arc<Sm4Gcm>>, SealError> {
        let mut next = lock(&self.changing);
        let salt = match self.salt(subject)? {
            Salt::Known(salt) => salt,
            Salt::Destroyed => return Ok(None),
            Salt::Unknown if make => self.make(subject, &mut next)?,
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
            None => Err(SealError::Keys("the subject's key was destroyed".into())),
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

/// Opens the list of those who were erased; one that is missing is written from the
/// index.
fn open_erased(folder: &Path, slots: &Keyspace) -> Result<File, SealError> {
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
    OpenOptions::new().append(true).open(path).map_err(cannot_use)
}

/// Builds the index of a copy: it has none, but salts and a list.
fn rebuild_index(
    folder: &Path,
    database: &Database,
    slots: &Keyspace,
    salts: &File,
) -> Result<(), SealError> {
    if !slots.is_empty().map_err(cannot_use)? {
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
mod tests {
    use super::*;
    use crate::crypto::{copy_holder_keys, erase_salts};
    use crate::{crypto::SoftVault, model::SystemRng};

    const ANN: Subject = Subject::from_bytes([1; 16]);
    const BO: Subject = Subject::from_bytes([2; 16]);
    const NONCE: [u8; 12] = [3; 12];

    fn open(folder: &Path) -> HolderKeys {
        let vault = SoftVault::empty().with_key(KeyName::Seal, &[4; 16]).expect("16 bytes");
        HolderKeys::open(folder, Arc::new(vault), Arc::new(SystemRng)).expect("opens")
    }

    #[test]
    fn what_is_sealed_opens_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = open(folder.path());
        let sealed = keys.seal(ANN, &NONCE, b"entry 1", b"Ann's detail").expect("seals");
        keys.make_durable().expect("syncs");
        assert_eq!(keys.open(ANN, &NONCE, b"entry 1", &sealed), Ok(Some(b"Ann's detail".to_vec())));
        drop(keys);
        let keys = open(folder.path());
        assert_eq!(keys.open(ANN, &NONCE, b"entry 1", &sealed), Ok(Some(b"Ann's detail".to_vec())));
        assert_eq!(keys.seal(ANN, &NONCE, b"entry 1", b"Ann's detail"), Ok(sealed));
    }

    #[test]
    fn a_destroyed_key_stays_destroyed() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = open(folder.path());
        let ann = keys.seal(ANN, &NONCE, b"", b"Ann").expect("seals");
        let bo = keys.seal(BO, &NONCE, b"", b"Bo").expect("seals");
        keys.destroy(ANN).expect("destroys");
        let check = |keys: &HolderKeys| {
            assert_eq!(keys.open(ANN, &NONCE, b"", &ann), Ok(None));
            assert!(matches!(keys.seal(ANN, &NONCE, b"", b"Ann"), Err(SealError::Keys(_))));
            assert_eq!(keys.open(BO, &NONCE, b"", &bo), Ok(Some(b"Bo".to_vec())));
        };
        check(&keys);
        drop(keys);
        check(&open(folder.path()));
    }

    /// How many files under `folder` hold `bytes`.
    fn files_with(folder: &Path, bytes: &[u8]) -> usize {
        let entries =
            std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries
            .map(|path| match path.is_dir() {
                true => files_with(&path, bytes),
                false => {
                    let content = std::fs::read(&path).expect("readable");
                    usize::from(content.windows(bytes.len()).any(|window| window == bytes))
                }
            })
            .sum()
    }

    #[test]
    fn a_destroyed_salt_is_in_no_file() {
        struct Recognisable;
        impl Rng for Recognisable {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&b"recognisable salt"[..bytes.len()]);
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        let vault = SoftVault::empty().with_key(KeyName::Seal, &[4; 16]).expect("16 bytes");
        let keys = HolderKeys::open(folder.path(), Arc::new(vault), Arc::new(Recognisable)).expect("opens");
        keys.seal(ANN, &NONCE, b"", b"Ann").expect("seals");
        keys.make_durable().expect("syncs");
        assert_ne!(files_with(folder.path(), b"recognisable sal"), 0);
        keys.destroy(ANN).expect("destroys");
        drop(keys);
        assert_eq!(files_with(folder.path(), b"recognisable sal"), 0);
    }

    #[test]
    fn a_copy_opens_what_was_sealed_and_brings_nobody_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let (live, copy) = (folder.path().join("live"), folder.path().join("copy"));
        let keys = open(&live);
        let ann = keys.seal(ANN, &NONCE, b"", b"Ann").expect("seals");
        let bo = keys.seal(BO, &NONCE, b"", b"Bo").expect("seals");
        keys.make_durable().expect("syncs");
        let copied = copy_holder_keys(&live, &copy).expect("copied while it is open");
        assert_eq!((copied.slots, copied.erased), (2, 0));
        // Erased after the copy was made: the next copy has her no more.
        keys.destroy(ANN).expect("destroys");
        let later = folder.path().join("later");
        copy_holder_keys(&live, &later).expect("copied");
        let check = |folder: &Path| {
            let keys = open(folder);
            assert_eq!(keys.open(ANN, &NONCE, b"", &ann), Ok(None));
            assert!(keys.seal(ANN, &NONCE, b"", b"Ann").is_err(), "nothing more is sealed");
            assert_eq!(keys.open(BO, &NONCE, b"", &bo), Ok(Some(b"Bo".to_vec())));
        };
        // The older copy is held against the newer list before it is put back.
        let list = read_erased(&live.join(ERASED)).expect("read");
        assert_eq!(list.len(), 1);
        write_erased(&copy.join(ERASED), &list).expect("written");
        erase_salts(&copy, &list).expect("erased");
        check(&later);
        check(&copy);
        drop(keys);
        check(&live);
    }

    #[test]
    fn another_subject_s_key_and_altered_parts_do_not_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = open(folder.path());
        let sealed = keys.seal(ANN, &NONCE, b"bound", b"plain").expect("seals");
        keys.seal(BO, &NONCE, b"", b"").expect("seals");
        assert_eq!(keys.open(BO, &NONCE, b"bound", &sealed), Err(SealError::Altered));
        assert_eq!(keys.open(ANN, &NONCE, b"other", &sealed), Err(SealError::Altered));
        assert_eq!(keys.open(ANN, &[0; 12], b"bound", &sealed), Err(SealError::Altered));
        assert_eq!(keys.open(ANN, &NONCE, b"bound", &sealed[1..]), Err(SealError::Altered));
        let stranger = keys.open(Subject::from_bytes([9; 16]), &NONCE, b"", &sealed);
        assert!(matches!(stranger, Err(SealError::Keys(_))), "opening makes no key");
    }

    #[test]
    fn make_durable_syncs_only_when_there_is_a_new_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = open(folder.path());
        let state = || (keys.made.load(Ordering::SeqCst), keys.durable.load(Ordering::SeqCst));
        keys.make_durable().expect("nothing to do");
        assert_eq!(state(), (0, 0));
        keys.seal(ANN, &NONCE, b"", b"").expect("seals");
        keys.seal(BO, &NONCE, b"", b"").expect("seals");
        assert_eq!(state(), (2, 0));
        keys.make_durable().expect("syncs");
        assert_eq!(state(), (2, 2));
        keys.seal(ANN, &[5; 12], b"", b"").expect("seals");
        assert_eq!(state(), (2, 2));
    }

    #[test]
    fn a_slot_that_a_crash_lost_is_made_anew_and_shared_with_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = open(folder.path());
        let ann = keys.seal(ANN, &NONCE, b"", b"Ann").expect("seals");
        keys.seal(BO, &NONCE, b"", b"Bo").expect("seals");
        drop(keys);
        let salts = OpenOptions::new().write(true).open(folder.path().join("salts")).expect("is there");
        salts.set_len(SLOT as u64).expect("truncates");
        let keys = open(folder.path());
        let third = Subject::from_bytes([7; 16]);
        let other = keys.seal(third, &NONCE, b"", b"third").expect("takes Bo's slot");
        let bo = keys.seal(BO, &NONCE, b"", b"Bo").expect("seals anew");
        keys.destroy(BO).expect("destroys");
        assert_eq!(keys.open(BO, &NONCE, b"", &bo), Ok(None));
        drop(keys);
        let keys = open(folder.path());
        assert_eq!(keys.open(third, &NONCE, b"", &other), Ok(Some(b"third".to_vec())));
        assert_eq!(keys.open(ANN, &NONCE, b"", &ann), Ok(Some(b"Ann".to_vec())));
    }

    #[test]
    fn after_a_failed_sync_nothing_is_called_durable() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = open(folder.path());
        keys.seal(ANN, &NONCE, b"", b"").expect("seals");
        assert!(keys.synced(Err::<(), _>("the disk failed")).is_err());
        assert!(keys.make_durable().is_err());
        assert!(keys.make_durable().is_err(), "not the second time either");
        assert!(keys.seal(BO, &NONCE, b"", b"").is_err(), "no new key is made");
        drop(keys);
        open(folder.path()).seal(BO, &NONCE, b"", b"").expect("seals after it was opened again");
    }

    #[test]
    fn many_threads_meet_one_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = open(folder.path());
        let sealed: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| keys.seal(ANN, &NONCE, b"", b"same").expect("seals")))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("does not panic")).collect()
        });
        assert!(sealed.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
