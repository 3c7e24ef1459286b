//! The PostgreSQL engine, for more than one node. The same batch as the embedded
//! engine's, as one transaction: rows are locked in key order, units are decided
//! over them, entries and state are written, one commit, then the answers.
//!
//! A few lanes a shard, each with a chain of its own, and a wide lane for units whose
//! aggregates lie in several shards. Nodes share rows and never chains; row locks
//! decide who comes first. See `docs/postgres.md`.
//!
//! What does not live here: how an entry is made (`draft`), what its hashes are
//! (`chain`, `merkle`); both engines share that.

mod decide;
mod head;
mod job;
mod keys;
mod lane;
mod line;
mod lock;
mod lookup;
mod options;
mod reads;
mod rows;
mod schema;
mod sql;
mod tls;
mod value;
mod verify;
mod write;

use std::{
    fmt,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use jiff::civil::Date;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use self::{
    job::{Answer, Claiming, Job, Reply, What, claim_of, home, is_narrow},
    keys::{DatabaseKeys, Keys},
    lane::Lane,
    line::{Line, Trouble},
    lookup::Lookup,
    reads::Reads,
    write::Tools,
};
use super::{
    Balance, Committed, DueTask, LedgerTotals, Part, Proof, Store, StoreError, StoreObserver, TaskLease,
    TaskTally, Unit, chain::key_id, effects::corrupt, is_same_request, verify::CheckSignature,
};
use crate::{
    crypto::{KeyName, KeyVault, Sealer, VaultError},
    model::{
        AggregateKey, AggregateKind, Clock, Millis, ParticipantId, RequestId, Rng, Scene, Stored, Subject,
        TaskKey, TransactionId, slot_of,
    },
};

pub use options::{PostgresOptions, Undialable};
pub use schema::SchemaError;
pub use verify::{DatabaseBroken, DatabaseReport};

/// The shard of a slot, of so many.
fn shard_of(slot: u16, shards: u16) -> i32 {
    i32::from(slot % shards.max(1))
}

/// Where the keys of holders are.
pub enum HolderSalts {
    /// In the database, shared by its nodes.
    InDatabase,
    /// A sealer with keys of its own.
    Given(Arc<dyn Sealer>),
}

/// What the engine is made of.
pub struct PostgresParts {
    pub vault: Arc<dyn KeyVault>,
    pub salts: HolderSalts,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub observer: Arc<dyn StoreObserver>,
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PostgresOpenError {
    #[error("option `{field}` {says}")]
    Options { field: &'static str, says: &'static str },
    #[error(transparent)]
    Undialable(#[from] Undialable),
    #[error("the database cannot be used: {0}")]
    Database(String),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("the journal key cannot be used: {0}")]
    Vault(#[from] VaultError),
}

impl From<Trouble> for PostgresOpenError {
    fn from(trouble: Trouble) -> Self {
        PostgresOpenError::Database(trouble.to_string())
    }
}

/// The PostgreSQL engine. [`PostgresStore::close`] ends it in order; dropped, its
/// lanes do what they have taken and end.
pub struct PostgresStore {
    shards: u16,
    /// Of one shard.
    lanes_each: u16,
    /// Those of the first shard, of the second and so on, then the wide one; empty
    /// once closed.
    lanes: Mutex<Vec<mpsc::Sender<Job>>>,
    ups: Vec<Arc<AtomicBool>>,
    /// The newest instant of commitment of this node's lanes.
    newest: Arc<AtomicI64>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    lookup: Lookup,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("shards", &self.shards).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects, brings the schema up to date, takes up the chains of this node.
    /// Its lanes run on the runtime that calls.
    ///
    /// # Errors
    /// See [`PostgresOpenError`].
    pub async fn open(options: PostgresOptions, parts: PostgresParts) -> Result<Self, PostgresOpenError> {
        if let Some((field, says)) = options.problems().first() {
            return Err(PostgresOpenError::Options { field, says });
        }
        let dial = options.dial()?;
        let first = Line::open(&dial).await?;
        let shards = schema::migrate(&first, options.region, options.shards).await?.shards;
        drop(first);

        let reads = Arc::new(Reads::over(dial.clone(), shards));
        let keys = Arc::new(match parts.salts {
            HolderSalts::Given(sealer) => Keys::Given(sealer),
            HolderSalts::InDatabase => Keys::Database(DatabaseKeys::over(
                Arc::clone(&reads),
                Arc::clone(&parts.vault),
                Arc::clone(&parts.rng),
                Arc::clone(&parts.clock),
            )),
        });
        let key_id = key_id(&parts.vault.public_key(KeyName::Journal)?);
        let newest = Arc::new(AtomicI64::new(Millis::MIN));
        let (mut lanes, mut ups, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        let wide = (shards > 1).then_some((0, "wide".to_owned()));
        let narrow = (0..shards)
            .flat_map(|shard| (0..options.lanes).map(move |at| (i32::from(shard), lane_name(shard, at))));
        for (shard, name) in narrow.chain(wide) {
            let up = Arc::new(AtomicBool::new(false));
            let lane = Lane {
                dial: dial.clone(),
                shard,
                shards,
                name: format!("{}.{name}", options.node),
                region: options.region,
                key_id: key_id.clone(),
                batch_max: options.batch_max,
                patience: options.patience,
                tools: Tools {
                    vault: Arc::clone(&parts.vault),
                    rng: Arc::clone(&parts.rng),
                    keys: Arc::clone(&keys),
                },
                clock: Arc::clone(&parts.clock),
                observer: Arc::clone(&parts.observer),
                up: Arc::clone(&up),
                newest: Arc::clone(&newest),
            };
            let (sender, jobs) = mpsc::channel(options.queue_max);
            tasks.push(tokio::spawn(lane.start(jobs).await?.run()));
            lanes.push(sender);
            ups.push(up);
        }
        let lookup = Lookup { reads, keys };
        let (lanes, tasks, lanes_each) = (Mutex::new(lanes), Mutex::new(tasks), options.lanes);
        Ok(PostgresStore { shards, lanes_each, lanes, ups, newest, tasks, lookup })
    }

    /// Brings the schema of a database up to date without opening a store; its
    /// number of shards.
    ///
    /// # Errors
    /// See [`PostgresOpenError`].
    pub async fn migrate(options: &PostgresOptions) -> Result<u16, PostgresOpenError> {
        let line = Line::open(&options.dial()?).await?;
        Ok(schema::migrate(&line, options.region, options.shards).await?.shards)
    }

    /// Distributes the tables of a database by shard, where it has Citus; the names
    /// of the tables. The schema is brought up to date first.
    ///
    /// # Errors
    /// See [`PostgresOpenError`].
    pub async fn distribute(options: &PostgresOptions) -> Result<Vec<String>, PostgresOpenError> {
        let line = Line::open(&options.dial()?).await?;
        schema::migrate(&line, options.region, options.shards).await?;
        Ok(schema::distribute(&line).await?)
    }

    /// Checks a whole database: chains, roots, entries, columns, double entry and,
    /// when `signature` is given, every signature. Gateways may go on writing.
    ///
    /// # Errors
    /// The first place where it does not hold, or why it could not be looked at.
    pub async fn verify(
        options: &PostgresOptions,
        signature: Option<CheckSignature<'_>>,
    ) -> Result<DatabaseReport, DatabaseBroken> {
        let dial = options.dial().map_err(PostgresOpenError::from)?;
        let line = Line::open(&dial).await.map_err(PostgresOpenError::from)?;
        verify::verify(&line, signature).await
    }

    /// Takes no more units and does those that wait.
    pub async fn close(&self) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // A lane that panicked has dropped who waited; they were told.
            let _ = task.await;
        }
    }

    /// A proof for every step of a transaction, oldest first, for third parties.
    ///
    /// # Errors
    /// When the database is away or its rows cannot be read.
    pub async fn prove(&self, transaction: TransactionId) -> Result<Vec<Proof>, StoreError> {
        self.lookup.prove(transaction).await
    }

    /// Destroys the key of a subject for good; other nodes heed it within
    /// [`crate::limits::HOLDER_KEY_TRUSTED`].
    ///
    /// # Errors
    /// When the database is away, or the keys are not in it.
    async fn destroy_key(&self, subject: Subject) -> Result<(), StoreError> {
        match &*self.lookup.keys {
            Keys::Database(keys) => Ok(keys.destroy(subject).await?),
            Keys::Given(_) => Err(corrupt("the keys of holders are not in the database")),
        }
    }

    /// Sends a job to a lane and waits for its answer.
    async fn ask(&self, lane: usize, job: impl FnOnce(Reply) -> Job) -> Result<Answer, StoreError> {
        let closed = || StoreError::Stopped("the store is closed".into());
        let sender = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).get(lane).cloned();
        let (reply, answer) = oneshot::channel();
        sender.ok_or_else(closed)?.try_send(job(reply)).map_err(|full| match full {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Stopped("the lane has stopped".into()),
        })?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Runs a unit where it belongs. Its request is claimed first where that is
    /// another shard's affair.
    async fn run(&self, unit: Unit) -> Result<Committed, StoreError> {
        let here = home(&unit, self.shards);
        let mut claim_shard = here;
        if let Some((key, fingerprint)) = claim_of(&unit) {
            let at = shard_of(slot_of(&key), self.shards);
            if at != here {
                let claiming = Claiming { key, fingerprint, unit_shard: here, transaction: unit.transaction };
                let job = |reply| Job { what: What::Claim(claiming), reply };
                let Answer::Claimed(standing) = self.ask(self.lane_of(at, slot_of(&key)), job).await? else {
                    return Err(corrupt("a lane answered something else"));
                };
                if !is_same_request(&standing.fingerprint, &fingerprint) {
                    return Err(StoreError::RequestIdMisused);
                }
                claim_shard = standing.unit_shard;
            }
        }
        let slot = unit.touches.first().map_or(unit.transaction.shard(), AggregateKey::slot);
        let mut unit = Box::new(unit);
        // The claim may stand for a unit of another shard once, and no further.
        for _ in 0..2 {
            let narrow = claim_shard == here && is_narrow(&unit, self.shards);
            let lane = match narrow {
                true => self.lane_of(here, slot),
                false => usize::from(self.shards) * usize::from(self.lanes_each),
            };
            // With one shard there is no wide lane and everything is narrow.
            match self.ask(lane, |reply| Job { what: What::Unit { unit, claim_shard }, reply }).await? {
                Answer::Done(committed) => return Ok(*committed),
                Answer::Replay(transaction, step) => {
                    let answer = self.lookup.answer(transaction, step).await?;
                    return answer.ok_or(StoreError::NoSuchTransaction);
                }
                Answer::Elsewhere { unit: back, shard } => (unit, claim_shard) = (back, shard),
                Answer::Claimed(_) => return Err(corrupt("a lane answered something else")),
            }
        }
        Err(corrupt("a claim is handed from shard to shard"))
    }

    /// The lane of a shard for what has this slot: a card's units take the same one,
    /// so that they do not wait for each other's locks.
    fn lane_of(&self, shard: i32, slot: u16) -> usize {
        let at = (slot / self.shards.max(1)) % self.lanes_each.max(1);
        usize::try_from(shard).unwrap_or(0) * usize::from(self.lanes_each) + usize::from(at)
    }
}

/// The end of a chain's name. The first lane's is the shard's alone.
fn lane_name(shard: u16, at: u16) -> String {
    match at {
        0 => shard.to_string(),
        further => format!("{shard}-{further}"),
    }
}

impl Store for PostgresStore {
    fn commit(&self, unit: Unit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(self.run(unit))
    }

    fn load<'a>(&'a self, key: &'a AggregateKey) -> BoxFuture<'a, Result<Option<Stored>, StoreError>> {
        Box::pin(self.lookup.load(key))
    }

    fn find<'a>(
        &'a self,
        participant: &'a ParticipantId,
        request: RequestId,
    ) -> BoxFuture<'a, Result<Option<Committed>, StoreError>> {
        Box::pin(self.lookup.find(participant, request))
    }

    fn steps(&self, transaction: TransactionId) -> BoxFuture<'_, Result<Vec<Committed>, StoreError>> {
        Box::pin(self.lookup.steps(transaction))
    }

    fn about(
        &self,
        subject: Subject,
        scene: Scene,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Committed>, StoreError>> {
        Box::pin(self.lookup.about(subject, scene, most))
    }

    fn scan(&self, kind: AggregateKind) -> BoxFuture<'_, Result<Vec<(AggregateKey, Stored)>, StoreError>> {
        Box::pin(self.lookup.scan(kind))
    }

    fn part(
        &self,
        kind: AggregateKind,
        prefix: Vec<u8>,
        most: usize,
    ) -> BoxFuture<'_, Result<Part, StoreError>> {
        Box::pin(async move { self.lookup.part(kind, &prefix, most).await })
    }

    fn due_tasks(&self, now_ms: Millis, most: usize) -> BoxFuture<'_, Result<Vec<DueTask>, StoreError>> {
        Box::pin(self.lookup.due_tasks(now_ms, most))
    }

    fn open_tasks(&self) -> BoxFuture<'_, Result<Vec<TaskTally>, StoreError>> {
        Box::pin(self.lookup.open_tasks())
    }

    fn lease_tasks<'a>(&'a self, ask: TaskLease<'a>) -> BoxFuture<'a, Result<Vec<DueTask>, StoreError>> {
        Box::pin(self.lookup.lease_tasks(ask))
    }

    fn erase(&self, subjects: Vec<Subject>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            for subject in subjects {
                self.destroy_key(subject).await?;
            }
            Ok(())
        })
    }

    fn is_erased(&self, subject: Subject) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            match &*self.lookup.keys {
                Keys::Database(keys) => Ok(keys.is_destroyed(subject).await?),
                Keys::Given(sealer) => {
                    sealer.is_destroyed(subject).map_err(|error| corrupt(error.to_string()))
                }
            }
        })
    }

    fn committed_at_ms(&self) -> Millis {
        self.newest.load(Ordering::Relaxed)
    }

    fn release_task<'a>(&'a self, key: &'a TaskKey, owner: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.lookup.release_task(key, owner))
    }

    fn balances<'a>(
        &'a self,
        accounts: &'a str,
        dates: RangeInclusive<Date>,
    ) -> BoxFuture<'a, Result<Vec<Balance>, StoreError>> {
        Box::pin(self.lookup.balances(accounts, dates))
    }

    fn ledger_totals(&self) -> BoxFuture<'_, Result<LedgerTotals, StoreError>> {
        Box::pin(self.lookup.ledger_totals())
    }

    /// A database that was put back begins its chains where they were: it cannot tell.
    fn epoch(&self) -> u64 {
        0
    }

    fn is_ready(&self) -> bool {
        self.ups.iter().all(|up| up.load(Ordering::Acquire))
    }
}
