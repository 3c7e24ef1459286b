//! The indexer: follows the journal off the answer path. What it has applied
//! leaves the overlay.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    thread,
    time::Duration,
};

use super::{
    Changes, StoreObserver,
    committer::Shared,
    effects::Effects,
    rows::{Marker, Rows},
    witness::Witness,
};
use crate::fault;

/// Entries applied in one atomic write: large enough to spread its cost, small
/// enough that the overlay shrinks steadily.
pub(super) const APPLY_ENTRIES: usize = 2_048;

/// How long the indexer lets batches gather. Reads see them in the overlay, so
/// nobody waits for it; a larger write is cheaper an entry, and waking for every
/// batch would take the processor from who answers.
const GATHER: Duration = Duration::from_millis(50);

pub(super) struct Indexer {
    pub(super) shared: Arc<Shared>,
    pub(super) rows: Rows,
    pub(super) observer: Arc<dyn StoreObserver>,
    pub(super) witness: Option<Witness>,
}

impl Indexer {
    /// Runs until the writer has gone and everything durable is applied. When the
    /// index fails the store stops: it is rebuilt when the store is opened.
    #[allow(clippy::disallowed_methods, reason = "it waits on a thread of its own, and nobody waits for it")]
    pub(super) fn run(mut self, batches: Receiver<Arc<Effects>>) {
        let (mut group, mut changes) = (Vec::new(), Changes::default());
        let mut gather = true;
        let mut last = None;
        while let Ok(first) = batches.recv() {
            if gather {
                thread::sleep(GATHER);
            }
            let mut entries = first.weight();
            group.push(first);
            while entries < APPLY_ENTRIES {
                match batches.try_recv() {
                    Ok(next) => {
                        entries += next.weight();
                        group.push(next);
                    }
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            gather = entries < APPLY_ENTRIES;
            if let Err(error) = self.rows.apply(&group, &mut changes) {
                self.shared.health.stop(error.to_string());
                return;
            }
            fault::point(fault::Point::IndexApplied);
            if let Some(applied) = group.last() {
                self.observer.index_lag(self.shared.overlay.retire(applied.sequence));
                last = Some(Marker::of(applied));
            }
            self.tell_witness(last.as_ref(), false);
            group.clear();
        }
        self.tell_witness(last.as_ref(), true);
        if let Err(error) = self.rows.index().flush() {
            tracing::warn!(%error, "the index could not be flushed; it is caught up at the next start");
        }
    }

    fn tell_witness(&mut self, last: Option<&Marker>, now: bool) {
        if let (Some(witness), Some(last)) = (&mut self.witness, last) {
            witness.saw(last, now);
        }
    }
}
