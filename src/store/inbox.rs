//! The queue before the committer: bounded, and it also carries the writer's
//! word that it is free, so that the committer waits for one thing only.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::oneshot;

use super::{Committed, StoreError, StoreObserver, Unit};
use crate::model::TransactionId;

/// What a caller waits for.
pub(super) enum Answer {
    Done(Box<Committed>),
    /// The unit was not run; the step that answers it is to be read back.
    Replay(Replay),
}

/// Which step answers a unit that was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replay {
    pub(super) transaction: TransactionId,
    /// A later request's own step, or 0: the last step that no later request asked
    /// for.
    pub(super) step: u32,
}

pub(super) type Reply = oneshot::Sender<Result<Answer, StoreError>>;

/// A unit and who waits for it.
pub(super) struct Waiting {
    pub(super) unit: Unit,
    pub(super) reply: Reply,
}

/// Whether the store takes commits. Once stopped it stays so until it is opened
/// again.
pub(super) struct Health {
    reason: OnceLock<Arc<str>>,
    observer: Arc<dyn StoreObserver>,
}

impl Health {
    pub(super) fn watched_by(observer: Arc<dyn StoreObserver>) -> Self {
        Health { reason: OnceLock::new(), observer }
    }

    /// Stops the store; the first reason counts.
    pub(super) fn stop(&self, reason: impl Into<Arc<str>>) {
        if self.reason.set(reason.into()).is_ok()
            && let Some(reason) = self.reason.get()
        {
            tracing::error!(%reason, "the journal has stopped; nothing more is acknowledged until it is opened again");
            self.observer.stopped(reason);
        }
    }

    pub(super) fn error(&self) -> Option<StoreError> {
        self.reason.get().map(|reason| StoreError::Stopped(Arc::clone(reason)))
    }
}

#[derive(Default)]
struct State {
    units: VecDeque<Waiting>,
    writer_free: bool,
    closed: bool,
    /// The committer waits on `wake`. Waking nobody would still be a system call,
    /// one for every unit.
    sleeps: bool,
}

/// So many units wake the committer while the writer is at work, which will wake it
/// anyway when it is free. Waking it for every one would cost a switch of threads
/// each; waking it for none would leave all deciding for when the writer waits.
const WAKE_AT: usize = 16;

/// See the head of this file.
pub(super) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    most: usize,
}

impl Inbox {
    pub(super) fn holding(most: usize) -> Self {
        let state = State { writer_free: true, ..State::default() };
        Inbox { state: Mutex::new(state), wake: Condvar::new(), most }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the committer when it sleeps. It says so before it lets go of the
    /// lock, so that no word is missed.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::take(&mut state.sleeps) {
            drop(state);
            self.wake.notify_one();
        }
    }

    pub(super) fn push(&self, waiting: Waiting) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.closed {
            return Err(StoreError::Stopped("the store is closed".into()));
        }
        if state.units.len() >= self.most {
            return Err(StoreError::Busy);
        }
        state.units.push_back(waiting);
        // A busy writer wakes the committer when it is done.
        if state.writer_free || state.units.len() >= WAKE_AT {
            self.wake(state);
        }
        Ok(())
    }

    /// Moves what waits, at most `room`, to the committer. Answers with how many
    /// still wait.
    pub(super) fn drain(&self, into: &mut VecDeque<Waiting>, room: usize) -> usize {
        let mut state = self.state();
        let take = state.units.len().min(room);
        into.extend(state.units.drain(..take));
        state.units.len()
    }

    /// Says that the writer can take a batch; wakes the committer.
    pub(super) fn writer_is_free(&self) {
        let mut state = self.state();
        state.writer_free = true;
        self.wake(state);
    }

    /// Claims the writer when it is free.
    pub(super) fn claim_writer(&self) -> bool {
        std::mem::take(&mut self.state().writer_free)
    }

    /// Waits for something to do; false when the store is closed and nothing is
    /// left.
    pub(super) fn wait(&self, is_full: bool, has_open: bool) -> bool {
        let mut state = self.state();
        loop {
            if (!state.units.is_empty() && !is_full) || (has_open && state.writer_free) {
                return true;
            }
            if state.closed && state.units.is_empty() && !has_open {
                return false;
            }
            state.sleeps = true;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleeps = false;
        }
    }

    /// Takes no more units; what waits is still done.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        self.wake(state);
    }

    /// Drops everyone who waits: nobody will serve them.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.closed = true;
        state.writer_free = true;
        let dropped = std::mem::take(&mut state.units);
        self.wake(state);
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::store::tests::support::tap;

    fn waiting(number: u32) -> Waiting {
        Waiting { unit: tap(number, number, 1), reply: oneshot::channel().0 }
    }

    /// A committer that waits on the inbox and says when it was woken.
    fn sleeper(inbox: &Arc<Inbox>) -> mpsc::Receiver<bool> {
        let (woken, says) = mpsc::sync_channel(16);
        let theirs = Arc::clone(inbox);
        thread::spawn(move || woken.send(theirs.wait(false, false)));
        while !inbox.state().sleeps {
            thread::yield_now();
        }
        says
    }

    #[test]
    fn one_unit_wakes_the_committer_when_the_writer_is_free() {
        let inbox = Arc::new(Inbox::holding(100));
        let says = sleeper(&inbox);
        inbox.push(waiting(1)).expect("room");
        assert_eq!(says.recv(), Ok(true));
    }

    #[test]
    fn while_the_writer_is_at_work_only_many_units_or_its_end_wake_the_committer() {
        for ends in [false, true] {
            let inbox = Arc::new(Inbox::holding(100));
            assert!(inbox.claim_writer());
            let says = sleeper(&inbox);
            for number in 1..WAKE_AT as u32 {
                inbox.push(waiting(number)).expect("room");
            }
            assert!(inbox.state().sleeps, "few units let it sleep");
            if ends {
                inbox.writer_is_free();
            } else {
                inbox.push(waiting(0)).expect("room");
            }
            assert_eq!(says.recv(), Ok(true));
        }
    }
}
