//! Room on the disk for the next segment. When there is none, new transactions are
//! refused while the rest of the current segment still takes the later steps of
//! those that are open; nothing that was acknowledged is touched, and work goes on
//! by itself when there is room again.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::StoreObserver;

/// How often a full disk is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(200);

pub(super) struct Room {
    /// No next segment could be made.
    missing: AtomicBool,
    /// Most of the current segment is used.
    nearly_used: AtomicBool,
    /// The writer has a batch that fits nowhere.
    waited_for: AtomicBool,
    closing: Mutex<bool>,
    closed: Condvar,
    observer: Arc<dyn StoreObserver>,
}

impl Room {
    pub(super) fn watched_by(observer: Arc<dyn StoreObserver>) -> Self {
        Room {
            missing: AtomicBool::new(false),
            nearly_used: AtomicBool::new(true),
            waited_for: AtomicBool::new(false),
            closing: Mutex::default(),
            closed: Condvar::new(),
            observer,
        }
    }

    /// Whether new transactions are refused.
    pub(super) fn is_short(&self) -> bool {
        self.missing.load(Ordering::Relaxed) && self.nearly_used.load(Ordering::Relaxed)
    }

    /// Whether the writer stands still until there is room.
    #[cfg(test)]
    pub(super) fn stops_the_writer(&self) -> bool {
        self.missing.load(Ordering::Acquire) && self.waited_for.load(Ordering::Acquire)
    }

    /// The writer's word that it needs the next segment, or has it.
    pub(super) fn waited_for(&self, waits: bool) {
        self.waited_for.store(waits, Ordering::Release);
    }

    /// The writer's word about the current segment: a quarter is kept for what is
    /// under way.
    pub(super) fn used(&self, bytes: u64, of: u64) {
        let nearly = bytes > of / 4 * 3;
        if nearly != self.nearly_used.load(Ordering::Relaxed) {
            self.nearly_used.store(nearly, Ordering::Relaxed);
        }
    }

    /// Whether the next segment could be made. Tells who watches when it changes.
    pub(super) fn missing(&self, missing: bool) {
        if self.missing.swap(missing, Ordering::Relaxed) == missing {
            return;
        }
        self.observer.room(!missing);
        if missing {
            tracing::error!("there is no room for the next segment; new transactions will be refused");
        } else {
            tracing::info!("there is room for the next segment again");
        }
    }

    /// Waits until it is worth trying again; false when the store is being closed.
    pub(super) fn wait(&self) -> bool {
        let closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        let (closing, _) = self
            .closed
            .wait_timeout_while(closing, TRY_AGAIN, |closing| !*closing)
            .unwrap_or_else(PoisonError::into_inner);
        !*closing
    }

    /// Nobody waits for room any more.
    pub(super) fn close(&self) {
        *self.closing.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.closed.notify_all();
    }
}
