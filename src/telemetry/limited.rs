//! Says that something happens often without saying it often.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Lets one event in each interval through and counts the rest.
#[derive(Debug)]
pub struct OncePer {
    interval: Duration,
    began: std::sync::OnceLock<Instant>,
    /// Milliseconds after `began` when the next may go through.
    next_ms: AtomicU64,
    kept_back: AtomicU64,
}

impl OncePer {
    pub const fn new(interval: Duration) -> Self {
        OncePer {
            interval,
            began: std::sync::OnceLock::new(),
            next_ms: AtomicU64::new(0),
            kept_back: AtomicU64::new(0),
        }
    }

    /// `Some(n)` when this event may be told, `n` being those kept back since the
    /// last; `None` otherwise.
    pub fn pass(&self) -> Option<u64> {
        let began = self.began.get_or_init(Instant::now);
        self.pass_at(began.elapsed().as_millis().try_into().unwrap_or(u64::MAX))
    }

    fn pass_at(&self, now_ms: u64) -> Option<u64> {
        let next = self.next_ms.load(Ordering::Relaxed);
        let later = now_ms.saturating_add(self.interval.as_millis().try_into().unwrap_or(u64::MAX));
        let mine = now_ms >= next
            && self.next_ms.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            Some(self.kept_back.swap(0, Ordering::Relaxed))
        } else {
            self.kept_back.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_through_and_says_how_many_did_not() {
        let limited = OncePer::new(Duration::from_secs(1));
        assert_eq!(limited.pass_at(0), Some(0));
        assert_eq!(limited.pass_at(1), None);
        assert_eq!(limited.pass_at(999), None);
        assert_eq!(limited.pass_at(1_000), Some(2));
        assert_eq!(limited.pass_at(1_001), None);
    }
}
