//! The journal and the state behind it. One trait, two engines behind it: the
//! embedded one is here, PostgreSQL's in its folder.
//!
//! A unit of work names the aggregates it touches; the store loads them, runs
//! `decide`, appends the entry, writes them back; all or nothing. Nothing is
//! answered before it is on disk.
//!
//! What does not live here: rules (`scenes`), who may ask (`gateway`), gRPC.

mod archive;
mod backup;
mod balances;
mod chain;
mod checkpoint;
mod committer;
mod disk;
mod draft;
mod effects;
mod embedded;
mod entries;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod inbox;
mod index;
mod indexer;
mod leases;
mod lookup;
mod lying_disk;
mod merkle;
mod observer;
mod offline;
mod options;
mod overlay;
mod packed;
mod parts;
mod postgres;
mod proof_file;
mod reader;
mod recent;
mod recovery;
mod retain;
mod room;
mod rows;
mod seen;
mod segment;
mod task_rows;
mod task_tally;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod witness;
mod writer;

use std::{fmt, ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::civil::Date;

use crate::model::{
    AggregateKey, CorruptAggregate, Decision, Millis, ParticipantId, Purpose, Receipt, RequestId, Scene,
    Stored, Subject, TaskKey, TaskName, TaskState, TerminalId, TransactionId, View, record,
};

pub use archive::{ArchiveReport, archive};
pub use backup::{
    BackupError, BackupReport, Manifest, ManifestSegment, RestoreReport, Restored, Until, backup, restore,
};
pub use balances::{Balance, LedgerTotals};
pub use chain::{
    BATCH_TAG, CHECKPOINT_TAG, batch_hash, checkpoint_digest, is_signed, key_id, leaf_hash, signed_bytes,
};
pub use disk::{Disk, DiskFile, RealDisk};
pub use embedded::{EmbeddedStore, OpenError, Parts};
pub use entries::read_entries;
pub use index::{Changes, FjallIndex, Index, IndexError, MemIndex};
pub use lying_disk::{Fault, LyingDisk};
pub use merkle::{BadReceipt, EntryProof, Proof, Tree, check_receipt};
pub use observer::{NoObserver, StoreObserver};
pub use offline::{
    Between, Follower, OfflineBatch, OfflineEnd, OfflineEntry, OfflineJournal, Proven, Unfinished,
};
pub use options::StoreOptions;
pub use postgres::{
    DatabaseBroken, DatabaseReport, HolderSalts, PostgresOpenError, PostgresOptions, PostgresParts,
    PostgresStore, SchemaError,
};
pub use proof_file::{Forged, NotAProof, PROOF_FILE_BYTES_MAX, PROOF_FORMAT, ProofFile, ProvenStep};
pub use retain::{Over, RetainReport, Terms, WrongTerm};
pub use task_tally::TaskTally;
pub use verify::{VerifyReport, verify_dir, verify_disk, verify_killed};
pub use walk::Broken;
pub use witness::Contradicted;

/// Who asks, for what: the part of an entry that is the same for every step.
#[derive(Debug, Clone)]
pub struct UnitMeta {
    pub participant: ParticipantId,
    pub terminal: TerminalId,
    /// At most 32 characters; empty where nobody works the terminal.
    pub operator: Arc<str>,
    pub purpose: Purpose,
    pub scene: Scene,
    /// The method's short name, for example `Tap`.
    pub method: &'static str,
    pub terminal_time_ms: Millis,
    /// W3C trace id.
    pub trace_id: Option<[u8; 16]>,
}

/// Which step of which transaction a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The first step of a request. Claims (participant, request id): when the
    /// claim exists with the same fingerprint, the unit is not run and the stored
    /// last step is answered that came of the request (later requests' steps are
    /// answers of their own); with another fingerprint the unit is refused.
    First { request: RequestId, fingerprint: [u8; 32] },
    /// A later step of a pending transaction. When the transaction is final
    /// already, the unit is not run and the stored last step is answered that no
    /// later request asked for.
    Next,
    /// A later step of a transaction that a request of its own asks for: refund,
    /// reversal, capture, release. Claims (participant, request id) like `First`,
    /// and a repeat is answered with this very step, whatever came after it. Also
    /// appended to a transaction that is final: the decision says what is legal. One
    /// that is declined repeats the status of the transaction.
    Later { request: RequestId, fingerprint: [u8; 32] },
    /// An entry without a request of its own: a summed refusal, a sample card.
    Note,
}

