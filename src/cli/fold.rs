//! The ledger's sum in full: beside a serving gateway the whole journal is read now and
//! then, slowly, and every posting summed anew. What is kept as running totals is held
//! against this by whoever watches the metrics.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    ledger::Whole,
    model::{Clock, Millis},
    store::read_entries,
    telemetry::metrics,
};

/// How often the whole is summed.
const EVERY: Duration = Duration::from_secs(6 * 3_600);

/// After so many entries the reader rests for so many times as long as it worked: a
/// twentieth of a core, however slow the machine or large the entries, leaves the
/// processor to who answers.
const ENTRIES_AT_A_TIME: u64 = 1_000;
const RESTS: u32 = 19;

/// Sums the journal in `folder` at once and from then on every few hours, until told
/// to stop.
pub async fn in_full(folder: PathBuf, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let (folder, told) = (folder.clone(), stop.clone());
        match tokio::task::spawn_blocking(move || fold(&folder, &told)).await {
            Ok(Ok(whole)) => tell(&whole, clock.now_ms()),
            Ok(Err(_)) if stop.is_cancelled() => return,
            Ok(Err(error)) => {
                metrics::ledger_fold_failed();
                tracing::error!(%error, "the journal cannot be summed");
            }
            Err(error) => {
                metrics::ledger_fold_failed();
                tracing::error!(%error, "the sum of the journal was given up");
            }
        }
    }
}

fn fold(folder: &Path, stop: &CancellationToken) -> Result<Whole, crate::store::Broken> {
    let mut whole = Whole::default();
    let mut entries = 0_u64;
    let mut began = Instant::now();
    read_entries(folder, &mut |entry| {
        whole.add(&entry);
        entries += 1;
        if entries.is_multiple_of(ENTRIES_AT_A_TIME) {
            thread::park_timeout(began.elapsed() * RESTS);
            began = Instant::now();
        }
        if stop.is_cancelled() { Err("the gateway stops".to_owned()) } else { Ok(()) }
    })?;
    Ok(whole)
}

fn tell(whole: &Whole, at_ms: Millis) {
    metrics::ledger_folded(whole.sum_fen, whole.postings, at_ms);
    if let Some(transaction) = &whole.unbalanced {
        let transaction = hex::encode(transaction);
        tracing::error!(sum_fen = %whole.sum_fen, %transaction, "postings of the journal do not sum to zero");
    } else {
        tracing::info!(postings = whole.postings, "every posting of the journal was summed: zero");
    }
}
