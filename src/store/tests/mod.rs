//! The promises of the embedded store, each with a test that can fail.

mod archive;
mod backup;
mod checkpoints;
mod durable;
mod entries;
mod faults;
mod later;
mod offline;
mod once;
mod reads;
mod retain;
pub(super) mod support;
mod tampered;
mod tasks;
