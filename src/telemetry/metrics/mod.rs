//! Every metric of the product as a named function, so that logic holds no
//! strings. Label values are closed enums or names from the registry, bounded;
//! never a card, a terminal or a person.
//!
//! Call [`install`] before anything else here: a handle is resolved once, at its
//! first use, and stays without effect if nothing was installed then. Where
//! nothing is installed (tests, tools) everything costs a few nanoseconds and
//! does nothing.

mod catalogue;
mod edge;
mod gateway;
mod install;
mod labels;
mod outside;
mod requests;
mod store;

pub use edge::{
    ConnectionRefusal, accept_failed, connection_closed, connection_opened, connection_refused,
    connections_closed_by_reload, handshake_done, request_refused, revocation_lists_expire,
    server_certificate_expires, tls_reload,
};
pub use gateway::{
    GuessLimit, OpenTasks, TaskEnd, envelope_refused, envelope_sent_back, guess_limited, open_tasks, refused,
    swept, task_run,
};
pub use install::{InstallError, install};
pub use outside::{
    Breaker, CallOutcome, adapter_breaker, adapter_called, deny_list, deny_list_begun, deny_list_dropped,
    deny_list_taken_up, deny_list_untold, medical_sums_broken, peer_breaker, peer_called,
};
pub use requests::{MethodMetrics, RequestOutcome, RequestRefusal, shed};
pub use store::{
    ClockAgainst, clock_off, commit_batch, index_lag, ledger_fold_failed, ledger_folded, ledger_sum,
    pending_transactions, retention_ran, sign_queue,
};
