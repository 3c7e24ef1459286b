//! When a request is repeated: the same bytes under the same request id, a
//! bounded number of times, spaced with jitter, and never so often that retries
//! become the load.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use crate::{limits, model::Rng};

use super::CallError;

/// How patient a terminal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a request is sent in all; 1 means never again.
    pub tries_max: u32,
    /// The first pause; each further one may be twice as long.
    pub pause_min: Duration,
    /// No pause is longer. A gateway that asks for more gets no retry: the
    /// error says how long to wait.
    pub pause_max: Duration,
    /// From the first try to the last answer.
    pub total_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            tries_max: limits::CLIENT_TRIES_MAX,
            pause_min: limits::CLIENT_PAUSE_MIN,
            pause_max: limits::CLIENT_PAUSE_MAX,
            total_max: limits::DEADLINE_MAX,
        }
    }
}

impl RetryPolicy {
    /// Sends once only.
    pub const fn never() -> Self {
        RetryPolicy {
            tries_max: 1,
            pause_min: Duration::ZERO,
            pause_max: Duration::ZERO,
            total_max: limits::DEADLINE_MAX,
        }
    }

    /// The pause before the next try, or `None` when it is over: the error would
    /// not pass, the tries are used up, or the wait is longer than the policy or
    /// the time left (`spent` since the first try) allows.
    pub(super) fn pause(&self, error: &CallError, spent: Duration, rng: &dyn Rng) -> Option<Duration> {
        if !error.may_pass() || error.tries >= self.tries_max {
            return None;
        }
        let ceiling = self.pause_min.saturating_mul(1 << (error.tries - 1).min(16)).min(self.pause_max);
        let jittered = half_to_whole(ceiling, rng);
        let pause = match error.retry_after {
            Some(asked) if asked > self.pause_max => return None,
            // Everybody was told the same; the jitter keeps them apart.
            Some(asked) => asked + jittered,
            None => jittered,
        };
        (spent + pause < self.total_max).then_some(pause)
    }
}

/// Between half of `whole` and all of it.
fn half_to_whole(whole: Duration, rng: &dyn Rng) -> Duration {
    let mut bytes = [0; 4];
    rng.fill(&mut bytes);
    let share = f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX);
    whole.mul_f64(0.5 + share / 2.0)
}

/// Retries as a share of the calls: every first try pays in, every retry takes
/// out. A terminal that only ever fails stops hammering.
#[derive(Debug)]
pub(super) struct RetryBudget(AtomicI64);

/// What one retry costs, in the unit of the budget (percent of a call).
const RETRY_COST: i64 = 100;

impl Default for RetryBudget {
    fn default() -> Self {
        RetryBudget(AtomicI64::new(RETRY_COST * limits::CLIENT_RETRIES_SAVED_MAX))
    }
}

impl RetryBudget {
    pub(super) fn first_try(&self) {
        let most = RETRY_COST * limits::CLIENT_RETRIES_SAVED_MAX;
        let earned = i64::from(limits::RETRY_BUDGET_PERCENT);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| Some((saved + earned).min(most)))
            .ok();
    }

    /// Takes out the cost of one retry; false when nothing is saved.
    pub(super) fn retry(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
                (saved >= RETRY_COST).then_some(saved - RETRY_COST)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;
    use crate::model::SystemRng;

    fn error(code: Code, tries: u32, retry_after_ms: Option<u64>) -> CallError {
        let mut error = CallError::from_status(&Status::new(code, "x"), tries);
        error.retry_after = retry_after_ms.map(Duration::from_millis);
        error
    }

    #[track_caller]
    fn check(error: CallError, spent_ms: u64, repeats: bool) {
        let pause = RetryPolicy::default().pause(&error, Duration::from_millis(spent_ms), &SystemRng);
        assert_eq!(pause.is_some(), repeats, "{error:?} gives {pause:?}");
    }

    #[test]
    fn only_what_may_pass_is_repeated() {
        check(error(Code::Unavailable, 1, None), 0, true);
        check(error(Code::Cancelled, 1, None), 0, true);
        check(error(Code::DeadlineExceeded, 1, None), 0, true);
        check(error(Code::ResourceExhausted, 1, Some(50)), 0, true);
        check(error(Code::ResourceExhausted, 1, None), 0, false);
        check(error(Code::Unknown, 1, None), 0, true);
        for code in
            [Code::InvalidArgument, Code::PermissionDenied, Code::Unauthenticated, Code::AlreadyExists]
        {
            check(error(code, 1, Some(1)), 0, false);
        }
    }

    #[test]
    fn patience_ends() {
        check(error(Code::Unavailable, limits::CLIENT_TRIES_MAX, None), 0, false);
        check(error(Code::Unavailable, 1, None), 9_999, false);
        check(error(Code::ResourceExhausted, 1, Some(60_000)), 0, false);
    }

    #[test]
    fn a_pause_is_never_shorter_than_the_gateway_asked() {
        for _ in 0..100 {
            let asked = Duration::from_millis(300);
            let pause = RetryPolicy::default()
                .pause(&error(Code::Unavailable, 1, Some(300)), Duration::ZERO, &SystemRng)
                .expect("may pass");
            assert!(pause >= asked && pause <= asked + limits::CLIENT_PAUSE_MAX, "{pause:?}");
        }
    }

    #[test]
    fn retries_stay_a_share_of_the_calls() {
        let budget = RetryBudget::default();
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.first_try();
            retries += i64::from(budget.retry());
        }
        assert!(retries <= limits::CLIENT_RETRIES_SAVED_MAX + 200, "{retries} retries of 1,000 calls");
        assert!(retries >= 200, "the budget refills: {retries}");
    }
}
