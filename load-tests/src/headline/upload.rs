//! The contender `upload`: gates that were cut off send their queues, 100 numbered
//! taps at a time, each upload one entry of the journal. The uploads are made before
//! the measured seconds; of every tap the answer must be an approval, and of every
//! exit a charge.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use onecard::{proto::common::v1::Decision, sandbox::people::HOMES};
use prost::Message;

use super::{Headline, contenders::identities};
use crate::{
    fixture::{Beijing, Folder, Gateway},
    line::{Identity, Line},
    metrics::{Watching, scrape},
    process,
    riders::{Rider, Uploads, holders, riders},
};

/// Connections, and uploads under way on each.
const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 2;

/// Cards of Beijing, and of each other region.
const HOME_CARDS: u32 = 2_000;
const FOREIGN_CARDS_EACH: u32 = 1_000;

/// Taps of one upload.
const TAPS: usize = 100;

/// Taps a second made ready for the stretch that is not measured.
const FIRST_GUESS: f64 = 120_000.0;
const FIRST: Duration = Duration::from_secs(3);

/// Taps made ready beyond what the first stretch used.
const SPARE: f64 = 1.3;

/// What came out of it.
#[derive(Debug)]
pub struct Uploaded {
    pub taps: u64,
    pub length: Duration,
    /// Of the server.
    pub cpu: Duration,
    /// Taps that are journalled and not yet indexed, second by second.
    pub lag: Vec<f64>,
    pub errors: u64,
    pub first_error: Option<String>,
    pub ran_out: bool,
}

impl Uploaded {
    /// Taps a second.
    #[allow(clippy::cast_precision_loss, reason = "taps of a run are far below 2^53")]
    pub fn per_second(&self) -> f64 {
        self.taps as f64 / self.length.as_secs_f64()
    }

    /// The mean lag of the first and of the last quarter of the stretch.
    #[allow(clippy::cast_precision_loss, reason = "as many as there are seconds")]
    pub fn lag_ends(&self) -> Option<(f64, f64)> {
        let quarter = (self.lag.len() / 4).max(1);
        let first = self.lag.get(..quarter)?;
        let last = self.lag.get(self.lag.len() - quarter..)?;
        let mean = |lags: &[f64]| lags.iter().sum::<f64>() / lags.len() as f64;
        Some((mean(first), mean(last)))
    }

    /// What must not have happened.
    pub fn broken(&self) -> Vec<String> {
        /// A second's worth of taps: what one apply of the index may hold back.
        const GROWTH_MAX: f64 = 100_000.0;
        let mut broken = Vec::new();
        if let Some(first) = &self.first_error {
            broken.push(format!("{} uploads failed, the first: {first}", self.errors));
        }
        if let Some((start, end)) = self.lag_ends().filter(|(start, end)| *end > 2.0 * start + GROWTH_MAX) {
            broken.push(format!("the index falls behind: {start:.0} taps at first, {end:.0} at last"));
        }
        if self.ran_out {
            broken.push("the uploads that were made ready ran out".to_owned());
        }
        broken
    }
}

/// Measures it on a gateway of its own.
///
/// # Errors
/// When something cannot be made or started.
pub async fn measure(options: &Headline) -> anyhow::Result<Uploaded> {
    let home = holders(&HOMES[0], HOME_CARDS);
    let foreign = HOMES[1..].iter().map(|home| holders(home, FOREIGN_CARDS_EACH));
    let foreign = foreign.collect::<Vec<_>>().concat();
    let data = options.data.as_ref().map(|data| data.join("upload"));
    let beijing = Beijing::prepare(Folder::new(data.as_deref())?, &home, None)?;
    let vault = beijing.vault()?;
    let mixed = home.into_iter().zip(foreign).flat_map(|(home, foreign)| [home, foreign]).collect();
    let mut hands: Vec<Vec<Rider>> = (0..CONNECTIONS * IN_FLIGHT).map(|_| Vec::new()).collect();
    for (pair, rider) in riders(mixed, &vault)?.into_iter().enumerate() {
        hands[(pair / 2) % (CONNECTIONS * IN_FLIGHT)].push(rider);
    }
    let gateway = beijing.start_ready().await?;
    let identities = identities(&beijing.pki(), 1)?;
    let mut callers: Vec<_> =
        hands.into_iter().enumerate().map(|(at, riders)| Uploads::of(at, riders)).collect();
    fill(&mut callers, FIRST_GUESS, FIRST);
    let (first, mut callers) = stretch(&beijing, &gateway, &identities, callers, FIRST).await?;
    anyhow::ensure!(
        first.first_error.is_none(),
        "the first uploads fail: {}\n{}",
        first.first_error.unwrap_or_default(),
        beijing.log_tail()
    );
    let length = Duration::from_secs(options.upload_seconds);
    println!(
        "upload: {:.0} taps/s at first; making the taps of {} s ready …",
        first.per_second(),
        options.upload_seconds
    );
    fill(&mut callers, first.per_second() * SPARE, length);
    let (measured, _) = stretch(&beijing, &gateway, &identities, callers, length).await?;
    if !measured.broken().is_empty() {
        println!("{}", beijing.log_tail());
    }
    gateway.stop()?;
    Ok(measured)
}

