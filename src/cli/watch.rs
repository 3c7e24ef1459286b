//! What runs beside a serving gateway: gauges of slow things, signals, reload.

use std::{fs, io::Read, path::PathBuf, sync::Arc, thread, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

use super::{
    clock_watch::ClockWatch,
    lines::Lines,
    load::{self, Fixed},
    options::StoreSection,
};
use crate::{
    gateway::Gateway,
    model::{Clock, Millis, TaskKind},
    net::TlsState,
    store::{self, EmbeddedStore, TaskTally},
    telemetry::metrics,
};

/// How often the gauges of slow things are set.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// How often closed segments are looked for.
const ARCHIVE_EVERY: Duration = Duration::from_secs(60);

/// Open tasks that are counted in the time between two settings of the gauges: the more
/// there are, the seldomer they are counted.
const TASKS_COUNTED: u64 = 10_000;

/// Sets the gauges until told to stop.
pub async fn gauges(gateway: Arc<Gateway>, clock: Arc<ClockWatch>, stop: CancellationToken) {
    let began = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(GAUGES_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                clock.look(gateway.now_ms(), began.elapsed(), gateway.store().committed_at_ms());
                set_gauges(&gateway).await;
            }
        }
    }
}

/// Counts the open tasks until told to stop.
pub async fn tasks(gateway: Arc<Gateway>, stop: CancellationToken) {
    loop {
        let counted = count_tasks(&gateway).await;
        let rests = u32::try_from(counted / TASKS_COUNTED).unwrap_or(u32::MAX).saturating_add(1);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(GAUGES_EVERY.saturating_mul(rests)) => {}
        }
    }
}

/// Reads the ledger's sum now and then until told to stop. `every` is by what it
/// costs: an embedded store keeps it, a database sums every posting.
pub async fn ledger(gateway: Arc<Gateway>, every: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => set_ledger_sum(&gateway).await,
        }
    }
}

/// Moves closed segments to the archive until told to stop. What cannot be moved is
/// tried again.
pub async fn archive(section: StoreSection, stop: CancellationToken) {
    let Some(to) = section.archive_dir else { return };
    let mut ticks = tokio::time::interval(ARCHIVE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let (journal, to) = (section.dir.join("journal"), to.clone());
        let moving = move || store::archive(&journal, &to, section.archive_keep_segments);
        match tokio::task::spawn_blocking(moving).await {
            Ok(Ok(report)) if report.segments > 0 => {
                tracing::info!(
                    segments = report.segments,
                    bytes = report.packed_bytes,
                    "segments were archived"
                );
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "segments cannot be archived"),
            Err(_) => return,
        }
    }
}

/// In the store's folder: when terms were last looked at, milliseconds since 1970.
const RETAINED: &str = "retained";

/// How often it is looked whether a run is due.
const RETAIN_LOOKED_EVERY: Duration = Duration::from_secs(3_600);

/// Drops what is past its term every so many days until told to stop, also over
/// restarts.
pub async fn retain(
    store: Arc<EmbeddedStore>,
    section: StoreSection,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let Some(retention) = section.retention else { return };
    // It was checked with the configuration.
    let Ok(terms) = retention.terms() else { return };
    let every_ms = i64::from(retention.every_days) * 24 * 3_600 * 1_000;
    let note = section.dir.join(RETAINED);
    let mut ticks = tokio::time::interval(RETAIN_LOOKED_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = clock.now_ms();
        let last = fs::read_to_string(&note).ok().and_then(|text| text.trim().parse::<i64>().ok());
        // A note from the future is of a clock that was wrong.
        if last.is_some_and(|last| (0..every_ms).contains(&(now - last))) {
            continue;
        }
        let (store, terms) = (Arc::clone(&store), terms.clone());
        match tokio::task::spawn_blocking(move || store.retain(&terms, now)).await {
            Ok(Ok(report)) => {
                metrics::retention_ran(report.dropped, report.kept, now);
                tracing::info!(
                    dropped = report.dropped,
                    bytes = report.bytes,
                    kept = report.kept,
                    segments = report.segments_replaced,
                    "terms of retention were looked at"
                );
                if let Err(error) = fs::write(&note, now.to_string()) {
                    tracing::warn!(%error, "the time of the run cannot be noted; it is run again");
                }
            }
            Ok(Err(error)) => tracing::error!(%error, "what is past its term cannot be dropped"),
            Err(_) => return,
        }
    }
}

async fn set_ledger_sum(gateway: &Gateway) {
    match gateway.store().ledger_totals().await {
        Ok(totals) => {
            let sum_fen = totals.sum_fen();
            if sum_fen != 0 {
                tracing::error!(%sum_fen, "the ledger does not sum to zero");
            }
            metrics::ledger_sum(sum_fen);
        }
        Err(error) => tracing::warn!(%error, "the ledger's sum cannot be read"),
    }
}

async fn set_gauges(gateway: &Gateway) {
    let now = gateway.now_ms();
    if let Err(refusal) = gateway.refresh_deny_list().await {
        tracing::warn!(reason = refusal.reason.code(), "the deny list cannot be read back");
    }
    let live = gateway.live();
    for member in live.trust.members() {
        let (version, heard) = gateway.deny_list_heard(member.region);
        let heard = if member.region == gateway.province() { Some(now) } else { heard };
        metrics::deny_list(member.region, version, heard.map_or(Duration::MAX, |since| age(since, now)));
    }
}

