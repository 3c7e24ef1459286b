//! Open tasks in the index: a queue a lane, and those that wait for people.
//!
//! | key | value |
//! | --- | --- |
//! | `l` lane's digest 8 | the lane's name; stays when the lane is empty |
//! | `d` lane's digest 8 ‖ due 8 ‖ transaction 16 ‖ kind | the task as it was written |
//! | `w` due 8 ‖ transaction 16 ‖ kind | a stuck task, as it was written |
//! | `k` transaction 16 ‖ kind | key of the open task's row |

use std::{collections::HashMap, sync::Arc};

use prost::Message as _;

use super::{
    DueTask, StoreError,
    effects::corrupt,
    index::{Changes, Index},
};
use crate::{
    crypto::sm3,
    model::{Millis, TaskKey, TaskName, TaskState, TransactionId, record},
};

/// Tasks as the index keeps them.
#[derive(Clone)]
pub(super) struct TaskRows {
    index: Arc<dyn Index>,
}

/// Rows of open tasks that a write under way has changed: by their `k` key, the
/// row that is open now.
pub(super) type Touched = HashMap<Vec<u8>, Option<Vec<u8>>>;

impl TaskRows {
    pub(super) fn over(index: Arc<dyn Index>) -> Self {
        TaskRows { index }
    }

    /// The lanes that have ever had a task.
    pub(super) fn lanes(&self) -> Result<Vec<String>, StoreError> {
        let pairs = self.index.pairs(b"l", None, usize::MAX)?;
        let names = pairs.into_iter().map(|(_, name)| String::from_utf8(name).ok());
        names.collect::<Option<_>>().ok_or_else(|| corrupt("a lane of the index"))
    }

    /// Tasks of one lane that are due at `now` and not stuck, oldest first.
    pub(super) fn due_in(&self, lane: &str, now: Millis, most: usize) -> Result<Vec<DueTask>, StoreError> {
        let prefix = [b"d".as_slice(), &digest(lane)].concat();
        let until = [prefix.as_slice(), &sortable(now.saturating_add(1))].concat();
        self.read(&prefix, Some(&until), most)
    }

    /// Stuck tasks due at `now`, oldest first.
    pub(super) fn stuck(&self, now: Millis, most: usize) -> Result<Vec<DueTask>, StoreError> {
        let until = [b"w".as_slice(), &sortable(now.saturating_add(1))].concat();
        self.read(b"w", Some(&until), most)
    }

    /// Whether the index has the task as open.
    pub(super) fn is_open(&self, key: &TaskKey) -> Result<bool, StoreError> {
        Ok(self.index.get(&name(key.transaction, key.kind.as_str()))?.is_some())
    }

    /// Shows every open task, in no order, one after another.
    pub(super) fn each(&self, show: &mut dyn FnMut(DueTask)) -> Result<(), StoreError> {
        let mut is_whole = true;
        for prefix in [b"d", b"w"] {
            self.index.each(prefix, &mut |key, value| match read(key, value) {
                Some(task) => show(task),
                None => is_whole = false,
            })?;
        }
        if is_whole { Ok(()) } else { Err(unreadable()) }
    }

    fn read(&self, prefix: &[u8], until: Option<&[u8]>, most: usize) -> Result<Vec<DueTask>, StoreError> {
        let pairs = self.index.pairs(prefix, until, most)?;
        let tasks = pairs.iter().map(|(key, value)| read(key, value));
        tasks.collect::<Option<_>>().ok_or_else(unreadable)
    }

    /// A task takes the place of the open one of the same transaction and kind;
    /// `done` closes it.
    pub(super) fn change(
        &self,
        transaction: TransactionId,
        task: &record::Task,
        touched: &mut Touched,
        changes: &mut Changes,
    ) -> Result<(), StoreError> {
        let transaction = task_of(transaction, task);
        let name = name(transaction, &task.kind);
        let before = match touched.get(&name) {
            Some(before) => before.clone(),
            None => self.index.get(&name)?,
        };
        if let Some(before) = before {
            changes.remove(&[&before]);
        }
        let row = (!task.done).then(|| {
            let lane = lane_of(task);
            let due = sortable(task.due_at_ms);
            let tail = [transaction.as_bytes().as_slice(), task.kind.as_bytes()].concat();
            if task.stuck {
                return [b"w".as_slice(), &due, &tail].concat();
            }
            changes.put(&[b"l", &digest(&lane)], &[lane.as_bytes()]);
            [b"d".as_slice(), &digest(&lane), &due, &tail].concat()
        });
        match &row {
            Some(row) => {
                changes.put(&[row], &[&task.encode_to_vec()]);
                changes.put(&[&name], &[row]);
            }
            None => changes.remove(&[&name]),
        }
        touched.insert(name, row);
        Ok(())
    }
}

/// The task in a row of a lane's queue or of those that are stuck.
fn read(key: &[u8], value: &[u8]) -> Option<DueTask> {
    // transaction ‖ kind stand behind the prefix (and the digest) and the time.
    let skip = if key.first() == Some(&b'd') { 17 } else { 9 };
    let transaction = key.get(skip..skip + 16)?.try_into().ok()?;
    let task = record::Task::decode(value).ok()?;
    Some(due_task(TransactionId::from_bytes(transaction), &task))
}

fn unreadable() -> StoreError {
    corrupt("a task of the index")
}

/// Whose task it is: the entry's own transaction unless it says otherwise.
pub(super) fn task_of(transaction: TransactionId, task: &record::Task) -> TransactionId {
    <[u8; 16]>::try_from(task.transaction_id.as_slice()).map_or(transaction, TransactionId::from_bytes)
}

/// A kind that nobody here knows has a lane of its own, so that it is in nobody's
/// way until a version comes that knows it.
pub(super) fn lane_of(task: &record::Task) -> String {
    let kind = TaskName::from(task.kind.as_str());
    match kind {
        TaskName::Known(_) if !task.lane.is_empty() => task.lane.clone(),
        TaskName::Known(_) | TaskName::Unknown(_) => kind_lane(&task.kind),
    }
}

const KIND_LANE: &str = "kind/";

fn kind_lane(kind: &str) -> String {
    format!("{KIND_LANE}{kind}")
}

/// Whether tasks of this lane may be run here.
pub(super) fn is_run(lane: &str) -> bool {
    lane.strip_prefix(KIND_LANE).is_none_or(|kind| TaskName::from(kind).known().is_some())
}

pub(super) fn due_task(transaction: TransactionId, task: &record::Task) -> DueTask {
    let state = match (task.done, task.stuck) {
        (true, _) => TaskState::Done,
        (false, true) => TaskState::Stuck,
        (false, false) => TaskState::Waiting,
    };
    DueTask {
        transaction,
        kind: task.kind.as_str().into(),
        state,
        lane: lane_of(task),
        due_at_ms: task.due_at_ms,
        asked_at_ms: if task.asked_at_ms == 0 { transaction.made_at_ms() } else { task.asked_at_ms },
        tries: task.tries,
        last_error: task.last_error.clone(),
        body: task.body.clone().into(),
    }
}

fn name(transaction: TransactionId, kind: &str) -> Vec<u8> {
    [b"k".as_slice(), transaction.as_bytes(), kind.as_bytes()].concat()
}

fn digest(lane: &str) -> [u8; 8] {
    let digest = sm3(&[lane.as_bytes()]);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    first
}

/// Signed numbers in an order in which bytes sort as numbers.
fn sortable(at: Millis) -> [u8; 8] {
    (at ^ i64::MIN).to_be_bytes()
}
