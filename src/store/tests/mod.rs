//! The promises of the embedded store, each with a test that can fail.

mod durable;
mod once;
mod reads;
mod support;
mod tampered;
