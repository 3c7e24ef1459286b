//! What keeps a sick backend from making everybody sick: a circuit breaker and a
//! retry budget, for adapters, peers and tasks alike. Pure: time comes in as
//! milliseconds. The bulkhead beside them is a plain semaphore of who calls.

use serde::{Deserialize, Serialize};

use super::Millis;

/// When a breaker opens and how long it stays so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerOptions {
    /// Failures in a row that open it; at least 1.
    pub failures: u32,
    /// First pause; doubles with each failed probe.
    pub pause_ms: i64,
    /// Longest pause.
    pub pause_max_ms: i64,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        BreakerOptions { failures: 5, pause_ms: 1_000, pause_max_ms: 60_000 }
    }
}

/// What a breaker does with the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// Calls are refused until the pause is over.
    Open,
    /// One call is on probation; all others are refused until it ends.
    HalfOpen,
}

impl BreakerState {
    /// Label on metrics.
    pub const fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// A circuit breaker over consecutive failures.
#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    state: BreakerState,
    failures: u32,
    /// The pause that ended or is running; 0 when the last call went well.
    pause_ms: i64,
    /// When `Open` ends, or when a probe that never reported is given up.
    until_ms: Millis,
}

/// The breaker does not let calls through now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the backend is given a rest for {wait_ms} ms more")]
pub struct Resting {
    pub wait_ms: i64,
}

impl Breaker {
    /// A closed breaker. A configuration of 0 failures counts as 1, a pause below
    /// 1 ms as 1 ms.
    pub fn new(options: BreakerOptions) -> Self {
        Breaker { options, state: BreakerState::Closed, failures: 0, pause_ms: 0, until_ms: 0 }
    }

    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// Asks for one call. `Ok` obliges the caller to report [`Breaker::succeeded`]
    /// or [`Breaker::failed`]; a probe that is never reported is given up after
    /// the longest pause.
    ///
    /// # Errors
    /// When the backend rests.
    pub fn admit(&mut self, now: Millis) -> Result<(), Resting> {
        match self.state {
            BreakerState::Closed => Ok(()),
            BreakerState::Open | BreakerState::HalfOpen if now < self.until_ms => {
                Err(Resting { wait_ms: self.until_ms - now })
            }
            BreakerState::Open | BreakerState::HalfOpen => {
                self.state = BreakerState::HalfOpen;
                self.until_ms = now.saturating_add(self.options.pause_max_ms.max(1));
                Ok(())
            }
        }
    }

    /// The backend answered, whatever it said.
    pub fn succeeded(&mut self) {
        self.state = BreakerState::Closed;
        self.failures = 0;
        self.pause_ms = 0;
    }

    /// The backend did not answer. A call that was admitted before the breaker
    /// opened does not lengthen the pause.
    pub fn failed(&mut self, now: Millis) {
        match self.state {
            BreakerState::Open => {}
            BreakerState::HalfOpen => self.open(now),
            BreakerState::Closed => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= self.options.failures.max(1) {
                    self.open(now);
                }
            }
        }
    }

    /// The call was admitted and never made, so nothing was learnt: a probe's place
    /// is free for the next.
    pub fn withdrawn(&mut self, now: Millis) {
        match self.state {
            BreakerState::HalfOpen => {
                self.state = BreakerState::Open;
                self.until_ms = now;
            }
            BreakerState::Closed | BreakerState::Open => {}
        }
    }

    fn open(&mut self, now: Millis) {
        let longest = self.options.pause_max_ms.max(1);
        let first = self.options.pause_ms.clamp(1, longest);
        self.pause_ms = if self.pause_ms == 0 { first } else { self.pause_ms.saturating_mul(2).min(longest) };
        self.state = BreakerState::Open;
        self.failures = 0;
        self.until_ms = now.saturating_add(self.pause_ms);
    }
}

/// A retry budget: each call pays in a share of a token, each retry takes a whole
/// one, so that retries never exceed that share of the calls for long.
#[derive(Debug)]
pub struct RetryBudget {
    percent: u32,
    /// Hundredths of a token.
    hundredths: u32,
}

/// Retries saved up at most: 10.
const SAVED_MAX: u32 = 10 * 100;

impl RetryBudget {
    /// Retries are `percent` of the calls. Starts with one retry, so that the first
    /// call of a quiet day may use it.
    pub fn of(percent: u32) -> Self {
        RetryBudget { percent, hundredths: 100 }
    }

    /// A first attempt was made.
    pub fn called(&mut self) {
        self.hundredths = (self.hundredths + self.percent).min(SAVED_MAX);
    }

    /// Takes a retry if one is left.
    pub fn take(&mut self) -> bool {
        let left = self.hundredths.checked_sub(100);
        self.hundredths = left.unwrap_or(self.hundredths);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn breaker() -> Breaker {
        Breaker::new(BreakerOptions { failures: 3, pause_ms: 100, pause_max_ms: 350 })
    }

    #[test]
    fn a_breaker_opens_after_failures_in_a_row_and_recovers_on_probation() {
        let mut breaker = breaker();
        for _ in 0..2 {
            breaker.failed(0);
        }
        breaker.succeeded();
        for _ in 0..2 {
            breaker.failed(0);
        }
        assert_eq!(breaker.state(), BreakerState::Closed, "a success between starts the count afresh");
        breaker.failed(0);
        assert_eq!(breaker.admit(99), Err(Resting { wait_ms: 1 }));
        assert_eq!(breaker.admit(100), Ok(()));
        assert!(breaker.admit(100).is_err(), "one probe at a time");
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn the_pause_doubles_up_to_its_bound() {
        let mut breaker = breaker();
        for _ in 0..3 {
            breaker.failed(0);
        }
        let mut now = 0;
        for pause in [100, 200, 350, 350] {
            assert_eq!(breaker.admit(now), Err(Resting { wait_ms: pause }));
            now += pause;
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.failed(now);
        }
    }

    #[test]
    fn a_probe_that_never_reports_does_not_shut_the_backend_off_for_ever() {
        let mut breaker = breaker();
        for _ in 0..3 {
            breaker.failed(0);
        }
        assert_eq!(breaker.admit(100), Ok(()));
        assert_eq!(breaker.admit(450), Ok(()));
    }

    proptest! {
        #[test]
        fn a_breaker_never_refuses_longer_than_its_longest_pause(
            steps in prop::collection::vec((0i64..500, any::<bool>()), 0..200),
        ) {
            let (mut breaker, mut now) = (breaker(), 0);
            for (wait, well) in steps {
                now += wait;
                match breaker.admit(now) {
                    Err(resting) => prop_assert!(resting.wait_ms > 0 && resting.wait_ms <= 350),
                    Ok(()) if well => breaker.succeeded(),
                    Ok(()) => breaker.failed(now),
                }
            }
            prop_assert_eq!(breaker.admit(now + 350), Ok(()));
        }

        #[test]
        fn retries_stay_within_their_share(calls in 0u32..1_000) {
            let (mut budget, mut retries) = (RetryBudget::of(20), 0);
            for _ in 0..calls {
                budget.called();
                retries += u32::from(budget.take());
            }
            prop_assert!(retries <= 1 + calls * 20 / 100);
        }
    }
}
