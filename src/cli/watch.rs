//! What runs beside a serving gateway: gauges of slow things, signals, reload.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::load;
use crate::{gateway::Gateway, net::TlsState, telemetry::metrics};

/// How often the gauges of slow things are set.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// Pending transactions that are looked at for their age.
const PENDING_LOOKED_AT: usize = 10_000;

/// Sets the gauges until told to stop.
pub async fn gauges(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(GAUGES_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => set_gauges(&gateway),
        }
    }
}

fn set_gauges(gateway: &Gateway) {
    let now = gateway.now_ms();
    let age = |since: i64| Duration::from_millis(u64::try_from(now - since).unwrap_or(0));
    // Every pending transaction has a task, due now or later.
    match gateway.store().due_tasks(i64::MAX, PENDING_LOOKED_AT) {
        Ok(tasks) => {
            let oldest =
                tasks.iter().map(|task| task.transaction.made_at_ms()).min().map_or(Duration::ZERO, age);
            metrics::pending_transactions(tasks.len(), oldest);
        }
        Err(error) => tracing::warn!(%error, "pending transactions cannot be counted"),
    }
    if let Err(refusal) = gateway.refresh_deny_list() {
        tracing::warn!(reason = refusal.reason.code(), "the deny list cannot be read back");
    }
    let live = gateway.live();
    for member in live.trust.members() {
        let (version, heard) = gateway.deny_list_heard(member.region);
        let heard = if member.region == gateway.province() { Some(now) } else { heard };
        metrics::deny_list(member.region, version, heard.map_or(Duration::MAX, age));
    }
}

/// What a reload changes.
pub struct Reloads {
    pub folder: PathBuf,
    pub gateway: Arc<Gateway>,
    pub terminals_tls: Arc<TlsState>,
    pub peers_tls: Arc<TlsState>,
}

impl Reloads {
    /// Reads everything again. What is wrong is not taken, and what was in force
    /// stays: configuration and certificates each as a whole.
    fn reload(&self) {
        match load::load(&self.folder) {
            Ok(loaded) => {
                self.gateway.replace_live(loaded.live);
                tracing::info!("the configuration was reloaded");
            }
            Err(wrong) => tracing::error!(%wrong, "the configuration was not reloaded"),
        }
        for (which, tls) in [("terminals", &self.terminals_tls), ("peers", &self.peers_tls)] {
            match tls.reload() {
                Ok(()) => tracing::info!(which, generation = tls.generation(), "certificates were reloaded"),
                Err(error) => tracing::error!(which, %error, "certificates were not reloaded"),
            }
        }
    }
}

/// Returns when the process is told to stop: SIGTERM, SIGINT, or a closed
/// standard input where a parent asked for it. Reloads on SIGHUP meanwhile.
///
/// # Errors
/// When signals cannot be listened for.
pub async fn until_told(stop_with_stdin: bool, reloads: &Reloads) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut input = tokio::io::stdin();
    let mut byte = [0; 64];
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            // A parent stops us itself; its terminal interrupts both at once.
            _ = interrupt.recv() => if !stop_with_stdin { return Ok(()) },
            _ = hang_up.recv() => reloads.reload(),
            read = input.read(&mut byte), if stop_with_stdin => match read {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => {}
            },
        }
    }
}