/// Sets the gauges of open tasks; answers with how many there are.
async fn count_tasks(gateway: &Gateway) -> u64 {
    let tallies = match gateway.store().open_tasks().await {
        Ok(tallies) => tallies,
        Err(error) => {
            tracing::warn!(%error, "open tasks cannot be counted");
            return 0;
        }
    };
    let now = gateway.now_ms();
    let open = |kind| tally(tallies.iter().filter(|tally| tally.kind.known() == kind), now);
    let pending = tally(tallies.iter().filter(|tally| tally.kind.known().is_some_and(settles)), now);
    metrics::pending_transactions(pending.waiting + pending.stuck, pending.oldest);
    for kind in TaskKind::ALL.iter().copied().map(Some).chain([None]) {
        metrics::open_tasks(kind, open(kind));
    }
    tallies.iter().map(|tally| tally.waiting + tally.stuck).sum()
}

/// Whether a kind's open tasks are transactions of unknown outcome: each has its one
/// task, due now or later, or stuck.
const fn settles(kind: TaskKind) -> bool {
    match kind {
        TaskKind::LibraryInquire | TaskKind::MedicalSettle => true,
        TaskKind::LibraryByHand | TaskKind::PaymentExpire | TaskKind::FederationSettleCode => false,
    }
}

/// What the gauge of a kind shows; kinds of another version are one.
fn tally<'a>(tallies: impl Iterator<Item = &'a TaskTally>, now: Millis) -> metrics::OpenTasks {
    tallies.fold(metrics::OpenTasks::default(), |open, tally| metrics::OpenTasks {
        waiting: open.waiting + tally.waiting,
        stuck: open.stuck + tally.stuck,
        oldest: open.oldest.max(age(tally.oldest_asked_at_ms, now)),
        tries: open.tries.max(tally.tries_max),
    })
}

fn age(since: Millis, now: Millis) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(since)).unwrap_or(0))
}

/// What a reload changes.
pub struct Reloads {
    pub folder: PathBuf,
    /// What this process was started with; stays so however often is reloaded.
    pub fixed: Fixed,
    pub lines: Lines,
    pub terminals_tls: Arc<TlsState>,
    pub peers_tls: Arc<TlsState>,
}

impl Reloads {
    /// Reads everything again. What is wrong is not taken, and what was in force
    /// stays: configuration and certificates each as a whole. What only a restart
    /// can change is named.
    fn reload(&self) {
        match self.reloaded() {
            Ok(()) => tracing::info!("the configuration was reloaded"),
            Err(wrong) => tracing::error!(wrong = format!("{wrong:#}"), "the configuration was not reloaded"),
        }
        for (which, tls) in [("terminals", &self.terminals_tls), ("peers", &self.peers_tls)] {
            match tls.reload() {
                Ok(()) => tracing::info!(which, generation = tls.generation(), "certificates were reloaded"),
                Err(error) => tracing::error!(which, %error, "certificates were not reloaded"),
            }
        }
    }

    fn reloaded(&self) -> anyhow::Result<()> {
        let loaded = load::load(&self.folder)?;
        let wanted = self.lines.prepare(&loaded)?;
        for change in self.fixed.needs_restart(&Fixed::of(&loaded)?)? {
            tracing::warn!(%change, "needs a restart / 需重启");
        }
        self.lines.take(loaded, wanted);
        Ok(())
    }
}

/// Returns when the process is told to stop: SIGTERM, SIGINT, or a closed
/// standard input where a parent asked for it. Reloads on SIGHUP meanwhile.
///
/// # Errors
/// When signals cannot be listened for, or no thread can be started.
pub async fn until_told(stop_with_stdin: bool, reloads: &Reloads) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    // The sender that is kept never speaks: without a parent, nobody closes us.
    let (_nobody, mut closed) = oneshot::channel();
    if stop_with_stdin {
        closed = when_closed(std::io::stdin())?;
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            // A parent stops us itself; its terminal interrupts both at once.
            _ = interrupt.recv() => if !stop_with_stdin { return Ok(()) },
            _ = hang_up.recv() => reloads.reload(),
            _ = &mut closed => return Ok(()),
        }
    }
}

/// Completes, with an error, when `input` is at its end or cannot be read.
///
/// A read of a pipe cannot be given up, and the runtime waits for its blocking
/// calls when it ends; so the read has a thread of its own, which the end of the
/// process takes along.
fn when_closed(mut input: impl Read + Send + 'static) -> std::io::Result<oneshot::Receiver<()>> {
    let (open, closed) = oneshot::channel();
    thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut bytes = [0; 64];
        while input.read(&mut bytes).is_ok_and(|read| read > 0) {}
        drop(open);
    })?;
    Ok(closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_input_neither_stops_the_process_nor_keeps_it_alive() {
        let (input, mut parent) = std::io::pipe().expect("a pipe");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut closed = when_closed(input).expect("a thread");
            std::io::Write::write_all(&mut parent, b"x").expect("written");
            let waited = tokio::time::timeout(Duration::from_millis(50), &mut closed).await;
            assert!(waited.is_err(), "it is still open");
        });
        // Would not return while a blocking task of the runtime still reads.
        drop(runtime);
        drop(parent);
    }

    #[test]
    fn every_kind_that_settles_a_pending_transaction_is_counted() {
        let counted: Vec<_> =
            TaskKind::ALL.iter().filter(|kind| settles(**kind)).map(|kind| kind.name()).collect();
        assert_eq!(counted, ["library.inquire", "medical.settle"]);
    }

    #[tokio::test]
    async fn a_closed_input_is_told() {
        let (input, parent) = std::io::pipe().expect("a pipe");
        let closed = when_closed(input).expect("a thread");
        drop(parent);
        let told = tokio::time::timeout(Duration::from_secs(10), closed).await;
        assert!(told.expect("told in time").is_err());
    }
}
