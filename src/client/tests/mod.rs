//! The library against a gateway of a few lines that follows a script, over real
//! TLS; receipts from trees made by hand; queues that lose their process.

mod queue;
mod receipt;
mod town;
mod wire;
