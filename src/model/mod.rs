//! Words everyone uses: money, ids, outcomes, entries, aggregates, the clock as
//! a trait. No I/O and no rules live here; what stands here is safe to name from
//! every floor.

mod aggregate;
mod breaker;
mod caller;
mod clock;
mod entry;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod ids;
pub mod lifecycle;
mod money;
mod outcome;
mod reason;
pub mod record;
mod task;

pub use aggregate::{AggregateBody, AggregateKey, AggregateKind, CorruptAggregate, Stored, View, slot_of};
pub use breaker::{Breaker, BreakerOptions, BreakerState, Resting, RetryBudget};
pub use caller::{CertIdentity, ConnectionId, Deadline, PeerCertificate};
pub use clock::{Clock, ManualClock, Millis, Rng, SystemClock, SystemRng};
pub use entry::{Decision, Detail, HolderPart, Posting, Receipt, Write, decoded};
pub use ids::{
    BadId, HolderId, PairwiseHolder, ParticipantId, RequestId, Subject, TerminalId, Token16, TransactionId,
};
pub use money::{Fen, FenOverflow};
pub use outcome::{Assurance, Denial, Outcome, Purpose, Rank, Scene, Status};
pub use reason::Reason;
pub use task::{Backoff, Jitter, Task, TaskKey, TaskKind, TaskName, TaskState};
