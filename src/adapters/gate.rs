//! What stands before every call to a backend: its breaker and its retry budget.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Observer;
use crate::{
    limits,
    model::{Breaker, BreakerOptions, BreakerState, Clock, Resting, RetryBudget},
};

/// The gate of one backend.
pub(super) struct Gate {
    /// Code of the backend in the configuration.
    name: String,
    breaker: Mutex<Breaker>,
    budget: Mutex<RetryBudget>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
}

/// What a call that was let through says of the backend's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    Sick,
    /// The call proves nothing either way.
    Unclear,
}

impl Gate {
    pub(super) fn new(
        name: impl Into<String>,
        options: BreakerOptions,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let budget = Mutex::new(RetryBudget::of(limits::RETRY_BUDGET_PERCENT));
        Gate { name: name.into(), breaker: Mutex::new(Breaker::new(options)), budget, clock, observer }
    }

    /// Lets a call through, and counts it for the retry budget.
    ///
    /// # Errors
    /// While the backend is given a rest.
    pub(super) fn admit(&self) -> Result<Pass<'_>, Resting> {
        self.tell(|breaker| breaker.admit(self.clock.now_ms()))?;
        lock(&self.budget).called();
        Ok(Pass { gate: self, reported: false })
    }

    /// Whether one repetition is paid for.
    pub(super) fn may_repeat(&self) -> bool {
        lock(&self.budget).take()
    }

    pub(super) fn state(&self) -> BreakerState {
        lock(&self.breaker).state()
    }

    /// Changes the breaker and tells the observer when its state changed.
    fn tell<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let (before, after, answer) = {
            let mut breaker = lock(&self.breaker);
            let before = breaker.state();
            let answer = change(&mut breaker);
            (before, breaker.state(), answer)
        };
        if before != after {
            self.observer.breaker(&self.name, after);
        }
        answer
    }
}

/// A call the breaker let through. Dropped without a report (the caller went
/// away) it gives a probe's place back.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    reported: bool,
}

impl Pass<'_> {
    pub(super) fn report(mut self, health: Health) {
        self.reported = true;
        let now = self.gate.clock.now_ms();
        self.gate.tell(|breaker| match health {
            Health::Well => breaker.succeeded(),
            Health::Sick => breaker.failed(now),
            Health::Unclear => breaker.withdrawn(now),
        });
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.reported {
            let now = self.gate.clock.now_ms();
            self.gate.tell(|breaker| breaker.withdrawn(now));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
