//! The keys that seal personal data, one a subject. A key is derived from the
//! vault's seal key and a random salt of the subject; taking the salt away
//! destroys the key and with it everything sealed under it.
//!
//! Salts are in an index of their own on disk (32 bytes a subject: too much to
//! hold in memory for a region); keys in use are in a bounded cache. What does
//! not live here: which part of an entry is personal (`scenes`), and when a key
//! is to be destroyed.
//!
//! **Architecture Invariant:** a key that is in the cache has its salt in the
//! index, and a key whose salt was taken away is not in the cache. Both are
//! changed under one lock.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use super::{KeyName, KeyVault, SealError, Sealer, Sm4Gcm};
use crate::{
    limits,
    model::{Rng, Subject},
};

/// What opens the data from which a holder key is derived.
const DOMAIN: &[u8] = b"onecard/seal/holder/v1\0";

/// What stands in the index instead of a salt that was taken away.
const DESTROYED: &[u8] = b"destroyed";

/// The block cache of the index; salts of active subjects are in the key cache
/// already.
const INDEX_CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// Seals under keys of holders. Cheap to share behind an `Arc`.
pub struct HolderKeys {
    database: Database,
    salts: Keyspace,
    vault: Arc<dyn KeyVault>,
    rng: Arc<dyn Rng>,
    ready: Cache<Subject, Arc<Sm4Gcm>>,
    /// Held while a salt is looked up, made or taken away.
    changing: Mutex<()>,
    /// Salts made since the start, and how many of them are on disk.
    made: AtomicU64,
    durable: AtomicU64,
    syncing: Mutex<()>,
}

enum Salt {
    Unknown,
    Destroyed,
    Known(Zeroizing<[u8; 16]>),
}

impl HolderKeys {
    /// Opens the index of salts in `folder`, or makes it.
    ///
    /// # Errors
    /// When the index cannot be opened, or is open in another process.
    pub fn open(folder: &Path, vault: Arc<dyn KeyVault>, rng: Arc<dyn Rng>) -> Result<Self, SealError> {
        let database = Database::builder(folder)
            .cache_size(INDEX_CACHE_BYTES)
            .worker_threads(1)
            .open()
            .map_err(cannot_use)?;
        let salts = database.keyspace("salts", KeyspaceCreateOptions::default).map_err(cannot_use)?;
        Ok(HolderKeys {
            database,
            salts,
            vault,
            rng,
            ready: Cache::new(limits::HOLDER_KEYS_CACHED_MAX),
            changing: Mutex::new(()),
            made: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            syncing: Mutex::new(()),
        })
    }

    /// Destroys the key of a subject for good and returns when that is on disk.
    /// What was sealed opens as `None` from now on; nothing more is sealed (a call
    /// that has taken the key already ends as if it had come before). The
    /// index is rewritten, so that the salt does not linger in an old file of it.
    ///
    /// # Errors
    /// When it cannot be put on disk.
    pub fn destroy(&self, subject: Subject) -> Result<(), SealError> {
        let changing = lock(&self.changing);
        self.salts.insert(subject.as_bytes(), DESTROYED).map_err(cannot_use)?;
        self.ready.remove(&subject);
        self.database.persist(PersistMode::SyncAll).map_err(cannot_use)?;
        drop(changing);
        self.salts.rotate_memtable_and_wait().map_err(cannot_use)?;
        self.salts.major_compact().map_err(cannot_use)
    }

    fn salt(&self, subject: Subject) -> Result<Salt, SealError> {
        match self.salts.get(subject.as_bytes()).map_err(cannot_use)? {
            None => Ok(Salt::Unknown),
            Some(stored) if *stored == *DESTROYED => Ok(Salt::Destroyed),
            Some(stored) => match <[u8; 16]>::try_from(&*stored) {
                Ok(salt) => Ok(Salt::Known(Zeroizing::new(salt))),
                Err(_) => Err(SealError::Keys("a salt in the index is not 16 bytes long".into())),
            },
        }
    }

    /// The key of `subject`; `None` when it was destroyed. Called with `changing`
    /// held.
    fn find_or_make(&self, subject: Subject, make: bool) -> Result<Option<Arc<Sm4Gcm>>, SealError> {
        let salt = match self.salt(subject)? {
            Salt::Known(salt) => salt,
            Salt::Destroyed => return Ok(None),
            Salt::Unknown if !make => {
                return Err(SealError::Keys("the index knows no key of this subject".into()));
            }
            Salt::Unknown => {
                let mut salt = Zeroizing::new([0; 16]);
                self.rng.fill(&mut *salt);
                self.salts.insert(subject.as_bytes(), salt.as_slice()).map_err(cannot_use)?;
                self.made.fetch_add(1, Ordering::Release);
                salt
            }
        };
        let mut data = Zeroizing::new([0; DOMAIN.len() + 32]);
        data[..DOMAIN.len()].copy_from_slice(DOMAIN);
        data[DOMAIN.len()..][..16].copy_from_slice(subject.as_bytes());
        data[DOMAIN.len() + 16..].copy_from_slice(&*salt);
        let key = self.vault.mac(KeyName::Seal, &*data).map(Zeroizing::new).map_err(cannot_use)?;
        let key = Arc::new(Sm4Gcm::new(&key));
        self.ready.insert(subject, key.clone());
        Ok(Some(key))
    }

    fn key(&self, subject: Subject, make: bool) -> Result<Option<Arc<Sm4Gcm>>, SealError> {
        if let Some(key) = self.ready.get(&subject) {
            return Ok(Some(key));
        }
        let _changing = lock(&self.changing);
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

    fn make_durable(&self) -> Result<(), SealError> {
        let wanted = self.made.load(Ordering::Acquire);
        if self.durable.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        let _syncing = lock(&self.syncing);
        if self.durable.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        let covered = self.made.load(Ordering::Acquire);
        self.database.persist(PersistMode::SyncData).map_err(cannot_use)?;
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

/// The locks guard no data of their own; a panic elsewhere leaves nothing half
/// done behind them.
fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_destroyed_salt_is_in_no_file_of_the_index() {
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
