//! The embedded engine: journal, state and index in one process, in one folder.
//!
//! ```text
//! commit ─► inbox ─► committer ─► writer ─► overlay, answers
//!                    (decides)    (write, sync ∥ notary signs)
//!                                    └────► indexer ─► index
//! ```

use std::{
    fmt, fs, io,
    ops::RangeInclusive,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use futures_util::future::BoxFuture;
use jiff::civil::Date;
use tokio::sync::oneshot;

use super::{
    Balance, Committed, Contradicted, Disk, DueTask, FjallIndex, Index, IndexError, LedgerTotals, NoObserver,
    Part, Proof, RealDisk, RetainReport, Step, Store, StoreError, StoreObserver, StoreOptions, TaskLease,
    TaskTally, Terms, Unit,
    chain::{is_signed, key_id, signed_bytes},
    committer::{Committer, OpenBatch, Shared},
    effects::corrupt,
    inbox::{Answer, Health, Inbox, Waiting},
    indexer::Indexer,
    leases::Leases,
    lookup::{Leasing, Lookup},
    overlay::{Layer, Overlay},
    reader::Reader,
    recent::Recent,
    recovery::{Recovered, Recovery},
    retain::Retention,
    room::Room,
    rows::Rows,
    seen::Seen,
    segment::{Segments, asked_epoch},
    walk::Broken,
    witness::Witness,
    writer::{ChainEnd, ChainName, Notary, Spares, Writer},
};
use crate::{
    crypto::{KeyName, KeyVault, Sealer, VaultError},
    limits,
    model::{
        AggregateKey, AggregateKind, Clock, Millis, ParticipantId, RequestId, Rng, Scene, Stored, Subject,
        SystemRng, TaskKey, TransactionId,
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
    /// The journal is not the one that the witness (`head_file`) has seen. Whoever
    /// knows why and accepts it removes the witness.
    #[error("the witness {path} contradicts the journal: {what}")]
    Witness { path: String, what: Contradicted },
    /// Money came from nowhere: the postings do not sum to zero.
    #[error("the ledger's postings sum to {sum_fen} fen, not to zero")]
    Unbalanced { sum_fen: i128 },
    #[error("the index cannot be built: {0}")]
    Index(#[source] StoreError),
    #[error("the journal key cannot be used: {0}")]
    Vault(#[from] VaultError),
    /// The last batch waits for its signature by a key that is no longer there.
    /// Open and close the store once with the old key.
    #[error("the last batch must be signed with key {needs}, the vault holds {holds}")]
    KeyChanged { needs: String, holds: String },
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        OpenError::Index(error)
    }
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
    pub(super) lookup: Lookup,
    index_lag_max: usize,
    epoch: u64,
    leases: Leases,
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
        let asked = asked_epoch(&*parts.disk).map_err(OpenError::Disk)?;
        let (name, end) = chain(options, &recovered, asked, &*parts.vault, &*parts.clock)?;
        let witness = witness(options, &segments, &name, &end, asked)?;
        let reader = Arc::new(Reader::of(Arc::clone(&segments), Arc::clone(&parts.sealer)));
        reader.head_is(end.sequence, end.signature.unwrap_or([0; 64]));
        let shared = Arc::new(Shared {
            inbox: Inbox::holding(options.queue_max),
            overlay: Overlay::default(),
            seen: Seen::holding(limits::AGGREGATES_SEEN_BYTES),
            health: Health::watched_by(Arc::clone(&parts.observer)),
            room: Room::watched_by(Arc::clone(&parts.observer)),
            durable: AtomicU64::new(end.sequence),
            committed_at: AtomicI64::new(end.committed_at),
        });
        let store = EmbeddedStore {
            shared: Arc::clone(&shared),
            lookup: Lookup {
                shared: Arc::clone(&shared),
                rows: rows.clone(),
                reader: Arc::clone(&reader),
                sealer: Arc::clone(&parts.sealer),
            },
            index_lag_max: options.index_lag_max,
            epoch: name.epoch,
            leases: Leases::default(),
            threads: Mutex::default(),
        };
        let spares =
            Spares::start(parts.disk, options.segment_bytes, Arc::clone(&shared)).map_err(OpenError::Disk)?;
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
            recent: Recent::holding(options.recent_bytes),
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
            tally: recovered.tally,
            segment_bytes: options.segment_bytes,
            interval: options.interval(),
            notary,
            spares,
            to_indexer,
        };
        let indexer = Indexer { shared, rows, observer: parts.observer, witness };
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
        self.shared.room.close();
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

    /// Drops the sealed parts of closed segments whose term is over at `now_ms`, except
    /// where state would be lost with them. Blocks, and reads everything that is older
    /// than the shortest term; commits go on meanwhile.
    ///
    /// # Errors
    /// When something cannot be read or replaced. What was replaced stays so.
    pub fn retain(&self, terms: &Terms, now_ms: Millis) -> Result<RetainReport, StoreError> {
        Retention::over(self.lookup.reader.segments(), &self.lookup, terms, now_ms)?.run()
    }

    /// A proof for every step of a transaction, oldest first, for third parties.
    ///
    /// # Errors
    /// When the journal or the index cannot be read.
    pub fn prove(&self, transaction: TransactionId) -> Result<Vec<Proof>, StoreError> {
        self.lookup.prove(transaction)
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
    asked_epoch: Option<u64>,
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
        let end = ChainEnd { epoch, sequence: 0, hash: [0; 32], committed_at: Millis::MIN, signature: None };
        return Ok((name(epoch), end));
    };
    let signature = if !is_signed(&last.header) {
        None
    } else if last.header.key_id == key_id {
        Some(vault.sign(KeyName::Journal, &signed_bytes(&last.header_bytes))?)
    } else {
        return Err(OpenError::KeyChanged { needs: last.header.key_id.clone(), holds: key_id });
    };
    let end = ChainEnd {
        epoch: last.header.epoch,
        sequence: last.header.sequence,
        hash: last.hash,
        committed_at: last.header.committed_at_ms,
        signature,
    };
    Ok((name(last.header.epoch.max(asked_epoch.unwrap_or(0))), end))
}

/// The witness, when there is to be one and it agrees with the journal.
fn witness(
    options: &StoreOptions,
    segments: &Segments,
    name: &ChainName,
    end: &ChainEnd,
    asked_epoch: Option<u64>,
) -> Result<Option<Witness>, OpenError> {
    let Some(path) = &options.head_file else { return Ok(None) };
    let witness = Witness::at(path, name.clone());
    match witness.check(segments, end, asked_epoch).map_err(OpenError::Disk)? {
        Ok(()) => Ok(Some(witness)),
        Err(what) => Err(OpenError::Witness { path: path.display().to_string(), what }),
    }
}

impl Store for EmbeddedStore {
    fn commit(&self, unit: Unit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move {
            if let Some(stopped) = self.shared.health.error() {
                return Err(stopped);
            }
            // Later steps of open transactions still have the rest of the segment, also
            // those that are asked for: a reservation that cannot be released but does
            // expire would take what the holder is owed.
            let new = match unit.step {
                Step::First { .. } | Step::Note => true,
                Step::Later { .. } | Step::Next => false,
            };
            let refused = self.shared.room.is_short() && new;
            if refused || self.shared.overlay.lag() >= self.index_lag_max {
                return Err(StoreError::Busy);
            }
            let (reply, answer) = oneshot::channel();
            self.shared.inbox.push(Waiting { unit, reply })?;
            match answer.await {
                Ok(Ok(Answer::Done(committed))) => Ok(*committed),
                Ok(Ok(Answer::Replay(replay))) => self
                    .lookup
                    .aside(move |lookup| lookup.replay(replay))
                    .await?
                    .ok_or(StoreError::NoSuchTransaction),
                Ok(Err(error)) => Err(error),
                Err(_) => {
                    let stopped = self.shared.health.error();
                    Err(stopped.unwrap_or(StoreError::Stopped("the store is closed".into())))
                }
            }
        })
    }

    fn load<'a>(&'a self, key: &'a AggregateKey) -> BoxFuture<'a, Result<Option<Stored>, StoreError>> {
        Box::pin(std::future::ready(self.lookup.load(key)))
    }

    fn find<'a>(
        &'a self,
        participant: &'a ParticipantId,
        request: RequestId,
    ) -> BoxFuture<'a, Result<Option<Committed>, StoreError>> {
        let participant = participant.clone();
        self.lookup.aside(move |lookup| lookup.find(&participant, request))
    }

    fn steps(&self, transaction: TransactionId) -> BoxFuture<'_, Result<Vec<Committed>, StoreError>> {
        self.lookup.aside(move |lookup| lookup.steps(transaction))
    }

    fn about(
        &self,
        subject: Subject,
        scene: Scene,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Committed>, StoreError>> {
        self.lookup.aside(move |lookup| lookup.about(subject, scene, most))
    }

    fn scan(&self, kind: AggregateKind) -> BoxFuture<'_, Result<Vec<(AggregateKey, Stored)>, StoreError>> {
        self.lookup.aside(move |lookup| lookup.scan(kind))
    }

    fn part(
        &self,
        kind: AggregateKind,
        prefix: Vec<u8>,
        most: usize,
    ) -> BoxFuture<'_, Result<Part, StoreError>> {
        self.lookup.aside(move |lookup| lookup.part(kind, &prefix, most))
    }

    fn due_tasks(&self, now_ms: Millis, most: usize) -> BoxFuture<'_, Result<Vec<DueTask>, StoreError>> {
        self.lookup.aside(move |lookup| lookup.due_tasks(now_ms, most))
    }

    fn open_tasks(&self) -> BoxFuture<'_, Result<Vec<TaskTally>, StoreError>> {
        self.lookup.aside(Lookup::open_tasks)
    }

    fn balances<'a>(
        &'a self,
        accounts: &'a str,
        dates: RangeInclusive<Date>,
    ) -> BoxFuture<'a, Result<Vec<Balance>, StoreError>> {
        let accounts = accounts.to_owned();
        self.lookup.aside(move |lookup| lookup.balances(&accounts, &dates))
    }

    fn ledger_totals(&self) -> BoxFuture<'_, Result<LedgerTotals, StoreError>> {
        self.lookup.aside(Lookup::ledger_totals)
    }

    fn lease_tasks<'a>(&'a self, ask: TaskLease<'a>) -> BoxFuture<'a, Result<Vec<DueTask>, StoreError>> {
        Box::pin(async move {
            let (leases_out, leasing) =
                (self.leases.out(), Leasing { now_ms: ask.now_ms, most_per_lane: ask.most_per_lane });
            let due = self.lookup.aside(move |lookup| lookup.tasks_to_run(&leasing, leases_out)).await?;
            Ok(self.leases.choose(&ask, due))
        })
    }

    fn release_task<'a>(&'a self, key: &'a TaskKey, owner: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.leases.release(key, owner);
        Box::pin(std::future::ready(Ok(())))
    }

    fn erase(&self, subjects: Vec<Subject>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.lookup.aside(move |lookup| {
            for subject in &subjects {
                lookup.sealer.destroy(*subject).map_err(|error| corrupt(error.to_string()))?;
            }
            lookup.shared.overlay.forget(&subjects);
            Ok(())
        })
    }

    fn is_erased(&self, subject: Subject) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.lookup.aside(move |lookup| {
            lookup.sealer.is_destroyed(subject).map_err(|error| corrupt(error.to_string()))
        })
    }

    fn committed_at_ms(&self) -> Millis {
        self.shared.committed_at.load(Ordering::Acquire)
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn is_ready(&self) -> bool {
        self.shared.health.error().is_none()
    }
}
