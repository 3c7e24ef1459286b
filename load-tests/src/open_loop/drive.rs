//! Sends what is due when it is due.

use std::{
    future::Future,
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use super::{Answer, Arrival, Record, Schedule, record::Seen};

/// From starting the driver to the first instant of the schedule: so that threads
/// are up when the first call is due.
const LEAD: Duration = Duration::from_millis(20);

/// Arrivals that are due and not yet looked at. When it is full the pacer waits;
/// what is due keeps the instant it was due at.
const DUE_QUEUE: usize = 4_096;

/// What a run may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Calls under way at once; further ones wait, and their wait is latency.
    pub in_flight: NonZeroUsize,
    /// How long the last calls are waited for after the last was due.
    pub drain: Duration,
}

/// Calls `call` for every arrival when it is due, and records what came of it: one
/// record an operation, of which there are `operations`.
///
/// # Errors
/// When calls are still unanswered after the drain, or a task of ours panics.
pub async fn drive<Call, Doing>(
    schedule: Arc<Schedule>,
    operations: usize,
    bounds: Bounds,
    call: Call,
) -> anyhow::Result<Vec<Record>>
where
    Call: Fn(Arrival) -> Doing + Send + 'static,
    Doing: Future<Output = Answer> + Send + 'static,
{
    let started = Instant::now() + LEAD;
    let last = schedule.length();
    let mut due = paced(Arc::clone(&schedule), started);
    let places = Arc::new(Semaphore::new(bounds.in_flight.get()));
    let mut under_way = JoinSet::new();
    let mut records: Vec<Record> =
        (0..operations).map(|_| Record::new(last.as_secs() as usize + 1)).collect();
    let mut add = |(arrival, seen, answer): (Arrival, Seen, Answer)| {
        records[arrival.operation].add(seen, answer);
    };
    while let Some(arrival) = due.recv().await {
        while let Some(ended) = under_way.try_join_next() {
            add(ended.context("a call of the load ended in a panic")?);
        }
        let place = Arc::clone(&places).acquire_owned().await?;
        let sent = started.elapsed();
        let doing = call(arrival);
        under_way.spawn(async move {
            let answer = doing.await;
            let answered = started.elapsed();
            drop(place);
            (arrival, Seen { due: arrival.at, sent, answered }, answer)
        });
    }
    let patience = tokio::time::Instant::from_std(started.max(Instant::now()) + bounds.drain);
    loop {
        match tokio::time::timeout_at(patience, under_way.join_next()).await {
            Ok(Some(ended)) => add(ended.context("a call of the load ended in a panic")?),
            Ok(None) => return Ok(records),
            Err(_) => anyhow::bail!(
                "{} calls are unanswered {} s after the last was due",
                under_way.len(),
                bounds.drain.as_secs()
            ),
        }
    }
}

/// A thread that gives each arrival when it is due. The runtime's own timer counts
/// in milliseconds, which is as long as a call takes; a parked thread wakes within
/// some tens of microseconds.
fn paced(schedule: Arc<Schedule>, started: Instant) -> mpsc::Receiver<Arrival> {
    let (give, take) = mpsc::channel(DUE_QUEUE);
    thread::spawn(move || {
        for arrival in schedule.arrivals() {
            let at = started + arrival.at;
            // Parking may end early, so the clock has the last word.
            while let Some(left) = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                thread::park_timeout(left);
            }
            if give.blocking_send(*arrival).is_err() {
                return;
            }
        }
    });
    take
}
