//! One measured stretch of one contender: so many connections, so many calls in
//! flight on each, every answer checked.
//!
//! The loop is closed: a call is sent when the one before it was answered. So
//! the figures say how fast the server is with this many calls at once, and not
//! how long a queue grows when more come than it can serve.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use onecard::proto::{
    common::v1::Decision,
    transit::v1::{TapResponse, TapStreamResponse, tap_stream_response},
};
use prost::Message as _;

use crate::{
    line::{CallFailed, Identity, Line, StreamLine},
    process,
    riders::{Magazine, Way},
};

/// How many taps at once, and how they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub connections: usize,
    /// On each connection.
    pub in_flight: usize,
    pub way: Way,
}

/// Connections under one certificate; a gateway takes 32.
const CONNECTIONS_EACH: usize = 25;

impl Shape {
    /// Callers at work.
    pub fn callers(self) -> usize {
        self.connections * self.in_flight
    }

    /// As many callers, each with a stream on a connection of its own.
    pub fn streams(self) -> Self {
        Shape { connections: self.callers(), in_flight: 1, way: Way::Stream }
    }

    /// Certificates that it needs.
    pub fn certificates(self) -> usize {
        self.connections.div_ceil(CONNECTIONS_EACH)
    }
}

/// Whether a server minds seeing a tap twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supply {
    /// Each tap once, as a gateway must see it.
    Once,
    /// The taps that are ready, over and over.
    Again,
}

/// Who is measured.
#[derive(Debug, Clone)]
pub struct Target {
    pub at: SocketAddr,
    pub pid: u32,
    pub supply: Supply,
    /// The first process of the database behind it.
    pub database: Option<u32>,
}

/// What came out of a stretch.
#[derive(Debug)]
pub struct Measured {
    /// Calls answered within the stretch.
    pub answered: u64,
    pub length: Duration,
    /// Microseconds.
    pub latency: Histogram<u64>,
    /// CPU the server used.
    pub cpu: Duration,
    /// CPU the database behind it used.
    pub database_cpu: Option<Duration>,
    pub resident_mib: u64,
    pub errors: u64,
    /// What the first error said.
    pub first_error: Option<String>,
    /// Taps that had to be made while measuring, because too few were ready.
    pub made_late: u64,
    /// An answer of about the mean size, and that size in bytes.
    pub sample: Bytes,
    pub answer_bytes: u64,
}

impl Measured {
    /// Calls a second.
    pub fn per_second(&self) -> f64 {
        count(self.answered) / self.length.as_secs_f64()
    }

    /// Microseconds of the server's CPU for each call.
    pub fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / count(self.answered.max(1))
    }

    /// Microseconds of its database's CPU for each call.
    pub fn database_micros(&self) -> Option<f64> {
        Some(self.database_cpu?.as_secs_f64() * 1e6 / count(self.answered.max(1)))
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
fn count(of: u64) -> f64 {
    of as f64
}

/// Latencies are kept to three digits, from a microsecond to a minute.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("these bounds are constants that hdrhistogram takes")
}

/// Drives a target for `warm`, then measures it for `length`. The magazines come
/// back with what was not sent.
///
/// # Errors
/// When it cannot be reached or its process ends.
///
/// # Panics
/// When there are not the magazines and certificates that the shape needs.
pub async fn drive(
    target: &Target,
    identities: &[Identity],
    shape: Shape,
    magazines: Vec<Magazine>,
    warm: Duration,
    length: Duration,
) -> anyhow::Result<(Measured, Vec<Magazine>)> {
    assert_eq!(magazines.len(), shape.callers(), "each caller has its own cards");
    let mut lines = Vec::with_capacity(shape.connections);
    for at in 0..shape.connections {
        lines.push(Line::connect(target.at, &identities[at / CONNECTIONS_EACH]).await?);
    }
    let mut callers = Vec::with_capacity(magazines.len());
    for (at, magazine) in magazines.into_iter().enumerate() {
        let line = lines[at % shape.connections].clone();
        let line = match shape.way {
            Way::Alone => Sends::Calls(line),
            Way::Stream => Sends::Stream(line.stream().await?),
        };
        let caller = Caller { line, way: shape.way, magazine, supply: target.supply, seen: Seen::default() };
        callers.push(caller);
    }
    drop(lines);
    let from = Instant::now() + warm;
    let until = from + length;
    let callers: Vec<_> = callers.into_iter().map(|caller| tokio::spawn(caller.call(from, until))).collect();

    tokio::time::sleep_until(from.into()).await;
    let before = process::cpu_time(target.pid)?;
    let database = DatabaseCpu::from_now(target.database)?;
    tokio::time::sleep_until(until.into()).await;
    let cpu = process::cpu_time(target.pid)?.saturating_sub(before);
    let database_cpu = database.since()?;
    let resident_mib = process::resident_mib(target.pid)?;

    let mut all = Seen::default();
    let mut magazines = Vec::with_capacity(callers.len());
    for caller in callers {
        let (magazine, seen) = caller.await?;
        magazines.push(magazine);
        all.add(seen);
    }
    let answer_bytes = all.answer_bytes / all.latency.len().max(1);
    let sample = all.samples.into_iter().min_by_key(|answer| answer_bytes.abs_diff(answer.len() as u64));
    let measured = Measured {
        answered: all.latency.len(),
        length,
        answer_bytes,
        latency: all.latency,
        cpu,
        database_cpu,
        resident_mib,
        errors: all.errors,
        first_error: all.first_error,
        made_late: all.made_late,
        sample: sample.unwrap_or_default(),
    };
    Ok((measured, magazines))
}

