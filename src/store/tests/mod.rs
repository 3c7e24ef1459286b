//! The promises of the embedded store, each with a test that can fail.

mod durable;
mod entries;
mod once;
mod reads;
mod support;
mod tampered;