/// Stands as the fingerprint of a request that was taken back before it came; SM3 of
/// no payload that anybody knows.
const WITHDRAWN: [u8; 32] = [0xff; 32];

impl Step {
    /// The first step of a transaction that stands for a request which has not come:
    /// it claims that request's id whatever its payload, so that the request is
    /// answered with this step when it comes, and never run. Where the request was
    /// faster the unit is not run, and what came of the request is answered.
    pub const fn withdrawing(request: RequestId) -> Self {
        Step::First { request, fingerprint: WITHDRAWN }
    }

    /// The request that asks for the step, with its fingerprint.
    pub const fn claims(&self) -> Option<(RequestId, [u8; 32])> {
        match self {
            Step::First { request, fingerprint } | Step::Later { request, fingerprint } => {
                Some((*request, *fingerprint))
            }
            Step::Next | Step::Note => None,
        }
    }
}

/// Whether what made a claim and what asks for it now are the same request: by their
/// payload, or because one of them takes the other back.
pub fn is_same_request(made: &[u8; 32], asked: &[u8; 32]) -> bool {
    made == asked || *made == WITHDRAWN || *asked == WITHDRAWN
}

/// Decides: the aggregates as they stand and the time of commitment come in, the
/// decision goes out. Runs on the committer; pure and short.
pub type Decide = Box<dyn FnOnce(&View, Millis) -> Result<Decision, CorruptAggregate> + Send>;

/// A unit of work.
pub struct Unit {
    pub meta: UnitMeta,
    pub transaction: TransactionId,
    pub step: Step,
    /// At most [`UNIT_TOUCHES_MAX`](crate::limits::UNIT_TOUCHES_MAX) aggregates.
    pub touches: Vec<AggregateKey>,
    pub decide: Decide,
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit")
            .field("transaction", &self.transaction)
            .field("step", &self.step)
            .field("method", &self.meta.method)
            .finish_non_exhaustive()
    }
}

/// A step of a transaction that is on disk.
#[derive(Debug, Clone)]
pub struct Committed {
    pub entry: Arc<record::Entry>,
    /// The scene's detail, unsealed where it was sealed. Empty when the holder's
    /// key has been destroyed.
    pub detail: Bytes,
    /// Of an entry about several holders: the detail of each, in the order of the
    /// entry's `holders`; `None` for one whose key has been destroyed.
    pub parts: Vec<Option<Bytes>>,
    pub receipt: Receipt,
    /// The unit was not run: this is what an earlier one left.
    pub replayed: bool,
}

/// A task that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueTask {
    pub transaction: TransactionId,
    pub kind: TaskName,
    pub state: TaskState,
    pub lane: String,
    pub due_at_ms: Millis,
    pub asked_at_ms: Millis,
    pub tries: u32,
    /// Reason code of the last try that brought nothing; empty before one.
    pub last_error: String,
    pub body: Bytes,
}

impl DueTask {
    pub fn key(&self) -> TaskKey {
        TaskKey { transaction: self.transaction, kind: self.kind.clone() }
    }
}

/// Asks for tasks to work on.
#[derive(Debug, Clone, Copy)]
pub struct TaskLease<'a> {
    pub now_ms: Millis,
    /// Who will work on them; unique among everyone who runs tasks now.
    pub owner: &'a str,
    /// Longer than the longest work on one task: a lease that ran out is taken
    /// over by whoever asks next.
    pub lease_ms: Millis,
    pub most: usize,
    /// Leases that may be out in one lane at the same time, whoever has them.
    pub most_per_lane: usize,
}

/// A part of a kind's aggregates.
#[derive(Debug, Clone, Default)]
pub struct Part {
    pub rows: Vec<(AggregateKey, Stored)>,
    /// There are no more under the prefix than were looked at.
    pub is_whole: bool,
}

/// Why the store did not take a unit or find a record.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The request id was used for another payload.
    #[error("the request id was used for another request")]
    RequestIdMisused,
    /// The queue is full, the index lags or the disk has no room; try again.
    #[error("the store is busy")]
    Busy,
    /// The disk failed; nothing more is acknowledged until the journal has been
    /// reopened and read back. The unit's outcome is not known.
    #[error("the journal has stopped: {0}")]
    Stopped(Arc<str>),
    /// A stored aggregate or entry cannot be read.
    #[error("stored data cannot be read: {0}")]
    Corrupt(Arc<str>),
    /// The unit writes about somebody who was erased. Nothing was done.
    #[error("the holder was erased")]
    HolderErased,
    /// A `Next` or `Later` step of a transaction that does not exist.
    #[error("no such transaction")]
    NoSuchTransaction,
    /// An entry about another transaction's task that is no longer open. Nothing
    /// was done.
    #[error("the task is no longer open")]
    TaskClosed,
}

