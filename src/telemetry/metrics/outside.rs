//! Calls to backends and to peers, their breakers, the deny lists of others.
//! A call out takes at least tens of microseconds, so handles are looked up in
//! the recorder each time.

use std::time::Duration;

use metrics::{SharedString, counter, gauge, histogram};

use super::{catalogue as name, labels::label};

label! {
    /// How a call to a backend or a peer ended.
    CallOutcome {
        /// It answered, whatever it said.
        Answered = "answered",
        /// It certainly did nothing: refused, or never sent.
        Failed = "failed",
        /// Nobody knows.
        Unknown = "unknown",
        /// Our own breaker or bulkhead kept it.
        NotSent = "not-sent",
    }
}

label! {
    /// State of a circuit breaker, also its number on the gauge.
    Breaker {
        Closed = "closed",
        Probing = "probing",
        Open = "open",
    }
}

/// A call of an adapter ended. `adapter` is a name from the configuration.
pub fn adapter_called(adapter: &str, outcome: CallOutcome, took: Duration) {
    let adapter = SharedString::from(adapter.to_owned());
    counter!(name::ADAPTER_CALLS, "adapter" => adapter.clone(), "outcome" => outcome.name()).increment(1);
    histogram!(name::ADAPTER_CALL_SECONDS, "adapter" => adapter).record(took.as_secs_f64());
}

/// An adapter's breaker changed.
pub fn adapter_breaker(adapter: &str, state: Breaker) {
    gauge!(name::ADAPTER_BREAKER, "adapter" => adapter.to_owned()).set(f64::from(state as u8));
}

/// An insurer's answer had amounts that do not add up. `identity` is one of a few names.
pub fn medical_sums_broken(identity: &str) {
    counter!(name::MEDICAL_SUMS_BROKEN, "identity" => identity.to_owned()).increment(1);
}

/// A call to a peer region ended. `province` is its six-digit code.
pub fn peer_called(province: u32, outcome: CallOutcome, took: Duration) {
    let peer = SharedString::from(format!("{province:06}"));
    counter!(name::PEER_CALLS, "peer" => peer.clone(), "outcome" => outcome.name()).increment(1);
    histogram!(name::PEER_CALL_SECONDS, "peer" => peer).record(took.as_secs_f64());
}

/// A peer's breaker changed.
pub fn peer_breaker(province: u32, state: Breaker) {
    gauge!(name::PEER_BREAKER, "peer" => format!("{province:06}")).set(f64::from(state as u8));
}

/// A region has begun its deny list anew; our own too.
pub fn deny_list_begun(province: u32) {
    counter!(name::DENY_LIST_BEGUN, "region" => format!("{province:06}")).increment(1);
}

/// A loss that our store had lost was taken up again on a peer's word.
pub fn deny_list_taken_up(told_by: u32) {
    counter!(name::DENY_LIST_TAKEN_UP, "told_by" => format!("{told_by:06}")).increment(1);
}

/// A peer told denials of our cards in a state that no home denies a card for.
pub fn deny_list_dropped(told_by: u32, facts: u64) {
    counter!(name::DENY_LIST_DROPPED, "told_by" => format!("{told_by:06}")).increment(facts);
}

/// Whether a peer has yet to tell what it knows of our deny list since that was
/// begun anew.
pub fn deny_list_untold(peer: u32, untold: bool) {
    gauge!(name::DENY_LIST_UNTOLD, "peer" => format!("{peer:06}")).set(f64::from(u8::from(untold)));
}

/// The deny list held of a region: its version, and how long ago that region
/// was last heard to have nothing newer.
pub fn deny_list(province: u32, version: u64, age: Duration) {
    let region = SharedString::from(format!("{province:06}"));
    gauge!(name::DENY_LIST_VERSION, "region" => region.clone()).set(version as f64);
    gauge!(name::DENY_LIST_AGE_SECONDS, "region" => region).set(age.as_secs_f64());
}
