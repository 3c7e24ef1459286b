//! The embedded engine: journal, state and index in one process, in one folder.
//!
//! ```text
//! commit ─► inbox ─► committer ─► writer ─► overlay, answers
//!                    (decides)    (write, sync ∥ notary signs)
//!                                    └────► indexer ─► index
//! ```

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64, mpsc},
    thread::{self, JoinHandle},
};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{
    Committed, Disk, DueTask, FjallIndex, Index, IndexError, NoObserver, Proof, RealDisk, Store, StoreError,
    StoreObserver, StoreOptions, Unit,
    chain::{key_id, signed_bytes},
    committer::{Committer, OpenBatch, Shared},
    effects::{claim_key, stored_behind},
    inbox::{Answer, Health, Inbox, Waiting},
    indexer::Indexer,
    overlay::{Layer, Overlay},
    reader::Reader,
    recent::Recent,
    recovery::{Recovered, Recovery},
    rows::{Rows, StepRow},
    segment::Segments,
    walk::Broken,
    writer::{ChainEnd, ChainName, Notary, Spares, Writer},
};
use crate::{
    crypto::{KeyName, KeyVault, Sealer, VaultError},
    model::{
        AggregateKey, AggregateKind, Clock, Millis, ParticipantId, RequestId, Rng, Scene, Stored, Subject,
        SystemRng, TransactionId,
    },
};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("option `{field}` {says}")]
    Options { field: &'static str, says: &'static str },
    #[error("another process holds the store")]
    Held,
    #[error("the disk failed: {0}")]
    Disk(#[source] io::Error),
    /// The journal is not what was written. Nothing is repaired by itself.
    #[error("the journal is broken at {0}")]
    Broken(#[from] Broken),
    /// The index has seen batches that the journal no longer has: acknowledged
    /// entries are missing. Whoever knows why and accepts it removes the index.
    #[error("the index knows batch {index}, the journal ends at {journal}: acknowledged entries are missing")]
    Lost { index: u64, journal: u64 },
    #[error("the index cannot be built: {0}")]
    Index(#[source] StoreError),
    #[error("the journal key cannot be used: {0}")]
    Vault(#[from] VaultError),
    /// The last batch waits for its signature by a key that is no longer there.
    /// Open and close the store once with the old key.
    #[error("the last batch must be signed with key {needs}, the vault holds {holds}")]
    KeyChanged { needs: String, holds: String },
}

impl From<IndexError> for OpenError {
    fn from(error: IndexError) -> Self {
        OpenError::Index(error.into())
    }
}

/// What an engine is made of. Tests and simulation put their own parts in.
pub struct Parts {
    pub disk: Arc<dyn Disk>,
    pub index: Arc<dyn Index>,
    pub vault: Arc<dyn KeyVault>,
    pub sealer: Arc<dyn Sealer>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub observer: Arc<dyn StoreObserver>,
}

/// The embedded engine. Dropping it closes it; [`EmbeddedStore::close`] does so
/// where the wait can be seen.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    rows: Rows,
    reader: Arc<Reader>,
    sealer: Arc<dyn Sealer>,
    index_lag_max: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the store in `options.dir`, or makes one. Blocks while the journal is
    /// read back; an index that cannot be read is rebuilt.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        options: StoreOptions,
        vault: Arc<dyn KeyVault>,
        sealer: Arc<dyn Sealer>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        Self::open_watched(options, vault, sealer, clock, Arc::new(NoObserver))
    }

    /// [`EmbeddedStore::open`] with somebody watching.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_watched(
        options: StoreOptions,
        vault: Arc<dyn KeyVault>,
        sealer: Arc<dyn Sealer>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn StoreObserver>,
    ) -> Result<Self, OpenError> {
        let disk = RealDisk::lock(&options.dir.join("journal")).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::Held,
            _ => OpenError::Disk(error),
        })?;
        let index = open_index(&options.dir.join("index"), options.index_cache_bytes)?;
        let parts = Parts {
            disk: Arc::new(disk),
            index: Arc::new(index),
            vault,
            sealer,
            clock,
            rng: Arc::new(SystemRng),
            observer,
        };
        Self::assemble(&options, parts)
    }

    /// Opens a store made of the given parts; `options.dir` is not looked at.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn assemble(options: &StoreOptions, parts: Parts) -> Result<Self, OpenError> {
        if let Some((field, says)) = options.problems().first() {
            return Err(OpenError::Options { field, says });
        }
        let segments = Arc::new(Segments::list(Arc::clone(&parts.disk)).map_err(OpenError::Disk)?);
        let rows = Rows::over(Arc::clone(&parts.index));
        let recovered = Recovery {
            segments: &segments,
            rows: &rows,
            sealer: &*parts.sealer,
            observer: &*parts.observer,
            check_whole_journal: options.check_whole_journal,
        }
        .run()?;
        let (name, end) = chain(options, &recovered, &*parts.vault, &*parts.clock)?;
        let reader = Arc::new(Reader::of(Arc::clone(&segments), Arc::clone(&parts.sealer)));
        reader.head_is(end.sequence, end.signature.unwrap_or([0; 64]));
        let shared = Arc::new(Shared {
            inbox: Inbox::holding(options.queue_max),
            overlay: Overlay::default(),
            health: Health::watched_by(Arc::clone(&parts.observer)),
            durable: AtomicU64::new(end.sequence),
        });
        let store = EmbeddedStore {
            shared: Arc::clone(&shared),
            rows: rows.clone(),
            reader: Arc::clone(&reader),
            sealer: Arc::clone(&parts.sealer),
            index_lag_max: options.index_lag_max,
            threads: Mutex::default(),
        };
        let spares = Spares::start(parts.disk, options.segment_bytes).map_err(OpenError::Disk)?;
        let notary = Notary::start(Arc::clone(&parts.vault)).map_err(OpenError::Disk)?;
        let (to_writer, batches) = mpsc::sync_channel(1);
        // Admission keeps the lag below this, so that the writer never waits here.
        let (to_indexer, durable) = mpsc::sync_channel(options.index_lag_max.max(1));
        let committer = Committer {
            shared: Arc::clone(&shared),
            rows: rows.clone(),
            sealer: Arc::clone(&parts.sealer),
            clock: parts.clock,
            rng: parts.rng,
            observer: Arc::clone(&parts.observer),
            to_writer,
            batch_max: options.batch_max,
            batch_bytes: options.batch_bytes(),
            sequence: end.sequence + 1,
            committed_at: end.committed_at,
            ahead: Layer::default(),
            recent: Recent::default(),
            in_flight: std::collections::VecDeque::new(),
            open: OpenBatch::default(),
        };
        let writer = Writer {
            shared: Arc::clone(&shared),
            segments,
            reader,
            sealer: parts.sealer,
            observer: Arc::clone(&parts.observer),
            name,
            end,
            place: recovered.place,
            notary,
            spares,
            to_indexer,
        };
        let indexer = Indexer { shared, rows, observer: parts.observer };
        store.spawn("journal-index", move || indexer.run(durable))?;
        store.spawn("journal-write", move || writer.run(batches))?;
        store.spawn("journal-commit", move || committer.run())?;
        Ok(store)
    }

    /// Starts a thread whose end by a panic stops the store.
    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let shared = Arc::clone(&self.shared);
        let guarded = move || {
            let run = std::panic::AssertUnwindSafe(run);
            if std::panic::catch_unwind(run).is_err() {
                shared.health.stop("a thread of the journal panicked");
                // Who waits in the inbox would wait for ever.
                shared.inbox.abandon();
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(guarded).map_err(OpenError::Disk)?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Takes no more units, does those that wait, brings the index up to date and
    /// ends the journal in order. Blocks; a second call does nothing.
    pub fn close(&self) {
        self.shared.inbox.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic inside was caught and has stopped the store already.
            let _ = thread.join();
        }
    }

    /// Entries that are journalled and not yet indexed.
    pub fn index_lag(&self) -> usize {
        self.shared.overlay.lag()
    }

    /// A proof for every step of a transaction, oldest first, for third parties.
    ///
    /// # Errors
    /// When the journal or the index cannot be read.
    pub fn prove(&self, transaction: TransactionId) -> Result<Vec<Proof>, StoreError> {
        self.step_rows(transaction)?.iter().map(|step| self.reader.prove(step.location)).collect()
    }

    fn step_rows(&self, transaction: TransactionId) -> Result<Vec<StepRow>, StoreError> {
        // The overlay first: what leaves it meanwhile is in the index.
        let overlaid = self.shared.overlay.look(|layer| layer.steps(transaction).to_vec());
        let mut steps = self.rows.steps(transaction)?;
        for step in overlaid {
            if steps.iter().all(|known| known.step != step.step) {
                steps.push(step);
            }
        }
        steps.sort_by_key(|step| step.step);
        Ok(steps)
    }

    fn last_step(&self, transaction: TransactionId) -> Result<Option<Committed>, StoreError> {
        let last = self.step_rows(transaction)?.pop();
        last.map(|step| self.reader.read(step.location)).transpose()
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Opens the index; one that cannot be opened is removed and made anew, because
/// the journal has everything.
fn open_index(dir: &Path, cache_bytes: u64) -> Result<FjallIndex, OpenError> {
    match FjallIndex::open(dir, cache_bytes) {
        Ok(index) => Ok(index),
        Err(error) => {
            tracing::warn!(%error, "the index cannot be opened; it is rebuilt from the journal");
            fs::remove_dir_all(dir).map_err(OpenError::Disk)?;
            Ok(FjallIndex::open(dir, cache_bytes)?)
        }
    }
}

/// Names the chain and signs its last batch again.
fn chain(
    options: &StoreOptions,
    recovered: &Recovered,
    vault: &dyn KeyVault,
    clock: &dyn Clock,
) -> Result<(ChainName, ChainEnd), OpenError> {
    let key_id = key_id(&vault.public_key(KeyName::Journal)?);
    let name = |epoch| ChainName {
        region: options.region,
        node: options.node.clone(),
        epoch,
        key_id: key_id.clone(),
    };
    let Some(last) = &recovered.last else {
        let epoch = u64::try_from(clock.now_ms()).unwrap_or(0);
        let end = ChainEnd { sequence: 0, hash: [0; 32], committed_at: Millis::MIN, signature: None };
        return Ok((name(epoch), end));
    };
    let signature = if last.header.count == 0 {
        None
    } else if last.header.key_id == key_id {
        Some(vault.sign(KeyName::Journal, &signed_bytes(&last.header_bytes))?)
    } else {
        return Err(OpenError::KeyChanged { needs: last.header.key_id.clone(), holds: key_id });
    };
    let end = ChainEnd {
        sequence: last.header.sequence,
        hash: last.hash,
        committed_at: last.header.committed_at_ms,
        signature,
    };
    Ok((name(last.header.epoch), end))
}

impl Store for EmbeddedStore {
    fn commit(&self, unit: Unit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move {
            if let Some(stopped) = self.shared.health.error() {
                return Err(stopped);
            }
            if self.shared.overlay.lag() >= self.index_lag_max {
                return Err(StoreError::Busy);
            }
            let (reply, answer) = oneshot::channel();
            self.shared.inbox.push(Waiting { unit, reply })?;
            match answer.await {
                Ok(Ok(Answer::Done(committed))) => Ok(*committed),
                Ok(Ok(Answer::Replay(transaction))) => {
                    self.last_step(transaction)?.ok_or(StoreError::NoSuchTransaction)
                }
                Ok(Err(error)) => Err(error),
                Err(_) => {
                    let stopped = self.shared.health.error();
                    Err(stopped.unwrap_or(StoreError::Stopped("the store is closed".into())))
                }
            }
        })
    }

    fn load(&self, key: &AggregateKey) -> Result<Option<Stored>, StoreError> {
        if let Some(stored) = self.shared.overlay.look(|layer| layer.aggregate(key)) {
            return Ok(stored);
        }
        match self.rows.aggregate(key)? {
            Some(row) => stored_behind(row, key, &*self.sealer),
            None => Ok(None),
        }
    }

    fn find(&self, participant: &ParticipantId, request: RequestId) -> Result<Option<Committed>, StoreError> {
        let key = claim_key(participant.as_str(), request.as_bytes());
        let claim = match self.shared.overlay.look(|layer| layer.claim(&key)) {
            Some(claim) => Some(claim),
            None => self.rows.claim(&key)?,
        };
        match claim {
            Some(claim) => self.last_step(claim.transaction),
            None => Ok(None),
        }
    }

    fn steps(&self, transaction: TransactionId) -> Result<Vec<Committed>, StoreError> {
        self.step_rows(transaction)?.iter().map(|step| self.reader.read(step.location)).collect()
    }

    fn about(&self, subject: Subject, scene: Scene, most: usize) -> Result<Vec<Committed>, StoreError> {
        // The newest of both; what left the overlay meanwhile comes twice.
        let mut found = self.shared.overlay.about(subject, scene, most);
        found.extend(self.rows.about(subject, scene, most)?);
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        found.truncate(most);
        found.into_iter().map(|location| self.reader.read(location)).collect()
    }

    fn scan(&self, kind: AggregateKind) -> Result<Vec<(AggregateKey, Stored)>, StoreError> {
        let overlaid = self.shared.overlay.of_kind(kind);
        let mut found = Vec::new();
        for (key, row) in self.rows.scan(kind)? {
            if !overlaid.contains_key(&key)
                && let Some(stored) = stored_behind(row, &key, &*self.sealer)?
            {
                found.push((key, stored));
            }
        }
        found.extend(overlaid.into_iter().filter_map(|(key, stored)| Some((key, stored?))));
        Ok(found)
    }

    fn due_tasks(&self, now_ms: Millis, most: usize) -> Result<Vec<DueTask>, StoreError> {
        let batches = self.shared.overlay.batches();
        let mut overlaid = HashMap::new();
        for entry in batches.iter().flat_map(|batch| &batch.entries) {
            for task in &entry.tasks {
                overlaid.insert((entry.transaction, task.kind.clone()), task.clone());
            }
        }
        // As many more as the overlay may take away again.
        let indexed = self.rows.due_tasks(now_ms, most.saturating_add(overlaid.len()))?;
        let still_open =
            indexed.into_iter().filter(|task| !overlaid.contains_key(&(task.transaction, task.kind.clone())));
        let mut due: Vec<_> = still_open.collect();
        let newer = overlaid.iter().filter(|(_, task)| !task.done && task.due_at_ms <= now_ms);
        due.extend(newer.map(|((transaction, kind), task)| DueTask {
            transaction: *transaction,
            kind: kind.clone(),
            due_at_ms: task.due_at_ms,
            body: task.body.clone().into(),
        }));
        due.sort_by(|a, b| (a.due_at_ms, a.transaction, &a.kind).cmp(&(b.due_at_ms, b.transaction, &b.kind)));
        due.truncate(most);
        Ok(due)
    }

    fn is_ready(&self) -> bool {
        self.shared.health.error().is_none()
    }
}
