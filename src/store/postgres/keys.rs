//! The keys of holders where several nodes share them: salts in the database,
//! keys derived from them with the vault and kept for some seconds. What is in the
//! database alone opens nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Instant,
};

use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use super::{
    line::Trouble,
    reads::Reads,
    shard_of, sql,
    value::{Uuid, Value},
};
use crate::{
    crypto::{KeyVault, SealError, Sealer, Sm4Gcm, holder_key},
    limits,
    model::{Clock, Rng, Subject, slot_of},
};

/// Where the keys of holders come from.
pub(super) enum Keys {
    /// A sealer with keys of its own; every node must have the same.
    Given(Arc<dyn Sealer>),
    Database(DatabaseKeys),
}

impl Keys {
    /// A sealer that has the keys of `subjects` ready. With `make`, those that have
    /// none get one, durably, before this returns.
    pub(super) async fn ready(
        &self,
        subjects: &BTreeSet<Subject>,
        make: bool,
    ) -> Result<Arc<dyn Sealer>, Trouble> {
        match self {
            Keys::Given(sealer) => Ok(Arc::clone(sealer)),
            Keys::Database(keys) => Ok(Arc::new(keys.ready(subjects, make).await?)),
        }
    }
}

type Key = Option<Arc<Sm4Gcm>>;

/// The table of salts with the keys that were derived last.
pub(super) struct DatabaseKeys {
    pub(super) reads: Arc<Reads>,
    pub(super) vault: Arc<dyn KeyVault>,
    pub(super) rng: Arc<dyn Rng>,
    pub(super) clock: Arc<dyn Clock>,
    /// With the moment at which the database said so.
    known: Cache<Subject, (Key, Instant)>,
}

impl fmt::Debug for DatabaseKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseKeys").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl DatabaseKeys {
    pub(super) fn over(
        reads: Arc<Reads>,
        vault: Arc<dyn KeyVault>,
        rng: Arc<dyn Rng>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        DatabaseKeys { reads, vault, rng, clock, known: Cache::new(limits::HOLDER_KEYS_CACHED_MAX) }
    }

    async fn ready(&self, subjects: &BTreeSet<Subject>, make: bool) -> Result<ReadyKeys, Trouble> {
        let mut ready = HashMap::with_capacity(subjects.len());
        let mut missing = BTreeMap::<i32, Vec<Subject>>::new();
        for subject in subjects {
            match self.known.get(subject) {
                Some((key, at)) if at.elapsed() < limits::HOLDER_KEY_TRUSTED => {
                    ready.insert(*subject, key);
                }
                _ => missing.entry(self.shard(*subject)).or_default().push(*subject),
            }
        }
        for (shard, subjects) in missing {
            let at = Instant::now();
            let mut found = self.look(shard, &subjects).await?;
            let without: Vec<_> = subjects.iter().filter(|subject| !found.contains_key(subject)).collect();
            if make && !without.is_empty() {
                let mut rows = Vec::with_capacity(3 * without.len());
                for subject in without {
                    let mut salt = Zeroizing::new([0; 16]);
                    self.rng.fill(&mut *salt);
                    rows.push(Value::Uuid(*subject.as_bytes()));
                    rows.push(Value::from(salt.as_slice()));
                    rows.push(Value::At(self.clock.now_ms()));
                }
                for insert in sql::MAKE_HOLDER_KEYS.on(shard, rows) {
                    self.reads.ask(insert).await?;
                }
                // Another node may have been first; what stands there counts.
                found = self.look(shard, &subjects).await?;
            }
            for (subject, key) in found {
                self.known.insert(subject, (key.clone(), at));
                ready.insert(subject, key);
            }
        }
        Ok(ReadyKeys(ready))
    }

    async fn look(&self, shard: i32, subjects: &[Subject]) -> Result<HashMap<Subject, Key>, Trouble> {
        let wanted = Value::Uuids(subjects.iter().map(|subject| *subject.as_bytes()).collect());
        let mut found = HashMap::new();
        for row in self.reads.ask(sql::HOLDER_KEYS.on(shard, [wanted])).await? {
            let Uuid(subject) = row.get(0);
            let subject = Subject::from_bytes(subject);
            let salt: Option<Vec<u8>> = row.get(1);
            let key = match salt.map(Zeroizing::new) {
                None => None,
                Some(salt) => {
                    let salt = <[u8; 16]>::try_from(salt.as_slice());
                    let salt = salt.map_err(|_| Trouble::Refused("a salt has another length".into()))?;
                    let key = holder_key(&*self.vault, subject, &Zeroizing::new(salt));
                    Some(Arc::new(key.map_err(|error| Trouble::Refused(error.to_string()))?))
                }
            };
            found.insert(subject, key);
        }
        Ok(found)
    }

    /// Destroys a key for good: here at once, on other nodes within
    /// [`limits::HOLDER_KEY_TRUSTED`].
    pub(super) async fn destroy(&self, subject: Subject) -> Result<(), Trouble> {
        let rest = [Value::Uuid(*subject.as_bytes()), Value::At(self.clock.now_ms())];
        self.reads.ask(sql::DESTROY_HOLDER_KEY.on(self.shard(subject), rest)).await?;
        self.known.insert(subject, (None, Instant::now()));
        Ok(())
    }

    /// Whether the key of a subject was destroyed, here or on another node.
    pub(super) async fn is_destroyed(&self, subject: Subject) -> Result<bool, Trouble> {
        let found = self.look(self.shard(subject), &[subject]).await?;
        Ok(found.get(&subject).is_some_and(Option::is_none))
    }

    fn shard(&self, subject: Subject) -> i32 {
        shard_of(slot_of(subject.as_bytes()), self.reads.shards())
    }
}

/// The keys of one batch; `None` for a person who was erased.
struct ReadyKeys(HashMap<Subject, Key>);

impl ReadyKeys {
    fn key(&self, subject: Subject) -> Result<&Key, SealError> {
        self.0.get(&subject).ok_or_else(|| SealError::Keys("there is no key of this subject".into()))
    }
}

impl Sealer for ReadyKeys {
    fn seal(
        &self,
        subject: Subject,
        nonce: &[u8; 12],
        bound: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        match self.key(subject)? {
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
        match self.key(subject)? {
            Some(key) => key.open(nonce, bound, sealed).map(Some).map_err(|_| SealError::Altered),
            None => Ok(None),
        }
    }
}
