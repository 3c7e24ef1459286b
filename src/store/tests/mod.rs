//! The promises of the embedded store, each with a test that can fail.

mod durable;
mod entries;
mod once;
mod reads;
pub(super) mod support;
mod tampered;
