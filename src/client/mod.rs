//! The terminal library: what a vendor links, or reads before writing the same
//! in another language. It keeps the promises a terminal must keep: a request
//! id is made before it is sent, a retry repeats the request unchanged, a
//! receipt is checked before it is believed, a tap taken without a line is on
//! disk before the gate opens.
//!
//! Not here: card readers and chips (the vendor's, or `sandbox`), rules of any
//! scene, keys of any region. The library trusts nothing but its certificates
//! and the journal key it was given.

mod answered;
mod calls;
mod error;
mod options;
mod queue;
mod receipt;
mod retry;
mod stream;
mod terminal;

pub use answered::Answered;
pub use calls::TransactionKey;
pub use error::{CallError, FieldViolation};
pub use options::{OptionsError, TerminalOptions};
pub use queue::{OfflineQueue, QueueError, UploadError};
pub use receipt::{BadJournalKey, CheckedReceipt, JournalKey, ReceiptRefused, check_answer, check_receipt};
pub use retry::RetryPolicy;
pub use stream::TapStream;
pub use terminal::Terminal;

#[cfg(test)]
mod tests;
