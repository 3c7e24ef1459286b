//! Whether the machine's clock can be believed. Two things are looked at: how far it
//! has moved against the time that has really passed since the start, and whether it
//! is behind what the journal has committed already, as it is when a clock that had
//! jumped ahead is put right. Then every entry would carry the same future instant.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use crate::{limits, model::Millis, telemetry::metrics};

/// Watches the clock, from one look to the next.
#[derive(Debug)]
pub struct ClockWatch {
    started_at_ms: Millis,
    /// Against the time that has passed, at the last look.
    moved_ms: AtomicI64,
    /// By which the journal is ahead, at the last look.
    behind_ms: AtomicI64,
}

impl ClockWatch {
    /// Begins at an instant of the clock.
    pub fn from(started_at_ms: Millis) -> Self {
        ClockWatch { started_at_ms, moved_ms: AtomicI64::new(0), behind_ms: AtomicI64::new(0) }
    }

    /// Looks at the clock when `passed` has really gone by since the beginning.
    pub fn look(&self, now_ms: Millis, passed: Duration, committed_at_ms: Millis) {
        let should_be =
            self.started_at_ms.saturating_add(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX));
        let moved = now_ms.saturating_sub(should_be);
        let behind = committed_at_ms.saturating_sub(now_ms).max(0);
        metrics::clock_off(metrics::ClockAgainst::Passed, moved);
        metrics::clock_off(metrics::ClockAgainst::Journal, behind);
        let (moved_before, behind_before) =
            (self.moved_ms.swap(moved, Ordering::Relaxed), self.behind_ms.swap(behind, Ordering::Relaxed));
        if is_off(moved - moved_before) {
            tracing::error!(moved_ms = moved, "the machine's clock has jumped; entries carry its time");
        }
        match (is_off(behind_before), is_off(behind)) {
            (false, true) => tracing::error!(
                behind_ms = behind,
                "the clock is behind the journal; until it has caught up, entries carry the journal's last instant"
            ),
            (true, false) => tracing::warn!("the clock has caught up with the journal"),
            (false, false) | (true, true) => {}
        }
    }

    /// Whether entries get the instant at which they are committed.
    pub fn is_right(&self) -> bool {
        !is_off(self.behind_ms.load(Ordering::Relaxed))
    }
}

fn is_off(by_ms: i64) -> bool {
    by_ms.unsigned_abs() > limits::CLOCK_OFF_MAX_MS.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Millis = 1_790_000_000_000;
    const HOUR: Millis = 3_600_000;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_that_was_ahead_and_is_put_right_is_not_believed_until_it_has_caught_up() {
        let watch = ClockWatch::from(START);
        watch.look(START + 1_000, seconds(1), START + 990);
        assert!(watch.is_right());
        // It jumps ahead, and the journal follows it.
        watch.look(START + HOUR, seconds(2), START + HOUR);
        assert!(watch.is_right(), "the journal carries what the clock says");
        assert_eq!(watch.moved_ms.load(Ordering::Relaxed), HOUR - 2_000);
        // It is put right: the journal cannot go back.
        watch.look(START + 3_000, seconds(3), START + HOUR);
        assert!(!watch.is_right());
        watch.look(START + HOUR - 5_000, seconds(3_595), START + HOUR);
        assert!(watch.is_right());
    }

    #[test]
    fn small_steps_and_an_empty_journal_are_nothing() {
        let watch = ClockWatch::from(START);
        watch.look(START + 1_500, seconds(1), Millis::MIN);
        watch.look(START + 2_000, seconds(2), START + 4_000);
        assert!(watch.is_right());
    }
}
