//! The promises of a whole town, over the wire: three regions as processes of the
//! real program, terminals and peers as clients with certificates. A module a
//! promise; the names of the tests are the promises.
//!
//! Most tests share one town ([`support::on_the_town`]); those that kill, reload or
//! count what is on disk have one of their own. Nothing here waits for a time to
//! pass: tests wait for conditions.

mod bad_input;
mod configured;
#[cfg(feature = "fault-points")]
mod crash_points;
mod drained;
mod durable;
mod edge;
mod erased;
mod flooded;
mod kept_small;
mod little_told;
mod lost;
mod measured;
mod medical;
mod money;
mod nobody_let_in;
mod once;
mod peers;
mod proven;
mod python;
mod reconcile;
mod support;
mod tasks;
mod unknown;
mod uploaded;
