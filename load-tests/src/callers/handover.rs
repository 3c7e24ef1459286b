//! From a call to the one that follows it: the rider from entry to exit, the code
//! from the phone to the scanner.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// A place for each arrival of a stream.
#[derive(Debug)]
pub struct Handover<T>(Vec<Slot<T>>);

#[derive(Debug)]
struct Slot<T> {
    thing: Mutex<Option<T>>,
    given: Notify,
}

impl<T> Handover<T> {
    /// Places for `count` arrivals.
    pub fn new(count: usize) -> Self {
        Handover((0..count).map(|_| Slot { thing: Mutex::new(None), given: Notify::new() }).collect())
    }

    /// Leaves something for the follower of arrival `nth`.
    pub fn give(&self, nth: u32, thing: T) {
        let slot = &self.0[nth as usize];
        *slot.thing.lock().unwrap_or_else(PoisonError::into_inner) = Some(thing);
        slot.given.notify_one();
    }

    /// Waits for it. Only one follower may.
    pub async fn take(&self, nth: u32) -> T {
        let slot = &self.0[nth as usize];
        loop {
            if let Some(thing) = slot.thing.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return thing;
            }
            slot.given.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn a_follower_gets_what_its_own_first_left_whoever_comes_first() {
        let handover = Arc::new(Handover::new(2));
        handover.give(1, "early");
        let follower = |nth| {
            let handover = Arc::clone(&handover);
            tokio::time::timeout(Duration::from_secs(5), async move { handover.take(nth).await })
        };
        let waiting = tokio::spawn(follower(0));
        assert_eq!(follower(1).await.expect("it was there"), "early");
        handover.give(0, "late");
        assert_eq!(waiting.await.expect("no panic").expect("woken"), "late");
    }
}
