//! Places on the way of a request where a test may stop the process, as a power
//! cut would: to prove that whatever was acknowledged is found again and nothing
//! happens twice. Compiled in with the feature `fault-points` only; without it
//! [`point`] is nothing at all.
//!
//! With the feature, the environment variable `ONECARD_FAULT_FILE` names a file.
//! A process that passes a point whose name stands there behind its own process id
//! (`4711 batch-synced`) removes the file and aborts.

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)*) => {
        /// A place where the process may be stopped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $variant,)*
        }

        impl Point {
            /// Every place there is.
            pub const ALL: &'static [Point] = &[$(Point::$variant,)*];

            pub const fn name(self) -> &'static str {
                match self { $(Point::$variant => $name,)* }
            }
        }
    };
}

points! {
    /// A unit is decided; nothing of it is on disk.
    UnitDecided "unit-decided";
    /// A batch is written; it is not synced.
    BatchWritten "batch-written";
    /// A batch is on disk; nobody has been answered.
    BatchSynced "batch-synced";
    /// Everybody who waited for a batch has been answered; it is not indexed.
    BatchAnswered "batch-answered";
    /// Batches are in the index; memory still has them too.
    IndexApplied "index-applied";
    /// The intent of a call is on disk; the call has not been made.
    IntentCommitted "intent-committed";
    /// The backend was called; its answer is not on disk.
    BackendCalled "backend-called";
    /// The backend's answer is on disk; the caller has not been answered.
    ResultCommitted "result-committed";
    /// A task was leased; nothing has been done about it.
    TaskLeased "task-leased";
    /// A backend was inquired of; what it said is not on disk.
    TaskInquired "task-inquired";
    /// A backend was asked to take something back; what it said is not on disk.
    TaskUndone "task-undone";
    /// What came of a task is on disk; its lease is still out.
    TaskCommitted "task-committed";
}

/// Passes a point.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn point(_: Point) {}

/// Passes a point; does not return where the process is to stop here.
#[cfg(feature = "fault-points")]
pub fn point(point: Point) {
    use std::{fs, path::PathBuf, process, sync::OnceLock};

    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("ONECARD_FAULT_FILE").map(PathBuf::from));
    let Some(file) = file else { return };
    let Ok(told) = fs::read_to_string(file) else { return };
    if told.trim() == format!("{} {}", process::id(), point.name()) {
        let _ = fs::remove_file(file);
        process::abort();
    }
}