/// The journal with the state behind it.
pub trait Store: Send + Sync + 'static {
    /// Runs a unit and answers when its entry is on disk.
    fn commit(&self, unit: Unit) -> BoxFuture<'_, Result<Committed, StoreError>>;

    /// An aggregate as of the last acknowledged commit.
    fn load<'a>(&'a self, key: &'a AggregateKey) -> BoxFuture<'a, Result<Option<Stored>, StoreError>>;

    /// What a repeat of the request would be answered: the last step that came of
    /// it.
    fn find<'a>(
        &'a self,
        participant: &'a ParticipantId,
        request: RequestId,
    ) -> BoxFuture<'a, Result<Option<Committed>, StoreError>>;

    /// Every step of a transaction, oldest first; empty when there is none.
    fn steps(&self, transaction: TransactionId) -> BoxFuture<'_, Result<Vec<Committed>, StoreError>>;

    /// The newest entries about a subject in one scene, newest first.
    fn about(
        &self,
        subject: Subject,
        scene: Scene,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Committed>, StoreError>>;

    /// Every aggregate of a kind, for tables that are kept in memory (the deny
    /// list). In no order.
    fn scan(
        &self,
        kind: crate::model::AggregateKind,
    ) -> BoxFuture<'_, Result<Vec<(AggregateKey, Stored)>, StoreError>>;

    /// The aggregates of a kind whose id begins with `prefix`, at most `most`: for jobs
    /// that go through a kind in small parts. What was written a moment ago may be
    /// missing.
    fn part(
        &self,
        kind: crate::model::AggregateKind,
        prefix: Vec<u8>,
        most: usize,
    ) -> BoxFuture<'_, Result<Part, StoreError>>;

    /// Open tasks due at `now_ms`, oldest first, at most `most`: for whoever looks,
    /// with those that are stuck or leased.
    fn due_tasks(&self, now_ms: Millis, most: usize) -> BoxFuture<'_, Result<Vec<DueTask>, StoreError>>;

    /// How many tasks are open, a row a kind: all of them, however many, so that it
    /// costs as much as there are. One that changes meanwhile may be counted as it was
    /// before or after, seldom as both.
    fn open_tasks(&self) -> BoxFuture<'_, Result<Vec<TaskTally>, StoreError>>;

    /// What was booked on the accounts whose path begins with `accounts`, a row an
    /// account and business date, in that order; both dates are within. It is as
    /// of one moment after the call began: a transaction's postings are all in it
    /// or none.
    fn balances<'a>(
        &'a self,
        accounts: &'a str,
        dates: RangeInclusive<Date>,
    ) -> BoxFuture<'a, Result<Vec<Balance>, StoreError>>;

    /// Sums over the whole ledger, as of one moment after the call began.
    fn ledger_totals(&self) -> BoxFuture<'_, Result<LedgerTotals, StoreError>>;

    /// Due tasks for one who will work on them, lane by lane in turn, oldest first
    /// within a lane. Nobody else gets them while the lease holds. Not those that
    /// are stuck or of a kind that is not known here.
    fn lease_tasks<'a>(&'a self, ask: TaskLease<'a>) -> BoxFuture<'a, Result<Vec<DueTask>, StoreError>>;

    /// Ends a lease before its time: the work is done, or put off.
    fn release_task<'a>(&'a self, key: &'a TaskKey, owner: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Destroys the keys of subjects for good, one after another: what was sealed under
    /// them is never read again, nothing more is sealed. Saying it again does no harm.
    fn erase(&self, subjects: Vec<Subject>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Whether a subject's key was destroyed.
    fn is_erased(&self, subject: Subject) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// The newest instant of commitment; `Millis::MIN` before the first. Never goes
    /// backwards, even where the clock does.
    fn committed_at_ms(&self) -> Millis;

    /// Which life of the store this is: higher in one that was put back to an earlier
    /// point, or made anew. 0: the engine cannot tell.
    fn epoch(&self) -> u64;

    /// Whether commits are taken; false after a failed sync and while starting.
    fn is_ready(&self) -> bool;
}
