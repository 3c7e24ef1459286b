//! Taps at half of the greatest speed, as they come and not as they are answered:
//! what a gate waits for while the machine is not full, held against what one
//! durable write takes on the same disk.
//!
//! The loop is open: a tap is due when the schedule says so, and its latency counts
//! from then (see [`crate::open_loop`]).

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;

use super::drive::{Shape, approved};
use crate::{
    line::{Identity, Line},
    open_loop::{Answer, Bounds, Profile, Record, Schedule, Spacing, Stream, drive},
    riders::{Magazine, Way},
};

/// Arrivals come as people do, in an order that follows from this.
const SEED: u64 = 0x0a1f;

/// How long the last answers are waited for.
const DRAIN: Duration = Duration::from_secs(10);

/// The stretch at half speed.
#[derive(Debug)]
pub struct HalfLoad {
    /// Taps due a second.
    pub per_second: f64,
    pub record: Record,
}

/// So many taps are made at once when a magazine is empty.
const REFILL: usize = 64;

/// A connection's share of it: the cards of a magazine tap one after another, so that
/// none taps before its last tap was answered.
struct Gate {
    line: Line,
    magazine: Magazine,
}

impl Gate {
    async fn tap(&mut self) -> Answer {
        let frame = loop {
            if let Some(frame) = self.magazine.take() {
                break frame;
            }
            self.magazine.fill(REFILL, Way::Alone);
        };
        match self.line.tap(frame).await.map(|answer: Bytes| approved(answer, Way::Alone)) {
            Ok(Ok(())) => Answer::Approved,
            Ok(Err(reason)) => Answer::Declined(reason),
            Err(error) => Answer::Failed(error.to_string()),
        }
    }
}

impl HalfLoad {
    /// Taps so often for so long, as many at once as there are magazines. They come
    /// back with what was not sent.
    ///
    /// # Errors
    /// When the gateway cannot be reached or does not answer.
    pub async fn measure(
        at: std::net::SocketAddr,
        identity: &Identity,
        shape: Shape,
        magazines: Vec<Magazine>,
        per_second: f64,
        length: Duration,
    ) -> anyhow::Result<(Self, Vec<Magazine>)> {
        let mut lines = Vec::with_capacity(shape.connections);
        for _ in 0..shape.connections {
            lines.push(Line::connect(at, identity).await?);
        }
        let in_flight = NonZeroUsize::new(magazines.len()).context("somebody must tap")?;
        let gates = magazines
            .into_iter()
            .enumerate()
            .map(|(at, magazine)| Gate { line: lines[at % lines.len()].clone(), magazine });
        let idle = Arc::new(Mutex::new(gates.collect::<VecDeque<_>>()));
        let profile = Profile::flat(per_second, length);
        let stream = Stream { operation: 0, profile, spacing: Spacing::Poisson };
        let schedule = Arc::new(Schedule::of(&[stream], SEED)?);
        let ours = Arc::clone(&idle);
        let call = move |_| {
            let idle = Arc::clone(&ours);
            async move {
                // A popped guard must not be held over the call.
                let gate = idle.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(mut gate) = gate else {
                    return Answer::Failed("more calls are under way than were let in".to_owned());
                };
                let answer = gate.tap().await;
                idle.lock().unwrap_or_else(PoisonError::into_inner).push_back(gate);
                answer
            }
        };
        let records = drive(schedule, 1, Bounds { in_flight, drain: DRAIN }, call).await?;
        let record = records.into_iter().next().context("one operation was asked for")?;
        let gates = std::mem::take(&mut *idle.lock().unwrap_or_else(PoisonError::into_inner));
        let magazines = gates.into_iter().map(|gate| gate.magazine).collect();
        Ok((HalfLoad { per_second, record }, magazines))
    }

    /// The latency that 99 of 100 taps did not exceed, milliseconds.
    #[allow(clippy::cast_precision_loss, reason = "microseconds of a call are far below 2^53")]
    pub fn p99_ms(&self) -> f64 {
        self.record.latency.value_at_quantile(0.99) as f64 / 1_000.0
    }

    /// Why not every tap was approved.
    pub fn broken(&self) -> Option<String> {
        let tally = &self.record.tally;
        let failed = tally.all() - tally.approved;
        (failed > 0).then(|| {
            let first = tally.words.keys().next().cloned().unwrap_or_default();
            format!("{failed} taps at half speed were not approved, for example: {first}")
        })
    }
}
