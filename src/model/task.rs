//! What must still happen: the kinds of tasks, how a decision asks for one, and
//! how long to wait between tries. How each kind is run is said in `gateway`.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::{Millis, Reason, Rng, TransactionId};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)*) => {
        /// A kind of task. The name is in the journal for ever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum TaskKind {
            $($(#[$doc])* $variant,)*
        }

        impl TaskKind {
            /// Every kind this version knows.
            pub const ALL: &'static [TaskKind] = &[$(TaskKind::$variant,)*];

            /// The name in the journal and on metrics.
            pub const fn name(self) -> &'static str {
                match self { $(TaskKind::$variant => $name,)* }
            }

            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(TaskKind::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// Find out what became of an order whose outcome is unknown; take it back when
    /// nobody can tell.
    LibraryInquire "library.inquire";
    /// An order was reversed here and may still stand at the library: for people.
    LibraryByHand "library.by-hand";
    /// Find out what became of a step at an insurer, or take it back.
    MedicalSettle "medical.settle";
    /// Let a reservation go whose time is over.
    PaymentExpire "payment.expire";
    /// Tell a code's home region that we stood in for it.
    FederationSettleCode "federation.settle-code";
}

/// What stands in the journal as a task's kind: one of ours, or one that another
/// version of the gateway wrote. Such a task is kept and shown, never run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskName {
    Known(TaskKind),
    Unknown(Arc<str>),
}

impl TaskName {
    pub fn as_str(&self) -> &str {
        match self {
            TaskName::Known(kind) => kind.name(),
            TaskName::Unknown(name) => name,
        }
    }

    /// `None` for a kind this version does not know.
    pub fn known(&self) -> Option<TaskKind> {
        match self {
            TaskName::Known(kind) => Some(*kind),
            TaskName::Unknown(_) => None,
        }
    }
}

impl From<&str> for TaskName {
    fn from(name: &str) -> Self {
        TaskKind::from_name(name).map_or_else(|| TaskName::Unknown(name.into()), TaskName::Known)
    }
}

impl From<TaskKind> for TaskName {
    fn from(kind: TaskKind) -> Self {
        TaskName::Known(kind)
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names a task: a transaction has at most one open task of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskKey {
    pub transaction: TransactionId,
    pub kind: TaskName,
}

/// What a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// For its time, or for whoever runs it.
    Waiting,
    /// For people: its tries are spent, or it was theirs from the start.
    Stuck,
    /// For nothing: what had to happen has happened, or no longer must.
    Done,
}

impl TaskState {
    /// Label on metrics and in lists.
    pub const fn name(self) -> &'static str {
        match self {
            TaskState::Waiting => "waiting",
            TaskState::Stuck => "stuck",
            TaskState::Done => "done",
        }
    }
}

/// Something that must still happen, as a decision asks for it. It takes the place
/// of the open task of the same transaction and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub kind: TaskName,
    pub state: TaskState,
    pub due_at_ms: Millis,
    /// The transaction it belongs to where that is not the entry's own. Such an
    /// entry is refused when the task is no longer open, so that what was settled
    /// meanwhile is not asked for again.
    pub of: Option<TransactionId>,
    /// Tasks of a lane wait for each other and for nobody else: a lane is a backend,
    /// for example `library/capital-library`. Empty: the lane of the kind.
    pub lane: String,
    /// When it was first asked for.
    pub asked_at_ms: Millis,
    pub tries: u32,
    /// Why the last try brought nothing; never about a person.
    pub last_error: Option<Reason>,
    pub body: Bytes,
}

impl Task {
    /// A task that is first asked for at `now`.
    pub fn ask(kind: TaskKind, lane: String, now: Millis, due_at_ms: Millis) -> Self {
        Task {
            kind: kind.into(),
            state: TaskState::Waiting,
            due_at_ms,
            of: None,
            lane,
            asked_at_ms: now,
            tries: 0,
            last_error: None,
            body: Bytes::new(),
        }
    }

    /// The same for people only: nobody runs it, somebody closes it.
    pub fn by_hand(kind: TaskKind, lane: String, now: Millis, why: Reason) -> Self {
        Task { state: TaskState::Stuck, last_error: Some(why), ..Task::ask(kind, lane, now, now) }
    }

    /// Closes the open task of this kind.
    pub fn done(kind: TaskKind, now: Millis) -> Self {
        Task { state: TaskState::Done, ..Task::ask(kind, String::new(), now, now) }
    }
}

/// How long to wait between tries: doubling from the first to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first_ms: Millis,
    pub most_ms: Millis,
}

impl Backoff {
    /// The wait after `tries` tries, jitter taken off.
    pub fn wait_ms(&self, tries: u32, jitter: Jitter) -> Millis {
        let doubled = self.first_ms.saturating_mul(1 << tries.min(30));
        jitter.off(doubled.min(self.most_ms))
    }
}

/// A share that is taken off a wait, so that what failed together does not come
/// again together. It only shortens: a bound on waits stays a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Jitter {
    /// Thousandths of [`Jitter::MOST_PERCENT`].
    thousandths: u16,
}

impl Jitter {
    /// The largest share taken off, in percent.
    pub const MOST_PERCENT: i64 = 20;

    /// Nothing is taken off.
    pub const NONE: Jitter = Jitter { thousandths: 0 };

    pub fn draw(rng: &dyn Rng) -> Self {
        let mut bytes = [0; 2];
        rng.fill(&mut bytes);
        Jitter { thousandths: u16::from_be_bytes(bytes) % 1_001 }
    }

    /// `wait_ms` without its share, at least 1 ms of a positive wait.
    pub fn off(self, wait_ms: Millis) -> Millis {
        let share = i128::from(wait_ms) * i128::from(Self::MOST_PERCENT) * i128::from(self.thousandths);
        let left = wait_ms - i64::try_from(share / 100_000).unwrap_or(0);
        left.max(wait_ms.min(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_found_again_and_others_are_kept() {
        for kind in TaskKind::ALL {
            assert_eq!(TaskName::from(kind.name()), TaskName::Known(*kind));
        }
        let other = TaskName::from("tomorrow.do");
        assert_eq!((other.as_str(), other.known()), ("tomorrow.do", None));
    }

    struct Drawn([u8; 2]);
    impl crate::model::Rng for Drawn {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.0);
        }
    }

    proptest! {
        #[test]
        fn a_wait_stays_within_its_bounds(
            first in 1i64..100_000, more in 0i64..10_000_000, tries: u32, drawn: [u8; 2],
        ) {
            let backoff = Backoff { first_ms: first, most_ms: first + more };
            let wait = backoff.wait_ms(tries, Jitter::draw(&Drawn(drawn)));
            let longest = backoff.wait_ms(tries, Jitter::NONE);
            prop_assert!(wait >= 1 && wait <= longest && longest <= backoff.most_ms);
            prop_assert!(wait >= longest - longest * Jitter::MOST_PERCENT / 100 - 1);
        }
    }
}
