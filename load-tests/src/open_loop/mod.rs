//! An open-loop generator: what arrives, arrives when it is due, whether or not
//! what came before has been answered.
//!
//! A closed loop asks the next question when it has the last answer, so a server
//! that stalls is asked less while it stalls and its percentiles hide the stall
//! (coordinated omission). Here the [`Schedule`] is made ahead, from a seed, and a
//! latency counts from the instant a call was *due*. Calls under way are bounded;
//! a call that waits for a place waits on its own clock, and is counted as late.
//!
//! Not here: what a call is (`scenario`, `callers`) and what becomes of the figures
//! (`outcome`).

mod drive;
mod profile;
mod record;
mod schedule;

pub use drive::{Bounds, drive};
pub use profile::Profile;
pub use record::{Answer, Record};
pub use schedule::{Arrival, BadSchedule, Schedule, Spacing, Stream};

#[cfg(test)]
mod tests;