fn fill(callers: &mut [Uploads], per_second: f64, length: Duration) {
    let each = (per_second * length.as_secs_f64()) as usize / callers.len() / TAPS + 1;
    // Every caller's cards are its own: they are made by as many threads as there are.
    std::thread::scope(|threads| {
        for caller in callers {
            threads.spawn(move || caller.fill(each, TAPS));
        }
    });
}

async fn stretch(
    beijing: &Beijing,
    gateway: &Gateway,
    identities: &[Identity],
    callers: Vec<Uploads>,
    length: Duration,
) -> anyhow::Result<(Uploaded, Vec<Uploads>)> {
    let mut lines = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        lines.push(Line::connect(beijing.terminals(), &identities[0]).await?);
    }
    let watching = Watching::begin(vec![gateway.operators()]);
    let cpu = process::cpu_time(gateway.pid())?;
    let until = Instant::now() + length;
    let callers: Vec<_> = callers
        .into_iter()
        .enumerate()
        .map(|(at, uploads)| tokio::spawn(call(lines[at % CONNECTIONS].clone(), uploads, until)))
        .collect();
    let mut all = Uploaded {
        taps: 0,
        length,
        cpu: Duration::ZERO,
        lag: Vec::new(),
        errors: 0,
        first_error: None,
        ran_out: false,
    };
    let mut back = Vec::with_capacity(callers.len());
    for caller in callers {
        let (uploads, taps, error, ran_out) = caller.await?;
        all.taps += taps;
        all.ran_out |= ran_out;
        if let Some(error) = error {
            all.errors += 1;
            all.first_error.get_or_insert(error);
        }
        back.push(uploads);
    }
    all.cpu = process::cpu_time(gateway.pid())?.saturating_sub(cpu);
    let seen = watching.end().await?;
    let lags = seen.iter().filter_map(|at| at.regions.first()?.as_ref());
    all.lag = lags.map(|samples| samples.sum("onecard_index_lag_entries")).collect();
    scrape(gateway.operators()).await.context("its metrics")?;
    Ok((all, back))
}

/// Sends uploads one after another; taps answered before `until` count. A caller ends
/// at its first error: the figures are void then.
async fn call(mut line: Line, mut uploads: Uploads, until: Instant) -> (Uploads, u64, Option<String>, bool) {
    let mut taps = 0;
    while Instant::now() < until {
        let Some((frame, exits)) = uploads.take() else { return (uploads, taps, None, true) };
        let answer = match line.upload(frame).await {
            Ok(answer) => answer,
            Err(error) => return (uploads, taps, Some(error.to_string()), false),
        };
        if let Err(error) = approved(answer, exits) {
            return (uploads, taps, Some(error), false);
        }
        if Instant::now() < until {
            taps += TAPS as u64;
        }
    }
    (uploads, taps, None, false)
}

/// Of an answer what is checked of every tap; the rest is not decoded.
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, repeated, tag = "2")]
    outcomes: Vec<Outcome>,
}

#[derive(Clone, PartialEq, Message)]
struct Outcome {
    #[prost(int32, tag = "2")]
    decision: i32,
    #[prost(bytes = "bytes", tag = "5")]
    charge: Bytes,
    #[prost(bool, tag = "6")]
    repeated: bool,
}

/// Whether every tap was approved, and every exit charged.
fn approved(answer: Bytes, exits: u128) -> Result<(), String> {
    let answer = Answer::decode(answer).map_err(|_| "an answer that cannot be read".to_owned())?;
    if answer.outcomes.len() != TAPS {
        return Err(format!("{} outcomes of {TAPS} taps", answer.outcomes.len()));
    }
    for (place, outcome) in answer.outcomes.iter().enumerate() {
        let is_exit = exits & (1 << place) != 0;
        if outcome.decision != i32::from(Decision::Approved) || outcome.repeated {
            return Err(format!("tap {place} was not approved: {outcome:?}"));
        }
        if is_exit == outcome.charge.is_empty() {
            return Err(format!("tap {place} has the charge of another kind of tap"));
        }
    }
    Ok(())
}
