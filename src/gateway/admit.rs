//! Admission: what is let in while the gateway is full. The more urgent a method,
//! the later it is shed; gates and loss reports keep the last part of the room
//! to themselves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::refusal::{Refusal, RefusalKind};
use crate::{
    limits,
    model::{Rank, Reason},
    telemetry::metrics,
};

/// Counts calls under way.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    in_flight: Arc<AtomicUsize>,
}

/// A place in the gateway; given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    /// Lets a call in, or sheds it with a hint when to come back.
    ///
    /// # Errors
    /// `Overloaded` when the share of the room that the rank may use is full.
    pub fn enter(&self, rank: Rank) -> Result<Permit, Refusal> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(Arc::clone(&self.in_flight));
        if before < room_of(rank) {
            return Ok(permit);
        }
        metrics::shed(rank);
        Err(Refusal::later(RefusalKind::Exhausted, Reason::Overloaded, wait_of(rank)))
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// Calls that may be under way when one of this rank still enters.
const fn room_of(rank: Rank) -> usize {
    let all = limits::CALLS_IN_FLIGHT_MAX;
    match rank {
        Rank::Background => all / 4,
        Rank::Normal => all / 2,
        Rank::High => all * 3 / 4,
        Rank::Critical => all,
    }
}

/// The less urgent, the longer the wait, so that those who come back do not meet.
const fn wait_of(rank: Rank) -> Duration {
    match rank {
        Rank::Background => Duration::from_secs(5),
        Rank::Normal => Duration::from_secs(1),
        Rank::High => Duration::from_millis(300),
        Rank::Critical => Duration::from_millis(100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urgent_enter_when_the_rest_is_shed() {
        let admission = Admission::default();
        let mut held = Vec::new();
        for _ in 0..room_of(Rank::Normal) {
            held.push(admission.enter(Rank::Normal).expect("room"));
        }
        assert!(admission.enter(Rank::Background).is_err());
        let shed = admission.enter(Rank::Normal).expect_err("full for its rank");
        assert_eq!(shed.reason, Reason::Overloaded);
        assert!(shed.retry_after.is_some());
        held.push(admission.enter(Rank::Critical).expect("gates still enter"));
        held.clear();
        assert_eq!(admission.in_flight(), 0);
        assert!(admission.enter(Rank::Background).is_ok());
    }
}
