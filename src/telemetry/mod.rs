//! What the gateway tells its operators: metrics, log lines, trace context.
//!
//! Serving them over HTTP is `net`'s. No rule of the product lives here, and no
//! line or label that leaves here carries a card, a name or a document number:
//! label sets are closed, and [`redact`] masks what slips into a log line.

pub mod limited;
pub mod logs;
pub mod metrics;
pub mod redact;
pub mod trace;