/// What a database's processes have used since a moment.
pub struct DatabaseCpu(Option<(u32, Duration)>);

impl DatabaseCpu {
    /// # Errors
    /// When its processes cannot be listed.
    pub fn from_now(pid: Option<u32>) -> anyhow::Result<Self> {
        let used = |pid| anyhow::Ok((pid, process::cpu_time_of_children(pid)?));
        Ok(DatabaseCpu(pid.map(used).transpose()?))
    }

    /// # Errors
    /// When its processes cannot be listed.
    pub fn since(&self) -> anyhow::Result<Option<Duration>> {
        let since = |(pid, before)| anyhow::Ok(process::cpu_time_of_children(pid)?.saturating_sub(before));
        self.0.map(since).transpose()
    }
}

/// What one caller, or all of them, saw.
struct Seen {
    latency: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
    made_late: u64,
    answer_bytes: u64,
    answers: usize,
    samples: Vec<Bytes>,
}

impl Default for Seen {
    fn default() -> Self {
        Seen {
            latency: histogram(),
            errors: 0,
            first_error: None,
            made_late: 0,
            answer_bytes: 0,
            answers: 0,
            samples: Vec::new(),
        }
    }
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.made_late += other.made_late;
        self.answer_bytes += other.answer_bytes;
        self.samples.extend(other.samples);
    }

    fn error(&mut self, what: String) {
        self.errors += 1;
        self.first_error.get_or_insert(what);
    }
}

/// What a caller sends its taps over.
enum Sends {
    Calls(Line),
    Stream(StreamLine),
}

impl Sends {
    async fn tap(&mut self, frame: Bytes) -> Result<Bytes, CallFailed> {
        match self {
            Sends::Calls(line) => line.tap(frame).await,
            Sends::Stream(line) => line.tap(frame).await,
        }
    }
}

/// One tap in flight at a time.
struct Caller {
    line: Sends,
    way: Way,
    magazine: Magazine,
    supply: Supply,
    seen: Seen,
}

/// After this many errors a caller gives up: something is wrong, and the figures
/// are void anyway.
const ERRORS_MAX: u64 = 100;

/// The last answers of each caller are kept, from which one of the mean size is
/// taken: enough that entries and exits are among them.
const SAMPLES: usize = 32;

impl Caller {
    async fn call(mut self, from: Instant, until: Instant) -> (Magazine, Seen) {
        let mut calls = 0;
        // Asked before a tap is taken: one that is taken is one that is sent.
        while Instant::now() < until && self.seen.errors < ERRORS_MAX {
            let frame = self.next_frame(calls);
            calls += 1;
            let started = Instant::now();
            let answer = self.line.tap(frame).await;
            let ended = Instant::now();
            match answer {
                Ok(answer) => self.check(answer, ended - started, ended >= from && ended < until),
                Err(error) => self.seen.error(error.to_string()),
            }
        }
        (self.magazine, self.seen)
    }

    fn next_frame(&mut self, calls: usize) -> Bytes {
        /// So many are made at once when the magazine is empty.
        const REFILL: usize = 64;
        if self.supply == Supply::Again {
            return self.magazine.again(calls);
        }
        loop {
            if let Some(frame) = self.magazine.take() {
                return frame;
            }
            self.magazine.fill(REFILL, self.way);
            self.seen.made_late += 1;
        }
    }

    fn check(&mut self, answer: Bytes, took: Duration, counts: bool) {
        if let Err(reason) = approved(answer.clone(), self.way) {
            return self.seen.error(format!("a tap was not approved: {reason}"));
        }
        if counts {
            self.seen.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            self.seen.answer_bytes += answer.len() as u64;
        }
        let slot = self.seen.answers % SAMPLES;
        self.seen.answers += 1;
        match self.seen.samples.get_mut(slot) {
            Some(older) => *older = answer,
            None => self.seen.samples.push(answer),
        }
    }
}

/// Whether a tap was approved with a receipt; the reason when not.
pub(super) fn approved(answer: Bytes, way: Way) -> Result<(), String> {
    let unreadable = |_| "an answer that cannot be read".to_owned();
    let tap = match way {
        Way::Alone => TapResponse::decode(answer).map_err(unreadable)?,
        Way::Stream => match TapStreamResponse::decode(answer).map_err(unreadable)?.result {
            Some(tap_stream_response::Result::Tap(tap)) => tap,
            Some(tap_stream_response::Result::Refusal(refusal)) => return Err(refusal.reason),
            None => return Err("an empty answer".to_owned()),
        },
    };
    let answer = tap.answer.unwrap_or_default();
    if answer.decision == i32::from(Decision::Approved) && answer.receipt.is_some() {
        Ok(())
    } else {
        Err(answer.reason)
    }
}
